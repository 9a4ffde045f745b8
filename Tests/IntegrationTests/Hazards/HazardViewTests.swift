import ReadModels
import TestSupport
import Testing

@Suite("Hazards of a swap: views")
struct HazardViewTests {
    @Test("H01: a view keeps its OID and reads the new table", arguments: Shape.allCases)
    func simpleView(shape: Shape) async throws {
        try await withHazard(shape, setUp: "CREATE VIEW s.v1 AS SELECT * FROM s.live") { hazard in
            try await hazard.passes { epoch in
                try await hazard.expect("SELECT v FROM s.v1", gives: epoch.rawValue)
            }
        }
    }

    @Test("H02: a chain of views reads the new table at every step", arguments: Shape.allCases)
    func viewChain(shape: Shape) async throws {
        let setUp = """
            CREATE VIEW s.v1 AS SELECT * FROM s.live;
            CREATE VIEW s.v2 AS SELECT v FROM s.v1;
            CREATE VIEW s.v3 AS SELECT v1.id, live.v FROM s.v1 JOIN s.live USING (id);
            """
        try await withHazard(shape, setUp: setUp) { hazard in
            try await hazard.passes { epoch in
                for view in ["s.v1", "s.v2", "s.v3"] {
                    try await hazard.expect("SELECT v FROM \(view)", gives: epoch.rawValue)
                }
            }
        }
    }

    private static let views = """
        CREATE VIEW s.v WITH (security_barrier = true, check_option = local) AS
            SELECT id, v FROM s.live WHERE v <> 'z';
        CREATE VIEW s.vi WITH (security_invoker = true) AS SELECT * FROM s.live;
        """

    @Test("H03: the options of a view stay", arguments: Shape.allCases)
    func viewOptions(shape: Shape) async throws {
        try await withHazard(shape, setUp: Self.views) { hazard in
            try await hazard.passes { epoch in
                try await hazard.expect("SELECT v FROM s.v", gives: epoch.rawValue)
                try await hazard.expect("SELECT v FROM s.vi", gives: epoch.rawValue)
            }
            // Their order says nothing.
            try await hazard.expect(
                """
                SELECT relname || ' ' || unnest(reloptions) FROM pg_class
                WHERE relname IN ('v', 'vi') ORDER BY 1
                """,
                gives: "v check_option=local",
                "v security_barrier=true",
                "vi security_invoker=true"
            )
        }
    }

    @Test(
        "H04: owner, grants, comment and column default of a view stay, and its readers can read",
        arguments: Shape.allCases
    )
    func viewOwner(shape: Shape) async throws {
        let setUp =
            Self.views + """
                GRANT USAGE ON SCHEMA s TO %app%, %vo%;
                GRANT SELECT ON s.live TO %vo%;
                ALTER VIEW s.v OWNER TO %vo%;
                GRANT SELECT ON s.v TO %app%;
                COMMENT ON VIEW s.v IS 'c';
                COMMENT ON COLUMN s.v.v IS 'cc';
                ALTER VIEW s.v ALTER v SET DEFAULT 'd';
                """
        try await withHazard(shape, setUp: setUp, roles: ["app", "vo"]) { hazard in
            try await hazard.passes { epoch in
                try await hazard.expect("SELECT v FROM s.v", as: "app", gives: epoch.rawValue)
            }
        }
    }

    @Test("H05: a view that groups by the primary key alone works on", arguments: Shape.allCases)
    func viewOverPrimaryKey(shape: Shape) async throws {
        let setUp = "CREATE VIEW s.g AS SELECT id, v, count(*) FROM s.live GROUP BY id"
        try await withHazard(shape, setUp: setUp) { hazard in
            try await hazard.passes { epoch in
                try await hazard.expect("SELECT v FROM s.g", gives: epoch.rawValue)
            }
        }
    }

    @Test(
        "H06: a view over a column of another type is refused by name",
        arguments: [
            "CREATE TABLE live (id int PRIMARY KEY, v varchar(50))",
            "CREATE TABLE live (id int PRIMARY KEY, v text COLLATE \"C\")",
        ]
    )
    func viewOverChangedType(file: String) async throws {
        let setUp = "CREATE VIEW s.vv AS SELECT v FROM s.live"
        try await withHazard(.declared, file: file, setUp: setUp) { hazard in
            try await hazard.isRefused(naming: "vv")
            try await hazard.expect("SELECT v FROM s.vv", gives: "old")
        }
    }

    @Test(
        "H07: a materialized view over the table is filled with the new rows and refreshes from them",
        arguments: Shape.allCases
    )
    func materializedView(shape: Shape) async throws {
        let setUp = """
            CREATE MATERIALIZED VIEW s.mv WITH (fillfactor = 70) AS SELECT * FROM s.live;
            CREATE UNIQUE INDEX mvu ON s.mv (id);
            CREATE INDEX mvl ON s.mv (lower(v));
            CLUSTER s.mv USING mvu;
            ALTER MATERIALIZED VIEW s.mv ALTER v SET STATISTICS 77;
            GRANT SELECT ON s.mv TO %app%;
            COMMENT ON MATERIALIZED VIEW s.mv IS 'm';
            COMMENT ON COLUMN s.mv.v IS 'mc';
            COMMENT ON INDEX s.mvu IS 'mi';
            CREATE VIEW s.over AS SELECT v FROM s.mv;
            """
        try await withHazard(shape, setUp: setUp, roles: ["app"]) { hazard in
            try await hazard.passes { epoch in
                try await hazard.expect("SELECT v FROM s.mv", gives: epoch.rawValue)
                try await hazard.expect("SELECT v FROM s.over", gives: epoch.rawValue)
                try await hazard.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY s.mv")
                try await hazard.expect("SELECT v FROM s.mv", gives: epoch.rawValue)
            }
        }
    }

    @Test(
        "H07: a materialized view over a view is refreshed after the swap, if its readers can go on",
        arguments: Shape.allCases
    )
    func materializedViewOverView(shape: Shape) async throws {
        let setUp = """
            CREATE VIEW s.v1 AS SELECT id, v FROM s.live;
            CREATE MATERIALIZED VIEW s.mv AS SELECT * FROM s.v1;
            CREATE UNIQUE INDEX mvu ON s.mv (id);
            CREATE MATERIALIZED VIEW s.keyless AS SELECT v FROM s.v1;
            CREATE MATERIALIZED VIEW s.empty AS SELECT v FROM s.v1 WITH NO DATA;
            """
        try await withHazard(shape, setUp: setUp) { hazard in
            let findings = try await hazard.plan().findings
            #expect(findings.contains { $0.text.contains("REFRESH MATERIALIZED VIEW s.keyless") })
            try await hazard.passes { epoch in
                try await hazard.expect("SELECT v FROM s.mv", gives: epoch.rawValue)
                try await hazard.expect("SELECT v FROM s.keyless", gives: "old")
                try await hazard.expect(
                    "SELECT relname FROM pg_class WHERE relkind = 'm' AND NOT relispopulated",
                    gives: "empty"
                )
            }
            try await hazard.execute("REFRESH MATERIALIZED VIEW s.keyless")
            try await hazard.expect("SELECT v FROM s.keyless", gives: "new")
        }
    }
}
