import Postgres

/// What the last rebuild of a projection took, to expect the next one by.
package struct PastRebuild: Equatable, Sendable {
    /// Events it folded.
    package let events: Int
    /// Seconds from beginning to end.
    package let seconds: Double
    /// The most memory it held, in bytes.
    package let peakMemoryBytes: Int
    /// Rows that it loaded, by table.
    package let rows: [String: Int]
    /// How long its cut-over held up readers at most, in milliseconds; nil where it had none.
    package let blockedMilliseconds: Double?

    /// Makes one.
    package init(
        events: Int,
        seconds: Double,
        peakMemoryBytes: Int,
        rows: [String: Int],
        blockedMilliseconds: Double? = nil
    ) {
        self.events = events
        self.seconds = seconds
        self.peakMemoryBytes = peakMemoryBytes
        self.rows = rows
        self.blockedMilliseconds = blockedMilliseconds
    }
}

extension ReadModelDatabase {
    /// Reads the report of the last rebuild that was done.
    ///
    /// - Parameters:
    ///   - projection: Its projection.
    ///   - strategy: What it did; nil for the last one, whatever that was.
    /// - Returns: Nil when there is none.
    /// - Throws: ``ReadModelError``.
    package func lastRebuild(
        of projection: String,
        by strategy: Strategy? = nil
    ) async throws -> PastRebuild? {
        try await withConnection(as: "plan", doing: "reading the last report") { connection in
            guard try await Bookkeeping.version(on: connection) > 0 else { return nil }
            let found = try await connection.query(
                """
                SELECT r.report ->> 'events' AS events, r.report #>> '{seconds,total}' AS seconds,
                    r.report ->> 'peakMemoryBytes' AS peak,
                    r.report ->> 'blockedMilliseconds' AS blocked, t.key AS name, t.value AS rows
                FROM (SELECT report FROM reprise.run
                WHERE projection = $1 AND command = 'rebuild' AND state = 'done'
                    AND report IS NOT NULL AND ($2::pg_catalog.text IS NULL
                        OR report ->> 'strategy' = $2)
                ORDER BY run_id DESC LIMIT 1) AS r
                LEFT JOIN LATERAL pg_catalog.jsonb_each_text(r.report -> 'rows') AS t ON true
                """,
                [.text(projection), strategy.map { .text($0.rawValue) } ?? .null]
            )
            var rows: [String: Int] = [:]
            for row in found.rows {
                if let name = row["name"] { rows[name] = Int(try row.int("rows")) }
            }
            return try found.first.map {
                PastRebuild(
                    events: Int(try $0.int("events")),
                    seconds: try $0.double("seconds"),
                    peakMemoryBytes: Int(try $0.int("peak")),
                    rows: rows,
                    blockedMilliseconds: $0["blocked"].flatMap { Double($0) }
                )
            }
        }
    }
}
