import FoundationEssentials
import Synchronization
import TestSupport
import Testing

@testable import ProjectionKit

@Suite("Table")
struct TableTests {
    @Test("X10: no half of a key makes all hashes the same")
    func zeroedProduct() {
        for constant in [0, 0x9e37_79b9_7f4a_7c15, 0x157c_4a7f_b979_379e, .max] as [UInt64] {
            let hashes = (0..<1_000).flatMap { number -> [UInt32] in
                [KeyHash.mix(UInt64(number), constant), KeyHash.mix(constant, UInt64(number))]
            }
            #expect(Set(hashes).count > 1_990, "\(constant)")
        }
    }

    @Test("C12: what is taken out of the event and of the row before serves a row in one line each")
    func guideForms() throws {
        var rows = Table<Authored>()
        for (stream, at) in [("a", 7), ("b", 4), ("a", 3), ("a", 5)] as [(String, Int64)] {
            // As README says: an event is lent, and two accesses to one row exclude each other.
            let first = rows[stream]?.first
            rows[stream, default: Authored(author: stream)].count += 1
            rows[stream]?.first = min(first ?? at, at)
        }
        #expect(rows["a"] == Authored(author: "a", count: 3, first: 3))
        #expect(rows["b"] == Authored(author: "b", count: 1, first: 4))
    }

    @Test("behaves as a dictionary under random operations", arguments: [1, 2, 3, 4] as [UInt64])
    func model(seed: UInt64) throws {
        print("table model: seed \(seed)")
        var model = TableModel<SpreadKey>(seed: seed, keys: 700)
        for step in 0..<12_000 { try model.step(step) }
        model.checkEverything()
    }

    @Test("behaves as a dictionary when keys collide", arguments: [11, 12, 13] as [UInt64])
    func collisions(seed: UInt64) throws {
        print("table model with colliding keys: seed \(seed)")
        var model = TableModel<CollidingKey>(seed: seed, keys: 90)
        for step in 0..<4_000 { try model.step(step) }
        model.checkEverything()
    }

    @Test("behaves as a dictionary with keys of the usual kinds", arguments: [21, 22] as [UInt64])
    func usualKeys(seed: UInt64) throws {
        print("table model with usual keys: seed \(seed)")
        var numbers = TableModel<Int64>(seed: seed, keys: 500)
        var uuids = TableModel<UUID>(seed: seed, keys: 500)
        var ids = TableModel<UUIDWords>(seed: seed, keys: 500)
        for step in 0..<5_000 {
            try numbers.step(step)
            try uuids.step(step)
            try ids.step(step)
        }
        numbers.checkEverything()
        uuids.checkEverything()
        ids.checkEverything()
    }

    @Test("takes over the rows of another table", arguments: [31, 32, 33] as [UInt64])
    func absorbing(seed: UInt64) throws {
        print("table absorbing: seed \(seed)")
        var random = SeededRandom(seed: seed)
        for size in [0, 1, 1_023, 1_024, 1_025, 5_000] {
            var parts = [Table<ModelRow<SpreadKey>>(), Table(), Table()]
            var model: [SpreadKey: ModelRow<SpreadKey>] = [:]
            for id in 0..<Int64(size) {
                let row = ModelRow(key: SpreadKey(id), value: Int(id), text: "a text of row \(id)")
                parts[Int.random(in: 0..<3, using: &random)].insert(row)
                model[row.key] = row
            }
            for id in 0..<Int64(size / 3) {
                for part in parts.indices { parts[part].remove(SpreadKey(id * 3)) }
                model[SpreadKey(id * 3)] = nil
            }
            #expect(parts[0].absorb(parts[1]) && parts[0].absorb(parts[2]))
            #expect(parts[1].isEmpty && parts[2].rows.isEmpty)
            for id in 0..<Int64(size + 2_000) {
                let row = ModelRow(key: SpreadKey(id), value: -1, text: "new")
                #expect(parts[0].insert(row) == (model[row.key] == nil))
                if model[row.key] == nil { model[row.key] = row }
            }
            #expect(Dictionary(uniqueKeysWithValues: parts[0].rows.map { ($0.key, $0) }) == model)
            #expect(parts[0].count == model.count)
        }
    }

    @Test("does not take over a table that has one of its keys, and leaves both as they were")
    func absorbingTwice() {
        var one = Table<ModelRow<CollidingKey>>()
        var other = Table<ModelRow<CollidingKey>>()
        for id in 0..<40 as Range<Int64> {
            one.insert(ModelRow(key: CollidingKey(id), value: 1, text: ""))
            other.insert(ModelRow(key: CollidingKey(id + 39), value: 2, text: ""))
        }
        let before = (one.rows, other.rows)
        #expect(!one.absorb(other))
        #expect(one.rows == before.0 && other.rows == before.1)
    }

    @Test("destroys each row exactly once")
    func lifetimes() {
        let alive = Counter()
        do {
            var table = Table<TokenRow>()
            for id in 0..<5_000 { table[Int64(id)] = TokenRow(id: Int64(id), counter: alive) }
            #expect(alive.value == 5_000)
            for id in 0..<2_500 { table[Int64(id * 2)] = nil }
            #expect(alive.value == 2_500)
            var copy = table
            copy[1] = nil
            copy[3] = TokenRow(id: 3, counter: alive)
            #expect(copy.count == 2_499 && table.count == 2_500)
            #expect(alive.value == 2_501)
            for id in 0..<1_000 { table[Int64(id)] = TokenRow(id: Int64(id), counter: alive) }
            var rest = Table<TokenRow>()
            for id in 9_000..<9_500 { rest.insert(TokenRow(id: Int64(id), counter: alive)) }
            let before = alive.value
            #expect(table.absorb(rest))
            #expect(alive.value == before)
        }
        #expect(alive.value == 0)
    }

    @Test("keeps a row as it was when changing it throws")
    func throwing() throws {
        struct Refusal: Error {}
        func refuse() throws -> Int { throw Refusal() }
        var table = Table<ModelRow<SpreadKey>>()
        table[SpreadKey(1)] = ModelRow(key: SpreadKey(1), value: 7, text: "seven")

        #expect(throws: Refusal.self) { table[SpreadKey(1)]?.value += try refuse() }
        #expect(throws: Refusal.self) {
            table[SpreadKey(2), default: ModelRow(key: SpreadKey(2), value: 0, text: "")].value +=
                try refuse()
        }

        #expect(table[SpreadKey(1)]?.value == 7)
        #expect(table.contains(SpreadKey(1)))
    }

    @Test("gives rows in the order of their insertion")
    func order() {
        var table = Table<ModelRow<SpreadKey>>()
        for id in [9, 2, 7, 1] as [Int64] {
            table[SpreadKey(id)] = ModelRow(key: SpreadKey(id), value: 0, text: "")
        }
        table[SpreadKey(7)]?.value = 1
        #expect(table.rows.map(\.key.id) == [9, 2, 7, 1])
    }

    @Test("encodes the rows that are there, and none that were removed")
    func encoding() throws {
        var table = Table<ModelRow<SpreadKey>>()
        for id in 0..<3_000 as Range<Int64> {
            table[SpreadKey(id)] = ModelRow(key: SpreadKey(id), value: 1, text: "é")
        }
        for id in 0..<3_000 as Range<Int64> where id % 3 == 0 { table[SpreadKey(id)] = nil }

        var buffer = RowBuffer(capacity: 64)
        var rows = 0
        for start in stride(from: 0, to: table.endIndex, by: 1_000) {
            rows += try table.encodeRows(
                start..<min(start + 1_000, table.endIndex),
                as: [.int8, .int8, .text],
                into: &buffer
            )
        }

        #expect(rows == 2_000)
        #expect(buffer.count == 2_000 * (2 + 12 + 12 + 6))
        #expect(Array(buffer.bytes.prefix(14)) == [0, 3, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1])
    }

    @Test("names the column whose value does not fit")
    func encodingFails() {
        var table = Table<ModelRow<SpreadKey>>()
        table[SpreadKey(1)] = ModelRow(key: SpreadKey(1), value: 1, text: "a\0b")
        var buffer = RowBuffer()
        do {
            _ = try table.encodeRows(0..<1, as: [.int8, .int8, .text], into: &buffer)
            Issue.record("a text with U+0000 was encoded")
        } catch {
            #expect(
                String(describing: error)
                    == "model.text: a text holds the character U+0000, which PostgreSQL cannot store"
            )
        }
    }

    @Test("describes its columns")
    func description() {
        let table = Table<ModelRow<SpreadKey>>()
        #expect(table.name == "model")
        #expect(table.key == ["id"])
        #expect(table.columnNames == ["id", "value", "text"])
        #expect(table.columnValues.map(\.types.first) == [.int8, .int8, .text])
        #expect(table.columnValues.map(\.isNullable) == [false, false, false])
    }
}

/// A table beside the dictionary it should equal.
private struct TableModel<Key: ModelKey> {
    private var random: SeededRandom
    private let keys: Int64
    private var table = Table<ModelRow<Key>>()
    private var model: [Key: ModelRow<Key>] = [:]
    private var copies: [(table: Table<ModelRow<Key>>, model: [Key: ModelRow<Key>])] = []

    init(seed: UInt64, keys: Int64) {
        random = SeededRandom(seed: seed)
        self.keys = keys
    }

    mutating func step(_ number: Int) throws {
        let key = Key(Int64.random(in: 0..<keys, using: &random))
        let fresh = ModelRow(key: key, value: number, text: "row \(number) of a longer text")
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<20:
            table[key] = fresh
            model[key] = fresh
        case 20..<35:
            #expect(table.insert(fresh) == (model[key] == nil))
            if model[key] == nil { model[key] = fresh }
        case 35..<50:
            table[key]?.value += 1
            model[key]?.value += 1
        case 50..<60:
            table[key, default: fresh].text += "!"
            model[key, default: fresh].text += "!"
        case 60..<75:
            #expect(table.remove(key) == model.removeValue(forKey: key))
        case 75..<85:
            table[key] = nil
            model[key] = nil
        case 85..<99:
            #expect(table[key] == model[key])
            #expect(table.contains(key) == (model[key] != nil))
            #expect(table[key, default: fresh] == model[key, default: fresh])
        default: copy()
        }
        #expect(table.count == model.count)
    }

    /// Keeps a copy, or goes on with one that was kept, so that both sides of a copy change.
    private mutating func copy() {
        if copies.count > 3 {
            let index = Int.random(in: 0..<copies.count, using: &random)
            swap(&table, &copies[index].table)
            swap(&model, &copies[index].model)
        } else {
            copies.append((table, model))
        }
    }

    func checkEverything() {
        for (table, model) in copies + [(table, model)] {
            let rows = Dictionary(uniqueKeysWithValues: table.rows.map { ($0.key, $0) })
            #expect(rows == model)
            #expect(table.isEmpty == model.isEmpty)
            for key in 0..<keys { #expect(table[Key(key)] == model[Key(key)]) }
        }
    }
}

private protocol ModelKey: Hashable, Sendable {
    var id: Int64 { get }
    init(_ id: Int64)
}

extension Int64: ModelKey {
    fileprivate var id: Int64 { self }
}

extension UUID: ModelKey {
    fileprivate var id: Int64 { Int64(bitPattern: UUIDWords(self).low) }
    fileprivate init(_ id: Int64) { self = UUIDWords(id).uuid }
}

extension UUIDWords: ModelKey {
    fileprivate var id: Int64 { Int64(bitPattern: low) }
    fileprivate init(_ id: Int64) { self.init(high: 7, low: UInt64(bitPattern: id)) }
}

private struct SpreadKey: ModelKey {
    let id: Int64
    init(_ id: Int64) { self.id = id }
}

/// Seven hashes for all keys: every lookup walks, and every removal shifts rows back.
private struct CollidingKey: ModelKey {
    let id: Int64
    init(_ id: Int64) { self.id = id }
    func hash(into hasher: inout Hasher) { hasher.combine(id % 7) }
}

private struct ModelRow<Key: ModelKey>: TableRow, Equatable {
    let key: Key
    var value: Int
    var text: String

    static var table: TableDefinition<Self> {
        TableDefinition("model", key: "id") {
            Column("id", \.key.id)
            Column("value", \.value)
            Column("text", \.text)
        }
    }
}

private final class Counter: Sendable {
    private let count = Atomic(0)
    var value: Int { count.load(ordering: .sequentiallyConsistent) }
    func add(_ number: Int) { count.add(number, ordering: .sequentiallyConsistent) }
}

private final class Token: Sendable {
    private let counter: Counter

    init(_ counter: Counter) {
        self.counter = counter
        counter.add(1)
    }

    deinit { counter.add(-1) }
}

private struct TokenRow: TableRow {
    let id: Int64
    let token: Token
    var key: Int64 { id }

    init(id: Int64, counter: Counter) {
        self.id = id
        token = Token(counter)
    }

    static let table = TableDefinition<TokenRow>("token", key: "id") { Column("id", \.id) }
}

private struct Authored: TableRow, Equatable {
    let author: String
    var count: Int64 = 0
    var first: Int64 = 0
    var key: String { author }

    static let table = TableDefinition<Authored>("authored", key: "author") {
        Column("author", \.author)
        Column("count", \.count)
        Column("first", \.first)
    }
}
