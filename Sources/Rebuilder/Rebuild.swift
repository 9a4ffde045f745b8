package import Ledgers
package import ProjectionKit
package import ReadModels

/// What a user can set about a rebuild.
package struct RebuildOptions: Sendable {
    /// How the tables are to change.
    package var strategy = Strategy.swap
    /// False builds the generation and leaves it ready.
    package var swaps = true
    /// Retired generations to keep, 0 or more.
    package var keep = 1
    /// Connections that build indexes side by side.
    package var jobs = 2
    /// How much the tables may shrink.
    package var guards = RowGuards()
    /// How patient the cut-over is.
    package var patience = CutOverPatience()
    /// What the swap may do that others notice.
    package var consent = CarryOverConsent()
    /// What is run before and after the cut-over.
    package var hooks = Hooks()

    /// The defaults.
    package init() {}
}

/// What a rebuild would do.
package struct RebuildPlan: Sendable {
    /// Events in the ledger now.
    package let events: Int
    /// Buckets that hold them.
    package let buckets: Int
    /// The first and the last of those; nil for an empty ledger.
    package let bucketRange: ClosedRange<Bucket>?
    /// Events by type, the most frequent first.
    package let types: [TypeCount]
    /// What would happen in the database.
    package let readModel: ReadModelPlan
    /// What the last rebuild took; nil when there was none.
    package let lastRebuild: PastRebuild?
}

/// Rebuilds one projection: plan, lock, fold, load, check, cut over, prune, report.
///
/// It knows the order of the stages and nothing of SQL.
package struct Rebuild: Sendable {
    private let projection: any Projection.Type
    private let tables: ProjectionTables
    private let ledger: any Ledger
    private let database: ReadModelDatabase
    private let options: RebuildOptions
    private let progress: @Sendable (RebuildProgress) -> Void

    /// Prepares a rebuild; nothing is opened yet.
    ///
    /// - Parameters:
    ///   - projection: What to rebuild.
    ///   - ledger: Where its events are.
    ///   - database: Where its tables are.
    ///   - options: What can be set.
    ///   - progress: Called from any thread, at most once for each batch of events.
    package init(
        of projection: any Projection.Type,
        from ledger: any Ledger,
        into database: ReadModelDatabase,
        options: RebuildOptions = RebuildOptions(),
        progress: @escaping @Sendable (RebuildProgress) -> Void = { _ in }
    ) {
        self.projection = projection
        tables = ProjectionTables(projection)
        self.ledger = ledger
        self.database = database
        self.options = options
        self.progress = progress
    }

    /// Says what a rebuild would do, and changes nothing.
    ///
    /// - Throws: ``LedgerError``, ``ReadModelError``.
    package func plan() async throws -> RebuildPlan {
        let ledger = ledger
        let end = try await safePosition()
        let (buckets, types) = try await onThread { _ in
            guard let end else { return ([BucketCount](), [TypeCount]()) }
            let span = PositionSpan(through: end)
            return (try ledger.bucketCounts(in: span), try ledger.typeCounts(in: span))
        }
        let range = buckets.first.flatMap { first in
            buckets.last.map { first.bucket...$0.bucket }
        }
        return RebuildPlan(
            events: buckets.map(\.events).reduce(0, +),
            buckets: buckets.count,
            bucketRange: range,
            types: types,
            readModel: try await database.plan(
                tables,
                strategy: options.strategy,
                consent: options.consent,
                patience: options.patience,
                ledgerEnd: end
            ),
            lastRebuild: try await database.lastRebuild(of: tables.name)
        )
    }

    /// Rebuilds.
    ///
    /// Until the cut-over nothing changes that readers see, whatever fails. Cancellation is noticed
    /// after each batch of events and each statement, but not inside the last message of the
    /// cut-over, which is a few milliseconds from either end.
    ///
    /// - Throws: ``EventRejection``, ``LedgerError``, ``ReadModelError``, ``HookError``,
    ///   `CancellationError`.
    package func run() async throws -> RebuildReport {
        try await database.withRun(
            of: tables.name,
            command: "rebuild",
            strategy: options.strategy.rawValue
        ) { run in
            var clock = StageClock()
            run.notes.forEach { progress(.warning($0)) }
            try await enter(.planning, run)
            let plan = try await approvedPlan()
            plan.warnings.forEach { progress(.warning($0)) }
            try await database.setUp(tables)
            clock.lap(\.plan)
            try await enter(.folding, run)
            let folded = try await fold()
            clock.lap(\.fold)
            var report =
                plan.strategy == .truncate
                ? try await reload(folded, plan: plan, run: run, clock: &clock)
                : try await buildAndSwap(folded, plan: plan, run: run, clock: &clock)
            let failure = try await afterSwap(&report, run: run, clock: &clock)
            report.warnings = run.notes + plan.warnings + report.warnings
            report.seconds = clock.seconds
            report.peakMemoryBytes = Memory.peak
            try await run.record(report: try report.json)
            if let failure { throw failure }
            return report
        }
    }
}

extension Rebuild {
    private struct Folded: Sendable {
        let fold: any Fold
        let events: Int
        let position: Position?
    }

    private func enter(_ stage: RebuildStage, _ run: Run) async throws {
        progress(.stage(stage))
        try await run.enter(stage: stage.rawValue)
    }

    private func approvedPlan() async throws -> ReadModelPlan {
        let plan = try await database.plan(
            tables,
            strategy: options.strategy,
            consent: options.consent,
            ledgerEnd: try await safePosition()
        )
        guard plan.refusals.isEmpty else {
            throw ReadModelError.refusedByPlan(projection: tables.name, reasons: plan.refusals)
        }
        return plan
    }

    /// Folds to the end of the ledger, then what was appended meanwhile.
    private func fold() async throws -> Folded {
        // A writer faster than the fold would keep it here for ever.
        let rounds = 5
        let fold = projection.makeFold()
        var events = 0
        var position: Position?
        for _ in 1...rounds {
            guard let end = try await safePosition(), end != position else { break }
            let span = PositionSpan(after: position, through: end)
            let before = events
            let total = before + (try await count(span))
            let pass = FoldPass(ledger: ledger, fold: fold) { folded, bucketStart in
                progress(
                    .folded(events: before + folded, total: total, bucketStart: bucketStart)
                )
            }
            events += try await pass.run(over: span)
            position = end
        }
        return Folded(fold: fold, events: events, position: position)
    }

    private func safePosition() async throws -> Position? {
        let ledger = ledger
        return try await onThread { _ in try ledger.safePosition() }
    }

    private func count(_ span: PositionSpan) async throws -> Int {
        let ledger = ledger
        return try await onThread { _ in
            try ledger.bucketCounts(in: span).map(\.events).reduce(0, +)
        }
    }

    /// Fails when the ledger holds other events up to the fold's end than were folded: an event of
    /// an earlier id that was committed meanwhile would be in no generation.
    private func assertUnchangedBehind(_ folded: Folded) async throws {
        guard let position = folded.position else { return }
        let found = try await count(PositionSpan(through: position))
        guard found == folded.events else {
            throw RebuildError.ledgerChangedBehind(
                projection: tables.name,
                folded: folded.events,
                found: found
            )
        }
    }

    private func buildAndSwap(
        _ folded: Folded,
        plan: ReadModelPlan,
        run: Run,
        clock: inout StageClock
    ) async throws -> RebuildReport {
        try await enter(.loading, run)
        let built = try await database.build(
            tables,
            from: folded.fold,
            position: folded.position,
            events: folded.events,
            run: run,
            jobs: options.jobs
        )
        clock.lap(\.load)
        try await enter(.checking, run)
        try await assertUnchangedBehind(folded)
        try await database.check(tables, built, guards: options.guards)
        clock.lap(\.check)
        var report = RebuildReport(
            projection: tables.name,
            run: run.id,
            strategy: Strategy.swap.rawValue,
            generation: built.number,
            position: folded.position.map { "\($0)" },
            events: folded.events,
            rows: built.rows,
            copiedBytes: built.bytes
        )
        guard options.swaps else { return report }
        let announced = report.announced(.swap, previous: plan.liveGeneration)
        try await runHooks(.before, announced, run, &clock)
        try await enter(.cuttingOver, run)
        let result = try await database.cutOver(
            tables,
            kind: .swap,
            generation: built.number,
            run: run,
            patience: options.patience,
            consent: options.consent,
            notice: { progress(.warning($0)) }
        )
        report.add(result, options.patience)
        result.warnings.forEach { progress(.warning($0)) }
        clock.lap(\.cutOver)
        return report
    }

    private func reload(
        _ folded: Folded,
        plan: ReadModelPlan,
        run: Run,
        clock: inout StageClock
    ) async throws -> RebuildReport {
        let announced = AnnouncedCutOver(
            projection: tables.name,
            kind: .truncate,
            generation: plan.generation,
            previous: plan.liveGeneration,
            run: run.id,
            position: folded.position.map { "\($0)" }
        )
        try await runHooks(.before, announced, run, &clock)
        try await assertUnchangedBehind(folded)
        try await enter(.cuttingOver, run)
        let result = try await database.reload(
            tables,
            from: folded.fold,
            position: folded.position,
            events: folded.events,
            run: run,
            guards: options.guards,
            patience: options.patience,
            notice: { progress(.warning($0)) }
        )
        clock.lap(\.cutOver)
        var report = RebuildReport(
            projection: tables.name,
            run: run.id,
            strategy: Strategy.truncate.rawValue,
            generation: result.cutOver.generation,
            position: folded.position.map { "\($0)" },
            events: folded.events,
            rows: result.rows,
            copiedBytes: result.bytes
        )
        report.add(result.cutOver, options.patience)
        report.warnings += result.warnings
        report.warnings.forEach { progress(.warning($0)) }
        return report
    }

    /// What follows a cut-over: hooks, then pruning.
    ///
    /// - Returns: The hook that failed; nothing is pruned then, and the report is still kept.
    private func afterSwap(
        _ report: inout RebuildReport,
        run: Run,
        clock: inout StageClock
    ) async throws -> HookError? {
        guard report.isLive else { return nil }
        let kind = report.strategy == Strategy.truncate.rawValue ? CutOverKind.truncate : .swap
        do {
            let announced = report.announced(kind, previous: report.previousGeneration)
            try await runHooks(.after, announced, run, &clock)
        } catch let error as HookError {
            return error
        }
        try await prune(&report, run: run, clock: &clock)
        return nil
    }

    private func runHooks(
        _ moment: Hooks.Moment,
        _ cutOver: AnnouncedCutOver,
        _ run: Run,
        _ clock: inout StageClock
    ) async throws {
        guard !options.hooks.commands(moment).isEmpty else { return }
        defer { clock.lap(\.hooks) }
        try await enter(moment.stage, run)
        try await options.hooks.run(moment, of: cutOver)
    }

    private func prune(
        _ report: inout RebuildReport,
        run: Run,
        clock: inout StageClock
    ) async throws {
        try await enter(.pruning, run)
        let result = try await database.prune(run, keep: options.keep)
        report.droppedGenerations = result.dropped
        for (generation, reason) in result.postponed.sorted(by: { $0.key < $1.key }) {
            let warning = "Generation \(generation) could not be dropped yet: \(reason)"
            report.warnings.append(warning)
            progress(.warning(warning))
        }
        clock.lap(\.prune)
    }
}

extension RebuildReport {
    fileprivate func announced(_ kind: CutOverKind, previous: Int?) -> AnnouncedCutOver {
        AnnouncedCutOver(
            projection: projection,
            kind: kind,
            generation: generation,
            previous: previous,
            run: run,
            position: position
        )
    }

    fileprivate mutating func add(_ cutOver: CutOverResult, _ patience: CutOverPatience) {
        isLive = true
        previousGeneration = cutOver.previous
        blockedMilliseconds = cutOver.blockedMilliseconds
        lockWaitMilliseconds = cutOver.lockWaitMilliseconds
        longestFailedWaitMilliseconds = cutOver.longestFailedWait
        attempts = cutOver.attempts
        outageBudgetMilliseconds = patience.outageBudget
        signalled = cutOver.signalled
        views = cutOver.views
        warnings += cutOver.warnings
    }
}

/// Measures the stages one after another.
private struct StageClock {
    var seconds = RebuildReport.Seconds()
    private var last = ContinuousClock.now

    mutating func lap(_ stage: WritableKeyPath<RebuildReport.Seconds, Double>) {
        let now = ContinuousClock.now
        let elapsed = (now - last) / .seconds(1)
        seconds[keyPath: stage] += elapsed
        seconds.total += elapsed
        last = now
    }
}
