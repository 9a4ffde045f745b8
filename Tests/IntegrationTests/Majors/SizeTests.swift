import Postgres
import ReadModels
import TestSupport
import Testing

/// What takes the square or the cube of a number takes many minutes here, where it took seconds.
@Suite("Large tables and many roles")
struct SizeTests {
    /// Fails where `body` takes as long as what grows faster than the sizes.
    private func inMinutes(_ body: () async throws -> Void) async throws {
        let begin = ContinuousClock.now
        try await body()
        #expect(ContinuousClock.now - begin < .seconds(240))
    }

    @Test("E9: 1,000 columns with defaults")
    func columns() async throws {
        let columns = (0..<1_000).map { "d\($0) int NOT NULL DEFAULT \($0)" }
        try await withHazard(
            table:
                "CREATE TABLE live (id int PRIMARY KEY, v text, \(columns.joined(separator: ", ")))"
        ) { hazard in
            try await inMinutes {
                #expect(try await hazard.plan().refusals == [])
                try await hazard.rebuild()
                try await hazard.rollback()
            }
            try await hazard.expect("SELECT v FROM s.live WHERE d999 = 999", gives: "old")
        }
    }

    @Test("E9: 500 roles with grants of their own")
    func grants() async throws {
        // One role each would stay in the cluster: they are made and dropped in pieces.
        let roles = (0..<500).map { "%app%_\($0)" }
        try await withHazard(roles: ["app"]) { hazard in
            let names = roles.map { role in
                SQLText.identifier(
                    role.replacing("%app%", with: hazard.roles["app"] ?? "")
                )
            }
            func each(_ statement: (String) -> String) async throws {
                for start in stride(from: 0, to: names.count, by: 250) {
                    let some = names[start..<min(start + 250, names.count)]
                    try await hazard.database.execute(some.map(statement).joined(separator: ";"))
                }
            }
            try await each { "CREATE ROLE \($0); GRANT SELECT, INSERT ON s.live TO \($0)" }
            do {
                try await inMinutes {
                    #expect(try await hazard.plan().refusals == [])
                    try await hazard.rebuild()
                    try await hazard.rollback()
                }
                try await hazard.expect(
                    """
                    SELECT count(*) FROM pg_class AS c, aclexplode(c.relacl) AS a
                    WHERE c.oid = 's.live'::regclass AND a.privilege_type = 'SELECT'
                        AND a.grantee <> c.relowner
                    """,
                    gives: "500"
                )
            } catch {
                try await each { "DROP OWNED BY \($0); DROP ROLE \($0)" }
                throw error
            }
            try await each { "DROP OWNED BY \($0); DROP ROLE \($0)" }
        }
    }

    @Test("E9: 250 indexes and 250 views that depend on a table")
    func indexesAndViews() async throws {
        let indexes = (0..<250).map { "CREATE INDEX i\($0) ON s.live (v, id) WHERE id <> \($0)" }
        let views = (0..<250).map { "CREATE VIEW s.w\($0) AS SELECT id, v FROM s.live" }
        try await withHazard(setUp: indexes.joined(separator: ";")) { hazard in
            for start in stride(from: 0, to: views.count, by: 250) {
                try await hazard.execute(views[start..<start + 250].joined(separator: ";"))
            }
            try await inMinutes {
                let plan = try await hazard.plan()
                #expect(plan.refusals == [])
                // Whether so many fit into the budget, the plan says.
                #expect(plan.views.count == 250)
            }
        }
    }
}
