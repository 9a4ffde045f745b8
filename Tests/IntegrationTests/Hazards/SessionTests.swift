import Postgres
import ReadModels
import Rebuilder
import TestSupport
import Testing

@Suite("What a role or a database sets for its sessions")
struct SessionTests {
    /// A setting, what a database sets, and what our sessions have.
    private static let settings = [
        ("jit", "on", "off"), ("enable_seqscan", "off", "on"), ("enable_hashjoin", "off", "on"),
        ("join_collapse_limit", "1", "8"), ("from_collapse_limit", "1", "8"),
        ("geqo", "off", "on"), ("plan_cache_mode", "force_generic_plan", "auto"),
        ("row_security", "off", "on"), ("session_replication_role", "replica", "origin"),
        ("default_transaction_deferrable", "on", "off"),
        ("default_transaction_isolation", "serializable", "read committed"),
        ("default_tablespace", "pg_default", ""), ("default_toast_compression", "lz4", "pglz"),
        ("check_function_bodies", "off", "on"), ("xmloption", "document", "content"),
        ("synchronous_commit", "off", "local"), ("quote_all_identifiers", "on", "off"),
        ("transform_null_equals", "on", "off"), ("array_nulls", "off", "on"),
        ("standard_conforming_strings", "off", "on"), ("bytea_output", "escape", "hex"),
        ("DateStyle", "German", "ISO, YMD"), ("IntervalStyle", "iso_8601", "postgres"),
        ("TimeZone", "Asia/Tokyo", "UTC"), ("extra_float_digits", "0", "3"),
        ("client_min_messages", "error", "warning"), ("search_path", "public", ""),
        ("statement_timeout", "10min", "0"), ("lock_timeout", "10min", "0"),
        ("idle_in_transaction_session_timeout", "10min", "0"),
        ("idle_session_timeout", "10min", "0"),
    ]

    /// Sets everything above for a database.
    private func spoil(_ database: ScratchDatabase) async throws {
        // One message: the next session is a spoilt one.
        try await database.execute(
            Self.settings.map { name, value, _ in
                "ALTER DATABASE \(database.name) SET \(name) = \(SQLText.literal(value))"
            }.joined(separator: ";")
        )
    }

    @Test("our sessions set what they depend on, whatever the database has set (S17)")
    func ownSettings() async throws {
        try await withScratchDatabase { database in
            try await spoil(database)
            let rows = try await database.query("SELECT name, setting, boot_val FROM pg_settings")
                .rows
            let found = Dictionary(
                uniqueKeysWithValues: rows.map { ($0["name"] ?? "", $0["setting"] ?? "") }
            )
            for (name, _, wanted) in Self.settings {
                #expect(found[name] == wanted, "\(name)")
            }
            let changed = rows.filter {
                $0["name"]?.hasPrefix("enable_") == true && $0["setting"] != $0["boot_val"]
            }
            #expect(changed.isEmpty)
        }
    }

    @Test("no commit waits for a standby, and what a role may not set stays (S17, E4)")
    func othersSettings() async throws {
        try await PrivateServer.with { server in
            let root = ConnectionSettings(conninfo: server.conninfo)
            try await PostgresConnection.withConnection(root) {
                try await $0.execute(
                    """
                    CREATE ROLE job LOGIN;
                    ALTER ROLE job SET session_replication_role = replica;
                    ALTER ROLE job SET synchronous_commit = remote_apply;
                    ALTER ROLE job SET jit = on;
                    """
                )
            }
            let job = ConnectionSettings(conninfo: "\(server.conninfo) user=job")
            let row = try await PostgresConnection.withConnection(job) {
                try await $0.query(
                    """
                    SELECT current_setting('session_replication_role') AS role,
                        current_setting('synchronous_commit') AS waits, current_setting('jit') AS jit
                    """
                ).first
            }
            #expect(row?["role"] == "replica")
            #expect(row?["waits"] == "local")
            #expect(row?["jit"] == "off")
        }
    }

    @Test("rebuild, rollback and truncate work under all of it (S17, S18)")
    func worksUnderAll() async throws {
        try await withHazard(
            setUp: "CREATE VIEW s.v AS SELECT * FROM s.live; CREATE TABLE s.t (x xml, b bytea)"
        ) { hazard in
            try await spoil(hazard.database)
            try await hazard.passes { epoch in
                try await hazard.expect("SELECT v FROM s.v", gives: epoch.rawValue)
            }
            try await hazard.rebuild(.truncate)
        }
    }

    @Test("a cut-over keeps its budget where every query is compiled and none may scan (S17)")
    func compiledQueries() async throws {
        try await withBuiltTally { scene in
            for setting in ["enable_seqscan = off", "jit = on", "jit_above_cost = 0"] {
                try await scene.database.execute(
                    "ALTER DATABASE \(scene.database.name) SET \(setting)"
                )
            }
            let patience = CutOverPatience(outageBudget: 400, deadline: 5)
            let result = try await scene.control(Tally.self).swap(patience: patience)
            #expect(result.generation == 2)
        }
    }

    @Test("what a plan and a cut-over read of the catalogues does not grow with the database (S17)")
    func largeCatalogues() async throws {
        // Autovacuum reads the catalogues as well.
        let settings = ["autovacuum = off", "max_locks_per_transaction = 500"]
        try await PrivateServer.with(settings: settings) { server in
            try await server.withScene { scene in
                try await makeBuiltTally(in: scene)
                try await scene.database.execute(
                    "CREATE VIEW public.busy AS SELECT * FROM public.tally WHERE events > 1"
                )
                let small = try await rowsRead(in: scene) { try await work(in: scene) }
                try await scene.database.execute(Self.others)
                try await scene.database.execute("ANALYZE")
                let large = try await rowsRead(in: scene) { try await work(in: scene) }
                // There are 10,000 relations more, and one scan of them reads as many rows.
                #expect(large < small + 10_000, "\(large) rows, and \(small) before")
            }
        }
    }

    private func work(in scene: RebuildScene) async throws {
        _ = try await scene.plan(Tally.self)
        _ = try await scene.control(Tally.self).swap(
            patience: CutOverPatience(outageBudget: 2_000)
        )
        _ = try await scene.control(Tally.self).rollback(
            patience: CutOverPatience(outageBudget: 2_000)
        )
    }

    private static let others = """
        CREATE SCHEMA others;
        DO $$ BEGIN
            FOR i IN 1..2500 LOOP
                EXECUTE format('CREATE TABLE others.t%s (id int PRIMARY KEY, v text)', i);
                EXECUTE format('CREATE VIEW others.v%s AS SELECT id FROM others.t%s', i, i);
            END LOOP;
        END $$
        """

    /// Rows of tables in `pg_catalog` that were read meanwhile.
    private func rowsRead(
        in scene: RebuildScene,
        by body: () async throws -> Void
    ) async throws -> Int64 {
        let before = try await rowsRead(in: scene)
        try await body()
        return try await rowsRead(in: scene) - before
    }

    private func rowsRead(in scene: RebuildScene) async throws -> Int64 {
        // A session hands its counts in when it ends.
        try await scene.database.waitUntil(
            "every session of Reprise has ended",
            """
            SELECT FROM (SELECT) AS once WHERE NOT EXISTS (
                SELECT FROM pg_stat_activity WHERE datname = current_database()
                    AND application_name LIKE 'reprise %' AND application_name <> 'reprise tests')
            """
        )
        let row = try await scene.database.query(
            """
            SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint AS rows
            FROM pg_stat_sys_tables
            """
        ).first
        return try row?.int("rows") ?? 0
    }

    @Test("a tablespace that a database has for new tables moves no live one (S18)")
    func tablespace() async throws {
        try await withHazard(
            .declared,
            table: "CREATE TABLE live (id int PRIMARY KEY, v text); CREATE INDEX vs ON live (v)"
        ) { hazard in
            let space = "\(hazard.database.name)_space"
            try await hazard.database.withConnection { connection in
                try await connection.execute("SET allow_in_place_tablespaces = on")
                try await connection.execute("CREATE TABLESPACE \(space) LOCATION ''")
            }
            try await hazard.execute(
                "ALTER DATABASE \(hazard.database.name) SET default_tablespace = \(space)"
            )
            let moved = """
                SELECT count(*) FROM pg_class AS c JOIN pg_tablespace AS t ON t.oid = c.reltablespace
                WHERE t.spcname = '\(space)'
                """
            try await hazard.rebuild()
            #expect(try await hazard.number(moved) == 0)
            try await hazard.execute(
                "ALTER DATABASE \(hazard.database.name) RESET default_tablespace"
            )
            try await hazard.execute("DROP TABLESPACE \(space)")
        }
    }

    @Test("an event trigger that publishes new tables is named, and publishes no live one (S18)")
    func publishingTrigger() async throws {
        try await withHazard(
            setUp: """
                CREATE PUBLICATION everything;
                CREATE FUNCTION s.publish() RETURNS event_trigger LANGUAGE plpgsql AS $$
                DECLARE made record;
                BEGIN
                    FOR made IN SELECT * FROM pg_event_trigger_ddl_commands()
                        WHERE object_type = 'table' AND schema_name NOT LIKE 'pg_temp%' LOOP
                        EXECUTE format('ALTER PUBLICATION everything ADD TABLE %s',
                            made.object_identity);
                    END LOOP;
                END $$;
                """
        ) { hazard in
            try await hazard.rebuild()
            try await hazard.execute(
                """
                CREATE EVENT TRIGGER publishes ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
                    EXECUTE FUNCTION s.publish()
                """
            )
            try await hazard.isRefused(
                naming: "publication everything of live__g2.live: an event trigger (publishes)",
                "ALTER EVENT TRIGGER"
            )
            try await hazard.execute("ALTER EVENT TRIGGER publishes DISABLE")
            try await hazard.rebuild()
            try await hazard.expect("SELECT tablename FROM pg_publication_tables")
        }
    }

    @Test("a role whose name is that of our schema is warned of, unless its path is another (S19)")
    func roleOfOurName() async throws {
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                func warnings() async throws -> [String] {
                    try await scene.plan(Tally.self).warnings.filter { $0.contains("role reprise") }
                }
                try await makeTally(in: scene)
                #expect(try await warnings().first?.contains("reprise_job") == true)
                try await scene.database.execute("ALTER ROLE reprise SET search_path = public")
                #expect(try await warnings() == [])
            }
        }
    }
}
