import Ledgers
import ProjectionKit

/// A fold on its way through a ledger: how far it is, and what it has read.
///
/// One task uses it at a time.
actor LedgerFold {
    /// The rows.
    nonisolated let fold: any Fold
    /// The last position that was folded; nil before the first event.
    private(set) var position: Position?
    /// Events that were applied behind events of a later position.
    private(set) var lateEvents = 0

    private let ledger: any Ledger
    private let lateness: LatenessTerms
    private var tally: BucketTally
    private var watch: (any LedgerWatch)?
    /// Events of an earlier process, whose buckets are not known.
    private var earlierEvents = 0

    /// A fold that has read nothing.
    init(of fold: any Fold, from ledger: any Ledger, lateness: LatenessTerms) {
        self.fold = fold
        self.ledger = ledger
        self.lateness = lateness
        tally = BucketTally(keepsIDs: lateness.policy == .accept)
    }

    /// Events that were folded.
    var events: Int { earlierEvents + tally.events }

    /// Goes on where an earlier process has left off.
    func resume(at position: Position?, events: Int) {
        self.position = position
        earlierEvents = events
    }

    /// The end of the ledger without its newest events, which may still get company; nil when there
    /// is nothing to fold before it.
    func settledEnd(now: Int64) async throws -> Position? {
        let ledger = ledger
        let limit = now - Int64(lateness.settleTime * 1_000)
        let end = try await onThread { _ in
            // In this order: what is committed in between stands behind both.
            guard let end = try ledger.safePosition() else { return Position?.none }
            return try ledger.lastPosition(before: limit).map { min($0, end) }
        }
        return end.flatMap { isAhead($0) ? $0 : nil }
    }

    /// The end of the ledger; nil when there is nothing to fold before it.
    func end() async throws -> Position? {
        let ledger = ledger
        let end = try await onThread { _ in try ledger.safePosition() }
        return end.flatMap { isAhead($0) ? $0 : nil }
    }

    /// Whether a position is still to be folded.
    func isAhead(_ other: Position) -> Bool { position.map { $0 < other } ?? true }

    /// How many events are still to be folded up to a position, and how old the first of them is.
    func lag(to end: Position?, now: Int64) async throws -> Lag {
        guard let end, isAhead(end) else { return Lag(events: 0, seconds: 0) }
        let ledger = ledger
        let span = PositionSpan(after: position, through: end)
        return try await onThread { _ in
            let events = try ledger.bucketCounts(in: span).map(\.events).reduce(0, +)
            let first = try ledger.withReader(of: span) { reader in
                let batch = EventBatch(capacity: 1)
                return try reader.fill(batch) ? batch.firstTime : nil
            }
            return Lag(events: events, seconds: first.map { Double(max(0, now - $0)) / 1_000 } ?? 0)
        }
    }

    /// Folds what stands behind the position, up to `end`.
    ///
    /// - Parameters:
    ///   - end: Where to stop, included.
    ///   - progress: Called on the reducer's thread with the events of this call.
    /// - Returns: Number of events.
    /// - Throws: ``LedgerError``, ``EventRejection``, `CancellationError`; the fold is of no use
    ///   after that.
    @discardableResult
    func advance(
        to end: Position,
        progress: @escaping @Sendable (_ events: Int, _ bucketStart: Int64) -> Void = { _, _ in }
    ) async throws -> Int {
        if watch == nil { watch = try await beginWatch() }
        let before = tally.events
        let pass = FoldPass(ledger: ledger, fold: fold, progress: progress)
        tally = try await pass.run(
            over: PositionSpan(after: position, through: end),
            adding: tally
        )
        position = end
        return tally.events - before
    }

    /// The buckets that were changed behind the fold: of those inside the lateness horizon, the ones
    /// that hold another number of events by now than were read.
    ///
    /// - Returns: The differences; for a fold that goes on where an earlier process left off, all of
    ///   its past as one.
    /// - Throws: ``LedgerError``.
    func differences() async throws -> [BucketDifference] {
        guard let position, try await mayHaveChanged() else { return [] }
        let ledger = ledger
        let first = lateness.horizon.flatMap { horizon in
            lastBucketStart.map { start in
                Bucket(
                    containing: start - Int64(horizon * 1_000),
                    width: ledger.bucketWidth
                )
            }
        }
        let begin = first.flatMap { ledger.span(of: $0).after }
        let counts = try await onThread { _ in
            try ledger.bucketCounts(in: PositionSpan(after: begin, through: position))
        }
        guard earlierEvents == 0 else { return total(counts) }
        return tally.differences(from: counts, since: first?.start)
    }

    /// Applies the events that were committed behind the fold, bucket after bucket, behind all that
    /// was folded.
    ///
    /// - Returns: Number of events.
    /// - Throws: ``LedgerError``, ``EventRejection``.
    func accept(_ differences: [BucketDifference]) async throws -> Int {
        guard let position else { return 0 }
        let (ledger, fold, known) = (ledger, fold, tally)
        let late = try await onThread { _ in
            try differences.map { difference in
                try LateEvents(bucket: difference.bucket, through: position).read(ledger) {
                    known.contains($0, in: difference.bucket) ?? true
                }
            }
        }
        var events = 0
        for batch in late where batch.count > 0 {
            try fold.apply(batch)
            tally.add(batch)
            events += batch.count
        }
        lateEvents += events
        return events
    }

    private var lastBucketStart: Int64? { tally.lastBucketStart }

    private func total(_ counts: [BucketCount]) -> [BucketDifference] {
        let found = counts.map(\.events).reduce(0, +)
        guard found != events, let first = counts.first?.bucket else { return [] }
        return [BucketDifference(bucket: first, read: events, found: found)]
    }

    private func beginWatch() async throws -> any LedgerWatch {
        let ledger = ledger
        return try await onThread { _ in try ledger.watch() }
    }

    private func mayHaveChanged() async throws -> Bool {
        guard let watch, earlierEvents == 0 else { return true }
        return try await onThread { _ in try watch.hasChanged() }
    }
}

/// How far something is behind the end of the ledger.
package struct Lag: Equatable, Sendable {
    /// Events that are still to be applied.
    package let events: Int
    /// The age of the oldest of them, in seconds; 0 when there is none.
    package let seconds: Double
}

/// Reads the events of one bucket that a pass did not see.
private struct LateEvents {
    let bucket: Bucket
    let through: Position

    func read(_ ledger: any Ledger, isKnown: (EventID) -> Bool) throws -> EventBatch {
        let late = EventBatch(capacity: 16, bytes: 1 << 14)
        late.bucketWidth = ledger.bucketWidth
        let whole = ledger.span(of: bucket)
        let span = PositionSpan(after: whole.after, through: min(whole.through, through))
        try ledger.withReader(of: span) { reader in
            let batch = EventBatch()
            while try reader.fill(batch) {
                batch.forEach { event in
                    if !isKnown(event.id) { late.append(copying: event) }
                }
            }
        }
        return late
    }
}
