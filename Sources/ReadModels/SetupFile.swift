import Postgres

/// A projection's `setup.sql`, run in the live schema.
///
/// Its statements are committed before anything is planned, and most of the time they find what an
/// earlier run has made. A `DROP TABLE IF EXISTS` or a DELETE that slipped in would reach what readers
/// use, so the locks that the file leaves tell what it has touched, by whatever code: a
/// statement, a DO block or a function.
struct SetupFile: Sendable {
    let text: String
    let projection: String
    let liveSchema: String
    /// Names of the tables that the projection declares.
    let declared: [String]

    /// Runs the file in the open transaction.
    ///
    /// - Throws: ``ReadModelError/refusedByPlan(projection:reasons:)`` when it fails, or changes a
    ///   table of a generation or of the bookkeeping; the caller then rolls back.
    func run(on connection: PostgresConnection) async throws {
        let locks = RelationLocks(besides: "", modes: RelationLocks.changing)
        let known = try await locks.strong(on: connection)
        let tables = try await guardedTables(on: connection)
        let before = try await parts(of: tables, on: connection)
        try await connection.setSearchPath([liveSchema])
        try await SQLFile(name: "setup.sql", text: text).run(for: projection, on: connection)
        // What a deferred trigger does belongs to the file as well.
        try await SQLFile(name: "setup.sql", text: "SET CONSTRAINTS ALL IMMEDIATE").run(
            for: projection,
            on: connection
        )
        let taken = Set(try await locks.strong(on: connection).subtracting(known).map(\.relation))
        let parts = try await parts(of: tables, on: connection).merging(before) { $1 }
        let touched = Set(taken.compactMap { tables[$0] ?? parts[$0] }).sorted()
        guard touched.isEmpty else {
            throw ReadModelError.refusedByPlan(
                projection: projection,
                reasons: touched.map {
                    "setup.sql changes \($0). It may make what the tables need, and leaves tables "
                        + "alone that are there: take DROP, TRUNCATE, DELETE, ALTER and their like out."
                }
            )
        }
    }

    /// What the file has to leave alone, by OID: the tables of every generation there is, those that
    /// the projection would adopt, and the bookkeeping.
    private func guardedTables(on connection: PostgresConnection) async throws -> [Int64: String] {
        let hasRecords = try await Bookkeeping.version(on: connection) > 0
        let rows = try await connection.query(
            (hasRecords ? Self.recordedQuery + "\nUNION ALL\n" : "") + Self.declaredQuery,
            [.text(liveSchema), .texts(declared)]
        ).rows
        // Of two descriptions of one table the first knows more.
        return try Dictionary(
            rows.map { (try $0.int("oid"), try $0.string("description")) },
            uniquingKeysWith: { first, _ in first }
        )
    }

    /// Their indexes, and the sequences that their columns own.
    private func parts(
        of tables: [Int64: String],
        on connection: PostgresConnection
    ) async throws -> [Int64: String] {
        let rows = try await connection.query(
            Self.partsQuery,
            [.ints(tables.keys.sorted())]
        ).rows
        return try Dictionary(
            rows.map { (try $0.int("oid"), tables[try $0.int("owner")] ?? "") },
            uniquingKeysWith: { first, _ in first }
        )
    }
}

extension SetupFile {
    private static let recordedQuery = """
        SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname) || CASE g.state
            WHEN 'live' THEN ', a live table of ''' || g.projection || ''''
            ELSE ', a table of generation ' || g.generation || ' of ''' || g.projection || ''''
            END AS description
        FROM reprise.generation AS g
        JOIN reprise.generation_table AS t USING (projection, generation)
        JOIN pg_catalog.pg_class AS c ON c.oid = t.table_oid
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE g.state NOT IN ('dropped', 'replaced')
        UNION ALL
        SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname)
            || ', a part of the bookkeeping'
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = 'reprise' AND c.relkind IN ('r', 'v', 'S')
        """

    private static let declaredQuery = """
        SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname) || ', a live table'
            AS description
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relname = ANY ($2::pg_catalog.text[])
        """

    private static let partsQuery = """
        SELECT indexrelid AS oid, indrelid AS owner FROM pg_catalog.pg_index
        WHERE indrelid = ANY ($1::pg_catalog.oid[])
        UNION ALL
        SELECT d.objid, d.refobjid FROM pg_catalog.pg_depend AS d
        JOIN pg_catalog.pg_class AS c ON c.oid = d.objid AND c.relkind = 'S'
        WHERE d.classid = 'pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i')
            AND d.refclassid = 'pg_class'::pg_catalog.regclass
            AND d.refobjid = ANY ($1::pg_catalog.oid[])
        """
}
