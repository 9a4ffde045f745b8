import Postgres

/// Objects of the database that statements of the open transaction have made or changed.
///
/// Found by the rows of the catalogue that this transaction has written: others make objects at the
/// same time. A role is found by a superuser alone, who may read where it stands; what was dropped is not
/// found.
struct ObjectTraces: Sendable {
    /// The schema whose objects do not count.
    let besides: String

    /// An object by its place in the catalogue.
    struct Object: Hashable {
        let catalogue: Int64
        let oid: Int64
    }

    /// What is there by now.
    func objects(on connection: PostgresConnection) async throws -> Set<Object> {
        let readsRoles = try await connection.query(
            "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT') AS may"
        ).first?.bool("may")
        let catalogues = Self.catalogues + (readsRoles == true ? [("pg_authid", nil)] : [])
        let result = try await connection.query(
            // The transaction gets its number here, if it has none yet.
            "WITH own (xid) AS MATERIALIZED (SELECT pg_catalog.pg_current_xact_id())\n"
                + catalogues.map { query(of: $0, schema: $1) }.joined(separator: "\nUNION ALL\n"),
            [.text(besides)]
        )
        return Set(
            try result.rows.map {
                Object(catalogue: try $0.int("catalogue"), oid: try $0.int("oid"))
            }
        )
    }

    /// What people call them, in order.
    func names(
        of objects: Set<Object>,
        on connection: PostgresConnection
    ) async throws -> [String] {
        let objects = Array(objects)
        return try await connection.query(
            """
            SELECT DISTINCT pg_catalog.pg_describe_object(k.catalogue, k.oid, 0) AS name
            FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.oid[]),
                pg_catalog.unnest($2::pg_catalog.oid[])) AS k (catalogue, oid) ORDER BY 1
            """,
            [.ints(objects.map(\.catalogue)), .ints(objects.map(\.oid))]
        ).rows.map { try $0.string("name") }
    }

    /// Rows that this transaction has written, its subtransactions included: they are as young as it, and
    /// not committed.
    private func query(of catalogue: String, schema: String?) -> String {
        let place = schema.map {
            " AND t.\($0) <> coalesce((SELECT n.oid FROM pg_catalog.pg_namespace AS n"
                + " WHERE n.nspname = $1), 0)"
        }
        // The types of a table's rows and of their arrays go with the table.
        let kind = catalogue == "pg_type" ? " AND t.typrelid = 0 AND t.typelem = 0" : ""
        return """
            SELECT 'pg_catalog.\(catalogue)'::pg_catalog.regclass::pg_catalog.oid AS catalogue, t.oid
            FROM pg_catalog.\(catalogue) AS t, own
            WHERE CASE WHEN pg_catalog.age(t.xmin) <= 0 THEN pg_catalog.pg_xact_status((
                own.xid::pg_catalog.text::pg_catalog.int8 - pg_catalog.age(t.xmin)
                )::pg_catalog.text::pg_catalog.xid8) = 'in progress' END\(place ?? "")\(kind)
            """
    }

    /// Catalogues of what is no relation, and the columns with the schema where there is one.
    private static let catalogues: [(String, schema: String?)] = [
        ("pg_proc", "pronamespace"), ("pg_type", "typnamespace"), ("pg_operator", "oprnamespace"),
        ("pg_opclass", "opcnamespace"), ("pg_opfamily", "opfnamespace"),
        ("pg_collation", "collnamespace"), ("pg_conversion", "connamespace"),
        ("pg_ts_config", "cfgnamespace"), ("pg_ts_dict", "dictnamespace"),
        ("pg_ts_parser", "prsnamespace"), ("pg_ts_template", "tmplnamespace"),
        ("pg_namespace", nil), ("pg_extension", nil), ("pg_language", nil), ("pg_cast", nil),
        ("pg_am", nil), ("pg_foreign_data_wrapper", nil), ("pg_foreign_server", nil),
        ("pg_publication", nil), ("pg_event_trigger", nil),
    ]
}
