public import ProjectionKit

/// What is done with the events of a range of time, bucket after bucket.
///
/// ```swift
/// struct Resend: ReplayStrategy {
///     mutating func replay(_ bucket: borrowing ReplayBucket) throws {
///         try bucket.forEach { event in try queue.send(event.payload.json) }
///     }
/// }
///
/// let replay = Replay(of: ledger, from: monday, to: tuesday)
/// var strategy = Resend()
/// try replay.run(&strategy)
/// ```
public protocol ReplayStrategy {
    /// Takes one bucket.
    ///
    /// - Order: buckets come by ascending start, each once, and only those that hold events of the
    ///   range. The first and the last one may be cut by the range's ends.
    /// - Memory: the events are read while ``ReplayBucket/forEach(_:)`` runs, about a megabyte at a
    ///   time, however many the bucket holds. Events that are not asked for are passed over.
    /// - Errors: what it throws ends the replay with ``ReplayStopped``, which names this bucket and
    ///   the time to begin with again.
    mutating func replay(_ bucket: borrowing ReplayBucket) throws
}

/// A bucket on its way through a ``ReplayStrategy``, lent for one call.
public struct ReplayBucket: ~Copyable {
    /// The whole bucket; the range may have only a part of its events.
    public let bucket: Bucket

    private let cursor: ReplayCursor

    fileprivate init(_ bucket: Bucket, _ cursor: ReplayCursor) {
        self.bucket = bucket
        self.cursor = cursor
    }

    /// Calls `body` with each event of the bucket that is in the range, in ledger order.
    ///
    /// A bucket is gone through once: a second call finds what the first one left.
    ///
    /// - Parameter body: What is done with an event, which is lent for the call.
    /// - Throws: What `body` throws; what the ledger throws.
    public borrowing func forEach(_ body: (borrowing Event) throws -> Void) throws {
        try cursor.drain(bucket, body)
    }
}

/// What a replay went through.
public struct ReplayResult: Hashable, Sendable {
    /// Events of the buckets that were completed, whether or not the strategy asked for them.
    public internal(set) var events = 0
    /// Buckets that were completed.
    public internal(set) var buckets = 0
    /// The last position that the range had when the replay began; nil when it had none.
    public internal(set) var through: Position?
    /// Whether no event can come into the range any more: the ledger holds one that is filed at its
    /// end or behind it.
    public internal(set) var isClosed = false
}

/// A replay that ended early.
public struct ReplayStopped: Error {
    /// Why.
    public let cause: any Error
    /// The bucket that was not completed: its strategy had some of its events, or none.
    public let bucket: Bucket
    /// Where to begin again: with the first event of that bucket in the range.
    ///
    /// Events of it that the strategy had already come once more then.
    public let nextFrom: Timestamp
    /// What was completed before.
    public let completed: ReplayResult
}

/// Hands the events of a range of time to a ``ReplayStrategy``.
///
/// An event is filed at its own time, or at that of an event before it where that is later. A range
/// has the events that are filed in it, so that adjacent ranges have every event of the ledger once,
/// and in ledger order: what one range leaves out at its end the next one begins with.
public struct Replay: Sendable {
    /// Where the range begins.
    public enum Start: Hashable, Sendable {
        /// With the first event of the ledger.
        case beginning
        /// With the first event that is filed at this time or later.
        case time(Timestamp)
        /// Behind the event of this position.
        case after(Position)
    }

    /// What is read.
    package let ledger: any Ledger
    private let start: Start
    private let end: Timestamp?

    /// The events that are filed from one time up to another.
    ///
    /// - Parameters:
    ///   - ledger: What to read.
    ///   - from: The first time that belongs to the range; nil for the beginning of the ledger.
    ///   - to: The first time that does not belong to it; nil for all events that the ledger has
    ///     when the replay begins.
    public init(of ledger: any Ledger, from: Timestamp? = nil, to: Timestamp? = nil) {
        self.init(of: ledger, start: from.map(Start.time) ?? .beginning, to: to)
    }

    /// The events that are filed from a start up to a time.
    ///
    /// - Parameters:
    ///   - ledger: What to read.
    ///   - start: Where the range begins.
    ///   - to: The first time that does not belong to it; nil for all events that the ledger has
    ///     when the replay begins.
    public init(of ledger: any Ledger, start: Start, to: Timestamp? = nil) {
        self.ledger = ledger
        self.start = start
        end = to
    }

    /// Goes through the range.
    ///
    /// Blocks. Events that are appended meanwhile do not come into it.
    ///
    /// - Parameters:
    ///   - strategy: Takes the buckets.
    ///   - check: Called before each bucket and each reading; what it throws ends the replay.
    /// - Returns: What the replay went through.
    /// - Throws: ``ReplayStopped`` once there is a first bucket; before that, what the ledger throws.
    @discardableResult
    public func run(
        _ strategy: inout some ReplayStrategy,
        checking check: () throws -> Void = {}
    ) throws -> ReplayResult {
        var result = ReplayResult()
        let range = try range()
        result.through = range.span?.through ?? range.after
        result.isClosed = range.isClosed
        guard let span = range.span else { return result }
        try ledger.withReader(of: span) { reader in
            let cursor = ReplayCursor(reader)
            while let bucket = try cursor.nextBucket() {
                do {
                    try check()
                    try strategy.replay(ReplayBucket(bucket, cursor))
                    try cursor.skip(bucket, check)
                } catch {
                    throw stopped(by: error, in: bucket, result)
                }
                result.events = cursor.events
                result.buckets += 1
            }
        }
        return result
    }

    /// The events of the range, if it has any now.
    package func span() throws -> PositionSpan? { try range().span }

    private func stopped(
        by cause: any Error,
        in bucket: Bucket,
        _ completed: ReplayResult
    ) -> ReplayStopped {
        let begin = Timestamp(milliseconds: bucket.start)
        return if case .time(let from) = start {
            ReplayStopped(
                cause: cause,
                bucket: bucket,
                nextFrom: max(from, begin),
                completed: completed
            )
        } else {
            ReplayStopped(cause: cause, bucket: bucket, nextFrom: begin, completed: completed)
        }
    }

    /// What the range is when the replay begins.
    private struct Range {
        /// Nil when the range has no events.
        var span: PositionSpan?
        var after: Position?
        var isClosed = false
    }

    private func range() throws -> Range {
        guard let newest = try ledger.safePosition() else { return Range() }
        let after: Position? =
            switch start {
            case .beginning: nil
            case .time(let from): try ledger.lastPosition(before: from)
            case .after(let position): position
            }
        var range = Range(after: after)
        var through: Position? = newest
        if let end {
            through = try ledger.lastPosition(before: end).map { min($0, newest) }
            range.isClosed = through.map { $0 < newest } ?? true
        }
        if let through, after.map({ $0 < through }) ?? true {
            range.span = PositionSpan(after: after, through: through)
        }
        return range
    }
}

/// A reader's events, one bucket at a time.
///
/// Used by one thread.
private final class ReplayCursor {
    private let reader: any LedgerReader
    private let batch = EventBatch()
    private var next = 0
    /// Events that were handed out or passed over.
    private(set) var events = 0

    init(_ reader: any LedgerReader) {
        self.reader = reader
    }

    /// The bucket of the next event; nil at the end.
    func nextBucket() throws -> Bucket? {
        if next == batch.count {
            guard try fill() else { return nil }
        }
        return batch.bucket(at: next)
    }

    func drain(_ bucket: Bucket, _ body: (borrowing Event) throws -> Void) throws {
        while true {
            let end = batch.end(ofBucketAt: next)
            if next < end, batch.bucket(at: next) == bucket {
                let first = next
                // An event that `body` throws at counts as handed out.
                next = end
                events += end - first
                try batch.forEach(in: first..<end, body)
            }
            guard next == batch.count, try fill() else { return }
            guard batch.bucket(at: next) == bucket else { return }
        }
    }

    func skip(_ bucket: Bucket, _ check: () throws -> Void) throws {
        while true {
            let end = batch.end(ofBucketAt: next)
            if next < end, batch.bucket(at: next) == bucket {
                events += end - next
                next = end
            }
            guard next == batch.count else { return }
            try check()
            guard try fill(), batch.bucket(at: next) == bucket else { return }
        }
    }

    private func fill() throws -> Bool {
        next = 0
        return try reader.fill(batch)
    }
}
