import AllocationCount
import Foundation
import FulfilmentProjection
import LedgerKit
import Ledgers
import ProjectionKit
import Rebuilder
import ShopProjection

/// What reading costs, by two ways to keep the events.
struct ReadCost {
    let ledger: any Ledger

    /// Reads everything twice: into one batch, as a pass does, and into as many as it takes.
    func measure() throws -> Read {
        var meter = Meter()
        let events = try readIntoOne()
        let reusing = meter.lap()
        let batches = try readAll()
        let keeping = meter.lap()
        precondition(batches.map(\.count).reduce(0, +) == events, "two readings differ")
        return Read(
            events: events,
            reusingSeconds: reusing.seconds,
            keepingSeconds: keeping.seconds,
            reusingAllocations: reusing.allocations,
            keepingAllocations: keeping.allocations
        )
    }

    /// All events, in memory.
    func readAll() throws -> [EventBatch] {
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

    private func readIntoOne() throws -> Int {
        guard let end = try ledger.safePosition() else { return 0 }
        return try ledger.withReader(of: PositionSpan(through: end)) { reader in
            let batch = EventBatch()
            var events = 0
            while try reader.fill(batch) { events += batch.count }
            return events
        }
    }
}

/// What reading and folding cost without PostgreSQL: seconds, and how often memory was asked for.
struct FoldCost {
    let ledger: any Ledger
    let projection: any Projection.Type

    /// Reads everything, then folds everything, on one thread: so that instruction counts are
    /// repeatable.
    func alone() throws -> Alone {
        var meter = Meter()
        let batches = try ReadCost(ledger: ledger).readAll()
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
}

/// What reading costs.
struct Read: Encodable {
    var events = 0
    var reusingSeconds = 0.0
    var keepingSeconds = 0.0
    var reusingAllocations = 0
    var keepingAllocations = 0
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

/// Under this name callgrind finds where counting begins and ends (`--toggle-collect`).
@inline(never)
@_silgen_name("reprise_measured_fold")
func measuredFold(_ fold: any Fold, _ batches: [EventBatch]) throws {
    for batch in batches { try fold.apply(batch) }
}

let arguments = Array(CommandLine.arguments.dropFirst())
let projections: [String: any Projection.Type] = ["shop": Shop.self, "fulfilment": Fulfilment.self]
let usage = "usage: FoldCost LEDGER [shop|fulfilment [COPIES]]\n       FoldCost LEDGER read\n"
let isReading = arguments.count == 2 && arguments[1] == "read"
guard (1...3).contains(arguments.count),
    let projection = projections[arguments.count > 1 && !isReading ? arguments[1] : "shop"],
    let copies = Int(arguments.count > 2 ? arguments[2] : "1"), copies > 0
else {
    FileHandle.standardError.write(Data(usage.utf8))
    exit(2)
}
let ledger = try LedgerAddress(arguments[0]).open([])
if isReading {
    print(try ReadCost(ledger: ledger).measure().json)
} else {
    let cost = FoldCost(ledger: ledger, projection: projection)
    print(try cost.alone().json)
    if arguments.count > 2 { print(try await cost.inPass(copies: copies).json) }
}
