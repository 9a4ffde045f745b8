import Postgres

/// Indexes and constraints of tables, as statements to run after the rows are loaded.
///
/// Loading into an indexed table takes 3 to 5 times as long as indexing afterwards. The text is
/// captured with the tables' own schema first on the search path, so that what belongs to the same
/// schema prints unqualified and the statement builds its twin wherever it is run.
struct DeferredDefinitions: Sendable {
    /// Runs on one table; statements of different tables may run side by side.
    struct OfTable: Sendable {
        let table: String
        /// Primary key, unique and exclusion constraints and plain indexes, then their marks and
        /// comments.
        var indexes: [String] = []
    }

    var tables: [OfTable]
    /// Foreign keys: added NOT VALID, then validated, when every table has its indexes.
    var foreignKeys: [String] = []
    /// Statements that take the same indexes and constraints off freshly created tables.
    var removal: [String] = []

    /// Captures what tables in `schema` have.
    ///
    /// - Parameters:
    ///   - names: The tables, unqualified.
    ///   - schema: Where they are.
    ///   - searchPath: `schema` first, then others that their definitions may name.
    ///   - connection: Where to ask, inside a transaction.
    /// - Returns: The statements, by table.
    /// - Throws: The server's error.
    static func capture(
        of names: [String],
        in schema: String,
        searchPath: [String],
        on connection: PostgresConnection
    ) async throws -> DeferredDefinitions {
        try await connection.setSearchPath(searchPath)
        var definitions = DeferredDefinitions(tables: names.map { OfTable(table: $0) })
        let constraints = try await connection.query(
            constraintsQuery,
            [.text(schema), .texts(names)]
        )
        for row in constraints.rows { try definitions.addConstraint(row) }
        let indexes = try await connection.query(indexesQuery, [.text(schema), .texts(names)])
        for row in indexes.rows { try definitions.addIndex(row) }
        return definitions
    }

    private mutating func addConstraint(_ row: QueryRow) throws {
        let table = try row.string("table_name")
        let name = try row.string("name")
        let quotedTable = SQLText.identifier(table)
        let quotedName = SQLText.identifier(name)
        let definition = try row.string("definition")
        let comment = row["comment"].map {
            "COMMENT ON CONSTRAINT \(quotedName) ON \(quotedTable) IS \(SQLText.literal($0))"
        }
        // Foreign keys come off first: they need the unique index of the table they refer to.
        let drop = "ALTER TABLE \(quotedTable) DROP CONSTRAINT \(quotedName)"
        if try row.string("kind") == "f" {
            let isDeclaredNotValid = definition.hasSuffix(" NOT VALID")
            foreignKeys.append(
                "ALTER TABLE \(quotedTable) ADD CONSTRAINT \(quotedName) \(definition)"
                    + (isDeclaredNotValid ? "" : " NOT VALID")
            )
            if !isDeclaredNotValid {
                foreignKeys.append("ALTER TABLE \(quotedTable) VALIDATE CONSTRAINT \(quotedName)")
            }
            if let comment { foreignKeys.append(comment) }
            removal.insert(drop, at: 0)
        } else {
            var statements = [
                "ALTER TABLE \(quotedTable) ADD CONSTRAINT \(quotedName) \(definition)"
            ]
            if let comment { statements.append(comment) }
            append(statements + marks(row, table: quotedTable, index: quotedName), to: table)
            removal.append(drop)
        }
    }

    private mutating func addIndex(_ row: QueryRow) throws {
        let table = try row.string("table_name")
        let index = SQLText.identifier(try row.string("name"))
        append(
            [try row.string("definition")]
                + marks(row, table: SQLText.identifier(table), index: index),
            to: table
        )
        removal.append("DROP INDEX \(index)")
    }

    private func marks(_ row: QueryRow, table: String, index: String) -> [String] {
        var statements: [String] = []
        if let comment = row["index_comment"] {
            statements.append("COMMENT ON INDEX \(index) IS \(SQLText.literal(comment))")
        }
        if row["is_clustered"] == "t" {
            statements.append("ALTER TABLE \(table) CLUSTER ON \(index)")
        }
        if row["is_replica_identity"] == "t" {
            statements.append("ALTER TABLE \(table) REPLICA IDENTITY USING INDEX \(index)")
        }
        return statements
    }

    private mutating func append(_ statements: [String], to table: String) {
        guard let place = tables.firstIndex(where: { $0.table == table }) else { return }
        tables[place].indexes += statements
    }

    // The pretty form leaves out the schema of what the search path finds; the plain form of
    // pg_get_indexdef always writes it (ruleutils.c, pg_get_indexdef_worker).
    private static let constraintsQuery = """
        SELECT c.relname AS table_name, o.conname AS name, o.contype AS kind,
            pg_catalog.pg_get_constraintdef(o.oid, true) AS definition,
            pg_catalog.obj_description(o.oid, 'pg_constraint') AS comment,
            pg_catalog.obj_description(o.conindid, 'pg_class') AS index_comment,
            coalesce(i.indisclustered, false) AS is_clustered,
            coalesce(i.indisreplident, false) AS is_replica_identity
        FROM pg_catalog.pg_constraint AS o
        JOIN pg_catalog.pg_class AS c ON c.oid = o.conrelid
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        LEFT JOIN pg_catalog.pg_index AS i
            ON i.indexrelid = o.conindid AND o.contype IN ('p', 'u', 'x')
        WHERE n.nspname = $1 AND c.relname = ANY ($2::pg_catalog.text[])
            AND o.contype IN ('p', 'u', 'x', 'f')
        ORDER BY c.relname, o.contype = 'f', o.contype <> 'p', o.conname
        """

    private static let indexesQuery = """
        SELECT c.relname AS table_name, x.relname AS name,
            pg_catalog.pg_get_indexdef(x.oid, 0, true) AS definition,
            pg_catalog.obj_description(x.oid, 'pg_class') AS index_comment,
            i.indisclustered AS is_clustered, i.indisreplident AS is_replica_identity
        FROM pg_catalog.pg_index AS i
        JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
        JOIN pg_catalog.pg_class AS c ON c.oid = i.indrelid
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relname = ANY ($2::pg_catalog.text[])
            AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_constraint AS o
                WHERE o.conindid = i.indexrelid AND o.contype IN ('p', 'u', 'x'))
        ORDER BY c.relname, x.relname
        """
}

extension PostgresConnection {
    /// Sets the search path for the rest of the transaction.
    ///
    /// `pg_temp` comes last: left out, it would be searched first (manual, `search_path`).
    func setSearchPath(_ schemas: [String]) async throws {
        try await setSearchPath(schemas, isLocal: true)
    }

    /// Sets it for the rest of the session, for statements that each are their own transaction.
    func setSessionSearchPath(_ schemas: [String]) async throws {
        try await setSearchPath(schemas, isLocal: false)
    }

    private func setSearchPath(_ schemas: [String], isLocal: Bool) async throws {
        let path = (schemas + ["pg_temp"]).map(SQLText.identifier).joined(separator: ", ")
        try await query(
            "SELECT pg_catalog.set_config('search_path', $1, $2)",
            [.text(path), .bool(isLocal)]
        )
    }
}
