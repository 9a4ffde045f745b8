package import ProjectionKit
import Postgres
import Wording

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
    /// - Parameters:
    ///   - projection: What to reload.
    ///   - fold: The new rows.
    ///   - origin: What they are made of.
    ///   - run: The run that holds the projection's lock.
    ///   - guards: How much the tables may shrink.
    ///   - patience: How long to wait for locks.
    ///   - confirm: Makes sure that the ledger holds what is live; called in each attempt, while the live
    ///     projector stands still and readers go on.
    ///   - notice: Told what the cut-over waits for before its first attempt.
    /// - Returns: What was loaded, and how long readers were held up.
    /// - Throws: ``ReadModelError``; the old rows are then still there.
    package func reload(
        _ projection: ProjectionTables,
        from fold: any Fold,
        origin: RowOrigin,
        run: Run,
        guards: RowGuards,
        patience: CutOverPatience,
        confirm: @escaping @Sendable (LiveStanding?) async throws -> Void = { _ in },
        notice: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws -> ReloadResult {
        let reload = TruncateReload(database: self, projection: projection)
        let tables = projection.tables.map { fold.table(named: $0.name) }
        let doing = "reloading '\(projection.name)'"
        let (encoded, began) = try await withConnection(as: "reload", doing: doing) { connection in
            let began = try await Gates.LoadMark.now(on: connection)
            let live = try await reload.findLive(on: connection)
            try await connection.withTransaction {
                try await guards.check(
                    tables.map { ($0.name, $0.count) },
                    against: live,
                    projection: projection.name,
                    on: $0
                )
            }
            let bindings = try await reload.bind(live, on: connection).bindings
            let encoded = try zip(tables, bindings).map { table, binding in
                let target = QualifiedName(schema: liveSchema, name: table.name)
                return try RowCopy(table: table, binding: binding, target: target).encoded()
            }
            return (encoded, began)
        }
        let notice = onlyNew(notice)
        let attempt = ReloadAttempt(
            reload: reload,
            encoded: encoded,
            origin: origin,
            began: began,
            run: run,
            patience: patience,
            confirm: confirm,
            notice: notice
        )
        let ladder = LockLadder(database: self, run: run, patience: patience, notice: notice)
        let cutOver = try await ladder.climb { rung, watch in
            try await withConnection(as: "reload", doing: doing) {
                try await attempt.perform(rung, watch: watch, on: $0)
            }
        }
        let complaint = await reload.analyze()
        let unconfirmed = await awaitStandbys(notice: notice)
        let waiting = await FollowUps(projection: projection.name, database: self).perform()
        return ReloadResult(
            cutOver: cutOver,
            rows: Dictionary(uniqueKeysWithValues: tables.map { ($0.name, $0.count) }),
            bytes: encoded.map(\.byteCount).reduce(0, +),
            warnings: unconfirmed + [complaint].compactMap { $0 } + waiting
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
        } catch is CancellationError {
            return "The new rows are live, and ANALYZE of them was interrupted: run it by hand."
        } catch {
            return "The new rows are live, and ANALYZE of them failed: run it by hand. "
                + "The cause: \(TextForPeople.oneLine(error))"
        }
    }
}
