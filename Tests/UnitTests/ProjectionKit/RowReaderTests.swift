import FoundationEssentials
import ProjectionKit
import ProjectionTesting
import ShopProjection
import Synchronization
import TestSupport
import Testing

@Suite("RowReader")
struct RowReaderTests {
    @Test("rows with a value of every type come back", arguments: [1, 2, 3] as [UInt64])
    func everyValue(seed: UInt64) throws {
        print("rows written and read: seed \(seed)")
        var random = SeededRandom(seed: seed)
        let rows = (0..<150).map { EveryValue(id: $0, random: &random) }
        #expect(try readBack(rows, as: EveryValue.types) == rows)
    }

    @Test("values behind padding come back, and those in it")
    func padding() throws {
        let rows = (0..<100).map { PaddedRow(number: $0) }
        let types: [ColumnType] = [.bool, .int8, .bool, .int2, .bool, .int8, .bool, .bool]
        #expect(try readBack(rows, as: types) == rows)
    }

    @Test("the rows of a shop come back: a computed column, a key of several values")
    func shop() throws {
        let order = "5a1c0000-0000-0000-0000-000000000001"
        func line(_ number: Int) -> GivenEvent {
            GivenEvent(
                "LineAdded",
                data: """
                    {"orderId":"\(order)","line":\(number),"sku":"ä","quantity":2,"unitCents":5}
                    """
            )
        }
        let shop = try given(
            Shop.self,
            GivenEvent("OrderPlaced", data: #"{"orderId":"\#(order)","customerId":7}"#),
            line(1),
            line(2),
            GivenEvent("OrderPaid", data: #"{"orderId":"\#(order)","amountCents":10}"#)
        )
        let summaryTypes = OrderSummary.table.columns.compactMap(\.value.types.first)
        #expect(try readBack(shop.summaries.rows, as: summaryTypes) == shop.summaries.rows)
        let lineTypes = OrderLine.table.columns.compactMap(\.value.types.first)
        #expect(try readBack(shop.lines.rows, as: lineTypes) == shop.lines.rows)
        #expect(shop.summaries.count == 1 && shop.lines.count == 2)
    }

    @Test("of two columns over one property the first is read")
    func twice() throws {
        let row = TwiceRow(id: 1, time: Timestamp(microseconds: 5))
        #expect(try readBack([row], as: [.int8, .timestamptz, .timestamp]) == [row])
    }

    @Test("a row type that cannot be made says why")
    func obstacles() {
        #expect(RowReader<EveryValue>.obstacle() == nil)
        #expect(RowReader<OrderLine>.obstacle() == nil)
        #expect(RowReader<ForgetfulRow>.obstacle() == "its property 'hidden' is in no column")
        #expect(RowReader<HalfRow>.obstacle() == "its property 'pair.right' is in no column")
        #expect(RowReader<ObservedRow>.obstacle() == "its property 'count' is in no column")
        #expect(RowReader<LazyRow>.obstacle()?.hasSuffix("is in no column") == true)
        #expect(RowReader<ClassRow>.obstacle() == "it is no struct")
        #expect(RowReader<EnumRow>.obstacle() == "it is no struct")
        #expect(throws: RowObstacle.self) { try RowReader<ClassRow>(types: [.int8]) }
    }

    @Test("the column that does not fit is named, and nothing before it leaks")
    func failure() throws {
        let alive = Token.alive.load(ordering: .sequentiallyConsistent)
        let reader = try RowReader<TrackedRow>(types: [.int8, .int8, .bool])
        let error = #expect(throws: RowReadingError.self) {
            try reader.row(bytes: [[0, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 2], [2]])
        }
        #expect(
            "\(try #require(error))"
                == "tracked.last: a stored value of type boolean is none that the row type can hold"
        )
        #expect(throws: RowReadingError.self) { try reader.row(bytes: [nil, nil, nil]) }
        #expect(Token.alive.load(ordering: .sequentiallyConsistent) == alive)
        do {
            let fields: [[UInt8]?] = [[0, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 2], [1]]
            let row = try reader.row(bytes: fields)
            #expect(row.second.token.id == 2)
            #expect(Token.alive.load(ordering: .sequentiallyConsistent) == alive + 2)
        }
        #expect(Token.alive.load(ordering: .sequentiallyConsistent) == alive)
    }

    /// Writes rows and reads each.
    private func readBack<Row: TableRow>(_ rows: [Row], as types: [ColumnType]) throws -> [Row] {
        #expect(RowReader<Row>.obstacle() == nil)
        let reader = try RowReader<Row>(types: types)
        var table = Table<Row>()
        for row in rows { table[row.key] = row }
        var buffer = RowBuffer()
        _ = try table.encodeRows(0..<table.endIndex, as: types, into: &buffer)
        var result: [Row] = []
        var bytes = Array(buffer.bytes)[...]
        for _ in rows {
            bytes = bytes.dropFirst(2)
            let fields = types.map { _ -> [UInt8]? in
                let length = bytes.prefix(4).reduce(Int32(0)) { $0 << 8 | Int32($1) }
                defer { bytes = bytes.dropFirst(4 + Int(max(0, length))) }
                return length < 0 ? nil : Array(bytes.dropFirst(4).prefix(Int(length)))
            }
            result.append(try reader.row(bytes: fields))
        }
        #expect(bytes.isEmpty)
        return result
    }
}

extension RowReader {
    /// Makes a row of fields that stand in memory of their own.
    fileprivate func row(bytes fields: [[UInt8]?]) throws -> Row {
        let copies = fields.map { field in
            field.map { field in
                let copy = UnsafeMutableRawBufferPointer.allocate(
                    byteCount: field.count,
                    alignment: 1
                )
                copy.copyBytes(from: field)
                return copy
            }
        }
        defer { for copy in copies { copy?.deallocate() } }
        return try row(copies.map { $0.map { UnsafeRawBufferPointer($0) } })
    }
}

private struct PaddedRow: TableRow, Equatable {
    struct Tail: Equatable {
        let number: Int64
        let flag: Bool
    }

    let first: Bool
    let wide: Int64?
    let second: Bool?
    let small: Int16
    let last: Bool
    let tail: Tail
    let end: Bool
    let nothing = Nothing()
    var key: Int16 { small }

    struct Nothing: Equatable {}

    init(number: Int) {
        first = number % 2 == 0
        wide = number % 3 == 0 ? nil : Int64(number)
        second = number % 5 == 0 ? nil : number % 7 == 0
        small = Int16(number)
        last = number % 2 == 1
        tail = Tail(number: Int64(number), flag: number % 3 == 0)
        end = number % 4 == 0
    }

    static let table = TableDefinition<PaddedRow>("padded", key: "small") {
        Column("first", \.first)
        Column("wide", \.wide)
        Column("second", \.second)
        Column("small", \.small)
        Column("last", \.last)
        Column("number", \.tail.number)
        Column("flag", \.tail.flag)
        Column("end", \.end)
    }
}

private struct TwiceRow: TableRow, Equatable {
    let id: Int64
    let time: Timestamp
    var key: Int64 { id }

    static let table = TableDefinition<TwiceRow>("twice", key: "id") {
        Column("id", \.id)
        Column("tz", \.time)
        Column("ts", \.time)
    }
}

private struct ForgetfulRow: TableRow {
    let id: Int64
    let hidden: String
    var key: Int64 { id }

    static let table = TableDefinition<ForgetfulRow>("forgetful", key: "id") { Column("id", \.id) }
}

private struct HalfRow: TableRow {
    struct Pair {
        let left: Int64
        let right: Int64
    }

    let pair: Pair
    var key: Int64 { pair.left }

    static let table = TableDefinition<HalfRow>("half", key: "left") { Column("left", \.pair.left) }
}

private struct ObservedRow: TableRow {
    let id: Int64
    var count: Int64 { didSet { precondition(count >= oldValue) } }
    var key: Int64 { id }

    static let table = TableDefinition<ObservedRow>("observed", key: "id") {
        Column("id", \.id)
        Column("count", \.count)
    }
}

private struct LazyRow: TableRow {
    let id: Int64
    lazy var twice = id * 2
    var key: Int64 { id }

    static let table = TableDefinition<LazyRow>("lazy", key: "id") { Column("id", \.id) }
}

private final class ClassRow: TableRow {
    let id: Int64 = 1
    var key: Int64 { id }

    static let table = TableDefinition<ClassRow>("class", key: "id") { Column("id", \.id) }
}

private enum EnumRow: TableRow {
    case only
    var key: Int64 { 1 }

    static let table = TableDefinition<EnumRow>("enum", key: "id") { Column("id", \.key) }
}

private final class Token: Sendable {
    static let alive = Atomic(0)
    let id: Int64

    init(id: Int64) {
        self.id = id
        Token.alive.add(1, ordering: .sequentiallyConsistent)
    }

    deinit { Token.alive.subtract(1, ordering: .sequentiallyConsistent) }
}

/// A value of the user's own that owns memory.
private struct Tracked: ColumnValue {
    let token: Token

    static var columnTypes: [ColumnType] { [.int8] }

    init(field: UnsafeRawBufferPointer?, as type: ColumnType) throws {
        token = Token(id: try Int64(field: field, as: type))
    }

    func encode(into buffer: inout RowBuffer, as type: ColumnType) {
        token.id.encode(into: &buffer, as: type)
    }
}

private struct TrackedRow: TableRow {
    let first: Tracked
    let second: Tracked
    let last: Bool
    var key: Int64 { first.token.id }

    static let table = TableDefinition<TrackedRow>("tracked", key: "first") {
        Column("first", \.first)
        Column("second", \.second)
        Column("last", \.last)
    }
}
