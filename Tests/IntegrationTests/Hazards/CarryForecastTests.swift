import Postgres
import ReadModels
import Rebuilder
import TestSupport
import Testing

@Suite("What a cut-over has to carry over, and whether its budget is enough")
struct CarryForecastTests {
    /// A scene with two generations and so many views over the live table.
    private func withViews(
        _ count: Int,
        _ body: (RebuildScene) async throws -> Void
    ) async throws {
        try await withBuiltTally { scene in
            try await scene.database.execute(
                """
                DO $$ BEGIN
                    FOR i IN 1..\(count) LOOP
                        EXECUTE format('CREATE VIEW public.v%s AS SELECT id FROM public.tally', i);
                    END LOOP;
                END $$
                """
            )
            try await body(scene)
        }
    }

    @Test("a plan says how much is carried over and how long that takes, and warns in time (S22)")
    func forecast() async throws {
        try await withViews(120) { scene in
            func forecast(_ budget: Int) async throws -> Finding? {
                try await scene.target.plan(
                    ProjectionTables(Tally.self),
                    strategy: .swap,
                    patience: CutOverPatience(outageBudget: budget)
                ).findings.first { $0.subject == "length of the cut-over" }
            }
            let enough = try #require(try await forecast(60_000))
            #expect(enough.level == .ok && enough.note.hasPrefix("120 objects "), "\(enough.text)")
            let short = try #require(try await forecast(5))
            #expect(short.level == .warn && short.note.contains("--outage-budget"), "\(short.text)")
        }
    }

    @Test("more locks than the budget has time for are told as that, and not as somebody's (S22)")
    func crowdedLocks() async throws {
        try await withViews(40) { scene in
            // As where there are many times as many views.
            try await scene.database.execute(
                """
                CREATE FUNCTION public.slow() RETURNS event_trigger LANGUAGE plpgsql
                    AS 'BEGIN PERFORM pg_sleep(0.01); END';
                CREATE EVENT TRIGGER slow ON ddl_command_start WHEN TAG IN ('ALTER VIEW')
                    EXECUTE FUNCTION public.slow()
                """
            )
            let patience = CutOverPatience(deadline: 0.1)
            let error = await #expect(throws: ReadModelError.self) {
                _ = try await scene.control(Tally.self).swap(patience: patience)
            }
            guard case .tooMuchToLock(_, _, 41, let got, 100, 2) = error else {
                Issue.record("expected tooMuchToLock, got \(String(describing: error))")
                return
            }
            #expect(got < 41)
            let text = String(describing: error)
            #expect(text.contains("41 locks") && text.contains("--outage-budget"), "\(text)")
            let result = try await scene.control(Tally.self).swap(
                patience: CutOverPatience(outageBudget: 20_000)
            )
            #expect(result.generation == 2)
        }
    }

    @Test("a session in the way is named all the same where there is much to lock (S22)")
    func blockedAmongMany() async throws {
        try await withViews(100) { scene in
            try await scene.database.withConnection { blocker in
                try await blocker.execute("BEGIN; SELECT FROM public.tally")
                let patience = CutOverPatience(outageBudget: 1_000, deadline: 3)
                let error = await #expect(throws: ReadModelError.self) {
                    _ = try await scene.control(Tally.self).swap(patience: patience)
                }
                let text = String(describing: error)
                #expect(text.contains("pid \(blocker.backendPID), user "), "\(text)")
            }
        }
    }

    @Test("the key of a partitioned table is refused once, and no way is named that is none (S22)")
    func partitionedKey() async throws {
        try await withHazard(
            setUp: """
                CREATE TABLE s.ship (id int, live int REFERENCES s.live) PARTITION BY RANGE (id);
                CREATE TABLE s.ship_1 PARTITION OF s.ship FOR VALUES FROM (0) TO (9)
                    PARTITION BY RANGE (id);
                CREATE TABLE s.ship_2 PARTITION OF s.ship_1 FOR VALUES FROM (0) TO (9);
                """
        ) { hazard in
            let refusals = try await hazard.plan().refusals
            #expect(refusals.count == 1, "\(refusals)")
            #expect(refusals.first?.contains("foreign key ship_live_fkey of s.ship") == true)
            #expect(refusals.first?.contains("No strategy keeps it") == true)
            #expect(!refusals.joined().contains("--incoming-foreign-keys"))
        }
    }
}
