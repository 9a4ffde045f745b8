internal import Dispatch
internal import Synchronization

/// Runs a producer on a thread of its own beside consumers, with a bounded number of items between
/// them.
package enum HandOff {
    /// Hands what `produce` fills to every consumer, to each in order.
    ///
    /// When one of them throws, the producer stops at its next item, the consumers at the end of what
    /// was filled, and the first error is thrown. All have ended when the call returns. All may block.
    ///
    /// - Parameters:
    ///   - buffers: What travels to and fro: filled by the producer, drained by all consumers, then
    ///     filled again.
    ///   - produce: Fills buffers by ``HandOffExchange/fillEach(_:)``.
    ///   - beside: Drain a buffer, each on a thread of its own.
    ///   - consume: Drains a buffer, on the caller's thread.
    /// - Throws: What one of the closures throws.
    package static func run<Buffer: Sendable>(
        buffers: [Buffer],
        produce: @escaping @Sendable (HandOffExchange<Buffer>) throws -> Void,
        beside: [@Sendable (Buffer) throws -> Void] = [],
        consume: (Buffer) throws -> Void
    ) throws {
        let exchange = HandOffExchange(buffers, consumers: beside.count + 1)
        let group = DispatchGroup()
        // A queue each, for a thread each at once: a concurrent queue waits a second before it adds a
        // thread to as many blocked ones as there are processors.
        func beginThread(_ body: @escaping @Sendable () -> Void) {
            DispatchQueue(label: "reprise.ledger.hand-off").async(group: group, execute: body)
        }
        beginThread { exchange.stopping { try produce(exchange) } }
        for (index, drain) in beside.enumerated() {
            beginThread { exchange.drain(index + 1, drain) }
        }
        exchange.drain(0, consume)
        group.wait()
        try exchange.throwFailure()
    }
}

/// The queues between a producer and its consumers.
package final class HandOffExchange<Buffer: Sendable>: Sendable {
    private struct State {
        var free: [Int]
        /// What each consumer has not drained yet, by the buffers' numbers.
        var filled: [[Int]]
        /// Consumers that have not drained a buffer yet.
        var holders: [Int]
        var isOver = false
        var failure: (any Error)?
    }

    private let buffers: [Buffer]
    private let state: Mutex<State>
    private let freeSignal: DispatchSemaphore
    private let filledSignals: [DispatchSemaphore]

    fileprivate init(_ buffers: [Buffer], consumers: Int) {
        self.buffers = buffers
        state = Mutex(
            State(
                free: Array(buffers.indices),
                filled: Array(repeating: [], count: consumers),
                holders: Array(repeating: 0, count: buffers.count)
            )
        )
        // A semaphore must not be destroyed below its first value, so it starts at 0.
        freeSignal = DispatchSemaphore(value: 0)
        filledSignals = (0..<consumers).map { _ in DispatchSemaphore(value: 0) }
        for _ in buffers { freeSignal.signal() }
    }

    /// Fills buffer after buffer and hands each over, until there is nothing left or a consumer
    /// wants no more.
    ///
    /// - Parameter fill: Fills a buffer; gives false when there is nothing left.
    /// - Throws: What `fill` throws.
    package func fillEach(_ fill: (Buffer) throws -> Bool) rethrows {
        while let index = takeFree(), try fill(buffers[index]) { putFilled(index) }
    }

    /// Hands the consumer buffer after buffer, until there are no more.
    fileprivate func drain(_ consumer: Int, _ body: (Buffer) throws -> Void) {
        var failure: (any Error)?
        do {
            while let index = takeFilled(by: consumer) {
                try body(buffers[index])
                putFree(index)
            }
        } catch {
            failure = error
        }
        if let failure { stop(failure) }
    }

    /// Runs the producer; the consumers end behind what it has filled.
    fileprivate func stopping(_ body: () throws -> Void) {
        do {
            try body()
            stop(nil)
        } catch {
            stop(error)
        }
    }

    fileprivate func throwFailure() throws {
        if let failure = state.withLock(\.failure) { throw failure }
    }

    private func takeFree() -> Int? {
        freeSignal.wait()
        return state.withLock { $0.isOver ? nil : $0.free.removeLast() }
    }

    private func putFree(_ index: Int) {
        let isFree = state.withLock { state in
            state.holders[index] -= 1
            if state.holders[index] == 0 { state.free.append(index) }
            return state.holders[index] == 0
        }
        if isFree { freeSignal.signal() }
    }

    private func putFilled(_ index: Int) {
        state.withLock { state in
            state.holders[index] = state.filled.count
            for consumer in state.filled.indices { state.filled[consumer].append(index) }
        }
        for signal in filledSignals { signal.signal() }
    }

    /// Gives nil behind the last buffer.
    private func takeFilled(by consumer: Int) -> Int? {
        filledSignals[consumer].wait()
        return state.withLock { state in
            state.filled[consumer].isEmpty ? nil : state.filled[consumer].removeFirst()
        }
    }

    private func stop(_ failure: (any Error)?) {
        state.withLock { state in
            if state.failure == nil { state.failure = failure }
            state.isOver = true
        }
        freeSignal.signal()
        for signal in filledSignals { signal.signal() }
    }
}
