import Postgres
import ReadModels
import TestSupport
import Testing

@Suite("Hazards of a swap: names")
struct HazardNameTests {
    @Test(
        "H20, H21: names of 63 bytes, of many bytes a character and full of quotes stay exact",
        arguments: zip(
            HostileTable.all,
            HostileTable.all.indices.map { $0.isMultiple(of: 2) ? Shape.declared : Shape.cloned }
        )
    )
    func names(_ table: HostileTable, shape: Shape) async throws {
        let name = SQLText.identifier(table.name)
        let live = "\"S 1\"\"x\".\(name)"
        try await withHazard(
            shape,
            in: "S 1\"x",
            of: table.projection,
            table: """
                CREATE TABLE \(name) (
                    "select" bigint, "a ""q""\\'" text, CONSTRAINT "\(Self.long("k"))" PRIMARY KEY ("select"),
                    CONSTRAINT "\(Self.long("c"))" CHECK ("a ""q""\\'" <> '$1 %s'));
                """,
            rows: "INSERT INTO \(live) VALUES (1, 'old')",
            setUp: "SET search_path = \"S 1\"\"x\"; \(Self.attachments(to: name))",
            roles: ["r-1"]
        ) { hazard in
            try await hazard.passes { epoch in
                // The projection writes the stream's name.
                let row = epoch == .old ? "old" : "live-1"
                for relation in [name, "\"\(Self.long("v"))\"", "\"over \"\" it\""] {
                    try await hazard.expect(
                        "SELECT \"a \"\"q\"\"\\'\" FROM \"S 1\"\"x\".\(relation)",
                        gives: row
                    )
                }
            }
        }
    }

    /// A name of 63 bytes, which one byte more would make another one.
    private static func long(_ letter: String) -> String {
        String(repeating: letter, count: 63)
    }

    private static func attachments(to name: String) -> String {
        """
        CREATE INDEX "a USING b" ON \(name) ("a ""q""\\'");
        CREATE INDEX "\(long("i"))" ON \(name) (lower("a ""q""\\'"));
        CREATE STATISTICS "\(long("s"))" ON "select", "a ""q""\\'" FROM \(name);
        CREATE VIEW "\(long("v"))" AS SELECT * FROM \(name);
        CREATE VIEW "over "" it" AS SELECT v."a ""q""\\'" FROM "\(long("v"))" AS v;
        CREATE FUNCTION "f ""n"() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
        CREATE TRIGGER "\(long("t"))" BEFORE UPDATE OF "a ""q""\\'" ON \(name)
            FOR EACH ROW WHEN (new."select" > 0) EXECUTE FUNCTION "f ""n"('it''s \\', '$1');
        CREATE RULE "r ON ""x" AS ON DELETE TO \(name) WHERE old."select" = 9 DO INSTEAD NOTHING;
        CREATE POLICY "p TO ""x" ON \(name) TO %r-1% USING ("a ""q""\\'" <> 'it''s');
        CREATE FUNCTION "fa ""n"() RETURNS text LANGUAGE sql
            BEGIN ATOMIC SELECT "a ""q""\\'" FROM \(name); END;
        GRANT SELECT ON \(name) TO %r-1%;
        GRANT UPDATE ("a ""q""\\'") ON \(name) TO %r-1%;
        COMMENT ON TABLE \(name) IS 'it''s \\ "so" $1';
        COMMENT ON COLUMN \(name)."a ""q""\\'" IS 'column';
        COMMENT ON TRIGGER "\(long("t"))" ON \(name) IS 'trigger';
        COMMENT ON CONSTRAINT "\(long("c"))" ON \(name) IS 'check';
        COMMENT ON POLICY "p TO ""x" ON \(name) IS 'policy';
        COMMENT ON RULE "r ON ""x" ON \(name) IS 'rule';
        """
    }

    @Test(
        "H22: a foreign schema under a name that a generation needs is passed over, and stays",
        arguments: Shape.allCases,
        ["live__g1", "live__g0"]
    )
    func takenHome(shape: Shape, schema: String) async throws {
        let setUp = "CREATE SCHEMA \(schema); CREATE TABLE \(schema).live AS SELECT 1 AS mine;"
        try await withHazard(shape, setUp: setUp) { hazard in
            let mine = "SELECT '\(schema).live'::regclass::oid::text || mine FROM \(schema).live"
            let before = try await hazard.value(mine)
            try await hazard.passes { epoch in
                try await hazard.expect(mine, gives: before)
                try await hazard.expect("SELECT v FROM s.live", gives: epoch.rawValue)
            }
        }
    }

    @Test(
        "H22: a foreign object under the name of a new index, type or statistics is refused",
        arguments: [
            ForeignObject("CREATE TABLE s.live_v (a int)", "live_v"),
            ForeignObject("CREATE SEQUENCE s.live_v", "live_v"),
            ForeignObject(
                "CREATE TABLE s.o (a int, b int); CREATE STATISTICS s.live_s ON a, b FROM s.o",
                "live_s"
            ),
            ForeignObject("CREATE SEQUENCE s.live_n_seq", "live_n_seq"),
        ]
    )
    func takenName(_ taken: ForeignObject) async throws {
        try await withHazard(
            .declared,
            file: """
                CREATE TABLE live (id int PRIMARY KEY, v text, n serial);
                CREATE INDEX live_v ON live (v);
                CREATE STATISTICS live_s ON id, v FROM live;
                """,
            setUp: taken.sql
        ) { hazard in
            try await hazard.isRefused(naming: taken.name)
            try await hazard.expect("SELECT v FROM s.live", gives: "old")
        }
    }
}

struct ForeignObject: Sendable, CustomTestStringConvertible {
    let sql: String
    let name: String

    var testDescription: String { sql }

    init(_ sql: String, _ name: String) {
        self.sql = sql
        self.name = name
    }
}
