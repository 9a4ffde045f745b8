package import ProjectionKit
import Postgres

/// What a truncate-and-reload did.
package struct ReloadResult: Sendable {
    /// Its cut-over: the time readers were held up is that of the whole reload.
    package let cutOver: CutOverResult
    /// Rows of each table, by name.
    package let rows: [String: Int]
    /// Bytes that went through COPY.
    package let bytes: Int
    /// What went wrong after the new rows were live.
    package let warnings: [String]
}

extension ReadModelDatabase {
    /// Replaces the rows of the live tables in place, in one transaction.
    ///
    /// Every row is encoded before the first lock is asked for. Then: exclusive locks, one TRUNCATE
    /// of all tables, COPY FREEZE, `checks.sql`, checkpoint, COMMIT. Readers wait that long. OIDs,
    /// views, grants, triggers and all else stay. A death at any moment leaves the old rows.
    ///
    /// User triggers are silent during the reload and are put back as they were.
    ///
    /// - Throws: ``ReadModelError``; the old rows are then still there.
    package func reload(
        _ projection: ProjectionTables,
        from fold: any Fold,
        position: Position?,
        events: Int,
        run: Run,
        guards: RowGuards,
        patience: CutOverPatience
    ) async throws -> ReloadResult {
        let reload = TruncateReload(database: self, projection: projection)
        let tables = fold.tables.filter(\.isForReaders)
        let doing = "reloading '\(projection.name)'"
        let encoded = try await withConnection(as: "reload", doing: doing) { connection in
            let live = try await reload.findLive(on: connection)
            let records = try await Bookkeeping.generations(of: projection.name, on: connection)
            try await guards.check(
                tables.map { ($0.name, $0.count) },
                against: live,
                projection: projection.name,
                generation: GenerationRecord.next(after: records, live: live),
                on: connection
            )
            let bindings = try await reload.bind(live, on: connection).bindings
            return try zip(tables, bindings).map { table, binding in
                let target = QualifiedName(schema: liveSchema, name: table.name)
                return try RowCopy(table: table, binding: binding, target: target).encoded()
            }
        }
        let attempt = ReloadAttempt(
            reload: reload,
            encoded: encoded,
            position: position.map { "\($0)" },
            events: events,
            run: run,
            patience: patience
        )
        let cutOver = try await LockLadder(projection: projection.name, patience: patience).climb {
            lockTimeout in
            try await withConnection(as: "reload", doing: doing) {
                try await attempt.perform(lockTimeout: lockTimeout, on: $0)
            }
        }
        let complaint = await reload.analyze()
        return ReloadResult(
            cutOver: cutOver,
            rows: Dictionary(uniqueKeysWithValues: tables.map { ($0.name, $0.count) }),
            bytes: encoded.map(\.byteCount).reduce(0, +),
            warnings: complaint.map { [$0] } ?? []
        )
    }
}

/// What a reload knows of the live tables.
struct TruncateReload: Sendable {
    let database: ReadModelDatabase
    let projection: ProjectionTables

    func findLive(on connection: PostgresConnection) async throws -> LiveTables {
        try await LiveTables.find(
            of: projection.name,
            declared: projection.tables.map(\.name),
            schema: database.liveSchema,
            records: try await Bookkeeping.generations(of: projection.name, on: connection),
            on: connection
        )
    }

    /// Matches the row types with the live tables.
    ///
    /// - Throws: ``ReadModelError/refusedByPlan(projection:reasons:)``.
    func bind(
        _ live: LiveTables,
        on connection: PostgresConnection
    ) async throws -> (bindings: [TableBinding], warnings: [String]) {
        var bindings: [TableBinding] = []
        var refusals: [String] = []
        var warnings: [String] = []
        for declared in projection.tables {
            guard let real = live.tables.first(where: { $0.name.name == declared.name }) else {
                refusals.append(
                    "There is no live table '\(declared.name)' to truncate; '--strategy swap' "
                        + "makes it."
                )
                continue
            }
            let result = TableBinding.match(
                declared,
                with: real,
                labels: try await connection.enumLabels(of: real.oid),
                uniqueKeys: try await connection.uniqueKeys(of: real.oid)
            )
            if let binding = result.binding { bindings.append(binding) }
            refusals += result.refusals
            warnings += result.warnings
        }
        guard refusals.isEmpty else {
            throw ReadModelError.refusedByPlan(projection: projection.name, reasons: refusals)
        }
        return (bindings, warnings)
    }

    /// Gives the planner the new rows' statistics, when nobody waits any more.
    ///
    /// - Returns: What went wrong. The new rows are live whatever happens here, so it is no failure.
    func analyze() async -> String? {
        do {
            try await database.withConnection(as: "analyze", doing: "analysing the new rows") {
                for table in projection.tables {
                    let name = QualifiedName(schema: database.liveSchema, name: table.name)
                    try await $0.execute("ANALYZE \(name.sql)")
                }
            }
            return nil
        } catch {
            return "The new rows are live, and ANALYZE of them failed: run it by hand. "
                + "The cause: \(error)"
        }
    }
}

/// One attempt of a reload, in one transaction.
private struct ReloadAttempt: Sendable {
    let reload: TruncateReload
    let encoded: [EncodedRows]
    let position: String?
    let events: Int
    let run: Run
    let patience: CutOverPatience

    private var projection: ProjectionTables { reload.projection }

    func perform(
        lockTimeout: Int,
        on connection: PostgresConnection
    ) async throws -> CutOverResult {
        var relations: [UInt32] = []
        var began: ContinuousClock.Instant?
        var hasLocks = false
        var recorded: Recorded?
        do {
            try await connection.withTransaction { connection in
                let fence = try await Fence.take(
                    of: projection,
                    in: reload.database,
                    run: run,
                    on: connection
                )
                relations = fence.live.oids
                try patience.guardPosition(
                    position,
                    of: fence.nextGeneration,
                    of: projection.name,
                    against: fence.checkpoint
                )
                let hazards = try await Hazard.ofTruncate(relations, on: connection)
                guard hazards.isEmpty else {
                    throw ReadModelError.refusedByPlan(
                        projection: projection.name,
                        reasons: hazards.map(\.text)
                    )
                }
                began = .now
                try await lock(fence.live, timeout: lockTimeout, on: connection)
                hasLocks = true
                try await replaceRows(of: fence, on: connection)
                recorded = try await record(fence, on: connection)
                try await connection.executeShielded("COMMIT")
            }
        } catch let error as ServerError where error.isLockFailure && !hasLocks {
            let blockers =
                relations.isEmpty
                ? try await Fence.holders(of: projection, in: reload.database, on: connection)
                : try await connection.holders(of: relations)
            throw LockLadder.Blocked(
                blockers: blockers,
                waited: began.map { (ContinuousClock.now - $0).milliseconds } ?? 0,
                readyGeneration: nil
            )
        } catch let error as ConnectionError {
            let outcome = CommitOutcome(database: reload.database, run: run)
            guard recorded != nil, try await outcome.isCommitted() else { throw error }
        }
        guard let recorded, let began else { preconditionFailure("a COMMIT of nothing") }
        return CutOverResult(
            generation: recorded.number,
            previous: recorded.previous,
            position: position,
            blockedMilliseconds: (ContinuousClock.now - began).milliseconds,
            longestFailedWait: 0,
            attempts: 1,
            views: []
        )
    }

    /// The generation that a reload has written, and the one it replaced.
    private struct Recorded {
        let number: Int
        let previous: Int?
    }

    private func lock(
        _ live: LiveTables,
        timeout: Int,
        on connection: PostgresConnection
    ) async throws {
        let names = live.tables.map(\.name.sql).joined(separator: ", ")
        try await connection.execute(
            """
            \(LockLadder.limits(timeout));
            LOCK TABLE \(names) IN ACCESS EXCLUSIVE MODE
            """
        )
        try await connection.execute(
            "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = '10s'"
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
        let order = try await parentsFirst(fence.live, on: connection)
        for name in order {
            guard let rows = encoded.first(where: { $0.copy.target.name == name }) else { continue }
            _ = try await rows.send(on: connection)
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
                generation: fence.nextGeneration,
                searchPath: [reload.database.liveSchema],
                on: connection
            )
        }
    }

    /// The tables' names so that a foreign key finds its parent loaded: it is checked at the end of
    /// each COPY.
    ///
    /// Where two tables refer to each other their keys must be deferrable.
    private func parentsFirst(
        _ live: LiveTables,
        on connection: PostgresConnection
    ) async throws -> [String] {
        let result = try await connection.query(
            """
            SELECT DISTINCT c.relname AS child, p.relname AS parent
            FROM pg_catalog.pg_constraint AS o
            JOIN pg_catalog.pg_class AS c ON c.oid = o.conrelid
            JOIN pg_catalog.pg_class AS p ON p.oid = o.confrelid
            WHERE o.contype = 'f' AND o.conrelid = ANY ($1::pg_catalog.oid[])
                AND o.confrelid = ANY ($1::pg_catalog.oid[]) AND o.conrelid <> o.confrelid
            """,
            [.ints(live.oids.map { Int64($0) })]
        )
        let edges = try result.rows.map { (try $0.string("child"), try $0.string("parent")) }
        var waiting = encoded.map(\.copy.target.name)
        var ordered: [String] = []
        while !waiting.isEmpty {
            let free = waiting.filter { name in
                !edges.contains { $0.0 == name && waiting.contains($0.1) }
            }
            ordered += free.isEmpty ? waiting : free
            waiting.removeAll { ordered.contains($0) }
        }
        return ordered
    }

    private func alter(_ trigger: QueryRow, _ mode: String) throws -> String {
        let table = QualifiedName(
            schema: try trigger.string("nspname"),
            name: try trigger.string("relname")
        )
        let name = SQLText.identifier(try trigger.string("tgname"))
        return "ALTER TABLE \(table.sql) \(mode) TRIGGER \(name)"
    }

    /// Writes the new generation over the old one, which shares its tables.
    private func record(
        _ fence: Fence,
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
            runID: run.id,
            tables: fence.live.tables.map { table in
                let rows = encoded.first { $0.copy.target.name == table.name.name }
                return .init(
                    name: table.name.name,
                    oid: table.oid,
                    rowCount: rows?.copy.table.count
                )
            }
        )
        record.position = position
        record.events = events
        try await Bookkeeping.insert(record, on: connection)
        try await connection.query(
            "UPDATE reprise.run SET generation = $2 WHERE run_id = $1",
            [.int(run.id), .int(Int64(number))]
        )
        try await connection.query(
            """
            INSERT INTO reprise.checkpoint (projection, generation, position) VALUES ($1, $2, $3)
            ON CONFLICT (projection) DO UPDATE SET generation = excluded.generation,
                position = excluded.position, updated_at = excluded.updated_at
            """,
            [
                .text(projection.name), .int(Int64(number)), position.map { .text($0) } ?? .null,
            ]
        )
        try await connection.query(
            """
            INSERT INTO reprise.swap (run_id, projection, kind, from_generation, to_generation,
                position_before, position_after)
            VALUES ($1, $2, 'truncate', $3, $4, $5, $6)
            """,
            [
                .int(run.id), .text(projection.name),
                fence.live.generation.map { .int(Int64($0.number)) } ?? .null,
                .int(Int64(number)), fence.checkpoint?.position.map { .text($0) } ?? .null,
                position.map { .text($0) } ?? .null,
            ]
        )
        return Recorded(number: number, previous: fence.live.generation?.number)
    }
}
