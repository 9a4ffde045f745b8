import Foundation
import TestSupport
import Testing

/// Everything at once: events that are written, a live projector, readers, rebuilds and rollbacks.
///
/// `make soak` asks for the long form; a seed that was printed brings the same plan back by
/// `REPRISE_TEST_SEED`.
@Suite("A shop at work", .serialized)
struct SoakTests {
    private static let environment = ProcessInfo.processInfo.environment
    private static let isLong = environment["REPRISE_TEST_SOAK"] != nil

    private static func seed() -> UInt64 {
        let seed =
            environment["REPRISE_TEST_SEED"].flatMap { UInt64($0) }
            ?? UInt64.random(in: 1...999_999)
        print("soak: seed \(seed)")
        return seed
    }

    @Test(
        "through rebuilds and rollbacks readers see the ledger as it was, and all equals a fresh fold",
        arguments: ShopProjector.allCases
    )
    func peace(projector: ShopProjector) async throws {
        let seed = Self.seed()
        try await withRebuildScene { scene in
            try await SoakScene(
                scene: scene,
                projector: projector,
                plan: SoakPlan(
                    seed: seed,
                    rebuilds: Self.isLong ? 20 : 4,
                    rollbacks: Self.isLong ? 3 : 1
                ),
                swaps: Self.isLong ? 20 : 4,
                rate: Self.isLong ? 2_000 : 500
            ).run()
        }
    }

    @Test(
        "through kills, lost sessions and crashes nothing is lost and nothing is applied twice",
        arguments: ShopProjector.allCases
    )
    func faults(projector: ShopProjector) async throws {
        let seed = Self.seed()
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                try await SoakScene(
                    scene: scene,
                    projector: projector,
                    plan: SoakPlan(
                        seed: seed,
                        rebuilds: Self.isLong ? 36 : 6,
                        rollbacks: Self.isLong ? 3 : 1,
                        faults: Self.isLong ? 24 : 6
                    ),
                    swaps: Self.isLong ? 20 : 3,
                    rate: Self.isLong ? 2_000 : 500,
                    server: server
                ).run()
            }
        }
    }

    @Test("the plan is a function of the seed, with every kind of fault in it")
    func plan() {
        func plan(_ seed: UInt64) -> SoakPlan {
            SoakPlan(seed: seed, rebuilds: 10, rollbacks: 3, faults: 8)
        }
        #expect(plan(7) == plan(7))
        #expect(plan(7) != plan(8))
        for seed in 1...50 as ClosedRange<UInt64> {
            let steps = plan(seed).steps
            let faults = steps.compactMap { step in
                if case .rebuild(let fault) = step { fault } else { nil }
            }
            #expect(faults.count == 8)
            #expect(Set(faults.prefix(6).map(\.kind)).count == SoakPlan.Kind.allCases.count)
            #expect(steps.filter { $0 == .rollback }.count == 3)
            #expect(steps.count == 13 && steps.first != .rollback)
        }
    }
}
