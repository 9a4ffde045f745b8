internal import Foundation
internal import Ledgers
internal import Postgres
internal import ProjectionKit
internal import ReadModels
internal import Rebuilder
internal import TestSupport
internal import Testing

@Suite("Bad data", .serialized)
struct BadDataTests {
    @Test(
        "a row that the table refuses stops the run: place named, no value shown, live untouched",
        arguments: [
            BadRow("a unique index", #"{"id": 2, "code": "s3cret-1"}"#, "entry_code_key"),
            BadRow("a text too long", #"{"id": 2, "code": "s3cret-ö-too-long"}"#, "code"),
            BadRow("a CHECK", #"{"id": 2, "amount": -73737}"#, "amount_is_positive"),
            BadRow("JSON that is none", #"{"id": 2, "document": "{s3cret-"}"#, "document"),
            BadRow(
                "JSON with U+0000",
                #"{"id": 2, "document": "{\"s3cret-\": \"\\u0000\"}"}"#,
                "document"
            ),
            BadRow("a NUL in a text", #"{"id": 2, "nulInWords": true}"#, "words", "U+0000"),
            BadRow("a NUL in an array", #"{"id": 2, "nulInList": true}"#, "list", "U+0000"),
            BadRow("a NUL in JSON", #"{"id": 2, "nulInJSON": true}"#, "document"),
            BadRow("a numeric overflow", #"{"id": 2, "price": 73737.37}"#, "price"),
            BadRow("a domain's CHECK", #"{"id": 2, "shout": "s3cret-"}"#, "shout"),
            BadRow("an exclusion constraint", #"{"id": 2, "slot": 73737}"#, "entry_slot_excl"),
            BadRow("a time beyond PostgreSQL's", #"{"id": 2, "farTime": true}"#, "at"),
        ]
    )
    func badRow(_ row: BadRow) async throws {
        for strategy in [Strategy.swap, .truncate] {
            try await withRebuildScene { scene in
                try await Self.prepare(scene)
                let live = try await scene.rows(of: "public.entry")
                try scene.append([
                    NewEvent(stream: "entry-2", type: "Entered", data: #"{"id": 2}"#),
                    NewEvent(stream: "entry-2", type: "Entered", data: row.data),
                    NewEvent(stream: "entry-3", type: "Entered", data: #"{"id": 3}"#),
                ])
                let message = try await Self.failure(of: scene, strategy: strategy)
                for part in ["entry"] + row.said {
                    #expect(message.contains(part), "\(strategy): \(message)")
                }
                // What only an index finds has no row that the server names.
                if row.hasPlace {
                    let event = "came with the event at position 0000000000000003-"
                    #expect(message.contains(event), "\(strategy): \(message)")
                    #expect(message.contains("stream entry-2,"), "\(strategy): \(message)")
                }
                for value in ["s3cret", "73737"] {
                    #expect(!message.contains(value), "\(strategy): \(message)")
                    let recorded = try await scene.database.query(
                        "SELECT FROM reprise.run WHERE strpos(error, $1) > 0",
                        [.text(value)]
                    )
                    #expect(recorded.rows.isEmpty)
                }
                #expect(try await scene.rows(of: "public.entry") == live)

                // The next run is of a ledger without that event.
                let fixed = try await Self.fixed(scene)
                var options = RebuildOptions()
                options.acceptsOtherLedger = true
                let report = try await fixed.rebuild(Entries.self, options: options)
                #expect(report.isLive)
                #expect(try await fixed.strayHomes() == 0)
                let homes = try await fixed.database.count(
                    "pg_catalog.pg_namespace WHERE nspname LIKE 'entries%'"
                )
                #expect(homes <= 2)
                #expect(try await fixed.rows(of: "public.entry") == live)
            }
        }
    }

    /// Rebuilds, and gives the message of the error that is expected.
    private static func failure(of scene: RebuildScene, strategy: Strategy) async throws -> String {
        var options = RebuildOptions()
        options.strategy = strategy
        let error = await #expect(throws: ReadModelError.self) {
            _ = try await scene.rebuild(Entries.self, options: options)
        }
        return error.map { "\($0)" } ?? ""
    }

    private static func prepare(_ scene: RebuildScene) async throws {
        try scene.append([good])
        let report = try await scene.rebuild(Entries.self)
        #expect(report.generation == 1)
    }

    private static func fixed(_ scene: RebuildScene) async throws -> RebuildScene {
        let path = scene.ledgerPath + ".fixed"
        try SQLiteLedger.create(path: path)
        var fixed = scene
        fixed.ledgerPath = path
        try fixed.append([good])
        return fixed
    }

    private static let good = NewEvent(
        stream: "entry-1",
        type: "Entered",
        data: #"{"id": 1, "code": "s3cret-1", "slot": 73737}"#
    )
}

struct BadRow: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let data: String
    let said: [String]
    /// Whether the server says which row it is.
    var hasPlace: Bool { !["a unique index", "an exclusion constraint"].contains(testDescription) }

    init(_ testDescription: String, _ data: String, _ said: String...) {
        self.testDescription = testDescription
        self.data = data
        self.said = said
    }
}

private struct Entry: TableRow {
    var id: Int64
    var code: String?
    var amount: Int64?
    var document: JSONText?
    var words: String?
    var list: [String] = []
    var price: Double?
    var shout: String?
    var slot: Int64?
    var at: Timestamp?
    var key: Int64 { id }
    var decimalPrice: Decimal? { price.map { Decimal($0) } }

    static let table = TableDefinition<Entry>("entry", key: "id") {
        Column("id", \.id)
        Column("code", \.code)
        Column("amount", \.amount)
        Column("document", \.document)
        Column("words", \.words)
        Column("list", \.list)
        Column("price", \.decimalPrice)
        Column("shout", \.shout)
        Column("slot", \.slot)
        Column("at", \.at)
    }
}

private struct Entries: Projection {
    static let name = "entries"
    static let setup: String? = """
        DO $$ BEGIN CREATE DOMAIN upper_text AS text CHECK (VALUE = upper(VALUE));
        EXCEPTION WHEN duplicate_object THEN NULL; END $$
        """
    static let schema: String? = """
        CREATE TABLE entry (
            id bigint PRIMARY KEY, code varchar(8) UNIQUE,
            amount bigint CONSTRAINT amount_is_positive CHECK (amount > 0), document jsonb,
            words text, list text[], price numeric(5, 2), shout upper_text, slot bigint,
            at timestamptz, EXCLUDE USING btree (slot WITH =)
        )
        """
    var rows = Table<Entry>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("id")
        var row = Entry(id: id)
        row.code = try event.payload.stringIfPresent("code")
        row.amount = try event.payload.int64IfPresent("amount")
        row.document = try event.payload.stringIfPresent("document").map { JSONText($0) }
        row.price = try event.payload.doubleIfPresent("price")
        row.shout = try event.payload.stringIfPresent("shout")
        row.slot = try event.payload.int64IfPresent("slot")
        if try event.payload.contains("nulInWords") { row.words = "s3cret\0" }
        if try event.payload.contains("nulInList") { row.list = ["a", "s3cret\0"] }
        if try event.payload.contains("nulInJSON") { row.document = JSONText("\"s3cret\0\"") }
        if try event.payload.contains("farTime") { row.at = Timestamp(microseconds: .min) }
        rows[id] = row
    }
}
