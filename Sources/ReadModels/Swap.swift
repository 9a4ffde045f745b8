import Postgres
import ProjectionKit

/// One cut-over by moving tables between schemas: a swap, or its reverse, a rollback.
struct Swap: Sendable {
    let database: ReadModelDatabase
    let projection: ProjectionTables
    let kind: CutOverKind
    let run: Run
    let patience: CutOverPatience
    let consent: CarryOverConsent
    let readied: SwapReadiness

    /// One attempt, in one transaction.
    ///
    /// - Throws: ``LockLadder/Blocked`` when a lock was not to be had; the transaction is undone.
    func attempt(
        lockTimeout: Int,
        on connection: PostgresConnection
    ) async throws -> CutOverResult {
        var lockedRelations: [UInt32] = []
        var target: GenerationRecord?
        var sent: (batch: SwapBatch, at: ContinuousClock.Instant)?
        do {
            let batch = try await connection.withTransaction { connection in
                let fence = try await Fence.take(
                    of: projection,
                    in: database,
                    run: run,
                    on: connection
                )
                let chosen = try chosen(in: fence)
                target = chosen
                lockedRelations = fence.live.oids + chosen.relationOIDs.map { UInt32($0) }
                let batch = try await prepare(chosen, fence: fence, on: connection)
                lockedRelations += batch.relations
                sent = (batch, .now)
                // Not cancellable: from here it is the lock timeout and a few milliseconds to
                // either end.
                try await connection.executeShielded(batch.sql(lockTimeout: lockTimeout))
                return batch
            }
            return batch.result(since: sent?.at ?? .now)
        } catch let error as ServerError where error.isLockFailure {
            let blockers =
                lockedRelations.isEmpty
                ? try await Fence.holders(of: projection, in: database, on: connection)
                : try await connection.holders(of: lockedRelations)
            throw LockLadder.Blocked(
                blockers: blockers,
                waited: sent.map { (ContinuousClock.now - $0.at).milliseconds } ?? 0,
                readyGeneration: target?.number
            )
        } catch let error as ServerError where error.sqlState == SwapBatch.SQLState.changed {
            throw LockLadder.Blocked(
                blockers: ["a change of grants, views or tables during the attempt"],
                waited: sent.map { (ContinuousClock.now - $0.at).milliseconds } ?? 0,
                readyGeneration: target?.number
            )
        } catch let error as ServerError where error.sqlState == SwapBatch.SQLState.lostLock {
            throw ReadModelError.changedMeanwhile(
                projection: projection.name,
                reason: Run.lostLock
            )
        } catch let error as ConnectionError {
            // The answer to COMMIT is lost when the batch had been sent.
            guard let sent, try await CommitOutcome(database: database, run: run).isCommitted()
            else { throw error }
            return sent.batch.result(since: sent.at)
        }
    }

    /// The generation that was made ready, if it may still go live.
    private func chosen(in fence: Fence) throws -> GenerationRecord {
        guard
            let target = fence.records.first(where: { $0.number == readied.generation }),
            target.canGoLive
        else {
            throw ReadModelError.changedMeanwhile(
                projection: projection.name,
                reason: "generation \(readied.generation) is no longer there to put live"
            )
        }
        if kind == .swap {
            try patience.guardPosition(
                target.position,
                of: target.number,
                of: projection.name,
                against: fence.checkpoint
            )
        }
        return target
    }

    /// Everything that can be done before readers are held up, and the text of what cannot.
    private func prepare(
        _ target: GenerationRecord,
        fence: Fence,
        on connection: PostgresConnection
    ) async throws -> SwapBatch {
        // Before anything is captured: what changes after this is noticed in the batch.
        let fingerprint = try await CatalogueFingerprint.take(of: fence.live.oids, on: connection)
        let refusals = try await Hazard.ofSwap(fence.live.oids, consent: consent, on: connection)
        guard refusals.isEmpty else {
            throw ReadModelError.refusedByPlan(
                projection: projection.name,
                reasons: refusals.map(\.text)
            )
        }
        try await assertAtHome(target, on: connection)
        try await lock(target, on: connection)
        return SwapBatch(
            kind: kind,
            run: run,
            target: target,
            fence: fence,
            retiredHome: try await retiredHome(fence.live, on: connection),
            liveSchema: database.liveSchema,
            captured: try await SwapDraft(
                liveSchema: database.liveSchema,
                target: target,
                live: fence.live,
                maxima: readied.maxima
            ).prepare(on: connection),
            fingerprint: fingerprint
        )
    }

    /// Takes the exclusive locks on the tables that come while no reader of the live ones waits.
    ///
    /// Autovacuum likes fresh tables. It gives way to a lock that is waited for longer than
    /// `deadlock_timeout` (1 s), and the ladder's timeouts are shorter than that.
    private func lock(_ target: GenerationRecord, on connection: PostgresConnection) async throws {
        let names = target.tables.map {
            QualifiedName(schema: target.homeSchema, name: $0.name).sql
        }.joined(separator: ", ")
        try await connection.execute(
            "SET LOCAL lock_timeout = '2s'; LOCK TABLE \(names) IN ACCESS EXCLUSIVE MODE"
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
            [.ints(target.relationOIDs), target.homeSchemaOID.map { .int(Int64($0)) } ?? .null]
        )
        guard !target.tables.isEmpty, found.rows.count == target.relationOIDs.count else {
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
