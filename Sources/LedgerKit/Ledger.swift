public import ProjectionKit

/// A source of events in a total order: what Reprise reads, and never writes.
///
/// Implement it to rebuild from a store of your own; the product `LedgerConformance` has the tests
/// that every ledger passes.
///
/// - Order: a reader hands events out by ascending ``Position``, each once. Two readers of one span
///   hand out the same events in the same order, however often they are asked, and whatever is
///   appended meanwhile, unless ``arrival`` is ``Arrival/late``.
/// - Isolation: what was committed when a call began is seen by it. Writers are never waited for and
///   never held back.
/// - Threads: calls block, and come from any thread, several at a time. They belong on a thread of
///   their own, never on the cooperative pool.
/// - Errors: whatever a method throws ends the command with its description, which says what
///   happened and where, and what to type next.
public protocol Ledger: Sendable {
    /// What messages call it: a path or an address, without a password.
    var place: String { get }

    /// Milliseconds: the length of a bucket, the unit of progress, repair and reporting.
    var bucketWidth: Int64 { get }

    /// Whether events can come to stand before events that were already read.
    var arrival: Arrival { get }

    /// What tells this ledger from every other, for as long as it exists; a restored backup has the
    /// same.
    func identity() throws -> String

    /// The last position at or below which nothing can be committed any more; nil when there is
    /// none. It never goes back. Cost: a look-up.
    func safePosition() throws -> Position?

    /// Whether the event that had this position when it was read is there, and is the same. Cost: a
    /// look-up.
    func holds(_ position: Position) throws -> Bool

    /// The position of the last event that is filed before a time, and so the end of all that
    /// belongs to the time before it; nil when there is none.
    ///
    /// An event is filed at its own time, or at that of an event before it where that is later, so
    /// that a range of time is a range of positions. Cost: a bucket is read.
    func lastPosition(before time: Timestamp) throws -> Position?

    /// The buckets that hold events of a span, oldest first, each with what the span has of it.
    /// Cost: at most a scan of the span.
    func buckets(in span: PositionSpan) throws -> [BucketCount]

    /// How many events stand at or below a position, and which they are, so that a later look tells
    /// whether they are still the same.
    ///
    /// Of one position it is the same whatever is appended behind it. Without an implementation of
    /// your own, ``buckets(in:)`` is asked for the number and there is no digest. Cost: at most a
    /// look-up for each bucket and a scan of one.
    func extent(through position: Position) throws -> LedgerExtent

    /// Begins to watch for changes.
    func watch() throws -> any LedgerWatch

    /// Opens a reader over a span, and closes it when `body` returns or throws.
    func withReader<Result>(
        of span: PositionSpan,
        _ body: (any LedgerReader) throws -> Result
    ) throws -> Result
}

extension Ledger {
    /// The number by ``buckets(in:)``, without a digest.
    public func extent(through position: Position) throws -> LedgerExtent {
        let counts = try buckets(in: PositionSpan(through: position))
        return LedgerExtent(events: counts.map(\.events).reduce(0, +))
    }
}

/// What a ledger holds up to a position.
public struct LedgerExtent: Hashable, Sendable {
    /// Events, 0 or more.
    public let events: Int
    /// Equal for the same events in the same order, and other for others; nil where a ledger cannot
    /// tell without reading them all.
    public let digest: UInt64?

    /// Makes an extent.
    public init(events: Int, digest: UInt64? = nil) {
        self.events = events
        self.digest = digest
    }
}

/// Whether a ledger's past can change.
public enum Arrival: String, Sendable {
    /// Nothing is ever committed at or below the safe position.
    case inOrder
    /// Events may be committed below positions that were read already, or taken away there.
    case late
}

/// Reads one span, batch after batch.
///
/// Used by one thread.
public protocol LedgerReader: AnyObject {
    /// Empties the batch, then fills it with the next events, by ascending position, and sets its
    /// bucket width.
    ///
    /// About a megabyte at a time is a good measure, an event at least. Between two calls no
    /// transaction is open in the ledger, so that a long pass does not hold back its housekeeping.
    ///
    /// - Returns: False when the span is read to its end and the batch is empty.
    func fill(_ batch: EventBatch) throws -> Bool
}

/// Says cheaply whether anything was committed to a ledger.
public protocol LedgerWatch: Sendable {
    /// Whether something may have been committed since the last time this was asked, or since the
    /// watch began.
    func hasChanged() throws -> Bool
}

/// The events behind `after` up to and including `through`.
public struct PositionSpan: Hashable, Sendable {
    /// The last position that does not belong to the span; nil when it begins with the first event.
    public let after: Position?
    /// The last position that belongs to it.
    public let through: Position

    /// Makes a span.
    public init(after: Position? = nil, through: Position) {
        self.after = after
        self.through = through
    }
}

/// A bucket and what a span has of it.
public struct BucketCount: Hashable, Sendable {
    /// The bucket.
    public let bucket: Bucket
    /// Events in it, 1 or more.
    public let events: Int
    /// Where the last of them stands.
    public let last: Position

    /// Makes a count.
    public init(bucket: Bucket, events: Int, last: Position) {
        self.bucket = bucket
        self.events = events
        self.last = last
    }
}

/// A type and the number of its events.
package struct TypeCount: Hashable, Sendable {
    /// Above this number of types a ledger is likely to have something else in them, such as an id.
    package static let manyTypes = 5_000

    /// The type's name.
    package let type: String
    /// Its events, 1 or more.
    package let events: Int

    /// Makes a count.
    package init(type: String, events: Int) {
        self.type = type
        self.events = events
    }

    /// The most frequent first; types of equal number by name.
    package static func sorted(_ counts: [EventType: Int]) -> [TypeCount] {
        counts.map { TypeCount(type: $0.key.name, events: $0.value) }
            .sorted { ($1.events, $0.type) < ($0.events, $1.type) }
    }

    /// What is worth knowing about so many types, as a sentence; nil when there are not many.
    package static func warning(types: Int) -> String? {
        guard types > manyTypes else { return nil }
        return
            "The ledger has \(types) event types, more than \(manyTypes): is something else, such "
            + "as an id, part of their names?"
    }
}

extension Ledger {
    /// The types of the events in a span with their numbers, the most frequent first.
    ///
    /// Reads the span.
    package func typeCounts(in span: PositionSpan) throws -> [TypeCount] {
        var counts: [EventType: Int] = [:]
        try withReader(of: span) { reader in
            let batch = EventBatch()
            while try reader.fill(batch) {
                batch.forEach { counts[$0.type, default: 0] += 1 }
            }
        }
        return TypeCount.sorted(counts)
    }

    /// The span of a bucket's events up to a position; nil when it has none there.
    package func span(of bucket: Bucket, through end: Position) throws -> PositionSpan? {
        var before: Position?
        for count in try buckets(in: PositionSpan(through: end)) {
            if count.bucket == bucket { return PositionSpan(after: before, through: count.last) }
            before = count.last
        }
        return nil
    }
}
