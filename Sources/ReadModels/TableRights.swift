import Postgres

/// The grants on a relation, as statements for its twin.
///
/// No entry at all means what PostgreSQL gives by default: everything to the owner, nothing to
/// others.
struct TableRights: Sendable {
    /// Statements that the owner gives them by.
    var byOwner: [String] = []
    /// Statements for what others have passed on, in an order in which each has the right to.
    ///
    /// Each is run in its grantor's role, because the server records who granted; they need the
    /// relation to be where its grantors may look it up, which is the live schema.
    var byOthers: [String] = []

    /// Reads the grants on `source`.
    ///
    /// - Parameters:
    ///   - source: The relation that has them: a table, materialized view or sequence.
    ///   - target: Its twin, which has no grants and the same owner.
    ///   - home: The twin's name now.
    ///   - live: The twin's name after the cut-over.
    ///   - connection: Where to ask.
    /// - Returns: The statements.
    /// - Throws: The server's error.
    static func copy(
        from source: UInt32,
        to target: UInt32,
        at home: QualifiedName,
        thereafter live: QualifiedName,
        on connection: PostgresConnection
    ) async throws -> TableRights {
        let grants = try await connection.query(grantsQuery, [.int(Int64(source))]).rows.map(
            Grant.init
        )
        return TableRights(
            byOwner: try await ownersShare(from: source, to: target, named: home, on: connection)
                + grants.filter(\.isByOwner).map { $0.statement(on: home) },
            byOthers: ordered(grants).flatMap { grant in
                [
                    "SET LOCAL ROLE \(SQLText.identifier(grant.grantor))",
                    grant.statement(on: live), "RESET ROLE",
                ]
            }
        )
    }

    /// One privilege of one grantee, from one grantor.
    private struct Grant {
        let column: String?
        let privilege: String
        let grantor: String
        let isByOwner: Bool
        /// Nil for everybody.
        let grantee: String?
        let isGrantable: Bool

        init(_ row: QueryRow) throws {
            column = row["column_name"]
            privilege = try row.string("privilege")
            grantor = try row.string("grantor")
            isByOwner = try row.bool("is_by_owner")
            grantee = row["grantee"]
            isGrantable = try row.bool("grantable")
        }

        func statement(on name: QualifiedName) -> String {
            let columns = column.map { " (\(SQLText.identifier($0)))" } ?? ""
            let option = isGrantable ? " WITH GRANT OPTION" : ""
            return "GRANT \(privilege)\(columns) ON TABLE \(name.sql) TO "
                + TableRights.grantee(grantee) + option
        }
    }

    /// Grants that owners did not give, whoever passes on after whoever they have it from.
    private static func ordered(_ grants: [Grant]) -> [Grant] {
        var able = Set(grants.filter(\.isByOwner).compactMap(\.grantee))
        var waiting = grants.filter { !$0.isByOwner }
        var ordered: [Grant] = []
        while !waiting.isEmpty {
            let next = waiting.filter { able.contains($0.grantor) }
            guard !next.isEmpty else { return ordered + waiting }
            ordered += next
            able.formUnion(next.compactMap(\.grantee))
            waiting.removeAll { grant in next.contains { $0.grantor == grant.grantor } }
        }
        return ordered
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
                FROM pg_catalog.aclexplode(coalesce(c.relacl, pg_catalog.acldefault(
                    CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END,
                    c.relowner))) AS a
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
    /// given rights on a relation that its live twin does not give.
    static func revocation(
        of relation: UInt32,
        named target: QualifiedName,
        on connection: PostgresConnection
    ) async throws -> [String] {
        let result = try await connection.query(
            "SELECT DISTINCT grantee FROM (\(grantsQuery)) AS g WHERE is_by_owner",
            [.int(Int64(relation))]
        )
        // CASCADE takes along what those roles have passed on, of this relation alone.
        return result.rows.map {
            "REVOKE ALL ON TABLE \(target.sql) FROM \(grantee($0["grantee"])) CASCADE"
        }
    }

    private static func grantee(_ role: String?) -> String {
        role.map(SQLText.identifier) ?? "PUBLIC"
    }

    private static let grantsQuery = """
        SELECT NULL AS column_name, a.privilege_type AS privilege, r.rolname AS grantee,
            pg_catalog.pg_get_userbyid(a.grantor) AS grantor,
            a.grantor = c.relowner AS is_by_owner, a.is_grantable AS grantable
        FROM pg_catalog.pg_class AS c
        CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
        LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
        WHERE c.oid = $1::pg_catalog.oid AND a.grantee <> c.relowner
        UNION ALL
        SELECT t.attname, a.privilege_type, r.rolname, pg_catalog.pg_get_userbyid(a.grantor),
            a.grantor = c.relowner, a.is_grantable
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_attribute AS t ON t.attrelid = c.oid AND NOT t.attisdropped
        CROSS JOIN LATERAL pg_catalog.aclexplode(t.attacl) AS a
        LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
        WHERE c.oid = $1::pg_catalog.oid AND a.grantee <> c.relowner
        """
}

extension PostgresConnection {
    /// Makes a role the owner of a relation.
    ///
    /// An owner needs CREATE on the schema that the relation is in at that moment (manual, ALTER
    /// TABLE), and has it for as long.
    func give(_ noun: String, _ name: QualifiedName, to role: String) async throws {
        let owner = SQLText.identifier(role)
        let schema = SQLText.identifier(name.schema)
        try await execute(
            """
            GRANT CREATE ON SCHEMA \(schema) TO \(owner);
            ALTER \(noun) \(name.sql) OWNER TO \(owner);
            REVOKE CREATE ON SCHEMA \(schema) FROM \(owner)
            """
        )
    }
}
