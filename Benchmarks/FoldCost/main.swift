import AllocationCount
import Foundation
import FulfilmentProjection
import LedgerKit
import Ledgers
import ProjectionKit
import Rebuilder
import ShopProjection

/// What reading and folding cost without PostgreSQL: seconds, and how often memory was asked for.
struct FoldCost {
    let ledger: SQLiteLedger
    let projection: any Projection.Type

    /// Reads everything, then folds everything, on one thread: so that instruction counts are
    /// repeatable.
    func alone() throws -> Alone {
        var meter = Meter()
        let batches = try read()
        let reading = meter.lap()
        let fold = projection.makeFold()
        try measuredFold(fold, batches)
        let folding = meter.lap()
        return Alone(
            events: batches.map(\.count).reduce(0, +),
            readSeconds: reading.seconds,
            foldSeconds: folding.seconds,
            readAllocations: reading.allocations,
            foldAllocations: folding.allocations
        )
    }

    /// Folds as a rebuild does: reader and copies side by side.
    func inPass(copies: Int) async throws -> InPass {
        let fold = projection.makeFold(copies: copies)
        guard let end = try ledger.safePosition() else { return InPass() }
        var meter = Meter()
        let pass = FoldPass(ledger: ledger, folds: [fold]) { _, _, _ in }
        let outcome = try await pass.run(
            over: PositionSpan(through: end),
            adding: BucketTally(keepsPositions: false)
        )
        let passing = meter.lap()
        return InPass(
            copies: copies,
            events: outcome.tally.events,
            passSeconds: passing.seconds,
            passAllocations: passing.allocations
        )
    }

    private func read() throws -> [EventBatch] {
        guard let end = try ledger.safePosition() else { return [] }
        return try ledger.withReader(of: PositionSpan(through: end)) { reader in
            var batches: [EventBatch] = []
            while true {
                let batch = EventBatch()
                guard try reader.fill(batch) else { return batches }
                batches.append(batch)
            }
        }
    }
}

/// What reading and folding cost one after the other.
struct Alone: Encodable {
    var events = 0
    var readSeconds = 0.0
    var foldSeconds = 0.0
    var readAllocations = 0
    var foldAllocations = 0
}

/// What a pass of the ledger costs.
struct InPass: Encodable {
    var copies = 0
    var events = 0
    var passSeconds = 0.0
    var passAllocations = 0
}

extension Encodable {
    var json: String {
        get throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = .sortedKeys
            return String(decoding: try encoder.encode(self), as: UTF8.self)
        }
    }
}

/// Time and allocations since the last lap.
struct Meter {
    private var since = ContinuousClock.now
    private var count = allocation_count()

    mutating func lap() -> (seconds: Double, allocations: Int) {
        let (now, newCount) = (ContinuousClock.now, allocation_count())
        defer { (since, count) = (now, newCount) }
        return ((now - since) / .seconds(1), Int(newCount - count))
    }
}

/// Under this name callgrind finds where counting begins and ends (`--toggle-collect`)..
@inline(never)
@_silgen_name("reprise_measured_fold")
func measuredFold(_ fold: any Fold, _ batches: [EventBatch]) throws {
    for batch in batches { try fold.apply(batch) }
}

let arguments = Array(CommandLine.arguments.dropFirst())
let projections: [String: any Projection.Type] = ["shop": Shop.self, "fulfilment": Fulfilment.self]
guard (1...3).contains(arguments.count),
    let projection = projections[arguments.count > 1 ? arguments[1] : "shop"],
    let copies = Int(arguments.count > 2 ? arguments[2] : "1"), copies > 0
else {
    FileHandle.standardError.write(Data("usage: FoldCost LEDGER [shop|fulfilment [COPIES]]\n".utf8))
    exit(2)
}
let cost = FoldCost(ledger: try SQLiteLedger(path: arguments[0]), projection: projection)
print(try cost.alone().json)
if arguments.count > 2 { print(try await cost.inPass(copies: copies).json) }
