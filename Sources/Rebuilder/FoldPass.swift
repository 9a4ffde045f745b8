package import LedgerKit
package import ProjectionKit
import Synchronization

/// One pass over a span of the ledger for any number of folds: a reader thread fills batches, and
/// every copy of every fold drains them on a thread of its own.
package struct FoldPass: Sendable {
    private let ledger: any Ledger
    private let folds: [any Fold]
    private let keepsGoing: Bool
    private let progress: FoldProgress

    /// What a pass has come to.
    package struct Outcome: Sendable {
        /// What was read before, and in this pass.
        package let tally: BucketTally
        /// For each fold why it is of no use: an ``EventRejection``,
        /// ``RebuildError/copiesOverlap(projection:table:)``; nil for one that took all.
        package let failures: [(any Error)?]
    }

    /// Batches that go round: the reader can be ahead by that many, and memory is bounded.
    private static let batches = 4

    /// Prepares a pass.
    ///
    /// - Parameters:
    ///   - ledger: What to read.
    ///   - folds: One at least.
    ///   - keepsGoing: Whether the pass goes on until every fold has refused an event; else the first
    ///     fold leads, and the pass ends when it refuses one.
    ///   - progress: Called on the thread of the first fold after each batch.
    package init(
        ledger: any Ledger,
        folds: [any Fold],
        keepsGoing: Bool = false,
        progress: @escaping FoldProgress
    ) {
        self.ledger = ledger
        self.folds = folds
        self.keepsGoing = keepsGoing
        self.progress = progress
    }

    /// Folds every event of the span, in order, then unites the copies of each fold.
    ///
    /// A fold that refuses an event is left behind, and of no use any more; the others go on. Of
    /// several events that copies of one fold refuse the earliest is told. Cancellation is noticed
    /// before each batch.
    ///
    /// - Parameters:
    ///   - span: What to fold.
    ///   - tally: What was read before.
    /// - Returns: What the pass has come to.
    /// - Throws: What the ledger throws, `CancellationError`.
    package func run(over span: PositionSpan, adding tally: BucketTally) async throws -> Outcome {
        try await onThread { checkCancellation in
            var tally = tally
            let before = tally.events
            let refusals = Refusals(folds: folds.count, endsWithAll: keepsGoing)
            let drains = folds.enumerated().flatMap { index, fold in
                fold.copies.map { CopyDrain(copy: $0, fold: index, refusals: refusals) }
            }
            guard let first = drains.first else { preconditionFailure("a pass without a fold") }
            do {
                try HandOff.run(
                    buffers: (0..<FoldPass.batches).map { _ in EventBatch() },
                    produce: { [ledger] exchange in
                        try ledger.withReader(of: span) { reader in
                            try exchange.fillEach { try reader.fill($0) }
                        }
                    },
                    beside: drains.dropFirst().map { drain in { try drain.take($0) } },
                    consume: { batch in
                        try checkCancellation()
                        try first.take(batch)
                        tally.add(batch)
                        guard let bucketStart = batch.lastBucketStart else { return }
                        progress(tally.events - before, batch.share, bucketStart)
                    }
                )
            } catch is NoFoldLeft {
                // What was refused is in the outcome.
            }
            let failures = try folds.enumerated().map { index, fold in
                try refusals.rejection(of: index) ?? unite(fold)
            }
            return Outcome(tally: tally, failures: failures)
        }
    }

    /// - Returns: Why that cannot be done.
    private func unite(_ fold: any Fold) throws -> (any Error)? {
        do {
            try fold.unite()
            return nil
        } catch let error as PartitionError {
            return RebuildError.copiesOverlap(projection: error.projection, table: error.table)
        }
    }
}

/// Hears of a pass: events so far, roughly the share of the span where that is known, and the
/// millisecond at which the bucket begins that it is in.
package typealias FoldProgress =
    @Sendable (_ events: Int, _ share: Double?, _ bucketStart: Int64) -> Void

/// The pass has no reason to go on.
private struct NoFoldLeft: Error {}

/// The thread of one copy: it stops behind the batch in which its fold has refused an event.
///
/// `@unchecked Sendable`: one thread takes batches.
private final class CopyDrain: @unchecked Sendable {
    private let copy: any FoldCopy
    private let fold: Int
    private let refusals: Refusals
    private var batches = 0
    private var isDone = false

    init(copy: any FoldCopy, fold: Int, refusals: Refusals) {
        self.copy = copy
        self.fold = fold
        self.refusals = refusals
    }

    func take(_ batch: EventBatch) throws {
        batches += 1
        // Other copies of the fold go on to the batch of the refusal, in which, or before which,
        // there may be an earlier one.
        if let last = refusals.lastBatch(of: fold), batches > last {
            if refusals.endPass(of: fold, inBatch: batches) { throw NoFoldLeft() }
            return
        }
        guard !isDone else { return }
        do {
            try copy.apply(batch)
        } catch let rejection as EventRejection {
            isDone = true
            refusals.note(rejection, by: fold, inBatch: batches)
        }
    }
}

/// The earliest event that each fold has refused.
private final class Refusals: Sendable {
    private let found: Mutex<[(batch: Int, rejection: EventRejection)?]>
    private let endsWithAll: Bool

    /// - Parameters:
    ///   - folds: Their number.
    ///   - endsWithAll: Whether the pass ends when every fold has refused an event, and not with the
    ///     first one's.
    init(folds: Int, endsWithAll: Bool) {
        found = Mutex(Array(repeating: nil, count: folds))
        self.endsWithAll = endsWithAll
    }

    /// Whether the thread of a fold that has refused an event finds that the pass has no reason to go on.
    func endPass(of fold: Int, inBatch batch: Int) -> Bool {
        guard endsWithAll else { return fold == 0 }
        return found.withLock { $0.allSatisfy { $0.map { $0.batch < batch } ?? false } }
    }

    func note(_ rejection: EventRejection, by fold: Int, inBatch batch: Int) {
        found.withLock { found in
            let position = rejection.event.position
            if let known = found[fold], known.rejection.event.position < position { return }
            found[fold] = (batch, rejection)
        }
    }

    func lastBatch(of fold: Int) -> Int? { found.withLock { $0[fold]?.batch } }

    func rejection(of fold: Int) -> EventRejection? { found.withLock { $0[fold]?.rejection } }
}
