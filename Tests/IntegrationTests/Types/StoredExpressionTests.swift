import Postgres
import ReadModels
import Rebuilder
import TestSupport
import Testing

@Suite("Expressions that are evaluated when rows are written")
struct StoredExpressionTests {
    // A function in SQL is looked into when the index is made, which younger servers do with an empty path.
    private static let setUp = """
        CREATE SCHEMA tools; CREATE EXTENSION unaccent SCHEMA tools;
        CREATE FUNCTION public.f_unaccent(v text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT
            AS $$BEGIN RETURN unaccent('unaccent', v); END$$;
        ALTER ROLE CURRENT_USER IN DATABASE %s SET search_path = public, tools
        """

    @Test(
        "E3: one that needs a search path is refused by name before anything is read",
        arguments: [
            ("CREATE INDEX bad_index ON live (f_unaccent(v))", "index s.bad_index on s.live"),
            (
                "CREATE INDEX bad_index ON live (id) WHERE f_unaccent(v) <> ''",
                "index s.bad_index on s.live"
            ),
            (
                "ALTER TABLE live ADD CONSTRAINT bad_check CHECK (f_unaccent(v) <> '')",
                "constraint bad_check on s.live"
            ),
            (
                "ALTER TABLE live ADD bad text GENERATED ALWAYS AS (f_unaccent(v)) STORED",
                "generated column bad of s.live"
            ),
        ]
    )
    func unqualified(statement: String, subject: String) async throws {
        try await withHazard { hazard in
            let name = hazard.database.name
            try await hazard.execute(
                Self.setUp.replacing("%s", with: SQLText.identifier(name))
            )
            // As its author does, in whose sessions it works.
            try await hazard.execute(
                """
                SET search_path = s, public, tools; TRUNCATE live; \(statement);
                INSERT INTO live (id, v) VALUES (1, 'old')
                """
            )
            for strategy in Strategy.allCases {
                let plan = try await hazard.scene.plan(hazard.projection, strategy: strategy)
                #expect(
                    plan.refusals.contains {
                        $0.hasPrefix(subject) && $0.contains("Name the schema inside the function")
                    }
                )
                await #expect(throws: ReadModelError.self) { try await hazard.rebuild(strategy) }
            }
            // What the message advises.
            try await hazard.execute(
                """
                CREATE OR REPLACE FUNCTION public.f_unaccent(v text) RETURNS text LANGUAGE sql IMMUTABLE
                    STRICT RETURN tools.unaccent('tools.unaccent', v)
                """
            )
            try await hazard.rebuild(.truncate)
            try await hazard.rebuild(.swap)
        }
    }

    @Test(
        "E3: an index is asked for rows that meet its condition, and a check that is not valid for none",
        arguments: [
            "CREATE INDEX ON s.live ((100 / (id - 1))) WHERE id <> 1",
            "CREATE INDEX ON s.live ((v::int)) WHERE v ~ '^[0-9]+$'",
            "ALTER TABLE s.live ADD CHECK (100 / (id - 1) > 0) NOT VALID",
        ]
    )
    func partial(statement: String) async throws {
        try await withHazard(setUp: statement, events: [Live.event(2, "7")]) { hazard in
            for strategy in Strategy.allCases {
                let plan = try await hazard.scene.plan(hazard.projection, strategy: strategy)
                #expect(plan.refusals.filter { $0.contains("cannot be evaluated") } == [])
            }
            try await hazard.rebuild(.truncate)
        }
    }

    @Test("E3: one that names the table's row is evaluated as well, and not refused")
    func wholeRow() async throws {
        let setUp = "ALTER TABLE s.live ADD CHECK (live.* IS NOT NULL), ADD CHECK (tableoid <> 0)"
        try await withHazard(setUp: setUp) { hazard in
            let refusals = try await hazard.plan(.truncate).refusals
            #expect(refusals.filter { $0.contains("cannot be evaluated") } == [])
        }
    }
}
