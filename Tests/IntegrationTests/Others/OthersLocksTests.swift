import Foundation
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import TestSupport
import Testing

/// Anybody who may connect may hold any advisory lock.
@Suite("Locks of others")
struct OthersLocksTests {
    private func withStranger(
        _ body: @Sendable (RebuildScene, PostgresConnection) async throws -> Void
    ) async throws {
        try await withRebuildScene { scene in
            let role = "\(scene.database.name)_stranger"
            try await scene.database.createLogin(role, password: "right-8341")
            do {
                try await scene.database.asLogin(role, password: "right-8341")
                    .withConnection { try await body(scene, $0) }
            } catch {
                try await scene.database.execute("DROP ROLE \(role)")
                throw error
            }
            try await scene.database.execute("DROP ROLE \(role)")
        }
    }

    @Test("X12: the advisory locks of a stranger hold up no command")
    func named() async throws {
        try await withStranger { scene, stranger in
            let runs = (1...9).map { "cut-over \($0)" }
            for name in ["migrate", "run tally", "follow tally"] + runs {
                try await stranger.query(
                    "SELECT pg_advisory_lock(hashtextextended('reprise ' || $1, 0))",
                    [.text(name)]
                )
            }
            try scene.append(counted(1...5))
            _ = try await scene.rebuild(Tally.self)
            _ = try await scene.rebuild(Tally.self)
            _ = try await scene.control(Tally.self).rollback(patience: CutOverPatience())
            _ = try await scene.control(Tally.self).swap(patience: CutOverPatience())
            try scene.append(counted([1]))
            var options = FollowOptions()
            options.endsAtEnd = true
            try await Follow(
                of: Tally.self,
                from: try scene.ledger(),
                into: scene.target,
                options: options
            ).run()
            #expect(try await scene.rows(of: "public.tally").first == "(1,2,new)")
        }
    }

    @Test("X12: a stranger who waits for a run's key, and gets it, is not taken for a run")
    func queued() async throws {
        try await withStranger { scene, stranger in
            try scene.append(counted(1...5))
            _ = try await scene.rebuild(Tally.self)
            try await scene.database.withConnection { run in
                try await run.holdSessionLock("run tally")
                await #expect(throws: ReadModelError.self) { try await scene.rebuild(Tally.self) }
                async let waiting = stranger.query("SELECT pg_advisory_lock(4713)")
                try await scene.database.waitUntil(
                    "the stranger waits",
                    "SELECT FROM pg_locks WHERE pid = $1 AND NOT granted",
                    [.int(Int64(stranger.backendPID))]
                )
                try await run.execute("SELECT pg_advisory_unlock_all()")
                _ = try await waiting
            }
            _ = try await scene.rebuild(Tally.self)
            #expect(try await scene.control(Tally.self).status().live?.number == 2)
        }
    }

    /// With the number of a process that has ended, and its key.
    @Test("X12: a session of another role with the number of a dead run's is not taken for it")
    func impostor() async throws {
        try await withStranger { scene, stranger in
            try scene.append(counted(1...5))
            _ = try await scene.rebuild(Tally.self)
            try await stranger.query("SELECT pg_advisory_lock(4713)")
            try await scene.database.query(
                """
                UPDATE reprise.session_lock SET key = 4713, pid = $1,
                    role = (SELECT oid FROM pg_roles WHERE rolname = current_user)
                WHERE name = 'run tally'
                """,
                [.int(Int64(stranger.backendPID))]
            )
            _ = try await scene.rebuild(Tally.self)
        }
    }

    @Test("X12: an owner's trigger that frees every lock of its session lets no second follower in")
    func freed() async throws {
        try await withStranger { scene, owner in
            try scene.append(counted(1...5))
            _ = try await scene.rebuild(Tally.self)
            let role = try await owner.query("SELECT current_user AS name").first?.string("name")
            try await scene.database.execute(
                """
                CREATE SCHEMA theirs AUTHORIZATION \(role ?? "");
                ALTER TABLE public.tally OWNER TO \(role ?? "")
                """
            )
            try await owner.execute(
                """
                CREATE SEQUENCE theirs.freed;
                CREATE FUNCTION theirs.free() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    PERFORM pg_advisory_unlock_all(), nextval('theirs.freed');
                    RETURN NULL;
                END $$;
                CREATE TRIGGER free AFTER INSERT OR UPDATE ON public.tally
                    EXECUTE FUNCTION theirs.free()
                """
            )
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await Follow(of: Tally.self, from: try scene.ledger(), into: scene.target)
                        .run()
                }
                try scene.append(counted([1]))
                try await scene.database.waitUntil(
                    "the trigger ran in a batch that is committed",
                    "SELECT FROM public.tally WHERE id = 1 AND events = 2"
                )
                #expect(
                    try await scene.database.query("SELECT is_called FROM theirs.freed").first?
                        .bool("is_called") == true
                )
                var options = FollowOptions()
                options.endsAtEnd = true
                let second = Follow(
                    of: Tally.self,
                    from: try scene.ledger(),
                    into: scene.target,
                    options: options
                )
                let error = await #expect(throws: ReadModelError.self) { try await second.run() }
                guard case .followerBusy("tally", _) = error else {
                    Issue.record("got \(error as Any)")
                    return
                }
                group.cancelAll()
                try await group.waitForAll()
            }
            try await scene.database.execute("DROP OWNED BY \(role ?? "")")
        }
    }

    @Test("X12: a schema by a home's name that another transaction is making is passed over")
    func homeBeingMade() async throws {
        try await withMaker { scene, maker in
            try scene.append(counted(1...5))
            _ = try await scene.rebuild(Tally.self)
            try await maker.execute("BEGIN; CREATE SCHEMA tally__g2")
            #expect(try await scene.plan(Tally.self).refusals == [])
            _ = try await scene.rebuild(Tally.self)
            #expect(try await scene.control(Tally.self).status().live?.number == 2)
            try await maker.execute("ROLLBACK")
        }
    }

    @Test("X12: a first run says who is making a schema 'reprise', and waits for it no longer")
    func bookkeepingBeingMade() async throws {
        try await withMaker { scene, maker in
            try scene.append(counted(1...5))
            try await maker.execute("BEGIN; CREATE SCHEMA reprise")
            let error = await #expect(throws: ReadModelError.self) {
                try await scene.rebuild(Tally.self)
            }
            guard case .bookkeepingBlocked(let blockers) = error else {
                Issue.record("got \(error as Any)")
                return
            }
            #expect(blockers.count == 1)
            #expect(blockers[0].contains("\(maker.backendPID)"))
            try await maker.execute("ROLLBACK")
            _ = try await scene.rebuild(Tally.self)
        }
    }

    /// A stranger who may make schemas.
    private func withMaker(
        _ body: @Sendable (RebuildScene, PostgresConnection) async throws -> Void
    ) async throws {
        try await withStranger { scene, maker in
            let role = try await maker.query("SELECT current_user AS name").first?.string("name")
            try await scene.database.execute(
                "GRANT CREATE ON DATABASE \(scene.database.name) TO \(role ?? "")"
            )
            try await body(scene, maker)
            try await scene.database.execute("DROP OWNED BY \(role ?? "")")
        }
    }

    @Test("A session of the version before that is at work keeps others out")
    func versionBefore() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(1...5))
            _ = try await scene.rebuild(Tally.self)
            try await scene.database.withConnection { before in
                try await before.execute(
                    """
                    DROP TABLE reprise.session_lock, reprise.session_mark;
                    ALTER TABLE reprise.follower DROP error;
                    DROP VIEW reprise.live;
                    CREATE VIEW reprise.live AS
                    SELECT g.projection, g.generation, g.live_schema, g.live_since, c.position,
                        c.updated_at AS position_updated_at
                    FROM reprise.generation AS g LEFT JOIN reprise.checkpoint AS c USING (projection)
                    WHERE g.state = 'live';
                    ALTER TABLE reprise.generation DROP ledger, DROP counted_position,
                        DROP counted_events, DROP digest, DROP round_xid, DROP round_at;
                    ALTER TABLE reprise.checkpoint DROP ledger, DROP program,
                        DROP counted_position, DROP counted_events, DROP digest;
                    DELETE FROM reprise.migration WHERE number >= 5;
                    SELECT pg_advisory_lock(hashtextextended('reprise run tally', 0));
                    INSERT INTO reprise.run (projection, command, strategy, state, stage, host, pid)
                    VALUES ('tally', 'rebuild', 'swap', 'running', 'folding', 'night-1', 4711)
                    """
                )
                await #expect(throws: ReadModelError.self) { try await scene.rebuild(Tally.self) }
                try await before.execute("SELECT pg_advisory_unlock_all()")
            }
            _ = try await scene.rebuild(Tally.self)
        }
    }

    @Test("Ten first runs at once make the bookkeeping, and each ends well or says who works")
    func firstRuns() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(1...5))
            let wins = try await withThrowingTaskGroup(of: Bool.self) { group in
                for _ in 0..<10 {
                    group.addTask {
                        do {
                            _ = try await scene.rebuild(Tally.self)
                            return true
                        } catch ReadModelError.runBusy {
                            return false
                        }
                    }
                }
                return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(wins > 0)
            #expect(try await scene.database.count("reprise.run") == wins)
        }
    }
}
