import Postgres

/// The grants on a table, as statements for a table that has none.
///
/// Grants are given by the owner; a grant by somebody else is a ``Hazard``. No entry at all means
/// what PostgreSQL gives by default: everything to the owner, nothing to others.
enum TableRights {
    /// Statements that give `target` what others than the owner have on the table `source`.
    static func copy(
        from source: UInt32,
        to target: QualifiedName,
        on connection: PostgresConnection
    ) async throws -> [String] {
        let result = try await connection.query(grantsQuery, [.int(Int64(source))])
        return try result.rows.map { row in
            let privilege = try row.string("privilege")
            let columns = row["column_name"].map { " (\(SQLText.identifier($0)))" } ?? ""
            let option = try row.bool("grantable") ? " WITH GRANT OPTION" : ""
            return "GRANT \(privilege)\(columns) ON TABLE \(target.sql) TO "
                + grantee(row["grantee"]) + option
        }
    }

    /// Statements that take everything from everybody but the owner: default privileges may have
    /// given rights on a table that its live twin does not give.
    static func revocation(
        of table: UInt32,
        named target: QualifiedName,
        on connection: PostgresConnection
    ) async throws -> [String] {
        let result = try await connection.query(
            "SELECT DISTINCT grantee FROM (\(grantsQuery)) AS g",
            [.int(Int64(table))]
        )
        return result.rows.map {
            "REVOKE ALL ON TABLE \(target.sql) FROM \(grantee($0["grantee"]))"
        }
    }

    private static func grantee(_ role: String?) -> String {
        role.map(SQLText.identifier) ?? "PUBLIC"
    }

    private static let grantsQuery = """
        SELECT NULL AS column_name, a.privilege_type AS privilege, r.rolname AS grantee,
            a.is_grantable AS grantable
        FROM pg_catalog.pg_class AS c
        CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
        LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
        WHERE c.oid = $1::pg_catalog.oid AND a.grantee <> c.relowner
        UNION ALL
        SELECT t.attname, a.privilege_type, r.rolname, a.is_grantable
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_attribute AS t ON t.attrelid = c.oid AND NOT t.attisdropped
        CROSS JOIN LATERAL pg_catalog.aclexplode(t.attacl) AS a
        LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
        WHERE c.oid = $1::pg_catalog.oid AND a.grantee <> c.relowner
        """
}
