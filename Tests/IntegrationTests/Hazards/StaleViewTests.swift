import Postgres
import ReadModels
import Rebuilder
import TestSupport
import Testing

/// Materialized views that read live tables by way of a view or a function.
@Suite("Materialized views hold rows of one generation")
struct StaleViewTests {
    private static let behind = """
        CREATE VIEW s.plain AS SELECT id, v FROM s.live;
        CREATE FUNCTION s.of(int) RETURNS text STABLE LANGUAGE sql
        AS 'SELECT v FROM s.live WHERE id = $1';
        """

    static let mixtures = [
        "a view": "SELECT l.id, l.v, p.v AS other FROM s.live AS l JOIN s.plain AS p USING (id)",
        "a function": "SELECT l.id, l.v, s.of(l.id) AS other FROM s.live AS l",
    ]

    @Test(
        "S8: one that reads the tables twice has the new rows of both after a swap",
        arguments: mixtures.keys.sorted()
    )
    func refreshed(_ mixture: String) async throws {
        let setUp =
            Self.behind + """
                CREATE MATERIALIZED VIEW s.mixed AS \(Self.mixtures[mixture, default: ""]);
                CREATE UNIQUE INDEX ON s.mixed (id);
                """
        try await withHazard(setUp: setUp) { hazard in
            try await hazard.passes { epoch in
                try await hazard.expect(
                    "SELECT v || ' ' || other FROM s.mixed",
                    gives: "\(epoch.rawValue) \(epoch.rawValue)"
                )
            }
        }
    }

    @Test(
        "S8: one that reads the tables twice and cannot be refreshed quietly is refused by name",
        arguments: mixtures.keys.sorted()
    )
    func refused(_ mixture: String) async throws {
        let setUp =
            Self.behind + """
                CREATE MATERIALIZED VIEW s.mixed AS \(Self.mixtures[mixture, default: ""]);
                """
        try await withHazard(setUp: setUp) { hazard in
            try await hazard.isRefused(naming: "materialized view s.mixed")
            // What the message advises.
            try await hazard.execute("CREATE UNIQUE INDEX ON s.mixed (id)")
            try await hazard.rebuild()
            try await hazard.expect("SELECT v || ' ' || other FROM s.mixed", gives: "new new")
        }
    }

    @Test("S8: one over a function whose body is parsed has the new rows")
    func atomicFunction() async throws {
        let setUp = """
            CREATE FUNCTION s.of() RETURNS text STABLE LANGUAGE sql
            BEGIN ATOMIC SELECT v FROM s.live WHERE id = 1; END;
            CREATE MATERIALIZED VIEW s.outer_view AS SELECT 1 AS id, s.of() AS v;
            CREATE UNIQUE INDEX ON s.outer_view (id);
            """
        try await withHazard(setUp: setUp) { hazard in
            try await hazard.passes { epoch in
                try await hazard.expect("SELECT v FROM s.outer_view", gives: epoch.rawValue)
            }
        }
    }

    @Test("S8: after a truncate it is refreshed, or named where its readers would have to wait")
    func truncate() async throws {
        let setUp = """
            CREATE MATERIALIZED VIEW s.quiet AS SELECT id, v FROM s.live;
            CREATE UNIQUE INDEX ON s.quiet (id);
            CREATE MATERIALIZED VIEW s.loud AS SELECT count(*) AS n, min(v) AS v FROM s.live;
            """
        try await withHazard(setUp: setUp) { hazard in
            let plan = try await hazard.plan(.truncate)
            #expect(plan.findings.contains { $0.text.contains("materialized view s.loud") })
            let report = try await hazard.rebuild(.truncate)
            try await hazard.expect("SELECT v FROM s.quiet", gives: "new")
            try await hazard.expect("SELECT v FROM s.loud", gives: "old")
            let warnings = report.warnings.filter {
                $0.contains("REFRESH MATERIALIZED VIEW s.loud")
            }
            #expect(!warnings.isEmpty)
            // The command that is advised.
            try await hazard.execute("REFRESH MATERIALIZED VIEW s.loud")
            try await hazard.expect("SELECT v FROM s.loud", gives: "new")
        }
    }
}
