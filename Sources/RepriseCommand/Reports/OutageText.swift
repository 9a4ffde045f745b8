internal import ReadModels
internal import Rebuilder

/// What a cut-over cost readers, for people.
struct OutageText {
    private let blocked: Double
    private let lockWait: Double
    private let longestFailedWait: Double
    private let attempts: Int
    private let budget: Int?
    private let signalled: [String]

    /// Of a swap or a rollback.
    init(_ report: MoveReport) {
        blocked = report.blockedMilliseconds
        lockWait = report.lockWaitMilliseconds
        longestFailedWait = report.longestFailedWaitMilliseconds
        attempts = report.attempts
        budget = report.outageBudgetMilliseconds
        signalled = report.signalled
    }

    /// Of a rebuild; nil when nothing was cut over.
    init?(_ report: RebuildReport) {
        guard let blocked = report.blockedMilliseconds, let attempts = report.attempts else {
            return nil
        }
        self.blocked = blocked
        self.attempts = attempts
        lockWait = report.lockWaitMilliseconds ?? 0
        longestFailedWait = report.longestFailedWaitMilliseconds ?? 0
        // A truncate holds readers up for the whole reload: the budget is for its waiting only.
        budget =
            report.strategy == Strategy.truncate.rawValue ? nil : report.outageBudgetMilliseconds
        signalled = report.signalled
    }

    /// Adds its lines.
    func add(to fields: inout FieldList) {
        let limit = budget.map { ", of \($0) ms allowed" } ?? ""
        fields.add(
            "readers",
            "held up for \(Self.figure(blocked)) at most, \(Self.figure(lockWait)) of it for "
                + "locks\(limit)"
        )
        if attempts > 1 {
            fields.add(
                "attempts",
                "\(attempts) until the locks were free; a failed one waited for "
                    + "\(Self.figure(longestFailedWait)) at most"
            )
        }
        fields.add("signalled", signalled)
    }

    private static func figure(_ milliseconds: Double) -> String {
        "\(Figures.decimal(milliseconds, digits: 1)) ms"
    }
}
