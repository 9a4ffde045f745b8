internal import Foundation
internal import LedgerKit
internal import Ledgers
internal import Postgres
internal import ProjectionKit
internal import ReadModels
internal import Rebuilder
internal import TestSupport
internal import Testing

@Suite("What stops a rebuild before readers see it", .serialized)
struct RebuildGuardTests {
    @Test("an event that the reducer rejects is named with its place, path and reason")
    func rejectedEvent() async throws {
        try await withNotes { scene in
            let time = Timestamp(milliseconds: 1_767_225_600_000)
            let wrong = NewEvent(
                id: "note 3",
                time: time,
                stream: "note-3",
                type: "Noted",
                data: #"{"id": "x"}"#
            )
            let stored = try LedgerWriter.withWriter(path: scene.ledgerPath) {
                try $0.append([wrong])
            }
            let live = try await scene.rows(of: "public.note")
            let rejection = await #expect(throws: EventRejection.self) {
                _ = try await scene.rebuild(Notes.self)
            }
            let found = try #require(rejection)
            #expect(found.projection == "notes")
            #expect(found.event.eventID == "note 3")
            #expect(found.event.position == stored.first?.position)
            // It is filed behind the others, which are of now.
            let end = try #require(try scene.ledger().safePosition())
            let buckets = try scene.ledger().buckets(in: PositionSpan(through: end))
            #expect(found.event.bucket == buckets.last?.bucket)
            #expect(found.event.bucket.start > time.milliseconds)
            #expect(found.event.stream == "note-3")
            #expect(found.event.type == "Noted")
            #expect(found.path == "$.id")
            #expect(found.reason.isEmpty == false)
            #expect(try await scene.rows(of: "public.note") == live)
            #expect(try await scene.strayHomes() == 0)
            let run = try await scene.database.query(
                "SELECT state, generation FROM reprise.run ORDER BY run_id DESC LIMIT 1"
            )
            #expect(run.first?["state"] == "failed")
            #expect(run.first?["generation"] == nil)
        }
    }

    @Test("what a reducer says when it rejects an event is recorded, whatever it holds")
    func reducersWords() async throws {
        try await withNotes { scene in
            let rejection = await #expect(throws: EventRejection.self) {
                _ = try await scene.rebuild(Grumbler.self)
            }
            #expect(rejection?.reason == "it's \0 and \\ bad")
            #expect(rejection?.path == nil)
            let run = try await scene.database.query(
                "SELECT error FROM reprise.run WHERE projection = 'grumbler' AND state = 'failed'"
            )
            #expect(run.first?["error"]?.contains(#"it's \u{0} and "#) == true)
        }
    }

    @Test("a run that follows another at once finds its lock free")
    func oneAfterAnother() async throws {
        try await withNotes { scene in
            for _ in 1...10 { _ = try await scene.control(Notes.self).prune(keep: 1) }
        }
    }

    @Test("an empty ledger makes empty tables, and never empties tables that have rows")
    func emptyLedger() async throws {
        try await GivenSQL.$schema.withValue(SchemaFileTests.note) {
            try await withRebuildScene { scene in
                let first = try await scene.rebuild(Notes.self)
                #expect(first.isLive)
                #expect(first.events == 0)
                #expect(first.position == nil)
                #expect(try await scene.database.count("public.note") == 0)
                let again = try await scene.rebuild(Notes.self)
                #expect(again.generation == 2)
                try await scene.database.execute("INSERT INTO public.note VALUES (1, 'by hand')")
                for strategy in [Strategy.swap, .truncate] {
                    let message = await complaint(of: scene, strategy: strategy)
                    #expect(
                        message.contains("'public.note'") || message.contains("'note'"),
                        "\(message)"
                    )
                    #expect(message.contains("--allow-empty"))
                    #expect(try await scene.database.count("public.note") == 1)
                }
                var options = RebuildOptions()
                options.guards = RowGuards(allowsEmpty: true)
                let emptied = try await scene.rebuild(Notes.self, options: options)
                #expect(emptied.isLive)
                #expect(try await scene.database.count("public.note") == 0)
            }
        }
    }

    @Test("a table that would shrink by more than the limit stops the run, unless it is allowed")
    func shrink() async throws {
        try await withNotes { scene in
            try await scene.database.execute(
                "INSERT INTO public.note SELECT n, 'by hand' FROM generate_series(10, 20) AS n"
            )
            for strategy in [Strategy.swap, .truncate] {
                let message = await complaint(of: scene, strategy: strategy)
                #expect(message.contains("85 %"), "\(message)")
                #expect(message.contains("--max-shrink"))
                #expect(try await scene.database.count("public.note") == 13)
            }
            var options = RebuildOptions()
            options.guards = RowGuards(maxShrink: 0.84)
            await #expect(throws: ReadModelError.self) {
                _ = try await scene.rebuild(Notes.self, options: options)
            }
            options.guards = RowGuards(maxShrink: 0.85)
            let report = try await scene.rebuild(Notes.self, options: options)
            #expect(report.isLive)
            #expect(try await scene.database.count("public.note") == 2)
            #expect(try await scene.strayHomes() == 0)
        }
    }

    @Test("a query of checks.sql that returns rows rejects the generation and shows no value")
    func failingCheck() async throws {
        let checks = """
            SELECT 1 WHERE false;
            SELECT id, words FROM note WHERE words = 's3cret';
            -- Two rows, one query.
            SELECT id AS other FROM note
            """
        try await withNotes { scene in
            try scene.append([Note.event(3, words: "s3cret")])
            let live = try await scene.rows(of: "public.note")
            for strategy in [Strategy.swap, .truncate] {
                let message = await GivenSQL.$checks.withValue(checks) {
                    await complaint(of: scene, strategy: strategy)
                }
                #expect(message.contains("query 2 of checks.sql returns 1 rows (id, words)"))
                #expect(message.contains("query 3 of checks.sql returns 3 rows (other)"))
                #expect(!message.contains("query 1"))
                #expect(!message.contains("s3cret"))
                #expect(try await scene.rows(of: "public.note") == live)
            }
            let rejected = try await scene.database.query(
                "SELECT generation FROM reprise.generation WHERE state = 'rejected'"
            )
            #expect(rejected.rows.map { $0["generation"] } == [])
            let report = try await scene.rebuild(Notes.self)
            #expect(report.isLive)
            #expect(try await scene.strayHomes() == 0)
        }
    }

    @Test("queries are answered on one snapshot, by their numbers, whatever stands between them")
    func manyQueries() async throws {
        let checks = """
            /* first */ SELECT 1 WHERE false; ;
            WITH n AS (SELECT id FROM note) SELECT id AS second FROM n WHERE id = 1;
            VALUES ($$a;b$$, 'c;d');
            TABLE note
            """
        let reasons = [
            "query 2 of checks.sql returns 1 rows (second)",
            "query 3 of checks.sql returns 1 rows (column1, column2)",
            "query 4 of checks.sql returns 3 rows (id, words)",
        ]
        try await withNotes { scene in
            try scene.append([Note.event(4, words: "four")])
            for strategy in [Strategy.swap, .truncate] {
                let message = await GivenSQL.$checks.withValue(checks) {
                    await complaint(of: scene, strategy: strategy)
                }
                for reason in reasons { #expect(message.contains(reason), "\(message)") }
                #expect(!message.contains("query 1 "))
            }
        }
    }

    @Test("after a failed check of a truncate the advice helps, and names no home (M7)")
    func truncateAdvice() async throws {
        try await withNotes { scene in
            try await GivenSQL.$checks.withValue("SELECT id FROM note") {
                let message = await complaint(of: scene, strategy: .truncate)
                #expect(!message.contains("home schema"))
                #expect(message.contains("'reprise rebuild notes --no-swap'"))
                var options = RebuildOptions()
                options.swaps = false
                await #expect(throws: ReadModelError.self) {
                    _ = try await scene.rebuild(Notes.self, options: options)
                }
                let rejected = try await scene.database.query(
                    "SELECT home_schema FROM reprise.generation WHERE state = 'rejected'"
                ).first?.string("home_schema")
                let rows = try await scene.database.count("\(rejected ?? "none").note")
                #expect(rows == 2)
            }
        }
    }

    @Test(
        "the rows of a check are counted on the server (M4)",
        arguments: ["", "SET LOCAL statement_timeout = '5min';"]
    )
    func manyRows(before: String) async throws {
        let rows = 3_000_000
        let checks = """
            \(before) SELECT g AS id, repeat('x', 200) AS words
            FROM generate_series(1, \(rows)) AS g -- all of them
            """
        try await withNotes { scene in
            for strategy in [Strategy.swap, .truncate] {
                // Resets the high-water mark (proc(5)).
                try "5".write(toFile: "/proc/self/clear_refs", atomically: false, encoding: .utf8)
                let memory = Memory.peak
                let message = await GivenSQL.$checks.withValue(checks) {
                    await complaint(of: scene, strategy: strategy)
                }
                #expect(message.contains("returns \(rows) rows (id, words)"), "\(message)")
                // Held by the client they would be 900 MB.
                #expect(Memory.peak - memory < 300 << 20)
            }
        }
    }

    @Test("statements that lean on one another are run in their order")
    func dependentStatements() async throws {
        let checks = """
            SET LOCAL statement_timeout = '1min';
            SELECT 1 WHERE pg_catalog.current_setting('statement_timeout') <> '1min'
            """
        try await withNotes { scene in
            try await GivenSQL.$checks.withValue(checks) {
                let report = try await scene.rebuild(Notes.self)
                #expect(report.isLive)
            }
        }
    }

    @Test("a check that fails on the rows, and not on empty tables, stops the run as well")
    func checkThatRaises() async throws {
        let checks = "SELECT 1 FROM note WHERE 1 / (id - 1) > 5"
        try await withNotes { scene in
            try await GivenSQL.$checks.withValue(checks) {
                let plan = try await scene.plan(Notes.self)
                #expect(plan.refusals == [])
                for strategy in [Strategy.swap, .truncate] {
                    let message = await complaint(of: scene, strategy: strategy)
                    #expect(message.contains("division by zero"), "\(message)")
                }
            }
            #expect(try await scene.database.count("public.note") == 2)
        }
        let onEmpty = "SELECT 1 WHERE 1 / (SELECT count(*) FROM note) > 5"
        try await withNotes { scene in
            try await GivenSQL.$checks.withValue(onEmpty) {
                let report = try await scene.rebuild(Notes.self)
                #expect(report.isLive)
            }
        }
    }

    /// Two live notes.
    private func withNotes(_ body: (RebuildScene) async throws -> Void) async throws {
        try await GivenSQL.$schema.withValue(SchemaFileTests.note) {
            try await withRebuildScene { scene in
                try scene.append([Note.event(1), Note.event(2)])
                _ = try await scene.rebuild(Notes.self)
                try await body(scene)
            }
        }
    }

    /// The message of the error that stops a rebuild.
    private func complaint(of scene: RebuildScene, strategy: Strategy) async -> String {
        var options = RebuildOptions()
        options.strategy = strategy
        let error = await #expect(throws: ReadModelError.self) {
            _ = try await scene.rebuild(Notes.self, options: options)
        }
        return error.map { "\($0)" } ?? ""
    }
}

/// Refuses every event.
private struct Grumbler: Projection {
    static let name = "grumbler"
    static let schema: String? = "CREATE TABLE grumbled (id bigint PRIMARY KEY, words text)"
    var rows = Table<Grumbled>()

    mutating func reduce(_ event: borrowing Event) throws {
        throw EventError("it's \0 and \\ bad")
    }
}

private struct Grumbled: TableRow {
    var key: Int64

    static let table = TableDefinition<Grumbled>("grumbled", key: "id") { Column("id", \.key) }
}
