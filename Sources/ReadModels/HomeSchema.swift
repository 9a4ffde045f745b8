import Postgres

/// The schema in which the tables of a generation are while they are not live.
enum HomeSchema {
    /// The name that a person would look for, such as `shop__g7`.
    ///
    /// A projection's name has 40 characters at most, so it is never cut at 63 bytes, here or in
    /// ``free(for:generation:on:)``.
    static func usual(of projection: String, generation: Int) -> String {
        "\(projection)__g\(generation)"
    }

    /// A name that no schema has: the usual one, or where that is taken one that nobody foresees.
    ///
    /// What Reprise did not make is nobody's to fill, and everybody with CREATE on the database could
    /// keep a generation from its home.
    static func free(
        for projection: String,
        generation: Int,
        on connection: PostgresConnection
    ) async throws -> String {
        let usual = usual(of: projection, generation: generation)
        return try await connection.hasSchema(usual) ? unforeseen(usual) : usual
    }

    /// The same for a schema that the open transaction makes next: one that another transaction has
    /// made and not committed has the name as well.
    static func makeable(
        for projection: String,
        generation: Int,
        on connection: PostgresConnection
    ) async throws -> String {
        let name = try await free(for: projection, generation: generation, on: connection)
        do {
            try await connection.execute(
                """
                SAVEPOINT home; SET LOCAL lock_timeout = '1s';
                CREATE SCHEMA \(SQLText.identifier(name));
                ROLLBACK TO home; RELEASE home
                """
            )
            return name
        } catch let error as ServerError where error.isLockFailure || error.isNameTaken {
            try await connection.execute("ROLLBACK TO home; RELEASE home")
        } catch let error as ServerError where error.sqlState == "42501" {
            // The plan names the right that lacks, and the one who makes the schema meets it again.
            try await connection.execute("ROLLBACK TO home; RELEASE home")
            return name
        }
        return unforeseen(usual(of: projection, generation: generation))
    }

    /// Makes it, with all rights for its owner: default privileges may have taken some of them.
    static func make(_ name: String, on connection: PostgresConnection) async throws {
        let schema = SQLText.identifier(name)
        try await connection.execute("CREATE SCHEMA \(schema)")
        let row = try await connection.query(
            """
            SELECT pg_catalog.has_schema_privilege($1, 'USAGE')
                AND pg_catalog.has_schema_privilege($1, 'CREATE') AS is_usable
            """,
            [.text(name)]
        ).first
        guard try row?.bool("is_usable") == false else { return }
        try await connection.execute("GRANT ALL ON SCHEMA \(schema) TO CURRENT_USER")
    }

    private static func unforeseen(_ usual: String) -> String {
        let number = String(UInt32.random(in: .min ... .max), radix: 16)
        return "\(usual)_\(String(repeating: "0", count: 8 - number.count))\(number)"
    }

    /// What a plan says of a home that has not its usual name; nil when it has.
    static func note(
        _ name: String,
        for projection: String,
        generation: Int
    ) -> String? {
        let usual = usual(of: projection, generation: generation)
        guard name != usual else { return nil }
        return "The schema '\(usual)' was not made by Reprise: while generation \(generation) "
            + "is not live, its tables are in a schema '\(usual)_…'"
    }
}
