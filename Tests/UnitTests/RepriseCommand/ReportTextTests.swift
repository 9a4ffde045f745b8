import Foundation
import ReadModels
import Rebuilder
import Testing

@testable import RepriseCommand

@Suite("Reports in words")
struct ReportTextTests {
    private func move(_ changes: [String: Any]) throws -> String {
        let facts: [String: Any] = [
            "projection": "shop", "kind": "swap", "generation": 2, "previousGeneration": 1,
            "position": "b", "positionBefore": "a", "blockedMilliseconds": 6.14,
            "lockWaitMilliseconds": 0.2, "longestFailedWaitMilliseconds": 0, "attempts": 1,
            "outageBudgetMilliseconds": 200, "signalled": [String](), "views": [String](),
            "warnings": [String](),
        ]
        let data = try JSONSerialization.data(withJSONObject: facts.merging(changes) { $1 })
        return MoveText(try JSONDecoder().decode(MoveReport.self, from: data)).text
    }

    @Test("a swap says what it cost readers")
    func swap() throws {
        #expect(
            try move([:]) == """
                shop: generation 2 is live.
                  readers     held up for 6.1 ms at most, 0.2 ms of it for locks, of 200 ms allowed
                  position    b
                  kept        generation 1, which was live before
                Next: reprise status shop
                """
        )
        let hard = try move([
            "attempts": 3, "longestFailedWaitMilliseconds": 50.5,
            "signalled": ["pid 7 was cancelled", "pid 8 was cancelled"], "warnings": ["w"],
        ])
        #expect(
            hard.contains(
                """
                  attempts    3 until the locks were free; a failed one waited for 50.5 ms at most
                  signalled   pid 7 was cancelled
                              pid 8 was cancelled
                """
            )
        )
        #expect(hard.contains("\n  warning     w\n"))
    }

    @Test("a rollback says what the step back means for the live projector")
    func rollback() throws {
        let back: [String: Any] = [
            "kind": "rollback", "generation": 1, "previousGeneration": 2, "position": "a",
            "positionBefore": "b",
        ]
        let text = try move(back)
        #expect(text.hasPrefix("shop: generation 1 is live again.\n"))
        #expect(
            text.contains(
                """
                  projector   the checkpoint went back from b
                              to a:
                              a projector that locks the checkpoint row applies the events in between again;
                              one that keeps its position elsewhere, with no template for it, must be set back by hand
                              one that still runs for generation 2 finds another number in that row
                """
            )
        )
        #expect(text.hasSuffix("Next, to undo it: reprise swap shop --allow-older"))
        let same = try move(back.merging(["positionBefore": "a"]) { $1 })
        #expect(same.contains("  projector   the checkpoint stands at a\n"))
    }

    @Test("a swap to an older generation says so too")
    func stepBack() throws {
        #expect(try move(["positionBefore": "c"]).contains("the checkpoint went back from c\n"))
    }
}
