import Postgres
import ReadModels
import Rebuilder
import TestSupport
import Testing

@Suite("Rows that row-level security hides from the job")
struct HiddenRowTests {
    /// The scene as the owner of the live tables sees it, whom the policies apply to once they are
    /// forced.
    private func withOwner(
        _ body: (HazardScene, RebuildScene) async throws -> Void
    ) async throws {
        try await withHazard(
            rows: "INSERT INTO s.live SELECT i, 'old' FROM generate_series(1, 10) AS i",
            setUp: """
                DO $$ BEGIN
                    EXECUTE format('GRANT CREATE, TEMPORARY ON DATABASE %I TO %I',
                        current_database(), current_database() || '_owner');
                END $$;
                GRANT USAGE, CREATE ON SCHEMA s TO %owner%;
                ALTER TABLE s.live OWNER TO %owner%;
                """,
            roles: ["owner"]
        ) { hazard in
            let owner = hazard.scene.connecting(to: try hazard.database(as: "owner"))
            try await body(hazard, owner)
        }
    }

    private static let forced = """
        ALTER TABLE s.live ENABLE ROW LEVEL SECURITY;
        ALTER TABLE s.live FORCE ROW LEVEL SECURITY;
        CREATE POLICY few ON s.live USING (id < 2);
        """

    private func expectRefusal(
        _ text: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        for part in ["row-level security of s.live: the role ", "BYPASSRLS", "NO FORCE"] {
            #expect(text.contains(part), "\(text)", sourceLocation: sourceLocation)
        }
        #expect(!text.contains("password"), sourceLocation: sourceLocation)
    }

    @Test(
        "a job that does not see every row is refused by name, so that no guard counts too few (S11)",
        arguments: [Strategy.swap, .truncate]
    )
    func guards(strategy: Strategy) async throws {
        try await withOwner { hazard, owner in
            try await hazard.execute(Self.forced)
            // The one row that the job sees is there afterwards as well; nine would be lost.
            let refusals = try await owner.plan(Live.self, strategy: strategy).refusals
            expectRefusal(refusals.joined(separator: "\n"))
            var options = RebuildOptions()
            options.strategy = strategy
            let error = await #expect(throws: ReadModelError.self) {
                _ = try await owner.rebuild(Live.self, options: options)
            }
            expectRefusal("\(String(describing: error))")
            try await hazard.expect("SELECT count(*) FROM s.live", gives: "10")
        }
    }

    private func rebuild(_ scene: RebuildScene) async throws {
        var options = RebuildOptions()
        options.guards = RowGuards(maxShrink: 1)
        _ = try await scene.rebuild(Live.self, options: options)
    }

    private func follow(_ scene: RebuildScene) async throws {
        var options = FollowOptions()
        options.endsAtEnd = true
        try await Follow(
            of: Live.self,
            from: try scene.ledger(),
            into: scene.target,
            options: options,
            progress: { _ in }
        ).run()
    }

    @Test("following such tables is refused by name, before an event is applied (S11)")
    func following() async throws {
        try await withOwner { hazard, owner in
            try await rebuild(owner)
            try await hazard.execute(Self.forced)
            try hazard.scene.append([Live.event(5, "next")])
            let error = await #expect(throws: ReadModelError.self) { try await follow(owner) }
            expectRefusal("\(String(describing: error))")
            try await hazard.expect("SELECT count(*) FROM s.live", gives: "1")
        }
    }

    @Test("a right that is missing while following is said to be one, and no password (S11)")
    func missingRight() async throws {
        try await withOwner { hazard, owner in
            try await rebuild(owner)
            try await hazard.execute("REVOKE ALL ON s.live FROM %owner%")
            try hazard.scene.append([Live.event(5, "next")])
            let error = await #expect(throws: ReadModelError.self) { try await follow(owner) }
            let text = String(describing: error)
            #expect(text.contains("42501") && text.contains("Grant the role"), "\(text)")
            #expect(!text.contains("password"), "\(text)")
        }
    }
}
