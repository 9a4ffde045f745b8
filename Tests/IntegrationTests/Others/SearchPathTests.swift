import Ledgers
import Postgres
import ReadModels
import Rebuilder
import TestSupport
import Testing

/// Where the names in a projection's SQL files are looked up.
@Suite("Names in SQL files")
struct SearchPathTests {
    /// An operator of the role `mal` in the live schema that fits better than the server's own, and
    /// counts its calls.
    private static func operatorOfMal(_ role: String) -> String {
        """
        CREATE ROLE \(role);
        GRANT USAGE, CREATE ON SCHEMA public TO \(role);
        CREATE SEQUENCE public.calls;
        GRANT USAGE ON SEQUENCE public.calls TO PUBLIC;
        SET ROLE \(role);
        CREATE FUNCTION public.differs(bigint, numeric) RETURNS boolean LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_catalog.nextval('public.calls');
            RETURN false;
        END $$;
        CREATE OPERATOR public.<> (LEFTARG = bigint, RIGHTARG = numeric, FUNCTION = public.differs);
        RESET ROLE;
        """
    }

    private func withMal(_ body: (RebuildScene, String) async throws -> Void) async throws {
        try await withRebuildScene { scene in
            let role = "\(scene.database.name)_mal"
            try await scene.database.execute(Self.operatorOfMal(role))
            let clean = "DROP OWNED BY \(role) CASCADE; DROP ROLE \(role)"
            do {
                try await body(scene, role)
            } catch {
                _ = try? await scene.database.execute(clean)
                throw error
            }
            try await scene.database.execute(clean)
        }
    }

    @Test("X6: an operator of another role in the live schema is not what checks.sql means")
    func checks() async throws {
        try await withMal { scene, _ in
            try scene.append([Note.event(1), Note.event(2)])
            let schema = "CREATE TABLE note (id bigint PRIMARY KEY, words text)"
            try await GivenSQL.$schema.withValue(schema) {
                // Two rows, so this says no; the other operator says that all is well.
                try await GivenSQL.$checks.withValue("SELECT 1 FROM note HAVING count(*) <> 1.0") {
                    let plan = try await scene.plan(Notes.self)
                    #expect(plan.findings.contains { $0.text.contains("may make functions") })
                    await #expect(throws: ReadModelError.self) {
                        _ = try await scene.rebuild(Notes.self)
                    }
                }
            }
            let calls = try await scene.database.query("SELECT is_called FROM public.calls").first?[
                0
            ]
            #expect(calls == "f")
        }
    }

    @Test(
        "X6: a setup.sql does not run where another role can make functions, and the way out works"
    )
    func setUp() async throws {
        try await withMal { scene, role in
            try scene.append([Note.event(1)])
            let schema = "CREATE TABLE note (id bigint PRIMARY KEY, words text)"
            try await GivenSQL.$schema.withValue(schema) {
                try await GivenSQL.$setup.withValue("SELECT 1 WHERE 2::bigint <> 1.0") {
                    let plan = try await scene.plan(Notes.self)
                    let revoke = "REVOKE CREATE ON SCHEMA \"public\" FROM \"\(role)\""
                    #expect(plan.refusals.contains { $0.contains(revoke) }, "\(plan.refusals)")
                    await #expect(throws: ReadModelError.self) {
                        _ = try await scene.rebuild(Notes.self)
                    }
                    try await scene.database.execute(revoke)
                    let report = try await scene.rebuild(Notes.self)
                    #expect(report.isLive)
                }
            }
        }
    }

    @Test("S16: a value that setup.sql adds to a type can be used by schema.sql")
    func enumValue() async throws {
        try await withRebuildScene { scene in
            try scene.append([Note.event(1)])
            try await scene.database.execute("CREATE TYPE public.mood AS ENUM ('glad')")
            let schema = """
                CREATE TABLE note (id bigint PRIMARY KEY, words text, mood mood DEFAULT 'sad')
                """
            try await GivenSQL.$schema.withValue(schema) {
                try await GivenSQL.$setup.withValue(
                    "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'sad'"
                ) {
                    let plan = try await scene.plan(Notes.self)
                    #expect(plan.refusals == [])
                    #expect(plan.findings.contains { $0.text.contains("setup.sql") })
                    let report = try await scene.rebuild(Notes.self)
                    #expect(report.isLive)
                    #expect(try await scene.plan(Notes.self).refusals == [])
                }
            }
            let mood = try await scene.database.query("SELECT mood FROM public.note").first?[0]
            #expect(mood == "sad")
        }
    }

    @Test("S16: schema.sql finds what database or role have on their search path")
    func usualPath() async throws {
        try await withRebuildScene { scene in
            try scene.append([Note.event(1)])
            try await scene.database.execute(
                """
                CREATE SCHEMA "Ext ensions";
                CREATE EXTENSION pg_trgm SCHEMA "Ext ensions";
                ALTER ROLE CURRENT_USER IN DATABASE "\(scene.database.name)"
                    SET search_path = "$user", public, "Ext ensions"
                """
            )
            let schema = """
                CREATE TABLE note (id bigint PRIMARY KEY, words text);
                CREATE INDEX ON note USING gin (words gin_trgm_ops);
                """
            try await GivenSQL.$schema.withValue(schema) {
                #expect(try await scene.plan(Notes.self).refusals == [])
                for _ in 1...2 {
                    let report = try await scene.rebuild(Notes.self)
                    #expect(report.isLive)
                }
            }
        }
    }

    @Test("S9: a view over two generations is named before a rollback, and the advice works")
    func comparingView() async throws {
        try await withHazard { hazard in
            try await hazard.rebuild()
            try await hazard.execute(
                """
                CREATE VIEW s.compared AS SELECT l.v AS new, r.v AS old FROM s.live AS l
                JOIN live__g0.live AS r USING (id)
                """
            )
            let error = await #expect(throws: ReadModelError.self) { try await hazard.rollback() }
            #expect("\(error as Any)".contains("view s.compared"), "\(error as Any)")
            try await hazard.expect("SELECT v FROM s.live", gives: "new")
            // A rebuild does not touch the generation that is compared with.
            try await hazard.rebuild()
            try await hazard.expect("SELECT old FROM s.compared", gives: "old")
            try await hazard.execute("DROP VIEW s.compared")
            try await hazard.rollback()
        }
    }
}
