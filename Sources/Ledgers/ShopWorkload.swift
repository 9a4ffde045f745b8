package import ProjectionKit

/// Events of a made-up shop: registered customers, and orders that are placed, filled, paid and
/// shipped, many at a time.
///
/// - Deterministic: the same numbers make the same events, byte for byte, ids included, in an empty
///   ledger. In a ledger that holds events it adds new ones behind them: orders of their own, of
///   customers that are there and of new ones. That depends on nothing but the ledger and the
///   numbers either.
/// - Shape: about 8 events an order, about 70 events a second of event time, some in the same
///   millisecond. Few customers place most of the orders.
package struct ShopWorkload: Sendable {
    /// Where the first event's time lies unless told otherwise: 2026-01-01T00:00:00Z.
    package static let defaultStart = Timestamp(milliseconds: 1_767_225_600_000)

    /// How many events to make.
    package let events: Int
    /// What tells one workload from another.
    package let seed: UInt64
    /// The time just before the first event.
    ///
    /// A ledger that has newer events moves it behind them.
    package let start: Timestamp

    /// Describes a workload.
    package init(events: Int, seed: UInt64, start: Timestamp = ShopWorkload.defaultStart) {
        precondition(events >= 0, "the number of events must not be negative: \(events)")
        self.events = events
        self.seed = seed
        self.start = start
    }

    /// Makes the events and appends them.
    ///
    /// Blocks.
    ///
    /// - Parameters:
    ///   - writer: Of the ledger to append to.
    ///   - progress: Called with the number of events stored so far after each batch, on the
    ///     caller's thread. What it throws ends the work; the batches before are stored.
    /// - Returns: The number of events stored.
    /// - Throws: ``LedgerError``; what `progress` throws.
    @discardableResult
    package func write(
        to writer: LedgerWriter,
        progress: (Int) throws -> Void = { _ in }
    ) throws -> Int {
        let source = ShopSource(try simulation(behind: writer), events: events)
        var stored = 0
        try HandOff.run(
            buffers: [NewEventBatch(), NewEventBatch(), NewEventBatch()],
            produce: { $0.fillEach { source.fill($0) } },
            consume: { batch in
                stored += try writer.append(batch).stored
                try progress(stored)
            }
        )
        return stored
    }

    private func simulation(behind writer: LedgerWriter) throws -> ShopSimulation {
        guard let newest = try writer.newest() else {
            return ShopSimulation(
                seed: seed,
                start: start.milliseconds,
                customers: ShopCustomers(known: [])
            )
        }
        // The next bucket, because the newest event's id may be the greatest its bucket can hold.
        let later = newest.key.bucketStart + writer.bucketWidth
        return ShopSimulation(
            seed: seed ^ newest.key.id.high &* 0x9e37_79b9_7f4a_7c15 ^ newest.key.id.low,
            start: max(start.milliseconds, later),
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
/// `@unchecked Sendable`: made by the caller's thread, then used by the producing thread alone.
private final class ShopSource: @unchecked Sendable {
    private static let batchEvents = 20_000

    private var simulation: ShopSimulation
    private var remaining: Int

    init(_ simulation: ShopSimulation, events: Int) {
        self.simulation = simulation
        remaining = events
    }

    func fill(_ batch: NewEventBatch) -> Bool {
        batch.removeAll()
        let count = min(remaining, Self.batchEvents)
        for _ in 0..<count { simulation.appendEvent(to: batch) }
        remaining -= count
        return count > 0
    }
}
