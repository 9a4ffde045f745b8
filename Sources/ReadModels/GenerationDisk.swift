import Postgres

/// What generations take on disk.
enum GenerationDisk {
    /// Bytes of the tables of each generation, indexes included, by its number.
    ///
    /// A table is counted where it has both the recorded number and the recorded name. The server takes a
    /// reader's lock on it for a moment.
    static func bytes(
        of generations: [GenerationRecord],
        on connection: PostgresConnection
    ) async throws -> [Int: Int64] {
        let parts = generations.filter(\.hasTables).flatMap { generation in
            (generation.tables + generation.materializedViews).map { (generation.number, $0) }
        }
        let result = try await connection.query(
            """
            SELECT k.generation, sum(pg_catalog.pg_total_relation_size(c.oid))::pg_catalog.int8 AS bytes
            FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.int8[]),
                pg_catalog.unnest($2::pg_catalog.oid[]), pg_catalog.unnest($3::pg_catalog.text[]))
                AS k (generation, oid, name)
            JOIN pg_catalog.pg_class AS c ON c.oid = k.oid AND c.relname = k.name
            GROUP BY k.generation
            """,
            [
                .ints(parts.map { Int64($0.0) }), .ints(parts.map { Int64($0.1.oid) }),
                .texts(parts.map(\.1.name)),
            ]
        )
        return try Dictionary(
            uniqueKeysWithValues: result.rows.compactMap { row in
                try row.optionalInt("bytes").map { (Int(try row.int("generation")), $0) }
            }
        )
    }

    /// The same outside of a transaction; empty where somebody keeps a table locked.
    static func bytesIfFree(
        of generations: [GenerationRecord],
        on connection: PostgresConnection
    ) async throws -> [Int: Int64] {
        try await ifFree(on: connection) { try await bytes(of: generations, on: $0) } ?? [:]
    }

    /// Pages of a table's rows, as its file has them: what statistics say of it may be old, or nothing.
    ///
    /// - Returns: Nil where the table is not there, or somebody keeps it locked.
    static func pagesIfFree(of table: UInt32, on connection: PostgresConnection) async throws
        -> Int64?
    {
        try await ifFree(on: connection) { connection in
            try await connection.query(
                """
                SELECT pg_catalog.pg_relation_size($1::pg_catalog.oid)
                    / pg_catalog.current_setting('block_size')::pg_catalog.int8 AS pages
                """,
                [.int(Int64(table))]
            ).first?.optionalInt("pages")
        } ?? nil
    }

    /// - Returns: Nil where a lock was not to be had at once.
    private static func ifFree<Result: Sendable>(
        on connection: PostgresConnection,
        _ body: (PostgresConnection) async throws -> Result
    ) async throws -> Result? {
        do {
            return try await connection.withTransaction { connection in
                try await connection.execute("SET LOCAL lock_timeout = '200ms'")
                return try await body(connection)
            }
        } catch let error as ServerError where error.isLockFailure {
            return nil
        }
    }
}

extension GenerationRecord {
    /// Whether readers see another one, or none.
    var isNotLive: Bool { state != .live }

    /// Whether its tables are there.
    var hasTables: Bool { state != .dropped && state != .replaced }
}
