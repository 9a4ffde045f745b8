import Postgres
import Wording

/// How a projection stands: what is live, since when, what is kept, who works on it.
package struct ProjectionStatus: Sendable {
    /// A generation that has tables.
    package struct Generation: Sendable {
        package let number: Int
        package let state: GenerationState
        package let homeSchema: String
        package let liveSchema: String
        /// Its bytes on disk, indexes included; nil where somebody keeps a table locked.
        package let bytes: Int64?
        package let position: String?
        package let events: Int?
        package let since: String?
        /// Rows when it was built, by table; nil for adopted tables.
        package let rows: [String: Int?]
        /// Whether it is of another ledger than the live rows, or stands behind them in it, where the ledger
        /// may end before.
        package let isOfOtherPast: Bool
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
        /// Whether it was not heard of for a minute, although it does.
        package let isStale: Bool
    }

    /// The last run that has ended.
    package struct EndedRun: Sendable {
        package let id: Int64
        package let command: String
        /// What it did last.
        package let stage: String
        package let endedAt: String
        /// Why it failed; nil when it did not.
        package let error: String?
    }

    /// The last change of generation, and what it took.
    ///
    /// Those of earlier versions have no figures.
    package struct SwapLine: Sendable {
        /// `swap`, `rollback` or `truncate`.
        package let kind: String
        package let fromGeneration: Int?
        package let toGeneration: Int
        package let at: String
        /// Attempts to get the locks, the one that went well included.
        package let attempts: Int?
        /// From asking for the first exclusive lock to the last statement before COMMIT.
        package let heldMilliseconds: Double?
        /// What of that was waiting for locks.
        package let lockWaitMilliseconds: Double?
        /// The longest that a failed attempt queued for its locks.
        package let longestFailedWaitMilliseconds: Double?
    }

    /// The last one that followed the live tables.
    package struct FollowerLine: Sendable {
        package let host: String
        package let pid: Int64
        package let startedAt: String
        package let heartbeatAt: String
        /// When it ended by itself; nil when it has not.
        package let endedAt: String?
        /// Whether its session still holds the projector's lock.
        package let isAlive: Bool
        /// Whether it was not heard of for a minute, although it does.
        package let isStale: Bool
        /// Events applied since it began.
        package let events: Int
        /// Events among them that came late.
        package let lateEvents: Int
        /// Events that it was behind at its last heartbeat; nil before the first.
        package let lagEvents: Int?
        /// How long before that the ledger ended where the live tables stood, in seconds.
        package let lagSeconds: Double?
        /// What ended it; nil while it runs, and where it was stopped.
        package let error: String?
    }

    package let projection: String
    /// The newest first; dropped and replaced ones are left out.
    package let generations: [Generation]
    /// Where the live tables stand in the ledger.
    package let position: String?
    /// The run that is recorded as running.
    package let run: RunLine?
    /// The last one that has ended; nil when none has.
    package let lastRun: EndedRun?
    /// What does not fit between the bookkeeping and the live tables, as sentences.
    package let doubts: [String]
    /// The last change of generation; nil when there was none.
    package let lastSwap: SwapLine?
    /// Who keeps the live tables current with `reprise follow`; nil when nobody ever did.
    package let follower: FollowerLine?
    /// Whether another program than this one made the live rows, or continued them last.
    package let isOfOtherProgram: Bool

    /// The live one.
    package var live: Generation? { generations.first { $0.state == .live } }
}

extension ReadModelDatabase {
    /// Reads how a projection stands.
    ///
    /// Changes nothing, and waits for nobody.
    ///
    /// - Parameters:
    ///   - projection: Its name; it need not be one that the program knows.
    ///   - identity: The program or version that would continue its rows; nil for none.
    /// - Returns: Without generations when the bookkeeping is not there yet.
    /// - Throws: ``ReadModelError``.
    package func status(
        of projection: String,
        continuedBy identity: String? = nil
    ) async throws -> ProjectionStatus {
        try await withConnection(as: "status", doing: "reading the status") { connection in
            try await Bookkeeping.bringUpToDate(
                for: projection,
                publishing: publishesNewTables,
                forReader: true,
                on: connection
            )
            guard try await Bookkeeping.version(on: connection) > 0 else {
                return ProjectionStatus(
                    projection: projection,
                    generations: [],
                    position: nil,
                    run: nil,
                    lastRun: nil,
                    doubts: [],
                    lastSwap: nil,
                    follower: nil,
                    isOfOtherProgram: false
                )
            }
            let records = try await Bookkeeping.generations(of: projection, on: connection)
            let bytes = try await GenerationDisk.bytesIfFree(of: records, on: connection)
            let others = try await generationsOfOtherPast(of: projection, on: connection)
            return ProjectionStatus(
                projection: projection,
                generations: records.filter(\.hasTables)
                    .map {
                        ProjectionStatus.Generation(
                            $0,
                            bytes: bytes[$0.number],
                            isOfOtherPast: others.contains($0.number)
                        )
                    },
                position: try await Bookkeeping.checkpoint(of: projection, on: connection)?
                    .position,
                run: try await runLine(of: projection, on: connection),
                lastRun: try await endedRun(of: projection, on: connection),
                doubts: try await doubts(
                    about: records.first { $0.state == .live },
                    on: connection
                ) + gaps(in: records, on: connection),
                lastSwap: try await swapLine(of: projection, on: connection),
                follower: try await followerLine(of: projection, on: connection),
                isOfOtherProgram: try await isOf(
                    anotherThan: identity,
                    projection,
                    records,
                    on: connection
                )
            )
        }
    }

    /// A status does not bring the bookkeeping up to date, and an older one has not all columns;
    /// read as JSON, what is not there is null.
    private func swapLine(
        of projection: String,
        on connection: PostgresConnection
    ) async throws -> ProjectionStatus.SwapLine? {
        let row = try await connection.query(
            """
            SELECT s.kind, s.from_generation, s.to_generation, s.at,
                j.facts ->> 'attempts' AS attempts, j.facts ->> 'held_ms' AS held,
                j.facts ->> 'lock_wait_ms' AS lock_wait,
                j.facts ->> 'longest_failed_wait_ms' AS failed_wait
            FROM reprise.swap AS s, LATERAL (SELECT pg_catalog.to_jsonb(s) AS facts) AS j
            WHERE s.projection = $1 ORDER BY s.swap_id DESC LIMIT 1
            """,
            [.text(projection)]
        ).first
        return try row.map { row in
            ProjectionStatus.SwapLine(
                kind: try row.string("kind"),
                fromGeneration: try row.optionalInt("from_generation").map { Int($0) },
                toGeneration: Int(try row.int("to_generation")),
                at: try row.string("at"),
                attempts: row["attempts"].flatMap { Int($0) },
                heldMilliseconds: row["held"].flatMap { Double($0) },
                lockWaitMilliseconds: row["lock_wait"].flatMap { Double($0) },
                longestFailedWaitMilliseconds: row["failed_wait"].flatMap { Double($0) }
            )
        }
    }

    /// An older version of the bookkeeping knows no ledgers.
    private func generationsOfOtherPast(
        of projection: String,
        on connection: PostgresConnection
    ) async throws -> Set<Int> {
        let found = try await connection.query(
            """
            SELECT g.generation FROM reprise.generation AS g
            JOIN reprise.checkpoint AS c ON c.projection = g.projection
            WHERE g.projection = $1 AND g.generation <> c.generation
                AND (pg_catalog.to_jsonb(g) ->> 'ledger' <> pg_catalog.to_jsonb(c) ->> 'ledger'
                    OR g.position COLLATE "C" > c.position COLLATE "C")
            """,
            [.text(projection)]
        )
        return Set(try found.rows.map { Int(try $0.int("generation")) })
    }

    /// An older version of the bookkeeping does not say it.
    private func isOf(
        anotherThan identity: String?,
        _ projection: String,
        _ records: [GenerationRecord],
        on connection: PostgresConnection
    ) async throws -> Bool {
        guard let identity, let live = records.first(where: { $0.state == .live })?.number else {
            return false
        }
        let found = try await connection.query(
            """
            SELECT coalesce(pg_catalog.to_jsonb(c) ->> 'program',
                pg_catalog.to_jsonb(g) ->> 'built_by') AS program
            FROM reprise.generation AS g LEFT JOIN reprise.checkpoint AS c USING (projection, generation)
            WHERE projection = $1 AND generation = $2
            """,
            [.text(projection), .int(Int64(live))]
        ).first
        guard let program = found?["program"] else { return false }
        return program != identity
    }

    private func endedRun(
        of projection: String,
        on connection: PostgresConnection
    ) async throws -> ProjectionStatus.EndedRun? {
        let row = try await connection.query(
            """
            SELECT run_id, command, stage, coalesce(ended_at, heartbeat_at) AS ended_at, error
            FROM reprise.run
            WHERE projection = $1 AND state <> 'running' ORDER BY run_id DESC LIMIT 1
            """,
            [.text(projection)]
        ).first
        return try row.map { row in
            ProjectionStatus.EndedRun(
                id: try row.int("run_id"),
                command: try row.string("command"),
                stage: try row.string("stage"),
                endedAt: try row.string("ended_at"),
                error: row["error"]
            )
        }
    }

    /// Looks whether the live tables are still there, and whether somebody has emptied one: TRUNCATE
    /// leaves a table without a page.
    ///
    /// One that somebody keeps locked is passed over.
    private func doubts(
        about generation: GenerationRecord?,
        on connection: PostgresConnection
    ) async throws -> [String] {
        guard let generation else { return [] }
        var doubts: [String] = []
        for table in generation.tables {
            let row = try await connection.query(
                "SELECT c.relkind FROM pg_catalog.pg_class AS c WHERE c.oid = $1::pg_catalog.oid",
                [.int(Int64(table.oid))]
            ).first
            guard let row else {
                doubts.append(
                    "The live table '\(table.name)' was dropped: there is none with the OID "
                        + "\(table.oid) that is recorded."
                )
                continue
            }
            guard ["r", "m"].contains(row["relkind"]), let rows = table.rowCount, rows > 0,
                try await GenerationDisk.pagesIfFree(of: table.oid, on: connection) == 0
            else { continue }
            doubts.append(
                "The live table '\(table.name)' was truncated: generation \(generation.number) was "
                    + "built with \(rows) rows of it."
            )
        }
        return doubts
    }

    /// Names the generations that cannot go live, because somebody has dropped a table of theirs.
    private func gaps(
        in records: [GenerationRecord],
        on connection: PostgresConnection
    ) async throws -> [String] {
        let kept = records.filter { $0.isNotLive && $0.hasTables }
        let found = try await connection.query(
            "SELECT c.oid FROM pg_catalog.pg_class AS c WHERE c.oid = ANY ($1::pg_catalog.oid[])",
            [.ints(kept.flatMap(\.tables).map { Int64($0.oid) })]
        ).rows.map { UInt32(try $0.int("oid")) }
        return kept.compactMap { generation in
            guard let table = generation.tables.first(where: { !found.contains($0.oid) }) else {
                return nil
            }
            return
                "The table '\(table.name)' of generation \(generation.number) was dropped by hand, so "
                + "that generation cannot go live: '\(ProgramName.current) prune "
                + "\(generation.projection) --generation \(generation.number)' forgets it."
        }
    }

    private func followerLine(
        of projection: String,
        on connection: PostgresConnection
    ) async throws -> ProjectionStatus.FollowerLine? {
        let row = try await connection.query(
            """
            SELECT host, pid, started_at, heartbeat_at, ended_at, events, late_events, lag_events,
                lag_seconds, pg_catalog.to_jsonb(f) ->> 'error' AS error, EXISTS (\(SessionLock.holders("$2"))) AS alive, heartbeat_at
                    < pg_catalog.clock_timestamp() - interval '\(StaleHolder.patience)' AS silent
            FROM reprise.follower AS f WHERE projection = $1
            """,
            [.text(projection), .text(SessionLock.follower(of: projection))]
        ).first
        return try row.map { row in
            ProjectionStatus.FollowerLine(
                host: try row.string("host"),
                pid: try row.int("pid"),
                startedAt: try row.string("started_at"),
                heartbeatAt: try row.string("heartbeat_at"),
                endedAt: row["ended_at"],
                isAlive: try row.bool("alive"),
                isStale: try row.bool("alive") && row.bool("silent"),
                events: Int(try row.int("events")),
                lateEvents: Int(try row.int("late_events")),
                lagEvents: try row.optionalInt("lag_events").map { Int($0) },
                lagSeconds: row["lag_seconds"].flatMap { Double($0) },
                error: row["error"]
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
                s.to_generation, EXISTS (\(SessionLock.holders("$2"))) AS alive, r.heartbeat_at
                    < pg_catalog.clock_timestamp() - interval '\(StaleHolder.patience)' AS silent
            FROM reprise.run AS r LEFT JOIN reprise.swap AS s USING (run_id)
            WHERE r.projection = $1 AND r.state = 'running' ORDER BY run_id DESC LIMIT 1
            """,
            [.text(projection), .text(SessionLock.run(of: projection))]
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
                isAlive: try row.bool("alive"),
                isStale: try row.bool("alive") && row.bool("silent")
            )
        }
    }
}

extension ProjectionStatus.Generation {
    init(_ record: GenerationRecord, bytes: Int64?, isOfOtherPast: Bool) {
        self.bytes = bytes
        self.isOfOtherPast = isOfOtherPast
        liveSchema = record.liveSchema
        number = record.number
        state = record.state
        homeSchema = record.homeSchema
        position = record.position
        events = record.events
        since = record.liveSince
        rows = Dictionary(uniqueKeysWithValues: record.tables.map { ($0.name, $0.rowCount) })
    }
}
