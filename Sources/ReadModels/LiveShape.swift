import Postgres

/// What live tables look like, in one word, to notice a change.
enum LiveShape {
    /// A digest of the tables' columns and features.
    ///
    /// Rows, statistics of the planner, grants, views and triggers do not count.
    ///
    /// - Parameters:
    ///   - oids: The tables.
    ///   - connection: Where to ask, inside a transaction, whose search path it sets.
    /// - Returns: The same text as long as nothing of it changes.
    /// - Throws: ``ServerError``.
    static func digest(
        of oids: [UInt32],
        on connection: PostgresConnection
    ) async throws -> String {
        try await connection.setSearchPath([])
        let row = try await connection.query(query, [.ints(oids.map { Int64($0) }), .text("")])
            .first
        return try row?.string("digest") ?? ""
    }

    private static let query = """
        SELECT pg_catalog.md5(coalesce(pg_catalog.string_agg(l.line, E'\\n'
            ORDER BY l.line COLLATE "C"), '')) AS digest
        FROM (
            SELECT pg_catalog.format('%s %s %s', table_name, key, value) AS line
            FROM (\(ShapeQuery.features)) AS f
            UNION ALL
            SELECT pg_catalog.format('%s column %s %s %s %s %s %s', c.relname, a.attnum, a.attname,
                pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
                a.attcollation::pg_catalog.regcollation, c.relpersistence)
            FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_attribute AS a
                ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            WHERE c.oid = ANY ($1::pg_catalog.oid[])) AS l
        """
}
