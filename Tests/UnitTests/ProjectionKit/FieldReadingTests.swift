import FoundationEssentials
import ProjectionKit
import TestSupport
import Testing

@Suite("Fields read back")
struct FieldReadingTests {
    private static let edges: [(any ColumnValue, ColumnType)] = [
        (true, .bool), (false, .bool), (Int16.min, .int2), (Int16.max, .int2), (Int32.min, .int4),
        (Int64.min, .int8), (Int.max, .int8), (-Float.infinity, .float4), (Float.nan, .float4),
        (-0.0, .float8), (Double.leastNonzeroMagnitude, .float8), (Double.nan, .float8),
        ("", .text), ("\u{1F989}e\u{301}", .varchar), (String(repeating: "ö", count: 9_999), .text),
        (EveryValue.Mood.quoted, .enumeration), (EveryValue.Mood.calm, .text),
        (JSONText("{}"), .jsonb), (JSONText(""), .json), ([] as [UInt8], .bytea), (Data(), .bytea),
        (Day(daysSince1970: -2_440_588), .date), (Day(daysSince1970: 2_145_042_905), .date),
        (Timestamp(microseconds: -210_866_803_200_000_000), .timestamptz),
        (Timestamp(microseconds: .max), .timestamp), ([] as [String], .textArray),
        (["", "NULL", "ä"], .textArray), ([.min, .max] as [Int64], .int8Array),
        ([] as [UUID], .uuidArray), (nil as String?, .text), (7 as Int64?, .int8),
        (Decimal.zero, .numeric), (Decimal.nan, .numeric),
        (Decimal.greatestFiniteMagnitude, .numeric), (Decimal.leastNonzeroMagnitude, .numeric),
        (-1 * Decimal.greatestFiniteMagnitude, .numeric), (Decimal(UInt64.max) + 1, .numeric),
        (Decimal(sign: .minus, exponent: -128, significand: 3), .numeric),
        (Decimal(sign: .plus, exponent: 127, significand: 7), .numeric),
    ]

    @Test("what is written comes back")
    func roundTrip() throws {
        for (value, type) in FieldReadingTests.edges { try expectRoundTrip(value, as: type) }
    }

    @Test("random values come back", arguments: [1, 2, 3] as [UInt64])
    func randomValues(seed: UInt64) throws {
        print("values written and read: seed \(seed)")
        var random = SeededRandom(seed: seed)
        for id in 0..<100 {
            let row = EveryValue(id: Int64(id), random: &random)
            for (value, type) in row.values { try expectRoundTrip(value, as: type) }
        }
    }

    @Test("no damage traps, and what is accepted stays the same", arguments: [7, 8] as [UInt64])
    func damage(seed: UInt64) throws {
        print("damaged fields: seed \(seed)")
        var random = SeededRandom(seed: seed)
        for id in 0..<15 {
            let row = EveryValue(id: Int64(id), random: &random)
            for (value, type) in row.values + FieldReadingTests.edges {
                var bytes = try fieldBytes(value, as: type) ?? []
                guard bytes.count < 2_000 else { continue }
                expectSteady(like: value, Array(bytes.dropLast()), as: type)
                let more = UInt8(truncatingIfNeeded: random.next())
                expectSteady(like: value, bytes + [more], as: type)
                bytes.removeLast(Int.random(in: 0...bytes.count, using: &random))
                expectSteady(like: value, bytes, as: type)
                for _ in 0..<8 where !bytes.isEmpty {
                    let index = Int.random(in: 0..<bytes.count, using: &random)
                    bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                    expectSteady(like: value, bytes, as: type)
                }
            }
        }
    }

    @Test("a value of a fixed length has this length")
    func lengths() throws {
        for (value, type) in [
            (true, .bool), (Int16(1), .int2), (Int32(1), .int4), (Int64(1), .int8), (1, .int8),
            (Float(1), .float4), (1.0, .float8), (UUIDWords(high: 1, low: 2), .uuid),
            (UUIDWords(high: 1, low: 2).uuid, .uuid), (Day(daysSince1970: 1), .date),
            (Timestamp(microseconds: 1), .timestamp), (Decimal(12), .numeric),
            (["a"], .textArray), ([1] as [Int64], .int8Array),
        ] as [(any ColumnValue, ColumnType)] {
            let bytes = try #require(try fieldBytes(value, as: type))
            for damaged in [[], Array(bytes.dropLast()), bytes + [0]] {
                #expect(throws: ColumnError.unreadable(type), "\(value)") {
                    try read(like: value, damaged, as: type)
                }
            }
            #expect(throws: ColumnError.unexpectedNull) { try read(like: value, nil, as: type) }
        }
    }

    @Test("a field that the Swift type cannot hold is refused", arguments: refusedFields)
    func refused(field: RefusedField) {
        #expect(throws: field.error) { try read(like: field.value, field.bytes, as: field.type) }
    }

    struct RefusedField: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let value: any ColumnValue
        let type: ColumnType
        let bytes: [UInt8]
        let error: ColumnError

        init(
            _ name: String,
            _ value: any ColumnValue,
            _ type: ColumnType,
            _ bytes: [UInt8],
            error: ColumnError? = nil
        ) {
            testDescription = name
            self.value = value
            self.type = type
            self.bytes = bytes
            self.error = error ?? .unreadable(type)
        }
    }

    // The bytes are those of PostgreSQL 15's send functions, such as
    // `SELECT array_send(ARRAY[1, NULL]::bigint[])`.
    private static let refusedFields: [RefusedField] = [
        RefusedField("a bool of 2", true, .bool, [2]),
        RefusedField("an unknown label", EveryValue.Mood.calm, .enumeration, Array("wild".utf8)),
        RefusedField("half a character", "", .text, [0x61, 0xc3]),
        RefusedField("a surrogate", "", .text, [0xed, 0xa0, 0x80]),
        RefusedField("U+0000", "", .text, [0x61, 0], error: .nulInText),
        RefusedField("jsonb without version", JSONText(""), .jsonb, []),
        RefusedField("jsonb of version 2", JSONText(""), .jsonb, [2, 0x31]),
        RefusedField("date infinity", Day(daysSince1970: 0), .date, [0x7f, 255, 255, 255]),
        RefusedField("date -infinity", Day(daysSince1970: 0), .date, [0x80, 0, 0, 0]),
        RefusedField("time infinity", time, .timestamptz, [0x7f] + sevens(255)),
        RefusedField("time -infinity", time, .timestamptz, [0x80] + sevens(0)),
        // 294277-01-08 04:00:54.775807, the last that the server can hold.
        RefusedField(
            "a time beyond Int64",
            time,
            .timestamp,
            [0x7f, 0xff, 0xfc, 0xa2, 0xfe, 0xc4, 0xc8, 0x1f]
        ),
        RefusedField("numeric infinity", Decimal(), .numeric, [0, 0, 0, 0, 0xd0, 0, 0, 0x20]),
        RefusedField("numeric -infinity", Decimal(), .numeric, [0, 0, 0, 0, 0xf0, 0, 0, 0x20]),
        RefusedField(
            "a group of 10000",
            Decimal(),
            .numeric,
            [0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10]
        ),
        RefusedField("1e128", Decimal(), .numeric, [0, 1, 0, 32, 0, 0, 0, 0, 0, 1]),
        RefusedField("1e-129", Decimal(), .numeric, [0, 1, 0xff, 0xdf, 0, 0, 0, 129, 3, 232]),
        RefusedField(
            "40 nines",
            Decimal(),
            .numeric,
            [0, 10, 0, 9, 0, 0, 0, 0] + Array(repeating: [0x27, 0x0f], count: 10).joined()
        ),
        RefusedField(
            "an array with NULL",
            [] as [Int64],
            .int8Array,
            words(1, 1, 20, 2, 1, 8, 0, 1, -1)
        ),
        RefusedField(
            "an array of two dimensions",
            [] as [Int64],
            .int8Array,
            words(2, 0, 20, 1, 1, 1, 1, 8, 0, 1)
        ),
        RefusedField(
            "an array from 5 on",
            [] as [Int64],
            .int8Array,
            words(1, 0, 20, 1, 5, 8, 0, 1)
        ),
        RefusedField("another element type", [] as [Int64], .int8Array, words(0, 0, 21)),
        RefusedField(
            "a count beyond the bytes",
            [] as [String],
            .textArray,
            words(1, 0, 25, Int32.max, 1)
        ),
    ]

    private static let time = Timestamp(microseconds: 0)
    private static func sevens(_ byte: UInt8) -> [UInt8] { Array(repeating: byte, count: 7) }
    private static func words(_ words: Int32...) -> [UInt8] {
        words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (24 - 8 * $0)) } }
    }

    @Test("numeric is read as the server sends it, with zeros behind the point or not")
    func numeric() throws {
        let values: [(String, [UInt8])] = [
            ("1.5", [0, 2, 0, 0, 0, 0, 0, 2, 0, 1, 0x13, 0x88]),
            ("0", [0, 0, 0, 0, 0, 0, 0, 2]),
            ("-12345678.9", [0, 3, 0, 1, 0x40, 0, 0, 1, 4, 0xd2, 0x16, 0x2e, 0x23, 0x28]),
            ("1e50", [0, 1, 0, 12, 0, 0, 0, 0, 0, 100]),
            ("5e127", [0, 1, 0, 31, 0, 0, 0, 0, 0x13, 0x88]),
            ("1e-128", [0, 1, 0xff, 0xe0, 0, 0, 0, 128, 0, 1]),
        ]
        for (text, bytes) in values {
            let value = try read(like: Decimal(), bytes, as: .numeric)
            #expect(value == Decimal(string: text), "\(text)")
        }
    }
}

extension EveryValue {
    /// Its values with the types of their columns.
    fileprivate var values: [(any ColumnValue, ColumnType)] {
        [
            (bool, .bool), (int, .int8), (int2, .int2), (int4, .int4), (maybe, .int8),
            (float, .float4), (truth, .bool), (double, .float8), (decimal, .numeric), (text, .text),
            (mood, .enumeration), (json, .json), (jsonb, .jsonb), (bytes, .bytea), (data, .bytea),
            (uuid, .uuid), (eventID, .uuid), (day, .date), (time, .timestamp), (texts, .textArray),
            (numbers, .int8Array), (uuids, .uuidArray),
        ]
    }
}

/// The field's bytes without the length; nil for NULL.
private func fieldBytes(_ value: some ColumnValue, as type: ColumnType) throws -> [UInt8]? {
    var buffer = RowBuffer()
    try value.encode(into: &buffer, as: type)
    let bytes = Array(buffer.bytes)
    return bytes.prefix(4) == [255, 255, 255, 255] ? nil : Array(bytes.dropFirst(4))
}

@discardableResult
private func read<Value: ColumnValue>(
    like _: Value,
    _ bytes: [UInt8]?,
    as type: ColumnType
) throws -> Value {
    guard let bytes else { return try Value(field: nil, as: type) }
    // At an odd address, as in the middle of a row.
    return try ([0] + bytes).withUnsafeBytes {
        try Value(field: UnsafeRawBufferPointer(rebasing: $0.dropFirst()), as: type)
    }
}

private func expectRoundTrip(_ value: some ColumnValue, as type: ColumnType) throws {
    let bytes = try fieldBytes(value, as: type)
    let again = try read(like: value, bytes, as: type)
    #expect(try fieldBytes(again, as: type) == bytes, "\(value)")
    if let value = value as? any Hashable, let again = again as? any Hashable {
        // NaN is not equal to itself.
        let isNumber = AnyHashable(value) == AnyHashable(value)
        #expect(AnyHashable(value) == AnyHashable(again) || !isNumber, "\(value)")
    }
}

/// Damaged bytes either are refused or are a value, which then comes back as itself.
private func expectSteady(like value: some ColumnValue, _ bytes: [UInt8], as type: ColumnType) {
    #expect(throws: Never.self, "\(value): \(bytes)") {
        do {
            let value = try read(like: value, bytes, as: type)
            try expectRoundTrip(value, as: type)
        } catch is ColumnError {
        }
    }
}
