import Postgres

/// What a table has besides columns, constraints and indexes, and `CREATE TABLE … (LIKE …)` leaves
/// out: statistics, and the options of columns and of the TOAST table.
enum CloneMarks {
    /// Statements that put the marks of a table onto its clone.
    ///
    /// - Parameters:
    ///   - table: The live table.
    ///   - clone: The clone's name.
    ///   - connection: Where to ask, and to run them with the clone's schema first on the search
    ///     path.
    /// - Returns: The statements, in order.
    /// - Throws: ``ServerError``.
    static func statements(
        of table: TableDescription,
        for clone: QualifiedName,
        on connection: PostgresConnection
    ) async throws -> [String] {
        try await connection.setSearchPath([table.name.schema])
        let result = try await connection.query(
            query,
            [
                .int(Int64(table.oid)), .text(clone.sql),
                .text(SQLText.identifier(clone.schema)),
            ]
        )
        return result.rows.compactMap { $0["statement"] }
    }

    // The definition of a statistics object begins with its qualified name, which is cut off; the
    // name of the table prints unqualified, because it is on the search path.
    private static let query = """
        SELECT pg_catalog.format('ALTER TABLE %s ALTER %I SET STATISTICS %s', $2::pg_catalog.text,
            attname, attstattarget) AS statement
        FROM pg_catalog.pg_attribute
        WHERE attrelid = $1::pg_catalog.oid AND attnum > 0 AND NOT attisdropped
            AND attstattarget >= 0
        UNION ALL
        SELECT pg_catalog.format('ALTER TABLE %s ALTER %I SET (%s)', $2, attname,
            pg_catalog.array_to_string(attoptions, ', '))
        FROM pg_catalog.pg_attribute
        WHERE attrelid = $1::pg_catalog.oid AND attnum > 0 AND NOT attisdropped
            AND attoptions IS NOT NULL
        UNION ALL
        SELECT pg_catalog.format('ALTER TABLE %s SET (toast.%I = %L)', $2, o.option_name,
            o.option_value)
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_class AS t ON t.oid = c.reltoastrelid,
            LATERAL pg_catalog.pg_options_to_table(t.reloptions) AS o
        WHERE c.oid = $1::pg_catalog.oid
        UNION ALL
        SELECT pg_catalog.unnest(ARRAY[
            'CREATE STATISTICS ' || n.name || pg_catalog.substr(
                pg_catalog.pg_get_statisticsobjdef(s.oid), pg_catalog.length(
                    'CREATE STATISTICS ' || s.stxnamespace::pg_catalog.regnamespace || '.'
                    || pg_catalog.quote_ident(s.stxname)) + 1),
            CASE WHEN s.stxstattarget >= 0 THEN pg_catalog.format(
                'ALTER STATISTICS %s SET STATISTICS %s', n.name, s.stxstattarget) END,
            'COMMENT ON STATISTICS ' || n.name || ' IS ' || pg_catalog.quote_literal(
                pg_catalog.obj_description(s.oid, 'pg_statistic_ext'))])
        FROM pg_catalog.pg_statistic_ext AS s
        CROSS JOIN LATERAL (
            SELECT $3 || '.' || pg_catalog.quote_ident(s.stxname) AS name) AS n
        WHERE s.stxrelid = $1::pg_catalog.oid
        """
}
