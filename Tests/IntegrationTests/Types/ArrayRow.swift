internal import Foundation
internal import Ledgers
internal import ProjectionKit

/// One row type with an array of every type that an array can hold.
struct ArrayRow: TableRow {
    var id: Int64
    var bools: [Bool]?
    var int2s: [Int16]?
    var int4s: [Int32]?
    var int8s: [Int64]?
    var ints: [Int]?
    var float4s: [Float]?
    var float8s: [Double]?
    var numerics: [Decimal]?
    var texts: [String]?
    var varchars: [String]?
    var chars: [String]?
    var datas: [Data]?
    var uuids: [UUID]?
    var eventIDs: [UUIDWords]?
    var days: [Day]?
    var timestamps: [Timestamp]?
    var timestamptzs: [Timestamp]?
    var jsons: [JSONText]?
    var jsonbs: [JSONText]?
    var citext: String?
    var xml: String?
    var changes: Int64 = 0

    var key: Int64 { id }

    static let table = TableDefinition<ArrayRow>("array_row", key: "id") {
        Column("id", \.id)
        Column("b", \.bools)
        Column("i2", \.int2s)
        Column("i4", \.int4s)
        Column("i8", \.int8s)
        Column("i", \.ints)
        Column("f4", \.float4s)
        Column("f8", \.float8s)
        Column("n", \.numerics)
        Column("t", \.texts)
        Column("vc", \.varchars)
        Column("ch", \.chars)
        Column("ba", \.datas)
        Column("u", \.uuids)
        Column("ev", \.eventIDs)
        Column("d", \.days)
        Column("ts", \.timestamps)
        Column("tz", \.timestamptzs)
        Column("j", \.jsons)
        Column("jb", \.jsonbs)
        Column("ci", \.citext)
        Column("x", \.xml)
        Column("changes", \.changes)
    }

    static let samples = [
        ArrayRow(id: 0),
        ArrayRow(
            id: 1,
            bools: [],
            int2s: [],
            int4s: [],
            int8s: [],
            ints: [],
            float4s: [],
            float8s: [],
            numerics: [],
            texts: [],
            varchars: [],
            chars: [],
            datas: [],
            uuids: [],
            eventIDs: [],
            days: [],
            timestamps: [],
            timestamptzs: [],
            jsons: [],
            jsonbs: [],
            citext: "",
            xml: ""
        ),
        ArrayRow(
            id: 2,
            bools: [true, false],
            int2s: [.min, .max],
            int4s: [.min, .max],
            int8s: [.min, .max],
            ints: [.min, .max],
            float4s: [0.1, -.infinity],
            float8s: [0.1, .infinity],
            numerics: [Decimal(sign: .minus, exponent: -3, significand: 1_250), 0],
            texts: ["", "NULL", "{\"}", "a,b", "é"],
            varchars: ["x"],
            chars: ["ab"],
            datas: [Data(), Data([0, 255])],
            uuids: [UUIDWords(high: 0, low: 10).uuid],
            eventIDs: [UUIDWords(high: 0, low: 11)],
            days: [Day(daysSince1970: 0), Day(daysSince1970: -1)],
            timestamps: [Timestamp(microseconds: 1)],
            timestamptzs: [Timestamp(microseconds: -1)],
            jsons: [JSONText("{\"a\":  1}")],
            jsonbs: [JSONText("{\"a\":  1}"), JSONText("null")],
            citext: "MiXed",
            xml: "<a>b</a>"
        ),
    ]

    /// What SQL writes for the samples.
    static let literals = [
        "0" + String(repeating: ", NULL", count: 21),
        "1" + String(repeating: ", '{}'", count: 19) + ", '', ''",
        """
        2, '{t,f}', '{-32768,32767}', '{-2147483648,2147483647}',
        '{-9223372036854775808,9223372036854775807}', '{-9223372036854775808,9223372036854775807}',
        '{0.1,-Infinity}', '{0.1,Infinity}', '{-1.25,0}',
        ARRAY['', 'NULL', '{"}', 'a,b', 'é'], '{x}', '{ab}',
        ARRAY['', '\\x00ff']::bytea[], '{00000000-0000-0000-0000-00000000000A}',
        '{00000000-0000-0000-0000-00000000000B}', '{1970-01-01,1969-12-31}',
        '{1970-01-01 00:00:00.000001}', '{1969-12-31 23:59:59.999999+00}',
        ARRAY['{"a":  1}']::json[], ARRAY['{"a":  1}', 'null']::jsonb[], 'MiXed', '<a>b</a>'
        """,
    ]
}

struct ArrayRows: Projection {
    static let name = "array_rows"
    static let setup: String? = "CREATE EXTENSION IF NOT EXISTS citext"
    static let schema: String? = """
        CREATE TABLE array_row (
            id bigint PRIMARY KEY, b boolean[], i2 smallint[], i4 integer[], i8 bigint[], i bigint[],
            f4 real[], f8 double precision[], n numeric[], t text[], vc varchar(20)[], ch char(2)[],
            ba bytea[], u uuid[], ev uuid[], d date[], ts timestamp[], tz timestamptz[], j json[],
            jb jsonb[], ci citext, x xml, changes bigint NOT NULL)
        """
    var rows = Table<ArrayRow>()

    mutating func reduce(_ event: borrowing Event) throws {
        let index = try event.payload.int64("index")
        if rows[index] == nil { rows[index] = ArrayRow.samples[Int(index)] }
        rows[index]?.changes += 1
    }
}
