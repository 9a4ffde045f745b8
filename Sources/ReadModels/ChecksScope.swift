import Postgres

extension SQLChecks {
    /// What the queries read: tables, also those behind views.
    ///
    /// It is found without planning a query, because a planner computes constants of index and
    /// statistics expressions of all that is read: the server records what the body of a function depends
    /// on.
    ///
    /// - Parameters:
    ///   - searchPath: The schemas in which the queries find their tables.
    ///   - connection: Inside a transaction, in which nothing of it stays.
    /// - Returns: OIDs; nil where the file has other statements than queries. What cannot be read says so
    ///   when it is run.
    /// - Throws: ``ServerError``.
    func relationsRead(
        searchPath: [String],
        on connection: PostgresConnection
    ) async throws -> [UInt32]? {
        guard let queries = SQLFile(name: "checks.sql", text: text).queries else { return nil }
        try await connection.execute("SAVEPOINT reprise_scope")
        for (number, query) in queries.enumerated() {
            try await connection.setSearchPath(searchPath)
            try await connection.execute("SAVEPOINT reprise_query")
            do {
                try await connection.execute(
                    """
                    CREATE FUNCTION pg_temp.reprise_scope_\(number)() RETURNS pg_catalog.void
                    LANGUAGE sql BEGIN ATOMIC \(query)\n; END
                    """
                )
            } catch is ServerError {
                try await connection.execute("ROLLBACK TO SAVEPOINT reprise_query")
            }
        }
        let found = try await connection.query(Self.scopeQuery)
        try await connection.execute("ROLLBACK TO SAVEPOINT reprise_scope")
        return try found.rows.map { UInt32(try $0.int("oid")) }
    }

    private static let scopeQuery = """
        WITH RECURSIVE read (oid) AS (
            SELECT d.refobjid FROM pg_catalog.pg_proc AS p
            JOIN pg_catalog.pg_depend AS d ON d.objid = p.oid
                AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
            WHERE p.pronamespace = pg_catalog.pg_my_temp_schema()
                AND p.proname ~ '^reprise_scope_[0-9]+$'
            UNION
            SELECT d.refobjid FROM read
            JOIN pg_catalog.pg_rewrite AS r ON r.ev_class = read.oid
            JOIN pg_catalog.pg_depend AS d ON d.objid = r.oid
                AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        )
        SELECT read.oid FROM read
        """
}
