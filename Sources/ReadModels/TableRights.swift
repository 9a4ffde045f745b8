import Postgres

/// The grants on a table, as statements for its twin.
///
/// Grants are given by the owner; a grant by somebody else is a ``Hazard``. No entry at all means
/// what PostgreSQL gives by default: everything to the owner, nothing to others.
enum TableRights {
    /// Statements that give `target`, which has no grants, what there is on the table `source`.
    ///
    /// They are to run when both have the same owner: a grant to an owner means nothing, and would
    /// be lost when another becomes the owner.
    static func copy(
        from source: UInt32,
        to target: UInt32,
        named name: QualifiedName,
        on connection: PostgresConnection
    ) async throws -> [String] {
        let grants = try await connection.query(grantsQuery, [.int(Int64(source))])
        return try await ownersShare(from: source, to: target, named: name, on: connection)
            + grants.rows.map { row in
                let privilege = try row.string("privilege")
                let columns = row["column_name"].map { " (\(SQLText.identifier($0)))" } ?? ""
                let option = try row.bool("grantable") ? " WITH GRANT OPTION" : ""
                return "GRANT \(privilege)\(columns) ON TABLE \(name.sql) TO "
                    + grantee(row["grantee"]) + option
            }
    }

    /// Statements for an owner who gave up some of an owner's own privileges.
    private static func ownersShare(
        from source: UInt32,
        to target: UInt32,
        named name: QualifiedName,
        on connection: PostgresConnection
    ) async throws -> [String] {
        let result = try await connection.query(
            """
            SELECT c.oid, pg_catalog.pg_get_userbyid(c.relowner) AS owner, (
                SELECT pg_catalog.string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type)
                FROM pg_catalog.aclexplode(
                    coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner))) AS a
                WHERE a.grantee = c.relowner) AS privileges
            FROM pg_catalog.pg_class AS c WHERE c.oid = ANY ($1::pg_catalog.oid[])
            """,
            [.ints([Int64(source), Int64(target)])]
        )
        let from = try result.rows.first { try $0.int("oid") == Int64(source) }
        let to = try result.rows.first { try $0.int("oid") == Int64(target) }
        guard let from, from["privileges"] != to?["privileges"] else { return [] }
        let owner = SQLText.identifier(try from.string("owner"))
        return ["REVOKE ALL ON TABLE \(name.sql) FROM \(owner)"]
            + (from["privileges"].map { ["GRANT \($0) ON TABLE \(name.sql) TO \(owner)"] } ?? [])
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
