import Postgres

/// A run that holds its projection's lock and is not heard of any more: its process hangs, or the
/// network between it and the server does.
///
/// What it has begun can never be swapped in once its session is ended, because the batch of a
/// cut-over asserts that the session with the lock is alive.
struct StaleRun: Sendable {
    /// Its number.
    let id: Int64
    /// The session with the lock.
    let backendPID: Int32
    /// What is known of the run, as ``ReadModelDatabase`` tells others who is at work.
    let holder: String
    /// Seconds since its last heartbeat.
    let silence: Double

    /// A heartbeat comes every 5 s; twelve of them are missed by nobody who is well.
    static let patience = "1 minute"

    /// Finds it; nil when the lock's holder was heard of, or is just starting.
    static func find(
        of projection: String,
        holder: String,
        on connection: PostgresConnection
    ) async throws -> StaleRun? {
        // Whoever has the lock and no row yet must not answer for the row of a run that died: the
        // row has to be younger than the session. Where that is hidden, ending it is not ours.
        let row = try await connection.query(
            """
            SELECT r.run_id, l.pid,
                extract(epoch FROM pg_catalog.clock_timestamp() - r.heartbeat_at) AS silence
            FROM (SELECT run_id, started_at, heartbeat_at FROM reprise.run
                WHERE projection = $1 AND state = 'running' ORDER BY run_id DESC LIMIT 1) AS r
            CROSS JOIN (\(SessionLock.holders("$2"))) AS l
            LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
            WHERE r.heartbeat_at < pg_catalog.clock_timestamp() - interval '\(patience)'
                AND coalesce(r.started_at >= a.backend_start, true)
            """,
            [.text(projection), .text(SessionLock.run(of: projection))]
        ).first
        return try row.map { row in
            StaleRun(
                id: try row.int("run_id"),
                backendPID: Int32(try row.int("pid")),
                holder: holder,
                silence: try row.double("silence")
            )
        }
    }

    /// Ends the session that holds the lock, and takes the lock.
    ///
    /// - Returns: The lock.
    /// - Throws: ``ReadModelError/runStale(projection:holder:silence:backendPID:)`` when this role
    ///   may not end it, or it does not end in time.
    func takeOver(
        _ projection: String,
        on connection: PostgresConnection
    ) async throws -> SessionLock {
        let refusal = ReadModelError.runStale(
            projection: projection,
            holder: holder,
            silence: Int(silence),
            backendPID: backendPID
        )
        let lock = SessionLock.run(of: projection)
        do {
            let ended = try await connection.query(
                """
                SELECT pg_catalog.pg_terminate_backend(l.pid) FROM (\(SessionLock.holders("$1"))) AS l
                JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
                WHERE l.pid = $2 AND a.backend_start <= (
                    SELECT started_at FROM reprise.run WHERE run_id = $3)
                """,
                [.text(lock), .int(Int64(backendPID)), .int(id)]
            )
            // Where nothing was ended there is a holder that may not be, or none any more.
            let patience = ended.rows.isEmpty ? "100ms" : "10s"
            try await SessionLock.awaitEnd(of: lock, patience: patience, on: connection)
        } catch let error as ServerError where error.sqlState == "42501" || error.isLockFailure {
            throw refusal
        }
        guard let taken = try await SessionLock.take(lock, on: connection) else { throw refusal }
        return taken
    }
}
