import Postgres

/// A lock that a session holds for as long as it lives, and that nobody without rights on the schema
/// `reprise` can hold, keep others from, or claim to hold.
///
/// The server frees advisory locks when a session ends, whatever ends it, but anybody may hold any of
/// them. So each session draws a key of its own, and its row of `reprise.session_lock` names key,
/// process and role. The lock is held while that process, logged in as that role, holds that key.
///
/// The other sessions of the same command draw keys as well, and have rows in `reprise.session_mark`. The
/// next command that takes the lock ends those of them that are left.
struct SessionLock: Sendable {
    /// What is worked on, such as `run shop`.
    let name: String
    let key: Int64
    /// The session that holds it.
    let backendPID: Int32

    /// The lock under which this task works; nil where it works under none.
    @TaskLocal static var current: SessionLock?

    /// A session of the lock's last holder is still there.
    struct LeftSession: Error {
        let backendPID: Int32
    }

    static func run(of projection: String) -> String { "run \(projection)" }

    static func follower(of projection: String) -> String { "follow \(projection)" }

    /// A query of the session that holds a lock.
    ///
    /// - Parameter name: The lock's name, as SQL.
    /// - Returns: The query, of columns `pid`, `key` and `taken_at`: no row when no session does.
    static func holders(_ name: String) -> String {
        """
        SELECT s.pid, s.key, s.taken_at FROM reprise.session_lock AS s
        JOIN pg_catalog.pg_locks AS l ON l.pid = s.pid
            AND (l.classid::pg_catalog.int8 << 32 | l.objid::pg_catalog.int8) = s.key
        JOIN pg_catalog.pg_stat_activity AS a ON a.pid = s.pid AND a.usesysid = s.role
        WHERE s.name = \(name) AND l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
            AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d
                WHERE d.datname = pg_catalog.current_database())
        """
    }

    /// Returns a row while this session, and no other, holds the lock.
    var holdQuery: String {
        """
        SELECT FROM (\(Self.holders(SQLText.literal(name)))) AS held
        WHERE held.key = \(SQLText.literal("\(key)"))::pg_catalog.int8 AND held.pid = \(backendPID)
        """
    }

    /// Takes it for the session, outside of a transaction.
    ///
    /// - Returns: Nil when another session holds it, or is just taking it.
    /// - Throws: ``LeftSession`` when a session of its last holder cannot be ended; what the server
    ///   says.
    static func take(
        _ name: String,
        on connection: PostgresConnection
    ) async throws -> SessionLock? {
        guard try await holder(of: name, on: connection) == nil else { return nil }
        try await endSessions(leftUnder: name, on: connection)
        do {
            return try await connection.withTransaction { connection in
                try await connection.execute(
                    """
                    SET LOCAL lock_timeout = '5s';
                    SET LOCAL idle_in_transaction_session_timeout = '\(Fence.idleTimeout)'
                    """
                )
                try await lockRow(of: name, on: connection)
                guard try await holder(of: name, on: connection) == nil else { return nil }
                let left = try await connection.query(left("$1"), [.text(name)]).first
                if let left { throw LeftSession(backendPID: Int32(try left.int("pid"))) }
                try await connection.query(
                    "DELETE FROM reprise.session_mark WHERE name = $1",
                    [.text(name)]
                )
                let lock = SessionLock(
                    name: name,
                    key: try await drawKey(on: connection),
                    backendPID: connection.backendPID
                )
                try await connection.query(
                    """
                    UPDATE reprise.session_lock AS s SET key = $2, pid = a.pid, role = a.usesysid,
                        taken_at = pg_catalog.clock_timestamp()
                    FROM pg_catalog.pg_stat_activity AS a
                    WHERE s.name = $1 AND a.pid = pg_catalog.pg_backend_pid()
                    """,
                    [.text(name), .int(lock.key)]
                )
                return lock
            }
        } catch let error as ServerError where error.isLockFailure {
            return nil
        }
    }

    /// Waits until the session that holds the lock lets go of it or ends.
    ///
    /// - Parameters:
    ///   - name: The lock's name.
    ///   - patience: How long at most, as `lock_timeout` takes it.
    ///   - connection: Where to wait, outside of a transaction.
    /// - Throws: What the server says: that the time is over is a lock failure.
    static func awaitEnd(
        of name: String,
        patience: String,
        on connection: PostgresConnection
    ) async throws {
        guard let holder = try await holder(of: name, on: connection) else { return }
        do {
            try await connection.withTransaction { connection in
                try await connection.execute("SET LOCAL lock_timeout = '\(patience)'")
                try await connection.query(
                    "SELECT pg_catalog.pg_advisory_xact_lock($1)",
                    [.int(holder.key)]
                )
            }
        } catch let error as ServerError where error.isLockFailure {
            // Others may wait for the key as well. They get it, and not the lock.
            guard try await self.holder(of: name, on: connection) == nil else { throw error }
        }
    }

    /// Lets go of it, also in a cancelled task.
    ///
    /// The server lets go of a closed session's locks only when it notices, and the next command may
    /// be there by then.
    func release(on connection: PostgresConnection) async throws {
        try await connection.executeShielded(
            "SELECT pg_catalog.pg_advisory_unlock(\(SQLText.literal("\(key)"))::pg_catalog.int8)"
        )
    }

    /// Marks a session as one that works under the lock.
    ///
    /// - Returns: Whether the lock is still held: without it nobody might end the session.
    func mark(_ connection: PostgresConnection) async throws -> Bool {
        let key = try await Self.drawKey(on: connection)
        try await connection.withTransaction { connection in
            // A crash of the server ends the session as well, so no standby is waited for.
            try await connection.execute("SET LOCAL synchronous_commit = off")
            try await connection.query(
                """
                INSERT INTO reprise.session_mark (name, key, pid, role)
                SELECT $1, $2, a.pid, a.usesysid FROM pg_catalog.pg_stat_activity AS a
                WHERE a.pid = pg_catalog.pg_backend_pid()
                """,
                [.text(name), .int(key)]
            )
        }
        // A session that takes the lock later finds the mark; one that took it before is found.
        return try await !connection.query(holdQuery).rows.isEmpty
    }

    /// A query of the marked sessions, under any holder of the lock.
    private static func left(_ name: String) -> String {
        """
        SELECT l.pid FROM reprise.session_mark AS m
        JOIN pg_catalog.pg_locks AS l ON l.pid = m.pid
            AND (l.classid::pg_catalog.int8 << 32 | l.objid::pg_catalog.int8) = m.key
        JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid AND a.usesysid = m.role
        WHERE m.name = \(name) AND l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
            AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d
                WHERE d.datname = pg_catalog.current_database())
        """
    }

    /// Ends the sessions that the last holder of a lock has left, and waits for their end.
    ///
    /// One that this role may not end is given time to end by itself.
    private static func endSessions(
        leftUnder name: String,
        on connection: PostgresConnection
    ) async throws {
        do {
            // All are told before one is waited for.
            for patience in [0, 10_000] as [Int64] {
                try await connection.query(
                    """
                    SELECT pg_catalog.pg_terminate_backend(l.pid, $2) FROM (\(left("$1"))) AS l
                    WHERE NOT EXISTS (\(holders("$1")))
                    """,
                    [.text(name), .int(patience)]
                )
            }
        } catch let error as ServerError where error.sqlState == "42501" {
            do {
                try await connection.withTransaction { connection in
                    try await connection.execute("SET LOCAL lock_timeout = '10s'")
                    try await connection.query(
                        """
                        SELECT pg_catalog.pg_advisory_xact_lock(key) FROM reprise.session_mark
                        WHERE name = $1
                        """,
                        [.text(name)]
                    )
                }
            } catch let error as ServerError where error.isLockFailure {}
        }
    }

    private static func holder(
        of name: String,
        on connection: PostgresConnection
    ) async throws -> SessionLock? {
        let row = try await connection.query(holders("$1"), [.text(name)]).first
        return try row.map {
            SessionLock(
                name: name,
                key: try $0.int("key"),
                backendPID: Int32(try $0.int("pid"))
            )
        }
    }

    private static func lockRow(of name: String, on connection: PostgresConnection) async throws {
        try await connection.query(
            "INSERT INTO reprise.session_lock (name) VALUES ($1) ON CONFLICT DO NOTHING",
            [.text(name)]
        )
        try await connection.query(
            "SELECT FROM reprise.session_lock WHERE name = $1 FOR UPDATE",
            [.text(name)]
        )
    }

    private static func drawKey(on connection: PostgresConnection) async throws -> Int64 {
        while true {
            let key = Int64.random(in: .min ... .max)
            let taken = try await connection.query(
                "SELECT pg_catalog.pg_try_advisory_lock($1) AS taken",
                [.int(key)]
            ).first
            if try taken?.bool("taken") == true { return key }
        }
    }
}
