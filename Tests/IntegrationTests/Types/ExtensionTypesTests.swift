import Foundation
import Ledgers
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import TestSupport
import Testing

/// A table with a column of a type that an extension brings, whose values travel as text.
struct Extended: Projection {
    struct Row: TableRow {
        var id: Int64
        var value: String?
        var changes: Int64 = 0
        var key: Int64 { id }

        static var table: TableDefinition<Row> {
            TableDefinition("extended", key: "id") {
                Column("id", \.id)
                Column("value", \.value, as: Extended.type)
                Column("changes", \.changes)
            }
        }
    }

    @TaskLocal static var type = ""
    static let name = "extended"
    static var schema: String? { GivenSQL.schema }
    var rows = Table<Row>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("index")
        if rows[id] == nil {
            rows[id] = Row(id: id, value: id == 0 ? nil : try event.payload.string("value"))
        }
        rows[id]?.changes += 1
    }
}

@Suite("Types of extensions")
struct ExtensionTypesTests {
    struct Case: CustomTestStringConvertible {
        let package: String
        let type: String
        /// What the reducer gives.
        let given: String
        let index: String

        var testDescription: String { "\(type) of \(package)" }
    }

    private static let debian = [
        Case(package: "hstore", type: "hstore", given: "b=>2,a=>1", index: "gin (value)"),
        Case(package: "ltree", type: "ltree", given: "Top.Science", index: "gist (value)"),
        Case(package: "citext", type: "citext", given: "MiXed", index: "btree (value)"),
        Case(package: "cube", type: "cube", given: "(1,2),(3,4)", index: "gist (value)"),
        Case(package: "isn", type: "isbn13", given: "978-0-393-04002-9", index: "btree (value)"),
        Case(package: "intarray", type: "query_int", given: "1&(2|3)", index: "btree (changes)"),
        Case(
            package: "postgis",
            type: "geometry",
            given: "SRID=4326;POINT(1 2)",
            index: "gist (value)"
        ),
        Case(package: "postgis", type: "geography", given: "POINT(1 2)", index: "gist (value)"),
    ]

    @Test(
        "E10: those of Debian's extensions, in a schema of their own and in public",
        arguments: debian
    )
    func contrib(of extended: Case) async throws {
        for schema in ["ext", "public"] {
            try await withRebuildScene { scene in
                let found = try await scene.database.query(
                    "SELECT FROM pg_available_extensions WHERE name = $1",
                    [.text(extended.package)]
                )
                guard !found.rows.isEmpty else {
                    return print("Left out: the server has no \(extended.package).")
                }
                try await holds(extended, in: schema, scene)
            }
        }
    }

    private static let script = URL(filePath: #filePath)
        .appending(path: "../../../../scripts/server-programs").standardizedFileURL.path

    @Test("E10: vectors of pgvector, in a schema of their own and in public")
    func vectors() async throws {
        let fetched = try await ChildProcess.run(Self.script, ["pgvector"])
        let programs = fetched.standardOutput.trimmingCharacters(in: .whitespacesAndNewlines)
        try #require(fetched.status == 0 && !programs.isEmpty, "\(fetched.standardError)")
        for (type, given) in [
            ("vector", "[1,2.5,3]"), ("halfvec", "[1,2,3]"), ("sparsevec", "{1:1.5,3:2}/5"),
        ] {
            for schema in ["ext", "public"] {
                try await PrivateServer.with(programs: programs) { server in
                    try await server.withScene { scene in
                        let extended = Case(
                            package: "vector",
                            type: type,
                            given: given,
                            index: type == "vector"
                                ? "hnsw (value \(schema).vector_l2_ops)" : "btree (changes)"
                        )
                        try await holds(
                            extended,
                            in: schema,
                            scene,
                            size: type == "sparsevec" ? 5 : 3
                        )
                    }
                }
            }
        }
    }

    /// Rebuild, follow, truncate, rollback: the column has what SQL makes of the text.
    private func holds(
        _ extended: Case,
        in schema: String,
        _ scene: RebuildScene,
        size: Int? = nil
    ) async throws {
        func sampled(_ index: Int) -> NewEvent {
            NewEvent(
                stream: "s\(index)",
                type: "Sampled",
                data: #"{"index": \#(index), "value": "\#(extended.given)"}"#
            )
        }
        let length = size.map { "(\($0))" } ?? ""
        try await scene.database.execute(
            """
            CREATE SCHEMA IF NOT EXISTS \(schema);
            CREATE EXTENSION \(extended.package) SCHEMA \(schema) CASCADE;
            ALTER ROLE CURRENT_USER IN DATABASE \(SQLText.identifier(scene.database.name))
                SET search_path = public, ext
            """
        )
        let file = """
            CREATE TABLE extended (id bigint PRIMARY KEY, value \(extended.type)\(length),
                changes bigint NOT NULL);
            CREATE INDEX ON extended USING \(extended.index)
            """
        try await GivenSQL.$schema.withValue(file) {
            try await Extended.$type.withValue(extended.type) {
                try scene.append([sampled(0), sampled(1)])
                _ = try await scene.rebuild(Extended.self)
                try await expect(extended, in: schema, changes: 1, scene)
                try scene.append([sampled(1)])
                try await scene.follow(Extended.self)
                try await expect(extended, in: schema, changes: 2, scene)
                var options = RebuildOptions()
                options.strategy = .truncate
                _ = try await scene.rebuild(Extended.self, options: options)
                try await expect(extended, in: schema, changes: 2, scene)
                _ = try await scene.rebuild(Extended.self)
                _ = try await scene.control(Extended.self).rollback(
                    patience: CutOverPatience()
                )
                try await expect(extended, in: schema, changes: 2, scene)
            }
        }
    }

    private func expect(
        _ extended: Case,
        in schema: String,
        changes: Int64,
        _ scene: RebuildScene
    ) async throws {
        let rows = try await scene.database.query(
            """
            SELECT value IS NULL AS is_null, value::text = $1::\(schema).\(extended.type)::text AS is_same,
                changes FROM public.extended ORDER BY id
            """,
            [.text(extended.given)]
        ).rows
        try #require(rows.count == 2)
        #expect(try rows[0].bool("is_null"))
        #expect(try rows[1].bool("is_same"))
        #expect(try rows[1].int("changes") == changes)
    }
}
