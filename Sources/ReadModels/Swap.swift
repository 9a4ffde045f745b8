import Postgres
import ProjectionKit

/// One cut-over by moving tables between schemas: a swap, or its reverse, a rollback.
struct Swap: Sendable {
    let database: ReadModelDatabase
    let projection: ProjectionTables
    let kind: CutOverKind
    let wanted: Int?
    let run: Run
    let patience: CutOverPatience

    /// One attempt, in one transaction.
    ///
    /// - Throws: ``LockLadder/Blocked`` when a lock was not to be had; the transaction is undone.
    func attempt(
        lockTimeout: Int,
        on connection: PostgresConnection
    ) async throws -> CutOverResult {
        var lockedRelations: [UInt32] = []
        var target: GenerationRecord?
        var waitBegan: ContinuousClock.Instant?
        do {
            return try await connection.withTransaction { connection in
                let fence = try await Fence.take(
                    of: projection,
                    in: database,
                    run: run,
                    on: connection
                )
                let chosen = try choose(from: fence)
                target = chosen
                lockedRelations = fence.live.oids + chosen.tables.map(\.oid)
                let batch = try await prepare(chosen, fence: fence, on: connection)
                lockedRelations += batch.views.map(\.oid)
                waitBegan = .now
                let began = ContinuousClock.now
                try await send(batch.sql(lockTimeout: lockTimeout), on: connection)
                return CutOverResult(
                    generation: chosen.number,
                    previous: fence.live.generation?.number,
                    position: chosen.position,
                    blockedMilliseconds: (ContinuousClock.now - began).milliseconds,
                    longestFailedWait: 0,
                    attempts: 1,
                    views: batch.views.map(\.name.sql)
                )
            }
        } catch let error as ServerError where error.isLockFailure {
            throw LockLadder.Blocked(
                blockers: try await connection.holders(of: lockedRelations),
                waited: waitBegan.map { (ContinuousClock.now - $0).milliseconds } ?? 0,
                readyGeneration: target?.number
            )
        }
    }

    /// Picks the generation and checks that it may go live.
    private func choose(from fence: Fence) throws -> GenerationRecord {
        let live = fence.live.generation?.number ?? -1
        let candidates = fence.records.filter {
            $0.state == .ready || $0.state == .retired
        }
        let chosen: GenerationRecord? =
            switch (wanted, kind) {
            case (let wanted?, _): candidates.first { $0.number == wanted }
            case (nil, .rollback):
                candidates.filter { $0.number < live && $0.state == .retired }
                    .min { $0.retiredRank < $1.retiredRank }
            case (nil, _): candidates.first { $0.number > live }
            }
        guard let chosen else {
            let what =
                wanted.map { "generation \($0)" }
                ?? (kind == .rollback
                    ? "retired generation before the live one"
                    : "generation newer than the live one")
            throw ReadModelError.nothingToMove(
                projection: projection.name,
                reason: "'\(projection.name)' has no \(what) to put live."
            )
        }
        try guardPosition(of: chosen, against: fence.checkpoint)
        return chosen
    }

    private func guardPosition(
        of target: GenerationRecord,
        against checkpoint: CheckpointRecord?
    ) throws {
        guard kind == .swap, !patience.allowsOlder, let livePosition = checkpoint?.position else {
            return
        }
        // Positions are written so that their texts compare as they do.
        if let position = target.position, position >= livePosition { return }
        throw ReadModelError.behindLive(
            projection: projection.name,
            generation: target.number,
            position: target.position ?? "the beginning",
            livePosition: livePosition
        )
    }

    /// Everything that can be done before readers are held up, and the text of what cannot.
    private func prepare(
        _ target: GenerationRecord,
        fence: Fence,
        on connection: PostgresConnection
    ) async throws -> SwapBatch {
        let refusals = try await Hazard.ofSwap(fence.live.oids, on: connection)
        guard refusals.isEmpty else {
            throw ReadModelError.refusedByPlan(
                projection: projection.name,
                reasons: refusals.map(\.description)
            )
        }
        try await assertAtHome(target, on: connection)
        let home = QualifiedName(schema: target.homeSchema, name: "")
        for table in fence.live.tables {
            guard let twin = target.tables.first(where: { $0.name == table.name.name }) else {
                continue
            }
            let name = QualifiedName(schema: home.schema, name: twin.name)
            let statements =
                try await TableRights.revocation(of: twin.oid, named: name, on: connection)
                + TableRights.copy(from: table.oid, to: name, on: connection)
            for statement in statements { try await connection.execute(statement) }
        }
        let retiredHome = try await retiredHome(fence.live, on: connection)
        return SwapBatch(
            kind: kind,
            runID: run.id,
            projection: projection.name,
            target: target,
            fence: fence,
            retiredHome: retiredHome,
            liveSchema: database.liveSchema,
            views: try await DependentView.over(fence.live.oids, on: connection),
            statistics: try await SwapBatch.statistics(
                of: fence.live.oids + target.tables.map(\.oid),
                on: connection
            ),
            fingerprint: try await SwapBatch.fingerprint(of: fence.live.oids, on: connection)
        )
    }

    private func assertAtHome(
        _ target: GenerationRecord,
        on connection: PostgresConnection
    ) async throws {
        let found = try await connection.query(
            """
            SELECT FROM pg_catalog.pg_class AS c
            WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND c.relnamespace = $2::pg_catalog.oid
            """,
            [.ints(target.tableOIDs), target.homeSchemaOID.map { .int(Int64($0)) } ?? .null]
        )
        guard !target.tables.isEmpty, found.rows.count == target.tables.count else {
            throw ReadModelError.changedMeanwhile(
                projection: projection.name,
                reason: "the tables of generation \(target.number) are not all in "
                    + target.homeSchema
            )
        }
    }

    /// The home of the tables that leave; made now when they never had one.
    private func retiredHome(
        _ live: LiveTables,
        on connection: PostgresConnection
    ) async throws -> String? {
        guard let generation = live.generation, !live.tables.isEmpty else { return nil }
        if let obstacle = try await live.obstacle(on: connection) {
            throw ReadModelError.changedMeanwhile(projection: projection.name, reason: obstacle)
        }
        let exists = try await connection.query(
            "SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1",
            [.text(generation.homeSchema)]
        )
        if exists.rows.isEmpty {
            try await connection.execute(
                "CREATE SCHEMA \(SQLText.identifier(generation.homeSchema))"
            )
        }
        return generation.homeSchema
    }

    /// Sends the batch, and finds out how it ended when the answer is lost.
    private func send(_ batch: String, on connection: PostgresConnection) async throws {
        do {
            // Not cancellable: from here it is the lock timeout and a few milliseconds to either end.
            try await connection.executeShielded(batch)
        } catch let error as ConnectionError {
            guard try await CommitOutcome(database: database, run: run).isCommitted() else {
                throw error
            }
        }
    }
}

/// Finds out whether a cut-over whose COMMIT was not answered took place: never guessed.
struct CommitOutcome: Sendable {
    let database: ReadModelDatabase
    let run: Run

    /// Waits until the lost session is gone, then looks for the row that its transaction wrote.
    ///
    /// - Throws: ``ReadModelError/outcomeUnknown(projection:runID:)`` when the server cannot be
    ///   asked.
    func isCommitted() async throws -> Bool {
        do {
            return try await database.withConnection(as: "outcome", doing: "asking for the outcome")
            {
                connection in
                try await connection.withTransaction { connection in
                    try await connection.execute("SET LOCAL lock_timeout = '30s'")
                    try await connection.query(
                        "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))",
                        [.text(Fence.cutOverLockName(run: run.id))]
                    )
                    let row = try await connection.query(
                        "SELECT FROM reprise.swap WHERE run_id = $1",
                        [.int(run.id)]
                    )
                    return !row.rows.isEmpty
                }
            }
        } catch {
            throw ReadModelError.outcomeUnknown(projection: run.projection, runID: run.id)
        }
    }
}

extension ServerError {
    /// A lock that was not to be had in time, a deadlock that was resolved, a statement that took
    /// too long while it waited: an attempt that may go well the next time.
    var isLockFailure: Bool {
        ["55P03", "40P01", "57014", "40001"].contains(sqlState)
    }
}
