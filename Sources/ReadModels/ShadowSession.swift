import Postgres
package import ProjectionKit

/// A built generation that takes up what was appended to the ledger since, on a session of its own.
///
/// Each write is one transaction: the touched rows of all tables, and the position they stand for.
package struct ShadowSession: Sendable {
    /// The generation's number.
    package let generation: Int
    /// Its rows by table when the session began.
    package let rows: [String: Int]

    private let record: GenerationRecord
    private let exchange: RowExchange
    private let connection: PostgresConnection
    private let run: Run

    fileprivate init(
        _ record: GenerationRecord,
        exchange: RowExchange,
        run: Run,
        on connection: PostgresConnection
    ) {
        generation = record.number
        rows = record.rowCounts
        self.record = record
        self.exchange = exchange
        self.run = run
        self.connection = connection
    }

    /// Writes what a fold has changed since its journal began, and settles the journal.
    ///
    /// - Parameters:
    ///   - fold: Its journal holds everything that changed since the last write.
    ///   - before: Where the tables stand.
    ///   - position: Where they are going to stand.
    ///   - events: Events that the rows are made of then.
    ///   - origin: The same with the ledger's digest; nil where that was not asked for.
    /// - Returns: What was written.
    /// - Throws: ``ReadModelError``. The journal is then as it was; after a lost connection it is
    ///   open whether the transaction took place.
    @discardableResult
    package func write(
        _ fold: any Fold,
        from before: Position?,
        to position: Position,
        events: Int,
        origin: RowOrigin?
    ) async throws -> TableChanges {
        let doing = "catching up generation \(generation) of '\(run.projection)'"
        let changes = try await translatingErrors(doing: doing) {
            try await connection.withTransaction { connection in
                // Losing it in a crash of the server loses nothing: the swap's own commit flushes it.
                try await connection.execute("SET LOCAL synchronous_commit = off")
                try await take(at: before, on: connection)
                let changes = try await exchange.write(fold, on: connection)
                try await note(changes, position: position, events: events, on: connection)
                if let origin { try await note(origin, on: connection) }
                return changes
            }
        }
        try await noteEndOfRound()
        for table in fold.tables { table.settleChanges() }
        return changes.values.reduce(into: TableChanges()) { $0.add($1) }
    }

    /// Why a fold cannot go on from the tables' rows alone, as a clause; nil when it can.
    package func obstacleToReadingBack(_ fold: any Fold) -> String? {
        exchange.obstacleToReadingBack(fold)
    }

    /// Gives a fold's tables the rows that they want.
    ///
    /// - Throws: ``ReadModelError``.
    package func fetch(for fold: any Fold) async throws {
        let doing = "reading rows of generation \(generation) of '\(run.projection)'"
        try await translatingErrors(doing: doing) {
            try await connection.withTransaction { try await exchange.fetch(for: fold, on: $0) }
        }
    }

    /// Gives the planner the statistics of tables that have changed much.
    ///
    /// - Throws: ``ReadModelError``.
    package func analyze() async throws {
        try await translatingErrors(doing: "analysing generation \(generation)") {
            for table in exchange.tables {
                try await connection.execute("ANALYZE \(table.name.sql)")
            }
        }
    }

    /// Asserts that the generation is the run's own, still at home, and stands where the fold does.
    private func take(at position: Position?, on connection: PostgresConnection) async throws {
        let found = try await connection.query(
            """
            SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_class AS c
                WHERE c.oid = ANY ($4::pg_catalog.oid[])
                    AND c.relnamespace = g.home_schema_oid) AS at_home
            FROM reprise.generation AS g
            WHERE projection = $1 AND generation = $2 AND state IN ('building', 'ready')
                AND position IS NOT DISTINCT FROM $3
            FOR UPDATE
            """,
            [
                .text(run.projection), .int(Int64(generation)),
                position.map { .text("\($0)") } ?? .null, .ints(exchange.oids.map { Int64($0) }),
            ]
        )
        guard try found.first?.int("at_home") == Int64(exchange.oids.count) else {
            throw ReadModelError.changedMeanwhile(
                projection: run.projection,
                reason: "generation \(generation) is not where its catch-up left it"
            )
        }
        try await run.assertLockHeld(on: connection)
    }

    private func note(_ origin: RowOrigin, on connection: PostgresConnection) async throws {
        try await connection.query(
            """
            UPDATE reprise.generation
            SET ledger = $3, counted_position = $4, counted_events = $5, digest = $6
            WHERE projection = $1 AND generation = $2
            """,
            [.text(run.projection), .int(Int64(generation))] + origin.values
        )
    }

    /// A snapshot of a transaction that began after this moment knows the rows of the round.
    private func noteEndOfRound() async throws {
        try await translatingErrors(doing: "catching up generation \(generation)") {
            try await connection.withTransaction { connection in
                try await connection.execute("SET LOCAL synchronous_commit = off")
                try await connection.query(
                    """
                    UPDATE reprise.generation SET round_at = pg_catalog.clock_timestamp()
                    WHERE projection = $1 AND generation = $2
                    """,
                    [.text(run.projection), .int(Int64(generation))]
                )
            }
        }
    }

    private func note(
        _ changes: [String: TableChanges],
        position: Position,
        events: Int,
        on connection: PostgresConnection
    ) async throws {
        try await connection.query(
            """
            UPDATE reprise.generation SET position = $3, events = $4, round_at = NULL,
                round_xid = pg_catalog.pg_current_xact_id()::pg_catalog.text::pg_catalog.int8
            WHERE projection = $1 AND generation = $2
            """,
            [
                .text(run.projection), .int(Int64(generation)), .text("\(position)"),
                .int(Int64(events)),
            ]
        )
        for (table, change) in changes where !change.isEmpty {
            try await connection.query(
                """
                UPDATE reprise.generation_table
                SET row_count = CASE WHEN $5 THEN 0 ELSE row_count END + $4
                WHERE projection = $1 AND generation = $2 AND table_name = $3
                """,
                [
                    .text(run.projection), .int(Int64(generation)), .text(table),
                    .int(Int64(change.inserted - change.deleted)), .bool(change.isReplaced),
                ]
            )
        }
    }
}

extension TableChanges {
    fileprivate mutating func add(_ other: TableChanges) {
        inserted += other.inserted
        updated += other.updated
        deleted += other.deleted
        isReplaced = isReplaced || other.isReplaced
    }
}

/// What keeps a generation up with the ledger until it goes live.
package struct ShadowFeed: Sendable {
    /// Brings it near the end of the ledger while everybody goes on; called before each attempt.
    let approach: @Sendable () async throws -> Void
    /// Brings it to a position or past it while the live projector stands still.
    let reach: @Sendable (_ position: String) async throws -> Void

    /// Makes a feed.
    package init(
        approach: @escaping @Sendable () async throws -> Void,
        reach: @escaping @Sendable (_ position: String) async throws -> Void
    ) {
        self.approach = approach
        self.reach = reach
    }
}

extension ReadModelDatabase {
    /// Opens a session on a built generation that is not live.
    ///
    /// - Parameters:
    ///   - projection: Whose generation.
    ///   - generation: Its number.
    ///   - run: The run that holds the projection's lock.
    ///   - body: Uses it. The session ends with it.
    /// - Returns: What `body` returns.
    /// - Throws: ``ReadModelError``; what `body` throws.
    package func withShadow<Result: Sendable>(
        of projection: ProjectionTables,
        generation: Int,
        run: Run,
        _ body: (ShadowSession) async throws -> Result
    ) async throws -> Result {
        let doing = "catching up generation \(generation) of '\(projection.name)'"
        return try await withConnection(as: "catch-up", doing: doing) { connection in
            let records = try await Bookkeeping.generations(of: projection.name, on: connection)
            guard let record = records.first(where: { $0.number == generation }) else {
                throw ReadModelError.changedMeanwhile(
                    projection: projection.name,
                    reason: "generation \(generation) is no longer there"
                )
            }
            let exchange = try await RowExchange(
                of: projection,
                in: record.homeSchema,
                on: connection
            )
            return try await body(
                ShadowSession(record, exchange: exchange, run: run, on: connection)
            )
        }
    }
}
