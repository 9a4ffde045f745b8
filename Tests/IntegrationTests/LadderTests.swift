import Foundation
import Postgres
import ReadModels
import Rebuilder
import TestSupport
import Testing

@Suite("The lock ladder")
struct LadderTests {
    @Test("a reader behind a blocked cut-over waits for an attempt, not for the blocker")
    func lockQueue() async throws {
        try await withBuiltTally { scene in
            try await scene.database.withConnection { blocker in
                try await blocker.execute("BEGIN; SELECT FROM public.tally")
                try await withPollingReader(
                    on: scene.database,
                    sql: "SELECT count(*) FROM public.tally"
                ) { reader in
                    // All attempts but the last looks queue: five budgets are longer than the
                    // deadline.
                    let patience = CutOverPatience(outageBudget: 1_000, deadline: 4)
                    let error = await #expect(throws: ReadModelError.self) {
                        _ = try await scene.control(Tally.self).swap(patience: patience)
                    }
                    let text = String(describing: error)
                    #expect(text.contains("pid \(blocker.backendPID), user "))
                    #expect(text.contains("idle in transaction for "))
                    #expect(text.contains("its transaction open for "))
                    await reader.nextPoll()
                    #expect(await reader.errors.isEmpty)
                    #expect(await reader.results == [["3"]])
                    #expect(await reader.longest < .seconds(3))
                }
            }
            #expect(try await scene.liveGeneration() == 1)
        }
    }

    @Test("behind a transaction that has been open for long nobody queues")
    func looksBeforeItLocks() async throws {
        try await withBuiltTally { scene in
            try await scene.database.withConnection { blocker in
                try await blocker.execute("BEGIN; SELECT FROM public.tally")
                try await scene.waitUntilLocksAreOld(of: blocker.backendPID)
                async let swapping = scene.control(Tally.self).swap(patience: CutOverPatience())
                // Each attempt has a session of its own, so the first one is over.
                let first = try await scene.waitForSession("reprise swap")
                try await scene.waitForSession("reprise swap", otherThan: first)
                try await blocker.execute("COMMIT")
                let result = try await swapping
                #expect(result.generation == 2 && result.attempts > 1)
                #expect(result.longestFailedWait == 0)
            }
        }
    }

    @Test("H65: blockers of one table after the other do not add up to more than the budget")
    func blockersInTurn() async throws {
        try await withBuiltTally { scene in
            try await scene.database.withConnection { first in
                try await scene.database.withConnection { second in
                    try await first.execute("BEGIN; SELECT FROM public.tally")
                    try await second.execute("BEGIN; SELECT FROM public.tally_day")
                    let patience = CutOverPatience(outageBudget: 20_000)
                    async let swapping = scene.control(Tally.self).swap(patience: patience)
                    try await scene.waitUntilQueued(on: "public.tally")
                    try await first.execute("COMMIT")
                    try await scene.waitUntilQueued(on: "public.tally_day")
                    try await scene.waitUntilNobodyQueues(on: "public.tally_day")
                    try await second.execute("COMMIT")
                    let result = try await swapping
                    #expect(result.generation == 2)
                    // Five times the longest limit, for a machine that is busy.
                    #expect(result.longestFailedWait < 4_000)
                }
            }
            let row = try await scene.database.query(
                """
                SELECT attempts > 1 AND longest_failed_wait_ms > 0 AND lock_wait_ms >= 0
                    AND held_ms >= lock_wait_ms AS is_recorded
                FROM reprise.swap ORDER BY swap_id DESC LIMIT 1
                """
            ).first
            #expect(try row?.bool("is_recorded") == true)
        }
    }

    // MARK: The budget

    @Test(
        "a swap that takes longer than its budget is undone, and says how long it took",
        arguments: [
            // A statement that the limit cancels.
            "PERFORM pg_sleep(60)",
            // One that goes on when it is cancelled: the assertion before COMMIT remains.
            "BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END",
        ]
    )
    func overBudget(delay: String) async throws {
        try await withBuiltTally { scene in
            try await scene.database.execute(
                """
                CREATE FUNCTION public.delay() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN \(delay); RETURN NEW; END $$;
                CREATE TRIGGER delay BEFORE INSERT ON reprise.swap
                    FOR EACH ROW EXECUTE FUNCTION public.delay();
                """
            )
            let patience = CutOverPatience(outageBudget: 300, deadline: 2)
            let error = await #expect(throws: ReadModelError.self) {
                _ = try await scene.control(Tally.self).swap(patience: patience)
            }
            guard case .overBudget(_, let attempts, let milliseconds, 300, 2) = error else {
                Issue.record("expected overBudget, got \(String(describing: error))")
                return
            }
            #expect(attempts >= 1 && milliseconds >= 300 && milliseconds < 30_000)
            #expect(try await scene.liveGeneration() == 1)
            try await scene.database.execute("DROP FUNCTION public.delay() CASCADE")
            let result = try await scene.control(Tally.self).swap(patience: CutOverPatience())
            #expect(result.generation == 2)
        }
    }

    // MARK: Others at the same time

    @Test("H73: of two runs at once the second names the first, and neither waits for ever")
    func twoRuns() async throws {
        try await withBuiltTally { scene in
            try await scene.database.withConnection { blocker in
                try await blocker.execute("BEGIN; SELECT FROM public.tally")
                async let swapping = scene.control(Tally.self).swap(patience: CutOverPatience())
                try await scene.waitForSession("reprise swap")
                let error = await #expect(throws: ReadModelError.self) {
                    _ = try await scene.rebuild(Tally.self)
                }
                guard case .runBusy("tally", let holder) = error else {
                    Issue.record("expected runBusy, got \(String(describing: error))")
                    return
                }
                #expect(holder.contains("'swap' by process"))
                try await blocker.execute("COMMIT")
                #expect(try await swapping.generation == 2)
            }
        }
    }

    @Test("H44: a real autovacuum on a live table gives way to the guard")
    func autovacuum() async throws {
        let eager = [
            "autovacuum_naptime = 1s", "autovacuum_vacuum_threshold = 0",
            "autovacuum_vacuum_scale_factor = 0", "autovacuum_vacuum_cost_delay = 100ms",
            "autovacuum_vacuum_cost_limit = 1", "autovacuum_analyze_threshold = 1000000",
        ]
        try await PrivateServer.with(settings: eager) { server in
            try await server.withScene { scene in
                try await makeBuiltTally(in: scene)
                try await scene.database.execute(
                    """
                    INSERT INTO public.tally SELECT 100 + n, 1, 'x' FROM generate_series(1, 20000) AS n;
                    DELETE FROM public.tally WHERE label = 'x';
                    """
                )
                try await scene.database.waitUntil(
                    "autovacuum is at work on public.tally",
                    """
                    SELECT FROM pg_stat_progress_vacuum AS v JOIN pg_stat_activity AS a USING (pid)
                    WHERE a.backend_type = 'autovacuum worker'
                        AND v.relid = 'public.tally'::regclass
                    """
                )
                let result = try await scene.control(Tally.self).swap(
                    patience: CutOverPatience(outageBudget: 20_000)
                )
                #expect(result.generation == 2 && result.attempts == 1)
            }
        }
    }
}

// MARK: - The scene

/// Runs `body` with a tally of three ids that is live as generation 1, and a generation 2 of four
/// ids that is ready.
func withBuiltTally<Result: Sendable>(
    _ body: (RebuildScene) async throws -> Result
) async throws -> Result {
    try await withRebuildScene { scene in
        try await makeBuiltTally(in: scene)
        return try await body(scene)
    }
}

/// Makes both generations in a scene.
func makeBuiltTally(in scene: RebuildScene) async throws {
    try await makeTally(in: scene)
    try await buildNext(in: scene)
}

/// Makes generation 1 live.
func makeTally(in scene: RebuildScene) async throws {
    try scene.append(counted([1, 2, 3]))
    _ = try await scene.rebuild(Tally.self)
}

/// Makes generation 2 and leaves it ready.
func buildNext(in scene: RebuildScene) async throws {
    try scene.append(counted([8]))
    var options = RebuildOptions()
    options.swaps = false
    _ = try await scene.rebuild(Tally.self, options: options)
}

extension RebuildScene {
    func liveGeneration() async throws -> Int64? {
        try await database.query("SELECT generation FROM reprise.live").first?.int("generation")
    }

    /// Waits until a session's transaction is older than what a cut-over queues behind.
    func waitUntilLocksAreOld(of pid: Int32) async throws {
        try await database.waitUntil(
            "the transaction of pid \(pid) is old",
            """
            SELECT FROM pg_stat_activity WHERE pid = $1
                AND xact_start < clock_timestamp() - interval '1.1 seconds'
            """,
            [.int(Int64(pid))]
        )
    }

    /// Waits for a session of the tool.
    @discardableResult
    func waitForSession(_ name: String, otherThan pid: Int64 = 0) async throws -> Int64 {
        try await database.waitUntil(
            "a session '\(name)'",
            """
            SELECT pid FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = $1 AND pid <> $2
            """,
            [.text(name), .int(pid)]
        ).int("pid")
    }

    /// Waits until a cut-over waits for an exclusive lock on a table.
    func waitUntilQueued(on table: String) async throws {
        try await database.waitUntil(
            "a cut-over waits for \(table)",
            """
            SELECT FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted
                AND relation = $1::regclass
            """,
            [.text(table)]
        )
    }

    /// Waits until no cut-over waits for a lock on a table.
    func waitUntilNobodyQueues(on table: String) async throws {
        try await database.waitUntil(
            "no cut-over waits for \(table)",
            """
            SELECT WHERE NOT EXISTS (
                SELECT FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted
                    AND relation = $1::regclass)
            """,
            [.text(table)]
        )
    }
}
