import Postgres

/// Functions in PL/pgSQL with variables of a live table's row type.
///
/// An open session that has run one keeps the type of the generation that was live then. When that
/// generation is dropped, some of its statements end with "cache lookup failed for type", until the session
/// ends or the function's row in the catalogue is written.
enum RowVariables {
    /// Finds them, by their text: the server records nothing of it.
    ///
    /// - Parameters:
    ///   - tables: OIDs of live tables.
    ///   - connection: Inside or outside a transaction.
    /// - Returns: A warning each, with what to type.
    /// - Throws: ``ServerError``.
    static func findings(
        of tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        try await connection.query(query, [.ints(tables.map { Int64($0) })]).rows.map { row in
            let statement = try row.string("statement")
            return Finding(
                .warn,
                try row.string("name"),
                "it has a variable of the row type of \(try row.string("tables")). A session that has "
                    + "run it may get \"cache lookup failed for type\" once the generation that it knows is "
                    + "dropped. After the swap, \(statement) prevents that; a hook can do it"
            )
        }
    }

    // Names are matched as they are written, with or without quotes and schema.
    private static let query = #"""
        SELECT CASE p.prokind WHEN 'p' THEN 'procedure ' ELSE 'function ' END
                || p.oid::pg_catalog.regprocedure AS name,
            -- What changes nothing but the version of the row.
            CASE p.prokind WHEN 'p' THEN pg_catalog.format('ALTER PROCEDURE %s SECURITY %s',
                    p.oid::pg_catalog.regprocedure,
                    CASE WHEN p.prosecdef THEN 'DEFINER' ELSE 'INVOKER' END)
                ELSE pg_catalog.format('ALTER FUNCTION %s COST %s',
                    p.oid::pg_catalog.regprocedure, p.procost) END AS statement,
            pg_catalog.string_agg(c.oid::pg_catalog.regclass::pg_catalog.text, ', ') AS tables
        FROM pg_catalog.pg_class AS c
        CROSS JOIN pg_catalog.pg_language AS l
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        JOIN pg_catalog.pg_proc AS p ON p.prolang = l.oid AND p.prosrc ~* (
            '(?:^|[;\s])(?!(?:analyze|and|as|by|cluster|else|elsif|exists|from|if|in|into|'
            || 'join|lock|not|of|on|only|or|refresh|return|select|set|table|the|then|truncate|update|'
            || 'using|vacuum|when|where|with)\s)[^\s;:=(),.%|<>]+\s+(?:constant\s+)?(?:"?'
            || pg_catalog.regexp_replace(n.nspname, '([^a-zA-Z0-9_])', '\\\1', 'g')
            || '"?\s*\.\s*)?"?' || pg_catalog.regexp_replace(c.relname, '([^a-zA-Z0-9_])', '\\\1', 'g')
            || '"?\s*(?:%\s*rowtype|\[|;|:=|=|array\y|default\y|not\s+null\y)')
        WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND l.lanname = 'plpgsql'
        GROUP BY p.oid, p.prokind, p.prosecdef, p.procost ORDER BY p.oid::pg_catalog.regprocedure::pg_catalog.text
        """#
}
