import Postgres

/// What people put onto live tables by hand and `schema.sql` does not have: the new tables will not
/// have it either.
///
/// The file is the truth about the tables, so this is no reason to refuse; but nobody should find
/// out by a slow query.
enum HandMade {
    /// Names it, a sentence each.
    ///
    /// - Parameters:
    ///   - live: The live tables.
    ///   - homeSchema: Where the same tables were just made by the file, with their indexes.
    ///   - connection: Where to ask, inside the transaction that made them.
    /// - Returns: Sentences for the plan's warnings.
    /// - Throws: The server's error.
    static func warnings(
        on live: LiveTables,
        against homeSchema: String,
        on connection: PostgresConnection
    ) async throws -> [String] {
        try await connection.setSearchPath([])
        let result = try await connection.query(
            query,
            [.ints(live.oids.map { Int64($0) }), .text(homeSchema)]
        )
        return try result.rows.map {
            "\(try $0.string("object")) is not in schema.sql; the new table will not have it."
        }
    }

    private static let query = """
        WITH twin (live, home) AS (
            SELECT c.oid, h.oid FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_class AS h ON h.relname = c.relname AND h.relkind = 'r'
            JOIN pg_catalog.pg_namespace AS n ON n.oid = h.relnamespace AND n.nspname = $2
            WHERE c.oid = ANY ($1::pg_catalog.oid[])
        )
        SELECT 'index ' || x.relname || ' on ' || t.live::pg_catalog.regclass AS object
        FROM twin AS t
        JOIN pg_catalog.pg_index AS i ON i.indrelid = t.live
        JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
        WHERE NOT EXISTS (
            SELECT FROM pg_catalog.pg_index AS o
            JOIN pg_catalog.pg_class AS y ON y.oid = o.indexrelid
            WHERE o.indrelid = t.home AND y.relname = x.relname)
        UNION ALL
        SELECT 'constraint ' || o.conname || ' on ' || t.live::pg_catalog.regclass
        FROM twin AS t
        JOIN pg_catalog.pg_constraint AS o ON o.conrelid = t.live AND o.contype IN ('c', 'f')
        WHERE NOT EXISTS (
            SELECT FROM pg_catalog.pg_constraint AS p
            WHERE p.conrelid = t.home AND p.conname = o.conname)
        UNION ALL
        SELECT 'statistics object ' || s.stxname || ' on ' || t.live::pg_catalog.regclass
        FROM twin AS t
        JOIN pg_catalog.pg_statistic_ext AS s ON s.stxrelid = t.live
        WHERE NOT EXISTS (
            SELECT FROM pg_catalog.pg_statistic_ext AS o
            WHERE o.stxrelid = t.home AND o.stxname = s.stxname)
        UNION ALL
        SELECT pg_catalog.format('the comment on %s', pg_catalog.pg_describe_object(
            'pg_catalog.pg_class'::pg_catalog.regclass, t.live, d.objsubid))
        FROM twin AS t
        JOIN pg_catalog.pg_description AS d
            ON d.objoid = t.live AND d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
        LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.live AND a.attnum = d.objsubid
        WHERE NOT EXISTS (
            SELECT FROM pg_catalog.pg_description AS e
            LEFT JOIN pg_catalog.pg_attribute AS b ON b.attrelid = t.home AND b.attnum = e.objsubid
            WHERE e.objoid = t.home
                AND e.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
                AND a.attname IS NOT DISTINCT FROM b.attname AND e.description = d.description)
        UNION ALL
        SELECT 'the setting ' || o.option || ' of ' || t.live::pg_catalog.regclass
        FROM twin AS t
        JOIN pg_catalog.pg_class AS c ON c.oid = t.live
        JOIN pg_catalog.pg_class AS h ON h.oid = t.home
        CROSS JOIN LATERAL pg_catalog.unnest(c.reloptions) AS o (option)
        WHERE o.option <> ALL (coalesce(h.reloptions, '{}'))
        ORDER BY 1
        """
}
