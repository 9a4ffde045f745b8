import Foundation
import FulfilmentProjection
import LedgerKit
import Ledgers
import ProjectionKit
import Rebuilder
import ShopProjection
import TestSupport
import Testing

@Suite("A pass of the ledger for several folds")
struct FoldPassTests {
    private func withLedger<Result>(
        shop events: Int,
        seed: UInt64,
        _ body: (SQLiteLedger) async throws -> Result
    ) async throws -> Result {
        try await withScratchFolder { folder in
            let path = "\(folder)/ledger.db"
            let ledger = try SQLiteLedger.create(path: path)
            try LedgerWriter.withWriter(path: path) {
                try ShopWorkload(events: events, seed: seed).write(to: $0)
            }
            return try await body(ledger)
        }
    }

    private func pass(_ ledger: SQLiteLedger, _ folds: [any Fold]) async throws -> FoldPass.Outcome
    {
        let end = try #require(try ledger.safePosition())
        return try await FoldPass(ledger: ledger, folds: folds) { _, _, _ in }.run(
            over: PositionSpan(through: end),
            adding: BucketTally(keepsPositions: false)
        )
    }

    private func expectSame(_ one: any Fold, _ other: any Fold) {
        #expect(one.tables.count == other.tables.count)
        for (table, twin) in zip(one.tables, other.tables) {
            #expect(table.count == twin.count)
            guard case .same = table.comparison(with: twin) else {
                Issue.record("'\(table.name)' differs")
                continue
            }
        }
    }

    @Test(
        "copies of a partitioned projection give the rows of one",
        arguments: [1, 2, 3, 8],
        [4711, 815] as [UInt64]
    )
    func copies(count: Int, seed: UInt64) async throws {
        print("shop: seed \(seed)")
        try await withLedger(shop: 9_000, seed: seed) { ledger in
            let one = Fulfilment.makeFold()
            let several = Fulfilment.makeFold(copies: count)
            #expect(several.copies.count == count)
            #expect(try await pass(ledger, [one]).tally.events == 9_000)
            _ = try await pass(ledger, [several])
            #expect(several.copies.count == 1)
            expectSame(one, several)
            #expect(one.tables[0].count > 500)
        }
    }

    @Test("a united fold goes on like one that was never split")
    func goesOn() async throws {
        try await withLedger(shop: 4_000, seed: 5) { ledger in
            let folds = [Fulfilment.makeFold(), Fulfilment.makeFold(copies: 3)]
            _ = try await pass(ledger, folds)
            let middle = try #require(try ledger.safePosition())
            try LedgerWriter.withWriter(path: ledger.path) {
                try ShopWorkload(events: 4_000, seed: 6).write(to: $0)
            }
            let end = try #require(try ledger.safePosition())
            let rest = FoldPass(ledger: ledger, folds: folds) { _, _, _ in }
            let outcome = try await rest.run(
                over: PositionSpan(after: middle, through: end),
                adding: BucketTally(keepsPositions: false)
            )
            #expect(outcome.tally.events == 4_000)
            expectSame(folds[0], folds[1])
        }
    }

    @Test("folds of several projections see every event, as each would alone")
    func together() async throws {
        try await withLedger(shop: 6_000, seed: 12) { ledger in
            let alone: [any Fold] = [Shop.makeFold(), Fulfilment.makeFold()]
            for fold in alone { _ = try await pass(ledger, [fold]) }
            let together: [any Fold] = [Shop.makeFold(), Fulfilment.makeFold(copies: 2)]
            let outcome = try await pass(ledger, together)
            #expect(outcome.failures.allSatisfy { $0 == nil })
            for (one, other) in zip(alone, together) { expectSame(one, other) }
        }
    }

    @Test("what one fold refuses does not stop the others, unless it leads")
    func refusal() async throws {
        try await withLedger(shop: 30_000, seed: 3) { ledger in
            let end = try #require(try ledger.safePosition())
            let whole = Shop.makeFold()
            _ = try await pass(ledger, [whole])
            let shop = Shop.makeFold()
            let outcome = try await pass(ledger, [shop, Picky.makeFold()])
            #expect(outcome.tally.events == 30_000)
            let rejection = try #require(outcome.failures[1] as? EventRejection)
            #expect(rejection.event.type == "OrderShipped" && rejection.event.position < end)
            expectSame(whole, shop)

            let stopped = try await pass(ledger, [Picky.makeFold(), Shop.makeFold()])
            #expect(stopped.failures[0] as? EventRejection == rejection)
            #expect(stopped.tally.events < 30_000)
        }
    }

    @Test("of what several copies refuse the earliest event is told, every time", arguments: 1...6)
    func earliest(copies: Int) async throws {
        try await withLedger(shop: 20_000, seed: 8) { ledger in
            let alone = try await pass(ledger, [Picky.makeFold()])
            let rejection = try #require(alone.failures[0] as? EventRejection)
            let outcome = try await pass(ledger, [Picky.makeFold(copies: copies)])
            #expect(outcome.failures.map { $0 as? EventRejection } == [rejection])
        }
    }

    @Test("copies that make a row with the same key are found")
    func overlap() async throws {
        try await withLedger(shop: 500, seed: 8) { ledger in
            let wrong = RebuildError.copiesOverlap(projection: "overlapping", table: "tally")
            let outcome = try await pass(ledger, [Overlapping.makeFold(copies: 2)])
            #expect(outcome.failures.map { $0 as? RebuildError } == [wrong])
            let alone = try await pass(ledger, [Overlapping.makeFold()])
            #expect(alone.failures.allSatisfy { $0 == nil })
        }
    }

    @Test("the share of the ledger that was read grows to about the whole")
    func share() async throws {
        try await withLedger(shop: 20_000, seed: 8) { ledger in
            let end = try #require(try ledger.safePosition())
            let shares = Collected<Double>()
            _ = try await FoldPass(ledger: ledger, folds: [Shop.makeFold()]) { _, share, _ in
                if let share { shares.append(share) }
            }.run(over: PositionSpan(through: end), adding: BucketTally(keepsPositions: false))
            let found = shares.all
            #expect(found.count >= 4 && found == found.sorted())
            #expect((0.8...1).contains(try #require(found.last)))
        }
    }
}

/// Takes what threads append.
private final class Collected<Element: Sendable>: @unchecked Sendable {
    // Every access holds the lock.
    private let lock = NSLock()
    private var elements: [Element] = []

    var all: [Element] { lock.withLock { elements } }

    func append(_ element: Element) { lock.withLock { elements.append(element) } }
}

/// Refuses whatever is shipped.
private struct Picky: PartitionedProjection {
    static let name = "picky"
    static let schema: String? = nil

    var tally = Table<TallyRow>()

    static func partitionKey(of event: borrowing Event) -> PartitionKey {
        PartitionKey(streamOf: event)
    }

    mutating func reduce(_ event: borrowing Event) throws {
        if event.type == EventType("OrderShipped") { throw EventError("nothing leaves this house") }
    }
}

/// Counts all events in one row, which its partition key tears apart.
private struct Overlapping: PartitionedProjection {
    static let name = "overlapping"
    static let schema: String? = nil

    var tally = Table<TallyRow>()

    static func partitionKey(of event: borrowing Event) -> PartitionKey {
        PartitionKey(streamOf: event)
    }

    mutating func reduce(_ event: borrowing Event) throws {
        tally.insert(TallyRow(id: 1))
    }
}
