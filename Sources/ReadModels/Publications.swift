import Postgres

/// Publications that list live tables by name: membership is bound to the OID.
///
/// The rebuilt rows are not sent to subscribers, so a swap of a published table needs a consent.
enum Publications {
    /// Captures the memberships, with column lists and row filters.
    static func capture(
        of tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [CarriedObject] {
        try await CarriedObject.ask(query, for: .publication, of: tables, on: connection)
    }

    private static let query = """
        SELECT pg_catalog.format('publication %I of %s', p.pubname,
                r.prrelid::pg_catalog.regclass) AS subject,
            'lists the new table, and its rows are not sent: a subscriber keeps the old ones. At the first '
                || 'new row whose key it has already it stops for all its tables '
                || '(docs/guide/your-server/subscribers.md says what to do first)' AS note,
            NULL AS locked,
            pg_catalog.format('ALTER PUBLICATION %I DROP TABLE ONLY %s', p.pubname,
                r.prrelid::pg_catalog.regclass) AS release,
            pg_catalog.format('ALTER PUBLICATION %I ADD TABLE ONLY %s%s%s', p.pubname,
                r.prrelid::pg_catalog.regclass,
                (SELECT ' (' || pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', '
                        ORDER BY a.attnum) || ')'
                 FROM pg_catalog.pg_attribute AS a
                 WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs)),
                ' WHERE (' || pg_catalog.pg_get_expr(r.prqual, r.prrelid)
                    || ')') AS restore_1,
            NULL AS restore_2, NULL AS restore_3, r.prrelid AS tree_host, p.pubname AS tree_name
        FROM pg_catalog.pg_publication_rel AS r
        JOIN pg_catalog.pg_publication AS p ON p.oid = r.prpubid
        WHERE r.prrelid = ANY ($1::pg_catalog.oid[])
        ORDER BY p.pubname, r.prrelid::pg_catalog.regclass::pg_catalog.text
        """
}
