public import ProjectionKit

/// A piece of work on an application that was completed.
public struct WorkItem: TableRow, Equatable {
    /// What tells one item from the next.
    public struct Key: Hashable, Sendable {
        /// The application.
        public var application: String
        /// 1 for the application's first completed item, 2 for its second, and so on.
        public var number: Int32

        /// Names an item.
        public init(application: String, number: Int32) {
            self.application = application
            self.number = number
        }
    }

    /// The application, and the item's number in the order of completion.
    public let key: Key
    /// What was done: the event's type, such as `W_Valideren aanvraag`.
    public let item: String
    /// When it was started; nil when the log holds no start that is still open.
    public let startedAt: Timestamp?
    /// When it was completed.
    public let completedAt: Timestamp

    /// Minutes from start to completion; nil without a start.
    public var minutes: Double? {
        startedAt.map { Double(completedAt.microseconds - $0.microseconds) / 60_000_000 }
    }

    /// `work_item`.
    public static let table = TableDefinition<WorkItem>(
        "work_item",
        key: "application",
        "number"
    ) {
        Column("application", \.key.application)
        Column("number", \.key.number)
        Column("item", \.item)
        Column("started_at", \.startedAt)
        Column("completed_at", \.completedAt)
        Column("minutes", \.minutes)
    }
}
