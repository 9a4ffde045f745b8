import Foundation
import Postgres
import TestSupport
import Testing

@Suite("A run that hangs")
struct TakeOverTests {
    private func withShop(
        events: Int,
        _ body: @Sendable (RepriseProcess, RebuildScene) async throws -> Void
    ) async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: events, seed: 31)
            let reprise = RepriseProcess(scene)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            try scene.appendShop(events: 100, seed: 32)
            try await body(reprise, scene)
        }
    }

    /// Makes the running run look as if it had not been heard of for as long.
    private func age(_ scene: RebuildScene, by interval: String) async throws {
        try await scene.database.query(
            """
            UPDATE reprise.run SET heartbeat_at = now() - $1::interval WHERE state = 'running'
            """,
            [.text(interval)]
        )
    }

    private func liveGeneration(_ scene: RebuildScene) async throws -> [String?] {
        let row = try await scene.database.query(
            """
            SELECT l.generation, g.run_id FROM reprise.live AS l
            JOIN reprise.generation AS g USING (projection, generation)
            """
        ).first
        return [row?["generation"], row?["run_id"]]
    }

    @Test("C4: in its fold is ended by the next one, and swaps nothing when it wakes")
    func inFold() async throws {
        try await withShop(events: 150_000) { reprise, scene in
            let (live, outcome) = try await reprise.withRunning("rebuild shop") { hung in
                try await scene.database.waitUntil(
                    "the fold begins",
                    "SELECT FROM reprise.run WHERE state = 'running' AND stage = 'folding'"
                )
                await hung.stop()
                expect(
                    try await reprise.run("rebuild shop"),
                    exits: 75,
                    saying: ["Another run works on 'shop': run 2", unchanged]
                )
                try await age(scene, by: "61 s")
                let status = try await reprise.run("status shop").standardOutput
                #expect(status.contains(", which stands still\n"))
                #expect(status.contains("Next, which ends run 2: reprise rebuild shop\n"))
                expect(
                    try await reprise.run("rebuild shop"),
                    exits: 0,
                    saying: [
                        "Run 2, 'rebuild' by process \(hung.pid)",
                        "stood still, so its session was ended: it was last heard of at",
                        "folding; it had put no generation live.",
                    ]
                )
                let live = try await liveGeneration(scene)
                hung.signal(SIGCONT)
                return live
            }
            expect(
                outcome,
                exits: 75,
                saying: ["Run 2 of 'shop' was ended by run 3", "Nothing to do"]
            )
            #expect(live == ["2", "3"])
            #expect(try await liveGeneration(scene) == live)
            let runs = try await scene.database.query(
                "SELECT state FROM reprise.run ORDER BY run_id"
            )
            #expect(runs.rows.map { $0["state"] } == ["done", "failed", "done"])
            expect(try await reprise.run("rebuild shop"), exits: 0)
        }
    }

    @Test(
        "C4: in an open transaction is ended with it, and the next one goes through",
        arguments: ["reprise plan", "reprise load"]
    )
    func inTransaction(_ session: String) async throws {
        try await withShop(events: 500) { reprise, scene in
            // The one thing that others can have run in the middle of that transaction.
            try await scene.database.execute(
                """
                CREATE FUNCTION public.halt() RETURNS event_trigger LANGUAGE plpgsql AS $$
                BEGIN
                    IF current_setting('application_name') = '\(session)' THEN
                        PERFORM pg_advisory_xact_lock_shared(4711);
                    END IF;
                END $$;
                CREATE EVENT TRIGGER halt ON ddl_command_start WHEN TAG IN ('CREATE TABLE')
                    EXECUTE FUNCTION public.halt()
                """
            )
            let (_, outcome) = try await scene.database.withConnection { keeper in
                try await keeper.query("SELECT pg_advisory_lock(4711)")
                return try await reprise.withRunning("rebuild shop") { hung in
                    try await waitUntilStopped(scene)
                    await hung.stop()
                    let before = try await sessions(session, scene)
                    #expect(before.count == 1)
                    try await age(scene, by: "2 min")
                    try await keeper.execute("SELECT pg_advisory_unlock_all()")
                    expect(
                        try await reprise.run("rebuild shop"),
                        exits: 0,
                        saying: ["stood still, so its session was ended"]
                    )
                    let after = try await sessions(session, scene)
                    #expect(Set(before).isDisjoint(with: after))
                    hung.signal(SIGCONT)
                }
            }
            expect(
                outcome,
                exits: 75,
                saying: ["Run 2 of 'shop' was ended by run 3", "Nothing to do"]
            )
            expect(try await reprise.run("rebuild shop"), exits: 0)
        }
    }

    @Test("C4: before its locks is ended by the next one, and swaps nothing when it wakes")
    func inCutOver() async throws {
        try await withShop(events: 500) { reprise, scene in
            let (live, outcome) = try await scene.database.withConnection { keeper in
                try await keeper.query(
                    "SELECT pg_advisory_lock(hashtextextended('reprise stop prepared', 0))"
                )
                return try await reprise.withRunning(
                    "rebuild shop",
                    environment: ["REPRISE_STOP_AT": "prepared"]
                ) { hung in
                    try await waitUntilStopped(scene)
                    await hung.stop()
                    try await age(scene, by: "2 min")
                    // Its session goes on waiting for this lock, until the server finds it idle.
                    try await keeper.execute("SELECT pg_advisory_unlock_all()")
                    expect(
                        try await reprise.run("rebuild shop"),
                        exits: 0,
                        saying: [
                            "stood still, so its session was ended",
                            "cutting over; it had put no generation live.",
                        ]
                    )
                    let live = try await liveGeneration(scene)
                    hung.signal(SIGCONT)
                    return live
                }
            }
            expect(outcome, exits: 75, saying: ["Run 2 of 'shop' was ended by run 3"])
            #expect(live == ["3", "3"])
            #expect(try await liveGeneration(scene) == live)
        }
    }

    @Test("of which the locks are held is waited for, and what it has put live stays")
    func inBatch() async throws {
        try await withShop(events: 500) { reprise, scene in
            let (_, outcome) = try await scene.database.withConnection { keeper in
                try await keeper.query(
                    "SELECT pg_advisory_lock(hashtextextended('reprise stop carried', 0))"
                )
                return try await reprise.withRunning(
                    "rebuild shop --outage-budget 20000",
                    environment: ["REPRISE_STOP_AT": "carried"]
                ) { hung in
                    try await waitUntilStopped(scene)
                    await hung.stop()
                    try await age(scene, by: "2 min")
                    let (_, next) = try await reprise.withRunning("prune shop --keep 9") { _ in
                        try await scene.database.waitUntil(
                            "the next run asks how the cut-over ended",
                            """
                            SELECT FROM pg_stat_activity AS a JOIN pg_locks AS l USING (pid)
                            WHERE a.datname = current_database() AND NOT l.granted
                                AND application_name = 'reprise run'
                            """
                        )
                        try await keeper.execute("SELECT pg_advisory_unlock_all()")
                    }
                    expect(
                        next,
                        exits: 0,
                        saying: [
                            "stood still, so its session was ended",
                            "; it had put generation 2 live.",
                        ]
                    )
                    hung.signal(SIGCONT)
                }
            }
            #expect(outcome.status != 0)
            #expect(outcome.standardError.contains("generation of 'shop' is live"))
            #expect(try await liveGeneration(scene) == ["2", "2"])
        }
    }

    @Test("as a follower in a batch is ended by the next one, which follows")
    func follower() async throws {
        try await withShop(events: 50) { reprise, scene in
            try await scene.database.execute(
                """
                CREATE FUNCTION public.halt() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NULL; END $$;
                CREATE TRIGGER halt AFTER INSERT OR UPDATE ON public.order_summary
                    EXECUTE FUNCTION public.halt()
                """
            )
            _ = try await scene.database.withConnection { keeper in
                try await keeper.query("SELECT pg_advisory_lock(4711)")
                return try await reprise.withRunning("follow shop") { hung in
                    try await waitUntilStopped(scene)
                    await hung.stop()
                    try await keeper.execute("SELECT pg_advisory_unlock_all()")
                    let busy = try await reprise.run("follow shop --until-caught-up")
                    expect(busy, exits: 75, saying: ["kept current by that process"])
                    try await scene.database.execute(
                        "UPDATE reprise.follower SET heartbeat_at = now() - interval '2 min'"
                    )
                    let status = try await reprise.run("status shop").standardOutput
                    #expect(status.contains(", which stands still\n"))
                    expect(try await reprise.run("follow shop --until-caught-up"), exits: 0)
                    #expect(
                        try await reprise.run("status shop").standardOutput
                            .contains("100 events applied")
                    )
                    hung.signal(SIGKILL)
                }
            }
        }
    }

    @Test("is left alone by a role that may not end it, which says what to type")
    func withoutTheRight() async throws {
        try await withShop(events: 50) { reprise, scene in
            let role = "\(scene.database.name)_job"
            try await scene.database.execute(
                """
                CREATE ROLE \(role);
                ALTER SCHEMA reprise OWNER TO \(role);
                GRANT SELECT ON ALL TABLES IN SCHEMA reprise TO \(role)
                """
            )
            var other = reprise
            other.databaseURL = scene.database.asRole(role).url
            try await scene.database.withConnection { hung in
                try await hung.holdSessionLock("run shop")
                try await hung.query(
                    """
                    INSERT INTO reprise.run
                        (projection, command, strategy, state, stage, host, pid, heartbeat_at)
                    VALUES ('shop', 'rebuild', 'swap', 'running', 'folding', 'night-1', 4711,
                        now() - interval '75 s')
                    """
                )
                let parts = [
                    "Another run works on 'shop'", "process 4711 on night-1", "not heard of for 7",
                    unchanged, "SELECT pg_terminate_backend(\(hung.backendPID))",
                ]
                expect(try await other.run("prune shop"), exits: 75, saying: parts)
                // It may see whose session it is now, and still not end one of a superuser.
                try await scene.database.execute("GRANT pg_read_all_stats TO \(role)")
                expect(try await other.run("prune shop"), exits: 75, saying: parts)
                #expect(try await hung.query("SELECT 1 AS one").first?.int("one") == 1)
            }
            try await scene.database.execute(
                "ALTER SCHEMA reprise OWNER TO CURRENT_USER; DROP OWNED BY \(role); DROP ROLE \(role)"
            )
        }
    }

    @Test("is not taken for one that has the lock and is just starting")
    func starting() async throws {
        try await withShop(events: 50) { reprise, scene in
            try await scene.database.execute(
                """
                INSERT INTO reprise.run
                    (projection, command, strategy, state, stage, host, pid, heartbeat_at)
                VALUES ('shop', 'rebuild', 'swap', 'running', 'folding', 'night-1', 4711,
                    now() - interval '1 day')
                """
            )
            try await scene.database.withConnection { starting in
                try await starting.holdSessionLock("run shop")
                expect(try await reprise.run("prune shop"), exits: 75, saying: [unchanged])
                #expect(try await starting.query("SELECT 1 AS one").first?.int("one") == 1)
            }
        }
    }

    @Test(
        "and has not recorded its run, or has recorded its end, is taken over after a minute",
        arguments: ["run shop": "rebuild shop", "follow shop": "follow shop --until-caught-up"]
    )
    func withoutRecord(_ lock: String, _ command: String) async throws {
        try await withShop(events: 50) { reprise, scene in
            expect(try await reprise.run("follow shop --until-caught-up"), exits: 0)
            try await scene.database.withConnection { hung in
                try await hung.holdSessionLock(lock)
                let busy = try await reprise.run(command)
                expect(busy, exits: 75, saying: ["is just starting"])
                try await scene.database.execute(
                    """
                    UPDATE reprise.session_lock SET taken_at = now() - interval '61 s';
                    UPDATE reprise.run SET started_at = now() - interval '1 h';
                    UPDATE reprise.follower SET started_at = now() - interval '1 h'
                    """
                )
                expect(try await reprise.run(command), exits: 0)
                await #expect(throws: ConnectionError.self) { try await hung.query("SELECT") }
            }
        }
    }

    @Test("C4: in the rows of a truncate is ended by the next one, which commits nothing of it")
    func inTruncate() async throws {
        try await withShop(events: 500) { reprise, scene in
            let (_, outcome) = try await scene.database.withConnection { keeper in
                try await keeper.query(
                    "SELECT pg_advisory_lock(hashtextextended('reprise stop moved', 0))"
                )
                return try await reprise.withRunning(
                    "rebuild shop --strategy truncate",
                    environment: ["REPRISE_STOP_AT": "moved"]
                ) { hung in
                    try await waitUntilStopped(scene)
                    await hung.stop()
                    try await age(scene, by: "2 min")
                    expect(
                        try await reprise.run("prune shop --keep 9"),
                        exits: 0,
                        saying: ["it had put no generation live."]
                    )
                    #expect(try await sessions("reprise reload", scene).isEmpty)
                    try await keeper.execute("SELECT pg_advisory_unlock_all()")
                    hung.signal(SIGCONT)
                }
            }
            expect(outcome, exits: 75, saying: ["Run 2 of 'shop' was ended by run 3"])
            #expect(try await liveGeneration(scene) == ["1", "1"])
        }
    }

    @Test("is ended with its sessions, whatever keys a stranger takes that follow from the lock's")
    func besideStranger() async throws {
        try await withShop(events: 150_000) { reprise, scene in
            try await scene.database.withConnection { stranger in
                let (_, outcome) = try await reprise.withRunning("rebuild shop") { hung in
                    try await scene.database.waitUntil(
                        "the lock is taken",
                        "SELECT FROM reprise.run WHERE state = 'running'"
                    )
                    try await stranger.query(
                        "SELECT pg_try_advisory_lock(key + 1) FROM reprise.session_lock"
                    )
                    try await scene.database.waitUntil(
                        "the load begins",
                        """
                        SELECT FROM pg_stat_activity JOIN reprise.session_mark USING (pid)
                        WHERE datname = current_database() AND application_name = 'reprise load'
                        """
                    )
                    await hung.stop()
                    let before = try await sessions("reprise load", scene)
                    try await age(scene, by: "2 min")
                    expect(try await reprise.run("prune shop --keep 9"), exits: 0)
                    let after = try await sessions("reprise load", scene)
                    #expect(Set(before).isDisjoint(with: after))
                    hung.signal(SIGCONT)
                }
                expect(outcome, exits: 75, saying: ["Run 2 of 'shop' was ended by run 3"])
            }
        }
    }

    @Test("never is one of two that rebuild the same projections in opposite order")
    func oppositeOrder() async throws {
        try await withRebuildScene { scene in
            let reprise = RepriseProcess(scene)
            try scene.appendShop(events: 2_000, seed: 33)
            expect(try await reprise.run("rebuild shop loans"), exits: 0)
            for _ in 1...3 {
                let began = ContinuousClock.now
                async let one = reprise.run("rebuild shop loans --allow-empty")
                async let other = reprise.run("rebuild loans shop --allow-empty")
                let outcomes = try await [one, other]
                for outcome in outcomes {
                    #expect([0, 75].contains(outcome.status), "\(outcome.standardError)")
                    #expect(!outcome.standardError.contains("deadlock"))
                }
                #expect(ContinuousClock.now - began < .seconds(60))
            }
            expect(try await reprise.run("rebuild shop loans"), exits: 0)
        }
    }

    private func sessions(_ name: String, _ scene: RebuildScene) async throws -> [Int64] {
        try await scene.database.query(
            """
            SELECT pid FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = $1
            """,
            [.text(name)]
        ).rows.map { try $0.int("pid") }
    }

    private func waitUntilStopped(_ scene: RebuildScene) async throws {
        try await scene.database.waitUntil(
            "the cut-over waits for the test's lock",
            """
            SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
            WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted
            """
        )
    }
}
