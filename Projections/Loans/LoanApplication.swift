public import ProjectionKit

/// How far a loan application has come.
///
/// The log's `A_APPROVED`, `A_REGISTERED` and `A_ACTIVATED` are steps of one decision and come in
/// any order, so they are one state.
public enum LoanState: String, ColumnEnum {
    case submitted
    case partlySubmitted = "partly_submitted"
    case preaccepted
    case accepted
    case finalized
    case approved
    case declined
    case cancelled

    /// The state that an event of the type brings; nil for a type that is not known.
    init?(eventType: String) {
        switch eventType {
        case "A_SUBMITTED": self = .submitted
        case "A_PARTLYSUBMITTED": self = .partlySubmitted
        case "A_PREACCEPTED": self = .preaccepted
        case "A_ACCEPTED": self = .accepted
        case "A_FINALIZED": self = .finalized
        case "A_APPROVED", "A_REGISTERED", "A_ACTIVATED": self = .approved
        case "A_DECLINED": self = .declined
        case "A_CANCELLED": self = .cancelled
        default: return nil
        }
    }
}

/// A loan application: where it stands and who worked on it.
public struct LoanApplication: TableRow, Equatable {
    /// The application: its stream.
    public let application: String
    /// How far it has come.
    public var state = LoanState.submitted
    /// The amount asked for; nil when no event says it.
    public var amount: Int64?
    /// Time of its earliest event.
    public var firstEventAt: Timestamp
    /// Time of its latest event.
    public var lastEventAt: Timestamp
    /// Offers created for it.
    public var offers: Int32 = 0
    /// Who worked on it, each once, by first appearance.
    public var resources: [String] = []

    /// What identifies the row.
    public var key: String { application }

    init(application: String, firstEventAt: Timestamp) {
        self.application = application
        self.firstEventAt = firstEventAt
        lastEventAt = firstEventAt
    }

    /// `loan_application`.
    public static let table = TableDefinition<LoanApplication>(
        "loan_application",
        key: "application"
    ) {
        Column("application", \.application)
        Column("state", \.state)
        Column("amount", \.amount)
        Column("first_event_at", \.firstEventAt)
        Column("last_event_at", \.lastEventAt)
        Column("offers", \.offers)
        Column("resources", \.resources)
    }
}
