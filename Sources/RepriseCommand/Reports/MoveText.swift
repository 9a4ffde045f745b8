internal import ReadModels
internal import Rebuilder
internal import Wording

/// A swap's or a rollback's report for people.
struct MoveText {
    private let report: MoveReport

    /// The text of a report.
    init(_ report: MoveReport) {
        self.report = report
    }

    /// The lines.
    var text: String {
        var fields = FieldList()
        OutageText(report).add(to: &fields)
        if let position = report.position { fields.add("position", position) }
        fields.add("projector", projectorLines)
        fields.add("views", report.views.map(SQLName.plain))
        if let previous = report.previousGeneration {
            fields.add("kept", "generation \(previous), which was live before")
        }
        fields.add("warning", report.warnings)
        return "\(report.projection): generation \(report.generation) is live"
            + "\(isRollback ? " again" : "").\n\(fields.text)\(next)"
    }

    private var isRollback: Bool { report.kind == CutOverKind.rollback.rawValue }

    /// Whether readers stepped back in the ledger.
    private var wentBack: Bool {
        // Positions are written so that their texts compare as they do.
        report.positionBefore.map { $0 > report.position ?? "" } ?? false
    }

    /// What a step back means for whoever feeds the live tables.
    private var projectorLines: [String] {
        guard isRollback || wentBack else { return [] }
        let generations =
            report.previousGeneration.map {
                ["one that still runs for generation \($0) finds another number in that row"]
            } ?? []
        let now = report.position ?? "the beginning"
        guard wentBack, let before = report.positionBefore else {
            return ["the checkpoint stands at \(now)"] + generations
        }
        return [
            "the checkpoint went back from \(before)",
            "to \(now):",
            "a projector that locks the checkpoint row applies the events in between again;",
            "one that keeps its position elsewhere, with no template for it, must be set back by hand",
        ] + generations
    }

    private var next: String {
        let comparison = report.leavesOtherLedger == true ? " --without-ledger" : ""
        return isRollback
            ? "Next, to undo it: \(ProgramName.current) swap \(report.projection) --allow-older\(comparison)"
            : "Next: \(ProgramName.current) status \(report.projection)"
    }
}
