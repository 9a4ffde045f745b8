internal import Foundation
internal import Ledgers
internal import ProjectionKit

/// Columns whose values travel as text: one value each, and NULL.
struct PassedRow: TableRow {
    var id: Int64
    var texts: [String: String] = [:]
    var changes: Int64 = 0

    var key: Int64 { id }
    var inet: String? { texts["inet"] }
    var cidr: String? { texts["cidr"] }
    var interval: String? { texts["interval"] }
    var time: String? { texts["time"] }
    var timetz: String? { texts["timetz"] }
    var bit: String? { texts["bit"] }
    var varbit: String? { texts["varbit"] }
    var int4range: String? { texts["int4range"] }
    var tstzrange: String? { texts["tstzrange"] }
    var point: String? { texts["point"] }
    var macaddr: String? { texts["macaddr"] }
    var money: String? { texts["money"] }
    var tsvector: String? { texts["tsvector"] }
    var inets: String? { texts["inets"] }
    var pair: String? { texts["pair"] }
    var mood: String? { texts["mood"] }
    var positive: String? { texts["positive"] }

    static let table = TableDefinition<PassedRow>("passed_row", key: "id") {
        Column("id", \.id)
        Column("inet", \.inet, as: "inet")
        Column("cidr", \.cidr, as: "cidr")
        Column("interval", \.interval, as: "interval")
        Column("time", \.time, as: "time without time zone")
        Column("timetz", \.timetz, as: "timetz")
        Column("bit", \.bit, as: "bit(3)")
        Column("varbit", \.varbit, as: "varbit")
        Column("int4range", \.int4range, as: "int4range")
        Column("tstzrange", \.tstzrange, as: "tstzrange")
        Column("point", \.point, as: "point")
        Column("macaddr", \.macaddr, as: "macaddr")
        Column("money", \.money, as: "money")
        Column("tsvector", \.tsvector, as: "tsvector")
        Column("inets", \.inets, as: "inet[]")
        Column("pair", \.pair, as: "pair")
        Column("mood", \.mood, as: "mood[]")
        Column("positive", \.positive, as: "positive")
        Column("changes", \.changes)
    }

    static let values = [
        "inet": "10.1.2.3/8", "cidr": "10.0.0.0/8", "interval": "1 mon 2 days 00:00:03.5",
        "time": "23:59:59.999999", "timetz": "01:02:03+02", "bit": "101", "varbit": "10",
        "int4range": "[1,5)", "tstzrange": "[\"2020-01-01 00:00:00+00\",)", "point": "(1.5,-2)",
        "macaddr": "08:00:2b:01:02:03", "money": "$12.30", "tsvector": "'a':1 'b':2",
        "inets": "{10.0.0.1,::1}", "pair": "(1,\"a b\")", "mood": "{calm,\"it's so\"}",
        "positive": "[1,2)",
    ]
}

struct PassedRows: Projection {
    static let name = "passed_rows"
    static let setup: String? = """
        DO $$ BEGIN CREATE TYPE mood AS ENUM ('calm', 'it''s so'); CREATE TYPE pair AS (a int, b text);
            CREATE DOMAIN positive AS int4range CHECK (lower(VALUE) > 0);
        EXCEPTION WHEN duplicate_object THEN NULL; END $$
        """
    static let schema: String? = """
        CREATE TABLE passed_row (
            id bigint PRIMARY KEY, inet inet, cidr cidr, interval interval, time time, timetz timetz,
            bit bit(3), varbit bit varying(5), int4range int4range, tstzrange tstzrange, point point,
            macaddr macaddr, money money, tsvector tsvector, inets inet[], pair pair, mood mood[],
            positive positive, changes bigint NOT NULL);
        CREATE INDEX ON passed_row USING gist (inet inet_ops)
        """
    var rows = Table<PassedRow>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("index")
        switch event.type {
        case EventType("Removed"): rows[id] = nil
        case EventType("Spoiled"):
            let column = try event.payload.string("column")
            rows[id]?.texts[column] = try event.payload.string("value")
        default:
            if rows[id] == nil {
                rows[id] = PassedRow(id: id, texts: id == 0 ? [:] : PassedRow.values)
            }
            rows[id]?.changes += 1
        }
    }
}
