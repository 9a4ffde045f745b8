import Postgres

/// Runs that are recorded as running and do not hold their projection's lock: their process died,
/// or its session was ended.
enum Predecessor {
    /// Records their end, and says how they ended.
    ///
    /// - Parameters:
    ///   - projection: The projection, whose lock the caller holds.
    ///   - ended: The run whose session the caller has ended; nil when there was none.
    ///   - connection: Where to do so, in no transaction.
    /// - Returns: A sentence for each; nil when there is none.
    /// - Throws: What the server says.
    static func bury(
        of projection: String,
        ended: Int64? = nil,
        on connection: PostgresConnection
    ) async throws -> String? {
        let dead = try await connection.query(
            """
            SELECT run_id, command, stage, host, pid, heartbeat_at FROM reprise.run
            WHERE projection = $1 AND state = 'running' ORDER BY run_id
            """,
            [.text(projection)]
        )
        var sentences: [String] = []
        for row in dead.rows {
            let run = try row.int("run_id")
            let end = try await outcome(of: run, on: connection)
            // The stage's word is that of the command, which runs them.
            let hooks =
                try row.string("stage") == "hooks after the swap"
                ? ", and hooks after the swap did not run to their end" : ""
            let (fate, error) =
                run == ended
                ? (
                    "stood still, so its session was ended",
                    "The process stood still, and another run ended its session."
                ) : ("died", "The process ended without a word.")
            sentences.append(
                "Run \(run), '\(try row.string("command"))' by process \(try row.int("pid")) on "
                    + "\(try row.string("host")), \(fate): it was last heard of at "
                    + "\(try row.string("heartbeat_at")), \(try row.string("stage")); \(end)\(hooks)."
            )
            try await connection.query(
                """
                UPDATE reprise.run SET state = 'failed', ended_at = heartbeat_at, error = $2
                WHERE run_id = $1
                """,
                [.int(run), .text(error)]
            )
        }
        return sentences.isEmpty ? nil : sentences.joined(separator: " ")
    }

    /// Whether a dead run's cut-over was committed.
    ///
    /// Its session on the server can outlive the process for a moment, so that is waited for.
    private static func outcome(
        of run: Int64,
        on connection: PostgresConnection
    ) async throws -> String {
        do {
            let swap = try await connection.withTransaction { connection in
                try await connection.execute("SET LOCAL lock_timeout = '5s'")
                return try await CommitOutcome.row(of: run, on: connection)
            }
            guard let row = swap?.first else { return "it had put no generation live" }
            return "it had put generation \(try row.int("to_generation")) live"
        } catch let error as ServerError where error.isLockFailure {
            return "a session of its cut-over is still at work"
        }
    }
}
