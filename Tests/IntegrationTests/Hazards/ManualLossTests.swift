import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import TestSupport
import Testing

/// What readers would lose is named, and needs a consent.
@Suite("Nothing leaves the live schema unsaid")
struct ManualLossTests {
    private static let consent = CarryOverConsent(acceptsLoss: true, adoptsStrangers: true)

    @Test("S14: a column that was added by hand is named, and stays until it is let go")
    func column() async throws {
        let table = "CREATE TABLE live (id int PRIMARY KEY, v text)"
        try await withHazard(.declared, table: table) { hazard in
            try await hazard.rebuild()
            try await hazard.execute(
                "ALTER TABLE s.live ADD note text; UPDATE s.live SET note = 'kept'"
            )
            try await hazard.isRefused(naming: "column note of s.live", "--allow-loss")
            try await hazard.expect("SELECT note FROM s.live", gives: "kept")
            var options = RebuildOptions()
            options.consent = Self.consent
            _ = try await hazard.scene.rebuild(hazard.projection, options: options)
            try await hazard.expect("SELECT v FROM s.live", gives: "new")
        }
    }

    @Test(
        "S14: a rollback names what was put by hand on the newer generation",
        arguments: Shape.allCases
    )
    func rollback(_ shape: Shape) async throws {
        try await withHazard(shape) { hazard in
            try await hazard.rebuild()
            try await hazard.execute(
                """
                CREATE INDEX by_hand ON s.live (v);
                ALTER TABLE s.live ADD CONSTRAINT checked CHECK (id > 0);
                CREATE STATISTICS s.counted ON id, v FROM s.live;
                """
            )
            let before = try await hazard.definitions()
            let error = await #expect(throws: ReadModelError.self) { try await hazard.rollback() }
            for name in ["index by_hand", "constraint checked", "statistics counted"] {
                #expect("\(error as Any)".contains("\(name) of s.live"))
            }
            let changes = try await hazard.changes(since: before)
            #expect(changes == [])
            let control = hazard.scene.control(hazard.projection)
            _ = try await control.rollback(patience: CutOverPatience(), consent: Self.consent)
            try await hazard.expect("SELECT v FROM s.live", gives: "old")
            // They come back with the generation that has them.
            try await hazard.swap()
            let after = try await hazard.changes(since: before)
            #expect(after == [])
        }
    }

    @Test("S15: a table that schema.sql has no more is named with what goes with it")
    func leavingTable() async throws {
        try await withHazard(
            of: Pair.self,
            table: Pair.tables,
            rows: "INSERT INTO s.a VALUES (1, 'old'); INSERT INTO s.b VALUES (1, 1, 'old')",
            roles: ["app"]
        ) { hazard in
            try await hazard.rebuild()
            try await hazard.execute(
                """
                GRANT SELECT ON s.b TO %app%;
                CREATE FUNCTION s.t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
                CREATE TRIGGER watched BEFORE INSERT ON s.b FOR EACH ROW EXECUTE FUNCTION s.t();
                """
            )
            let plan = try await hazard.scene.target.plan(
                ProjectionTables(Alone.self),
                strategy: .swap,
                consent: hazard.consent
            )
            let refusal = plan.refusals.first { $0.contains("table s.b") } ?? ""
            let role = try #require(hazard.roles["app"])
            #expect(refusal.contains(role))
            #expect(refusal.contains("triggers watched"))
            #expect(refusal.contains("--allow-loss"))
            await #expect(throws: ReadModelError.self) {
                _ = try await hazard.scene.rebuild(Alone.self, options: RebuildOptions())
            }
            try await hazard.expect("SELECT count(*)::text FROM s.b", gives: "1")
        }
    }

    @Test("X12: a table of a stranger is taken over with consent only")
    func stranger() async throws {
        let setUp = "GRANT USAGE ON SCHEMA s TO %mal%; ALTER TABLE s.live OWNER TO %mal%"
        let consent = CarryOverConsent()
        try await withHazard(setUp: setUp, roles: ["mal"], consent: consent) { hazard in
            try await hazard.isRefused(naming: "s.live was not made by Reprise", "--adopt")
            try await hazard.expect("SELECT v FROM s.live", gives: "old")
            var options = RebuildOptions()
            options.consent = CarryOverConsent(adoptsStrangers: true)
            _ = try await hazard.scene.rebuild(hazard.projection, options: options)
            // Once it is known it is not asked for again.
            try await hazard.rebuild()
            try await hazard.expect("SELECT v FROM s.live", gives: "new")
        }
    }
}

/// ``Pair`` without its child.
private struct Alone: Projection {
    static let name = Pair.name
    static var schema: String? { GivenSQL.schema }
    var parents = Table<Pair.Parent>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int32("id")
        parents[id] = Pair.Parent(id: id, v: try event.payload.string("v"))
    }
}
