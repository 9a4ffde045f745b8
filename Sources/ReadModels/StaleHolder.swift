import Postgres

/// A command that holds its lock and is not heard of any more: its process hangs, or the network
/// between it and the server does.
///
/// What it has begun can never be committed once its session with the lock is ended, because every
/// transaction that moves live tables asserts that this session is alive.
struct StaleHolder: Sendable {
    /// The name of the lock.
    let lock: String
    /// The session with the lock.
    let backendPID: Int32
    /// The number of its run; nil where it is none, or is recorded no more or not yet.
    let run: Int64?
    /// The key that it holds: another session of that process number has another one.
    let key: Int64
    /// Seconds since it took the lock, or since its last heartbeat.
    let silence: Double

    /// A heartbeat comes every 5 s; twelve of them are missed by nobody who is well.
    static let patience = "1 minute"

    /// Finds a run; nil when the lock's holder was heard of.
    static func run(
        of projection: String,
        on connection: PostgresConnection
    ) async throws -> StaleHolder? {
        try await find(
            SessionLock.run(of: projection),
            """
            SELECT CASE state WHEN 'running' THEN run_id END AS run_id, started_at, heartbeat_at
            FROM reprise.run AS newest WHERE projection = $1 ORDER BY newest.run_id DESC LIMIT 1
            """,
            of: projection,
            on: connection
        )
    }

    /// Finds a follower; nil when the lock's holder was heard of.
    static func follower(
        of projection: String,
        on connection: PostgresConnection
    ) async throws -> StaleHolder? {
        try await find(
            SessionLock.follower(of: projection),
            """
            SELECT NULL::pg_catalog.int8 AS run_id, started_at, heartbeat_at
            FROM reprise.follower WHERE projection = $1
            """,
            of: projection,
            on: connection
        )
    }

    private static func find(
        _ lock: String,
        _ record: String,
        of projection: String,
        on connection: PostgresConnection
    ) async throws -> StaleHolder? {
        // A session with the lock and without a row must not answer for the row of one that died: the
        // row has to be younger than the lock. Both times are null where an older version took it and
        // has no row: that one stays.
        let row = try await connection.query(
            """
            SELECT r.run_id, l.pid, l.key,
                extract(epoch FROM pg_catalog.clock_timestamp()
                    - coalesce(r.heartbeat_at, l.taken_at)) AS silence
            FROM (\(SessionLock.holders("$2"))) AS l
            LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
            LEFT JOIN (\(record)) AS r
                ON coalesce(r.started_at >= coalesce(l.taken_at, a.backend_start), true)
            WHERE coalesce(r.heartbeat_at, l.taken_at)
                < pg_catalog.clock_timestamp() - interval '\(patience)'
            """,
            [.text(projection), .text(lock)]
        ).first
        return try row.map { row in
            StaleHolder(
                lock: lock,
                backendPID: Int32(try row.int("pid")),
                run: try row.optionalInt("run_id"),
                key: try row.int("key"),
                silence: try row.double("silence")
            )
        }
    }

    /// Ends the session that holds the lock and the others of its command, and takes the lock.
    ///
    /// - Returns: The lock; nil when this role may not end them, or they do not end in time.
    func takeOver(on connection: PostgresConnection) async throws -> SessionLock? {
        do {
            let ended = try await connection.query(
                """
                SELECT pg_catalog.pg_terminate_backend(l.pid) FROM (\(SessionLock.holders("$1"))) AS l
                WHERE l.pid = $2 AND l.key = $3
                """,
                [.text(lock), .int(Int64(backendPID)), .int(key)]
            )
            // Where nothing was ended there is a holder that may not be, or none any more.
            let patience = ended.rows.isEmpty ? "100ms" : "10s"
            try await SessionLock.awaitEnd(of: lock, patience: patience, on: connection)
            return try await SessionLock.take(lock, on: connection)
        } catch let error as ServerError where error.sqlState == "42501" || error.isLockFailure {
            return nil
        } catch is SessionLock.LeftSession {
            return nil
        }
    }
}
