import Ledgers
import ProjectionKit

/// One pass over a span of the ledger: a reader thread fills batches, a reducer thread drains them.
struct FoldPass: Sendable {
    let ledger: any Ledger
    let fold: any Fold
    /// Called on the reducer thread after each batch.
    let progress: @Sendable (_ events: Int, _ bucketStart: Int64) -> Void

    /// Batches that go round: the reader can be ahead by that many, and memory is bounded.
    private static let batches = 4

    /// Folds every event of the span, in order.
    ///
    /// Cancellation is noticed before each batch.
    ///
    /// - Parameters:
    ///   - span: What to fold.
    ///   - tally: What was read before.
    /// - Returns: The tally, with what was read now.
    /// - Throws: ``LedgerError``, ``EventRejection``, `CancellationError`.
    func run(over span: PositionSpan, adding tally: BucketTally) async throws -> BucketTally {
        try await onThread { checkCancellation in
            var tally = tally
            let before = tally.events
            try HandOff.run(
                buffers: (0..<FoldPass.batches).map { _ in EventBatch() },
                produce: { [ledger] exchange in
                    try ledger.withReader(of: span) { reader in
                        try exchange.fillEach { try reader.fill($0) }
                    }
                },
                consume: { batch in
                    try checkCancellation()
                    try fold.apply(batch)
                    tally.add(batch)
                    if let bucketStart = batch.lastBucketStart {
                        progress(tally.events - before, bucketStart)
                    }
                }
            )
            return tally
        }
    }
}
