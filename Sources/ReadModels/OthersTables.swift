import Postgres

/// The tables of a generation whose live twins belong to another role: they are this role's from the
/// start, so that nothing it wrote is evaluated with other rights.
struct OthersTables: Sendable {
    let live: LiveTables
    let homeSchema: String

    /// Finds the owners, and lets them make tables in the home schema until the end of its creation.
    ///
    /// - Parameters:
    ///   - projection: The projection's name.
    ///   - connection: In the transaction that has made the schema, which has to take the rights back.
    /// - Returns: The owners that are not the job's own role, by the live table's name.
    /// - Throws: ``ReadModelError/refusedByPlan(projection:reasons:)`` where this role may not act as one.
    func admit(
        for projection: String,
        on connection: PostgresConnection
    ) async throws -> [String: String] {
        let rows = try await connection.query(
            """
            SELECT c.relname, r.rolname, pg_catalog.pg_has_role(r.oid, 'USAGE')
                    AND \(Membership.maySet("r.oid")) AS is_member,
                pg_catalog.format('%s: the role %I is not a member of %I, who owns it: '
                    '%s', c.oid::pg_catalog.regclass, current_user, r.rolname,
                    \(Membership.grant("r.rolname"))) AS reason
            FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_roles AS r ON r.oid = c.relowner
            WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND r.rolname <> current_user ORDER BY 1
            """,
            [.ints(live.oids.map { Int64($0) })]
        ).rows
        let reasons = try rows.filter { try !$0.bool("is_member") }.map { try $0.string("reason") }
        guard reasons.isEmpty else {
            throw ReadModelError.refusedByPlan(projection: projection, reasons: reasons)
        }
        var owners: [String: String] = [:]
        for row in rows { owners[try row.string("relname")] = try row.string("rolname") }
        for owner in Set(owners.values).sorted() {
            try await connection.execute(
                "GRANT USAGE, CREATE ON SCHEMA \(SQLText.identifier(homeSchema)) "
                    + "TO \(SQLText.identifier(owner))"
            )
        }
        return owners
    }

    /// Gives each table to its owner, which is this role where no other has the live one.
    func give(_ owners: [String: String], on connection: PostgresConnection) async throws {
        let relations = try await connection.query(
            """
            SELECT c.oid, c.relname, c.relkind = 'S' AS is_sequence FROM pg_catalog.pg_class AS c
            WHERE c.oid IN (\(SchemaContents.relationsOfNamed)) AND c.relkind IN ('r', 'p', 'S')
            ORDER BY is_sequence, c.relname
            """,
            [.text(homeSchema)]
        )
        for row in relations.rows {
            let owner = try row.bool("is_sequence") ? nil : owners[try row.string("relname")]
            try await connection.own([try row.int("oid")], by: owner)
        }
    }
}
