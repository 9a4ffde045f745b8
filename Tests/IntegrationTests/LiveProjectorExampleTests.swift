import Foundation
import LedgerKit
import Ledgers
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import TestSupport
import Testing

@Suite("The live projector in Swift")
struct LiveProjectorExampleTests {
    @Test("counts through rebuilds, rollbacks and kills as a fold does")
    func wholeLife() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(1...5))
            _ = try await scene.rebuild(Tally.self)
            for round in 1...3 {
                let (_, outcome) = try await withProjector(in: scene) { child in
                    for step in 1...4 {
                        try scene.append(counted(step...(step + 40 * round)))
                        if step == 2 { try await scene.waitUntilCaughtUp() }
                        if step == 3 { _ = try await scene.rebuild(Tally.self) }
                    }
                    _ = try await scene.control(Tally.self).rollback(patience: CutOverPatience())
                    try scene.append(counted(1...100))
                    if round == 3 { try await scene.waitUntilCaughtUp() }
                    child.signal(round == 3 ? SIGTERM : SIGKILL)
                }
                #expect(outcome.wasKilled)
                let generations = outcome.standardOutput.split(separator: "\n")
                #expect(generations.count >= 1, "\(generations)")
            }
            let live = try await rows(of: scene)
            _ = try await scene.rebuild(Tally.self)
            #expect(try await rows(of: scene) == live)
        }
    }

    @Test("without a checkpoint it writes nothing and says what makes one")
    func noCheckpoint() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(1...5))
            _ = try await scene.rebuild(Tally.self)
            try await scene.database.execute("DELETE FROM reprise.checkpoint")
            let outcome = try await withProjector(in: scene) { _ in }.outcome
            #expect(outcome.status == 1)
            #expect(outcome.standardOutput.contains("run 'reprise rebuild tally' first"))
        }
    }

    @Test(
        "a position that the ledger does not hold stops it before it writes",
        arguments: ["00000000000000ff-0000000000000000-0000000000000000", "no position"]
    )
    func otherLedger(position: String) async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(1...5))
            _ = try await scene.rebuild(Tally.self)
            try await scene.database.query(
                "UPDATE reprise.checkpoint SET position = $1",
                [.text(position)]
            )
            let before = try await rows(of: scene)
            let outcome = try await withProjector(in: scene) { _ in }.outcome
            #expect(outcome.status == 1)
            #expect(outcome.standardOutput.contains("The ledger has no event at \(position)"))
            #expect(try await rows(of: scene) == before)
        }
    }

    private func rows(of scene: RebuildScene) async throws -> [[String]] {
        [try await scene.rows(of: "public.tally"), try await scene.rows(of: "public.tally_day")]
    }

    private func withProjector(
        in scene: RebuildScene,
        _ body: (ChildProcess) async throws -> Void
    ) async throws -> (result: Void, outcome: ChildProcess.Outcome) {
        try await ChildProcess.withRunning(
            try BuiltProgram("LiveProjectorExample").path,
            [scene.ledgerPath, scene.database.url],
            body
        )
    }
}

extension RebuildScene {
    fileprivate func waitUntilCaughtUp() async throws {
        let end = try #require(try SQLiteLedger(path: ledgerPath).safePosition())
        try await database.waitUntil(
            "the projector is at the end of the ledger",
            "SELECT FROM reprise.checkpoint WHERE projection = 'tally' AND position = $1",
            [.text("\(end)")]
        )
    }
}
