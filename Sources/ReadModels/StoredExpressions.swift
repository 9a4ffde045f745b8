import Postgres
import Wording

/// What the server evaluates when rows are written: expressions of indexes and of their conditions, CHECK
/// constraints, generated columns.
///
/// They run under the settings of our sessions, whose search path is empty, and under the one that the server
/// sets for CREATE INDEX and its like. A function that names another one without its schema works in the
/// session of its author and fails there, when the rows are loaded.
struct StoredExpressions: Sendable {
    /// OIDs of the live tables.
    let tables: [UInt32]

    /// Evaluates each for a row that is there, as it will be.
    ///
    /// - Parameter connection: Inside a transaction.
    /// - Returns: A refusal for each that fails.
    /// - Throws: What the server says about anything else.
    func findings(on connection: PostgresConnection) async throws -> [Finding] {
        let code = try await OthersCode(of: tables, on: connection)
        var findings: [Finding] = []
        for row in try await connection.query(
            Self.query,
            [.ints(tables.map { Int64($0) })]
        ).rows {
            let table = UInt32(try row.int("oid"))
            let evaluations = Self.evaluations(
                of: row["expression"],
                where: row["condition"],
                in: try row.string("table")
            )
            guard
                let failure = try await failure(
                    of: evaluations,
                    as: code.operation(.writing, table),
                    on: connection
                )
            else { continue }
            // Rows of before may fail a check that was never asked of them.
            if failure.isAboutRows, try row.bool("is_valid") == false { continue }
            findings.append(
                Finding(
                    .refuse,
                    try row.string("subject"),
                    "it cannot be evaluated as a rebuild does, with an empty search_path: "
                        + "\(TextForPeople.oneLine(failure)). Name the schema inside the function, or give "
                        + "it the settings that it depends on, as docs/guide/your-server/types.md shows"
                )
            )
        }
        return findings
    }

    /// Queries that evaluate them for one row, of the table itself: an expression may name the table's row.
    ///
    /// The server evaluates the expressions of an index for rows that meet its condition, and for no others.
    private static func evaluations(
        of expression: String?,
        where condition: String?,
        in table: String
    ) -> [String] {
        func evaluation(of expression: String, where condition: String? = nil) -> String {
            let choice = condition.map { " WHERE \($0)" } ?? ""
            return """
                SELECT pg_catalog.count(ROW(\(expression))) FROM ONLY \(table)
                WHERE ctid = (SELECT ctid FROM ONLY \(table)\(choice) LIMIT 1)
                """
        }
        return [
            condition.map { evaluation(of: $0) },
            expression.map { evaluation(of: $0, where: condition) },
        ].compactMap { $0 }
    }

    /// - Returns: Why the first of the queries that fails does; nil where none does, or this role may not run
    ///   it.
    private func failure(
        of queries: [String],
        as operation: RestrictedOperation?,
        on connection: PostgresConnection
    ) async throws -> ServerError? {
        try await connection.execute("SAVEPOINT reprise_expression")
        var failure: ServerError?
        do {
            for query in queries { _ = try await connection.number(query, as: operation) }
        } catch let error as ServerError where !error.isLockFailure && !error.isTransient {
            failure = error.sqlState == "42501" ? nil : error
        }
        try await connection.execute("ROLLBACK TO SAVEPOINT reprise_expression")
        return failure
    }

    private static let query = """
        WITH relation AS (
            SELECT c.oid, c.oid::pg_catalog.regclass::pg_catalog.text AS name FROM pg_catalog.pg_class AS c
            WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND c.relkind IN ('r', 'p')
        )
        SELECT r.oid, r.name AS table, pg_catalog.format('index %s on %s',
                i.indexrelid::pg_catalog.regclass, r.name) AS subject,
            pg_catalog.pg_get_expr(i.indexprs, r.oid) AS expression,
            pg_catalog.pg_get_expr(i.indpred, r.oid) AS condition, true AS is_valid
        FROM relation AS r JOIN pg_catalog.pg_index AS i ON i.indrelid = r.oid
        WHERE i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
        UNION ALL
        SELECT r.oid, r.name, pg_catalog.format('constraint %I on %s', k.conname, r.name),
            pg_catalog.pg_get_expr(k.conbin, r.oid), NULL, k.convalidated
        FROM relation AS r JOIN pg_catalog.pg_constraint AS k ON k.conrelid = r.oid
        WHERE k.contype = 'c'
        UNION ALL
        SELECT r.oid, r.name, pg_catalog.format('generated column %I of %s', a.attname, r.name),
            pg_catalog.pg_get_expr(d.adbin, r.oid), NULL, true
        FROM relation AS r
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid AND a.attgenerated <> ''
            AND NOT a.attisdropped
        JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = r.oid AND d.adnum = a.attnum
        ORDER BY 1, 3
        """
}
