import Foundation
import TestSupport
import Testing

@Suite("What status and JSON say of failures")
struct StatusTests {
    private func withShop(
        _ body: @Sendable (RepriseProcess, RebuildScene) async throws -> Void
    ) async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 500, seed: 5)
            let reprise = RepriseProcess(scene)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            try await body(reprise, scene)
        }
    }

    @Test("C5: the last run is shown with how it ended")
    func lastRun() async throws {
        try await withShop { reprise, scene in
            #expect(
                try await reprise.run("status shop").standardOutput.contains("1, rebuild, done at ")
            )
            let hook = "hooks: {before_swap: 'exit 3'}"
            try Data(hook.utf8).write(to: URL(fileURLWithPath: "\(reprise.folder)/reprise.yaml"))
            expect(try await reprise.run("rebuild shop"), exits: 1)
            let text = try await reprise.run("status shop").standardOutput
            #expect(text.contains("2, rebuild, failed at "))
            #expect(text.contains("The hook before_swap of 'shop' ended with status 3."))
            let json = try object(try await reprise.run("status shop --json"))
            let last = try #require(json["lastRun"] as? [String: Any])
            #expect(last["run"] as? Int == 2)
            #expect((last["error"] as? String)?.contains("ended with status 3") == true)
        }
    }

    @Test("C5: an interruption is reported as one")
    func interrupted() async throws {
        try await withShop { reprise, scene in
            let hook = "hooks: {before_swap: 'echo ready; sleep 600'}"
            try Data(hook.utf8).write(to: URL(fileURLWithPath: "\(reprise.folder)/reprise.yaml"))
            let (_, outcome) = try await reprise.withRunning("rebuild shop --json") { child in
                try await child.waitForText("ready\n")
                child.signal(SIGTERM)
            }
            expect(outcome, exits: 143)
            let failure = try object(outcome)
            #expect(failure["outcome"] as? String == "failed")
            #expect((failure["error"] as? String)?.hasPrefix("Interrupted by SIGTERM.") == true)
            #expect(failure["exitStatus"] as? Int == 143)
            let text = try await reprise.run("status shop").standardOutput
            #expect(text.contains("It was interrupted."))
            #expect(!text.contains("CancellationError"))
        }
    }

    @Test("C5: a live table that was truncated or dropped by hand is named")
    func byHand() async throws {
        try await withShop { reprise, scene in
            let sound = try await reprise.run("status shop")
            #expect(!sound.standardOutput.contains("warning"))
            try await scene.database.execute("TRUNCATE public.order_line")
            let truncated = try await reprise.run("status shop")
            #expect(truncated.standardOutput.contains("The live table 'order_line' was truncated"))
            #expect(truncated.standardOutput.hasSuffix("Next: reprise rebuild shop\n"))
            expect(try await reprise.run("rebuild shop --allow-empty"), exits: 0)
            #expect(!(try await reprise.run("status shop")).standardOutput.contains("warning"))
            try await scene.database.execute("DROP TABLE public.order_line CASCADE")
            let dropped = try object(try await reprise.run("status shop --json"))
            let doubts = try #require(dropped["doubts"] as? [String])
            #expect(doubts.count == 1)
            #expect(doubts.first?.hasPrefix("The live table 'order_line' was dropped") == true)
        }
    }

    @Test("C5: a kept generation whose tables were dropped by hand is named, and not advised")
    func droppedHome() async throws {
        try await withShop { reprise, scene in
            expect(try await reprise.run("rebuild shop"), exits: 0)
            let kept = try await reprise.run("status shop")
            #expect(kept.standardOutput.hasSuffix("reprise rollback shop\n"))
            try await scene.database.execute("DROP SCHEMA shop__g1 CASCADE")
            let text = try await reprise.run("status shop").standardOutput
            #expect(text.contains("of generation 1 was dropped by hand"), "\(text)")
            #expect(text.hasSuffix("Next: reprise rebuild shop\n"), "\(text)")
            expect(try await reprise.run("prune shop --generation 1"), exits: 0)
            #expect(!(try await reprise.run("status shop")).standardOutput.contains("warning"))
        }
    }

    @Test("C5: a live table that has rows and was never analyzed is not taken for an emptied one")
    func neverAnalyzed() async throws {
        try await withShop { reprise, scene in
            // As a restored dump leaves it.
            try await scene.database.execute(
                """
                UPDATE pg_class SET relpages = 0, reltuples = -1
                WHERE oid = 'public.order_line'::regclass
                """
            )
            #expect(!(try await reprise.run("status shop")).standardOutput.contains("warning"))
            try await scene.database.execute(
                "TRUNCATE public.order_line; ANALYZE public.order_line"
            )
            let truncated = try await reprise.run("status shop")
            #expect(truncated.standardOutput.contains("The live table 'order_line' was truncated:"))
        }
    }

    @Test(
        "C5: with --json every failure is a document",
        arguments: [
            ("rebuild nothing --json", Int32(2)), ("rebuild --json", 2),
            ("plan shop --jsno --json", 2),
            ("rebuild shop --json --ledger none.db", 4), ("swap shop --json --generation 9", 3),
            ("ledger verify --json --ledger none.db", 4),
            ("status --json --database host=/nowhere", 75), ("rollback shop --json", 3),
        ]
    )
    func documents(line: String, status: Int32) async throws {
        try await withShop { reprise, _ in
            let outcome = try await reprise.run(line)
            expect(outcome, exits: status)
            let failure = try object(outcome)
            #expect(failure["exitStatus"] as? Int == Int(status))
            let message = try #require(failure["error"] as? String)
            #expect(outcome.standardError.contains(message))
        }
    }
}
