import Ledgers
import Synchronization
import TestSupport
import LedgerKit
import Testing

@Suite("Handing over between threads")
struct HandOffTests {
    private final class Cell: Sendable {
        let number = Mutex(0)
    }

    private struct Enough: Error, Equatable { let number: Int }

    /// Hands the numbers from 1 on to consumers, the first of which is on this thread.
    private func handOut(
        _ last: Int,
        to consumers: [@Sendable (Int) throws -> Void],
        failingAfter failure: Int? = nil
    ) throws {
        let next = Mutex(0)
        try HandOff.run(
            buffers: (0..<3).map { _ in Cell() },
            produce: { exchange in
                try exchange.fillEach { cell in
                    let number = next.withLock {
                        $0 += 1
                        return $0
                    }
                    if let failure, number > failure { throw Enough(number: number) }
                    cell.number.withLock { $0 = number }
                    return number <= last
                }
            },
            beside: consumers.dropFirst().map { consumer in
                { cell in try consumer(cell.number.withLock { $0 }) }
            },
            consume: { cell in try consumers[0](cell.number.withLock { $0 }) }
        )
    }

    @Test("every consumer gets every item, in order", arguments: [1, 2, 5])
    func all(consumers: Int) throws {
        let seen = Mutex<[[Int]]>(Array(repeating: [], count: consumers))
        try handOut(
            2_000,
            to: (0..<consumers).map { index in
                { number in seen.withLock { $0[index].append(number) } }
            }
        )
        for numbers in seen.withLock({ $0 }) { #expect(numbers == Array(1...2_000)) }
    }

    @Test("what a consumer throws is thrown, whichever it is, and all have ended", arguments: 0..<3)
    func consumerFails(failing: Int) throws {
        let most = Mutex(0)
        #expect(throws: Enough(number: 50)) {
            try handOut(
                1_000_000,
                to: (0..<3).map { index in
                    { number in
                        most.withLock { $0 = max($0, number) }
                        if index == failing && number == 50 { throw Enough(number: 50) }
                    }
                }
            )
        }
        // There are three buffers, none of which is free before all consumers had it.
        #expect(most.withLock { $0 } <= 53)
    }

    @Test("consumers drain what was filled before the producer threw")
    func producerFails() throws {
        let seen = Mutex([0, 0])
        #expect(throws: Enough(number: 101)) {
            try handOut(
                1_000,
                to: (0..<2).map { index in { _ in seen.withLock { $0[index] += 1 } } },
                failingAfter: 100
            )
        }
        #expect(seen.withLock { $0 } == [100, 100])
    }
}
