import FoundationEssentials
import ProjectionKit
import TestSupport
import Testing

@Suite("Comparing tables")
struct TableComparisonTests {
    @Test("the same rows have the same digest, in any order and in any process")
    func same() throws {
        let (left, right) = (table([(1, "a"), (2, "b"), (3, "c")]), table([(3, "c"), (1, "a")]))
        var grown = right
        grown[WordRow.Key(number: 9, word: "gone")] = WordRow(number: 9, word: "gone", note: nil)
        grown[WordRow.Key(number: 9, word: "gone")] = nil
        grown[WordRow.Key(number: 2, word: "b")] = WordRow(number: 2, word: "b", note: nil)
        // The digest was computed by a program of its own in another language.
        #expect(left.comparison(with: grown) == .same(digest: "9911efacadd811e9"))
        #expect(grown.comparison(with: left) == .same(digest: "9911efacadd811e9"))
        #expect(table([]).comparison(with: table([])) == .same(digest: "0000000000000000"))
        #expect(digest(table([(1, "a")])) != digest(table([(1, "b")])))
        #expect(digest(table([(1, "a")])) != digest(table([])))
    }

    @Test("the smallest key that differs is named, with the columns in which it does")
    func different() throws {
        let left = table([(300, "x"), (2, "a\"b\n"), (7, "z")])
        var right = left
        right[WordRow.Key(number: 300, word: "x")]?.note = 5
        right[WordRow.Key(number: 300, word: "x")]?.time = Timestamp(microseconds: 1)
        let key = WordRow.Key(number: 2, word: "a\"b\n")
        right[key]?.note = 6
        let difference = try difference(left, right)
        #expect(difference.table == "word")
        #expect(difference.rows == 2)
        #expect(difference.key == #"word = "a\"b\n", number = 2"#)
        #expect(difference.columns == ["note"])
        right[key]?.note = nil
        #expect(try self.difference(left, right).columns == ["note", "time"])
    }

    @Test("a row that only one table has is named from either side")
    func missing() throws {
        let (left, right) = (table([(1, "a"), (2, "b")]), table([(2, "b")]))
        for difference in [try difference(left, right), try difference(right, left)] {
            #expect(difference.rows == 1)
            #expect(difference.key == #"word = "a", number = 1"#)
            #expect(difference.columns == [])
        }
    }

    @Test("bits are compared and not numbers: a NaN is itself, and a negative zero is not zero")
    func bits() throws {
        func row(_ value: Double) -> Table<NumberRow> {
            var table = Table<NumberRow>()
            table[false] = NumberRow(value: value)
            return table
        }
        #expect(digest(row(.nan)) == digest(row(.nan)))
        #expect(try difference(row(0), row(-0.0)).columns == ["value"])
        #expect(try difference(row(0), row(1)).key == "key = false")
    }

    @Test("values that cannot be encoded are compared by the reason")
    func unencodable() throws {
        let (left, right) = (table([(1, "\0")]), table([(1, "\0")]))
        #expect(digest(left) == digest(right))
        var changed = right
        changed[WordRow.Key(number: 1, word: "\0")]?.note = 4
        #expect(
            try difference(left, changed).key == "word = a value that cannot be stored, number = 1"
        )
        #expect(try difference(left, changed).columns == ["note"])
    }

    @Test("random changes are found, and nothing else", arguments: [1, 2] as [UInt64])
    func random(seed: UInt64) throws {
        print("tables compared: seed \(seed)")
        var random = SeededRandom(seed: seed)
        var table = Table<EveryValue>()
        for id in 0..<200 as Range<Int64> { table[id] = EveryValue(id: id, random: &random) }
        for _ in 0..<20 {
            var other = table
            let changed = Set((0..<5).map { _ in Int64.random(in: 0..<200, using: &random) })
            for id in changed { other[id]?.text += "!" }
            let difference = try difference(table, other)
            #expect(difference.rows == changed.count)
            #expect(difference.columns == ["text"])
            #expect(difference.key == "id = \(try #require(changed.min()))")
        }
    }

    private func table(_ rows: [(Int64, String)]) -> Table<WordRow> {
        var table = Table<WordRow>()
        for (number, word) in rows {
            let row = WordRow(number: number, word: word, note: nil)
            table[row.key] = row
        }
        return table
    }

    private func digest(_ table: any LoadableTable) -> String? {
        guard case .same(let digest) = table.comparison(with: table) else { return nil }
        return digest
    }

    private func difference(
        _ left: any LoadableTable,
        _ right: any LoadableTable
    ) throws -> TableDifference {
        guard case .different(let difference) = left.comparison(with: right) else {
            throw NoDifference()
        }
        return difference
    }

    private struct NoDifference: Error {}
}

private struct WordRow: TableRow {
    struct Key: Hashable {
        let number: Int64
        let word: String
    }

    let number: Int64
    let word: String
    var note: Int32?
    var time = Timestamp(microseconds: 0)
    var key: Key { Key(number: number, word: word) }

    static let table = TableDefinition<WordRow>("word", key: "word", "number") {
        Column("number", \.number)
        Column("word", \.word)
        Column("note", \.note)
        Column("time", \.time)
    }
}

private struct NumberRow: TableRow {
    let value: Double
    var key: Bool { false }

    static let table = TableDefinition<NumberRow>("number", key: "key") {
        Column("key", \.key)
        Column("value", \.value)
    }
}
