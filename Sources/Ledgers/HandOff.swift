internal import Dispatch
internal import Synchronization

/// Runs a producer on a thread of its own beside a consumer on the caller's, with a bounded number
/// of items between them.
package enum HandOff {
    /// Hands what `produce` fills to `consume`, in order.
    ///
    /// When either throws, the other stops at its next item and the first error is thrown. Both
    /// have ended when the call returns. Both may block.
    ///
    /// - Parameters:
    ///   - buffers: What travels to and fro: filled by the producer, drained by the consumer.
    ///   - produce: Fills buffers by ``HandOffExchange/fillEach(_:)``.
    ///   - consume: Drains a buffer.
    /// - Throws: What `produce` or `consume` throws.
    package static func run<Buffer: Sendable>(
        buffers: [Buffer],
        produce: @escaping @Sendable (HandOffExchange<Buffer>) throws -> Void,
        consume: (Buffer) throws -> Void
    ) throws {
        let exchange = HandOffExchange(free: buffers)
        let group = DispatchGroup()
        DispatchQueue(label: "reprise.ledgers.hand-off").async(group: group) {
            do {
                try produce(exchange)
                exchange.finish(nil)
            } catch {
                exchange.finish(error)
            }
        }
        defer {
            exchange.abandon()
            group.wait()
        }
        while let buffer = try exchange.takeFilled() {
            try consume(buffer)
            exchange.putFree(buffer)
        }
    }
}

/// The two queues between producer and consumer.
package final class HandOffExchange<Buffer: Sendable>: Sendable {
    private struct State {
        var free: [Buffer]
        var filled: [Buffer] = []
        var isAbandoned = false
        var failure: (any Error)?
    }

    private let state: Mutex<State>
    private let freeSignal: DispatchSemaphore
    private let filledSignal = DispatchSemaphore(value: 0)

    fileprivate init(free: [Buffer]) {
        state = Mutex(State(free: free))
        // A semaphore must not be destroyed below its first value, so it starts at 0.
        freeSignal = DispatchSemaphore(value: 0)
        for _ in free { freeSignal.signal() }
    }

    /// Fills buffer after buffer and hands each over, until there is nothing left or the consumer
    /// wants no more.
    ///
    /// - Parameter fill: Fills a buffer; gives false when there is nothing left.
    /// - Throws: What `fill` throws.
    package func fillEach(_ fill: (Buffer) throws -> Bool) rethrows {
        while let buffer = takeFree(), try fill(buffer) { putFilled(buffer) }
    }

    private func takeFree() -> Buffer? {
        freeSignal.wait()
        return state.withLock { $0.isAbandoned ? nil : $0.free.removeLast() }
    }

    fileprivate func putFree(_ buffer: Buffer) {
        state.withLock { $0.free.append(buffer) }
        freeSignal.signal()
    }

    private func putFilled(_ buffer: Buffer) {
        state.withLock { $0.filled.append(buffer) }
        filledSignal.signal()
    }

    /// Gives nil after the last buffer; throws what the producer threw.
    fileprivate func takeFilled() throws -> Buffer? {
        filledSignal.wait()
        return try state.withLock { state in
            guard state.filled.isEmpty else { return state.filled.removeFirst() }
            if let failure = state.failure { throw failure }
            return nil
        }
    }

    fileprivate func finish(_ failure: (any Error)?) {
        state.withLock {
            $0.failure = failure
        }
        filledSignal.signal()
    }

    fileprivate func abandon() {
        state.withLock { $0.isAbandoned = true }
        freeSignal.signal()
    }
}
