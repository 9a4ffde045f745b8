internal import ArgumentParser
internal import ReadModels
internal import Rebuilder
internal import Wording

/// `reprise status`: what is live.
struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show what is live, what is kept and who is at work.",
        discussion: """
            Reads the schema 'reprise' of the database and how much disk the generations take; it \
            needs no ledger and waits for nobody. Without a name it shows every projection. The views reprise.live and \
            reprise.run_history answer the same in psql.

            Exit status: 0 done, 2 usage, 5 database.
            """
    )

    @Argument(help: ArgumentHelp("Projections to show (default: all).", valueName: "projection"))
    var projections: [String] = []

    @Flag(help: "Print JSON: an object for one named projection, otherwise an array.")
    var json = false

    @Option(
        help: ArgumentHelp(
            "Ledger for the commands that are advised; status itself reads none.",
            valueName: "ledger"
        )
    )
    var ledger: String?

    @OptionGroup var database: DatabaseOptions
    @OptionGroup var general: GeneralOptions

    func run() async throws {
        let chosen = try Registry.projections(named: projections, all: false, allowsNone: true)
        let database = try database.database(try general.settings())
        var outlines: [StatusOutline] = []
        for projection in chosen {
            let control = GenerationControl(of: projection, in: database)
            outlines.append(StatusOutline(try await control.status(), in: database.liveSchema))
        }
        guard json else {
            return try ResultStream.print(outlines.map(\.text).joined(separator: "\n\n"))
        }
        let objects = try outlines.map { try JSONOutput.text($0) }
        try ResultStream.print(JSONOutput.list(objects, asArray: projections.count != 1))
    }
}

/// A status as `--json` prints it; the names are stable.
private struct StatusOutline: Encodable {
    struct Generation: Encodable {
        let generation: Int
        let state: String
        let homeSchema: String
        let bytes: Int64?
        let position: String?
        let events: Int?
        let liveSince: String?
        let rows: [String: Int]
    }

    struct Run: Encodable {
        let run: Int64
        let command: String
        let stage: String
        let host: String
        let pid: Int64
        let startedAt: String
        let heartbeatAt: String
        let putLive: Int?
        let isAlive: Bool
        let isStale: Bool
    }

    struct EndedRun: Encodable {
        let run: Int64
        let command: String
        let stage: String
        let endedAt: String
        let error: String?
    }

    struct Swap: Encodable {
        let kind: String
        let fromGeneration: Int?
        let toGeneration: Int
        let at: String
        let attempts: Int?
        let heldMilliseconds: Double?
        let lockWaitMilliseconds: Double?
        let longestFailedWaitMilliseconds: Double?
    }

    struct Follower: Encodable {
        let host: String
        let pid: Int64
        let startedAt: String
        let heartbeatAt: String
        let endedAt: String?
        let isAlive: Bool
        let isStale: Bool
        let events: Int
        let lateEvents: Int
        let lagEvents: Int?
        let lagSeconds: Double?
        let error: String?
    }

    let projection: String
    let liveGeneration: Int?
    let isOfOtherProgram: Bool
    let position: String?
    let generations: [Generation]
    let lastSwap: Swap?
    let follower: Follower?
    let run: Run?
    let lastRun: EndedRun?
    let doubts: [String]
    /// Where the live tables are, when they are not in the schema that was asked for.
    private let otherSchema: String?
    /// Generations to which nobody goes back by comparing them with the ledger.
    private let ofOtherPast: [Int]

    private enum CodingKeys: String, CodingKey {
        case projection, liveGeneration, isOfOtherProgram, position, generations, lastSwap,
            follower, run
        case lastRun, doubts
    }

    init(_ status: ProjectionStatus, in schema: String) {
        otherSchema = status.live.map(\.liveSchema).flatMap { $0 == schema ? nil : $0 }
        ofOtherPast = status.generations.filter(\.isOfOtherPast).map(\.number)
        projection = status.projection
        liveGeneration = status.live?.number
        isOfOtherProgram = status.isOfOtherProgram
        position = status.position
        generations = status.generations.map { generation in
            Generation(
                generation: generation.number,
                state: generation.state.rawValue,
                homeSchema: generation.homeSchema,
                bytes: generation.bytes,
                position: generation.position,
                events: generation.events,
                liveSince: generation.since,
                rows: generation.rows.compactMapValues { $0 }
            )
        }
        lastSwap = status.lastSwap.map(Swap.init)
        follower = status.follower.map(Follower.init)
        let elsewhere = status.live.flatMap { live in
            live.liveSchema == schema
                ? nil
                : "Generation \(live.number) is live in the schema '\(TextForPeople.line(live.liveSchema))', "
                    + "not in '\(TextForPeople.line(schema))', which the settings name."
        }
        doubts = [elsewhere].compactMap(\.self) + status.doubts
        lastRun = status.lastRun.map { run in
            EndedRun(
                run: run.id,
                command: run.command,
                stage: run.stage,
                endedAt: run.endedAt,
                error: run.error
            )
        }
        run = status.run.map { run in
            Run(
                run: run.id,
                command: run.command,
                stage: run.stage,
                host: run.host,
                pid: run.pid,
                startedAt: run.startedAt,
                heartbeatAt: run.heartbeatAt,
                putLive: run.putLive,
                isAlive: run.isAlive,
                isStale: run.isStale
            )
        }
    }
}

extension StatusOutline.Swap {
    fileprivate init(_ swap: ProjectionStatus.SwapLine) {
        kind = swap.kind
        fromGeneration = swap.fromGeneration
        toGeneration = swap.toGeneration
        at = swap.at
        attempts = swap.attempts
        heldMilliseconds = swap.heldMilliseconds
        lockWaitMilliseconds = swap.lockWaitMilliseconds
        longestFailedWaitMilliseconds = swap.longestFailedWaitMilliseconds
    }
}

extension StatusOutline.Follower {
    fileprivate init(_ follower: ProjectionStatus.FollowerLine) {
        host = follower.host
        pid = follower.pid
        startedAt = follower.startedAt
        heartbeatAt = follower.heartbeatAt
        endedAt = follower.endedAt
        isAlive = follower.isAlive
        isStale = follower.isStale
        events = follower.events
        lateEvents = follower.lateEvents
        lagEvents = follower.lagEvents
        lagSeconds = follower.lagSeconds
        error = follower.error
    }
}

extension StatusOutline {
    var text: String {
        var fields = FieldList()
        if let position { fields.add("position", position) }
        if let liveGeneration, isOfOtherProgram {
            fields.add(
                "reducer",
                "changed since generation \(liveGeneration): another program made its rows"
            )
        }
        fields.add("generations", generationLines)
        if let lastRun { fields.add("last run", lastRun.lines) }
        if let lastSwap { fields.add("last swap", lastSwap.lines) }
        if let follower { fields.add("follower", follower.lines) }
        if let run {
            fields.add(
                "run",
                "\(run.run), \(run.command), \(run.stage), process \(run.pid) on \(run.host), "
                    + run.fate(of: projection)
            )
        }
        if !doubts.isEmpty { fields.add("warning", doubts) }
        return "\(headline)\n\(fields.text)\(next)"
    }

    private var headline: String {
        guard let live = generations.first(where: { $0.generation == liveGeneration }) else {
            return generations.isEmpty
                ? "\(projection): nothing was built yet." : "\(projection): no generation is live."
        }
        let since = live.liveSince.map { ", since \($0)" } ?? ""
        return "\(projection): generation \(live.generation) is live\(since)."
    }

    private var generationLines: [String] {
        Columns.lines(
            generations.map { generation in
                [
                    String(generation.generation), generation.state,
                    generation.events.map { Figures.count($0, "event") } ?? "",
                    generation.bytes.map { Figures.mebibytes(Int($0)) } ?? "",
                    generation.rows.sorted { $0.key < $1.key }
                        .map { "\($0.key) \(Figures.count($0.value))" }.joined(separator: ", "),
                ]
            },
            right: [0, 2, 3]
        )
    }

    private var next: String {
        let live = liveGeneration ?? -1
        let rebuild = "\(ProgramName.current) rebuild \(projection)"
        if let run, run.isStale {
            return "Next, which ends run \(run.run): \(rebuild)"
        }
        if let run, run.isAlive {
            return
                "Next, when run \(run.run) has ended: \(ProgramName.current) status \(projection)"
        }
        if let otherSchema {
            return "Next: \(ProgramName.current) status \(projection) --schema "
                + TextForPeople.argument(otherSchema)
        }
        if !doubts.isEmpty { return "Next: \(rebuild)" }
        if generations.contains(where: { $0.state == "ready" && $0.generation > live }) {
            // One that a projector has left behind is refused by a swap.
            return "Next: \(rebuild) --resume"
        }
        if isOfOtherProgram { return "Next: \(rebuild)" }
        // An older generation does not have what was applied since, and its rows may be as wrong.
        if let follower, let error = follower.error, lastSwap?.at ?? "" < follower.endedAt ?? "" {
            return ReadModelError.isRefusal(error, toFollow: projection, generation: live)
                ? "Next: \(ProgramName.current) follow \(projection)"
                : "Next, when what ended the follower is fixed: \(rebuild)"
        }
        if let run, run.putLive != nil, run.stage == RebuildStage.afterSwap.rawValue {
            return "Next, which runs the hooks after the swap: \(rebuild)"
        }
        if let lastRun, lastRun.isFailedRebuild, run?.putLive == nil,
            lastSwap?.at ?? "" < lastRun.endedAt
        {
            return "Next, when what ended run \(lastRun.run) is fixed: \(rebuild)"
        }
        if let previous = generations.first(where: {
            $0.state == "retired" && $0.generation < live
        }) {
            let comparison =
                ofOtherPast.contains(previous.generation) ? " --without-ledger" : ""
            return "Next, to go back: \(ProgramName.current) rollback \(projection)\(comparison)"
        }
        return "Next: \(rebuild)"
    }
}

extension StatusOutline.Follower {
    /// Who it is, and how far behind.
    fileprivate var lines: [String] {
        let silence = "last heard of at \(heartbeatAt), which "
        let life =
            isStale
            ? silence + "stands still"
            : isAlive
                ? "since \(startedAt), heard of at \(heartbeatAt)"
                : endedAt.map { "stopped at \($0)" } ?? silence + "died"
        let late = lateEvents > 0 ? ", \(Figures.count(lateEvents)) of them late" : ""
        var lines = [
            "process \(pid) on \(host), \(life)",
            "\(Figures.count(events, "event")) applied\(late)",
        ]
        if let lagEvents, let lagSeconds {
            let seconds = Figures.decimal(lagSeconds, digits: 1)
            let when = isAlive && !isStale ? "" : " then"
            lines.append("\(Figures.count(lagEvents, "event")) and \(seconds) s behind\(when)")
        }
        if let error { lines += error.split(separator: "\n").map(String.init) }
        return lines
    }
}

extension StatusOutline.Run {
    /// Whether it is at work, and what it left when it is not.
    fileprivate func fate(of projection: String) -> String {
        if isStale { return "last heard of at \(heartbeatAt), which stands still" }
        if isAlive { return "since \(startedAt)" }
        let left =
            RebuildStage(rawValue: stage)?.leftBehind(of: projection, live: putLive)
            ?? putLive.map { "generation \($0) live, whole" } ?? "nothing"
        return "last heard of at \(heartbeatAt), which died and left \(left)"
    }
}

extension StatusOutline.EndedRun {
    /// Whether it was to put a generation live and has not.
    fileprivate var isFailedRebuild: Bool {
        let stage = RebuildStage(rawValue: stage)
        return command == "rebuild" && error != nil && stage != .afterSwap && stage != .pruning
    }

    /// Whether it went well, and else why not.
    fileprivate var lines: [String] {
        guard let error else { return ["\(run), \(command), done at \(endedAt)"] }
        let why = error.split(separator: "\n").prefix { !$0.hasPrefix("The live tables") }
        return ["\(run), \(command), failed at \(endedAt), \(stage):"]
            + why.map { "  \($0)" }
    }
}

extension StatusOutline.Swap {
    /// What it was, and what it took.
    fileprivate var lines: [String] {
        let from = fromGeneration.map { " from generation \($0)" } ?? ""
        let what = "\(kind)\(from) to generation \(toGeneration) at \(at)"
        guard let heldMilliseconds, let attempts else { return [what] }
        func figure(_ milliseconds: Double?) -> String {
            "\(Figures.decimal(milliseconds ?? 0, digits: 1)) ms"
        }
        let failed =
            attempts > 1
            ? "; a failed one waited for \(figure(longestFailedWaitMilliseconds)) at most" : ""
        return [
            what,
            "readers held up for \(figure(heldMilliseconds)), "
                + "\(figure(lockWaitMilliseconds)) of it for locks, "
                + "\(Figures.count(attempts, "attempt"))\(failed)",
        ]
    }
}
