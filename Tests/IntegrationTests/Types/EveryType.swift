internal import Foundation
internal import Ledgers
internal import ProjectionKit

/// One row type with every column type, each of which can be NULL.
struct EveryType: TableRow {
    enum Mood: String, ColumnEnum {
        case calm
        case quoted = "it's \"so\""
    }

    var id: Int64
    var bool: Bool?
    var int2: Int16?
    var int4: Int32?
    var int8: Int64?
    var int: Int?
    var float4: Float?
    var float8: Double?
    var numeric: Decimal?
    var text: String?
    var varchar: String?
    var bpchar: String?
    var bytes: [UInt8]?
    var data: Data?
    var uuid: UUID?
    var eventID: UUIDWords?
    var date: Day?
    var timestamp: Timestamp?
    var timestamptz: Timestamp?
    var json: JSONText?
    var jsonb: JSONText?
    var mood: Mood?
    var moodText: Mood?
    var texts: [String]?
    var int8s: [Int64]?
    var uuids: [UUID]?

    var key: Int64 { id }

    static let columns = """
        b, i2, i4, i8, i, f4, f8, n, t, vc, ch, ba, da, u, ev, d, ts, tz, j, jb, m, mt, ta, ia, ua
        """

    static let table = TableDefinition<EveryType>("every_type", key: "id") {
        Column("id", \.id)
        Column("b", \.bool)
        Column("i2", \.int2)
        Column("i4", \.int4)
        Column("i8", \.int8)
        Column("i", \.int)
        Column("f4", \.float4)
        Column("f8", \.float8)
        Column("n", \.numeric)
        Column("t", \.text)
        Column("vc", \.varchar)
        Column("ch", \.bpchar)
        Column("ba", \.bytes)
        Column("da", \.data)
        Column("u", \.uuid)
        Column("ev", \.eventID)
        Column("d", \.date)
        Column("ts", \.timestamp)
        Column("tz", \.timestamptz)
        Column("j", \.json)
        Column("jb", \.jsonb)
        Column("m", \.mood)
        Column("mt", \.moodText)
        Column("ta", \.texts)
        Column("ia", \.int8s)
        Column("ua", \.uuids)
    }

    static func event(_ index: Int) -> NewEvent {
        NewEvent(stream: "sample", type: "Sampled", data: #"{"index": \#(index)}"#)
    }
}

struct EveryTypes: Projection {
    static let name = "every_types"
    static let setup: String? = """
        DO $$ BEGIN CREATE TYPE mood AS ENUM ('calm', 'it''s "so"', 'unused');
        EXCEPTION WHEN duplicate_object THEN NULL; END $$
        """
    static let schema: String? = """
        CREATE TABLE every_type (
            id bigint PRIMARY KEY, doubled bigint GENERATED ALWAYS AS (id * 2) STORED,
            stamped text NOT NULL DEFAULT 'kept',
            b boolean, i2 smallint, i4 integer, i8 bigint, i bigint, f4 real, f8 double precision,
            n numeric, t text, vc varchar(40), ch char(6), ba bytea, da bytea, u uuid, ev uuid,
            d date, ts timestamp, tz timestamptz, j json, jb jsonb, m mood, mt text,
            ta text[], ia bigint[], ua uuid[]
        )
        """
    var rows = Table<EveryType>()

    mutating func reduce(_ event: borrowing Event) throws {
        let index = try event.payload.int64("index")
        var row = EveryType.samples[Int(index)]
        row.id = index
        rows[index] = row
    }
}

extension EveryType {
    static let samples = [nothing, least, greatest, odd, small]
    /// What SQL writes for the values of the samples, in the order of ``columns``.
    static let literals = [
        nothingLiterals, leastLiterals, greatestLiterals, oddLiterals, smallLiterals,
    ]

    static let nothing = EveryType(id: 0)

    private static let nothingLiterals =
        Array(repeating: "NULL", count: columns.split(separator: ",").count)

    static let least = EveryType(
        id: 1,
        bool: false,
        int2: .min,
        int4: .min,
        int8: .min,
        int: .min,
        float4: -.infinity,
        float8: -.infinity,
        numeric: -1 * Decimal.greatestFiniteMagnitude,
        text: "",
        varchar: "",
        bpchar: "",
        bytes: [],
        data: Data(),
        uuid: UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
        eventID: UUIDWords(high: 0, low: 0),
        date: Day(daysSince1970: -2_440_588),
        timestamp: Timestamp(microseconds: -210_866_803_200_000_000),
        timestamptz: Timestamp(microseconds: -210_866_803_200_000_000),
        json: JSONText("null"),
        jsonb: JSONText("null"),
        mood: .calm,
        moodText: .calm,
        texts: [],
        int8s: [],
        uuids: []
    )

    private static let leastLiterals: [String] = [
        "false", "-32768", "-2147483648", "-9223372036854775808", "-9223372036854775808",
        "'-Infinity'", "'-Infinity'", "-\(hugeDecimal)", "''", "''", "''", "''", "''",
        "'00000000-0000-0000-0000-000000000000'", "'00000000-0000-0000-0000-000000000000'",
        "'4714-11-24 BC'", "'4714-11-24 00:00:00 BC'", "'4714-11-24 00:00:00+00 BC'", "'null'",
        "'null'", "'calm'", "'calm'", "'{}'", "'{}'", "'{}'",
    ]

    static let greatest = EveryType(
        id: 2,
        bool: true,
        int2: .max,
        int4: .max,
        int8: .max,
        int: .max,
        float4: .infinity,
        float8: .infinity,
        numeric: Decimal.greatestFiniteMagnitude,
        text: String(repeating: "ö", count: 70_000),
        varchar: String(repeating: "\u{1F989}", count: 40),
        bpchar: "äöüßéè",
        bytes: Array(0...255),
        data: Data(Array(0...255)),
        uuid: UUID(uuidString: "ffffffff-ffff-ffff-ffff-ffffffffffff"),
        eventID: UUIDWords(high: .max, low: .max),
        date: Day(year: 9_999, month: 12, day: 31),
        timestamp: Timestamp("9999-12-31T23:59:59.999999Z"),
        timestamptz: Timestamp(microseconds: .max),
        json: JSONText(#"{ "b": [1, 2.50],  "a": "\u00e4", "a": 1 }"#),
        jsonb: JSONText(#"{ "b": [1, 2.50],  "a": "\u00e4", "a": 1 }"#),
        mood: .quoted,
        moodText: .quoted,
        texts: ["", "NULL", "null", "a,b", "{}", "\"", "\\", "\n\t ", "\u{1F989}e\u{301}"],
        int8s: [.min, -1, 0, 1, .max],
        uuids: [UUID(uuidString: "7d444840-9dc0-11d1-b245-5ffdce74fad2")].compactMap { $0 }
    )

    private static let greatestLiterals: [String] = [
        "true", "32767", "2147483647", "9223372036854775807", "9223372036854775807",
        "'Infinity'", "'Infinity'", hugeDecimal, "repeat('ö', 70000)",
        "repeat('\u{1F989}', 40)",
        "'äöüßéè'", everyByte, everyByte, "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
        "'ffffffff-ffff-ffff-ffff-ffffffffffff'", "'9999-12-31'",
        "'9999-12-31 23:59:59.999999'",
        "'294247-01-10 04:00:54.775807+00'", #"'{ "b": [1, 2.50],  "a": "\u00e4", "a": 1 }'"#,
        #"'{ "b": [1, 2.50],  "a": "\u00e4", "a": 1 }'"#, #"'it''s "so"'"#, #"'it''s "so"'"#,
        #"ARRAY['', 'NULL', 'null', 'a,b', '{}', '"', E'\\', E'\n\t ', E'\U0001F989e\u0301']"#,
        "'{-9223372036854775808,-1,0,1,9223372036854775807}'",
        "'{7d444840-9dc0-11d1-b245-5ffdce74fad2}'",
    ]

    static let odd = EveryType(
        id: 3,
        bool: true,
        int2: -1,
        int4: -1,
        int8: -1,
        int: -1,
        float4: .nan,
        float8: .nan,
        numeric: .nan,
        text: "it's \"odd\" \\ \\N \r\n\t\u{1F989}\u{7f}\u{1}",
        varchar: "  both  ",
        bpchar: "a",
        bytes: [0],
        data: Data([0x5c, 0x27]),
        uuid: nil,
        eventID: nil,
        date: Day(daysSince1970: -1),
        timestamp: Timestamp(microseconds: -1),
        timestamptz: Timestamp(microseconds: -1),
        json: JSONText(" [ ] "),
        jsonb: JSONText(" [ ] "),
        mood: .quoted,
        moodText: .quoted,
        texts: ["\\N", "'"],
        int8s: [0],
        uuids: []
    )

    private static let oddLiterals: [String] = [
        "true", "-1", "-1", "-1", "-1", "'NaN'", "'NaN'", "'NaN'",
        #"E'it\'s "odd" \\ \\N \r\n\t\U0001F989\u007f\u0001'"#, "'  both  '", "'a'", #"'\x00'"#,
        #"'\x5c27'"#, "NULL", "NULL", "'1969-12-31'", "'1969-12-31 23:59:59.999999'",
        "'1969-12-31 23:59:59.999999+00'", "' [ ] '", "' [ ] '", #"'it''s "so"'"#,
        #"'it''s "so"'"#, #"ARRAY[E'\\N', '''']"#, "'{0}'", "'{}'",
    ]

    static let small = EveryType(
        id: 4,
        bool: false,
        int2: 0,
        int4: 0,
        int8: 0,
        int: 0,
        float4: -0.0,
        float8: .leastNonzeroMagnitude,
        numeric: -Decimal.leastNonzeroMagnitude,
        text: " ",
        varchar: nil,
        bpchar: nil,
        bytes: nil,
        data: nil,
        uuid: nil,
        eventID: nil,
        date: Day(year: 1_999, month: 12, day: 31),
        timestamp: Timestamp("1999-12-31T23:59:59.999999Z"),
        timestamptz: Timestamp("0001-01-01T00:00:00Z"),
        json: JSONText("\"x\""),
        jsonb: JSONText("0.10"),
        mood: nil,
        moodText: nil,
        texts: nil,
        int8s: nil,
        uuids: nil
    )

    private static let smallLiterals: [String] = [
        "false", "0", "0", "0", "0", "'-0'", "'4.9406564584124654e-324'",
        "-0.\(String(repeating: "0", count: 126))1", "' '", "NULL", "NULL", "NULL", "NULL",
        "NULL",
        "NULL", "'1999-12-31'", "'1999-12-31 23:59:59.999999'", "'0001-01-01 00:00:00+00'",
        #"'"x"'"#, "'0.10'", "NULL", "NULL", "NULL", "NULL", "NULL",
    ]

    // 2^128 - 1, then 127 zeros.
    private static let hugeDecimal =
        "340282366920938463463374607431768211455" + String(repeating: "0", count: 127)

    private static let everyByte =
        #"'\x"# + (0...255).map { String($0 / 16, radix: 16) + String($0 % 16, radix: 16) }.joined()
        + "'"
}
