import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import TestSupport
import Testing

/// Event triggers fire on what a cut-over types as well: what they would do to live tables is refused
/// before anything is folded, and undone where only the cut-over itself finds it.
@Suite("Event triggers that fire in a cut-over")
struct CutOverTriggerTests {
    /// One that does something to each relation or function that a statement names.
    private static func eventTrigger(
        _ body: String,
        on tags: String = "'ALTER TABLE'",
        of filter: String = "c.object_type = 'table' AND c.schema_name = 's'"
    ) -> String {
        """
        CREATE FUNCTION public.e() RETURNS event_trigger LANGUAGE plpgsql AS $$
        DECLARE r record; BEGIN
            FOR r IN SELECT * FROM pg_event_trigger_ddl_commands() AS c WHERE \(filter) LOOP
                \(body)
            END LOOP; END$$;
        CREATE EVENT TRIGGER e ON ddl_command_end WHEN TAG IN (\(tags)) EXECUTE FUNCTION public.e();
        """
    }

    private static func once(_ condition: String, _ statement: String) -> String {
        """
        IF NOT EXISTS (SELECT FROM \(condition)) THEN
            EXECUTE format('\(statement)', r.object_identity); END IF;
        """
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let trigger: String
        let item: String

        var testDescription: String { item }
    }

    private static let changes = [
        Case(
            trigger: eventTrigger(
                once(
                    "pg_class WHERE oid = r.objid AND relrowsecurity",
                    "ALTER TABLE %s ENABLE ROW LEVEL SECURITY"
                )
            ),
            item: "changes row-level security of s.live "
        ),
        Case(
            trigger: eventTrigger(
                "EXECUTE format('GRANT SELECT ON %s TO %app%', r.object_identity);"
            ),
            item: "changes grants of s.live "
        ),
        Case(
            trigger: eventTrigger(
                once(
                    "pg_class WHERE oid = r.objid AND relowner = '%app%'::regrole",
                    "ALTER TABLE %s OWNER TO %app%"
                )
            ),
            item: "owner of s.live "
        ),
        Case(
            trigger: eventTrigger(
                once(
                    "pg_class WHERE oid = r.objid AND relreplident = 'f'",
                    "ALTER TABLE %s REPLICA IDENTITY FULL, ADD CONSTRAINT ck CHECK (v <> ''x''), "
                        + "SET (fillfactor = 33), ALTER v SET DEFAULT ''d''"
                )
            ),
            item:
                "changes constraint ck of s.live, default of column v of s.live, options of s.live, "
                + "replica identity of s.live "
        ),
        Case(
            trigger: eventTrigger(
                once(
                    "pg_trigger WHERE tgrelid = r.objid AND tgname = 'a'",
                    "CREATE TRIGGER a BEFORE UPDATE ON %1$s FOR EACH ROW EXECUTE FUNCTION "
                        + "suppress_redundant_updates_trigger(); CREATE POLICY p ON %1$s USING (true); "
                        + "CREATE RULE r AS ON DELETE TO %1$s DO ALSO NOTIFY x; "
                        + "COMMENT ON COLUMN %1$s.v IS ''of e''; CREATE INDEX xix ON %1$s (v)"
                )
            ),
            item: "changes comment of column v of s.live, index xix of s.live, policy p of s.live, "
                + "rule r of s.live, trigger a of s.live "
        ),
        Case(
            trigger: "CREATE PUBLICATION pp;"
                + eventTrigger(
                    once(
                        "pg_publication_rel WHERE prrelid = r.objid",
                        "ALTER PUBLICATION pp ADD TABLE %s"
                    )
                ),
            item: "changes publication pp of s.live "
        ),
        Case(
            trigger: eventTrigger(
                "EXECUTE format('ALTER TABLE %s DISABLE TRIGGER kept', (SELECT tgrelid::regclass "
                    + "FROM pg_trigger WHERE oid = r.objid));",
                on: "'CREATE TRIGGER'",
                of: "true"
            ),
            item: "changes trigger kept of s.live "
        ),
        Case(
            trigger: eventTrigger(
                "EXECUTE format('COMMENT ON POLICY kept ON %s IS ''x''', (SELECT polrelid::regclass "
                    + "FROM pg_policy WHERE oid = r.objid));",
                on: "'CREATE POLICY'",
                of: "true"
            ),
            item: "changes policy kept of s.live "
        ),
        Case(
            trigger: eventTrigger(
                "EXECUTE format('GRANT SELECT ON %s TO %app%', r.object_identity);",
                on: "'CREATE VIEW'",
                of: "true"
            ),
            item: "changes grants of s.reader "
        ),
        Case(
            trigger: eventTrigger(
                "EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %app%', r.object_identity);",
                on: "'CREATE FUNCTION'",
                of: "true"
            ),
            item: "changes grants of s.counter "
        ),
        Case(
            trigger: eventTrigger("RAISE 'frozen: %', tg_tag;"),
            item: "refuses what a cut-over types for s.live: frozen: ALTER TABLE"
        ),
        Case(
            trigger: eventTrigger(
                "RAISE 'frozen: %', tg_tag;",
                on: "'CREATE VIEW'",
                of: "c.schema_name = 's'"
            ),
            item: "refuses what a cut-over types for s.reader: frozen: CREATE VIEW"
        ),
        Case(
            trigger: eventTrigger("RAISE 'frozen: %', tg_tag;", of: "c.object_identity ~ '__g'"),
            item: "refuses what a cut-over types for s.live: frozen: ALTER TABLE"
        ),
    ]

    /// What is around the live table, and has to stay as it is.
    private static let surroundings = """
        CREATE TRIGGER kept BEFORE UPDATE ON s.live FOR EACH ROW
            EXECUTE FUNCTION suppress_redundant_updates_trigger();
        CREATE POLICY kept ON s.live USING (id > 0);
        CREATE VIEW s.reader AS SELECT v FROM s.live;
        CREATE FUNCTION s.counter() RETURNS bigint LANGUAGE sql
            BEGIN ATOMIC SELECT count(*) FROM s.live; END;
        REVOKE ALL ON FUNCTION s.counter() FROM PUBLIC;
        GRANT ALL ON SCHEMA s TO %app%;
        """

    @Test(
        "what an event trigger does to a statement of a cut-over is refused by the plan (S10)",
        arguments: changes
    )
    func refusedByPlan(change: Case) async throws {
        try await withHazard(.declared, setUp: Self.surroundings, roles: ["app"]) { hazard in
            try await hazard.rebuild()
            try await hazard.execute(change.trigger)
            let item = hazard.withRoles(change.item)
            let before = try await hazard.definitions()
            let refusals = try await hazard.plan().refusals
            #expect(refusals.contains { $0.contains(item) }, "\(refusals)")
            #expect(refusals.allSatisfy { $0.hasPrefix("An event trigger (e) ") }, "\(refusals)")
            try await hazard.isRefused(by: { try await hazard.rebuild() }, before)
            try await hazard.isRefused(by: { try await hazard.rollback() }, before)
            try await hazard.execute("ALTER EVENT TRIGGER e DISABLE")
            try await hazard.build()
            try await hazard.execute("ALTER EVENT TRIGGER e ENABLE")
            try await hazard.isRefused(by: { try await hazard.swap() }, before)
            try await hazard.execute("ALTER EVENT TRIGGER e DISABLE")
            try await hazard.swap()
            try await hazard.rollback()
        }
    }

    private static let named = [
        "ALTER TABLE s.live ENABLE ROW LEVEL SECURITY", "GRANT SELECT ON s.live TO %app%",
        "ALTER TABLE s.live OWNER TO %app%", "ALTER TABLE s.live SET (fillfactor = 33)",
        "ALTER TABLE s.live REPLICA IDENTITY FULL", "ALTER TABLE s.live DISABLE TRIGGER kept",
        "COMMENT ON COLUMN s.live.v IS 'x'", "GRANT SELECT ON s.reader TO %app%",
        "GRANT EXECUTE ON FUNCTION s.counter() TO %app%",
    ]

    @Test(
        "what only the cut-over finds of an event trigger undoes it, and names the trigger (S10)",
        arguments: named
    )
    func undone(statement: String) async throws {
        try await withHazard(.declared, setUp: Self.surroundings, roles: ["app"]) { hazard in
            try await hazard.rebuild()
            // It fires when the cut-over is at its end, and only for tables of exactly these names.
            try await hazard.execute(
                """
                CREATE FUNCTION public.e() RETURNS event_trigger LANGUAGE plpgsql AS $$
                BEGIN
                    IF tg_tag <> 'CREATE FUNCTION' OR EXISTS (SELECT FROM
                        pg_event_trigger_ddl_commands() WHERE object_identity <> 's.counter()')
                    THEN RETURN; END IF;
                    \(statement); END$$;
                CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION public.e()
                """
            )
            let before = try await hazard.definitions()
            #expect(try await hazard.plan().refusals == [])
            try await hazard.isRefused(by: { try await hazard.rebuild() }, before)
            try await hazard.isRefused(by: { try await hazard.rollback() }, before)
            try await hazard.execute("ALTER EVENT TRIGGER e DISABLE")
            try await hazard.swap()
        }
    }

    @Test(
        "an event trigger that changes nothing in a cut-over stops none (S10)",
        arguments: [Shape.cloned, .declared],
        ["", "ALTER TABLE s.live ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"]
    )
    func unchanged(shape: Shape, security: String) async throws {
        let setUp = """
            \(Self.surroundings) \(security)
            GRANT SELECT ON s.live TO %app% WITH GRANT OPTION;
            GRANT UPDATE (v) ON s.live TO %other%;
            SET ROLE %app%; GRANT SELECT ON s.live TO %other%; RESET ROLE;
            ALTER TABLE s.live DISABLE TRIGGER kept;
            COMMENT ON TRIGGER kept ON s.live IS 'mine'; COMMENT ON POLICY kept ON s.live IS 'mine';
            CREATE RULE kept AS ON DELETE TO s.live DO ALSO NOTIFY x;
            ALTER TABLE s.live ENABLE ALWAYS RULE kept;
            ALTER TABLE s.live REPLICA IDENTITY FULL, SET (fillfactor = 70);
            COMMENT ON COLUMN s.live.v IS 'mine'; CREATE INDEX own ON s.live (v);
            CREATE STATISTICS s.own ON id, v FROM s.live;
            CREATE MATERIALIZED VIEW s.summary AS SELECT count(*) FROM s.live;
            GRANT SELECT ON s.summary, s.reader TO %app%;
            ALTER TABLE s.live ADD FOREIGN KEY (id) REFERENCES s.live;
            CREATE PUBLICATION p FOR TABLE s.live;
            CREATE FUNCTION s.quiet() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
            CREATE CONSTRAINT TRIGGER late AFTER INSERT ON s.live DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION s.quiet();
            CREATE TABLE public.ddl_log (identity text);
            GRANT INSERT ON public.ddl_log TO PUBLIC;
            """
            + Self.eventTrigger(
                "INSERT INTO public.ddl_log VALUES (r.object_identity);",
                on: "'ALTER TABLE', 'CREATE VIEW', 'CREATE TRIGGER', 'GRANT', 'COMMENT', "
                    + "'CREATE POLICY', 'CREATE FUNCTION', 'CREATE TABLE'",
                of: "true"
            )
        let consent = CarryOverConsent(republishes: true, adoptsStrangers: true)
        try await withHazard(
            shape,
            setUp: setUp,
            roles: ["app", "other"],
            consent: consent
        ) { try await $0.passes() }
    }

    @Test("an event trigger stops no schema.sql that gives a table other settings (S10)")
    func otherSettings() async throws {
        let log = Self.eventTrigger("NULL;", of: "true")
        let first = "CREATE TABLE live (id int PRIMARY KEY, v text)"
        let second = """
            CREATE TABLE live (id int PRIMARY KEY, v text DEFAULT 'd', CHECK (v <> ''))
                WITH (fillfactor = 55);
            ALTER TABLE live REPLICA IDENTITY FULL; COMMENT ON TABLE live IS 'of the file'
            """
        try await withHazard(.declared, table: first, setUp: log) { hazard in
            try await hazard.rebuild()
            try await GivenSQL.$schema.withValue(second) {
                #expect(try await hazard.plan().refusals == [])
                try await hazard.rebuild()
                try await hazard.expect(
                    "SELECT relreplident::text || reloptions::text FROM pg_class "
                        + "WHERE oid = 's.live'::regclass",
                    gives: "f{fillfactor=55}"
                )
            }
            try await hazard.rollback()
        }
    }

    @Test("an event trigger stops no table that is new to the projection (S10)")
    func newTable() async throws {
        try await withRebuildScene { scene in
            try await scene.database.execute(Self.eventTrigger("NULL;", of: "true"))
            try scene.append(counted([1, 2, 2]))
            _ = try await scene.rebuild(SmallTally.self)
            #expect(try await scene.plan(Tally.self).refusals == [])
            _ = try await scene.rebuild(Tally.self)
            #expect(try await scene.database.count("public.tally") == 2)
        }
    }
}

extension HazardScene {
    /// Expects a refusal that names the event trigger, and live tables as they were.
    ///
    /// - Parameters:
    ///   - step: What is refused.
    ///   - before: What ``definitions()`` were.
    ///   - sourceLocation: Where it is expected.
    /// - Throws: What the server says.
    fileprivate func isRefused(
        by step: () async throws -> Any,
        _ before: [String],
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let error = await #expect(throws: ReadModelError.self, sourceLocation: sourceLocation) {
            _ = try await step()
        }
        guard case .refusedByPlan(_, let reasons) = error else {
            Issue.record("not refused, but \(error as Any)", sourceLocation: sourceLocation)
            return
        }
        #expect(
            reasons.contains { $0.hasPrefix("An event trigger (e) ") },
            "\(reasons)",
            sourceLocation: sourceLocation
        )
        try await expect(
            "SELECT string_agg(v, ',') FROM s.live",
            gives: "new",
            sourceLocation: sourceLocation
        )
        #expect(try await changes(since: before) == [], sourceLocation: sourceLocation)
    }
}
