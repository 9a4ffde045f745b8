import Postgres
import ProjectionKit

/// One attempt of a reload, in one transaction.
struct ReloadAttempt: Sendable {
    let reload: TruncateReload
    let encoded: [EncodedRows]
    let origin: RowOrigin
    /// When the reload began: the new rows are newer than every snapshot of that time.
    let began: Gates.LoadMark
    let run: Run
    let patience: CutOverPatience
    /// Makes sure that the ledger holds what is live.
    let confirm: @Sendable (LiveStanding?) async throws -> Void
    /// Told what is waited for.
    let notice: @Sendable (String) -> Void

    private var projection: ProjectionTables { reload.projection }
    private var position: String? { origin.position.map { "\($0)" } }

    func perform(
        _ rung: Rung,
        watch: BlockerWatch,
        on connection: PostgresConnection
    ) async throws -> CutOverResult {
        let warnings = try await pass(watch, on: connection)
        var state = Progress()
        do {
            try await connection.withTransaction { connection in
                let fence = try await Fence.take(
                    of: projection,
                    in: reload.database,
                    run: run,
                    on: connection
                )
                state.relations = fence.live.oids
                try await confirm(fence.checkpoint.map { LiveStanding($0) })
                try await assertFit(fence, on: connection)
                try await CutOverStop.pass(.prepared, on: connection)
                state.asked = .now
                try await lock(fence.live, rung, on: connection)
                state.hasLocks = true
                try await CutOverStop.pass(.locked, on: connection)
                try await replaceRows(of: fence, on: connection)
                try await CutOverStop.pass(.moved, on: connection)
                state.recorded = try await record(fence, rung, on: connection)
                try await CutOverStop.pass(.recorded, on: connection)
                // The rows took their time: another run may have taken over since.
                try await run.assertLockHeld(on: connection)
                state.isCommitting = true
                try await connection.executeShielded("COMMIT")
            }
        } catch let error as ServerError where error.isLockFailure && !state.hasLocks {
            let blockers =
                state.relations.isEmpty
                ? try await Fence.blockers(of: projection, in: reload.database, on: connection)
                : try await Blocker.holding(state.relations, on: connection)
            throw LockLadder.Blocked(blockers: blockers, waited: state.waited)
        } catch let error as ServerError where error.isOfPositionTemplate {
            throw ReadModelError.unwritten(error, of: projection.name)
        } catch let error as ConnectionError {
            let outcome = CommitOutcome(database: reload.database, run: run)
            guard state.isCommitting, try await outcome.record() != nil else {
                guard error.isIdleTimeout else { throw error }
                throw LockLadder.Blocked(
                    reasons: [LockLadder.stoppedProcess],
                    waited: state.waited
                )
            }
        }
        return state.result(rung, position: position, warnings: warnings)
    }

    /// How far an attempt has come.
    private struct Progress {
        var relations: [UInt32] = []
        var asked: ContinuousClock.Instant?
        var hasLocks = false
        var recorded: Recorded?
        var isCommitting = false

        /// Milliseconds since readers may have begun to queue.
        var waited: Double { asked.map { (ContinuousClock.now - $0).milliseconds } ?? 0 }

        func result(_ rung: Rung, position: String?, warnings: [String]) -> CutOverResult {
            guard let recorded else { preconditionFailure("a COMMIT of nothing") }
            var result = CutOverResult(
                generation: recorded.number,
                previous: recorded.previous,
                position: position,
                blockedMilliseconds: waited,
                longestFailedWait: rung.longestFailedWait,
                attempts: rung.attempt,
                views: []
            )
            result.lockWaitMilliseconds = recorded.lockWait
            result.positionBefore = recorded.positionBefore
            result.warnings = warnings + recorded.warnings
            return result
        }
    }

    private func pass(
        _ watch: BlockerWatch,
        on connection: PostgresConnection
    ) async throws -> [String] {
        let live = try await reload.findLive(on: connection)
        return try await Gates(
            run: run,
            patience: patience,
            live: live.oids,
            loadMark: began,
            readyGeneration: nil,
            notice: notice
        ).pass(watch: watch, on: connection)
    }

    /// Fails when readers would step back in time, or when something keeps a truncate from working.
    private func assertFit(_ fence: Fence, on connection: PostgresConnection) async throws {
        try patience.guardPosition(
            position,
            of: fence.nextGeneration,
            of: projection.name,
            against: fence.checkpoint
        )
        // A position that cannot be written is refused before readers are held up.
        _ = try positionWrite(of: fence)
        var hazards = try await Hazard.ofTruncate(fence.live.oids, on: connection)
        if projection.checks != nil {
            hazards += try await SearchPaths.obstacleToChecks(
                in: reload.database.liveSchema,
                on: connection
            )
        }
        guard hazards.isEmpty else {
            throw ReadModelError.refusedByPlan(
                projection: projection.name,
                reasons: hazards.map(\.text)
            )
        }
    }

    /// The generation that a reload has written, and the one it replaced.
    private struct Recorded {
        let number: Int
        let previous: Int?
        let positionBefore: String?
        /// Milliseconds.
        let lockWait: Double
        let warnings: [String]
    }

    private func lock(
        _ live: LiveTables,
        _ rung: Rung,
        on connection: PostgresConnection
    ) async throws {
        let names = live.tables.map(\.name.sql).joined(separator: ", ")
        // What follows takes as long as the rows need, and readers wait: that is what a reload is.
        try await connection.execute(
            """
            \(rung.begin);
            LOCK TABLE \(names) IN ACCESS EXCLUSIVE MODE;
            \(rung.locked);
            SET LOCAL statement_timeout = 0
            """
        )
        let same = try await reload.findLive(on: connection)
        guard same.oids == live.oids else {
            throw ReadModelError.changedMeanwhile(
                projection: projection.name,
                reason: "the live tables changed during the reload"
            )
        }
        try await run.assertLockHeld(on: connection)
    }

    private func replaceRows(
        of fence: Fence,
        on connection: PostgresConnection
    ) async throws {
        let triggers = try await connection.query(
            """
            SELECT t.tgname, t.tgenabled, n.nspname, c.relname
            FROM pg_catalog.pg_trigger AS t
            JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE t.tgrelid = ANY ($1::pg_catalog.oid[]) AND NOT t.tgisinternal
                AND t.tgenabled <> 'D'
            """,
            [.ints(fence.live.oids.map { Int64($0) })]
        )
        for trigger in triggers.rows {
            try await connection.execute(try alter(trigger, "DISABLE"))
        }
        let names = encoded.map(\.copy.target.sql).joined(separator: ", ")
        try await connection.execute("TRUNCATE \(names)")
        let code = try await OthersCode(of: fence.live.oids, on: connection)
        try await connection.execute("SET CONSTRAINTS ALL DEFERRED")
        // A foreign key that cannot wait is checked at the end of each COPY.
        for oid in try await ForeignKeyOrder.parentsFirst(fence.live.oids, on: connection) {
            let table = fence.live.tables.first { $0.oid == oid }
            guard let rows = encoded.first(where: { $0.copy.target == table?.name }) else {
                continue
            }
            _ = try await rows.send(as: code.operation(.writing, oid), on: connection)
        }
        // A table with pending deferred checks cannot be altered.
        try await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for trigger in triggers.rows {
            let mode =
                switch try trigger.string("tgenabled") {
                case "A": "ENABLE ALWAYS"
                case "R": "ENABLE REPLICA"
                default: "ENABLE"
                }
            try await connection.execute(try alter(trigger, mode))
        }
        if let checks = projection.checks {
            try await SQLChecks(text: checks).run(
                projection: projection.name,
                searchPath: [reload.database.liveSchema],
                on: connection
            )
        }
    }

    private func alter(_ trigger: QueryRow, _ mode: String) throws -> String {
        let table = QualifiedName(
            schema: try trigger.string("nspname"),
            name: try trigger.string("relname")
        )
        let name = SQLText.identifier(try trigger.string("tgname"))
        return "ALTER TABLE \(table.sql) \(mode) TRIGGER \(name)"
    }

    private func positionWrite(of fence: Fence) throws -> [String] {
        try reload.database.positionWrite(
            of: projection.name,
            generation: fence.nextGeneration,
            position: position
        )
    }

    /// Leaves the materialized views over the tables to be refreshed after COMMIT.
    ///
    /// - Returns: A sentence for each that is not, because its readers would have to wait.
    private func recordFollowUps(
        of fence: Fence,
        on connection: PostgresConnection
    ) async throws -> [String] {
        let views = try await MaterializedView.afterTruncate(of: fence.live.oids, on: connection)
        for followUp in views.compactMap(\.followUp) {
            try await connection.execute(followUp.record(run: run.mark))
        }
        return views.filter { $0.followUp == nil }.map { "\($0.subject): \($0.note)" }
    }

    /// Writes the new generation over the old one, which shares its tables.
    private func record(
        _ fence: Fence,
        _ rung: Rung,
        on connection: PostgresConnection
    ) async throws -> Recorded {
        let number = fence.nextGeneration
        if let old = fence.live.generation {
            try await fence.live.adopt(on: connection)
            try await Bookkeeping.setState(
                .replaced,
                of: old.number,
                projection: projection.name,
                on: connection
            )
            try await GenerationDrop.dropHome(of: old, on: connection)
        }
        var record = GenerationRecord(
            projection: projection.name,
            number: number,
            state: .live,
            liveSchema: reload.database.liveSchema,
            homeSchema: HomeSchema.usual(of: projection.name, generation: number),
            runID: run.id,
            tables: fence.live.tables.map { table in
                let rows = encoded.first { $0.copy.target.name == table.name.name }
                let before = fence.live.generation?.tables.first { $0.oid == table.oid }
                return .init(
                    name: table.name.name,
                    oid: table.oid,
                    rowCount: rows?.copy.table.count,
                    // What schema.sql said when the table was made.
                    shape: before?.shape
                )
            }
        )
        record.position = position
        record.events = origin.events
        record.builtBy = reload.database.identity(of: projection)
        record.origin = origin
        try await Bookkeeping.insert(record, on: connection)
        try await connection.query(
            "UPDATE reprise.run SET generation = $2 WHERE run_id = $1",
            [.int(run.id), .int(Int64(number))]
        )
        try await connection.execute(
            Bookkeeping.checkpointWrite(of: projection.name, generation: number)
        )
        for statement in try positionWrite(of: fence) { try await connection.execute(statement) }
        let swap = try await connection.query(
            """
            INSERT INTO reprise.swap (run_id, projection, kind, from_generation, to_generation,
                position_before, position_after, \(rung.record.columns))
            VALUES ($1, $2, 'truncate', $3, $4, $5, $6, \(rung.record.values))
            RETURNING lock_wait_ms
            """,
            [
                .int(run.id), .text(projection.name),
                fence.live.generation.map { .int(Int64($0.number)) } ?? .null,
                .int(Int64(number)), fence.checkpoint?.position.map { .text($0) } ?? .null,
                position.map { .text($0) } ?? .null,
            ]
        ).first
        return Recorded(
            number: number,
            previous: fence.live.generation?.number,
            positionBefore: fence.checkpoint?.position,
            lockWait: try swap?.optionalDouble("lock_wait_ms") ?? 0,
            warnings: try await recordFollowUps(of: fence, on: connection)
        )
    }
}
