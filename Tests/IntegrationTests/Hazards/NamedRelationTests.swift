import Postgres
import ReadModels
import TestSupport
import Testing

/// Texts that name a live table, an index of it or its columns without reading it.
@Suite("What names a live table")
struct NamedRelationTests {
    private static let functions = [
        """
        CREATE FUNCTION s.size(r regclass DEFAULT 's.live') RETURNS text LANGUAGE sql AS
        'SELECT $1::oid::text'
        """,
        """
        CREATE FUNCTION s.size(r regclass DEFAULT 's.live') RETURNS text LANGUAGE plpgsql AS
        'BEGIN RETURN $1::oid::text; END'
        """,
    ]

    @Test("S1: a default of an argument that names a live table follows it", arguments: functions)
    func defaults(_ function: String) async throws {
        try await withHazard(setUp: function + ";") { hazard in
            try await hazard.passes { _ in
                let live = try await hazard.value("SELECT 's.live'::regclass::oid::text")
                try await hazard.expect("SELECT s.size()", gives: live)
            }
        }
    }

    @Test("S1: a view that names an index of a live table is refused by name")
    func index() async throws {
        let setUp = """
            CREATE INDEX live_v ON s.live (v);
            CREATE VIEW s.sizes AS SELECT 's.live_v'::regclass AS index;
            """
        try await withHazard(setUp: setUp) { hazard in
            try await hazard.isRefused(naming: "sizes", "live_v", truncates: true)
        }
    }

    private static let views = [
        "CREATE VIEW s.u AS SELECT v FROM s.live UNION SELECT id::text FROM s.live",
        "CREATE VIEW s.u AS SELECT v FROM s.live EXCEPT SELECT relname FROM pg_class",
        "CREATE VIEW s.u AS SELECT id FROM s.live UNION ALL SELECT count(*) FROM s.live",
        "CREATE VIEW s.u AS SELECT v FROM s.live; ALTER VIEW s.u RENAME COLUMN v TO w",
        """
        CREATE VIEW s.u AS SELECT row_to_json(x) AS j FROM (SELECT v AS w FROM s.live
            UNION SELECT id::text FROM s.live) AS x
        """,
        """
        CREATE MATERIALIZED VIEW s.u AS SELECT v FROM s.live UNION SELECT id::text FROM s.live
        """,
    ]

    @Test("S1: the names of columns in arms of a union, and new names of columns, stop no swap")
    func unions() async throws {
        for view in Self.views {
            try await withHazard(setUp: view + ";") { try await $0.passes() }
        }
    }

    @Test("S12: what is set by hand stays over a truncate and the rebuild after it")
    func afterTruncate() async throws {
        let setUp = "CREATE INDEX live_v ON s.live (v);"
        let file = "CREATE TABLE live (id int PRIMARY KEY, v text); CREATE INDEX live_v ON live (v)"
        try await withHazard(.declared, file: file, setUp: setUp) { hazard in
            try await hazard.rebuild()
            try await hazard.execute(
                """
                COMMENT ON TABLE s.live IS 'by hand'; COMMENT ON COLUMN s.live.v IS 'as well';
                ALTER INDEX s.live_v SET (fillfactor = 70)
                """
            )
            let before = try await SchemaDump.of(in: hazard.database)
            try await hazard.rebuild()
            #expect(try await SchemaDump.of(in: hazard.database) == before)
            try await hazard.rebuild(.truncate)
            try await hazard.rebuild()
            #expect(try await SchemaDump.of(in: hazard.database) == before)
        }
    }
}
