import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import TestSupport
import Testing

/// A first generation, or a table that is new in a later one, ends like a table that somebody makes in
/// the live schema.
@Suite("Tables that nothing precedes")
struct NewTableTests {
    /// What event triggers of row-level security, audit and grants do, to tables of schemas that
    /// `%filter%` lets through.
    private static let rowSecurity = """
        CREATE FUNCTION public.auto_rls() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        DECLARE r record; BEGIN
            FOR r IN SELECT * FROM pg_event_trigger_ddl_commands()
                WHERE command_tag IN ('CREATE TABLE', 'CREATE TABLE AS') AND object_type = 'table'
                    AND schema_name NOT LIKE 'pg_temp%' AND %filter% LOOP
                EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', r.object_identity);
                EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', r.object_identity);
                EXECUTE format('CREATE TRIGGER zz_audit BEFORE UPDATE ON %s FOR EACH ROW '
                    'EXECUTE FUNCTION suppress_redundant_updates_trigger()', r.object_identity);
                EXECUTE format('CREATE POLICY all_of_it ON %s USING (true)', r.object_identity);
                EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', r.object_identity);
                EXECUTE format('GRANT SELECT ON %s TO PUBLIC', r.object_identity);
            END LOOP;
        END$$;
        CREATE EVENT TRIGGER auto_rls ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
            EXECUTE FUNCTION public.auto_rls();
        """

    private static let auditLog = """
        CREATE TABLE public.ddl_log (tag text, identity text);
        CREATE FUNCTION public.log_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO public.ddl_log SELECT command_tag, object_identity
            FROM pg_event_trigger_ddl_commands(); END$$;
        CREATE EVENT TRIGGER log_ddl ON ddl_command_end EXECUTE FUNCTION public.log_ddl();
        """

    private static let privileges = """
        ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO pg_monitor;
        ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO pg_monitor;
        ALTER DEFAULT PRIVILEGES GRANT INSERT, UPDATE ON TABLES TO pg_read_all_data WITH GRANT OPTION;
        ALTER DEFAULT PRIVILEGES REVOKE TRUNCATE ON TABLES FROM CURRENT_USER;
        """

    private static let circumstances = [
        "", privileges, rowSecurity.replacing("%filter%", with: "true"),
        rowSecurity.replacing("%filter%", with: "schema_name = 'public'"),
        rowSecurity.replacing("%filter%", with: "schema_name <> 'public'"), auditLog,
        privileges + rowSecurity.replacing("%filter%", with: "true") + auditLog,
    ]

    /// What a person gets who runs the file in the live schema.
    private static func dump(of file: String, after setUp: String) async throws -> String {
        try await withRebuildScene { scene in
            try await scene.database.execute(setUp)
            try await scene.database.execute("SET search_path TO public; \(file)")
            return try await SchemaDump.of(in: scene.database)
        }
    }

    @Test(
        "S10: a first generation is as its schema.sql makes tables in the live schema",
        arguments: circumstances
    )
    func firstGeneration(setUp: String) async throws {
        let expected = try await Self.dump(of: Tally.schema ?? "", after: setUp)
        try await withRebuildScene { scene in
            try await scene.database.execute(setUp)
            try scene.append(counted([1, 2, 2]))
            #expect(try await scene.plan(Tally.self).refusals == [])
            _ = try await scene.rebuild(Tally.self)
            #expect(try await SchemaDump.of(in: scene.database) == expected)
            #expect(try await scene.database.count("public.tally") == 2)
            _ = try await scene.rebuild(Tally.self)
            #expect(try await SchemaDump.of(in: scene.database) == expected)
            _ = try await scene.control(Tally.self).rollback(patience: CutOverPatience())
            #expect(try await SchemaDump.of(in: scene.database) == expected)
        }
    }

    @Test("S10: a table that is new in a later generation has what its schema gives new tables")
    func laterTable() async throws {
        let setUp = Self.privileges + Self.rowSecurity.replacing("%filter%", with: "true")
        let expected = try await Self.dump(of: Tally.schema ?? "", after: setUp)
        try await withRebuildScene { scene in
            try await scene.database.execute(setUp)
            try scene.append(counted([1, 2, 2]))
            _ = try await scene.rebuild(SmallTally.self)
            _ = try await scene.rebuild(Tally.self)
            #expect(try await SchemaDump.of(in: scene.database) == expected)
        }
    }

    @Test(
        "S10: event triggers change no live table that was there before them",
        arguments: [Shape.cloned, .declared]
    )
    func liveTables(shape: Shape) async throws {
        let setUp = Self.rowSecurity.replacing("%filter%", with: "true") + Self.auditLog
        try await withHazard(shape, setUp: setUp) { try await $0.passes() }
    }

    /// An event trigger that does something to each new table or index.
    private static func eventTrigger(
        _ statements: String...,
        on tag: String = "TABLE",
        of schema: String = "true"
    ) -> String {
        let all = statements.map { "EXECUTE format('\($0)', r.object_identity);" }.joined()
        return """
            CREATE FUNCTION public.e() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
            DECLARE r record; BEGIN
                FOR r IN SELECT * FROM pg_event_trigger_ddl_commands()
                    WHERE command_tag = 'CREATE \(tag)' AND object_type = lower('\(tag)')
                        AND schema_name NOT LIKE 'pg_temp%' AND \(schema) LOOP
                    \(all)
                END LOOP; END$$;
            CREATE EVENT TRIGGER e ON ddl_command_end WHEN TAG IN ('CREATE \(tag)')
                EXECUTE FUNCTION public.e();
            """
    }

    private static let features = eventTrigger(
        "ALTER TABLE %s ADD CONSTRAINT ck CHECK (v <> ''x''), ALTER v SET DEFAULT ''d'', "
            + "ALTER v SET STORAGE EXTERNAL, ALTER v SET (n_distinct = 7)",
        "CREATE INDEX xix ON %s (v)",
        "CREATE STATISTICS %1$s_st ON id, v FROM %1$s",
        "COMMENT ON COLUMN %s.v IS ''of e''",
        of: "schema_name <> 'reprise'"
    )

    private static let changes: [(String, [String])] = [
        (
            features,
            [
                "constraint ck", "default of column v", "storage of column v",
                "n_distinct of column v", "index xix", "statistics live_st", "comment of column v",
            ]
        ),
        (eventTrigger("ALTER TABLE %s ADD COLUMN extra int"), ["column extra"]),
        (
            eventTrigger(
                "ALTER INDEX %s SET (fillfactor = 50)",
                "COMMENT ON INDEX %s IS ''of e''",
                on: "INDEX"
            ),
            ["options of index live_pkey", "comment of index live_pkey", "options of index own"]
        ),
    ]

    @Test(
        "S10: what an event trigger would put onto live tables is refused by name",
        arguments: [Shape.cloned, .declared],
        changes
    )
    func changedTables(shape: Shape, change: (trigger: String, names: [String])) async throws {
        let setUp = "CREATE INDEX own ON s.live (v);" + change.trigger
        try await withHazard(shape, setUp: setUp) { hazard in
            let refusals = try await hazard.plan().refusals
            let text = try #require(refusals.first, "\(refusals)")
            #expect(text.hasPrefix("An event trigger (e) puts "))
            #expect(text.contains(" onto new tables, which s.live has not."))
            for name in change.names { #expect(text.contains(name), "\(text)") }
            await #expect(throws: ReadModelError.self) { try await hazard.rebuild() }
            try await hazard.execute("ALTER EVENT TRIGGER e DISABLE")
            try await hazard.passes()
        }
    }

    @Test(
        "S10: an event trigger that did the same to the live tables stops no rebuild",
        arguments: [Shape.cloned, .declared]
    )
    func unchangedTables(shape: Shape) async throws {
        let setUp = """
            DROP TABLE s.live; \(Self.features)
            CREATE TABLE s.live (id int PRIMARY KEY, v text); INSERT INTO s.live VALUES (1, 'old')
            """
        try await withHazard(shape, setUp: setUp) { try await $0.passes() }
    }

    @Test(
        "S10: an event trigger that passes over homes stops no rebuild",
        arguments: [Shape.cloned, .declared]
    )
    func passedOver(shape: Shape) async throws {
        let setUp = Self.eventTrigger(
            "CREATE INDEX xix ON %s (v)",
            of: "schema_name !~ '__g[0-9]+$' AND schema_name <> 'reprise'"
        )
        try await withHazard(shape, setUp: setUp) { try await $0.passes() }
    }

    @Test("S10: the plan names what event triggers write when a table is made")
    func writings() async throws {
        try await withRebuildScene { scene in
            try await scene.database.execute(Self.auditLog)
            try scene.append(counted([1]))
            let plan = try await scene.plan(Tally.self)
            #expect(plan.refusals == [])
            let beginning = "public.ddl_log: an event trigger (log_ddl) writes there"
            #expect(plan.warnings.contains { $0.hasPrefix(beginning) }, "\(plan.warnings)")
        }
    }

    private static let rights = [
        eventTrigger("ALTER TABLE %s OWNER TO %boss%"),
        "ALTER DEFAULT PRIVILEGES FOR ROLE %job% REVOKE INSERT, TRUNCATE ON TABLES FROM %job%;",
        "ALTER DEFAULT PRIVILEGES FOR ROLE %job% REVOKE USAGE ON SCHEMAS FROM %job%;",
        "ALTER DEFAULT PRIVILEGES FOR ROLE %job% REVOKE CREATE ON SCHEMAS FROM %job%;",
    ]

    @Test(
        "S10: rights that a new table loses or gives away stop neither rebuild nor rollback",
        arguments: rights,
        [true, false]
    )
    func rightsOfTheJob(setUp: String, isYounger: Bool) async throws {
        try await withRebuildScene { scene in
            let job = "\(scene.database.name)_job"
            let boss = "\(scene.database.name)_boss"
            try await scene.database.execute(
                """
                CREATE ROLE \(boss); CREATE ROLE \(job) IN ROLE \(boss);
                GRANT CREATE ON DATABASE \(scene.database.name) TO \(job);
                GRANT ALL ON SCHEMA public TO \(job), \(boss);
                """
            )
            let setUp = setUp.replacing("%boss%", with: boss).replacing("%job%", with: job)
            let dropping = """
                DROP EVENT TRIGGER IF EXISTS e;
                DROP OWNED BY \(job), \(boss) CASCADE; DROP ROLE \(job), \(boss)
                """
            do {
                try await moves(scene, as: job, setUp, isYounger)
            } catch {
                // The first error is the one worth reading.
                _ = try? await scene.database.execute(dropping)
                throw error
            }
            try await scene.database.execute(dropping)
        }
    }

    private func moves(
        _ scene: RebuildScene,
        as job: String,
        _ setUp: String,
        _ isYounger: Bool
    ) async throws {
        try scene.append(counted([1, 2, 2]))
        let asJob = scene.connecting(to: scene.database.asRole(job))
        if !isYounger { try await scene.database.execute(setUp) }
        _ = try await asJob.rebuild(Tally.self)
        let dump = try await SchemaDump.of(in: scene.database)
        if isYounger { try await scene.database.execute(setUp) }
        let expected = isYounger ? try await SchemaDump.of(in: scene.database) : dump
        _ = try await asJob.rebuild(Tally.self)
        #expect(try await SchemaDump.of(in: scene.database) == expected)
        _ = try await asJob.control(Tally.self).rollback(patience: CutOverPatience())
        #expect(try await SchemaDump.of(in: scene.database) == expected)
        #expect(try await scene.database.count("public.tally") == 2)
        _ = try await asJob.rebuild(Tally.self)
        #expect(try await SchemaDump.of(in: scene.database) == expected)
    }

    @Test("S10: sequences of a first generation have what their schema gives new ones")
    func sequences() async throws {
        let schema = """
            CREATE TABLE note (id bigint PRIMARY KEY, words text,
                number int GENERATED BY DEFAULT AS IDENTITY, other serial)
            """
        let expected = try await Self.dump(of: schema, after: Self.privileges)
        try await withRebuildScene { scene in
            try await scene.database.execute(Self.privileges)
            try scene.append((0..<3).map { Note.event(Int64($0)) })
            try await GivenSQL.$schema.withValue(schema) {
                _ = try await scene.rebuild(Notes.self)
            }
            #expect(try await SchemaDump.of(in: scene.database) == expected)
        }
    }

    private static let notes = """
        CREATE TABLE note (id bigint PRIMARY KEY, words text, number serial);
        CREATE INDEX note_words ON note (words); COMMENT ON TABLE note IS 'of the file';
        ALTER TABLE note ALTER words SET STORAGE EXTERNAL
        """

    /// An event trigger that acts on another statement than CREATE TABLE.
    private static func later(_ tag: String, of object: String, _ statement: String) -> String {
        """
        CREATE FUNCTION public.e() RETURNS event_trigger LANGUAGE plpgsql AS $$
        DECLARE r record; BEGIN
            FOR r IN SELECT * FROM pg_event_trigger_ddl_commands() WHERE \(object) LOOP
                EXECUTE format('\(statement)', r.object_identity);
            END LOOP; END$$;
        CREATE EVENT TRIGGER e ON ddl_command_end WHEN TAG IN ('\(tag)')
            EXECUTE FUNCTION public.e();
        """
    }

    private static let statements = [
        later(
            "COMMENT",
            of: "object_identity = 'public.note'",
            "ALTER TABLE public.note ENABLE ROW LEVEL SECURITY"
        ),
        later(
            "CREATE INDEX",
            of: "object_identity = 'public.note_words'",
            "GRANT SELECT ON public.note TO PUBLIC"
        ),
        later(
            "ALTER TABLE",
            of: "object_identity LIKE 'public.note%'",
            "GRANT DELETE ON public.note TO PUBLIC"
        ),
        later("CREATE SEQUENCE", of: "true", "GRANT USAGE ON SEQUENCE %s TO PUBLIC"),
        "CREATE TABLE public.ddl_log (identity text);"
            + later("COMMENT", of: "true", "INSERT INTO public.ddl_log VALUES (%L)"),
    ]

    @Test(
        "a first generation has what event triggers do at each statement of its schema.sql (S10)",
        arguments: statements
    )
    func laterStatements(setUp: String) async throws {
        let expected = try await Self.dump(of: Self.notes, after: setUp)
        try await withRebuildScene { scene in
            try await scene.database.execute(setUp)
            try scene.append((0..<3).map { Note.event(Int64($0)) })
            try await GivenSQL.$schema.withValue(Self.notes) {
                #expect(try await scene.plan(Notes.self).refusals == [])
                _ = try await scene.rebuild(Notes.self)
            }
            #expect(try await SchemaDump.of(in: scene.database) == expected)
        }
    }

    @Test(
        "a schema.sql that is not run in the live schema is named where event triggers fire (S10)"
    )
    func distrustedSchema() async throws {
        try await withRebuildScene { scene in
            try await scene.database.execute(
                Self.statements[0] + "GRANT CREATE ON SCHEMA public TO pg_monitor"
            )
            try scene.append([Note.event(1)])
            try await GivenSQL.$schema.withValue(Self.notes) {
                let plan = try await scene.plan(Notes.self)
                #expect(plan.refusals == [])
                let reason = "schema.sql: it is not run in the schema 'public', because pg_monitor"
                #expect(plan.warnings.contains { $0.hasPrefix(reason) }, "\(plan.warnings)")
            }
        }
    }

    private static let lost = [
        (
            later(
                "CREATE INDEX",
                of: "schema_name = 'public'",
                "ALTER INDEX %1$s SET (fillfactor = 50); COMMENT ON INDEX %1$s IS ''of e''"
            ), "comment of index note_words, options of index note_words onto \"public\".\"note\""
        ),
        (
            later(
                "ALTER TABLE",
                of: "schema_name = 'public' AND current_query() ~ 'SET SCHEMA'",
                "GRANT DELETE ON %s TO PUBLIC"
            ), "changes grants of public.note when a cut-over moves tables"
        ),
        (
            later(
                "ALTER TABLE",
                of: "schema_name = 'public' AND length(object_type) / 0 > 0",
                "SELECT"
            ),
            "division by zero"
        ),
    ]

    @Test(
        "what a first generation would lose or get too much is refused by name (S10)",
        arguments: lost
    )
    func lostStatements(setUp: String, reason: String) async throws {
        try await withRebuildScene { scene in
            try await scene.database.execute(setUp)
            try scene.append((0..<3).map { Note.event(Int64($0)) })
            try await GivenSQL.$schema.withValue(Self.notes) {
                let refusals = try await scene.plan(Notes.self).refusals
                #expect(refusals.contains { $0.contains(reason) }, "\(refusals)")
                await #expect(throws: ReadModelError.self) {
                    _ = try await scene.rebuild(Notes.self)
                }
                let found = try await scene.database.query("SELECT to_regclass('public.note')")
                #expect(found.first?[0] == nil)
            }
        }
    }

    @Test("a table of a type in schema.sql is refused before it is live (S10)")
    func typedTable() async throws {
        try await withRebuildScene { scene in
            try await scene.database.execute("CREATE TYPE public.kind AS (id bigint, words text)")
            try scene.append([Note.event(1)])
            let schema = "CREATE TABLE note OF public.kind (PRIMARY KEY (id))"
            try await GivenSQL.$schema.withValue(schema) {
                let refusals = try await scene.plan(Notes.self).refusals
                let reason = "schema.sql makes the table 'note' by CREATE TABLE … OF a type"
                #expect(refusals.contains { $0.hasPrefix(reason) }, "\(refusals)")
                await #expect(throws: ReadModelError.self) {
                    _ = try await scene.rebuild(Notes.self)
                }
            }
        }
    }

    private static let refused = [
        (
            """
            CREATE FUNCTION public.e() RETURNS event_trigger LANGUAGE plpgsql AS $$
            DECLARE r record; BEGIN
                FOR r IN SELECT * FROM pg_event_trigger_ddl_commands()
                    WHERE object_type = 'table' AND schema_name = 'public' LOOP
                    EXECUTE format('ALTER TABLE %s ADD made_at timestamptz', r.object_identity);
                END LOOP; END$$
            """, "adds the column made_at to "
        ),
        (
            """
            CREATE FUNCTION public.e() RETURNS event_trigger LANGUAGE plpgsql AS $$
            BEGIN PERFORM FROM pg_event_trigger_ddl_commands() WHERE schema_name = 'public';
                IF FOUND THEN RAISE EXCEPTION 'not on a Friday'; END IF; END$$
            """, "Event triggers run when one is made: e."
        ),
        (
            """
            CREATE TABLE public.tenant (id bigint PRIMARY KEY);
            CREATE FUNCTION public.e() RETURNS event_trigger LANGUAGE plpgsql AS $$
            BEGIN PERFORM FROM pg_event_trigger_ddl_commands() WHERE object_identity = 'public.tally';
                IF FOUND THEN
                    ALTER TABLE public.tally ALTER events SET DEFAULT 0,
                        ADD CONSTRAINT low CHECK (events < 1000000), ADD CONSTRAINT of_tenant
                        FOREIGN KEY (id) REFERENCES public.tenant NOT VALID;
                    CREATE INDEX by_label ON public.tally (label);
                    CREATE STATISTICS public.pair ON events, label FROM public.tally;
                END IF; END$$
            """,
            "(e) puts default of column events, constraint low, statistics pair, index by_label, "
                + "constraint of_tenant onto \"public\".\"tally\" when it is made"
        ),
        (
            """
            CREATE FUNCTION public.e() RETURNS event_trigger LANGUAGE plpgsql AS $$
            DECLARE r record; BEGIN
                FOR r IN SELECT * FROM pg_event_trigger_ddl_commands()
                    WHERE object_type = 'table' AND schema_name = 'public' LOOP
                    EXECUTE format('ALTER TABLE %s SET UNLOGGED', r.object_identity);
                END LOOP; END$$
            """, "(e) puts UNLOGGED onto \"public\".\"tally\" when it is made"
        ),
        (
            """
            CREATE SCHEMA hist;
            CREATE FUNCTION public.e() RETURNS event_trigger LANGUAGE plpgsql AS $$
            DECLARE r record; BEGIN
                FOR r IN SELECT * FROM pg_event_trigger_ddl_commands()
                    WHERE object_type = 'table' AND schema_name = 'public' LOOP
                    EXECUTE format('CREATE TABLE hist.%s (at timestamptz)',
                        split_part(r.object_identity, '.', 2));
                    EXECUTE format('CREATE VIEW %1$s_v AS SELECT * FROM %1$s', r.object_identity);
                END LOOP; END$$
            """,
            "(e) makes hist.tally, hist.tally_day, public.tally_day_v, public.tally_v when a table is "
                + "made in the schema 'public'"
        ),
    ]

    @Test("S10: what cannot be given to a first generation is refused by name", arguments: refused)
    func refusals(function: String, reason: String) async throws {
        try await withRebuildScene { scene in
            try await scene.database.execute(
                """
                \(function);
                CREATE EVENT TRIGGER e ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
                EXECUTE FUNCTION public.e()
                """
            )
            try scene.append(counted([1]))
            let refusals = try await scene.plan(Tally.self).refusals
            #expect(refusals.contains { $0.contains(reason) }, "\(refusals)")
            await #expect(throws: ReadModelError.self) { _ = try await scene.rebuild(Tally.self) }
            try await scene.database.execute("DROP EVENT TRIGGER e")
            _ = try await scene.rebuild(Tally.self)
        }
    }

    @Test("S10: a mark of schema.sql itself is refused, and event triggers are named beside it")
    func ownMark() async throws {
        try await withRebuildScene { scene in
            try await scene.database.execute(Self.auditLog)
            try scene.append((0..<3).map { Note.event(Int64($0)) })
            let schema = """
                CREATE TABLE note (id bigint PRIMARY KEY, words text);
                ALTER TABLE note ENABLE ROW LEVEL SECURITY
                """
            try await GivenSQL.$schema.withValue(schema) {
                let refusals = try await scene.plan(Notes.self).refusals
                let reason =
                    "schema.sql, or an event trigger (log_ddl), makes row-level security on note"
                #expect(refusals.contains { $0.contains(reason) }, "\(refusals)")
            }
        }
    }
}
