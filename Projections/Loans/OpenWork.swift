public import ProjectionKit

/// Work that was started and not yet completed: working state, not for readers.
public struct OpenWork: TableRow {
    /// What tells one piece of work from the next.
    public struct Key: Hashable, Sendable {
        /// The application.
        public var application: String
        /// What is being done.
        public var item: String
    }

    /// The application and what is being done.
    public let key: Key
    /// When it was started.
    public var startedAt: Timestamp

    /// `open_work`; no such table exists in PostgreSQL.
    public static let table = TableDefinition<OpenWork>(
        "open_work",
        key: "application",
        "item"
    ) {
        Column("application", \.key.application)
        Column("item", \.key.item)
        Column("started_at", \.startedAt)
    }
}

/// How many items of an application were completed: working state, not for readers.
public struct CompletedWork: TableRow {
    /// The application.
    public let application: String
    /// Items completed, which is the number of the last one.
    public var items: Int32 = 0

    /// What identifies the row.
    public var key: String { application }

    init(application: String) {
        self.application = application
    }

    /// `completed_work`; no such table exists in PostgreSQL.
    public static let table = TableDefinition<CompletedWork>(
        "completed_work",
        key: "application"
    ) {
        Column("application", \.application)
        Column("items", \.items)
    }
}
