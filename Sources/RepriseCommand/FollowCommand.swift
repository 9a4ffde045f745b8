internal import ArgumentParser
internal import LedgerKit
internal import Ledgers
internal import Logging
internal import ProjectionKit
internal import ReadModels
internal import Rebuilder
internal import Synchronization
internal import Wording

/// `reprise follow`: Reprise as the live projector.
struct FollowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "follow",
        abstract: "Keep the live tables current: apply events as they are appended.",
        discussion: """
            The same reducer as a rebuild's, applied to the live tables from their checkpoint on: \
            batch by batch, rows and position in one transaction. It runs until SIGTERM or SIGINT, \
            ends cleanly with status 0, and goes on from there the next time. Rebuilds, swaps and \
            rollbacks go on beside it: it stands still for their moment and goes on with the \
            generation that is live then. A lost connection is made again.

            Rows are read back from PostgreSQL when events need them. Where a reducer has working \
            state of its own, the ledger is folded from its beginning first, and all rows are held \
            in memory; it says so.

            '\(ProgramName.current) status' shows how far it is behind.

            Exit status: 0 stopped, 2 usage, 3 nothing is live, 4 ledger, 5 database, 6 an event is \
            rejected, 75 somebody follows already, or events were committed late.
            """
    )

    @Argument(help: "The projection.")
    var projection: String

    @Flag(help: "End at the end of the ledger.")
    var untilCaughtUp = false

    @Option(
        help: ArgumentHelp(
            "What to do about events that were committed behind the position: accept them behind "
                + "the others, or fail. Only for ledgers in which events can come "
                + "late; the embedded ledger is not one.",
            valueName: "policy"
        )
    )
    var lateEvents: FollowedLateness = .accept

    @Option(
        help: ArgumentHelp(
            "How far back from the newest event to look for late events, in seconds. "
                + "Only for ledgers in which events can come late.",
            valueName: "seconds"
        )
    )
    var latenessHorizon = 60.0

    @OptionGroup var program: ProgramOptions
    @OptionGroup var ledger: LedgerOptions
    @OptionGroup var database: DatabaseOptions
    @OptionGroup var general: GeneralOptions

    /// What can be done about late events without folding anew.
    enum FollowedLateness: String, CaseIterable, ExpressibleByArgument {
        case accept
        case fail
    }

    func validate() throws {
        guard (0...86_400).contains(latenessHorizon) else {
            throw ValidationError("--lateness-horizon must be between 0 and 86400 seconds.")
        }
    }

    func run() async throws {
        let settings = try general.settings()
        let projection = try Registry.projection(named: projection)
        var options = FollowOptions()
        options.endsAtEnd = untilCaughtUp
        options.acceptsOtherProgram = program.otherProgram
        options.lateness.policy = lateEvents == .accept ? .accept : .fail
        options.lateness.horizon = latenessHorizon
        let meter = FollowMeter(projection: projection.name, logger: general.logger)
        let follow = Follow(
            of: projection,
            from: try await ledger.open(settings, for: projection.name),
            into: try database.database(settings),
            options: options
        ) { meter.take($0) }
        try await withProgress({ meter.line }) { try await follow.run() }
        try ResultStream.print(meter.end, done: "The events are applied.")
    }
}

/// What a follower has told so far.
private final class FollowMeter: Sendable {
    private struct State {
        var report: FollowReport?
        var rate = 0.0
        var seen: (events: Int, at: ContinuousClock.Instant)?
    }

    private let projection: String
    private let logger: Logger
    private let state = Mutex(State())

    init(projection: String, logger: Logger) {
        self.projection = projection
        self.logger = logger
    }

    func take(_ progress: FollowProgress) {
        switch progress {
        case .attached(let checkpoint, let obstacle):
            if let obstacle {
                logger.notice(
                    "The ledger was folded from its beginning, and all rows are held in memory: \(obstacle)."
                )
            }
            let place = checkpoint.position.map { "position \($0)" } ?? "the beginning"
            logger.notice(
                "Following '\(projection)', generation \(checkpoint.generation), from \(place) on."
            )
        case .report(let report): take(report)
        case .ignored(let types):
            let shown = types.prefix(20).map(EventPlace.shown) + (types.count > 20 ? ["…"] : [])
            logger.notice(
                "Events of these types have changed no row so far: \(shown.joined(separator: ", "))."
            )
        case .warning(let text): logger.warning("\(text)")
        }
    }

    private func take(_ report: FollowReport) {
        state.withLock { state in
            let now = ContinuousClock.now
            if let seen = state.seen, report.events >= seen.events {
                let seconds = (now - seen.at) / .seconds(1)
                state.rate = Double(report.events - seen.events) / max(seconds, 0.001)
            }
            state.seen = (report.events, now)
            state.report = report
        }
    }

    var line: String? {
        let (report, rate) = state.withLock { ($0.report, $0.rate) }
        guard let report else { return nil }
        return "\(projection): following generation \(report.generation), "
            + "\(Figures.count(report.events, "event")), \(Figures.count(Int(rate)))/s, "
            + "\(Figures.count(report.lagEvents, "event")) and "
            + "\(Figures.decimal(report.lagSeconds, digits: 1)) s behind, "
            + Figures.mebibytes(Memory.resident)
    }

    /// What is printed when it ends.
    var end: String {
        "\(projection): stopped. '\(ProgramName.current) follow \(projection)' continues."
    }
}
