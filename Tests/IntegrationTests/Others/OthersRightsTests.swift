import Postgres
import ReadModels
import TestSupport
import Testing

/// What others wrote runs with their rights, or not at all.
@Suite("What others wrote runs with their rights")
struct OthersRightsTests {
    /// A function of the role `mal` that counts its calls, in sequences because no rollback takes them
    /// back: `s.own` with the role's rights, `s.wrong` with anybody else's.
    private static let counting = """
        CREATE SEQUENCE s.own;
        CREATE SEQUENCE s.wrong;
        GRANT USAGE ON SEQUENCE s.own, s.wrong TO PUBLIC;
        CREATE SCHEMA mal AUTHORIZATION %mal%;
        GRANT USAGE, CREATE ON SCHEMA s TO %mal%;
        GRANT SELECT ON s.live TO %mal%;
        CREATE FUNCTION mal.f(x text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN
            PERFORM pg_catalog.nextval(CASE WHEN current_user LIKE '%\\_mal' THEN 's.own' ELSE 's.wrong' END);
            RETURN x;
        END $$;
        ALTER FUNCTION mal.f OWNER TO %mal%;
        SET ROLE %mal%;
        """

    private static func expectOwnRights(
        _ hazard: HazardScene,
        isCalled: Bool = true,
        after step: String
    ) async throws {
        let wrong = try await hazard.value("SELECT is_called FROM s.wrong")
        #expect(wrong == "f", "called with the rights of another, after \(step)")
        guard isCalled else { return }
        #expect(try await hazard.value("SELECT is_called FROM s.own") == "t", "after \(step)")
    }

    @Test(
        "X1: a materialized view of another role is filled with that role's rights, and not by a plan"
    )
    func materializedView() async throws {
        let setUp =
            Self.counting + """
                CREATE MATERIALIZED VIEW mal.mv AS SELECT id, mal.f(v) AS v FROM s.live;
                CREATE INDEX ON mal.mv ((mal.f('x')));
                CREATE UNIQUE INDEX ON mal.mv (id);
                CREATE MATERIALIZED VIEW mal.outer AS SELECT id, mal.f(v) AS v FROM mal.mv;
                RESET ROLE;
                """
        try await withHazard(setUp: setUp, roles: ["mal"]) { hazard in
            try await hazard.execute("ALTER SEQUENCE s.own RESTART; ALTER SEQUENCE s.wrong RESTART")
            let plan = try await hazard.plan()
            #expect(plan.refusals == [])
            try await Self.expectOwnRights(hazard, isCalled: false, after: "plan")
            #expect(try await hazard.value("SELECT is_called FROM s.own") == "f", "by the plan")
            try await hazard.passes { epoch in
                try await hazard.expect("SELECT v FROM mal.mv", as: "mal", gives: epoch.rawValue)
                try await hazard.expect("SELECT v FROM mal.outer", as: "mal", gives: epoch.rawValue)
            }
            try await Self.expectOwnRights(hazard, after: "rebuild, rollback, swap and prune")
        }
    }

    @Test("S3: a materialized view holds after a rebuild what its owner may see, and no more")
    func rowLevelSecurity() async throws {
        let setUp = """
            GRANT USAGE, CREATE ON SCHEMA s TO %mal%;
            GRANT SELECT (id) ON s.live TO %mal%;
            ALTER TABLE s.live ENABLE ROW LEVEL SECURITY;
            CREATE POLICY even ON s.live FOR SELECT TO %mal% USING (id % 2 = 0);
            SET ROLE %mal%;
            CREATE MATERIALIZED VIEW s.mine AS SELECT id, current_user AS made_by FROM s.live;
            RESET ROLE;
            """
        try await withHazard(
            rows: "INSERT INTO s.live VALUES (1, 'old'), (2, 'old')",
            setUp: setUp,
            roles: ["mal"],
            events: (1...4).map { Live.event($0, "new") }
        ) { hazard in
            let role = try #require(hazard.roles["mal"])
            try await hazard.passes { epoch in
                let ids = try await hazard.value(
                    "SELECT string_agg(id || ' ' || made_by, ', ' ORDER BY id) FROM s.mine"
                )
                #expect(ids == (epoch == .old ? "2 \(role)" : "2 \(role), 4 \(role)"))
            }
            // Nobody else sees anything of a generation that is not live.
            try await hazard.build()
            let rights = try await hazard.value(
                """
                SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                WHERE n.nspname LIKE 'live\\_\\_g%' AND has_schema_privilege('\(role)', n.oid, 'USAGE')
                """
            )
            #expect(rights == "0")
        }
    }

    @Test("S3: a materialized view whose owner may not read the tables any more is refused by name")
    func lostRight() async throws {
        let setUp = """
            GRANT USAGE, CREATE ON SCHEMA s TO %mal%;
            GRANT SELECT ON s.live TO %mal%;
            SET ROLE %mal%;
            CREATE MATERIALIZED VIEW s.mine AS SELECT id FROM s.live;
            RESET ROLE;
            REVOKE SELECT ON s.live FROM %mal%;
            """
        try await withHazard(setUp: setUp, roles: ["mal"]) { hazard in
            let error = await #expect(throws: ReadModelError.self) { try await hazard.rebuild() }
            #expect("\(error as Any)".contains("may not fill it"))
            try await hazard.expect("SELECT v FROM s.live", gives: "old")
        }
    }

    @Test(
        "X4: a function that is dropped before the batch makes it again is not made with our rights"
    )
    func droppedFunction() async throws {
        let setUp = """
            GRANT USAGE, CREATE ON SCHEMA s TO %mal%;
            GRANT SELECT ON s.live TO %mal%;
            SET ROLE %mal%;
            CREATE FUNCTION s.f() RETURNS bigint SECURITY DEFINER
            BEGIN ATOMIC SELECT count(*) FROM s.live; END;
            RESET ROLE;
            """
        try await withHazard(setUp: setUp, roles: ["mal"]) { hazard in
            // In the batch itself, behind the assertion on the catalogue: by an event trigger, because
            // nothing else comes in between.
            try await hazard.execute(
                """
                CREATE FUNCTION public.drop_it() RETURNS event_trigger LANGUAGE plpgsql AS $$
                BEGIN
                    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() AS c
                        WHERE c.command_tag = 'ALTER TABLE' AND c.schema_name = 's')
                        AND to_regprocedure('s.f()') IS NOT NULL
                        AND pg_get_functiondef(to_regprocedure('s.f()')) LIKE '%\\_\\_g%'
                    THEN DROP FUNCTION s.f(); END IF;
                END $$;
                CREATE EVENT TRIGGER drop_it ON ddl_command_end EXECUTE FUNCTION public.drop_it()
                """
            )
            var options = CutOverPatience()
            options.deadline = 1
            try await hazard.build()
            await #expect(throws: ReadModelError.self) { try await hazard.swap(patience: options) }
            let owner = try await hazard.value(
                "SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE proname = 'f' AND prosecdef"
            )
            #expect(owner == hazard.roles["mal"])
            try await hazard.execute("DROP EVENT TRIGGER drop_it")
        }
    }
}
