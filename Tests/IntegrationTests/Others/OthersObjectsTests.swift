import Postgres
import ReadModels
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
