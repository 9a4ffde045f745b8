import Postgres
import ReadModels
import Rebuilder
import TestSupport
import Testing

/// Indexes, checks, defaults, generated columns and triggers that the owner of a live table put there.
@Suite("What is on a table of another role runs with this role's rights")
struct OthersCodeTests {
    /// A table of the role `mal`, and a function that counts its calls in sequences, which no rollback
    /// takes back: `s.own` with the role's rights, `s.wrong` with anybody else's.
    private static let owned = """
        CREATE SEQUENCE s.own;
        CREATE SEQUENCE s.wrong;
        GRANT USAGE ON SEQUENCE s.own, s.wrong TO PUBLIC;
        CREATE SCHEMA mal AUTHORIZATION %mal%;
        GRANT USAGE ON SCHEMA s TO %mal%;
        CREATE FUNCTION mal.f(x text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN
            PERFORM pg_catalog.nextval(CASE WHEN current_user LIKE '%\\_mal' THEN 's.own'
                ELSE 's.wrong' END);
            RETURN x;
        END $$;
        ALTER FUNCTION mal.f OWNER TO %mal%;
        CREATE DOMAIN mal.word AS text CHECK (mal.f(VALUE) IS NOT NULL AND mal.f('x') = 'x');
        ALTER DOMAIN mal.word OWNER TO %mal%;
        CREATE FUNCTION mal.watch() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM mal.f('x');
            RETURN NEW;
        END $$;
        ALTER FUNCTION mal.watch OWNER TO %mal%;
        ALTER TABLE s.live OWNER TO %mal%;
        """

    /// What each owner's trick puts onto the table.
    private static let tricks = [
        "an index over an expression": "CREATE INDEX ON s.live (mal.f(v))",
        "an index with a condition": "CREATE INDEX ON s.live (v) WHERE mal.f('x') = 'x'",
        "a check": "ALTER TABLE s.live ADD CHECK (mal.f(v) IS NOT NULL)",
        "a check of a constant": "ALTER TABLE s.live ADD CHECK (mal.f('x') = 'x')",
        "a check that is not valid": "ALTER TABLE s.live ADD CHECK (mal.f(v) <> 'no') NOT VALID",
        "a default": "ALTER TABLE s.live ADD extra text DEFAULT mal.f('x')",
        "a generated column":
            "ALTER TABLE s.live ADD extra text GENERATED ALWAYS AS (mal.f(v)) STORED",
        "statistics": "CREATE STATISTICS s.st ON (mal.f(v)), (mal.f('x')) FROM s.live",
        "a domain": "ALTER TABLE s.live ALTER v TYPE mal.word",
        "a domain that is not written": "ALTER TABLE s.live ADD extra mal.word DEFAULT 'x'",
        "an exclusion constraint": "ALTER TABLE s.live ADD EXCLUDE (mal.f(v) WITH =)",
        "a trigger": """
        CREATE TRIGGER t BEFORE INSERT OR UPDATE ON s.live FOR EACH ROW EXECUTE FUNCTION mal.watch()
        """,
        "a deferred trigger": """
        CREATE CONSTRAINT TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON s.live
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION mal.watch()
        """,
    ]

    private func withTrick(
        _ trick: String,
        _ shape: Shape,
        _ body: (HazardScene) async throws -> Void
    ) async throws {
        let setUp = Self.owned + Self.tricks[trick, default: ""] + ";"
        try await withHazard(
            shape,
            setUp: setUp,
            roles: ["mal"],
            events: [Live.event(1, "new"), Live.event(2, "other")]
        ) { hazard in
            try await hazard.execute("ALTER SEQUENCE s.own RESTART; ALTER SEQUENCE s.wrong RESTART")
            try await body(hazard)
        }
    }

    private func expectOwnRights(_ hazard: HazardScene, after step: String) async throws {
        let wrong = try await hazard.value("SELECT is_called FROM s.wrong")
        #expect(wrong == "f", "called with the rights of another, after \(step)")
    }

    @Test("X5: swaps evaluate it as the owner", arguments: tricks.keys.sorted(), Shape.allCases)
    func swaps(_ trick: String, shape: Shape) async throws {
        // A file that lacks the column has no place for what is on it.
        let lacksColumn =
            Self.tricks[trick, default: ""].contains(" extra ")
            || trick == "a domain"
        if shape == .declared && lacksColumn { return }
        try await withTrick(trick, shape) { hazard in
            _ = try await hazard.plan()
            try await expectOwnRights(hazard, after: "the plan")
            try await hazard.passes { epoch in
                try await hazard.expect(
                    "SELECT v FROM s.live WHERE id = 1",
                    as: "mal",
                    gives: epoch.rawValue
                )
                try await expectOwnRights(hazard, after: "a step to the \(epoch) rows")
            }
            try hazard.scene.append([Live.event(3, "third"), Live.event(1, "newer")])
            try await hazard.rebuild()
            try await expectOwnRights(hazard, after: "a rebuild from there")
        }
    }

    @Test(
        "X5: checks.sql evaluates it as the owner, and in no plan",
        arguments: ["an index with a condition", "statistics"]
    )
    func checks(_ trick: String) async throws {
        try await withTrick(trick, .cloned) { hazard in
            let checks = "SELECT 1 FROM live WHERE v = 'x' AND v IS NULL; TABLE live LIMIT 0"
            try await GivenSQL.$checks.withValue(checks) {
                #expect(try await hazard.plan().refusals == [])
                try await expectOwnRights(hazard, after: "the plan")
                try await hazard.rebuild()
                try await expectOwnRights(hazard, after: "the rebuild")
            }
        }
    }

    @Test("X5: checks.sql reads no table of others on which their code would run as the job")
    func checksOfOthers() async throws {
        let setUp =
            Self.owned + """
                ALTER TABLE s.live OWNER TO CURRENT_USER;
                CREATE TABLE mal.other (v text);
                ALTER TABLE mal.other OWNER TO %mal%;
                CREATE INDEX ON mal.other (v) WHERE mal.f('x') = 'x';
                CREATE VIEW s.through AS SELECT v FROM mal.other;
                """
        try await withHazard(setUp: setUp, roles: ["mal"]) { hazard in
            try await hazard.execute("ALTER SEQUENCE s.own RESTART; ALTER SEQUENCE s.wrong RESTART")
            for table in ["mal.other", "s.through", "live WHERE v IN (TABLE mal.other)"] {
                try await GivenSQL.$checks.withValue("SELECT FROM \(table) LIMIT 0") {
                    let refusals = try await hazard.plan().refusals
                    let reason = "checks.sql reads mal.other, and a function"
                    #expect(refusals.contains { $0.hasPrefix(reason) }, "\(table): \(refusals)")
                    await #expect(throws: ReadModelError.self) { try await hazard.rebuild() }
                }
                try await expectOwnRights(hazard, after: table)
            }
            try await GivenSQL.$checks.withValue("SELECT FROM live LIMIT 0") {
                try await hazard.rebuild()
            }
        }
    }

    @Test("X5: the function of an event trigger that belongs to another role runs in no command")
    func eventTrigger() async throws {
        let setUp =
            Self.owned + """
                CREATE FUNCTION mal.et() RETURNS event_trigger LANGUAGE plpgsql AS
                'BEGIN PERFORM mal.f(''x''); END';
                ALTER FUNCTION mal.et() OWNER TO %mal%;
                CREATE EVENT TRIGGER et ON ddl_command_end EXECUTE FUNCTION mal.et();
                """
        try await withHazard(setUp: setUp, roles: ["mal"]) { hazard in
            try await hazard.execute("SELECT setval('s.wrong', 1, false)")
            var options = FollowOptions()
            options.endsAtEnd = true
            let follow = Follow(
                of: Live.self,
                from: try hazard.scene.ledger(),
                into: hazard.scene.target,
                options: options
            )
            let control = hazard.scene.control(Live.self)
            let commands: [() async throws -> Void] = [
                { _ = try await hazard.plan() }, { try await hazard.rebuild() },
                { try await hazard.rebuild(.truncate) }, { try await follow.run() },
                { _ = try await control.prune(keep: 0) },
            ]
            for command in commands {
                let error = await #expect(throws: ReadModelError.self) { try await command() }
                #expect("\(error as Any)".contains("its function mal.et() belongs to"))
            }
            try await expectOwnRights(hazard, after: "the refusals")
            try await hazard.execute("ALTER EVENT TRIGGER et DISABLE")
            try await hazard.rebuild()
        }
    }

    @Test("X5: truncate and follow evaluate it as the owner", arguments: tricks.keys.sorted())
    func inPlace(_ trick: String) async throws {
        try await withTrick(trick, .cloned) { hazard in
            try await hazard.rebuild(.truncate)
            try await expectOwnRights(hazard, after: "a truncate")
            try hazard.scene.append([Live.event(3, "third"), Live.event(1, "newer")])
            var options = FollowOptions()
            options.endsAtEnd = true
            try await Follow(
                of: Live.self,
                from: try hazard.scene.ledger(),
                into: hazard.scene.target,
                options: options
            ).run()
            try await expectOwnRights(hazard, after: "following")
            try await hazard.expect(
                "SELECT v::text FROM s.live ORDER BY id",
                as: "mal",
                gives: "newer",
                "other",
                "third"
            )
        }
    }

    @Test("X5: the owner's code can neither take the role back nor leave anything to the session")
    func isConfined() async throws {
        let setUp =
            Self.owned + """
                CREATE TABLE mal.told (who text, what text);
                ALTER TABLE mal.told OWNER TO %mal%;
                CREATE FUNCTION mal.escape(x text) RETURNS text LANGUAGE plpgsql AS $$
                BEGIN
                    PERFORM pg_catalog.set_config('search_path', 'mal, pg_catalog', false);
                    BEGIN RESET ROLE; EXCEPTION WHEN OTHERS THEN NULL; END;
                    BEGIN RESET SESSION AUTHORIZATION; EXCEPTION WHEN OTHERS THEN NULL; END;
                    INSERT INTO mal.told VALUES (current_user, 'check');
                    BEGIN INSERT INTO mal.late VALUES (1); EXCEPTION WHEN OTHERS THEN NULL; END;
                    RETURN x;
                END $$;
                ALTER FUNCTION mal.escape OWNER TO %mal%;
                CREATE TABLE mal.late (id int);
                ALTER TABLE mal.late OWNER TO %mal%;
                CREATE FUNCTION mal.tell() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    INSERT INTO mal.told VALUES (current_user, 'deferred trigger');
                    RETURN NULL;
                END $$;
                ALTER FUNCTION mal.tell OWNER TO %mal%;
                CREATE CONSTRAINT TRIGGER late AFTER INSERT ON mal.late
                    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION mal.tell();
                ALTER TABLE s.live ADD CHECK (mal.escape(v) IS NOT NULL);
                CREATE FUNCTION mal.equals(name, name) RETURNS bool LANGUAGE plpgsql AS $$
                BEGIN
                    INSERT INTO mal.told VALUES (current_user, 'operator');
                    RETURN $1 OPERATOR(pg_catalog.=) $2;
                END $$;
                ALTER FUNCTION mal.equals OWNER TO %mal%;
                CREATE OPERATOR mal.= (LEFTARG = name, RIGHTARG = name, FUNCTION = mal.equals);
                TRUNCATE mal.told;
                """
        try await withHazard(setUp: setUp, roles: ["mal"]) { hazard in
            try await hazard.execute("TRUNCATE mal.told")
            try await hazard.rebuild()
            try hazard.scene.append([Live.event(1, "newer")])
            try await hazard.rebuild(.truncate)
            let role = try #require(hazard.roles["mal"])
            let told = try await hazard.database.query(
                "SELECT DISTINCT who, what FROM mal.told ORDER BY 1, 2"
            ).rows.map { "\($0[0] ?? "") \($0[1] ?? "")" }
            // Its own trigger fires with its own rights, at once.
            #expect(told.contains("\(role) check"))
            #expect(told.filter { !$0.hasPrefix(role) } == [])
        }
    }
}
