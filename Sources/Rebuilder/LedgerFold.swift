import Foundation
import LedgerKit
import ProjectionKit
import ReadModels

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

    /// Why it is of no use any more: an ``EventRejection``,
    /// ``RebuildError/copiesOverlap(projection:table:)``.
    private(set) var failure: (any Error)?

    private let ledger: any Ledger
    private let lateness: LatenessTerms
    private var tally: BucketTally
    private var watch: (any LedgerWatch)?
    private var pulse: (any LedgerWatch)?
    private var ends = LedgerEnds()
    /// Events of an earlier process, whose buckets are not known.
    private var earlierEvents: Int?
    /// Whether all that was folded has been counted since the watch began.
    private var isCounted = true
    /// When the ledger was counted last, and how long that took.
    private var lastCount: (end: ContinuousClock.Instant, duration: Duration)?
    /// What was counted last.
    private var past: RowOrigin?
    /// Gives the tables the rows that they want; nil for a fold that holds all its rows.
    private var source: RowSource?

    /// Why a fold has to hold all its rows whose reducer has asked for them, as a clause.
    static let wantsWholeTables = "its reducer asks for tables as a whole"

    /// A fold that has read nothing.
    init(of fold: any Fold, from ledger: any Ledger, lateness: LatenessTerms) {
        self.fold = fold
        self.ledger = ledger
        self.lateness = lateness
        tally = BucketTally(
            keepsPositions: lateness.policy == .accept && ledger.arrival == .late
        )
    }

    /// Whether what was read can change behind the fold.
    private var canChangeBehind: Bool { ledger.arrival == .late }

    /// Events that were folded.
    var events: Int { (earlierEvents ?? 0) + tally.events }

    /// What the rows are made of, with the ledger's digest.
    ///
    /// - Parameter number: Events in the rows; nil for those of this fold.
    /// What was counted before is counted again: a file that was replaced by another with the same
    /// event at the fold's position is noticed here.
    ///
    /// - Returns: The origin; without a digest where the ledger holds more or fewer events by now.
    /// - Throws: ``RebuildError/ledgerReplaced(projection:position:)``; what the ledger throws.
    func origin(events number: Int? = nil) async throws -> RowOrigin {
        let (ledger, position, events, past) = (ledger, position, number ?? events, past)
        let (identity, extent, found) = try await onThread { _ in
            (
                try ledger.identity(),
                try position.map { try ledger.extent(through: $0) },
                try past?.position.map { try ledger.extent(through: $0) }
            )
        }
        if let past, let place = past.position ?? position {
            let isSame =
                canChangeBehind || found?.digest == nil || past.digest == nil
                || found?.digest == past.digest
            guard identity == past.ledger, isSame else { throw replaced(place) }
        }
        let origin = RowOrigin(
            ledger: identity,
            position: position,
            events: events,
            digest: extent.flatMap { $0.events == events ? $0.digest : nil }
        )
        self.past = origin
        return origin
    }

    /// Says what the ledger held when somebody else looked at it: it must hold it still.
    func expect(_ past: RowOrigin) { self.past = past }

    /// Folds from the beginning what the tables hold already.
    ///
    /// - Throws: As ``advance(to:together:keepsGoing:progress:)``.
    func refold(to position: Position?) async throws {
        if let position {
            let pass = FoldPass(ledger: ledger, folds: [fold]) { _, _, _ in }
            let outcome = try await pass.run(
                over: PositionSpan(through: position),
                adding: BucketTally(keepsPositions: false)
            )
            if let failure = outcome.failures.first ?? nil { throw failure }
        }
        self.position = position
        fold.beginJournal(holdsAllRows: true)
    }

    /// Reads the newest buckets again, up to the position, without folding them: so that what is
    /// committed there later is noticed.
    ///
    /// - Throws: What the ledger throws.
    func rememberNewestBuckets() async throws {
        guard canChangeBehind, let position, let horizon = lateness.horizon else { return }
        if watch == nil { watch = try await beginWatch() }
        let (ledger, known) = (ledger, tally)
        tally = try await onThread { _ in
            var tally = known
            let buckets = try ledger.buckets(in: PositionSpan(through: position))
            let newest = buckets.last?.bucket.start ?? 0
            let before = buckets.last {
                $0.bucket.end <= newest - Int64(horizon * 1_000)
            }
            let span = PositionSpan(after: before?.last, through: position)
            try ledger.withReader(of: span) { reader in
                let batch = EventBatch()
                while try reader.fill(batch) { tally.add(batch) }
            }
            return tally
        }
    }

    /// Forgets what was read of buckets outside the lateness horizon.
    func forgetOldBuckets() {
        guard let horizon = lateness.horizon, let last = tally.lastBucketStart else { return }
        tally.forget(before: last - Int64(horizon * 1_000) - ledger.bucketWidth)
    }

    /// Events read of the newest buckets, by the millisecond at which they begin.
    var bucketCounts: [Int64: Int] { tally.counts }

    /// Goes on where an earlier process has left off: its rows are fetched when they are needed.
    ///
    /// - Parameters:
    ///   - position: Where the rows stand.
    ///   - events: Events that they are made of, where those are to be counted again; else nil.
    ///   - source: Where the rows are.
    func resume(at position: Position?, events: Int?, from source: @escaping RowSource) {
        self.position = position
        earlierEvents = events
        // What came late before the watch began was seen by nobody.
        isCounted = events == nil
        self.source = source
        fold.beginJournal(holdsAllRows: false)
    }

    /// The end of the ledger without its newest events, which may still get company; nil when there
    /// is nothing to fold before it.
    func settledEnd(now: Int64) async throws -> Position? {
        let ledger = ledger
        let limit = Timestamp(
            microseconds: now - Int64(lateness.settleTime * 1_000_000)
        )
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
        // A safe position never goes back.
        if let position, end.map({ $0 < position }) ?? true { throw replaced(position) }
        ends.reach(position)
        ends.see(end)
        return end.flatMap { isAhead($0) ? $0 : nil }
    }

    /// Whether the ledger has the event of a position.
    func ledgerHolds(_ position: Position) async throws -> Bool {
        let ledger = ledger
        return try await onThread { _ in try ledger.holds(position) }
    }

    /// Whether anything may have been committed to the ledger since this was asked last.
    func hasNews() async throws -> Bool {
        guard let pulse else {
            pulse = try await beginWatch()
            return true
        }
        return try await onThread { _ in try pulse.hasChanged() }
    }

    /// Whether a position is still to be folded.
    func isAhead(_ other: Position) -> Bool { position.map { $0 < other } ?? true }

    /// How far the rows are behind the end of the ledger.
    ///
    /// - Parameter end: The end; nil when there is nothing to fold before it.
    /// - Returns: The lag.
    /// - Throws: What the ledger throws.
    func lag(to end: Position?) async throws -> Lag {
        guard let end, isAhead(end) else { return Lag(events: 0, seconds: 0) }
        return try await lag(from: position, to: end)
    }

    /// How far rows are behind the end of the ledger while the fold is somewhere between the two.
    ///
    /// Another task may be using the fold.
    ///
    /// - Parameter written: Where the rows stand.
    /// - Returns: The lag.
    /// - Throws: What the ledger throws.
    func lag(of written: Position?) async throws -> Lag {
        let ledger = ledger
        guard let end = try await onThread({ _ in try ledger.safePosition() }) else {
            return Lag(events: 0, seconds: 0)
        }
        ends.see(end)
        return try await lag(from: written, to: end)
    }

    private func lag(from written: Position?, to end: Position) async throws -> Lag {
        let ledger = ledger
        let span = PositionSpan(after: written, through: end)
        let events = try await onThread { _ in
            try ledger.buckets(in: span).map(\.events).reduce(0, +)
        }
        ends.reach(written)
        return Lag(events: events, seconds: ends.age())
    }

    /// Folds what stands behind the position, up to `end`; of a fold that does not hold all its rows
    /// one batch, whose changes have to be written before the next.
    ///
    /// - Parameters:
    ///   - end: Where to stop, included.
    ///   - others: Folds that stand at the same position, to take along in the same pass: what one of
    ///     them refuses is thrown when it is used next.
    ///   - keepsGoing: Whether the others go on when this one refuses an event, which is not thrown then.
    ///   - progress: Called on the reducer's thread with the events of this call.
    /// - Returns: Number of events.
    /// - Throws: What the ledger throws, ``EventRejection``, `CancellationError`,
    ///   ``RebuildError/copiesOverlap(projection:table:)``; the fold is of no use after that.
    @discardableResult
    func advance(
        to end: Position,
        together others: [LedgerFold] = [],
        keepsGoing: Bool = false,
        progress: @escaping FoldProgress = { _, _, _ in }
    ) async throws -> Int {
        if let failure, !keepsGoing { throw failure }
        guard source == nil else { return try await advanceOneBatch(to: end) }
        if watch == nil { watch = try await beginWatch() }
        for other in others { try await other.prepare() }
        var going = failure == nil ? [self] : []
        for other in others where await other.failure == nil { going.append(other) }
        guard !going.isEmpty else { return 0 }
        try await assertNotReplaced()
        let before = tally.events
        let pass = FoldPass(
            ledger: ledger,
            folds: going.map(\.fold),
            keepsGoing: keepsGoing,
            progress: progress
        )
        let outcome = try await pass.run(
            over: PositionSpan(after: position, through: end),
            adding: tally
        )
        try await assertNotReplaced()
        for (index, fold) in going.enumerated() {
            await fold.adopt(outcome, failure: outcome.failures[index], at: end)
        }
        // It leads the others on, also when it is of no use itself.
        adopt(outcome, failure: nil, at: end)
        if let failure, !keepsGoing { throw failure }
        return tally.events - before
    }

    /// Folds to the end of the ledger, its newest events last, then what was appended meanwhile.
    ///
    /// - Parameters:
    ///   - others: Folds that have read nothing either, to take along.
    ///   - keepsGoing: As for ``advance(to:together:keepsGoing:progress:)``.
    ///   - progress: Events so far, roughly of how many, and the millisecond at which the bucket
    ///     begins that the pass is in.
    /// - Throws: As ``advance(to:together:keepsGoing:progress:)``.
    func foldToEnd(
        together others: [LedgerFold] = [],
        keepsGoing: Bool = false,
        progress: @escaping @Sendable (_ events: Int, _ total: Int, _ bucketStart: Int64) -> Void
    ) async throws {
        // A writer faster than the fold would keep it here for ever.
        let rounds = 5
        func advance(to end: Position) async throws {
            let before = events
            try await self.advance(to: end, together: others, keepsGoing: keepsGoing) {
                events,
                share,
                bucketStart in
                let total = share.map { $0 > 0 ? Int(Double(events) / $0) : events } ?? events
                progress(before + events, before + max(events, total), bucketStart)
            }
        }
        if canChangeBehind, let settled = try await settledEnd(now: Self.clock()) {
            try await advance(to: settled)
        }
        for _ in 1...rounds {
            guard let end = try await end() else { break }
            try await advance(to: end)
        }
    }

    /// Begins to watch the ledger, before anybody reads it for this fold.
    private func prepare() async throws {
        if watch == nil { watch = try await beginWatch() }
    }

    private func adopt(_ outcome: FoldPass.Outcome, failure: (any Error)?, at end: Position) {
        tally = outcome.tally
        position = end
        self.failure = self.failure ?? failure
    }

    /// Folds one batch of what stands behind the position.
    ///
    /// - Returns: Number of events.
    /// - Throws: As ``advance(to:together:keepsGoing:progress:)``; what the row source throws.
    func advanceOneBatch(to end: Position) async throws -> Int {
        if watch == nil { watch = try await beginWatch() }
        let batch = try await nextBatch(through: end)
        // Behind the reading: a file that was replaced before it is noticed as well.
        try await assertNotReplaced()
        try await apply(batch)
        tally.add(batch)
        position = batch.lastPosition ?? end
        return batch.count
    }

    /// Makes sure that what was read follows what was folded before.
    private func assertNotReplaced() async throws {
        guard let position, try await !ledgerHolds(position) else { return }
        throw replaced(position)
    }

    private func replaced(_ position: Position) -> RebuildError {
        .ledgerReplaced(projection: fold.projectionName, position: position)
    }

    private func nextBatch(through end: Position) async throws -> EventBatch {
        let ledger = ledger
        let span = PositionSpan(after: position, through: end)
        return try await onThread { _ in
            let batch = EventBatch()
            _ = try ledger.withReader(of: span) { try $0.fill(batch) }
            return batch
        }
    }

    private func apply(_ batch: EventBatch) async throws {
        guard let source else { return try fold.apply(batch) }
        if fold.tables.map(\.heldRows).reduce(0, +) > Self.mostRowsHeld { fold.forgetRows() }
        while try !fold.tryApply(batch) {
            if fold.wants?.isWhole == true { throw WholeTablesWanted() }
            try await source(fold)
        }
    }

    /// What is in memory is what recent events needed, and the next ones are likely to need.
    private static let mostRowsHeld = 100_000

    /// The buckets that were changed behind the fold: of those inside the lateness horizon, the ones
    /// that hold another number of events by now than were read.
    ///
    /// - Returns: The differences; for a fold that goes on where an earlier process left off, all of
    ///   its past as one.
    /// - Throws: What the ledger throws.
    func differences() async throws -> [BucketDifference] {
        guard canChangeBehind, let position, try await mayHaveChanged() else { return [] }
        let (ledger, first) = (ledger, firstBucketToCount)
        let began = ContinuousClock.now
        let counts = try await onThread { _ in
            try ledger.buckets(in: PositionSpan(through: position))
                .drop { count in first.map { count.bucket < $0 } ?? false }
        }
        isCounted = true
        lastCount = (.now, .now - began)
        guard earlierEvents == nil else { return total(Array(counts)) }
        return tally.differences(from: Array(counts), since: first?.start)
    }

    /// Applies the events that were committed behind the fold, bucket after bucket, behind all that
    /// was folded.
    ///
    /// - Returns: Number of events; 0 when it cannot be told which they are.
    /// - Throws: What the ledger throws, ``EventRejection``.
    func accept(_ differences: [BucketDifference]) async throws -> Int {
        // Of what another process has folded nobody knows which events it were.
        guard let position, earlierEvents == nil else { return 0 }
        let (ledger, known) = (ledger, tally)
        let late = try await onThread { _ in
            let late = EventBatch(capacity: 16, bytes: 1 << 14)
            late.bucketWidth = ledger.bucketWidth
            for bucket in differences.map(\.bucket) {
                try LateEvents(bucket: bucket, through: position).read(ledger, into: late) {
                    known.contains($0, in: bucket) ?? true
                }
            }
            return late
        }
        guard late.count > 0 else { return 0 }
        try await apply(late)
        tally.add(late)
        lateEvents += late.count
        return late.count
    }

    /// Makes sure, while the live projector stands still, that the ledger still is what was folded.
    ///
    /// - Returns: Whether it can be counted again as well: not where that takes long. Who continues
    ///   from the rows compares the number of events.
    func isQuicklyConfirmed() async throws -> Bool {
        try await assertNotReplaced()
        return (lastCount?.duration ?? .zero) < .seconds(1)
    }

    /// Whether the ledger is to be counted again: not all the time, where that takes long.
    var isRecountDue: Bool {
        guard let lastCount, lastCount.duration > .seconds(1) else { return true }
        return ContinuousClock.now - lastCount.end > lastCount.duration * 2
    }

    /// Where counting begins; nil for the beginning of the ledger.
    private var firstBucketToCount: Bucket? {
        // Of an earlier process's events only the number of all is known.
        guard earlierEvents == nil, let horizon = lateness.horizon else { return nil }
        return tally.lastBucketStart.map {
            Bucket(containing: $0 - Int64(horizon * 1_000), width: ledger.bucketWidth)
        }
    }

    private func total(_ counts: [BucketCount]) -> [BucketDifference] {
        let found = counts.map(\.events).reduce(0, +)
        guard found != events, let first = counts.first?.bucket else { return [] }
        return [BucketDifference(bucket: first, read: events, found: found)]
    }

    /// Microseconds since 1970.
    private static func clock() -> Int64 { Int64(Date().timeIntervalSince1970 * 1_000_000) }

    private func beginWatch() async throws -> any LedgerWatch {
        let ledger = ledger
        return try await onThread { _ in try ledger.watch() }
    }

    private func mayHaveChanged() async throws -> Bool {
        guard let watch else {
            watch = try await beginWatch()
            return true
        }
        let hasChanged = try await onThread { _ in try watch.hasChanged() }
        return hasChanged || !isCounted
    }
}

/// A reducer asked for a table as a whole, for its rows in order or their number, and the fold does
/// not hold all of them.
struct WholeTablesWanted: Error {}

/// Gives a fold's tables the rows that they want.
typealias RowSource = @Sendable (any Fold) async throws -> Void

/// How far something is behind the end of the ledger.
package struct Lag: Equatable, Sendable {
    /// Events that are still to be applied.
    package let events: Int
    /// How long ago the ledger ended where the rows stand, in seconds, as far as this process has
    /// seen; 0 when they stand at its end.
    package let seconds: Double
}

/// Reads the events of one bucket that a pass did not see.
private struct LateEvents {
    let bucket: Bucket
    let through: Position

    func read(
        _ ledger: any Ledger,
        into late: EventBatch,
        isKnown: (Position) -> Bool
    ) throws {
        guard let span = try ledger.span(of: bucket, through: through) else { return }
        try ledger.withReader(of: span) { reader in
            let batch = EventBatch()
            while try reader.fill(batch) {
                batch.forEach { event in
                    if !isKnown(event.position) { late.append(copying: event) }
                }
            }
        }
    }
}
