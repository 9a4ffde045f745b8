import Postgres
import ReadModels
import Rebuilder
import TestSupport
import Testing

/// What belongs to others stays theirs, whatever leaves and is dropped.
@Suite("Objects of others are not touched")
struct OthersObjectsTests {
    @Test(
        "S5: a sequence that belongs to a column and is not its default stays, and belongs to the new one",
        arguments: [Shape.cloned, .declared],
        ["id", "v"]
    )
    func ownedSequence(shape: Shape, column: String) async throws {
        let setUp = """
            CREATE SEQUENCE s.invoice_no OWNED BY s.live.\(column);
            SELECT setval('s.invoice_no', 1000);
            CREATE TABLE s.invoice (no bigint DEFAULT nextval('s.invoice_no'));
            """
        try await withHazard(shape, setUp: setUp) { hazard in
            var last = 1000
            try await hazard.passes { _ in
                last += 1
                let next = try await hazard.number("SELECT nextval('s.invoice_no')")
                #expect(next == last)
            }
            let name = try await hazard.value("SELECT to_regclass('s.invoice_no')::text")
            #expect(name == "s.invoice_no")
        }
    }

    @Test(
        "S6: a constraint trigger of another table that refers to a live one is not dropped with it"
    )
    func constraintTrigger() async throws {
        let setUp = """
            CREATE TABLE s.child (id int PRIMARY KEY, live int);
            CREATE FUNCTION s.t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
            CREATE CONSTRAINT TRIGGER ct AFTER INSERT ON s.child FROM s.live DEFERRABLE
            FOR EACH ROW EXECUTE FUNCTION s.t();
            """
        try await withHazard(setUp: setUp) { hazard in
            try await hazard.passes { _ in
                let triggers = try await hazard.number(
                    "SELECT count(*) FROM pg_trigger WHERE tgname = 'ct' AND tgconstrrelid = 's.live'::regclass"
                )
                #expect(triggers == 1)
            }
        }
    }

    @Test("X12: schemas of others by the names of homes are passed over, and stay as they are")
    func squattedHomes() async throws {
        let setUp = (0...4).map { number in
            """
            CREATE SCHEMA live__g\(number) AUTHORIZATION %stranger%;
            CREATE TABLE live__g\(number).live (id int);
            ALTER TABLE live__g\(number).live OWNER TO %stranger%;
            """
        }.joined()
        try await withHazard(setUp: setUp, roles: ["stranger"]) { hazard in
            let warnings = try await hazard.plan().warnings
            #expect(warnings.contains { $0.contains("a schema 'live__g0_…'") })
            try await hazard.passes { _ in
                let others = """
                    SELECT count(*) FROM pg_class
                    WHERE relname = 'live' AND relowner = '%stranger%'::regrole
                    """
                try await hazard.expect(others, gives: "5")
                // Before the first run there is nothing to ask.
                let bookkeeping = "SELECT to_regclass('reprise.generation')::text"
                guard try await hazard.value(bookkeeping) != nil else { return }
                let ours = """
                    SELECT count(*) FROM reprise.generation_table AS t
                    JOIN reprise.generation AS g USING (projection, generation)
                    JOIN pg_class AS c ON c.oid = t.table_oid
                    JOIN pg_namespace AS n ON n.oid = c.relnamespace
                    WHERE g.state NOT IN ('live', 'dropped')
                        AND (n.nspname !~ '^live__g[0-9]+_[0-9a-f]{8}$'
                            OR n.nspowner = '%stranger%'::regrole OR n.nspname <> g.home_schema)
                    """
                try await hazard.expect(ours, gives: "0")
            }
        }
    }

    @Test("S7: a schema that has the number of a home, and not its name, is not dropped")
    func numberOfAnotherSchema() async throws {
        try await withHazard(setUp: "CREATE SCHEMA innocent;") { hazard in
            try await hazard.rebuild()
            // As a dump and its restore, or pg_upgrade, can leave it.
            try await hazard.execute(
                """
                UPDATE reprise.generation SET home_schema_oid = 'innocent'::regnamespace::oid
                WHERE state = 'retired'
                """
            )
            let pruned = try await hazard.scene.control(Live.self).prune(keep: 0)
            #expect(pruned.dropped == [0])
            try await hazard.expect(
                "SELECT nspname FROM pg_namespace WHERE nspname IN ('innocent', 'live__g0')",
                gives: "innocent"
            )
            try await hazard.execute(
                """
                UPDATE reprise.generation SET home_schema_oid = 'innocent'::regnamespace::oid
                WHERE state = 'live'
                """
            )
            try await hazard.rebuild(.truncate)
            try await hazard.rebuild()
            try await hazard.rollback()
            try await hazard.expect(
                "SELECT nspname FROM pg_namespace WHERE nspname = 'innocent'",
                gives: "innocent"
            )
        }
    }

    @Test("X12: a policy or rule of a temporary table of another session stops no command")
    func temporaryPolicies() async throws {
        try await withHazard(setUp: "") { hazard in
            try await hazard.database.withConnection { session in
                try await session.execute(
                    """
                    CREATE TEMPORARY TABLE u (i int);
                    ALTER TABLE u ENABLE ROW LEVEL SECURITY;
                    CREATE POLICY p ON u USING (EXISTS (SELECT FROM s.live));
                    CREATE RULE r AS ON INSERT TO u DO ALSO SELECT 1 FROM s.live
                    """
                )
                let findings = try await hazard.plan().findings
                #expect(findings.allSatisfy { !$0.text.contains("pg_temp") })
                try await hazard.rebuild()
                try await hazard.rollback()
            }
        }
    }

    @Test("X12: what is temporary in the session of another stops no swap")
    func temporaryObjects() async throws {
        try await withHazard(setUp: "") { hazard in
            try await hazard.database.withConnection { session in
                try await session.execute(
                    """
                    CREATE FUNCTION pg_temp.f(s.live) RETURNS int LANGUAGE sql AS 'SELECT 1';
                    CREATE TEMPORARY TABLE t (r s.live)
                    """
                )
                #expect(try await hazard.plan().refusals == [])
                try await hazard.rebuild()
                try await hazard.expect("SELECT v FROM s.live", gives: "new")
            }
        }
    }
}
