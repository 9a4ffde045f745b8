internal import Dispatch
internal import Synchronization

/// Runs a producer on a thread of its own beside a consumer on the caller's, with a bounded number
/// of items between them.
enum HandOff {
    /// Hands what `produce` gives to `consume`, in order.
    ///
    /// When either throws, the other stops at its next item and the first error is thrown. Both
    /// have ended when the call returns. Both may block.
    ///
    /// - Parameters:
    ///   - buffers: What travels to and fro: filled by the producer, drained by the consumer.
    ///   - produce: Fills a buffer; gives false when there is nothing left.
    ///   - consume: Drains it.
    /// - Throws: What `produce` or `consume` throws.
    static func run<Buffer: Sendable>(
        buffers: [Buffer],
        produce: @escaping @Sendable (Buffer) throws -> Bool,
        consume: (Buffer) throws -> Void
    ) throws {
        let exchange = Exchange(free: buffers)
        let group = DispatchGroup()
        DispatchQueue(label: "reprise.ledgers.hand-off").async(group: group) {
            do {
                while let buffer = exchange.takeFree(), try produce(buffer) {
                    exchange.putFilled(buffer)
                }
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
private final class Exchange<Buffer: Sendable>: Sendable {
    private struct State {
        var free: [Buffer]
        var filled: [Buffer] = []
        var isAbandoned = false
        var failure: (any Error)?
    }

    private let state: Mutex<State>
    private let freeSignal: DispatchSemaphore
    private let filledSignal = DispatchSemaphore(value: 0)

    init(free: [Buffer]) {
        state = Mutex(State(free: free))
        // A semaphore must not be destroyed below its first value, so it starts at 0.
        freeSignal = DispatchSemaphore(value: 0)
        for _ in free { freeSignal.signal() }
    }

    func takeFree() -> Buffer? {
        freeSignal.wait()
        return state.withLock { $0.isAbandoned ? nil : $0.free.removeLast() }
    }

    func putFree(_ buffer: Buffer) {
        state.withLock { $0.free.append(buffer) }
        freeSignal.signal()
    }

    func putFilled(_ buffer: Buffer) {
        state.withLock { $0.filled.append(buffer) }
        filledSignal.signal()
    }

    /// Gives nil after the last buffer; throws what the producer threw.
    func takeFilled() throws -> Buffer? {
        filledSignal.wait()
        return try state.withLock { state in
            guard state.filled.isEmpty else { return state.filled.removeFirst() }
            if let failure = state.failure { throw failure }
            return nil
        }
    }

    func finish(_ failure: (any Error)?) {
        state.withLock {
            $0.failure = failure
        }
        filledSignal.signal()
    }

    func abandon() {
        state.withLock { $0.isAbandoned = true }
        freeSignal.signal()
    }
}
