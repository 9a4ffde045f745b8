package import ProjectionKit

/// A source of events in a total order.
///
/// A ledger is read here, never written.
///
/// Calls block; they belong on a thread of their own, never on the cooperative pool.
package protocol Ledger: Sendable {
    /// What messages call it: a path or an address, without a password.
    var place: String { get }

    /// Milliseconds.
    var bucketWidth: Int64 { get }

    /// The last position below which nothing can still be committed; nil when the ledger is empty.
    ///
    /// - Throws: ``LedgerError``.
    func safePosition() throws -> Position?

    /// Finds the last position of an event that the ledger files before a time.
    ///
    /// - Parameter time: Milliseconds since 1970.
    /// - Returns: The position; nil when there is none.
    /// - Throws: ``LedgerError``.
    func lastPosition(before time: Int64) throws -> Position?

    /// The bucket that a position belongs to.
    func bucket(of position: Position) -> Bucket

    /// The positions that belong to a bucket, whether there are events or not.
    func span(of bucket: Bucket) -> PositionSpan

    /// Begins to watch for changes.
    ///
    /// - Throws: ``LedgerError``.
    func watch() throws -> any LedgerWatch

    /// The buckets that hold events of a span, oldest first, each with its number of events there.
    ///
    /// - Throws: ``LedgerError``.
    func bucketCounts(in span: PositionSpan) throws -> [BucketCount]

    /// The types of the events in a span with their numbers, the most frequent first.
    ///
    /// - Throws: ``LedgerError``.
    func typeCounts(in span: PositionSpan) throws -> [TypeCount]

    /// Opens a reader over a span, and closes it when `body` returns or throws.
    ///
    /// - Throws: ``LedgerError`` when the ledger cannot be opened; what `body` throws.
    func withReader<Result>(
        of span: PositionSpan,
        _ body: (any LedgerReader) throws -> Result
    ) throws -> Result
}

/// Reads one span, batch after batch.
///
/// Used by one thread.
package protocol LedgerReader: AnyObject {
    /// Empties the batch, then fills it with the next events, by ascending position.
    ///
    /// Between two calls no transaction is open in the ledger, so that a long pass does not hold
    /// back its housekeeping.
    ///
    /// - Returns: False when the span is read to its end and the batch is empty.
    /// - Throws: ``LedgerError``.
    func fill(_ batch: EventBatch) throws -> Bool
}

/// Says cheaply whether anything was committed to a ledger.
package protocol LedgerWatch: Sendable {
    /// Whether something may have been committed since the last time this was asked, or since the
    /// watch began.
    ///
    /// - Throws: ``LedgerError``.
    func hasChanged() throws -> Bool
}

/// The events behind `after` up to and including `through`.
package struct PositionSpan: Hashable, Sendable {
    /// The last position that does not belong to the span; nil when it begins with the first event.
    package let after: Position?
    /// The last position that belongs to it.
    package let through: Position

    /// Makes a span.
    package init(after: Position? = nil, through: Position) {
        self.after = after
        self.through = through
    }
}

/// A bucket and the number of events in it.
package struct BucketCount: Hashable, Sendable {
    /// The bucket.
    package let bucket: Bucket
    /// Events in it, 1 or more.
    package let events: Int

    /// Makes a count.
    package init(bucket: Bucket, events: Int) {
        self.bucket = bucket
        self.events = events
    }
}

/// A type and the number of its events.
package struct TypeCount: Hashable, Sendable {
    /// The type's name.
    package let type: String
    /// Its events, 1 or more.
    package let events: Int

    /// Makes a count.
    package init(type: String, events: Int) {
        self.type = type
        self.events = events
    }
}
