import Postgres
import ReadModels
import Rebuilder
import TestSupport
import Testing

/// Functions and types that another role can change at any time.
@Suite("What another role can change at any time does not run with the rights of the job")
struct OthersFunctionTests {
    private static let schema = """
        CREATE SCHEMA mal AUTHORIZATION %mal%;
        CREATE SEQUENCE s.own;
        CREATE SEQUENCE s.wrong;
        GRANT USAGE ON SEQUENCE s.own, s.wrong TO PUBLIC;
        GRANT USAGE ON SCHEMA s TO PUBLIC;

        """

    private func follow(_ hazard: HazardScene) async throws {
        var options = FollowOptions()
        options.endsAtEnd = true
        try await Follow(
            of: Live.self,
            from: try hazard.scene.ledger(),
            into: hazard.scene.target,
            options: options
        ).run()
    }

    @Test("X5: a trigger on a table of the job whose function belongs to another role stops follow")
    func triggerOnOwnTable() async throws {
        let setUp =
            Self.schema + """
                CREATE FUNCTION mal.watch() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN PERFORM pg_catalog.nextval('s.wrong'); RETURN NEW; END $$;
                ALTER FUNCTION mal.watch OWNER TO %mal%;
                CREATE TRIGGER watch AFTER INSERT OR UPDATE ON s.live
                    FOR EACH ROW EXECUTE FUNCTION mal.watch();
                """
        try await withHazard(setUp: setUp, roles: ["mal"]) { hazard in
            let warnings = try await hazard.plan().warnings
            #expect(warnings.contains { $0.contains("the function mal.watch() of") })
            try await hazard.rebuild()
            try hazard.scene.append([Live.event(3, "third")])
            let error = await #expect(throws: ReadModelError.self) { try await follow(hazard) }
            #expect("\(error as Any)".contains("trigger watch on s.live: its function belongs to"))
            try await hazard.expect("SELECT is_called::text FROM s.wrong", gives: "false")
            // What is advised.
            try await hazard.execute("ALTER FUNCTION mal.watch() OWNER TO CURRENT_USER")
            try await follow(hazard)
            try await hazard.expect("SELECT is_called::text FROM s.wrong", gives: "true")
        }
    }

    @Test("X5: a function of another role on a table of the job is named by the plan")
    func functionOnOwnTable() async throws {
        let setUp =
            Self.schema + """
                CREATE FUNCTION mal.f(x text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT x';
                ALTER FUNCTION mal.f OWNER TO %mal%;
                CREATE INDEX ON s.live (mal.f(v));
                """
        try await withHazard(setUp: setUp, roles: ["mal"]) { hazard in
            let warnings = try await hazard.plan().warnings
            #expect(
                warnings.contains { $0.contains("ALTER FUNCTION mal.f(text) OWNER TO") },
                "\(warnings)"
            )
        }
    }

    @Test("X5: a table with its owner's domain, which can get a check, is written as the owner")
    func domainWithoutCheck() async throws {
        // The function is trusted, so that nothing but the domain tells.
        let setUp =
            Self.schema + """
                CREATE FUNCTION s.note(x text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
                BEGIN
                    PERFORM pg_catalog.nextval(CASE WHEN current_user LIKE '%\\_mal' THEN 's.own'
                        ELSE 's.wrong' END);
                    RETURN true;
                END $$;
                CREATE DOMAIN mal.word AS text;
                ALTER DOMAIN mal.word OWNER TO %mal%;
                ALTER TABLE s.live ADD CHECK (s.note(v::mal.word));
                ALTER TABLE s.live OWNER TO %mal%;
                ALTER SEQUENCE s.own RESTART; ALTER SEQUENCE s.wrong RESTART;
                """
        try await withHazard(setUp: setUp, roles: ["mal"]) { hazard in
            try await hazard.rebuild()
            try hazard.scene.append([Live.event(3, "third")])
            try await follow(hazard)
            try await hazard.rebuild(.truncate)
            try await hazard.expect("SELECT is_called::text FROM s.wrong", gives: "false")
            try await hazard.expect("SELECT is_called::text FROM s.own", gives: "true")
        }
    }

    @Test("X5: an event trigger's function with its owner's rights stops every command as well")
    func definerOfEventTrigger() async throws {
        let setUp =
            Self.schema + """
                CREATE FUNCTION mal.et() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS
                'BEGIN ALTER FUNCTION mal.et() SECURITY INVOKER; END';
                ALTER FUNCTION mal.et() OWNER TO %mal%;
                CREATE EVENT TRIGGER et ON ddl_command_end EXECUTE FUNCTION mal.et();
                """
        try await withHazard(setUp: setUp, roles: ["mal"]) { hazard in
            let error = await #expect(throws: ReadModelError.self) { try await hazard.rebuild() }
            #expect("\(error as Any)".contains("its function mal.et() belongs to"))
            try await hazard.expect(
                "SELECT prosecdef::text FROM pg_proc WHERE oid = 'mal.et()'::regprocedure",
                gives: "true"
            )
        }
    }
}
