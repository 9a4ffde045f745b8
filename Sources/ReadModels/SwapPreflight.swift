import Postgres

/// What would make the batch of a swap fail, found out while planning: whoever learns it at the
/// cut-over has folded and loaded for nothing.
struct SwapPreflight: Sendable {
    let live: LiveTables
    let liveSchema: String
    let homeSchema: String

    /// The reasons, each naming an object. The shadow tables are there, with their indexes.
    func refusals(on connection: PostgresConnection) async throws -> [String] {
        try await connection.setSearchPath([])
        var refusals: [String] = []
        for query in [Self.takenNamesQuery, Self.rightsQuery, Self.columnGrantsQuery] {
            let result = try await connection.query(
                query,
                [.ints(live.oids.map { Int64($0) }), .text(homeSchema), .text(liveSchema)]
            )
            refusals += try result.rows.map { try $0.string("refusal") }
        }
        return refusals
    }

    // Names of relations and statistics objects are unique in a schema, and so are those of types:
    // a table brings its row type along. What belongs to the live tables makes room.
    private static let takenNamesQuery = """
        WITH live (oid) AS (
            SELECT pg_catalog.unnest($1::pg_catalog.oid[])
            UNION ALL
            SELECT i.indexrelid FROM pg_catalog.pg_index AS i
            WHERE i.indrelid = ANY ($1::pg_catalog.oid[])
        ), taken AS (
            SELECT pg_catalog.pg_describe_object(
                'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, 0) AS object
            FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_class AS s USING (relname)
            WHERE c.relnamespace = pg_catalog.quote_ident($3)::pg_catalog.regnamespace
                AND s.relnamespace = pg_catalog.quote_ident($2)::pg_catalog.regnamespace
                AND c.oid NOT IN (SELECT oid FROM live)
            UNION ALL
            SELECT pg_catalog.pg_describe_object(
                'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, 0)
            FROM pg_catalog.pg_type AS t
            JOIN pg_catalog.pg_class AS s ON s.relname = t.typname AND s.relkind = 'r'
            WHERE t.typnamespace = pg_catalog.quote_ident($3)::pg_catalog.regnamespace
                AND s.relnamespace = pg_catalog.quote_ident($2)::pg_catalog.regnamespace
                AND t.typrelid = 0
            UNION ALL
            SELECT pg_catalog.pg_describe_object(
                'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, x.oid, 0)
            FROM pg_catalog.pg_statistic_ext AS x
            JOIN pg_catalog.pg_statistic_ext AS s USING (stxname)
            WHERE x.stxnamespace = pg_catalog.quote_ident($3)::pg_catalog.regnamespace
                AND s.stxnamespace = pg_catalog.quote_ident($2)::pg_catalog.regnamespace
                AND x.stxrelid NOT IN (SELECT oid FROM live)
        )
        SELECT object || ' has a name that schema.sql gives to something of its own.' AS refusal
        FROM taken ORDER BY 1
        """

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
