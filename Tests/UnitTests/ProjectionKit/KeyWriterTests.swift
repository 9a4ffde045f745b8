import FoundationEssentials
import ProjectionKit
import ShopProjection
import Testing

@Suite("KeyWriter")
struct KeyWriterTests {
    @Test("a key of one value is that field")
    func single() throws {
        let id = try #require(UUID(uuidString: "7d444840-9dc0-11d1-b245-5ffdce74fad2"))
        let types = OrderSummary.table.columns.compactMap(\.value.types.first)
        #expect(
            try bytes(OrderSummary.self, id, types)
                == [0, 0, 0, 16] + UUIDWords(id).bytes
        )
    }

    @Test("a key of several values is their fields in the order in which the table names them")
    func composite() throws {
        let key = OrderLine.Key(orderID: UUIDWords(high: 1, low: 2).uuid, line: 3)
        let types = OrderLine.table.columns.compactMap(\.value.types.first)
        #expect(
            try bytes(OrderLine.self, key, types)
                == [0, 0, 0, 16] + UUIDWords(high: 1, low: 2).bytes + [0, 0, 0, 4, 0, 0, 0, 3]
        )
    }

    @Test("the columns may be declared in another order than the key names them")
    func swapped() throws {
        let key = SwappedRow.Key(day: Day(daysSince1970: 10_957), inner: .init(id: 5))
        let row = SwappedRow(key: key)
        #expect(
            try bytes(SwappedRow.self, row.key, [.int8, .text, .date])
                == [0, 0, 0, 4, 0, 0, 0, 0] + [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 5]
        )
        let writer = try KeyWriter<SwappedRow>()
        #expect(try writer.matches(row, as: [.int8, .text, .date]))
    }

    @Test("an enum can be a key, as its type or as text")
    func enumeration() throws {
        for type in [ColumnType.enumeration, .text] {
            let label = Array("hearts".utf8)
            #expect(try bytes(SuitRow.self, .hearts, [type]) == [0, 0, 0, 6] + label)
        }
    }

    @Test("a row whose columns do not hold its key does not match")
    func mismatch() throws {
        let writer = try KeyWriter<CrossedRow>()
        let types: [ColumnType] = [.int8, .int8]
        #expect(try writer.matches(CrossedRow(left: 1, right: 2), as: types) == false)
        #expect(try writer.matches(CrossedRow(left: 2, right: 2), as: types))
    }

    @Test("a key that cannot be encoded says why, and a value that does not fit names its column")
    func obstacles() {
        #expect(KeyWriter<OrderLine>.obstacle() == nil)
        #expect(KeyWriter<OptionalKeyRow>.obstacle() == "its key column 'id' can be NULL")
        #expect(
            KeyWriter<ForeignKeyRow>.obstacle()
                == "its key is not made of the values of left, right"
        )
        #expect(KeyWriter<WideKeyRow>.obstacle() == "its key is not made of the values of id")
        #expect(throws: RowObstacle.self) { try KeyWriter<WideKeyRow>() }
        let error = #expect(throws: RowEncodingError.self) {
            try bytes(TextKeyRow.self, "\0", [.text])
        }
        #expect(error?.column == "id" && error?.reason == .nulInText)
    }

    private func bytes<Row: TableRow>(
        _: Row.Type,
        _ key: Row.Key,
        _ types: [ColumnType]
    ) throws -> [UInt8] {
        var buffer = RowBuffer()
        try KeyWriter<Row>().append(key, to: &buffer, as: types)
        return Array(buffer.bytes)
    }
}

extension UUIDWords {
    fileprivate var bytes: [UInt8] {
        [high, low].flatMap { word in
            (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * UInt64($0))) }
        }
    }
}

private struct SwappedRow: TableRow {
    struct Key: Hashable {
        struct Inner: Hashable { let id: Int64 }
        let day: Day
        let inner: Inner
    }

    let key: Key
    var note: String { "" }

    static let table = TableDefinition<SwappedRow>("swapped", key: "day", "id") {
        Column("id", \.key.inner.id)
        Column("note", \.note)
        Column("day", \.key.day)
    }
}

private struct SuitRow: TableRow {
    enum Suit: String, ColumnEnum { case hearts, spades }
    let key: Suit

    static let table = TableDefinition<SuitRow>("suit", key: "suit") { Column("suit", \.key) }
}

/// Its key names the columns the wrong way round.
private struct CrossedRow: TableRow {
    struct Key: Hashable { let left, right: Int64 }
    let left, right: Int64
    var key: Key { Key(left: left, right: right) }

    static let table = TableDefinition<CrossedRow>("crossed", key: "right", "left") {
        Column("left", \.left)
        Column("right", \.right)
    }
}

private struct OptionalKeyRow: TableRow {
    let key: Int64?

    static let table = TableDefinition<OptionalKeyRow>("optional_key", key: "id") {
        Column("id", \.key)
    }
}

private struct ForeignKeyRow: TableRow {
    let left, right: Int64
    var key: String { "\(left)-\(right)" }

    static let table = TableDefinition<ForeignKeyRow>("foreign_key", key: "left", "right") {
        Column("left", \.left)
        Column("right", \.right)
    }
}

private struct WideKeyRow: TableRow {
    struct Key: Hashable { let id, more: Int64 }
    let key: Key

    static let table = TableDefinition<WideKeyRow>("wide_key", key: "id") { Column("id", \.key.id) }
}

private struct TextKeyRow: TableRow {
    let key: String

    static let table = TableDefinition<TextKeyRow>("text_key", key: "id") { Column("id", \.key) }
}
