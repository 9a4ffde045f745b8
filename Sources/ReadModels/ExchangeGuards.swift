import Postgres

/// Foreign keys on account of which two rows cannot exchange a unique value.
///
/// Rows that exchange a value are taken out and put in again in one statement. A foreign key that does
/// something at a DELETE - CASCADE, RESTRICT, SET NULL - does it in between.
enum ExchangeGuards {
    /// What a plan says of tables that have such a key and a further constraint on values.
    ///
    /// - Parameters:
    ///   - tables: OIDs.
    ///   - connection: Inside or outside a transaction.
    /// - Returns: A warning each.
    /// - Throws: ``ServerError``.
    static func findings(
        of tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        try await connection.query(
            """
            SELECT pg_catalog.format('foreign key %I on %s', f.conname,
                    f.conrelid::pg_catalog.regclass) AS subject,
                pg_catalog.format('it is ON DELETE %s, so a catch-up and ''follow'' end where rows of %s '
                    || 'exchange a value of %s. NO ACTION lets them', CASE f.confdeltype
                        WHEN 'c' THEN 'CASCADE' WHEN 'r' THEN 'RESTRICT' WHEN 'n' THEN 'SET NULL'
                        ELSE 'SET DEFAULT' END,
                    f.confrelid::pg_catalog.regclass, u.names) AS note
            FROM pg_catalog.pg_depend AS d
            JOIN pg_catalog.pg_constraint AS f ON f.oid = d.objid AND f.contype = 'f'
                AND f.confrelid = d.refobjid AND f.confdeltype <> 'a'
            CROSS JOIN LATERAL (
                SELECT pg_catalog.string_agg(pg_catalog.quote_ident(i.relname), ', '
                    ORDER BY i.relname) AS names
                FROM pg_catalog.pg_index AS x JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
                WHERE x.indrelid = f.confrelid AND (x.indisunique OR x.indisexclusion)
                    AND NOT x.indisprimary AND x.indexrelid <> f.conindid AND x.indimmediate
            ) AS u
            WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                AND d.refobjid = ANY ($1::pg_catalog.oid[])
                AND d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
                AND u.names IS NOT NULL
            ORDER BY 1
            """,
            [.ints(tables.map { Int64($0) })]
        ).rows.map { Finding(.warn, try $0.string("subject"), try $0.string("note")) }
    }
}
