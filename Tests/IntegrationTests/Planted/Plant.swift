/// Something that a role without trust has put beside, onto or around the live table `s.live`.
///
/// In its statements `%role%` is the role, `by.f(text)` its function that tells as whom it is called and
/// returns what it is given, `by` a schema of its own.
struct Plant: Sendable {
    /// Who planted it.
    enum Planter: String, CaseIterable {
        /// May SELECT from the live table.
        case reader
        /// May SELECT one column of it.
        case column
        /// Owns it.
        case owner
        /// May make schemas in the database.
        case database
        /// May make objects in the live schema.
        case schema
    }

    /// What a job does, in this order.
    enum Step: String, CaseIterable {
        case status, plan, planTruncate, swapRebuild, rollback, swap, follow, truncateRebuild, build
        case prune
    }

    let name: String
    let planter: Planter
    /// What the planter does, as itself.
    let sql: String
    /// What a superuser has done before, such as granting a right.
    var before = ""
    /// The text of `schema.sql`; nil for clones of the live tables.
    var file: String?
    /// The text of `checks.sql`.
    var checks: String?
    /// What the steps are refused with; the others are done.
    var refusals: [Step: String] = [:]
    /// The same for the job with the script of grants, where that differs.
    var grantedRefusals: [Step: String]?
    /// Whether the job has the planter's code run at all, with the planter's rights.
    var isCalled = true

    /// Why a step is refused; nil where it is done.
    func refusal(of step: Step, for job: PlantedJob) -> String? {
        switch job {
        case .superuser: refusals[step]
        case .granted: (grantedRefusals ?? refusals)[step]
        }
    }

    static let all = OwnerPlants.all + ReaderPlants.all + MakerPlants.all
}

extension [Plant.Step: String] {
    /// No swap, and so nothing that could be moved or followed before a truncate.
    static func swaps(_ reason: String) -> Self {
        [
            .plan: reason, .swapRebuild: reason, .build: reason,
            .rollback: "has no retired generation", .swap: "has no generation newer",
            .follow: "Nobody knows where the live tables",
        ]
    }

    static func truncates(_ reason: String) -> Self {
        [.planTruncate: reason, .truncateRebuild: reason]
    }

    static func both(_ reason: String) -> Self {
        swaps(reason).merging(truncates(reason)) { $1 }
    }

    static func everything(_ reason: String) -> Self {
        .init(uniqueKeysWithValues: Plant.Step.allCases.map { ($0, reason) })
    }
}
