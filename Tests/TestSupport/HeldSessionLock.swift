package import Postgres

extension PostgresConnection {
    /// Holds a lock of the bookkeeping for the session, as a command at work does.
    ///
    /// - Parameter name: What is worked on, such as `run shop`.
    /// - Throws: What the server says.
    package func holdSessionLock(_ name: String) async throws {
        try await query(
            """
            INSERT INTO reprise.session_lock (name, key, pid, role, taken_at)
            SELECT $1, 4713, pid, usesysid, clock_timestamp() FROM pg_stat_activity WHERE pid = pg_backend_pid()
            ON CONFLICT (name) DO UPDATE
            SET key = excluded.key, pid = excluded.pid, role = excluded.role,
                taken_at = excluded.taken_at
            """,
            [.text(name)]
        )
        try await query("SELECT pg_advisory_lock(4713)")
    }
}
