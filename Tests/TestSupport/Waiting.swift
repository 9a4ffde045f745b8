package import Postgres

/// What a test was waiting for did not come about.
package struct NeverCame: Error, CustomStringConvertible {
    /// What it was.
    package let description: String
}

extension ScratchDatabase {
    /// Asks again and again until a query returns a row.
    ///
    /// - Parameters:
    ///   - what: What is waited for, for the error.
    ///   - limit: A minute is more than anything takes here.
    ///   - sql: The query.
    ///   - parameters: Its parameters.
    /// - Returns: The row.
    /// - Throws: ``NeverCame``.
    @discardableResult
    package func waitUntil(
        _ what: String,
        within limit: Duration = .seconds(60),
        _ sql: String,
        _ parameters: [PostgresValue] = []
    ) async throws -> QueryRow {
        try await withConnection { connection in
            let begin = ContinuousClock.now
            while true {
                if let row = try await connection.query(sql, parameters).first { return row }
                guard ContinuousClock.now - begin < limit else {
                    throw NeverCame(description: "never within \(limit): \(what)")
                }
                await Task.yield()
            }
        }
    }
}
