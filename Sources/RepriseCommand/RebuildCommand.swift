internal import ArgumentParser
internal import Foundation
internal import LedgerKit
internal import Ledgers
internal import Logging
internal import ProjectionKit
internal import ReadModels
internal import Rebuilder
internal import Synchronization
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
            stops all of them before the pass; after it the first failure stops those behind it.

            Exit status: 0 done, 1 a check or hook says no, 2 usage, 3 the plan refuses, 4 ledger, \
            5 database, 6 an event is rejected, 7 live but a hook after it failed, 75 try again \
            later, 129, 130 or 143 interrupted.
            """
    )

    @Argument(help: ArgumentHelp("Projections to rebuild.", valueName: "projection"))
    var projections: [String] = []

    @Flag(help: "Rebuild every projection.")
    var all = false

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

    @Flag(help: "Print JSON: an object for one named projection, otherwise an array.")
    var json = false

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
        var opened: [WatchedRebuild] = []
        for projection in chosen {
            let ledger = try await ledger.open(settings, for: projection.name)
            logger.info(
                """
                The ledger of '\(projection.name)' is '\(ledger.place)', its read model is in \
                \(database.place).
                """
            )
            opened.append(
                WatchedRebuild(
                    projection: projection,
                    ledger: ledger,
                    database: database,
                    options: options,
                    logger: logger
                )
            )
        }
        let watched = opened
        // A report that is lost must not stop the others.
        let lost = Mutex<(any Error)?>(nil)
        let results = try await withProgress({ watched.line }) {
            await RebuildGroup(watched.map(\.rebuild)).run { report in
                if json { return }
                Console.standardError.clearProgress()
                do {
                    try ResultStream.print(
                        ReportText(report, kept: options.keep).text,
                        done: "The rebuild is done."
                    )
                } catch {
                    lost.withLock { $0 = error }
                }
            }
        }
        let reports = results.compactMap { try? $0.get() }
        if json && !reports.isEmpty {
            do { try show(reports) } catch { lost.withLock { $0 = error } }
        }
        guard let failure = watched.failure(in: results) else {
            if let error = lost.withLock({ $0 }) { throw error }
            return
        }
        if !reports.isEmpty {
            let done = reports.map(\.projection).joined(separator: ", ")
            logger.notice("Rebuilt before the failure, and not undone: \(done).")
        }
        throw failure
    }

    private func show(_ reports: [RebuildReport]) throws {
        try ResultStream.print(
            JSONOutput.list(try reports.map { try $0.json }, asArray: projections.count != 1),
            done: "The rebuild is done."
        )
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
        options.checksDeterminism = checkDeterminism
        return options
    }
}

/// One projection's rebuild, watched.
private struct WatchedRebuild {
    let projection: any Projection.Type
    let rebuild: Rebuild
    let meter: RebuildMeter

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
        rebuild = Rebuild(of: projection, from: ledger, into: database, options: options) {
            take($0, meter, logger)
        }
    }

    /// The failure with what it means in the stage it came in.
    func explained(_ error: any Error) -> any Error {
        switch error {
        case is CancellationError: interruption(at: meter.stage)
        case is HookError: error
        case _ where [.afterSwap, .pruning].contains(meter.stage):
            LaterFailure(projection: projection.name, cause: error)
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

    /// The failure that stopped the others; nil when there is none.
    fileprivate func failure(in results: [Result<RebuildReport, any Error>]) -> (any Error)? {
        var stopped: (any Error)?
        for (watched, result) in zip(self, results) {
            do {
                _ = try result.get()
            } catch RebuildError.stoppedByAnother(let projection, let failed) {
                stopped = RebuildError.stoppedByAnother(projection: projection, failed: failed)
            } catch {
                return watched.explained(error)
            }
        }
        return stopped
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
