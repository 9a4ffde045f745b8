import Postgres

/// Says every 5 s that a command is at work, on the session that holds its lock.
enum Heartbeat {
    /// Runs `body` beside it.
    ///
    /// - Parameters:
    ///   - statement: Says so; it has one parameter.
    ///   - parameter: Its value.
    ///   - connection: The session with the lock.
    ///   - body: The work.
    /// - Returns: What `body` returns.
    /// - Throws: What `body` throws.
    static func whileRunning<Result: Sendable>(
        _ statement: String,
        _ parameter: PostgresValue,
        on connection: PostgresConnection,
        _ body: () async throws -> Result
    ) async throws -> Result {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                // A heartbeat that fails means that the lock is gone: the cut-over, and each batch of a
                // follower, asks for it.
                while !Task.isCancelled {
                    try await Task.sleep(for: .seconds(5))
                    do {
                        try await connection.query(statement, [parameter])
                    } catch let error as ServerError where error.isLockFailure {
                        // Somebody has locked the bookkeeping for a while.
                    }
                }
            }
            defer { group.cancelAll() }
            return try await body()
        }
    }
}
