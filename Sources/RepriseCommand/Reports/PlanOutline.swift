internal import LedgerKit
internal import Ledgers
internal import ProjectionKit
internal import ReadModels
internal import Rebuilder
internal import Wording

/// A plan as `plan --json` prints it; the names are stable.
struct PlanOutline: Encodable {
    struct TypeLine: Encodable {
        let type: String
        let events: Int
    }

    struct TableLine: Encodable {
        let name: String
        let columns: Int
        let liveRows: Int?
        let liveBytes: Int64?
    }

    /// Bytes on disk, indexes included.
    struct Disk: Encodable {
        /// Of the new rows, needed beside the live ones; nil where there is nothing to reckon it from.
        let expectedBytes: Int64?
        /// Whether the live ones stay beside them when the command has ended: a truncate frees them.
        let keepsOld: Bool
        /// Of generations that are not live.
        let heldBytes: Int64
        /// The numbers of these.
        let heldBy: [Int]
    }

    struct FindingLine: Encodable {
        let level: String
        let subject: String?
        let note: String
    }

    struct LastRebuild: Encodable {
        let events: Int
        let seconds: Double
        let peakMemoryBytes: Int
    }

    struct Expectation: Encodable {
        /// `last rebuild` or `sample`.
        let from: String
        /// Events of the rebuild or the sample.
        let fromEvents: Int
        let rows: [String: Int]
        let peakMemoryBytes: Int
        /// Of the whole rebuild; nil when it was reckoned from a sample.
        let seconds: Double?
        /// Of the fold, when it was reckoned from a sample.
        let foldSeconds: Double?
        /// How long readers wait at most; nil where no rebuild of the strategy has told.
        let readersWaitSeconds: Double?
    }

    let projection: String
    let strategy: String
    let generation: Int
    let homeSchema: String
    let liveGeneration: Int?
    let livePosition: String?
    let adoptsLive: Bool
    let events: Int
    let buckets: Int
    let bucketWidthMs: Int64
    /// When the first bucket begins and the last one ends.
    let from: String?
    let to: String?
    let types: [TypeLine]
    let tables: [TableLine]
    let disk: Disk
    let findings: [FindingLine]
    let lastRebuild: LastRebuild?
    let expected: Expectation?

    init(_ plan: RebuildPlan, bucketWidth: Int64) {
        let model = plan.readModel
        projection = model.projection
        strategy = model.strategy.rawValue
        generation = model.generation
        homeSchema = model.homeSchema
        liveGeneration = model.liveGeneration
        livePosition = model.livePosition
        adoptsLive = model.adoptsLive
        events = plan.events
        buckets = plan.buckets
        bucketWidthMs = bucketWidth
        from = plan.bucketRange.map { "\(Timestamp(milliseconds: $0.lowerBound.start))" }
        to = plan.bucketRange.map { "\(Timestamp(milliseconds: $0.upperBound.end))" }
        types = plan.types.map { TypeLine(type: $0.type, events: $0.events) }
        tables = model.tables.map {
            TableLine(
                name: $0.name,
                columns: $0.columns,
                liveRows: $0.liveRows,
                liveBytes: $0.liveBytes
            )
        }
        // It grows with the events, as the rows do.
        let growth = plan.lastRebuild.map { Double(plan.events) / Double(max(1, $0.events)) } ?? 1
        let live = model.tables.compactMap(\.liveBytes).reduce(0, +)
        disk = Disk(
            expectedBytes: live > 0
                ? Int64(Double(live) * growth) : plan.forecast?.tableBytes.map { Int64($0) },
            keepsOld: model.strategy != .truncate,
            heldBytes: model.heldBytes.values.reduce(0, +),
            heldBy: model.heldBytes.keys.sorted()
        )
        findings =
            model.findings.map {
                FindingLine(level: $0.level.rawValue, subject: $0.subject, note: $0.note)
            } + (plan.misfit.map { [FindingLine($0)] } ?? [])
            + (plan.rejection.map { [FindingLine($0)] } ?? [])
            + (TypeCount.warning(types: plan.types.count).map { [FindingLine(types: $0)] } ?? [])
        expected = plan.forecast.map { Expectation($0) }
        lastRebuild = plan.lastRebuild.map {
            LastRebuild(
                events: $0.events,
                seconds: $0.seconds,
                peakMemoryBytes: $0.peakMemoryBytes
            )
        }
    }
}

extension PlanOutline.Expectation {
    init(_ forecast: Forecast) {
        (from, fromEvents) =
            switch forecast.basis {
            case .lastRebuild(let events): ("last rebuild", events)
            case .sample(let events): ("sample", events)
            }
        rows = forecast.rows
        peakMemoryBytes = forecast.peakMemoryBytes
        seconds = forecast.isWhole ? forecast.seconds : nil
        foldSeconds = forecast.isWhole ? nil : forecast.seconds
        readersWaitSeconds = forecast.readersWait
    }

    func lines(of strategy: String) -> [String] {
        let total = rows.values.reduce(0, +)
        let memory = "\(Figures.mebibytes(peakMemoryBytes)) of memory"
        guard let seconds else {
            return [
                "about \(Figures.count(total, "row")) and \(memory), a fold of "
                    + "\(Figures.seconds(foldSeconds ?? 0)) and then their load",
                strategy == Strategy.truncate.rawValue
                    ? "readers wait while these rows are loaded and indexed"
                    : "readers wait within the outage budget",
                "reckoned from a fold of the first \(Figures.count(fromEvents, "event"))",
            ]
        }
        return [
            "about \(Figures.count(total, "row")), \(memory) and \(Figures.seconds(seconds))"
        ]
            + (readersWaitSeconds.map {
                ["readers wait \(Figures.seconds($0)) if nothing was put onto the tables since"]
            } ?? []) + [
                "reckoned from the last rebuild by \(strategy)"
            ]
    }
}

extension PlanOutline.FindingLine {
    /// A ledger that a rebuild would refuse.
    init(_ misfit: LedgerMismatch) {
        self.init(
            level: Finding.Level.refuse.rawValue,
            subject: "the ledger",
            note: "\(misfit.fact) \(misfit.advice)"
        )
    }

    /// So many event types that they are likely not to be types.
    init(types note: String) {
        self.init(level: Finding.Level.warn.rawValue, subject: "event types", note: note)
    }

    /// An event that a rebuild would stop at.
    init(_ rejection: EventRejection) {
        self.init(
            level: Finding.Level.warn.rawValue,
            subject: "event at position \(rejection.event.position)",
            note: "a rebuild would stop at it: \(rejection.path.map { "\($0) " } ?? "")"
                + "\(rejection.reason)"
        )
    }
}

extension PlanOutline {
    /// Whether something stops the rebuild.
    var isRefused: Bool { findings.contains { $0.level == Finding.Level.refuse.rawValue } }

    /// The plan for people.
    var text: String {
        var fields = FieldList()
        fields.add("ledger", ledgerLine)
        fields.add("types", typeLines)
        fields.add("live", liveLine)
        fields.add("strategy", strategyLine)
        fields.add("tables", tableLines)
        fields.add("disk", diskLines)
        fields.add("last run", lastRunLine)
        fields.add("expected", expected?.lines(of: strategy) ?? [])
        return "\(headline)\n\(fields.text)\(findingText)\(next)"
    }

    private var headline: String {
        guard !isRefused else { return "\(projection): a rebuild is refused." }
        return strategy == Strategy.truncate.rawValue
            ? "\(projection): generation \(generation) would replace the rows in place."
            : "\(projection): generation \(generation) would be built in the schema "
                + "\(homeSchema) and swapped in."
    }

    private var ledgerLine: String {
        guard let from, let to else { return "no events" }
        return "\(Figures.count(events, "event")) in \(Figures.count(buckets, "bucket")) of "
            + "\(Figures.width(milliseconds: bucketWidthMs)), \(from) to \(to)"
    }

    private var typeLines: [String] {
        let shown = 10
        var rows = types.prefix(shown).map { [Figures.count($0.events), $0.type] }
        if types.count > shown {
            let rest = types.dropFirst(shown)
            rows.append([
                Figures.count(rest.map(\.events).reduce(0, +)), "of \(rest.count) other types",
            ])
        }
        return Columns.lines(rows, right: [0])
    }

    private var liveLine: String {
        guard let liveGeneration else { return "nothing yet" }
        guard !adoptsLive else {
            return "tables that were made by hand; they become generation \(liveGeneration)"
        }
        return "generation \(liveGeneration)" + (livePosition.map { " at position \($0)" } ?? "")
    }

    private var strategyLine: String {
        strategy == Strategy.truncate.rawValue
            ? "truncate: the rows are replaced in one transaction; readers wait for COPY and indexes"
            : "swap: new tables change places with the live ones; readers wait for milliseconds"
    }

    private var tableLines: [String] {
        Columns.lines(
            tables.map { table in
                [
                    SQLName.plain(table.name), Figures.count(table.columns, "column"),
                    table.liveRows.map { "about \(Figures.count($0)) rows" } ?? "not there yet",
                    table.liveBytes.map { Figures.mebibytes(Int($0)) } ?? "",
                ]
            },
            right: [3]
        )
    }

    private var diskLines: [String] {
        var lines: [String] = []
        if let bytes = disk.expectedBytes {
            let size = Figures.mebibytes(Int(bytes))
            lines.append(
                disk.keepsOld
                    ? "about \(size) for generation \(generation), beside the live one until it is dropped"
                    : "about \(size) for the new rows, beside the old ones until COMMIT, which frees those"
            )
            lines.append("and about as much in the WAL, until standbys and slots have read it")
        }
        if !disk.heldBy.isEmpty {
            let numbers = disk.heldBy.map(String.init).joined(separator: ", ")
            lines.append(
                "\(Figures.mebibytes(Int(disk.heldBytes))) are held by generation \(numbers)"
            )
        }
        return lines
    }

    private var lastRunLine: [String] {
        guard let lastRebuild else { return [] }
        return [
            "\(Figures.count(lastRebuild.events, "event")) in "
                + "\(Figures.seconds(lastRebuild.seconds)), "
                + "\(Figures.mebibytes(lastRebuild.peakMemoryBytes)) of memory at its peak"
        ]
    }

    /// A line each: `ok`, `warn` or `refuse`, the object, what becomes of it.
    private var findingText: String {
        // One long name must not push all notes off the screen.
        let widest = 48
        let subjects = findings.map { $0.subject.map { TextForPeople.line($0) } }
        let width = subjects.compactMap { $0?.count }.filter { $0 <= widest }.max() ?? 0
        var fields = FieldList()
        for (finding, subject) in zip(findings, subjects) {
            let subject = subject.map {
                $0 + String(repeating: " ", count: max(0, width - $0.count)) + "  "
            }
            fields.add(finding.level, (subject ?? "") + finding.note)
        }
        return fields.text
    }

    private var next: String {
        isRefused
            ? "Next, when what is refused is fixed: \(ProgramName.current) plan \(projection)"
            : "Next: \(ProgramName.current) rebuild \(projection)"
    }
}
