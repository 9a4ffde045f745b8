import Postgres

/// What the last rebuild of a projection took, to expect the next one by.
package struct PastRebuild: Equatable, Sendable {
    /// Events it folded.
    package let events: Int
    /// Seconds from beginning to end.
    package let seconds: Double
    /// The most memory it held, in bytes.
    package let peakMemoryBytes: Int
}

extension ReadModelDatabase {
    /// Reads the report of the last rebuild that was done; nil when there is none.
    ///
    /// - Throws: ``ReadModelError``.
    package func lastRebuild(of projection: String) async throws -> PastRebuild? {
        try await withConnection(as: "plan", doing: "reading the last report") { connection in
            guard try await Bookkeeping.version(on: connection) > 0 else { return nil }
            let row = try await connection.query(
                """
                SELECT report ->> 'events' AS events, report #>> '{seconds,total}' AS seconds,
                    report ->> 'peakMemoryBytes' AS peak
                FROM reprise.run
                WHERE projection = $1 AND command = 'rebuild' AND state = 'done'
                    AND report IS NOT NULL
                ORDER BY run_id DESC LIMIT 1
                """,
                [.text(projection)]
            ).first
            return try row.map {
                PastRebuild(
                    events: Int(try $0.int("events")),
                    seconds: try $0.double("seconds"),
                    peakMemoryBytes: Int(try $0.int("peak"))
                )
            }
        }
    }
}
