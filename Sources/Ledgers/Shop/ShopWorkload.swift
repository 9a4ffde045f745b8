internal import Glibc
internal import LedgerKit
package import ProjectionKit

/// Events of a made-up shop: registered customers, and orders that are placed, filled, paid and
/// shipped, many at a time.
///
/// - Deterministic: the same numbers make the same events, byte for byte, in an empty ledger. In a ledger that holds events it adds new ones behind them: orders of their own, of
///   customers that are there and of new ones. That depends on nothing but the ledger and the
///   numbers either.
/// - Shape: about 8 events an order, about 70 events a second of event time, some in the same
///   millisecond. Few customers place most of the orders.
package struct ShopWorkload: Sendable {
    /// Where the first event's time lies unless told otherwise: 2026-01-01T00:00:00Z.
    package static let defaultStart = Timestamp(milliseconds: 1_767_225_600_000)

    /// How many events to make; nil to go on until `progress` throws.
    package let events: Int?
    /// What tells one workload from another.
    package let seed: UInt64
    /// The time just before the first event.
    ///
    /// A ledger that has newer events moves it behind them.
    package let start: Timestamp
    /// Events to store in a second of the machine's time, 1 or more; nil for as fast as it goes.
    package let rate: Int?

    /// Describes a workload.
    package init(
        events: Int?,
        seed: UInt64,
        start: Timestamp = ShopWorkload.defaultStart,
        rate: Int? = nil
    ) {
        precondition(events ?? 0 >= 0, "the number of events must not be negative: \(events ?? 0)")
        precondition(rate ?? 1 > 0, "the rate must be positive: \(rate ?? 1)")
        self.events = events
        self.seed = seed
        self.start = start
        self.rate = rate
    }

    /// Makes the events and appends them.
    ///
    /// Blocks.
    ///
    /// - Parameters:
    ///   - writer: Of the ledger to append to.
    ///   - progress: Called with the number of events stored so far after each batch, and with a
    ///     rate 20 times a second at least, on the caller's thread. What it throws ends the work;
    ///     the batches before are stored.
    /// - Returns: The number of events stored.
    /// - Throws: ``LedgerError``; what `progress` throws.
    @discardableResult
    package func write(
        to writer: LedgerWriter,
        progress: (Int) throws -> Void = { _ in }
    ) throws -> Int {
        let source = ShopSource(try simulation(behind: writer), events: events)
        if let rate { return try write(source, at: rate, to: writer, progress: progress) }
        var stored = 0
        try HandOff.run(
            buffers: [NewEventBatch(), NewEventBatch(), NewEventBatch()],
            produce: { $0.fillEach { source.fill($0) } },
            consume: { batch in
                stored += try writer.append(batch, refusing: Self.refuse).stored
                try progress(stored)
            }
        )
        return stored
    }

    /// Stores batches of a twentieth of a second, each when it is due.
    private func write(
        _ source: ShopSource,
        at rate: Int,
        to writer: LedgerWriter,
        progress: (Int) throws -> Void
    ) throws -> Int {
        let batch = NewEventBatch()
        var pace = Pace(rate: rate)
        var stored = 0
        while source.fill(batch, atMost: max(1, rate / 20)) {
            while let pause = pace.pause() {
                usleep(UInt32(pause / .microseconds(1)))
                try progress(stored)
            }
            pace.advance(by: batch.records.count)
            stored += try writer.append(batch, refusing: Self.refuse).stored
            try progress(stored)
        }
        return stored
    }

    /// A shop's events have no ids and no times ahead of those before.
    private static func refuse(_ index: Int, _ reason: String) throws -> Bool { false }

    private func simulation(behind writer: LedgerWriter) throws -> ShopSimulation {
        guard let newest = try writer.newest() else {
            return ShopSimulation(
                seed: seed,
                start: start.milliseconds,
                customers: ShopCustomers(known: [])
            )
        }
        return ShopSimulation(
            seed: seed ^ UInt64(bitPattern: newest.sequence) &* 0x9e37_79b9_7f4a_7c15,
            start: max(start.milliseconds, newest.time.milliseconds + 1),
            customers: ShopCustomers(
                known: try writer.recentNumbers(
                    "customerId",
                    ofType: "CustomerRegistered"
                )
            )
        )
    }
}

/// Fills batches from the simulation.
///
/// `@unchecked Sendable`: made by the caller's thread, then used by one thread alone, the producing
/// one or the caller's.
private final class ShopSource: @unchecked Sendable {
    private var simulation: ShopSimulation
    private var remaining: Int

    init(_ simulation: ShopSimulation, events: Int?) {
        self.simulation = simulation
        remaining = events ?? .max
    }

    func fill(_ batch: NewEventBatch, atMost limit: Int = 20_000) -> Bool {
        batch.removeAll()
        let count = min(remaining, limit)
        for _ in 0..<count { simulation.appendEvent(to: batch) }
        remaining -= count
        return count > 0
    }
}

/// When the next events are due.
private struct Pace {
    /// So that what is asked in between, such as whether to stop, is asked often enough.
    private static let longestPause = Duration.milliseconds(50)

    private let rate: Int
    private var due = ContinuousClock.now

    init(rate: Int) {
        self.rate = rate
    }

    /// How long to wait before asking again; nil when the time has come.
    func pause() -> Duration? {
        let rest = due - .now
        return rest > .zero ? min(rest, Self.longestPause) : nil
    }

    /// So many events are written now.
    mutating func advance(by events: Int) {
        // What a slow machine was late with is made good by a second's events at most.
        due = max(due, .now - .seconds(1)) + .seconds(Double(events) / Double(rate))
    }
}
