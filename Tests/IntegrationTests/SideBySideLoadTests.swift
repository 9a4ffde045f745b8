import Foundation
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import ShopProjection
import TestSupport
import Testing

@Suite("Tables that are loaded side by side")
struct SideBySideLoadTests {
    private func options(jobs: Int) -> RebuildOptions {
        var options = RebuildOptions()
        options.jobs = jobs
        return options
    }

    @Test("rows, catalogue and statistics are those of one job", arguments: [2, 3, 16])
    func sameAsOneJob(jobs: Int) async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 5_000, seed: 9)
            _ = try await scene.rebuild(Shop.self, options: options(jobs: 1))
            let shape = try await scene.shape(of: "public")
            let rows = try await Self.rows(of: scene)
            let statistics = try await Self.statistics(of: scene)
            #expect(!statistics.isEmpty)
            let report = try await scene.rebuild(Shop.self, options: options(jobs: jobs))
            #expect(report.isLive)
            #expect(try await scene.shape(of: "public") == shape)
            #expect(try await Self.rows(of: scene) == rows)
            #expect(try await Self.statistics(of: scene) == statistics)
        }
    }

    @Test("an index over an expression has statistics when the generation goes live")
    func expressionIndex() async throws {
        try await withRebuildScene { scene in
            try await GivenSQL.$schema.withValue(
                """
                CREATE TABLE note (id bigint PRIMARY KEY, words text);
                CREATE INDEX note_length ON note (length(words));
                """
            ) {
                try scene.append((1...500).map { Note.event($0, words: "word \($0)") })
                _ = try await scene.rebuild(Notes.self, options: options(jobs: 2))
                let found = try await scene.rows(
                    of: "(SELECT tablename FROM pg_stats WHERE schemaname = 'public' ORDER BY 1)"
                )
                #expect(Set(found) == ["(note)", "(note_length)"])
            }
        }
    }

    @Test("the generation's transaction is the latest of those that copied its tables")
    func latestTransaction() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 3_000, seed: 9)
            _ = try await scene.rebuild(Shop.self, options: options(jobs: 3))
            // COPY FREEZE leaves the number of its transaction in xmin.
            let row = try await scene.database.query(
                """
                SELECT (SELECT load_xid FROM reprise.generation WHERE state = 'live') AS recorded,
                    greatest((SELECT max(xmin::text::bigint) FROM public.order_summary),
                        (SELECT max(xmin::text::bigint) FROM public.order_line),
                        (SELECT max(xmin::text::bigint) FROM public.customer_totals)) AS latest
                """
            ).first
            #expect(try row?.int("recorded") == row?.int("latest"))
        }
    }

    @Test(
        "a row that one table refuses ends all connections and names the table",
        arguments: [1, 4]
    )
    func refusedRow(jobs: Int) async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 2_000, seed: 9)
            _ = try await scene.rebuild(Shop.self)
            // Made by hand, so that it is carried over; the new rows do not fit it.
            try await scene.database.execute(
                """
                TRUNCATE public.customer_totals;
                CREATE UNIQUE INDEX one_of_a_country ON public.customer_totals (country)
                """
            )
            let before = try await Self.rows(of: scene)
            let error = await #expect(throws: ReadModelError.self) {
                try await scene.rebuild(Shop.self, options: options(jobs: jobs))
            }
            #expect("\(try #require(error))".contains("customer_totals"))
            #expect(try await Self.rows(of: scene) == before)
            try await scene.database.waitUntil(
                "no session of the load is left",
                """
                SELECT WHERE NOT EXISTS (SELECT FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name LIKE 'reprise load%')
                """
            )
        }
    }

    @Test("what fails on one connection does not wait for what is long on another")
    func promptFailure() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 2_000, seed: 9)
            _ = try await scene.rebuild(Shop.self)
            // The key of the largest table, over its rows, waits for a lock that is never given back.
            try await scene.database.execute(
                """
                TRUNCATE public.customer_totals;
                CREATE UNIQUE INDEX one_of_a_country ON public.customer_totals (country);
                CREATE FUNCTION public.hold() RETURNS event_trigger LANGUAGE plpgsql AS $$
                DECLARE
                    has_rows boolean;
                    home text;
                BEGIN
                    SELECT schema_name INTO home FROM pg_event_trigger_ddl_commands()
                    WHERE object_identity LIKE '%.order_line_pkey';
                    IF home IS NULL THEN RETURN; END IF;
                    EXECUTE format('SELECT EXISTS (SELECT FROM %I.order_line)', home) INTO has_rows;
                    IF has_rows THEN PERFORM pg_advisory_xact_lock(4711); END IF;
                END $$;
                CREATE EVENT TRIGGER hold ON ddl_command_end WHEN TAG IN ('CREATE INDEX')
                    EXECUTE FUNCTION public.hold();
                """
            )
            try await scene.database.withConnection { holder in
                try await holder.query("SELECT pg_advisory_lock(4711)")
                async let rebuilding = scene.rebuild(Shop.self, options: options(jobs: 2))
                do {
                    try await scene.database.waitUntil(
                        "the run has failed while the lock was held",
                        within: .seconds(240),
                        "SELECT FROM reprise.run WHERE run_id = 2 AND state = 'failed'"
                    )
                } catch {
                    // So that the test ends as well where it fails.
                    try await holder.query("SELECT pg_advisory_unlock(4711)")
                    throw error
                }
                do {
                    let report = try await rebuilding
                    Issue.record("generation \(report.generation) was built")
                } catch {
                    #expect("\(error)".contains("customer_totals"))
                }
            }
        }
    }

    private static func rows(of scene: RebuildScene) async throws -> [[String]] {
        var rows: [[String]] = []
        for table in ["order_summary", "order_line", "customer_totals"] {
            rows.append(try await scene.rows(of: "public.\(table)").sorted())
        }
        return rows
    }

    private static func statistics(of scene: RebuildScene) async throws -> [String] {
        try await scene.rows(
            of: """
                (SELECT c.relname, c.reltuples, c.relpages, c.relallvisible,
                    (SELECT count(*) FROM pg_stats AS s
                     WHERE s.schemaname = 'public' AND s.tablename = c.relname)
                 FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace
                    AND c.relkind IN ('r', 'i') ORDER BY 1)
                """
        )
    }
}
