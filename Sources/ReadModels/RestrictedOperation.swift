import Postgres

/// Statements that evaluate what the owner of a table wrote, run with this owner's rights and no others.
///
/// PostgreSQL maintains tables of others in a security-restricted operation: CREATE INDEX, ANALYZE and
/// REFRESH MATERIALIZED VIEW run as the owner, who can neither change the role or a setting for good
/// nor leave a deferred trigger to the end of the transaction. No statement enters such an operation
/// for anything else. So the statements are the body of a function that the query of a materialized
/// view calls, and both are the owner's: REFRESH runs them. SET ROLE would not do, because the code that
/// it is to confine can reset it.
struct RestrictedOperation: Sendable {
    /// Whose rights the statements have.
    let owner: String

    /// Runs definitions, such as ALTER TABLE … ADD CHECK, which evaluates constants.
    ///
    /// - Parameters:
    ///   - statements: In this order.
    ///   - path: The search path under which they are read.
    ///   - connection: Inside a transaction. The owner needs USAGE on the schemas that are named.
    /// - Throws: ``ServerError``, as the statement on its own.
    func define(
        _ statements: [String],
        under path: String,
        on connection: PostgresConnection
    ) async throws {
        let body = statements.map { "EXECUTE \(SQLText.literal($0));" }.joined(separator: "\n")
        try await run(
            """
            LANGUAGE plpgsql SET search_path = \(path), pg_temp
            AS \(SQLText.literal("BEGIN\n\(body)\nRETURN 1;\nEND"))
            """,
            on: connection
        )
    }

    /// Runs definitions of tables in a home schema, on which their owner has no right otherwise.
    func define(
        _ statements: [String],
        in homeSchema: String,
        on connection: PostgresConnection
    ) async throws {
        let schema = SQLText.identifier(homeSchema)
        let role = SQLText.identifier(owner)
        try await connection.execute("GRANT USAGE ON SCHEMA \(schema) TO \(role)")
        try await define(statements, under: "pg_catalog", on: connection)
        try await connection.execute("REVOKE USAGE ON SCHEMA \(schema) FROM \(role)")
    }

    /// Runs an INSERT, UPDATE or DELETE.
    ///
    /// Names are resolved here, so that the owner needs no right on the schema of its own table.
    ///
    /// - Parameters:
    ///   - statement: Without RETURNING.
    ///   - expression: What it can read under a name, as `gone AS (…)`, in the same statement.
    ///   - connection: Inside a transaction.
    /// - Returns: How many rows it changed.
    /// - Throws: ``ServerError``, as the statement on its own.
    func change(
        _ statement: String,
        with expression: String? = nil,
        on connection: PostgresConnection
    ) async throws -> Int {
        // A table's own deferred foreign keys cannot wait in such an operation.
        try await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        let count = try await number(
            "WITH \(expression.map { "\($0), " } ?? "")changed AS (\(statement) RETURNING 1)",
            "SELECT pg_catalog.count(*) FROM changed",
            on: connection
        )
        return Int(count ?? 0)
    }

    /// Runs a query of one number.
    ///
    /// - Parameters:
    ///   - query: Its one column is an int8, and it has one row.
    ///   - connection: Inside a transaction.
    /// - Returns: The number; nil for NULL.
    /// - Throws: ``ServerError``, as the query on its own.
    func number(_ query: String, on connection: PostgresConnection) async throws -> Int64? {
        try await number("", query, on: connection)
    }

    // What the materialized view holds is its owner's to index, so the answer comes by a table.
    private func number(
        _ expressions: String,
        _ query: String,
        on connection: PostgresConnection
    ) async throws -> Int64? {
        try await connection.execute(
            """
            CREATE TEMPORARY TABLE reprise_number (value pg_catalog.int8) ON COMMIT DROP;
            \(StagingTable.openRows(of: "pg_temp.reprise_number"));
            GRANT INSERT ON pg_temp.reprise_number TO \(SQLText.identifier(owner))
            """
        )
        try await run(
            """
            LANGUAGE sql BEGIN ATOMIC
            \(expressions) INSERT INTO pg_temp.reprise_number \(query);
            SELECT 1;
            END
            """,
            on: connection
        )
        let answer = try await connection.query("SELECT value FROM pg_temp.reprise_number").first
        try await connection.execute("DROP TABLE pg_temp.reprise_number")
        return try answer?.optionalInt("value")
    }

    /// Runs a function by REFRESH, in a schema that is gone again afterwards.
    private func run(_ function: String, on connection: PostgresConnection) async throws {
        let schema = "reprise_\(String(UInt64.random(in: .min ... .max), radix: 16))"
        let role = SQLText.identifier(owner)
        try await connection.execute(
            """
            CREATE SCHEMA \(schema);
            GRANT CREATE ON SCHEMA \(schema) TO \(role);
            CREATE FUNCTION \(schema).work() RETURNS pg_catalog.int4 \(function);
            ALTER FUNCTION \(schema).work() OWNER TO \(role);
            CREATE MATERIALIZED VIEW \(schema).worker AS SELECT \(schema).work() WITH NO DATA;
            ALTER MATERIALIZED VIEW \(schema).worker OWNER TO \(role);
            REFRESH MATERIALIZED VIEW \(schema).worker;
            DROP MATERIALIZED VIEW \(schema).worker;
            DROP FUNCTION \(schema).work();
            DROP SCHEMA \(schema)
            """
        )
    }
}

extension PostgresConnection {
    /// Runs a query of one number, as another role where one is named, in the open transaction.
    func number(_ query: String, as operation: RestrictedOperation?) async throws -> Int64? {
        guard let operation else {
            let answer = try await self.query("SELECT value FROM (\(query)) AS q (value)").first
            return try answer?.optionalInt("value")
        }
        return try await operation.number(query, on: self)
    }
}
