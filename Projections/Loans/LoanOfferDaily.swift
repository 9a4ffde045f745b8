public import ProjectionKit

/// How often something happened to offers on one day.
public struct LoanOfferDaily: TableRow, Equatable {
    /// What tells one count from the next.
    public struct Key: Hashable, Sendable {
        /// The day, in UTC.
        public var day: Day
        /// The event's type, such as `O_CREATED`.
        public var offerEvent: String

        /// Names a count.
        public init(day: Day, offerEvent: String) {
            self.day = day
            self.offerEvent = offerEvent
        }
    }

    /// The day and the event's type.
    public let key: Key
    /// Number of events.
    public var events: Int64 = 0

    init(key: Key) {
        self.key = key
    }

    /// `loan_offer_daily`.
    public static let table = TableDefinition<LoanOfferDaily>(
        "loan_offer_daily",
        key: "day",
        "offer_event"
    ) {
        Column("day", \.key.day)
        Column("offer_event", \.key.offerEvent)
        Column("events", \.events)
    }
}
