internal import ArgumentParser
internal import Foundation
internal import LedgerKit
internal import Ledgers
internal import Logging
internal import ProjectionKit
internal import ReadModels
internal import Rebuilder
internal import Wording

/// `reprise rebuild`: the whole of it.
struct RebuildCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rebuild",
        abstract: "Build a new generation from the ledger and make it live.",
        discussion: """
            Folds every event, loads the rows into new tables, indexes and checks them, and swaps \
            all tables of the projection in one transaction. Readers go on until then and are held \
            up for milliseconds. Whatever fails before that leaves the live tables as they are, and \
            the next run removes what it left behind. The generation that was live is kept: \
            '\(ProgramName.current) rollback PROJECTION' brings it back.

            Events that are appended meanwhile are caught up with, in rounds; the last of them are \
            taken up while a live projector stands still at its checkpoint and readers go on. \
            docs/live-projector.md says what the projector has to do.

            With --strategy truncate the rows are replaced in place, in one transaction; readers \
            wait for the load, and there is no way back.

            Several projections are folded in one pass over the ledger, which holds the rows of all \
            in memory, and then loaded and cut over one after the other. What the plan refuses \
            stops all of them before the pass; after it the first failure stops those behind it. \
            With --keep-going a failure stops only its own projection. Each projection is \
            reported as live, failed or not begun, and the exit status is that of the worst.

            Exit status: 0 done, 1 a check or hook says no, 2 usage, 3 the plan refuses, 4 ledger, \
            5 database, 6 an event is rejected, 7 live but a hook after it failed, 75 try again \
            later, 129, 130 or 143 interrupted.
            """
    )

    @Argument(help: ArgumentHelp("Projections to rebuild.", valueName: "projection"))
    var projections: [String] = []

    @Flag(help: "Rebuild every projection.")
    var all = false

    @Flag(
        help: ArgumentHelp(
            "Let a projection that fails stop no other: what was folded and checked is swapped in."
        )
    )
    var keepGoing = false

    @Flag(help: "Leave the new generation ready; '\(ProgramName.current) swap' makes it live.")
    var noSwap = false

    @Flag(
        help:
            "Go on with the generation that a rebuild which died or gave up after its load has left."
    )
    var resume = false

    @Option(help: "How the tables are to change.")
    var strategy = Strategy.swap

    @Flag(
        help: "Fold twice, and stop when the two give different rows; takes twice the memory."
    )
    var checkDeterminism = false

    @Option(
        help: ArgumentHelp("Retired generations to keep (default: 1).", valueName: "n")
    )
    var keep: Int?

    @Option(
        help: ArgumentHelp(
            "Connections that load, build indexes and check side by side (default: 2).",
            valueName: "n"
        )
    )
    var jobs: Int?

    @Option(
        help: ArgumentHelp(
            "Copies that are folded side by side of a projection that declares a partition key "
                + "(default: one less than the processors, 1 at least).",
            valueName: "n"
        )
    )
    var foldCopies: Int?

    @Option(
        help: ArgumentHelp(
            "Largest share of a table's rows that may be missing, in percent (default: 50).",
            valueName: "percent"
        )
    )
    var maxShrink: Double?

    @Flag(help: "Let a table that has rows become empty.")
    var allowEmpty = false

    @Flag(help: "Let readers step back to an earlier position of the ledger.")
    var allowOlder = false

    @Flag(help: "Let the tables of another ledger replace the live ones.")
    var otherLedger = false

    @Flag(
        help: ArgumentHelp(
            "Print JSON: an object for one named projection, otherwise an array with a line for each, "
                + "also when it fails or is not begun."
        )
    )
    var json = false

    @OptionGroup var program: ProgramOptions
    @OptionGroup var catchUp: CatchUpOptions
    @OptionGroup var cutOver: CutOverOptions
    @OptionGroup var consent: ConsentOptions
    @OptionGroup var ledger: LedgerOptions
    @OptionGroup var database: DatabaseOptions
    @OptionGroup var general: GeneralOptions

    func validate() throws {
        guard !(noSwap && strategy == .truncate) else {
            throw ValidationError(
                "--no-swap builds a generation aside; --strategy truncate replaces rows in place."
            )
        }
        guard !(resume && strategy == .truncate) else {
            throw ValidationError(
                "--resume goes on with a generation that was built aside; --strategy truncate has none."
            )
        }
        guard resume || !program.otherProgram else {
            throw ValidationError(
                "--other-program continues what another program has built: it goes with --resume."
            )
        }
        guard !(resume && checkDeterminism) else {
            throw ValidationError(
                "--check-determinism folds from the beginning, twice; --resume goes on in the middle."
            )
        }
    }

    func run() async throws {
        let chosen = try Registry.projections(named: projections, all: all, allowsNone: false)
        let settings = try general.settings()
        let options = try options(settings)
        let database = try database.database(settings)
        let logger = general.logger
        let keep = options.keep
        let records = RebuildRecords(chosen.count, json: json, isArray: projections.count != 1) {
            ReportText($0, kept: keep).text
        }
        var opened: [(index: Int, rebuild: WatchedRebuild)] = []
        for (index, projection) in chosen.enumerated() {
            do {
                let ledger = try await ledger.open(settings, for: projection.name)
                logger.info(
                    """
                    The ledger of '\(projection.name)' is '\(ledger.place)', its read model is in \
                    \(database.place).
                    """
                )
                let rebuild = WatchedRebuild(
                    projection: projection,
                    ledger: ledger,
                    database: database,
                    options: options,
                    logger: logger
                )
                opened.append((index, rebuild))
            } catch {
                let name = projection.name
                records.take(RebuildRecord(of: name, failed: error, isLive: false), at: index)
                if keepGoing { continue }
                for (other, projection) in chosen.enumerated() where other != index {
                    let stopped = RebuildError.stoppedByAnother(
                        projection: projection.name,
                        failed: name
                    )
                    records.take(
                        RebuildRecord(of: projection.name, failed: stopped, isLive: false),
                        at: other
                    )
                }
                return try records.finish()
            }
        }
        try await rebuild(opened, records)
        try records.finish()
    }

    private func rebuild(
        _ opened: [(index: Int, rebuild: WatchedRebuild)],
        _ records: RebuildRecords
    ) async throws {
        guard !opened.isEmpty else { return }
        let watched = opened.map(\.rebuild)
        let indices = opened.map(\.index)
        try await withProgress({ watched.line }) {
            _ = await RebuildGroup(watched.map(\.rebuild), keepsGoing: keepGoing).run {
                records.take(watched[$0].record(of: $1), at: indices[$0])
            }
        }
    }

    private func options(_ settings: Settings) throws -> RebuildOptions {
        var options = RebuildOptions()
        options.strategy = strategy
        options.swaps = !noSwap
        options.keep = try settings.keep(flag: keep)
        options.jobs = try settings.number(.jobs, flag: jobs, in: 1...64, default: 2)
        options.foldCopies = try settings.number(
            .foldCopies,
            flag: foldCopies,
            in: 1...64,
            // One processor reads the ledger.
            default: max(1, ProcessInfo.processInfo.activeProcessorCount - 1)
        )
        let shrink = try settings.decimal(
            .maxShrinkPercent,
            flag: maxShrink,
            in: 0...100,
            default: 50
        )
        options.guards = RowGuards(maxShrink: shrink / 100, allowsEmpty: allowEmpty)
        options.patience = try cutOver.patience(settings, allowsOlder: allowOlder)
        options.consent = try consent.consent(settings)
        options.hooks = try settings.hooks()
        options.lateness = try catchUp.lateness(settings)
        options.catchUpLimit = try catchUp.limit(settings)
        options.resumes = resume
        options.acceptsOtherProgram = program.otherProgram
        options.acceptsOtherLedger = otherLedger
        options.checksDeterminism = checkDeterminism
        return options
    }
}

/// One projection's rebuild, watched.
private struct WatchedRebuild {
    let projection: any Projection.Type
    let rebuild: Rebuild
    let meter: RebuildMeter
    /// Whether there is a generation to continue once it is loaded.
    private let buildsAside: Bool

    init(
        projection: any Projection.Type,
        ledger: any Ledger,
        database: ReadModelDatabase,
        options: RebuildOptions,
        logger: Logger
    ) {
        let meter = RebuildMeter(projection: projection.name)
        self.projection = projection
        self.meter = meter
        buildsAside = options.strategy != .truncate
        rebuild = Rebuild(of: projection, from: ledger, into: database, options: options) {
            take($0, meter, logger)
        }
    }

    /// What came of it.
    func record(of result: Result<RebuildReport, any Error>) -> RebuildRecord {
        do {
            return RebuildRecord(try result.get())
        } catch {
            return RebuildRecord(
                of: projection.name,
                failed: explained(error),
                isLive: [.afterSwap, .pruning].contains(meter.stage)
            )
        }
    }

    /// The failure with what it means in the stage it came in.
    private func explained(_ error: any Error) -> any Error {
        switch error {
        case is CancellationError: interruption(at: meter.stage)
        case is HookError: error
        case _ where [.afterSwap, .pruning].contains(meter.stage):
            LaterFailure(projection: projection.name, cause: error)
        case ReadModelError.unreachable(let reason)
        where buildsAside && [.catchingUp, .beforeSwap, .cuttingOver].contains(meter.stage):
            ReadModelError.lostWhenBuilt(projection: projection.name, reason: reason)
        default: error
        }
    }

    private func interruption(at stage: RebuildStage) -> Interrupted {
        let name = projection.name
        let newIsLive = "Readers see the new generation of '\(name)', whole."
        return switch stage {
        case .afterSwap:
            Interrupted(
                state: newIsLive,
                next: "The hooks after the swap did not run to their end: do by hand what they "
                    + "should have done."
            )
        case .pruning:
            Interrupted(
                state: newIsLive,
                next:
                    "Run '\(ProgramName.current) prune \(name)' to drop generations that are too old."
            )
        case .catchingUp where buildsAside, .beforeSwap where buildsAside,
            .cuttingOver where buildsAside:
            Interrupted(
                state: "The live tables are unchanged.",
                next:
                    "The new generation is built: run '\(ProgramName.current) rebuild \(name) --resume' to "
                    + "continue it. Without --resume the next run drops it before it loads another one."
            )
        default:
            Interrupted(
                state: "The live tables are unchanged.",
                next:
                    "Run '\(ProgramName.current) rebuild \(name)' again; what this run left behind is removed "
                    + "then."
            )
        }
    }
}

extension [WatchedRebuild] {
    /// The line of the one that went on last; those that fold in one pass share it.
    fileprivate var line: String? {
        guard let last = map(\.meter).max(by: { $0.since < $1.since }) else { return nil }
        let names = filter { $0.meter.stage == last.stage }.map(\.meter.projection)
        return last.line(of: last.stage == .folding ? names : [last.projection])
    }
}

/// Passes on what a rebuild tells: called from any of its threads.
private func take(_ progress: RebuildProgress, _ meter: RebuildMeter, _ logger: Logger) {
    switch progress {
    case .stage(let stage):
        meter.enter(stage)
        Console.standardError.clearProgress()
        if !Console.standardError.isTerminal {
            Console.standardError.write(line: "\(meter.projection): \(stage.rawValue)")
        }
    case .folded(let events, let total, let bucketStart):
        meter.fold(events: events, total: total, bucketStart: bucketStart)
    case .behind(let lag, let rate):
        meter.behind(lag, eventsPerSecond: rate)
    case .warning(let text):
        logger.warning("\(text)")
    }
}
