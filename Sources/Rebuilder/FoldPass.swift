import Foundation
import Ledgers
import ProjectionKit

/// One pass over a span of the ledger: a reader thread fills batches, a reducer thread drains them.
struct FoldPass: Sendable {
    let ledger: any Ledger
    let fold: any Fold
    /// Called on the reducer thread after each batch.
    let progress: @Sendable (_ events: Int, _ bucketStart: Int64) -> Void

    /// Folds every event of the span, in order.
    ///
    /// Cancellation is noticed after each batch.
    ///
    /// - Returns: Number of events.
    /// - Throws: ``LedgerError``, ``EventRejection``, `CancellationError`.
    func run(over span: PositionSpan) async throws -> Int {
        let queue = BatchQueue()
        return try await withTaskCancellationHandler {
            async let reading: Void = onThread(named: "reprise reader") {
                // Whatever happens, the reducer must not wait for more.
                defer { queue.finish() }
                try ledger.withReader(of: span) { reader in
                    while let batch = queue.takeEmpty(), try reader.fill(batch) {
                        queue.putFull(batch)
                    }
                }
            }
            async let folding: Int = onThread(named: "reprise reducer") {
                // The reader must not wait for an empty batch when the reducer has failed.
                defer { queue.close() }
                var events = 0
                while let batch = queue.takeFull() {
                    try fold.apply(batch)
                    events += batch.count
                    if let bucketStart = batch.lastBucketStart { progress(events, bucketStart) }
                    queue.putEmpty(batch)
                }
                return events
            }
            let events = try await folding
            try await reading
            try Task.checkCancellation()
            return events
        } onCancel: {
            queue.close()
        }
    }
}

/// Runs blocking work on a thread of its own, off the cooperative pool.
func onThread<Result: Sendable>(
    named name: String,
    _ work: @escaping @Sendable () throws -> Result
) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        let thread = Thread {
            continuation.resume(with: Swift.Result { try work() })
        }
        thread.name = name
        thread.start()
    }
}
