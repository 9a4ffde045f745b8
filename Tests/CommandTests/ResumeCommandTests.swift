import Foundation
import Postgres
import TestSupport
import Testing

/// Kills a real `reprise rebuild shop` and goes on with what it left.
@Suite("Resuming a killed rebuild")
struct ResumeCommandTests {
    /// Runs `body` with a shop that is live and a ledger that went on.
    private func withShop(
        _ body: (RebuildScene, RepriseProcess) async throws -> Void
    ) async throws {
        try await withRebuildScene { scene in
            let reprise = RepriseProcess(scene)
            try scene.appendShop(events: 2_000, seed: 1)
            expect(try await reprise.run("rebuild shop --ledger ledger.db"), exits: 0)
            try scene.appendShop(events: 3_000, seed: 2)
            try await body(scene, reprise)
        }
    }

    /// Kills a rebuild when it says that a stage begins, while a reader keeps it from cutting over.
    private func kill(
        at stage: String,
        _ scene: RebuildScene,
        _ reprise: RepriseProcess
    ) async throws {
        try await scene.database.withConnection { reader in
            try await reader.execute("BEGIN; SELECT FROM public.order_summary LIMIT 1")
            let (_, outcome) = try await reprise.withRunning(
                "rebuild shop --ledger ledger.db --deadline 600"
            ) { child in
                try await child.waitForText("shop: \(stage)\n")
                child.signal(SIGKILL)
            }
            #expect(outcome.wasKilled)
            try await reader.execute("ROLLBACK")
        }
    }

    @Test(
        "in the catch-up or at the cut-over, it goes on: nothing is folded or loaded again",
        arguments: ["catching up", "cutting over"]
    )
    func goesOn(stage: String) async throws {
        try await withShop { scene, reprise in
            let before = try await scene.shopDigest()
            try await kill(at: stage, scene, reprise)
            #expect(try await scene.shopDigest() == before)
            try scene.appendShop(events: 1_500, seed: 3)
            let resumed = try await reprise.run("rebuild shop --resume --ledger ledger.db")
            expect(resumed, exits: 0, saying: ["died", "Going on with generation 2"])
            #expect(!resumed.standardError.contains("shop: folding"))
            #expect(!resumed.standardError.contains("shop: loading"))
            #expect(resumed.standardOutput.hasPrefix("shop: generation 2 is live.\n"))
            #expect(resumed.standardOutput.contains("events      6,500"))
            let digest = try await scene.shopDigest()
            expect(try await reprise.run("rebuild shop --ledger ledger.db"), exits: 0)
            #expect(try await scene.shopDigest() == digest)
        }
    }

    @Test("in the fold, it begins from the beginning and says so")
    func beginsAgain() async throws {
        try await withShop { scene, reprise in
            try await kill(at: "folding", scene, reprise)
            let resumed = try await reprise.run("rebuild shop --resume --ledger ledger.db")
            expect(
                resumed,
                exits: 0,
                saying: [
                    // It says what it does before it records that.
                    "Run 2 ended while it was",
                    "before its generation was complete. The rebuild begins from the beginning.",
                    "shop: folding",
                ]
            )
            #expect(resumed.standardOutput.contains("events      5,000"))
        }
    }
}

/// Runs a real `reprise follow`.
@Suite("Following, as a command")
struct FollowCommandTests {
    @Test("SIGTERM ends it cleanly, status tells the lag, and it goes on where it was")
    func signal() async throws {
        try await withRebuildScene { scene in
            let reprise = RepriseProcess(scene)
            try scene.appendShop(events: 2_000, seed: 1)
            expect(try await reprise.run("rebuild shop --ledger ledger.db"), exits: 0)
            let (_, outcome) = try await reprise.withRunning("follow shop --ledger ledger.db") {
                child in
                try await child.waitForText("Following 'shop', generation 1")
                try scene.appendShop(events: 3_000, seed: 2)
                try await scene.database.waitUntil(
                    "the events are applied",
                    "SELECT FROM reprise.follower WHERE events = 3000 AND lag_events = 0"
                )
                let status = try await reprise.run("status shop")
                #expect(status.standardOutput.contains("3,000 events applied"))
                #expect(status.standardOutput.contains("0 events and 0.0 s behind\n"))
                let json = try await reprise.run("status shop --json")
                #expect(json.standardOutput.contains(#""lagEvents":0"#))
                child.signal(SIGTERM)
            }
            expect(outcome, exits: 0)
            #expect(
                outcome.standardOutput
                    == "shop: stopped. 'reprise follow shop --ledger ledger.db' continues.\n"
            )
            #expect(try await reprise.run("status shop").standardOutput.contains("stopped at"))
            try scene.appendShop(events: 1_000, seed: 3)
            expect(
                try await reprise.run("follow shop --until-caught-up --ledger ledger.db"),
                exits: 0
            )
            let digest = try await scene.shopDigest()
            expect(try await reprise.run("rebuild shop --ledger ledger.db"), exits: 0)
            #expect(try await scene.shopDigest() == digest)
        }
    }

    @Test("It ends with 3 where nothing is live, and with 2 for what it cannot do")
    func refusals() async throws {
        try await withRebuildScene { scene in
            let reprise = RepriseProcess(scene)
            expect(
                try await reprise.run("follow shop --ledger ledger.db"),
                exits: 3,
                saying: ["Nobody knows where the live tables of 'shop' stand"]
            )
            expect(try await reprise.run("follow shop --late-events restart"), exits: 2)
        }
    }
}
