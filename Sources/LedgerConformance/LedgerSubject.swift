public import LedgerKit
public import ProjectionKit

/// An empty ledger under test and the way to append to it.
public struct LedgerSubject: Sendable {
    /// What a store cannot keep of an event. The suite passes over it.
    public struct Losses: OptionSet, Sendable {
        /// One bit for each.
        public let rawValue: Int

        /// Makes a set of bits.
        public init(rawValue: Int) {
            self.rawValue = rawValue
        }

        /// Ids are not kept, or are not what was appended.
        public static let ids = Losses(rawValue: 1)
        /// Metadata is not kept, or not to the byte.
        public static let metadata = Losses(rawValue: 2)
        /// The text of a payload is not kept to the byte: a `jsonb` column has its own spaces and its
        /// own order of keys.
        public static let payloadText = Losses(rawValue: 4)
        /// Times are kept to the millisecond.
        public static let microseconds = Losses(rawValue: 8)
    }

    /// Opens the ledger: each call may give another object, of the same store.
    public let open: @Sendable () throws -> any Ledger
    /// Commits events in their order, in one step, and returns when they are committed. It is called
    /// from any thread, by one at a time.
    public let append: @Sendable ([AppendableEvent]) throws -> Void
    /// What the store cannot keep.
    public let losses: Losses

    /// Describes a ledger under test.
    public init(
        losing losses: Losses = [],
        open: @escaping @Sendable () throws -> any Ledger,
        append: @escaping @Sendable ([AppendableEvent]) throws -> Void
    ) {
        self.losses = losses
        self.open = open
        self.append = append
    }
}

/// An event that a check appends.
public struct AppendableEvent: Hashable, Sendable {
    /// The id of its writer, unique in the ledger; nil for an event without one.
    public var id: String?
    /// When it happened. Times of a check do not ascend.
    public var time: Timestamp
    /// The stream.
    public var stream: String
    /// The type.
    public var type: String
    /// A JSON object.
    public var payload: String
    /// A JSON object; nil for none.
    public var metadata: String?

    /// Makes an event.
    public init(
        id: String? = nil,
        time: Timestamp,
        stream: String,
        type: String,
        payload: String,
        metadata: String? = nil
    ) {
        self.id = id
        self.time = time
        self.stream = stream
        self.type = type
        self.payload = payload
        self.metadata = metadata
    }
}
