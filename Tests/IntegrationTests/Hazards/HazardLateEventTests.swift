import LedgerKit
import Ledgers
import ProjectionKit
import ReadModels
import Rebuilder
import TestSupport
import Testing

@Suite("Hazards of a swap: events that come late")
struct HazardLateEventTests {
    @Test(
        "H54: an event of an earlier place that is committed during the load stops the swap",
        arguments: [Strategy.swap, .truncate]
    )
    func lateEvent(strategy: Strategy) async throws {
        try await withLateScene { scene, _ in
            try scene.append(counted([1]))
            _ = try await scene.rebuild(Tally.self)
            try scene.append(counted([2]))
            let before = try await scene.rows(of: "public.tally")
            var options = RebuildOptions()
            options.strategy = strategy
            let late = NewEvent(
                id: "1",
                time: Timestamp(milliseconds: 1),
                stream: "tally-3",
                type: "Counted",
                data: #"{"id":3}"#
            )
            let error = await #expect(throws: RebuildError.self) {
                _ = try await scene.rebuild(Tally.self, options: options) { step in
                    guard case .folded = step else { return }
                    try? scene.append([late])
                }
            }
            let bucket = Bucket(start: 0, width: 15_000)
            #expect(
                error
                    == .ledgerChangedBehind(
                        projection: "tally",
                        differences: [BucketDifference(bucket: bucket, read: 0, found: 1)]
                    )
            )
            #expect(try await scene.rows(of: "public.tally") == before)
            _ = try await scene.rebuild(Tally.self, options: options)
            #expect(try await scene.database.count("public.tally") == 3)
        }
    }
}
