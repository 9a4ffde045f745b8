import FoundationEssentials
import ProjectionKit
import Testing

// The bytes are those of PostgreSQL 15's send functions, such as
// `SELECT encode(numeric_send('-12.5'), 'hex')`, behind the field's length.

@Suite("Column values")
struct ColumnValueTests {
    @Test(
        "encodes numeric as the server does",
        arguments: [
            ("0", "0000000000000000"), ("-1", "00010000400000000001"),
            ("1", "00010000000000000001"), ("-12.5", "0002000040000001000c1388"),
            ("0.0001", "0001ffff000000040001"), ("0.00001", "0001fffe0000000503e8"),
            ("12345678.9", "000300010000000104d2162e2328"), ("10000", "00010001000000000001"),
            ("100000000", "00010002000000000001"), ("120", "00010000000000000078"),
            ("5e3", "00010000000000001388"), ("-0.5", "0001ffff400000011388"),
            ("10000.0001", "0003000100000004000100000001"),
            (
                "99999999999999999999999999999999999999",
                "000a0009000000000063270f270f270f270f270f270f270f270f270f"
            ),
            ("0.00000000000000000000000000000000000001", "0001fff6000000260064"),
            (
                "123456789012345678901234567.12345678901",
                "000a00060000000b007b11d722c509291a85007b11d704d2162e2332"
            ),
            ("1e50", "0001000c000000000064"), ("1234e-100", "0001ffe70000006404d2"),
        ]
    )
    func numeric(text: String, hex: String) throws {
        let value = try #require(Decimal(string: text))
        #expect(try field(value, as: .numeric) == hex)
    }

    @Test("encodes NaN as the server does")
    func notANumber() throws {
        #expect(try field(Decimal.nan, as: .numeric) == "00000000c0000000")
    }

    @Test("encodes numbers most significant byte first")
    func numbers() throws {
        #expect(try field(true, as: .bool) == "01")
        #expect(try field(false, as: .bool) == "00")
        #expect(try field(Int16(-2), as: .int2) == "fffe")
        #expect(try field(Int32(258), as: .int4) == "00000102")
        #expect(try field(Int64.min, as: .int8) == "8000000000000000")
        #expect(try field(7, as: .int8) == "0000000000000007")
        #expect(try field(Float(1.5), as: .float4) == "3fc00000")
        #expect(try field(-0.1, as: .float8) == "bfb999999999999a")
    }

    @Test("encodes texts, bytes, UUIDs and JSON")
    func texts() throws {
        #expect(try field("", as: .text) == "")
        #expect(try field("ä", as: .varchar) == "c3a4")
        #expect(try field(Suit.hearts, as: .enumeration) == "686561727473")
        #expect(try field(JSONText(#"{"a": 1}"#), as: .jsonb) == "017b2261223a20317d")
        #expect(try field(JSONText("5"), as: .json) == "35")
        #expect(try field([0, 255] as [UInt8], as: .bytea) == "00ff")
        #expect(try field(Data([1, 0]), as: .bytea) == "0100")
        let uuid = try #require(UUID(uuidString: "7d444840-9dc0-11d1-b245-5ffdce74fad2"))
        #expect(try field(uuid, as: .uuid) == "7d4448409dc011d1b2455ffdce74fad2")
        #expect(try field(UUIDWords(uuid), as: .uuid) == "7d4448409dc011d1b2455ffdce74fad2")
    }

    @Test("encodes arrays as the server does")
    func arrays() throws {
        let uuid = try #require(UUID(uuidString: "7d444840-9dc0-11d1-b245-5ffdce74fad2"))
        #expect(
            try field(["a", "", "ä"], as: .textArray)
                == "000000010000000000000019000000030000000100000001610000000000000002c3a4"
        )
        #expect(try field([] as [String], as: .textArray) == "000000000000000000000019")
        #expect(
            try field([1, -1] as [Int64], as: .int8Array)
                == "000000010000000000000014000000020000000100000008000000000000000100000008"
                + "ffffffffffffffff"
        )
        #expect(
            try field([uuid], as: .uuidArray)
                == "000000010000000000000b860000000100000001000000107d4448409dc011d1b2455ffd"
                + "ce74fad2"
        )
    }

    @Test("encodes days and times from the year 2000 on")
    func times() throws {
        for (text, hex) in [
            ("2000-01-01", "00000000"), ("1999-12-31", "ffffffff"), ("2026-03-01", "00002554"),
            ("0001-01-01", "fff4dbf9"), ("9999-12-31", "002c95d3"),
        ] {
            let time = try #require(Timestamp("\(text)T00:00:00Z"))
            #expect(try field(time.day, as: .date) == hex)
        }
        for (text, hex) in [
            ("2000-01-01T00:00:00Z", "0000000000000000"),
            ("1999-12-31T23:59:59.999999Z", "ffffffffffffffff"),
            ("2026-03-01T09:30:00.125Z", "0002eef1e207fe48"),
        ] {
            let time = try #require(Timestamp(text))
            #expect(try field(time, as: .timestamptz) == hex)
            #expect(try field(time, as: .timestamp) == hex)
        }
    }

    @Test("refuses days and times that the server cannot hold")
    func limits() throws {
        // 4714-11-24 BC is the first day; before it the server says "date out of range".
        #expect(try field(Day(daysSince1970: -2_440_588), as: .date) == "ffda97a7")
        #expect(throws: ColumnError.outOfRange(.date)) {
            try field(Day(daysSince1970: -2_440_589), as: .date)
        }
        #expect(throws: ColumnError.outOfRange(.date)) {
            try field(Day(daysSince1970: .max), as: .date)
        }
        for microseconds in [Int64.min, -210_866_803_200_000_001] {
            #expect(throws: ColumnError.outOfRange(.timestamptz)) {
                try field(Timestamp(microseconds: microseconds), as: .timestamptz)
            }
        }
        #expect(
            try field(Timestamp(microseconds: -210_866_803_200_000_000), as: .timestamptz)
                == "fd0f7cc1411fa000"
        )
    }

    @Test("a missing value is NULL")
    func null() throws {
        var buffer = RowBuffer()
        try (nil as Int64?).encode(into: &buffer, as: .int8)
        #expect(Array(buffer.bytes) == [255, 255, 255, 255])
        #expect(try field(5 as Int64?, as: .int8) == "0000000000000005")
        #expect((String?).isNullable && !String.isNullable)
        #expect((Suit?).labels == ["hearts", "spades"])
        #expect((Suit?).columnTypes == [.enumeration, .text, .varchar])
    }

    @Test("refuses a text with U+0000, also in an array")
    func nul() {
        #expect(throws: ColumnError.nulInText) { try field("a\0", as: .text) }
        #expect(throws: ColumnError.nulInText) { try field(["a", "\0"], as: .textArray) }
    }

    @Test("an array may hold as many elements as memory does")
    func longArray() throws {
        let hex = try field(Array(repeating: "x", count: 20_000), as: .textArray)
        #expect(hex.utf8.count == 2 * (20 + 20_000 * 5))
    }
}

@Suite("RowBuffer")
struct RowBufferTests {
    @Test("grows without losing a byte")
    func growth() {
        var buffer = RowBuffer(capacity: 1)
        var expected: [UInt8] = []
        for number in 0..<2_000 {
            let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: number % 97)
            bytes.withUnsafeBytes { buffer.append($0) }
            buffer.append(UInt16(number))
            expected += bytes + [UInt8(number >> 8), UInt8(number & 255)]
        }
        #expect(Array(buffer.bytes) == expected)
        [UInt8](repeating: 9, count: 1_000_000).withUnsafeBytes { buffer.appendField($0) }
        #expect(buffer.count == expected.count + 4 + 1_000_000)
        #expect(buffer.bytes.prefix(expected.count).elementsEqual(expected))
    }

    @Test("forgets what it is told to")
    func truncation() {
        var buffer = RowBuffer(capacity: 64)
        buffer.append(Int32(1))
        buffer.append(Int32(2))
        buffer.overwrite(at: 0, with: 7)
        buffer.truncate(to: 4)
        buffer.appendNull()
        #expect(Array(buffer.bytes) == [0, 0, 0, 7, 255, 255, 255, 255])
        buffer.removeAll()
        #expect(buffer.bytes.isEmpty)
    }
}

private enum Suit: String, ColumnEnum {
    case hearts
    case spades
}

/// The field's bytes as hexadecimal digits, after a look at the length in front of them.
private func field(_ value: some ColumnValue, as type: ColumnType) throws -> String {
    var buffer = RowBuffer(capacity: 1)
    try value.encode(into: &buffer, as: type)
    let bytes = Array(buffer.bytes)
    let length = bytes.prefix(4).reduce(0) { $0 << 8 | Int($1) }
    #expect(length == bytes.count - 4)
    return bytes.dropFirst(4).map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }
        .joined()
}
