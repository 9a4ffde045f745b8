import Postgres
import ReadModels
import TestSupport
import Testing

/// Foreign keys of live tables to tables that are not the projection's.
@Suite("Only the live generation refers to tables of others")
struct OutgoingForeignKeyTests {
    private static let parent = """
        CREATE TABLE s.kind (v text PRIMARY KEY);
        INSERT INTO s.kind VALUES ('old'), ('new'), ('none');
        """

    private static let file = """
        CREATE TABLE live (id int PRIMARY KEY, v text REFERENCES s.kind ON UPDATE CASCADE)
        """

    /// Foreign keys to the parent, as `schema.table name valid`.
    private func keys(_ hazard: HazardScene) async throws -> [String] {
        try await hazard.database.query(
            """
            SELECT conrelid::regclass || ' ' || conname || ' ' || convalidated FROM pg_constraint
            WHERE contype = 'f' AND confrelid = 's.kind'::regclass ORDER BY 1
            """
        ).rows.map { $0[0] ?? "" }
    }

    private func expectKeys(
        _ hazard: HazardScene,
        _ wanted: [String],
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let found = try await keys(hazard)
        #expect(found == wanted, sourceLocation: sourceLocation)
    }

    @Test(
        "S7: a generation that waits or is kept has no foreign key to a table of others",
        arguments: Shape.allCases
    )
    func onlyLive(_ shape: Shape) async throws {
        let made =
            shape == .cloned
            ? """
            ALTER TABLE s.live ADD CONSTRAINT k FOREIGN KEY (v) REFERENCES s.kind ON UPDATE CASCADE;
            COMMENT ON CONSTRAINT k ON s.live IS 'which kind';
            """ : "ALTER TABLE s.live ADD FOREIGN KEY (v) REFERENCES s.kind ON UPDATE CASCADE;"
        let name = shape == .cloned ? "k" : "live_v_fkey"
        try await withHazard(
            shape,
            file: shape == .declared ? Self.file : nil,
            setUp: Self.parent + made
        ) { hazard in
            try await hazard.passes { _ in
                try await expectKeys(hazard, ["s.live \(name) true"])
            }
            try await hazard.rebuild()
            try await hazard.build()
            try await expectKeys(hazard, ["s.live \(name) true"])
            // Neither refuses what happens to rows that only it has, nor is it changed.
            try await hazard.execute("UPDATE s.kind SET v = 'newer' WHERE v = 'new'")
            let kept = try await hazard.database.query(
                """
                SELECT t.table_name FROM reprise.generation AS g
                JOIN reprise.generation_table AS t USING (projection, generation)
                WHERE g.state IN ('ready', 'retired')
                """
            ).rows.count
            #expect(kept == 2)
            for home in try await hazard.homes() {
                try await hazard.expect("SELECT v FROM \(home).live", gives: "new")
            }
        }
    }

    @Test("S7: a rollback brings the key back, and one that does not hold any more is named")
    func rollback() async throws {
        let setUp =
            Self.parent + "ALTER TABLE s.live ADD CONSTRAINT k FOREIGN KEY (v) REFERENCES s.kind;"
        try await withHazard(setUp: setUp) { hazard in
            try await hazard.rebuild()
            try await hazard.rollback()
            try await expectKeys(hazard, ["s.live k true"])
            try await hazard.swap()
            try await hazard.execute("DELETE FROM s.kind WHERE v = 'old'")
            let result = try await hazard.rollback()
            try await expectKeys(hazard, ["s.live k false"])
            #expect(
                result.warnings.contains { $0.contains("k of s.live") && $0.contains("NOT VALID") }
            )
            try await hazard.expect("SELECT v FROM s.live", gives: "old")
            // The next run validates it when the row is there again.
            try await hazard.execute("INSERT INTO s.kind VALUES ('old')")
            try await hazard.swap()
            try await hazard.rollback()
            try await expectKeys(hazard, ["s.live k true"])
        }
    }

    @Test("S7: rows without a parent stop the run before the swap, and the key is named")
    func orphans() async throws {
        let setUp =
            Self.parent + "ALTER TABLE s.live ADD CONSTRAINT k FOREIGN KEY (v) REFERENCES s.kind;"
        try await withHazard(setUp: setUp, events: [Live.event(1, "nowhere")]) { hazard in
            let error = await #expect(throws: ReadModelError.self) { try await hazard.rebuild() }
            #expect("\(error as Any)".contains("foreign key k of live: 1 rows"))
            #expect(!"\(error as Any)".contains("nowhere"))
            try await hazard.expect("SELECT v FROM s.live", gives: "old")
        }
    }
}

extension HazardScene {
    /// The schemas of generations that are not live.
    func homes() async throws -> [String] {
        try await database.query(
            """
            SELECT home_schema FROM reprise.generation WHERE state IN ('ready', 'retired')
            ORDER BY 1
            """
        ).rows.map { $0[0] ?? "" }
    }
}
