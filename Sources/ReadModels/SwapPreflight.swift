import Postgres

/// What would make the batch of a swap fail, found out while planning: whoever learns it at the
/// cut-over has folded and loaded for nothing.
struct SwapPreflight: Sendable {
    let live: LiveTables
    let liveSchema: String
    let homeSchema: String

    /// The reasons, each naming an object.
    ///
    /// - Precondition: The shadow tables are in the home schema.
    func refusals(on connection: PostgresConnection) async throws -> [String] {
        try await connection.setSearchPath([])
        var refusals: [String] = []
        for query in [Self.rightsQuery, Self.columnGrantsQuery] {
            let result = try await connection.query(
                query,
                [.ints(live.oids.map { Int64($0) }), .text(homeSchema), .text(liveSchema)]
            )
            refusals += try result.rows.map { try $0.string("refusal") }
        }
        return refusals
    }

    private static let rightsQuery = """
        SELECT 'the role ' || current_user || ' is not a member of ' || rolname || ', who owns '
            || c.oid::pg_catalog.regclass || '.' AS refusal
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_roles AS r ON r.oid = c.relowner
        WHERE (c.oid = ANY ($1::pg_catalog.oid[]) OR c.relkind = 'v' AND EXISTS (
                SELECT FROM pg_catalog.pg_depend AS d
                JOIN pg_catalog.pg_rewrite AS w ON w.oid = d.objid AND w.ev_class = c.oid
                WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
                    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                    AND d.refobjid = ANY ($1::pg_catalog.oid[])))
            AND c.relpersistence <> 't' AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')
        UNION ALL
        SELECT 'the role ' || current_user || ' may not create anything in the schema '
            || n.oid::pg_catalog.regnamespace || '.'
        FROM pg_catalog.pg_namespace AS n
        WHERE n.nspname = $3 AND NOT pg_catalog.has_schema_privilege(n.oid, 'CREATE')
            AND $2 <> $3
        """

    private static let columnGrantsQuery = """
        SELECT 'a grant on the column ' || a.attname || ' of ' || c.oid::pg_catalog.regclass
            || ': the new table has no such column.' AS refusal
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND NOT a.attisdropped
        JOIN pg_catalog.pg_class AS s ON s.relname = c.relname
            AND s.relnamespace = pg_catalog.quote_ident($2)::pg_catalog.regnamespace
        WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND a.attacl IS NOT NULL
            AND $3 <> $2 AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_attribute AS t
                WHERE t.attrelid = s.oid AND t.attname = a.attname AND t.attnum > 0)
        ORDER BY 1
        """
}
