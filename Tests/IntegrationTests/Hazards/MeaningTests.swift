import Postgres
import TestSupport
import Testing

@testable import ReadModels

/// A swap changes rows: what policies, views, rules, triggers and functions mean stays, although their
/// text alone does not say which operator `=` is.
@Suite("What is carried over means the same")
struct MeaningTests {
    /// Something on or around `s.live` whose operators have no form with a schema.
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let sql: String

        init(_ testDescription: String, _ sql: String) {
            self.testDescription = testDescription
            self.sql = sql
        }
    }

    private static let extensions = """
        CREATE EXTENSION citext SCHEMA public;
        CREATE EXTENSION hstore SCHEMA public;
        CREATE EXTENSION ltree SCHEMA public;
        CREATE TYPE public.name2 AS (a text);
        SET search_path = s, public;
        """

    /// Ways to compare two values of `citext` that name no operator.
    private static let comparisons: [(name: String, sql: String)] = [
        ("IS DISTINCT FROM", "(%a IS DISTINCT FROM %b)"),
        ("IS NOT DISTINCT FROM", "(%a IS NOT DISTINCT FROM %b)"),
        ("NULLIF", "(NULLIF(%a, %b) IS NULL)"),
        ("CASE", "(CASE %a WHEN %b THEN true ELSE false END)"),
        ("IN", "(%a IN (%b, 'other'))"),
        ("ROW", "((%a, 1) = (%b, 1))"),
        ("ROW order", "((%a, %b) < (%b, %a))"),
        ("BETWEEN SYMMETRIC", "(%a BETWEEN SYMMETRIC %b AND 'zz')"),
        ("IN (SELECT)", "(%a IN (SELECT x FROM (VALUES (%b)) AS v (x)))"),
        (
            "USING",
            "EXISTS (SELECT FROM (SELECT %a AS k) AS l JOIN (SELECT %b AS k) AS r USING (k))"
        ),
    ]

    private static func comparison(_ sql: String, _ column: String) -> String {
        sql.replacing("%a", with: "\(column)::citext").replacing("%b", with: "'OLD'::citext")
    }

    static let cases: [Case] = comparisons.flatMap { name, sql -> [Case] in
        let onLive = comparison(sql, "v")
        let onNew = comparison(sql, "new.v")
        var cases = [
            Case(
                "policy, \(name)",
                """
                ALTER TABLE s.live ENABLE ROW LEVEL SECURITY;
                CREATE POLICY p ON s.live USING (\(onLive)) WITH CHECK (\(onLive));
                """
            ),
            Case("view, \(name)", "CREATE VIEW s.w AS SELECT id, \(onLive) AS is_it FROM s.live"),
            Case(
                "rule, \(name)",
                """
                CREATE TABLE s.gone (id int);
                CREATE RULE r AS ON DELETE TO s.live WHERE \(comparison(sql, "old.v"))
                DO ALSO INSERT INTO s.gone VALUES (old.id)
                """
            ),
            Case(
                "function, \(name)",
                """
                CREATE FUNCTION s.f() RETURNS bigint
                BEGIN ATOMIC SELECT count(*) FROM s.live WHERE \(onLive); END
                """
            ),
            Case(
                "policy elsewhere, \(name)",
                """
                CREATE TABLE s.doc (id int);
                ALTER TABLE s.doc ENABLE ROW LEVEL SECURITY;
                CREATE POLICY p ON s.doc USING (EXISTS (SELECT FROM s.live WHERE \(onLive)))
                """
            ),
            Case(
                "materialized view, \(name)",
                "CREATE MATERIALIZED VIEW s.m AS SELECT id, \(onLive) AS is_it FROM s.live"
            ),
        ]
        // A trigger's condition has no sub-select.
        if !sql.contains("SELECT") {
            cases.append(
                Case(
                    "trigger, \(name)",
                    """
                    CREATE FUNCTION s.t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
                    CREATE TRIGGER t BEFORE INSERT ON s.live FOR EACH ROW WHEN (\(onNew))
                    EXECUTE FUNCTION s.t()
                    """
                )
            )
        }
        return cases
    }

    @Test("S1: expressions mean the same after each move", arguments: cases)
    func carried(_ example: Case) async throws {
        try await withHazard(setUp: Self.extensions + example.sql) { hazard in
            try await hazard.passes()
        }
    }

    @Test("S1: what no text can say again is refused by name")
    func unspeakable() async throws {
        // The server writes one operator for all columns of a row, and there are two.
        let setUp =
            Self.extensions
            + "CREATE VIEW s.w AS SELECT (v::citext, 1) < ('x'::citext, 2) FROM s.live"
        try await withHazard(setUp: setUp) { hazard in
            try await hazard.isRefused(naming: "s\".\"w", "operator")
        }
    }

    @Test("S1: a policy hides the same rows after a rebuild as before")
    func hiddenRows() async throws {
        let setUp =
            Self.extensions + """
                CREATE TABLE s.blocked (name citext PRIMARY KEY);
                INSERT INTO s.blocked VALUES ('OLD'), ('NEW');
                ALTER TABLE s.live ENABLE ROW LEVEL SECURITY;
                CREATE POLICY hide ON s.live FOR SELECT TO %app% USING (NOT EXISTS (
                    SELECT FROM s.blocked AS b JOIN (SELECT live.v::citext AS name) AS c USING (name)));
                GRANT USAGE ON SCHEMA s TO %app%;
                GRANT SELECT ON s.live, s.blocked TO %app%;
                """
        try await withHazard(setUp: setUp, roles: ["app"]) { hazard in
            try await hazard.passes { _ in
                try await hazard.expect("SELECT count(*) FROM s.live", as: "app", gives: "0")
            }
        }
    }

    @Test(
        "S2: types without another comparison are carried over as well",
        arguments: [
            Case(
                "hstore in a trigger",
                """
                CREATE FUNCTION s.t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
                CREATE TRIGGER t BEFORE UPDATE ON s.live FOR EACH ROW
                WHEN (hstore('n', old.v) IS DISTINCT FROM hstore('n', new.v)) EXECUTE FUNCTION s.t()
                """
            ),
            Case(
                "ltree in a view",
                "CREATE VIEW s.w AS SELECT id, NULLIF(text2ltree(v), 'a.b'::ltree) AS p FROM s.live"
            ),
            Case(
                "an own operator",
                """
                CREATE TYPE s.pair AS (a text);
                CREATE FUNCTION s.same(s.pair, s.pair) RETURNS bool IMMUTABLE LANGUAGE sql
                    AS 'SELECT lower(($1).a) OPERATOR(pg_catalog.=) lower(($2).a)';
                CREATE OPERATOR s.= (LEFTARG = s.pair, RIGHTARG = s.pair, FUNCTION = s.same);
                CREATE VIEW s.w AS SELECT id, ROW(v)::s.pair IS DISTINCT FROM ROW('OLD')::s.pair AS is_it
                FROM s.live
                """
            ),
        ]
    )
    func withoutFallback(_ example: Case) async throws {
        try await withHazard(setUp: Self.extensions + example.sql) { hazard in
            try await hazard.passes()
        }
    }

    @Test(
        "S1: indexes, checks, defaults and statistics mean the same or are refused by name",
        arguments: [
            Case("index", "CREATE INDEX i ON s.live ((NULLIF(v::citext, 'X'::citext)))"),
            Case(
                "index",
                "CREATE INDEX i ON s.live (id) WHERE v::citext IS DISTINCT FROM 'X'::citext"
            ),
            Case(
                "check",
                "ALTER TABLE s.live ADD CONSTRAINT c CHECK (v::citext IS DISTINCT FROM 'X'::citext)"
            ),
            Case(
                "default",
                "ALTER TABLE s.live ALTER v SET DEFAULT NULLIF('A'::citext, 'a'::citext)::text"
            ),
            Case(
                "generated",
                "ALTER TABLE s.live ADD g bool GENERATED ALWAYS AS (v::citext IS DISTINCT FROM 'X'::citext) STORED"
            ),
            Case(
                "statistics",
                "CREATE STATISTICS s.st ON (NULLIF(v::citext, 'X'::citext)), id FROM s.live"
            ),
        ]
    )
    func features(_ example: Case) async throws {
        try await withHazard(setUp: Self.extensions + example.sql) { hazard in
            try await hazard.passes()
        }
    }

    /// An expression on a table, the same text on each of two.
    struct Twin: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let kind: StoredTree.Kind
        /// `%t` stands for the table.
        let sql: String
    }

    static let twins: [Twin] = comparisons.flatMap { name, sql -> [Twin] in
        let text = sql.replacing("%a", with: "%c::public.citext")
            .replacing("%b", with: "'OLD'::public.citext")
        let (plain, fresh) = (text.replacing("%c", with: "v"), text.replacing("%c", with: "new.v"))
        var twins: [(StoredTree.Kind, String)] = [
            (.policy, "CREATE POLICY x ON %t USING (\(plain))"),
            (
                .rule,
                "CREATE RULE x AS ON INSERT TO %t WHERE \(fresh) DO ALSO UPDATE s.other SET id = 1"
            ),
        ]
        if !sql.contains("SELECT") {
            twins += [
                (
                    .trigger,
                    "CREATE TRIGGER x BEFORE INSERT ON %t FOR EACH ROW WHEN (\(fresh)) EXECUTE FUNCTION s.t()"
                ), (.index, "CREATE INDEX x_%n ON %t ((\(plain)))"),
                (.constraint, "ALTER TABLE %t ADD CONSTRAINT x CHECK (\(plain))"),
                (
                    .columnDefault,
                    "ALTER TABLE %t ADD x bool GENERATED ALWAYS AS (\(plain)) STORED"
                ), (.statistics, "CREATE STATISTICS s.x_%n ON (\(plain)), id FROM %t"),
            ]
        }
        return twins.map { Twin(testDescription: "\($0.rawValue), \(name)", kind: $0, sql: $1) }
    }

    @Test(
        "S1: the same text with another operator has another meaning, with the same one the same",
        arguments: twins
    )
    func differences(_ twin: Twin) async throws {
        let setUp = """
            CREATE EXTENSION citext SCHEMA public;
            CREATE TABLE s.other (id int);
            CREATE FUNCTION s.t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
            CREATE TABLE s.first (id int, v text);
            CREATE TABLE s.second (id int, v text);
            CREATE TABLE s.third (id int, v text);
            """
        try await withHazard(setUp: setUp) { hazard in
            try await hazard.database.withConnection { connection in
                var trees: [StoredTree] = []
                // The first two read `=` as the one of citext, the third as that of text.
                for (table, path) in [("first", "public"), ("second", "public"), ("third", "s")] {
                    let sql = twin.sql.replacing("%t", with: "s.\(table)")
                        .replacing("%n", with: table)
                    try await connection.execute("SET search_path = \(path); \(sql)")
                    let oid = try await connection.query(
                        "SELECT 's.\(table)'::pg_catalog.regclass::pg_catalog.oid AS oid"
                    ).first?.int("oid")
                    let name = twin.sql.contains("x_%n") ? "x_\(table)" : "x"
                    trees.append(StoredTree(kind: twin.kind, host: UInt32(oid ?? 0), name: name))
                }
                try await connection.execute("SET search_path = ''")
                let meanings = try await StoredTree.meanings(of: trees, on: connection)
                let first = try #require(meanings[trees[0]])
                for (other, isSame) in [(trees[1], true), (trees[2], false)] {
                    let successors = try await Successors(
                        [(trees[0].host, other.host)],
                        on: connection
                    )
                    let found = try #require(meanings[other])
                    let difference = first.mapped(by: successors).difference(from: found)
                    #expect((difference == nil) == isSame, "\(difference as Any)")
                }
            }
        }
    }
}
