import Foundation
import ProjectionKit

/// Hands batches from the reader to the reducer and back: a fixed number of them goes round, so the
/// reader can be ahead by that many and memory is bounded.
///
/// `@unchecked Sendable`: everything is read and written under the condition's lock.
final class BatchQueue: @unchecked Sendable {
    private let condition = NSCondition()
    private var empty: [EventBatch]
    private var full: [EventBatch] = []
    private var isFinished = false
    private var isClosed = false

    /// - Parameter batches: How many go round, 2 or more for the two sides to overlap.
    init(batches: Int = 4) {
        empty = (0..<batches).map { _ in EventBatch() }
    }

    /// Waits for an empty batch; nil when the queue was closed.
    func takeEmpty() -> EventBatch? {
        condition.withLock {
            while empty.isEmpty && !isClosed { condition.wait() }
            return isClosed ? nil : empty.removeLast()
        }
    }

    /// Hands a filled batch over.
    func putFull(_ batch: EventBatch) {
        condition.withLock {
            full.append(batch)
            condition.broadcast()
        }
    }

    /// Waits for a filled batch; nil when there are no more, or the queue was closed.
    func takeFull() -> EventBatch? {
        condition.withLock {
            while full.isEmpty && !isFinished && !isClosed { condition.wait() }
            return isClosed || full.isEmpty ? nil : full.removeFirst()
        }
    }

    /// Gives a drained batch back.
    func putEmpty(_ batch: EventBatch) {
        condition.withLock {
            empty.append(batch)
            condition.broadcast()
        }
    }

    /// The reader has filled the last batch.
    func finish() {
        condition.withLock {
            isFinished = true
            condition.broadcast()
        }
    }

    /// Nobody goes on: both sides get nil from now on.
    ///
    /// Safe to call from anywhere, more than once.
    func close() {
        condition.withLock {
            isClosed = true
            condition.broadcast()
        }
    }
}
