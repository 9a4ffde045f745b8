internal import ProjectionKit
internal import ReadModels
internal import Rebuilder
internal import Wording

/// A rebuild's report for people.
struct ReportText {
    private let report: RebuildReport
    private let kept: Int

    /// The text of a report of a rebuild that was to keep so many retired generations.
    init(_ report: RebuildReport, kept: Int) {
        self.report = report
        self.kept = kept
    }

    /// The lines.
    var text: String {
        let seconds = report.seconds
        var fields = FieldList()
        fields.add(
            "events",
            "\(Figures.count(report.events)), "
                + "\(Figures.rate(report.events, in: seconds.total)) from beginning to end"
        )
        let rows = report.rows.sorted { $0.key < $1.key }.map { [$0.key, Figures.count($0.value)] }
        fields.add("rows", Columns.lines(rows, right: [1]))
        if let types = report.ignoredTypes, !types.isEmpty {
            let shown = types.prefix(20).map(EventPlace.shown) + (types.count > 20 ? ["…"] : [])
            fields.add(
                "unused",
                "\(Figures.count(types.count, "type")) of events changed no row: "
                    + shown.joined(separator: ", ")
            )
        }
        if let digests = report.digests {
            let list = digests.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
            fields.add("digests", "\(list.joined(separator: ", ")) in each of two folds")
        }
        if report.catchUpRounds > 0 {
            fields.add(
                "caught up",
                "\(Figures.count(report.caughtUpRows, "row")) in "
                    + Figures.count(report.catchUpRounds, "round")
            )
        }
        if report.lateEvents > 0 {
            fields.add("late", "\(Figures.count(report.lateEvents, "event")), behind the others")
        }
        if report.restarts > 0 {
            fields.add(
                "folded",
                "\(Figures.count(report.restarts + 1, "time")), because of late events"
            )
        }
        fields.add("seconds", phases)
        fields.add("memory", memory)
        if let outage = OutageText(report) { outage.add(to: &fields) }
        if let position = report.position { fields.add("position", position) }
        fields.add("views", report.views.map(SQLName.plain))
        fields.add("kept", keptLine)
        if !report.droppedGenerations.isEmpty {
            fields.add(
                "dropped",
                report.droppedGenerations.map(String.init).joined(separator: ", ")
            )
        }
        fields.add("warning", report.warnings)
        return "\(headline)\n\(fields.text)\(next)"
    }

    private var headline: String {
        report.isLive
            ? "\(report.projection): generation \(report.generation) is live."
            : "\(report.projection): generation \(report.generation) is ready and not live."
    }

    private var phases: String {
        let seconds = report.seconds
        let phases = [
            ("plan", seconds.plan), ("fold", seconds.fold), ("fold again", seconds.foldAgain),
            ("load", seconds.load),
            ("check", seconds.check), ("catch-up", seconds.catchUp), ("cut-over", seconds.cutOver),
            ("hooks", seconds.hooks),
            ("prune", seconds.prune),
        ]
        return "\(Figures.decimal(seconds.total, digits: 2)): "
            + phases.filter { $0.1 > 0 }
            .map { "\($0.0) \(Figures.decimal($0.1, digits: 2))" }.joined(separator: ", ")
    }

    private var memory: String {
        let peak = "\(Figures.mebibytes(report.peakMemoryBytes)) at its peak"
        let working = report.workingRows.values.reduce(0, +)
        guard working > 0 else { return peak }
        return "\(peak), with \(Figures.count(working, "row")) of working state"
    }

    /// The generation that a rollback brings back; nil when there is none.
    private var wayBack: Int? {
        guard report.isLive, report.strategy == Strategy.swap.rawValue, kept > 0 else { return nil }
        return report.previousGeneration
    }

    private var keptLine: String {
        guard report.isLive else { return "everything that was live" }
        if let wayBack { return "generation \(wayBack), which was live before" }
        guard let previous = report.previousGeneration else {
            return "nothing: it is the first generation"
        }
        return "nothing of generation \(previous)"
    }

    private var next: String {
        let name = report.projection
        guard report.isLive else { return "Next: \(ProgramName.current) swap \(name)" }
        let back = wayBack.map { _ in
            "if it is not what you wanted: \(ProgramName.current) rollback \(name)"
        }
        if report.endsFollower == true {
            return
                "Next, in place of the other program's follower: \(ProgramName.current) follow \(name)"
                + (back.map { "\nOr, \($0)" } ?? "")
        }
        if let back { return "Next, \(back)" }
        return "Next: \(ProgramName.current) status \(name)"
    }
}
