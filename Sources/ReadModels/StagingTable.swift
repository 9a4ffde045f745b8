import Postgres

/// A temporary table of the session that takes rows on their way into another one.
///
/// Its columns have the base types of those they are for: what a domain checks is evaluated when the
/// rows go into the table, with the rights of that statement. Those whose values travel as text are text.
struct StagingTable: Sendable {
    let name: QualifiedName

    /// Names one of the session's.
    init(_ name: String) {
        self.name = QualifiedName(schema: "pg_temp", name: name)
    }

    /// Makes it, empty.
    ///
    /// - Parameters:
    ///   - table: OID of the table that the rows are for.
    ///   - columns: Names of its columns.
    ///   - casts: Those of them whose values travel as text.
    ///   - first: Definition of a column in front of them.
    ///   - last: Definition of a column behind them.
    ///   - ending: What the end of a transaction does to it.
    ///   - connection: The session.
    /// - Throws: ``ServerError``.
    func make(
        for table: UInt32,
        _ columns: [String],
        passing casts: [String: String] = [:],
        behind first: String? = nil,
        before last: String? = nil,
        onCommit ending: String,
        on connection: PostgresConnection
    ) async throws {
        let rows = try await connection.query(
            Self.columnsQuery,
            [.int(Int64(table)), .texts(columns)]
        ).rows
        let types = try zip(columns, rows).map { column, row in
            casts[column] == nil ? try row.string("type") : "pg_catalog.text"
        }
        let definitions =
            [first].compactMap { $0 }
            + zip(columns, types).map { name, type in "\(SQLText.identifier(name)) \(type)" }
            + [last].compactMap { $0 }
        try await connection.execute(
            "CREATE TEMPORARY TABLE \(SQLText.identifier(name.name)) "
                + "(\(definitions.joined(separator: ", "))) ON COMMIT \(ending); "
                // Default privileges can take rights from the one who makes it.
                + "GRANT ALL ON TABLE \(name.sql) TO CURRENT_USER; \(Self.openRows(of: name.sql))"
        )
    }

    /// OIDs of the types of its columns, in their order.
    ///
    /// - Throws: ``ServerError``.
    func columnTypes(on connection: PostgresConnection) async throws -> [UInt32] {
        try await connection.query(
            """
            SELECT a.atttypid FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = $1::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped
            ORDER BY a.attnum
            """,
            [.text(name.sql)]
        ).rows.map { UInt32(try $0.int("atttypid")) }
    }

    /// What stands behind FROM for its rows, with the alias `s`: values that travelled as text have their
    /// types there.
    ///
    /// - Parameters:
    ///   - columns: Names of its columns.
    ///   - casts: The types of those that are text, by column.
    /// - Returns: The text.
    func rows(_ columns: [String], casting casts: [String: String]) -> String {
        guard !casts.isEmpty else { return "\(name.sql) AS s" }
        let list = columns.map { column in
            let name = SQLText.identifier(column)
            return casts[column].map { "r.\(name)::\($0) AS \(name)" } ?? "r.\(name)"
        }
        return "(SELECT r.ctid, \(list.joined(separator: ", ")) FROM \(name.sql) AS r) AS s"
    }

    /// A statement that takes off a new table what event triggers of row-level security do to each.
    static func openRows(of table: String) -> String {
        "ALTER TABLE \(table) DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY"
    }

    /// Lets a role do something with it.
    func grant(
        _ privilege: String,
        to operation: RestrictedOperation,
        on connection: PostgresConnection
    ) async throws {
        try await connection.execute(
            "GRANT \(privilege) ON \(name.sql) TO \(SQLText.identifier(operation.owner))"
        )
    }

    private static let columnsQuery = """
        WITH RECURSIVE base AS (
            SELECT a.attname, w.place, a.atttypid, a.atttypmod, a.attcollation
            FROM pg_catalog.unnest($2::pg_catalog.text[]) WITH ORDINALITY AS w (name, place)
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = $1::pg_catalog.oid
                AND a.attname = w.name AND a.attnum > 0
            UNION ALL
            SELECT b.attname, b.place, t.typbasetype,
                CASE WHEN b.atttypmod < 0 THEN t.typtypmod ELSE b.atttypmod END, b.attcollation
            FROM base AS b JOIN pg_catalog.pg_type AS t ON t.oid = b.atttypid AND t.typtype = 'd'
        )
        SELECT pg_catalog.format('%s %s', pg_catalog.format_type(b.atttypid, b.atttypmod),
            CASE WHEN b.attcollation <> t.typcollation
                THEN 'COLLATE ' || b.attcollation::pg_catalog.regcollation END) AS type
        FROM base AS b JOIN pg_catalog.pg_type AS t ON t.oid = b.atttypid AND t.typtype <> 'd'
        ORDER BY b.place
        """
}
