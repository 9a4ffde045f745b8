import Postgres

/// How a projection stands: what is live, since when, what is kept, who works on it.
package struct ProjectionStatus: Sendable {
    /// A generation that has tables.
    package struct Generation: Sendable {
        package let number: Int
        package let state: GenerationState
        package let homeSchema: String
        package let position: String?
        package let events: Int?
        package let since: String?
        /// Rows when it was built, by table; nil for adopted tables.
        package let rows: [String: Int?]
    }

    /// A run that is at work, or died.
    package struct RunLine: Sendable {
        package let id: Int64
        package let command: String
        package let stage: String
        package let host: String
        package let pid: Int64
        package let startedAt: String
        package let heartbeatAt: String
        /// The generation that it has put live; nil when it has not.
        package let putLive: Int?
        /// Whether its session still holds the lock.
        package let isAlive: Bool
    }

    package let projection: String
    /// The newest first; dropped and replaced ones are left out.
    package let generations: [Generation]
    /// Where the live tables stand in the ledger.
    package let position: String?
    /// The run that is recorded as running.
    package let run: RunLine?

    /// The live one.
    package var live: Generation? { generations.first { $0.state == .live } }
}

extension ReadModelDatabase {
    /// Reads how a projection stands.
    ///
    /// Changes nothing, needs no lock.
    ///
    /// - Returns: Without generations when the bookkeeping is not there yet.
    package func status(of projection: String) async throws -> ProjectionStatus {
        try await withConnection(as: "status", doing: "reading the status") { connection in
            guard try await Bookkeeping.version(on: connection) > 0 else {
                return ProjectionStatus(
                    projection: projection,
                    generations: [],
                    position: nil,
                    run: nil
                )
            }
            let records = try await Bookkeeping.generations(of: projection, on: connection)
            return ProjectionStatus(
                projection: projection,
                generations: records.filter { $0.state != .dropped && $0.state != .replaced }
                    .map { ProjectionStatus.Generation($0) },
                position: try await Bookkeeping.checkpoint(of: projection, on: connection)?
                    .position,
                run: try await runLine(of: projection, on: connection)
            )
        }
    }

    private func runLine(
        of projection: String,
        on connection: PostgresConnection
    ) async throws -> ProjectionStatus.RunLine? {
        let row = try await connection.query(
            """
            SELECT run_id, r.command, r.stage, r.host, r.pid, r.started_at, r.heartbeat_at,
                s.to_generation, EXISTS (
                SELECT FROM pg_catalog.pg_locks AS l
                WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
                    AND l.database = (SELECT oid FROM pg_catalog.pg_database
                        WHERE datname = pg_catalog.current_database())
                    AND (l.classid::pg_catalog.int8 << 32 | l.objid::pg_catalog.int8)
                        = pg_catalog.hashtextextended($2, 0)) AS alive
            FROM reprise.run AS r LEFT JOIN reprise.swap AS s USING (run_id)
            WHERE r.projection = $1 AND r.state = 'running' ORDER BY run_id DESC LIMIT 1
            """,
            [.text(projection), .text(Run.lockName(of: projection))]
        ).first
        return try row.map { row in
            ProjectionStatus.RunLine(
                id: try row.int("run_id"),
                command: try row.string("command"),
                stage: try row.string("stage"),
                host: try row.string("host"),
                pid: try row.int("pid"),
                startedAt: try row.string("started_at"),
                heartbeatAt: try row.string("heartbeat_at"),
                putLive: try row.optionalInt("to_generation").map { Int($0) },
                isAlive: try row.bool("alive")
            )
        }
    }
}

extension ProjectionStatus.Generation {
    init(_ record: GenerationRecord) {
        number = record.number
        state = record.state
        homeSchema = record.homeSchema
        position = record.position
        events = record.events
        since = record.liveSince
        rows = Dictionary(uniqueKeysWithValues: record.tables.map { ($0.name, $0.rowCount) })
    }
}
