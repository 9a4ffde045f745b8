import Foundation
import Postgres
import TestSupport
import Testing

/// Kills a real `reprise rebuild shop` with SIGKILL and looks at what is left.
///
/// A gate in the database stops the run at a chosen statement, so that the kill strikes there and
/// not somewhere near. The seeds choose which statement of a session it is.
@Suite("A killed rebuild", .serialized)
struct KillTests {
    /// Where the kill strikes.
    enum Moment: CustomStringConvertible {
        /// After the line that says that a stage begins.
        case stage(String)
        /// In a DDL statement of the session with this application name.
        case statement(of: String, upTo: UInt64, seed: UInt64)
        /// In the COPY of a reload, while it takes a row.
        case copiedRow(upTo: UInt64, seed: UInt64)
        /// Before an index is built over loaded rows.
        case indexBuild
        /// Where the cut-over records itself, the last thing before COMMIT.
        case lastWord(of: String)
        /// While the cut-over waits for a lock that a reader holds.
        case ladder(of: String)

        var description: String {
            switch self {
            case .stage(let name): name
            case .statement(let session, let limit, let seed):
                "statement \(Self.draw(limit, seed)) of '\(session)', seed \(seed)"
            case .indexBuild: "an index build"
            case .copiedRow(let limit, let seed):
                "copied row \(Self.draw(limit, seed)), seed \(seed)"
            case .lastWord(let session): "the last statement of '\(session)'"
            case .ladder(let session): "the lock ladder of '\(session)'"
            }
        }

        static func draw(_ limit: UInt64, _ seed: UInt64) -> UInt64 {
            var random = SeededRandom(seed: seed)
            return 1 + random.next() % limit
        }
    }

    /// What readers must find afterwards.
    enum Aftermath {
        case old
        case new
        /// What `reprise.swap` says.
        case asRecorded
    }

    private static let swaps: [(Moment, Aftermath)] = [
        (.stage("folding"), .old),
        (.stage("loading"), .old),
        (.stage("checking"), .old),
        (.stage("cutting over"), .asRecorded),
        (.stage("pruning"), .new),
        (.ladder(of: "reprise swap"), .old),
        (.statement(of: "reprise load", upTo: 20, seed: 11), .old),
        (.indexBuild, .old),
        // The whole batch had been sent, and the server brings it to its end without the client,
        // unless the kill comes so late that the batch has timed out.
        (.statement(of: "reprise swap", upTo: 11, seed: 13), .asRecorded),
        (.lastWord(of: "reprise swap"), .asRecorded),
        (.statement(of: "reprise prune", upTo: 2, seed: 14), .new),
    ]

    private static let reloads: [(Moment, Aftermath)] = [
        (.stage("folding"), .old),
        (.stage("cutting over"), .asRecorded),
        (.stage("pruning"), .new),
        (.ladder(of: "reprise reload"), .old),
        (.copiedRow(upTo: 900, seed: 21), .old),
        (.lastWord(of: "reprise reload"), .old),
    ]

    @Test(
        "of strategy swap leaves the live tables whole, and the next run cleans up",
        arguments: swaps
    )
    func swap(moment: Moment, aftermath: Aftermath) async throws {
        try await KillScene.with(strategy: "swap") { scene in
            try await scene.kill(at: moment, expecting: aftermath)
        }
    }

    @Test(
        "of strategy truncate leaves the live tables whole, and the next run cleans up",
        arguments: reloads
    )
    func truncate(moment: Moment, aftermath: Aftermath) async throws {
        try await KillScene.with(strategy: "truncate") { scene in
            try await scene.kill(at: moment, expecting: aftermath)
        }
    }

    @Test("a server session in the middle of its batch that is ended leaves the old rows")
    func endedBatch() async throws {
        try await KillScene.with(strategy: "swap") { scene in
            let before = try await scene.digest()
            let outcome = try await scene.gated(.statement(of: "reprise swap", upTo: 11, seed: 31))
            {
                _ in try await scene.terminate("reprise swap")
            }
            expect(outcome, exits: 75, saying: [unchanged])
            try await scene.expectLocksGone()
            #expect(try await scene.digest() == before)
            try await scene.expectNextRunCleansUp(after: before)
        }
    }

    @Test(
        "a run that has lost its lock does not cut over, and says so",
        arguments: ["swap", "truncate"]
    )
    func lostLock(strategy: String) async throws {
        let lost = "the session that holds the lock of this command has ended"
        try await KillScene.with(strategy: strategy) { scene in
            let before = try await scene.digest()
            let outcome = try await scene.behindReader { _ in
                try await scene.terminate("reprise run")
            }
            expect(outcome, exits: 75, saying: [lost, unchanged])
            try await scene.expectLocksGone()
            #expect(try await scene.digest() == before)
            try await scene.expectNextRunCleansUp(after: before)
        }
    }

    @Test("a run whose lock is lost while it loads does not go on to the cut-over")
    func lostLockWhileLoading() async throws {
        try await KillScene.with(strategy: "swap") { scene in
            let before = try await scene.digest()
            let outcome = try await scene.gated(.statement(of: "reprise load", upTo: 20, seed: 41))
            {
                _ in try await scene.terminate("reprise run")
            }
            expect(outcome, exits: 75, saying: ["terminating connection", unchanged])
            #expect(try await scene.digest() == before)
            try await scene.expectNextRunCleansUp(after: before)
        }
    }
}

/// A shop whose generation 1 is live and whose ledger has gone on, with views over its tables.
private struct KillScene: Sendable {
    let scene: RebuildScene
    let strategy: String

    static func with(
        strategy: String,
        _ body: (KillScene) async throws -> Void
    ) async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 2_000, seed: 1)
            let killScene = KillScene(scene: scene, strategy: strategy)
            let first = try await killScene.rebuild()
            try #require(first.status == 0, "\(first.standardError)")
            try scene.appendShop(events: 1_000, seed: 2)
            try await scene.database.execute(gate)
            try await body(killScene)
        }
    }

    // Whoever is to be stopped counts the times it passes the gate, and waits at the time that
    // `gate.place` names for as long as a test holds the advisory lock. It asks again and again,
    // because a lock that it waited for would run into its `lock_timeout`.
    private static let gate = """
        CREATE VIEW public.open_orders AS
            SELECT order_id, placed_at FROM public.order_summary WHERE shipped_at IS NULL;
        CREATE SCHEMA gate;
        CREATE TABLE gate.place (kind text, session text, number int);
        CREATE FUNCTION gate.pass(passed text) RETURNS boolean LANGUAGE plpgsql AS $$
        DECLARE
            place gate.place;
            passes int;
        BEGIN
            SELECT * INTO place FROM gate.place WHERE kind = passed
                AND session = pg_catalog.current_setting('application_name');
            IF NOT FOUND THEN RETURN true; END IF;
            passes := 1 + coalesce(
                nullif(pg_catalog.current_setting('gate.passes', true), ''), '0')::int;
            PERFORM pg_catalog.set_config('gate.passes', passes::text, false);
            WHILE passes = place.number AND NOT pg_catalog.pg_try_advisory_xact_lock_shared(4711) LOOP
                PERFORM pg_catalog.pg_sleep(0.005);
            END LOOP;
            RETURN true;
        END $$;
        CREATE FUNCTION gate.on_statement() RETURNS event_trigger LANGUAGE plpgsql AS
            $$ BEGIN
                PERFORM gate.pass('statement');
                IF tg_tag = 'CREATE INDEX' THEN PERFORM gate.pass('index'); END IF;
            END $$;
        CREATE FUNCTION gate.on_row() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM gate.pass('last word'); RETURN NEW; END $$;
        CREATE TRIGGER gate BEFORE INSERT ON reprise.swap
            FOR EACH ROW EXECUTE FUNCTION gate.on_row();
        ALTER TABLE public.order_line ADD CHECK (gate.pass('row'));
        CREATE EVENT TRIGGER gate ON ddl_command_start EXECUTE FUNCTION gate.on_statement();
        """

    func rebuild() async throws -> ChildProcess.Outcome {
        try await start { _ in }
    }

    private func start(
        _ body: (ChildProcess) async throws -> Void
    ) async throws -> ChildProcess.Outcome {
        try await RepriseProcess(scene).withRunning(
            // Whoever would be looked at before it is queued behind it is queued behind at once.
            "rebuild shop --strategy \(strategy) --keep 0 --deadline 600 --outage-budget 60000",
            body: body
        ).outcome
    }
}

// MARK: - Striking

extension KillScene {
    /// Kills a rebuild at a moment while a reader polls, and lets the next one clean up.
    func kill(at moment: KillTests.Moment, expecting aftermath: KillTests.Aftermath) async throws {
        print("kill at \(moment), strategy \(strategy)")
        let before = try await digest()
        let counts = try await scene.database.query(Self.counts).first?["counts"]
        try await withPollingReader(
            on: scene.database,
            sql: Self.counts,
            every: .milliseconds(5)
        ) { reader in
            let outcome =
                switch moment {
                case .stage(let name):
                    try await start { child in
                        try await child.waitForText("shop: \(name)")
                        child.signal(SIGKILL)
                    }
                case .ladder:
                    try await behindReader { child in
                        child.signal(SIGKILL)
                        // The batch is with the server, which would go on with it.
                        try await scene.database.waitUntil(
                            "the lock has timed out",
                            "SELECT WHERE NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
                        )
                    }
                case .statement, .copiedRow, .indexBuild, .lastWord:
                    try await gated(moment) { $0.signal(SIGKILL) }
                }
            #expect(outcome.wasKilled && outcome.status == SIGKILL, "\(outcome.standardError)")
            try await expectLocksGone()
            let isNew = try await expectAftermath(aftermath, comparedWith: before)
            let after = try await expectNextRunCleansUp(after: before, isNew: isNew)
            #expect(after != before)
            await reader.nextPoll()
            #expect(await reader.errors.isEmpty)
            let last = try await scene.database.query(Self.counts).first?["counts"]
            #expect(await reader.results == [[counts ?? ""], [last ?? ""]])
        }
    }

    /// Runs a rebuild up to the gate, strikes there, and opens the gate.
    func gated(
        _ moment: KillTests.Moment,
        strike: (ChildProcess) async throws -> Void
    ) async throws -> ChildProcess.Outcome {
        let (kind, session, number): (String, String, UInt64) =
            switch moment {
            case .statement(let session, let limit, let seed):
                ("statement", session, KillTests.Moment.draw(limit, seed))
            case .copiedRow(let limit, let seed):
                ("row", "reprise reload", KillTests.Moment.draw(limit, seed))
            // The first two are those of schema.sql, on empty tables.
            case .indexBuild: ("index", "reprise load", 3)
            case .lastWord(let session): ("last word", session, 1)
            case .stage, .ladder: preconditionFailure("there is no gate for \(moment)")
            }
        try await scene.database.query(
            "INSERT INTO gate.place VALUES ($1, $2, $3)",
            [.text(kind), .text(session), .int(Int64(number))]
        )
        return try await scene.database.withConnection { keeper in
            try await keeper.execute("SELECT pg_advisory_lock(4711)")
            let outcome = try await start { child in
                try await scene.database.waitUntil(
                    "'\(session)' waits at the gate",
                    """
                    SELECT FROM pg_stat_activity WHERE datname = current_database()
                        AND application_name = $1 AND wait_event = 'PgSleep'
                    """,
                    [.text(session)]
                )
                try await strike(child)
                try await keeper.execute("DELETE FROM gate.place; SELECT pg_advisory_unlock(4711)")
            }
            return outcome
        }
    }

    /// Runs a rebuild up to its lock ladder, behind a reader's lock, strikes there, and lets the
    /// reader go.
    func behindReader(
        strike: (ChildProcess) async throws -> Void
    ) async throws -> ChildProcess.Outcome {
        try await scene.database.withConnection { reader in
            try await reader.execute("BEGIN; SELECT FROM public.order_summary LIMIT 1")
            return try await start { child in
                try await scene.database.waitUntil(
                    "the cut-over waits for its locks",
                    """
                    SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'
                        AND relation = 'public.order_summary'::regclass
                    """
                )
                try await strike(child)
                try await reader.execute("ROLLBACK")
            }
        }
    }

    /// Ends the sessions of that name in the scene's database.
    func terminate(_ session: String) async throws {
        let ended = try await scene.database.query(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = $1
            """,
            [.text(session)]
        )
        #expect(ended.rows.count == 1)
        try await scene.database.waitUntil(
            "'\(session)' is gone",
            """
            SELECT WHERE NOT EXISTS (SELECT FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = $1)
            """,
            [.text(session)]
        )
    }
}

// MARK: - Looking

extension KillScene {
    func digest() async throws -> String { try await scene.shopDigest() }

    // A generation's own three numbers, one of them through a view: no two generations share one.
    private static let counts = """
        SELECT concat_ws('|', (SELECT sum(total_cents) FROM public.order_summary),
            (SELECT sum(quantity * unit_cents) FROM public.order_line),
            (SELECT sum(orders) FROM public.customer_totals),
            (SELECT count(*) FROM public.open_orders)) AS counts
        """

    private func expectAftermath(
        _ aftermath: KillTests.Aftermath,
        comparedWith before: String
    ) async throws -> Bool {
        let swaps = try await scene.database.count("reprise.swap")
        let isNew = try await digest() != before
        switch aftermath {
        case .old: #expect(!isNew && swaps == 1)
        case .new: #expect(isNew && swaps == 2)
        case .asRecorded: #expect(isNew == (swaps == 2))
        }
        return isNew
    }

    /// Waits until no session of the command is left, and with it none of its locks.
    func expectLocksGone() async throws {
        try await scene.database.waitUntil(
            "every session of the killed run is gone",
            """
            SELECT WHERE NOT EXISTS (SELECT FROM pg_stat_activity
                WHERE datname = current_database() AND application_name LIKE 'reprise %'
                    AND application_name <> 'reprise tests')
            """
        )
    }

    /// Runs the next rebuild and compares what is there with what the bookkeeping says.
    ///
    /// - Returns: The digest of the live tables.
    @discardableResult
    func expectNextRunCleansUp(after before: String, isNew: Bool = false) async throws -> String {
        let reached = try await digest()
        let outcome = try await rebuild()
        expect(outcome, exits: 0)
        let after = try await digest()
        // The same ledger gives the same rows, so this is what the killed run put live.
        #expect(after == (isNew ? reached : after) && after != before)
        let states = try await scene.rows(
            of: "(SELECT run_id, state, error FROM reprise.run WHERE run_id > 1)"
        )
        #expect(states.count == 2)
        #expect(states.first?.hasPrefix("(2,failed,") == true, "\(states)")
        #expect(states.last == "(3,done,)")
        let unfinished = try await scene.database.query(
            "SELECT FROM reprise.generation WHERE state IN ('building', 'rejected', 'ready')"
        )
        #expect(unfinished.rows.isEmpty)
        let schemas = try await scene.rows(
            of: """
                (SELECT n.nspname FROM pg_namespace AS n
                 WHERE n.nspname LIKE 'shop\\_\\_g%' AND NOT EXISTS (
                    SELECT FROM reprise.generation AS g WHERE g.home_schema_oid = n.oid
                        AND g.state IN ('live', 'retired')))
                """
        )
        #expect(schemas.isEmpty)
        try await expectLocksGone()
        return after
    }
}
