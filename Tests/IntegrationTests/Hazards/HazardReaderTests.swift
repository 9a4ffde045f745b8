import Ledgers
import Postgres
import ReadModels
import Rebuilder
import TestSupport
import Testing

@Suite("Hazards of a swap: those who read meanwhile")
struct HazardReaderTests {
    @Test(
        "H37: a session with cached plans of a plpgsql function continues with the new table",
        arguments: Shape.allCases
    )
    func cachedPlans(shape: Shape) async throws {
        let setUp = """
            CREATE FUNCTION s.f() RETURNS text LANGUAGE plpgsql AS $$
            DECLARE r s.live%ROWTYPE;
            BEGIN SELECT * INTO r FROM s.live WHERE id = 1; RETURN r.v; END $$;
            CREATE FUNCTION s.g() RETURNS SETOF text LANGUAGE plpgsql AS $$
            DECLARE r record;
            BEGIN FOR r IN SELECT * FROM s.live LOOP RETURN NEXT r.v; END LOOP; END $$;
            """
        try await withHazard(shape, setUp: setUp) { hazard in
            try await hazard.database.withConnection { session in
                try await hazard.passes { epoch in
                    for _ in 1...8 {
                        let seen = try await session.query("SELECT s.f() AS f, s.g() AS g").first
                        #expect(seen?["f"] == epoch.rawValue)
                        #expect(seen?["g"] == epoch.rawValue)
                    }
                }
            }
        }
    }

    @Test("H37: a function with a row variable is named by the plan, and its advice helps sessions")
    func rowVariables() async throws {
        let setUp = """
            CREATE FUNCTION s.one() RETURNS text LANGUAGE plpgsql AS $$
            DECLARE x s.live; BEGIN x := (SELECT l FROM s.live AS l WHERE id = 1); RETURN x.v; END $$;
            CREATE FUNCTION s.rows() RETURNS int LANGUAGE plpgsql COST 7 AS $$
            DECLARE a s.live []; BEGIN SELECT array_agg(l) INTO a FROM s.live AS l;
                RETURN array_length(a, 1); END $$;
            CREATE FUNCTION s.none() RETURNS text LANGUAGE plpgsql AS $$
            DECLARE r record; BEGIN
                LOCK TABLE s.live; SELECT * INTO r FROM s.live AS x; SELECT * INTO r FROM s.live;
                RETURN (SELECT max(v) FROM s.live);
            END $$;
            CREATE PROCEDURE s.proc() LANGUAGE plpgsql AS $$ DECLARE é s.live; BEGIN END $$;
            """
        try await withHazard(setUp: setUp) { hazard in
            let warnings = try await hazard.plan().warnings.filter { $0.contains("row type") }
            #expect(warnings.count == 3, "\(warnings)")
            #expect(warnings.contains { $0.contains("ALTER PROCEDURE s.proc() SECURITY INVOKER") })
            #expect(warnings.contains { $0.contains("ALTER FUNCTION s.one() COST 100") })
            #expect(warnings.contains { $0.contains("ALTER FUNCTION s.rows() COST 7") })
            try await hazard.database.withConnection { session in
                let calls = "SELECT s.one() AS v, s.rows() AS n, s.none() AS m"
                _ = try await session.query(calls)
                try await hazard.rebuild()
                try await hazard.execute(
                    """
                    ALTER FUNCTION s.one() COST 100; ALTER FUNCTION s.rows() COST 7;
                    ALTER PROCEDURE s.proc() SECURITY INVOKER
                    """
                )
                _ = try await hazard.scene.control(Live.self).prune(keep: 0)
                #expect(try await session.query(calls).first?["v"] == "new")
                // What is warned of.
                try await hazard.rebuild()
                _ = try await hazard.scene.control(Live.self).prune(keep: 0)
                await #expect(throws: ServerError.self) { try await session.query(calls) }
            }
        }
    }

    @Test("H38: prepared statements go on with the new table", arguments: Shape.allCases)
    func preparedStatements(shape: Shape) async throws {
        try await withHazard(shape) { hazard in
            try await hazard.database.withConnection { session in
                try await session.execute(Self.prepare)
                try await hazard.passes { epoch in
                    for _ in 1...8 {
                        for name in ["p", "p2"] {
                            let seen = try await session.execute("EXECUTE \(name)").first
                            #expect(seen?["v"] == epoch.rawValue)
                        }
                    }
                }
            }
        }
    }

    private static let prepare = """
        PREPARE p AS SELECT * FROM s.live;
        PREPARE p2 AS SELECT id, v FROM s.live;
        """

    @Test("H38: the plan warns that SELECT * of prepared statements ends when columns change")
    func preparedStatementsOfOtherShape() async throws {
        let file = "CREATE TABLE live (id int PRIMARY KEY, v text, extra int DEFAULT 7)"
        try await withHazard(.declared, file: file) { hazard in
            try await hazard.database.withConnection { session in
                try await session.execute(Self.prepare)
                let warnings = try await hazard.plan().warnings
                #expect(warnings.contains { $0.contains("prepared") }, "\(warnings)")
                try await hazard.rebuild()
                let error = await #expect(throws: ServerError.self) {
                    try await session.execute("EXECUTE p")
                }
                #expect(error?.sqlState == "0A000")
                #expect(try await session.execute("EXECUTE p2").first?["v"] == "new")
            }
        }
    }

    /// Holds the swap inside its exclusive lock until the test lets go.
    private static func gate(on oid: Int) -> String {
        """
        CREATE FUNCTION s.gate() RETURNS event_trigger LANGUAGE plpgsql SET lock_timeout = 0 AS $$
        BEGIN
            IF EXISTS (SELECT FROM pg_catalog.pg_locks
                WHERE pid = pg_catalog.pg_backend_pid() AND granted AND relation = \(oid)
                    AND mode = 'AccessExclusiveLock') THEN
                PERFORM pg_catalog.pg_advisory_xact_lock_shared(\(gateKey));
            END IF;
        END $$;
        CREATE EVENT TRIGGER gate ON ddl_command_start WHEN TAG IN ('ALTER TABLE')
            EXECUTE FUNCTION s.gate();
        """
    }

    private static let gateKey = 4713
    private static let waiting = """
        SELECT pid FROM pg_catalog.pg_locks AS l
        JOIN pg_catalog.pg_database AS d ON d.oid = l.database
        WHERE NOT granted AND d.datname = pg_catalog.current_database()
        """

    @Test("H39: readers and writers that wait for the swap go on with the new table")
    func waitingSessions() async throws {
        try await withHazard(
            setUp: """
                INSERT INTO s.live VALUES (3, 'old');
                CREATE VIEW s.v AS SELECT * FROM s.live;
                """,
            events: [Live.event(1, "new"), Live.event(3, "new")]
        ) { hazard in
            try await hazard.build()
            let oid = try await hazard.number("SELECT 's.live'::regclass::oid")
            try await hazard.execute(Self.gate(on: oid))
            try await hazard.database.withConnection { keeper in
                try await keeper.execute("SELECT pg_advisory_lock(\(Self.gateKey))")
                async let swapping = hazard.swap(
                    patience: CutOverPatience(outageBudget: 60_000, deadline: 60)
                )
                try await hazard.wait(
                    until: Self.waiting + " AND locktype = 'advisory' AND objid = \(Self.gateKey)"
                )
                async let read = hazard.value("SELECT v FROM s.live WHERE id = 1")
                async let viewed = hazard.value("SELECT v FROM s.v WHERE id = 1")
                async let inserted = hazard.value(
                    "INSERT INTO s.live VALUES (2, 'added') RETURNING v"
                )
                async let updated = hazard.value(
                    "UPDATE s.live SET v = v || '!' WHERE id = 3 RETURNING v"
                )
                try await hazard.wait(
                    until: "SELECT FROM (\(Self.waiting) AND locktype = 'relation') AS w "
                        + "HAVING count(*) = 4"
                )
                try await keeper.execute("SELECT pg_advisory_unlock(\(Self.gateKey))")
                _ = try await swapping
                #expect(try await read == "new")
                #expect(try await viewed == "new")
                #expect(try await inserted == "added")
                #expect(try await updated == "new!")
            }
            #expect(
                try await hazard.scene.rows(of: "s.live") == ["(1,new)", "(2,added)", "(3,new!)"]
            )
            #expect(try await hazard.scene.rows(of: "live__g0.live") == ["(1,old)", "(3,old)"])
        }
    }

    @Test("H40, H42: joins in both orders and views see one version, and no error, in 30 swaps")
    func joins() async throws {
        try await withHazard(
            of: Pair.self,
            table: Pair.tables,
            rows: Pair.rows,
            setUp: "CREATE VIEW s.both AS SELECT a.v || ' ' || b.v AS vs FROM s.b, s.a"
        ) { hazard in
            try await hazard.rebuild()
            try await withPollingReader(
                on: hazard.database,
                sql: "SELECT a.v || ' ' || b.v FROM s.a, s.b"
            ) { forwards in
                try await withPollingReader(
                    on: hazard.database,
                    sql: "SELECT (SELECT v FROM s.a) || ' ' || v FROM s.b"
                ) { backwards in
                    try await withPollingReader(
                        on: hazard.database,
                        sql: "SELECT vs FROM s.both"
                    ) { viewer in
                        for _ in 1...15 {
                            try await hazard.rollback()
                            try await hazard.swap()
                        }
                        for reader in [forwards, backwards, viewer] {
                            await reader.nextPoll()
                            #expect(await reader.errors == [])
                            let seen = Set(await reader.results)
                            #expect(seen.isSubset(of: [["old old"], ["new new"]]), "\(seen)")
                            #expect(await reader.results.last == ["new new"])
                        }
                    }
                }
            }
        }
    }

    @Test("H41: a session idle in a transaction stops the swap, and holds up no other reader")
    func lockQueue() async throws {
        try await withHazard { hazard in
            try await hazard.build()
            let before = try await hazard.definitions()
            try await hazard.database.withConnection { idle in
                try await idle.execute("BEGIN; SELECT FROM s.live")
                try await withPollingReader(
                    on: hazard.database,
                    sql: "SELECT v FROM s.live"
                ) { reader in
                    let error = await #expect(throws: ReadModelError.self) {
                        try await hazard.swap(
                            patience: CutOverPatience(outageBudget: 100, deadline: 4)
                        )
                    }
                    guard case .cutOverBlocked(_, _, let blockers, _, 1) = error else {
                        Issue.record("got \(error as Any)")
                        return
                    }
                    #expect(blockers.contains { $0.contains("pid \(idle.backendPID)") })
                    await reader.nextPoll()
                    #expect(await reader.results == [["old"]])
                    #expect(await reader.errors == [])
                    // The budget, and what a machine with other work takes: half of the time that it
                    // would wait behind the blocker.
                    #expect(await reader.longest < .seconds(2))
                }
            }
            #expect(try await hazard.changes(since: before) == [])
            try await hazard.swap()
            try await hazard.expect("SELECT v FROM s.live", gives: "new")
        }
    }

    @Test("H43: a transaction that has one table and wants the other goes before the swap")
    func crossedLocks() async throws {
        try await withHazard(of: Pair.self, table: Pair.tables, rows: Pair.rows) { hazard in
            try await hazard.build()
            for (first, second) in [("s.a", "s.b"), ("s.b", "s.a")] {
                try await hazard.database.withConnection { session in
                    try await session.execute("BEGIN; SELECT FROM \(first)")
                    // A budget so large that it queues behind an old transaction as well.
                    async let swapping = hazard.swap(
                        patience: CutOverPatience(outageBudget: 20_000)
                    )
                    try await hazard.wait(
                        until: Self.waiting + " AND locktype = 'relation'"
                            + " AND mode = 'AccessExclusiveLock'"
                    )
                    let seen = try await session.query("SELECT v FROM \(second)").first
                    let again = try await session.query("SELECT v FROM \(first)").first
                    #expect(seen?["v"] == "old" && again?["v"] == "old")
                    try await session.execute("COMMIT")
                    _ = try await swapping
                }
                try await hazard.rollback()
            }
        }
    }

    @Test(
        "H68: right after a swap the planner knows the new table",
        arguments: Shape.allCases
    )
    func statistics(shape: Shape) async throws {
        let table = """
            CREATE TABLE live (id int PRIMARY KEY, v text);
            CREATE INDEX live_v ON live (v);
            CREATE INDEX live_expression ON live (upper(v));
            CREATE STATISTICS live_s ON id, v FROM live;
            """
        try await withHazard(
            shape,
            table: table,
            events: (1...3000).map { Live.event($0, "v\($0)") }
        ) { hazard in
            try await hazard.rebuild()
            let plan = try await hazard.value("EXPLAIN SELECT id FROM s.live WHERE v = 'v77'")
            #expect(plan?.contains("live_v") == true, "\(plan as Any)")
            try await hazard.expect(
                "SELECT reltuples FROM pg_class WHERE oid = 's.live'::regclass",
                gives: "3000"
            )
            try await hazard.expect(
                "SELECT reltuples FROM pg_class WHERE oid = 's.live_v'::regclass",
                gives: "3000"
            )
            try await hazard.expect(
                "SELECT tablename FROM pg_stats WHERE schemaname = 's' ORDER BY 1",
                gives: "live",
                "live",
                "live_expression"
            )
            try await hazard.expect(
                "SELECT statistics_name FROM pg_stats_ext WHERE n_distinct IS NOT NULL",
                gives: "live_s"
            )
        }
    }

    @Test("H69: an index-only scan needs no look at the new table", arguments: Shape.allCases)
    func indexOnlyScan(shape: Shape) async throws {
        try await withHazard(
            shape,
            events: (1...3000).map { Live.event($0, "v\($0)") }
        ) { hazard in
            try await hazard.rebuild()
            let lines = try await hazard.database.withConnection { session in
                try await session.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
                return try await session.execute(
                    "EXPLAIN (ANALYZE, TIMING OFF) SELECT count(id) FROM s.live"
                ).rows.map { $0[0] ?? "" }
            }
            #expect(lines.contains { $0.hasSuffix("Heap Fetches: 0") }, "\(lines)")
        }
    }
}
