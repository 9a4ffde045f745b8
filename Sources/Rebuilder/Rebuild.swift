package import LedgerKit
package import ProjectionKit
package import ReadModels
import Synchronization

/// What a user can set about a rebuild.
package struct RebuildOptions: Sendable {
    /// How the tables are to change.
    package var strategy = Strategy.swap
    /// False builds the generation and leaves it ready.
    package var swaps = true
    /// Retired generations to keep, 0 or more.
    package var keep = 1
    /// Connections that load, build indexes and check side by side.
    package var jobs = 2
    /// Copies that are folded side by side of a projection that declares a partition key.
    package var foldCopies = 1
    /// How much the tables may shrink.
    package var guards = RowGuards()
    /// How patient the cut-over is.
    package var patience = CutOverPatience()
    /// What the swap may do that others notice.
    package var consent = CarryOverConsent()
    /// What is run before and after the cut-over.
    package var hooks = Hooks()
    /// What is done about events that are committed late.
    package var lateness = LatenessTerms()
    /// Seconds that a catch-up may take before it gives up.
    package var catchUpLimit = 600.0
    /// Whether to go on with what a dead run has built, where there is such a generation.
    package var resumes = false
    /// Whether a generation that another program built is continued.
    package var acceptsOtherProgram = false
    /// Whether the live tables may be replaced by those of another ledger.
    package var acceptsOtherLedger = false
    /// Whether to fold twice, and to stop when the two give different rows.
    package var checksDeterminism = false

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
    /// Why the ledger is not the one that the live tables were made of; nil when it is.
    package let misfit: LedgerMismatch?
    /// What the last rebuild took; nil when there was none.
    package let lastRebuild: PastRebuild?
    /// What the next one is expected to take; nil for an empty ledger, and where a sample of it is
    /// refused.
    package let forecast: Forecast?
    /// The event that a sample of the ledger has shown to be refused.
    package let rejection: EventRejection?
}

/// Rebuilds one projection: plan, lock, fold, load, check, cut over, prune, report.
///
/// It knows the order of the stages and nothing of SQL.
package struct Rebuild: Sendable {
    private let projection: any Projection.Type
    private let tables: ProjectionTables
    fileprivate let ledger: any Ledger
    private let database: ReadModelDatabase
    private let options: RebuildOptions
    fileprivate let progress: @Sendable (RebuildProgress) -> Void

    /// The projection's name.
    var name: String { tables.name }

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
    /// - Throws: What the ledger throws, ``ReadModelError``.
    package func plan() async throws -> RebuildPlan {
        let ledger = ledger
        let end = try await safePosition()
        let (buckets, types) = try await onThread { _ in
            guard let end else { return ([BucketCount](), [TypeCount]()) }
            let span = PositionSpan(through: end)
            return (try ledger.buckets(in: span), try ledger.typeCounts(in: span))
        }
        let range = buckets.first.flatMap { first in
            buckets.last.map { first.bucket...$0.bucket }
        }
        let events = buckets.map(\.events).reduce(0, +)
        let readModel = try await database.plan(
            tables,
            strategy: options.strategy,
            consent: options.consent,
            patience: options.patience,
            ledgerEnd: end
        )
        let (forecast, rejection) = try await forecast(
            of: events,
            through: end,
            by: readModel.strategy
        )
        return RebuildPlan(
            events: events,
            buckets: buckets.count,
            bucketRange: range,
            types: types,
            readModel: readModel,
            misfit: try await misfit(of: readModel),
            lastRebuild: try await database.lastRebuild(of: tables.name),
            forecast: forecast,
            rejection: rejection
        )
    }

    /// Reckons from the last rebuild of the strategy, or else from a sample: another strategy's run says
    /// nothing of memory, time and readers.
    private func forecast(
        of events: Int,
        through end: Position?,
        by strategy: Strategy
    ) async throws -> (Forecast?, EventRejection?) {
        if let past = try await database.lastRebuild(of: tables.name, by: strategy),
            let forecast = Forecast(of: events, by: strategy, after: past)
        {
            return (forecast, nil)
        }
        guard let end else { return (nil, nil) }
        do {
            let sample = ForecastSample(
                projection: projection,
                ledger: ledger,
                strategy: strategy
            )
            return (try await sample.forecast(of: events, through: end), nil)
        } catch let rejection as EventRejection {
            return (nil, rejection)
        }
    }

    /// Rebuilds.
    ///
    /// Until the cut-over nothing changes that readers see, whatever fails. Cancellation is noticed
    /// after each batch of events and each statement, but not inside the last message of the
    /// cut-over, which is a few milliseconds from either end.
    ///
    /// - Throws: ``EventRejection``, What the ledger throws, ``ReadModelError``, ``HookError``,
    ///   `CancellationError`.
    package func run() async throws -> RebuildReport {
        try await RebuildGroup([self]).run()[0].get()
    }

    /// Takes the projection's lock and plans, then holds the lock for the time of `body`.
    ///
    /// - Throws: As ``run()`` before anything is folded; what `body` throws.
    func withOpened(_ body: @Sendable (OpenRebuild) async throws -> Void) async throws {
        try await database.withRun(
            of: tables.name,
            command: "rebuild",
            strategy: options.strategy.rawValue
        ) { run in
            let clock = StageClock()
            run.notes.forEach { progress(.warning($0)) }
            try await enter(.planning, run)
            // A load has one for each job; a cut-over three.
            try await database.assertRoom(for: max(options.jobs, 3), in: run)
            // Before the plan: what a transaction adds to a type can be used by the next one only.
            try await database.setUp(tables)
            let plan = try await approvedPlan()
            plan.warnings.forEach { progress(.warning($0)) }
            clock.lap(\.plan)
            try await body(
                OpenRebuild(
                    rebuild: self,
                    run: run,
                    plan: plan,
                    fold: options.resumes ? nil : emptyFold(),
                    clock: clock
                )
            )
        }
    }

    private func emptyFold() -> LedgerFold {
        LedgerFold(
            of: projection.makeFold(copies: options.foldCopies),
            from: ledger,
            lateness: options.lateness
        )
    }
}

/// Keeps a fold from the pass until it is loaded, and no longer: its rows may be much of the memory.
private final class FoldSlot: Sendable {
    private let kept: Mutex<LedgerFold?>

    init(_ fold: LedgerFold?) {
        kept = Mutex(fold)
    }

    var fold: LedgerFold? { kept.withLock { $0 } }

    func take() -> LedgerFold? {
        kept.withLock { fold in
            defer { fold = nil }
            return fold
        }
    }
}

/// A rebuild that holds its projection's lock and may go on.
struct OpenRebuild: Sendable {
    fileprivate let rebuild: Rebuild
    fileprivate let run: Run
    fileprivate let plan: ReadModelPlan
    private let slot: FoldSlot
    /// Measures the stages.
    let clock: StageClock

    fileprivate init(
        rebuild: Rebuild,
        run: Run,
        plan: ReadModelPlan,
        fold: LedgerFold?,
        clock: StageClock
    ) {
        self.rebuild = rebuild
        self.run = run
        self.plan = plan
        self.clock = clock
        slot = FoldSlot(fold)
    }

    /// The fold, which has read nothing yet; nil for a rebuild that goes on with an earlier one, and
    /// for one that is done with its own.
    var fold: LedgerFold? { slot.fold }

    /// What its ledger is called.
    var ledgerPlace: String { rebuild.ledger.place }

    /// The fold begins.
    func enterFolding() async throws { try await rebuild.enter(.folding, run) }

    /// Tells whoever watches the rebuild.
    func tell(_ progress: RebuildProgress) { rebuild.progress(progress) }

    /// Does all that follows the fold.
    ///
    /// - Throws: As ``Rebuild/run()``.
    func finish() async throws -> RebuildReport {
        // Others may have had their turn.
        clock.skip()
        var report = try await rebuild.work(plan, folded: slot.take(), run: run, clock: clock)
        let failure = try await rebuild.afterSwap(&report, run: run, clock: clock)
        report.warnings = run.notes + plan.warnings + report.warnings
        report.endsFollower = await rebuild.endsFollower(report, plan)
        report.seconds = clock.seconds
        report.peakMemoryBytes = Memory.peak
        try await run.record(report: try report.json)
        if let failure { throw failure }
        return report
    }
}

extension Fold {
    /// Rows of each table of working state.
    fileprivate var workingRows: [String: Int] {
        Dictionary(
            workingTables.map { ($0.name, $0.count) },
            // Two properties may hold rows of one type.
            uniquingKeysWith: +
        )
    }
}

extension Rebuild {
    fileprivate func enter(_ stage: RebuildStage, _ run: Run) async throws {
        progress(.stage(stage))
        try await run.enter(stage: stage.rawValue)
    }

    /// - Returns: True or nil; nobody being able to tell is no reason to fail behind the cut-over.
    fileprivate func endsFollower(_ report: RebuildReport, _ plan: ReadModelPlan) async -> Bool? {
        guard report.isLive else { return nil }
        let program = plan.liveProvenance?.program
        let isLeft = try? await database.leftFollower(of: tables, byProgram: program)
        return isLeft == true ? true : nil
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
        if let misfit = try await misfit(of: plan) { throw RebuildError.ledgerMismatch(misfit) }
        try await warnOfOtherPast(plan)
        return plan
    }

    /// Says that the ledger's past is not the one that the live rows were made of.
    ///
    /// It is what this rebuild repairs, and somebody should know that the ledger was changed or restored.
    private func warnOfOtherPast(_ plan: ReadModelPlan) async throws {
        guard let live = plan.live, !options.acceptsOtherLedger, !patience.allowsOlder else {
            return
        }
        let match = LedgerMatch(
            projection: tables.name,
            generation: live.generation,
            ledger: ledger,
            command: .rebuild
        )
        do {
            try await match.assert(plan.liveProvenance, at: nil)
        } catch RebuildError.ledgerMismatch(let mismatch) {
            // What came late is no change of the past; what is done about it is a policy.
            guard !mismatch.isLateness else { return }
            progress(.warning("\(mismatch.fact) The new rows are made of what it holds now."))
        }
    }

    /// Why the ledger is not the one that the live tables were made of, or an older state of it; nil when
    /// it is the one, and where that is consented to.
    private func misfit(of plan: ReadModelPlan) async throws -> LedgerMismatch? {
        do {
            if let live = plan.live { try await confirm(live, isFinal: false) }
            return nil
        } catch RebuildError.ledgerMismatch(let mismatch) {
            return mismatch
        }
    }

    /// Makes sure that the ledger is the one that the live tables were made of, and no older state of it,
    /// where that is not consented to.
    private func confirm(_ live: LiveStanding, isFinal: Bool) async throws {
        let match = LedgerMatch(
            projection: tables.name,
            generation: live.generation,
            ledger: ledger,
            command: .rebuild
        )
        if !options.acceptsOtherLedger { try await match.assert(live.ledger) }
        // What a projector writes itself need not be all of a position.
        if !patience.allowsOlder, !database.keepsOwnPosition(tables.name),
            let position = live.position
        {
            // In the cut-over the end of the ledger is compared with the generation.
            try await isFinal ? match.assertShared(position) : match.assert(position)
        }
    }

    /// Positions of two ledgers do not compare.
    private var patience: CutOverPatience {
        var patience = options.patience
        if options.acceptsOtherLedger { patience.allowsOlder = true }
        return patience
    }

    private func safePosition() async throws -> Position? {
        let ledger = ledger
        return try await onThread { _ in try ledger.safePosition() }
    }

    /// Builds and cuts over, and again from the beginning where late events ask for it.
    fileprivate func work(
        _ plan: ReadModelPlan,
        folded: LedgerFold?,
        run: Run,
        clock: StageClock
    ) async throws -> RebuildReport {
        let mostRestarts = 3
        var restarts = 0
        var folded = folded
        var resumable = try await resumable(run)
        var holdsAllRows = false
        while true {
            do {
                var report =
                    if let generation = resumable {
                        try await resume(
                            generation,
                            holdsAllRows: holdsAllRows,
                            plan: plan,
                            run: run,
                            clock: clock
                        )
                    } else {
                        try await attempt(plan, folded: folded, run: run, clock: clock)
                    }
                report.restarts = restarts
                return report
            } catch is WholeTablesWanted {
                resumable = try await self.resumable(run)
                holdsAllRows = true
            } catch let late as LateEvents {
                guard options.lateness.policy == .restart, restarts < mostRestarts else {
                    throw RebuildError.ledgerChangedBehind(
                        projection: tables.name,
                        differences: late.differences
                    )
                }
                restarts += 1
                resumable = nil
                folded = nil
                progress(.warning(late.restartNote))
                if let generation = late.generation {
                    try await database.discard(generation, run: run)
                }
            }
        }
    }

    /// The generation to go on with, when that was asked for and there is one.
    private func resumable(_ run: Run) async throws -> ResumableGeneration? {
        guard options.resumes else { return nil }
        let found = try await database.resumption(
            of: tables,
            run: run,
            acceptingOtherProgram: options.acceptsOtherProgram
        )
        switch found {
        case .generation(let generation):
            do {
                try await LedgerMatch(
                    projection: tables.name,
                    generation: generation.number,
                    ledger: ledger,
                    command: .rebuild
                ).assert(generation.provenance, at: generation.position)
                return generation
            } catch RebuildError.ledgerMismatch(let mismatch) {
                // What is done about late events is a policy, which is applied later.
                if mismatch.isLateness { return generation }
                progress(.warning("\(mismatch.fact) The rebuild begins from the beginning."))
                return nil
            }
        case .nothing(let reason):
            progress(.warning("\(reason) The rebuild begins from the beginning."))
            return nil
        }
    }

    /// Goes on with a built generation: its rows are read back where they are needed, or folded
    /// again where the reducer knows more than its rows.
    private func resume(
        _ generation: ResumableGeneration,
        holdsAllRows: Bool,
        plan: ReadModelPlan,
        run: Run,
        clock: StageClock
    ) async throws -> RebuildReport {
        try await database.withShadow(of: tables, generation: generation.number, run: run) {
            shadow in
            let fold = LedgerFold(
                of: projection.makeFold(),
                from: ledger,
                lateness: options.lateness
            )
            let obstacle =
                holdsAllRows
                ? LedgerFold.wantsWholeTables : shadow.obstacleToReadingBack(fold.fold)
            if let obstacle {
                try await refold(fold, generation, because: obstacle, run: run, clock: clock)
            } else {
                progress(.warning(generation.note))
                await fold.resume(at: generation.position, events: generation.events) {
                    try await shadow.fetch(for: $0)
                }
            }
            return try await namingEvent(of: fold) {
                try await finish(shadow, fold, plan: plan, run: run, clock: clock)
            }
        }
    }

    /// Folds from the beginning what a built generation holds already.
    private func refold(
        _ fold: LedgerFold,
        _ generation: ResumableGeneration,
        because obstacle: String,
        run: Run,
        clock: StageClock
    ) async throws {
        try await enter(.folding, run)
        progress(.warning(generation.refoldingNote(obstacle)))
        if let position = generation.position {
            try await fold.advance(to: position) { events, _, bucketStart in
                progress(
                    .folded(
                        events: events,
                        total: max(events, generation.events),
                        bucketStart: bucketStart
                    )
                )
            }
        }
        fold.fold.beginJournal(holdsAllRows: true)
        clock.lap(\.fold)
        let events = await fold.events
        guard events != generation.events, let position = generation.position else { return }
        throw LateEvents(
            generation: generation.number,
            differences: [
                BucketDifference(
                    bucket: try await bucket(at: position),
                    read: generation.events,
                    found: events
                )
            ]
        )
    }

    /// The last bucket up to a position.
    private func bucket(at position: Position) async throws -> Bucket {
        let ledger = ledger
        return try await onThread { _ in
            try ledger.buckets(in: PositionSpan(through: position)).last?.bucket
                ?? Bucket(start: 0, width: ledger.bucketWidth)
        }
    }

    private func attempt(
        _ plan: ReadModelPlan,
        folded: LedgerFold?,
        run: Run,
        clock: StageClock
    ) async throws -> RebuildReport {
        var folded =
            if let folded { try await checked(folded) } else { try await fold(run, clock) }
        var digests: [String: String]?
        if options.checksDeterminism {
            (folded, digests) = try await foldAgain(folded, run: run)
            clock.lap(\.foldAgain)
        }
        let notes = emptinessNotes(of: folded.fold, after: await folded.events)
        notes.forEach { progress(.warning($0)) }
        var report = try await namingEvent(of: folded) {
            plan.strategy == .truncate
                ? try await reload(folded, plan: plan, run: run, clock: clock)
                : try await buildAndSwap(folded, plan: plan, run: run, clock: clock)
        }
        report.digests = digests
        report.ignoredTypes = folded.fold.ignoredTypes
        report.warnings += notes
        return report
    }

    /// What is odd about a fold that a reader would take for an empty model.
    private func emptinessNotes(of fold: any Fold, after events: Int) -> [String] {
        guard fold.tables.allSatisfy({ $0.count == 0 }) else { return [] }
        if events > 0, !fold.handlesAny {
            let types = (fold.ignoredTypes ?? []).map(EventPlace.shown).joined(separator: ", ")
            return [
                "No event of the ledger changed a row of '\(tables.name)'. Its reducer handles none of "
                    + "the types that the ledger has: \(types)."
            ]
        }
        return ["All tables of '\(tables.name)' are empty after \(events) events."]
    }

    /// A fold that was made in a pass with others, unless it is of no use since.
    private func checked(_ folded: LedgerFold) async throws -> LedgerFold {
        if let failure = await folded.failure { throw failure }
        return folded
    }

    private func fold(_ run: Run, _ clock: StageClock) async throws -> LedgerFold {
        try await enter(.folding, run)
        let fold = emptyFold()
        try await fold.foldToEnd { events, total, bucketStart in
            progress(.folded(events: events, total: total, bucketStart: bucketStart))
        }
        clock.lap(\.fold)
        return fold
    }

    private func foldAgain(
        _ folded: LedgerFold,
        run: Run
    ) async throws -> (LedgerFold, [String: String]) {
        try await enter(.foldingAgain, run)
        return try await DeterminismCheck(
            projection: projection,
            ledger: ledger,
            lateness: options.lateness,
            progress: progress
        ).run(after: folded)
    }

    /// Adds to what is wrong with a row the event that it came with.
    private func namingEvent<Result>(
        of folded: LedgerFold,
        _ body: () async throws -> Result
    ) async throws -> Result {
        do {
            return try await body()
        } catch ReadModelError.rowRejected(var row) {
            if let mark = row.mark, let end = await folded.position {
                progress(
                    .warning(
                        "A row of '\(row.table)' cannot be stored. The ledger is read again to find the "
                            + "event that it came with."
                    )
                )
                let history = RowHistory(projection: projection, ledger: ledger)
                // What is known of the row counts more than why there is no more to know.
                row.event = try? await history.lastEvent(of: mark, through: end)
            }
            throw ReadModelError.rowRejected(row)
        }
    }

    /// Finds out what was committed behind the fold, and does what the policy says.
    ///
    /// - Throws: ``LateEvents``.
    private func settleLateEvents(_ fold: LedgerFold, generation: Int?) async throws {
        // Whoever commits late all the time would keep it here for ever.
        var rounds = 5
        while true {
            let differences = try await fold.differences()
            guard !differences.isEmpty else { return }
            let late = LateEvents(generation: generation, differences: differences)
            rounds -= 1
            guard options.lateness.policy == .accept, late.areAdditions, rounds > 0,
                try await fold.accept(differences) > 0
            else { throw late }
            progress(.warning(late.acceptanceNote))
        }
    }

    private func buildAndSwap(
        _ folded: LedgerFold,
        plan: ReadModelPlan,
        run: Run,
        clock: StageClock
    ) async throws -> RebuildReport {
        try await enter(.loading, run)
        for generation in try await database.dropUnswapped(run) {
            progress(
                .warning(
                    "Generation \(generation), which was ready and never went live, was dropped: this "
                        + "rebuild replaces it."
                )
            )
        }
        let built = try await database.build(
            tables,
            from: folded.fold,
            origin: try await folded.origin(),
            run: run,
            jobs: options.jobs
        )
        folded.fold.beginJournal(holdsAllRows: true)
        clock.lap(\.load)
        try await enter(.checking, run)
        try await database.check(
            tables,
            generation: built.number,
            guards: options.guards,
            jobs: options.jobs
        )
        clock.lap(\.check)
        return try await database.withShadow(of: tables, generation: built.number, run: run) {
            var report = try await finish($0, folded, plan: plan, run: run, clock: clock)
            report.copiedBytes = built.bytes
            return report
        }
    }

    /// What follows a built generation: catch-up, checks, cut-over.
    private func finish(
        _ shadow: ShadowSession,
        _ folded: LedgerFold,
        plan: ReadModelPlan,
        run: Run,
        clock: StageClock
    ) async throws -> RebuildReport {
        try await enter(.catchingUp, run)
        let catchUp = await CatchUp(
            of: tables.name,
            folded,
            into: shadow,
            terms: CatchUpTerms(
                budget: Double(options.patience.outageBudget),
                limit: options.catchUpLimit
            ),
            progress: progress
        )
        let rows = try await take(catchUp, folded, shadow, run: run, clock: clock)
        var report = RebuildReport(
            projection: tables.name,
            run: run.id,
            strategy: Strategy.swap.rawValue,
            generation: shadow.generation,
            position: await folded.position.map { "\($0)" },
            events: await folded.events,
            rows: shadow.rows,
            copiedBytes: 0
        )
        if let rows { report.rows = rows }
        report.workingRows = folded.fold.workingRows
        if options.swaps {
            try await cutOver(&report, catchUp, folded, plan: plan, run: run, clock: clock)
        }
        report.catchUpRounds = await catchUp.rounds
        report.caughtUpRows = await catchUp.rows
        report.lateEvents = await folded.lateEvents
        report.events = await folded.events
        return report
    }

    /// - Returns: The generation's rows by table, where it has other rows than before.
    private func take(
        _ catchUp: CatchUp,
        _ folded: LedgerFold,
        _ shadow: ShadowSession,
        run: Run,
        clock: StageClock
    ) async throws -> [String: Int]? {
        try await catchUp.approach()
        try await settleLateEvents(folded, generation: shadow.generation)
        try await catchUp.writeLateEvents()
        let rows = await catchUp.rows
        guard rows > 0 else {
            clock.lap(\.catchUp)
            return nil
        }
        // Not the fold's number of rows: it may hold only some.
        let total = shadow.rows.values.reduce(0, +)
        // A tenth is what autovacuum takes for a reason, too (autovacuum_analyze_scale_factor).
        if rows * 10 > total { try await shadow.analyze() }
        clock.lap(\.catchUp)
        defer { clock.lap(\.check) }
        return try await database.check(
            tables,
            generation: shadow.generation,
            guards: options.guards,
            jobs: options.jobs
        )
    }

    private func cutOver(
        _ report: inout RebuildReport,
        _ catchUp: CatchUp,
        _ folded: LedgerFold,
        plan: ReadModelPlan,
        run: Run,
        clock: StageClock
    ) async throws {
        let generation = report.generation
        let announced = report.announced(.swap, previous: plan.liveGeneration)
        if !options.hooks.commands(.before).isEmpty {
            let rows = try await database.rowsAtRest(of: generation, run: run)
            try await runHooks(.before, announced, run, clock)
            try await database.assertAtRest(rows, run: run)
        }
        try await enter(.cuttingOver, run)
        let result = try await database.cutOver(
            tables,
            kind: .swap,
            generation: generation,
            run: run,
            patience: patience,
            consent: options.consent,
            feed: ShadowFeed(
                approach: {
                    // Hooks, gates and other people's locks can have taken any time.
                    if await folded.isRecountDue {
                        try await settleLateEvents(folded, generation: generation)
                        try await catchUp.writeLateEvents()
                    }
                    try await catchUp.approachAttempt()
                },
                reach: { try await catchUp.reach($0) }
            ),
            confirm: { live in
                if let live { try await confirm(live, isFinal: true) }
                guard try await folded.isQuicklyConfirmed() else { return }
                try await settleLateEvents(folded, generation: generation)
                try await catchUp.writeLateEvents()
            },
            notice: { progress(.warning($0)) }
        )
        report.add(result, options.patience)
        result.warnings.forEach { progress(.warning($0)) }
        clock.lap(\.cutOver)
    }

    private func reload(
        _ folded: LedgerFold,
        plan: ReadModelPlan,
        run: Run,
        clock: StageClock
    ) async throws -> RebuildReport {
        let position = await folded.position
        let events = await folded.events
        let announced = AnnouncedCutOver(
            projection: tables.name,
            kind: .truncate,
            generation: plan.generation,
            previous: plan.liveGeneration,
            run: run.id,
            position: position.map { "\($0)" }
        )
        try await runHooks(.before, announced, run, clock)
        try await settleLateEvents(folded, generation: nil)
        try await enter(.cuttingOver, run)
        let result = try await database.reload(
            tables,
            from: folded.fold,
            origin: try await folded.origin(),
            run: run,
            guards: options.guards,
            patience: patience,
            confirm: { if let live = $0 { try await confirm(live, isFinal: true) } },
            notice: { progress(.warning($0)) }
        )
        clock.lap(\.cutOver)
        var report = RebuildReport(
            projection: tables.name,
            run: run.id,
            strategy: Strategy.truncate.rawValue,
            generation: result.cutOver.generation,
            position: position.map { "\($0)" },
            events: events,
            rows: result.rows,
            copiedBytes: result.bytes
        )
        report.workingRows = folded.fold.workingRows
        report.add(result.cutOver, options.patience)
        report.warnings += result.warnings
        report.warnings.forEach { progress(.warning($0)) }
        return report
    }

    /// What follows a cut-over: hooks, then pruning.
    ///
    /// - Returns: The hook that failed; nothing is pruned then, and the report is still kept.
    fileprivate func afterSwap(
        _ report: inout RebuildReport,
        run: Run,
        clock: StageClock
    ) async throws -> HookError? {
        guard report.isLive else { return nil }
        let kind = report.strategy == Strategy.truncate.rawValue ? CutOverKind.truncate : .swap
        do {
            let announced = report.announced(kind, previous: report.previousGeneration)
            try await runHooks(.after, announced, run, clock)
        } catch let error as HookError {
            return error
        }
        try await prune(&report, run: run, clock: clock)
        return nil
    }

    private func runHooks(
        _ moment: Hooks.Moment,
        _ cutOver: AnnouncedCutOver,
        _ run: Run,
        _ clock: StageClock
    ) async throws {
        guard !options.hooks.commands(moment).isEmpty else { return }
        defer { clock.lap(\.hooks) }
        try await enter(moment.stage, run)
        try await options.hooks.run(moment, of: cutOver)
    }

    private func prune(
        _ report: inout RebuildReport,
        run: Run,
        clock: StageClock
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

extension ResumableGeneration {
    fileprivate var note: String {
        "Going on with generation \(number), which was built from \(events) events at \(builtAt)."
    }

    fileprivate func refoldingNote(_ obstacle: String) -> String {
        "\(note) The events are folded again, because \(obstacle)."
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
        position = cutOver.position
        rows.merge(cutOver.rows) { $1 }
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

/// Events that were committed behind a fold, or taken away there.
private struct LateEvents: Error {
    /// The generation that does not have them; nil when none was built.
    let generation: Int?
    let differences: [BucketDifference]

    /// Whether nothing was taken away.
    var areAdditions: Bool { differences.allSatisfy { $0.found > $0.read } }

    private var buckets: String {
        let shown = 3
        let names = differences.prefix(shown).map { "\($0.bucket)" }.joined(separator: ", ")
        return differences.count > shown ? "\(names) and others" : names
    }

    private var number: Int { differences.map { abs($0.found - $0.read) }.reduce(0, +) }

    var restartNote: String {
        "The ledger changed behind the fold by \(number) events, in \(buckets): it is folded again "
            + "from its beginning."
    }

    var acceptanceNote: String {
        "\(number) events were committed late, into \(buckets): they were applied behind the others."
    }
}
