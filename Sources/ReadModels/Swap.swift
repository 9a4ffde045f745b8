import Postgres
import ProjectionKit
import Wording

/// One cut-over by moving tables between schemas: a swap, or its reverse, a rollback.
struct Swap: Sendable {
    let database: ReadModelDatabase
    let projection: ProjectionTables
    let kind: CutOverKind
    let run: Run
    let patience: CutOverPatience
    let consent: CarryOverConsent
    let readied: SwapReadiness
    /// What keeps the generation up with the ledger; nil when nothing does.
    let feed: ShadowFeed?
    /// Makes sure that the ledger holds what the generation was made of, and what is live.
    let confirm: @Sendable (LiveStanding?) async throws -> Void
    /// Told what is waited for.
    let notice: @Sendable (String) -> Void

    /// What a rebuild can continue when the cut-over gives up.
    private var readyGeneration: Int? { readied.isReady ? readied.generation : nil }

    /// One attempt, in one transaction.
    ///
    /// - Throws: ``LockLadder/Blocked`` when a gate is closed, a lock was not to be had, or time ran
    ///   out; the transaction is undone.
    func attempt(
        _ rung: Rung,
        watch: BlockerWatch,
        on connection: PostgresConnection
    ) async throws -> CutOverResult {
        let warnings = try await pass(watch, on: connection)
        var state = Attempt()
        do {
            var result = try await connection.withTransaction { connection in
                let fence = try await fence(on: connection)
                let chosen = try chosen(in: fence)
                state.target = chosen
                state.relations = fence.live.oids + chosen.relationOIDs.map { UInt32($0) }
                let batch = try await prepare(chosen, fence: fence, on: connection)
                state.relations += batch.relations
                try await CutOverStop.pass(.prepared, on: connection)
                state.sent = (batch, .now)
                // Not cancellable: from here it is the outage budget to either end.
                let answers = try await connection.executeEachShielded(batch.sql(rung))
                return batch.result(rung, since: state.sent?.at ?? .now, answers)
            }
            result.warnings += warnings
            return result
        } catch let error as ServerError {
            throw try await blocked(by: error, state, rung, on: connection)
        } catch let error as ConnectionError {
            // The answer to COMMIT is lost when the batch had been sent.
            let outcome = CommitOutcome(database: database, run: run)
            guard let sent = state.sent, let recorded = try await outcome.record() else {
                guard error.isIdleTimeout else { throw error }
                throw LockLadder.Blocked(
                    reasons: [LockLadder.stoppedProcess],
                    waited: state.waited,
                    readyGeneration: readyGeneration
                )
            }
            var result = sent.batch.result(rung, since: sent.at, [recorded])
            result.warnings += warnings
            return result
        }
    }

    /// Guard and fence, and the generation brought to where the projector stands, now that it
    /// stands still and readers go on.
    private func fence(on connection: PostgresConnection) async throws -> Fence {
        let fence = try await Fence.take(of: projection, in: database, run: run, on: connection)
        var reached = fence
        if let feed, let live = fence.checkpoint?.position,
            let target = fence.records.first(where: { $0.number == readied.generation }),
            (target.position ?? "") < live
        {
            try await feed.reach(live)
            reached = try await Fence.look(at: projection, in: database, on: connection)
            reached.checkpoint = fence.checkpoint
            // They count from the round on that was just written. The projector waits as well; the
            // next attempt would need another round, and wait for others.
            _ = try await gates(live: fence.live.oids, on: connection).awaitSnapshots(
                for: .seconds(3),
                on: connection
            )
        }
        // What was committed late since the last look would be in no generation.
        try await confirm(fence.checkpoint.map { LiveStanding($0) })
        return reached
    }

    /// How far an attempt has come.
    private struct Attempt {
        var relations: [UInt32] = []
        var target: GenerationRecord?
        var sent: (batch: SwapBatch, at: ContinuousClock.Instant)?

        /// Milliseconds since readers may have begun to queue.
        var waited: Double { sent.map { (ContinuousClock.now - $0.at).milliseconds } ?? 0 }
    }

    private func pass(
        _ watch: BlockerWatch,
        on connection: PostgresConnection
    ) async throws -> [String] {
        var seen = try await Fence.look(at: projection, in: database, on: connection)
        seen.checkpoint = try await database.checkpoint(of: projection.name, on: connection)
        _ = try chosen(in: seen, isFinal: feed == nil)
        return try await gates(live: seen.live.oids, on: connection).pass(
            watch: watch,
            on: connection
        )
    }

    private func gates(
        live: [UInt32],
        on connection: PostgresConnection
    ) async throws -> Gates {
        let marks = try await Gates.LoadMark.find(
            of: readied.generation,
            of: projection.name,
            on: connection
        )
        return Gates(
            run: run,
            patience: patience,
            live: live,
            loadMark: marks.load,
            roundMark: marks.round,
            readyGeneration: readyGeneration,
            notice: notice
        )
    }

    /// What to throw after an error of the server.
    private func blocked(
        by error: ServerError,
        _ state: Attempt,
        _ rung: Rung,
        on connection: PostgresConnection
    ) async throws -> any Error {
        var blocked = LockLadder.Blocked(
            waited: state.waited,
            readyGeneration: readyGeneration
        )
        switch error.sqlState {
        case SwapBatch.SQLState.changed:
            blocked.reasons = ["a change of grants, views or tables during the attempt"]
        case SwapBatch.SQLState.otherMeaning:
            let objects = (error.detail ?? "").split(separator: "\n").joined(separator: ", ")
            blocked.reasons = ["a change of what \(objects) means during the attempt"]
        case SwapBatch.SQLState.lostLock:
            return ReadModelError.lockLost(doing: "cutting over '\(projection.name)'")
        case SwapBatch.SQLState.changedByTrigger:
            return ReadModelError.refusedByPlan(
                projection: projection.name,
                reasons: [
                    CutOverProbe.complaint(
                        of: state.sent?.batch.captured.eventTriggers ?? [],
                        changing: (error.detail ?? "").split(separator: "\n").map(String.init)
                    )
                ]
            )
        case SwapBatch.SQLState.unwritten, SwapBatch.SQLState.misread:
            return ReadModelError.unwritten(error, of: projection.name)
        default:
            if let crowding = rung.crowding(error, among: state.sent?.batch.lockCount ?? 0) {
                blocked.crowding = crowding
            } else if let overrun = rung.overrun(error, after: blocked.waited) {
                blocked.overrun = overrun
            } else if error.isLockFailure {
                blocked.blockers =
                    state.relations.isEmpty
                    ? try await Fence.blockers(of: projection, in: database, on: connection)
                    : try await Blocker.holding(state.relations, on: connection)
            } else {
                return error
            }
        }
        return blocked
    }

    /// The generation that was made ready, if it may still go live.
    ///
    /// - Parameters:
    ///   - fence: What there is.
    ///   - isFinal: Whether nothing more will be added to it before it goes live.
    /// - Returns: The generation.
    /// - Throws: ``ReadModelError``.
    private func chosen(in fence: Fence, isFinal: Bool = true) throws -> GenerationRecord {
        guard
            let target = fence.records.first(where: { $0.number == readied.generation }),
            target.canGoLive
        else {
            throw ReadModelError.changedMeanwhile(
                projection: projection.name,
                reason: "generation \(readied.generation) is no longer there to put live"
            )
        }
        if kind == .swap && isFinal {
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
        try await assertSameShape(target, live: fence.live, on: connection)
        try await assertAtHome(target, on: connection)
        try await lock(target, on: connection)
        return SwapBatch(
            kind: kind,
            run: run.mark,
            target: target,
            fence: fence,
            retiredHome: try await retiredHome(fence.live, on: connection),
            liveSchema: database.liveSchema,
            captured: try await SwapDraft(
                liveSchema: database.liveSchema,
                target: target,
                live: fence.live,
                maxima: try await maxima(of: target, live: fence.live, on: connection),
                paths: readied.paths,
                schema: projection.schema
            ).prepare(on: connection),
            fingerprint: fingerprint,
            positionWrite: try database.positionWrite(of: target)
        )
    }

    /// The values that sequences have to pass; read again where rows were added meanwhile.
    private func maxima(
        of target: GenerationRecord,
        live: LiveTables,
        on connection: PostgresConnection
    ) async throws -> [UInt32: Int64] {
        guard target.position != readied.position else { return readied.maxima }
        return try await OwnedSequences.maxima(
            of: target.tables.map(\.oid),
            besides: live.oids,
            on: connection
        )
    }

    /// Fails when the live tables were altered since the generation was built.
    ///
    /// It does not have what was put onto them. One that was live before is as it was then.
    private func assertSameShape(
        _ target: GenerationRecord,
        live: LiveTables,
        on connection: PostgresConnection
    ) async throws {
        guard target.state == .ready, let built = target.liveShape, !live.tables.isEmpty,
            try await LiveShape.digest(of: live.oids, on: connection) != built
        else { return }
        throw ReadModelError.changedMeanwhile(
            projection: projection.name,
            reason: "the live tables' columns, indexes, constraints or settings were changed since "
                + "generation \(target.number) was built, which does not have the change. "
                + "'\(ProgramName.current) rebuild \(projection.name)' carries it over"
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
        let found = try await connection.query(
            "SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1",
            [.text(generation.homeSchema)]
        ).first
        let oid = try found.map { UInt32(try $0.int("oid")) }
        if oid == nil || oid != generation.homeSchemaOID {
            // The server refuses a name that was taken since the tables were looked up.
            try await HomeSchema.make(generation.homeSchema, on: connection)
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
    /// - Returns: What the row says of the attempt; nil when it did not take place.
    /// - Throws: ``ReadModelError/outcomeUnknown(projection:runID:)`` when the server cannot be
    ///   asked.
    func record() async throws -> QueryResult? {
        do {
            return try await database.withConnection(
                as: "outcome",
                doing: "asking for the outcome",
                outlivesRun: true
            ) { connection in
                try await connection.withTransaction { connection in
                    try await connection.execute("SET LOCAL lock_timeout = '30s'")
                    return try await Self.row(of: run.id, on: connection)
                }
            }
        } catch {
            throw ReadModelError.outcomeUnknown(projection: run.projection, runID: run.id)
        }
    }

    /// The same in the caller's transaction, whose `lock_timeout` limits the wait.
    static func row(of run: Int64, on connection: PostgresConnection) async throws -> QueryResult? {
        try await connection.query(
            "SELECT FROM reprise.run WHERE run_id = $1 FOR UPDATE",
            [.int(run)]
        )
        let found = try await connection.query(
            "SELECT to_generation, lock_wait_ms FROM reprise.swap WHERE run_id = $1",
            [.int(run)]
        )
        return found.rows.isEmpty ? nil : found
    }
}

extension ServerError {
    /// A lock that was not to be had in time, a deadlock that was resolved, a statement that took
    /// too long while it waited: an attempt that may go well the next time.
    var isLockFailure: Bool {
        ["55P03", "40P01", "57014", "40001", Rung.locksTooLong].contains(sqlState)
    }
}
