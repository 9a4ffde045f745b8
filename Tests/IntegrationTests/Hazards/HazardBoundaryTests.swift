import Ledgers
import Postgres
import ReadModels
import Rebuilder
import TestSupport
import Testing

@Suite("Hazards of a swap: what stops it, and what it leaves")
struct HazardBoundaryTests {
    @Test("S10: an event trigger that lets no temporary table be made is named by the plan")
    func noTemporaryTables() async throws {
        let setUp = """
            CREATE FUNCTION public.need_key() RETURNS event_trigger LANGUAGE plpgsql AS $$
            DECLARE r record; BEGIN
                FOR r IN SELECT objid FROM pg_event_trigger_ddl_commands()
                    WHERE object_type = 'table' LOOP
                    IF NOT EXISTS (SELECT FROM pg_index WHERE indrelid = r.objid AND indisprimary) THEN
                        RAISE EXCEPTION 'a table needs a primary key';
                    END IF;
                END LOOP; END$$;
            CREATE EVENT TRIGGER need_key ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
                EXECUTE FUNCTION public.need_key();
            """
        try await withHazard(setUp: setUp) { hazard in
            let refusals = try await hazard.plan().refusals
            let reason = "Let the event triggers pass over pg_temp: need_key"
            #expect(refusals.contains { $0.contains(reason) }, "\(refusals)")
        }
    }

    @Test("S10: an event trigger that changes one row lets no rebuild wait for itself")
    func counter() async throws {
        let setUp = """
            CREATE TABLE public.version (number int); INSERT INTO public.version VALUES (1);
            GRANT ALL ON public.version TO PUBLIC;
            CREATE FUNCTION public.count_ddl() RETURNS event_trigger LANGUAGE plpgsql AS
            'BEGIN UPDATE public.version SET number = number + 1; END';
            CREATE EVENT TRIGGER count_ddl ON ddl_command_end EXECUTE FUNCTION public.count_ddl();
            CREATE FUNCTION s.low(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
            ALTER FUNCTION s.low OWNER TO %app%;
            GRANT USAGE ON SCHEMA s TO %app%;
            CREATE INDEX ON s.live (s.low(v));
            ALTER TABLE s.live OWNER TO %app%;
            """
        try await withHazard(setUp: setUp, roles: ["app"]) { hazard in
            let checks = "SELECT FROM live WHERE v IS NULL; TABLE live LIMIT 0"
            try await GivenSQL.$checks.withValue(checks) {
                var options = RebuildOptions()
                options.jobs = 4
                options.consent = hazard.consent
                for _ in 1...2 {
                    _ = try await hazard.scene.rebuild(hazard.projection, options: options)
                }
            }
            try await hazard.rollback()
        }
    }

    @Test(
        "a truncate whose rows a publication would send in part is refused, with what to type",
        arguments: ["insert, update, delete", "update, truncate"]
    )
    func partlyPublished(kinds: String) async throws {
        let setUp = "CREATE PUBLICATION p FOR TABLE s.live WITH (publish = '\(kinds)');"
        try await withHazard(setUp: setUp) { hazard in
            let swap = try await hazard.plan().refusals
            #expect(swap.contains { $0.contains("publication p") && !$0.contains("truncate") })
            let refusals = try await hazard.plan(.truncate).refusals
            let advice =
                "ALTER PUBLICATION p SET (publish = 'insert, update, delete, truncate')"
            #expect(refusals.contains { $0.contains(advice) }, "\(refusals)")
            await #expect(throws: ReadModelError.self) { try await hazard.rebuild(.truncate) }
            try await hazard.expect("SELECT v FROM s.live", gives: "old")
            try await hazard.execute(advice)
            try await hazard.rebuild(.truncate)
            try await hazard.expect("SELECT v FROM s.live", gives: "new")
        }
    }

    @Test("H48: a dump of the database that has begun is whole, and the swap waits for it")
    func runningDump() async throws {
        // What pg_dump locks last, because it was made last.
        try await withHazard(setUp: "CREATE TABLE s.last (id int)") { hazard in
            try await hazard.build()
            try await hazard.database.withConnection { keeper in
                try await keeper.execute("BEGIN; LOCK TABLE s.last IN ACCESS EXCLUSIVE MODE")
                async let dump = ChildProcess.run(
                    "pg_dump",
                    ["--inserts", "--schema", "s", "--dbname", hazard.database.url]
                )
                try await hazard.wait(
                    until: """
                        SELECT FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_locks AS h USING (pid)
                        WHERE h.granted AND h.relation = 's.live'::pg_catalog.regclass
                            AND NOT l.granted AND l.relation = 's.last'::pg_catalog.regclass
                        """
                )
                let error = await #expect(throws: ReadModelError.self) {
                    try await hazard.swap(
                        patience: CutOverPatience(outageBudget: 50, deadline: 0.2)
                    )
                }
                guard case .cutOverBlocked(_, _, let blockers, _, _) = error else {
                    Issue.record("got \(error as Any)")
                    return
                }
                #expect(blockers.contains { $0.contains("pg_dump") }, "\(blockers)")
                async let swapping = hazard.swap()
                try await keeper.execute("COMMIT")
                let text = try await dump.standardOutput
                #expect(text.contains("INSERT INTO s.live VALUES (1, 'old');"))
                _ = try await swapping
            }
            try await hazard.expect("SELECT v FROM s.live", gives: "new")
        }
    }

    @Test(
        "H49: a live table that was altered after the build is not swapped away",
        arguments: [
            "ALTER TABLE s.live ADD COLUMN x int", "CREATE INDEX late ON s.live (v)",
            "ALTER TABLE s.live ADD CONSTRAINT late CHECK (id > 0)",
            "ALTER TABLE s.live ALTER v SET DEFAULT 'd'", "COMMENT ON COLUMN s.live.v IS 'late'",
            "ALTER TABLE s.live SET (fillfactor = 70)", "DROP INDEX s.early",
        ]
    )
    func alteredMeanwhile(statement: String) async throws {
        try await withHazard(setUp: "CREATE INDEX early ON s.live (lower(v))") { hazard in
            try await hazard.build()
            try await hazard.execute(statement)
            let before = try await hazard.definitions()
            await #expect(throws: ReadModelError.self) { try await hazard.swap() }
            #expect(try await hazard.changes(since: before) == [])
            try await hazard.expect("SELECT v FROM s.live", gives: "old")
            try await hazard.rebuild()
            #expect(try await hazard.changes(since: before) == [])
            try await hazard.expect("SELECT v FROM s.live", gives: "new")
        }
    }

    @Test(
        "H49: what was attached to a live table after the build is carried over",
        arguments: [
            "CREATE VIEW s.late AS SELECT v FROM s.live", "GRANT SELECT ON s.live TO %app%",
            "CREATE RULE late AS ON DELETE TO s.live WHERE old.id = 9 DO INSTEAD NOTHING",
            "ALTER TABLE s.live ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY late ON s.live USING (v <> '')",
        ]
    )
    func attachedMeanwhile(statement: String) async throws {
        try await withHazard(roles: ["app"]) { hazard in
            try await hazard.build()
            try await hazard.execute(statement)
            let before = try await hazard.definitions()
            try await hazard.swap()
            #expect(try await hazard.changes(since: before) == [])
            try await hazard.expect("SELECT v FROM s.live", gives: "new")
        }
    }

    @Test(
        "H55: a rollback brings the old tables back, and where they stood",
        arguments: Shape.allCases
    )
    func rollback(shape: Shape) async throws {
        let setUp = """
            CREATE VIEW s.v AS SELECT * FROM s.live;
            GRANT SELECT ON s.live TO %app%;
            CREATE INDEX by_hand ON s.live (v);
            """
        try await withHazard(shape, setUp: setUp, roles: ["app"]) { hazard in
            let before = try await hazard.definitions()
            let first = try await hazard.rebuild()
            let oid = try await hazard.value("SELECT 's.live'::regclass::oid")
            try hazard.scene.append([Live.event(1, "newer")])
            let second = try await hazard.rebuild()
            #expect(first.position != second.position)
            try await hazard.expect("SELECT v FROM s.v", gives: "newer")
            try await hazard.rollback()
            try await hazard.expect("SELECT 's.live'::regclass::oid", gives: oid)
            try await hazard.expect("SELECT v FROM s.v", gives: "new")
            try await hazard.expect(
                "SELECT generation || ' ' || position FROM reprise.checkpoint",
                gives: "1 \(first.position ?? "")"
            )
            #expect(try await hazard.changes(since: before) == [])
        }
    }

    @Test("H56: what somebody hung onto the old tables is named, and keeps them")
    func leftoverView() async throws {
        try await withHazard { hazard in
            try await hazard.rebuild()
            try await hazard.execute("CREATE VIEW s.leftover AS SELECT * FROM live__g0.live")
            let control = hazard.scene.control(hazard.projection)
            let postponed = try await control.prune(keep: 0)
            #expect(postponed.dropped == [])
            #expect(postponed.postponed[0]?.contains("s.leftover") == true, "\(postponed)")
            #expect(postponed.postponed[0]?.contains("CASCADE") == false, "\(postponed)")
            try await hazard.expect("SELECT v FROM s.leftover", gives: "old")
            try await hazard.execute("DROP VIEW s.leftover")
            #expect(try await control.prune(keep: 0).dropped == [0])
        }
    }

    @Test(
        "H57, H58, H59, H60: tables that others hold together are refused by name",
        arguments: [
            RefusedTable(
                "a partition",
                setUp: """
                    CREATE TABLE s.parent (id int NOT NULL, v text) PARTITION BY RANGE (id);
                    ALTER TABLE s.parent ATTACH PARTITION s.live FOR VALUES FROM (0) TO (100);
                    """,
                naming: "partition"
            ),
            RefusedTable(
                "a partitioned table",
                table: """
                    CREATE TABLE live (id int PRIMARY KEY, v text) PARTITION BY LIST (id);
                    CREATE TABLE live_1 PARTITION OF live FOR VALUES IN (1);
                    CREATE TABLE live_2 PARTITION OF live FOR VALUES IN (2);
                    CREATE TABLE live_others PARTITION OF live DEFAULT;
                    """,
                naming: "live"
            ),
            RefusedTable(
                "a parent",
                setUp: "CREATE TABLE s.heir () INHERITS (s.live); INSERT INTO s.heir VALUES (2)",
                naming: "inherit"
            ),
            RefusedTable(
                "a child",
                setUp: "CREATE TABLE s.base (id int NOT NULL); ALTER TABLE s.live INHERIT s.base",
                naming: "inherit"
            ),
            RefusedTable(
                "a member of an extension",
                setUp: "ALTER EXTENSION plpgsql ADD TABLE s.live",
                naming: "plpgsql"
            ),
        ],
        Shape.allCases
    )
    func heldTogether(_ refused: RefusedTable, shape: Shape) async throws {
        try await withHazard(
            shape,
            table: refused.table ?? "CREATE TABLE live (id int PRIMARY KEY, v text)",
            setUp: refused.setUp
        ) { hazard in
            try await hazard.isRefused(naming: refused.name)
            try await hazard.expect("SELECT v FROM s.live WHERE id = 1", gives: "old")
        }
    }

    private static let veto = """
        CREATE FUNCTION s.veto() RETURNS event_trigger LANGUAGE plpgsql AS
            'BEGIN RAISE EXCEPTION ''vetoed''; END';
        CREATE EVENT TRIGGER veto ON ddl_command_start WHEN TAG IN ('ALTER TABLE')
            EXECUTE FUNCTION s.veto();
        """

    @Test("H61: an event trigger that forbids a statement stops build or swap cleanly")
    func eventTrigger() async throws {
        try await withHazard(setUp: Self.veto) { hazard in
            let before = try await hazard.definitions()
            let error = await #expect(throws: ReadModelError.self) { try await hazard.rebuild() }
            #expect("\(error as Any)".contains("vetoed"))
            #expect(try await hazard.changes(since: before) == [])
            try await hazard.expect("SELECT v FROM s.live", gives: "old")

            try await hazard.execute("ALTER EVENT TRIGGER veto DISABLE")
            let built = try await hazard.build()
            try await hazard.execute("ALTER EVENT TRIGGER veto ENABLE")
            let late = await #expect(throws: ReadModelError.self) { try await hazard.swap() }
            #expect("\(late as Any)".contains("vetoed"))
            #expect(try await hazard.changes(since: before) == [])
            try await hazard.expect("SELECT v FROM s.live", gives: "old")

            try await hazard.execute("ALTER EVENT TRIGGER veto DISABLE")
            #expect(try await hazard.swap().generation == built.generation)
            try await hazard.expect("SELECT v FROM s.live", gives: "new")
        }
    }

    @Test("H62: another session's temporary view keeps the old table, and no swap waits for it")
    func temporaryView() async throws {
        try await withHazard { hazard in
            let control = hazard.scene.control(hazard.projection)
            try await hazard.database.withConnection { session in
                try await session.execute("CREATE TEMP VIEW tv AS SELECT * FROM s.live")
                try await hazard.rebuild()
                try await hazard.expect("SELECT v FROM s.live", gives: "new")
                #expect(try await session.execute("SELECT v FROM pg_temp.tv").first?["v"] == "old")
                let pruned = try await control.prune(keep: 0)
                #expect(pruned.postponed[0]?.contains("tv") == true, "\(pruned)")
            }
            // The session is gone for its client before the server has taken its view away.
            try await hazard.wait(
                until: "SELECT FROM pg_catalog.pg_class WHERE relname = 'tv' HAVING count(*) = 0"
            )
            #expect(try await control.prune(keep: 0).dropped == [0])
        }
    }

    @Test("H63: an index that is not valid is named and not made anew", arguments: Shape.allCases)
    func invalidIndex(shape: Shape) async throws {
        let setUp = """
            CREATE INDEX spoilt ON s.live (v);
            UPDATE pg_catalog.pg_index SET indisvalid = false
            WHERE indexrelid = 's.spoilt'::pg_catalog.regclass;
            """
        try await withHazard(shape, setUp: setUp) { hazard in
            let warnings = try await hazard.plan().warnings
            #expect(warnings.contains { $0.contains("spoilt") }, "\(warnings)")
            try await hazard.passes { epoch in
                try await hazard.expect(
                    "SELECT relname FROM pg_class WHERE relname = 'spoilt' AND "
                        + "relnamespace = 's'::regnamespace AND \(epoch == .new)"
                )
            }
        }
    }
}

/// A live table that a swap cannot take away from those it belongs to.
struct RefusedTable: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let table: String?
    let setUp: String
    let name: String

    init(_ testDescription: String, table: String? = nil, setUp: String = "", naming name: String) {
        self.testDescription = testDescription
        self.table = table
        self.setUp = setUp
        self.name = name
    }
}
