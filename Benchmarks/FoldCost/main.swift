import AllocationCount
import Foundation
import Ledgers
import ProjectionKit
import ShopProjection

/// What reading and folding cost by themselves, without PostgreSQL: seconds, and how often memory
/// was asked for.
///
/// Everything runs on one thread, one after the other, so that instruction counts are repeatable.
struct FoldCost {
    let ledger: SQLiteLedger

    /// Reads a ledger into batches that are kept.
    func read() throws -> [EventBatch] {
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

/// Under this name callgrind finds where counting begins and ends (`--toggle-collect`)..
@inline(never)
@_silgen_name("reprise_measured_fold")
func measuredFold(_ fold: any Fold, _ batches: [EventBatch]) throws {
    for batch in batches { try fold.apply(batch) }
}

guard CommandLine.arguments.count == 2 else {
    FileHandle.standardError.write(Data("usage: FoldCost LEDGER\n".utf8))
    exit(2)
}
let cost = FoldCost(ledger: try SQLiteLedger(path: CommandLine.arguments[1]))
let begin = ContinuousClock.now
let firstCount = allocation_count()
let batches = try cost.read()
let middle = ContinuousClock.now
let secondCount = allocation_count()
let fold = Shop.makeFold()
try measuredFold(fold, batches)
let end = ContinuousClock.now
let thirdCount = allocation_count()
let events = batches.map(\.count).reduce(0, +)
print(
    """
    {"events": \(events), \
    "readSeconds": \((middle - begin) / .seconds(1)), \
    "foldSeconds": \((end - middle) / .seconds(1)), \
    "readAllocations": \(secondCount - firstCount), \
    "foldAllocations": \(thirdCount - secondCount)}
    """
)
