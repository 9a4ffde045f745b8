import Ledgers
import ProjectionKit
import ReadModels
import Rebuilder
import TestSupport
import Testing

/// A row with a value of a type that another role owns, and that travels as text.
private struct Passed: TableRow {
    var id: Int64
    var pair: String?
    var key: Int64 { id }

    static let table = TableDefinition<Passed>("passed", key: "id") {
        Column("id", \.id)
        Column("pair", \.pair, as: "mal.pair")
    }
}

private struct PassedPairs: Projection {
    static let name = "passed_pairs"
    static let schema: String? = "CREATE TABLE passed (id bigint PRIMARY KEY, pair mal.pair)"

    var rows = Table<Passed>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("id")
        rows[id] = Passed(id: id, pair: "(1,a)")
    }
}

@Suite("A cast of text to a type of another role")
struct OthersCastTests {
    /// The cast counts its calls in sequences, which no rollback takes back.
    private static let setUp = """
        CREATE SEQUENCE s.own;
        CREATE SEQUENCE s.wrong;
        GRANT USAGE ON SEQUENCE s.own, s.wrong TO PUBLIC;
        GRANT USAGE ON SCHEMA s TO %mal%;
        CREATE SCHEMA mal AUTHORIZATION %mal%;
        CREATE TYPE mal.pair AS (a int, b text);
        CREATE FUNCTION mal.to_pair(x text) RETURNS mal.pair LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN
            PERFORM pg_catalog.nextval(CASE WHEN current_user LIKE '%\\_mal' THEN 's.own'
                ELSE 's.wrong' END);
            RETURN ROW(1, x);
        END $$;
        CREATE CAST (text AS mal.pair) WITH FUNCTION mal.to_pair(text);
        ALTER FUNCTION mal.to_pair OWNER TO %mal%;
        ALTER TYPE mal.pair OWNER TO %mal%;
        """

    @Test("X5: swap, truncate, follow and the plan run it as the owner of the table, who owns it")
    func owned() async throws {
        try await withHazard(setUp: Self.setUp, roles: ["mal"], events: [Live.event(1, "new")]) {
            hazard in
            let scene = hazard.scene
            _ = try await scene.rebuild(PassedPairs.self)
            try await hazard.execute(
                """
                ALTER TABLE s.passed OWNER TO %mal%;
                ALTER SEQUENCE s.own RESTART; ALTER SEQUENCE s.wrong RESTART
                """
            )
            _ = try await scene.plan(PassedPairs.self)
            _ = try await scene.rebuild(PassedPairs.self)
            try scene.append([Live.event(2, "more")])
            try await scene.follow(PassedPairs.self)
            var options = RebuildOptions()
            options.strategy = .truncate
            _ = try await scene.rebuild(PassedPairs.self, options: options)
            try await hazard.expect("SELECT is_called FROM s.own", gives: "t")
            try await hazard.expect("SELECT is_called FROM s.wrong", gives: "f")
            try await hazard.expect(
                "SELECT (pair).b FROM s.passed ORDER BY id",
                as: "mal",
                gives: "(1,a)",
                "(1,a)"
            )
        }
    }
}
