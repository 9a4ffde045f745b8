import Foundation
import Ledgers
import Postgres
import TestSupport
import Testing

@Suite("What is advised when something was left behind")
struct ContinuedAdviceTests {
    private func withShop(
        _ body: @Sendable (RepriseProcess, RebuildScene) async throws -> Void
    ) async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 300, seed: 41)
            let reprise = RepriseProcess(scene)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            try await body(reprise, scene)
        }
    }

    private func setHook(_ hook: String, _ reprise: RepriseProcess) throws {
        try Data("hooks: {\(hook)}\n".utf8)
            .write(to: URL(fileURLWithPath: "\(reprise.folder)/reprise.yaml"))
    }

    /// Kills a rebuild in a hook.
    private func kill(in moment: String, _ reprise: RepriseProcess) async throws {
        try setHook("\(moment): 'echo ready; sleep 600'", reprise)
        _ = try await reprise.withRunning("rebuild shop") { child in
            try await child.waitForText("ready\n")
            child.signal(SIGKILL)
        }
        try setHook("", reprise)
    }

    @Test("C1: what a killed rebuild left can be put live by the command that status shows")
    func killedBeforeSwap() async throws {
        try await withShop { reprise, scene in
            try await kill(in: "before_swap", reprise)
            let status = try await reprise.run("status shop")
            #expect(status.standardOutput.contains("'reprise swap shop' can put live"))
            expect(try await reprise.run("swap shop"), exits: 0)
            #expect(try await scene.liveGeneration() == 2)
        }
    }

    @Test("C5: hooks that a killed rebuild did not run are named, and the next command runs them")
    func killedAfterSwap() async throws {
        try await withShop { reprise, scene in
            try setHook("before_swap: 'exit 3'", reprise)
            expect(try await reprise.run("rebuild shop"), exits: 1)
            try await kill(in: "after_swap", reprise)
            let status = try await reprise.run("status shop")
            let said = status.standardOutput
            #expect(
                said.contains("live, whole, and hooks that did not run to their end"),
                "\(said)"
            )
            #expect(
                said.hasSuffix("Next, which runs the hooks after the swap: reprise rebuild shop\n"),
                "\(said)"
            )
            try setHook("after_swap: 'touch ran'", reprise)
            expect(
                try await reprise.run("rebuild shop"),
                exits: 0,
                saying: ["hooks after the swap did not run to their end"]
            )
            #expect(FileManager.default.fileExists(atPath: "\(reprise.folder)/ran"))
        }
    }

    @Test("C1: a prune by number that a reader holds up is advised with the number")
    func prune() async throws {
        try await withShop { reprise, scene in
            expect(try await reprise.run("rebuild shop"), exits: 0)
            let alarm = try await scene.database.withConnection { reader in
                try await reader.execute("BEGIN; SELECT count(*) FROM shop__g1.order_line")
                return try await reprise.run("prune shop --generation 1")
            }
            #expect(alarm.standardOutput.contains("could not obtain lock"))
            var night = Operator(of: reprise, wokenBy: alarm, of: nil)
            let ending = try await night.typeNext()
            #expect(ending.standardOutput.contains("dropped generation 1"))
            #expect(night.typed == ["reprise prune shop --generation 1"])
        }
    }

    @Test("C1: after a rollback on a restored ledger the way back works as it is printed")
    func restored() async throws {
        try await withShop { reprise, scene in
            expect(try await reprise.run("ledger backup older.db"), exits: 0)
            try scene.appendShop(events: 200, seed: 42)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            let alarm = try await reprise.run("rollback shop --ledger older.db")
            expect(alarm, exits: 0)
            var night = Operator(of: reprise, wokenBy: alarm, of: nil)
            expect(try await night.typeNext(), exits: 0)
            #expect(try await scene.liveGeneration() == 2)
            #expect(
                night.typed == [
                    "reprise swap shop --allow-older --without-ledger --ledger older.db"
                ]
            )
            // A rebuild from there leaves a generation that stands behind the ledger's end.
            expect(
                try await reprise.run("rebuild shop --allow-older --ledger older.db"),
                exits: 0
            )
            let status = try await reprise.run("status shop --ledger older.db")
            var morning = Operator(of: reprise, wokenBy: status, of: nil)
            expect(try await morning.typeNext(), exits: 0)
            #expect(try await scene.liveGeneration() == 2)
        }
    }

    @Test("C5: status in another schema says where the live tables are")
    func otherSchema() async throws {
        try await withShop { reprise, scene in
            try await scene.database.execute("CREATE SCHEMA other")
            let alarm = try await reprise.run("status shop --schema other")
            #expect(alarm.standardOutput.contains("is live in the schema 'public', not in 'other'"))
            var night = Operator(of: reprise, wokenBy: alarm, of: nil)
            let status = try await night.typeNext()
            #expect(!status.standardOutput.contains("warning"))
            #expect(night.typed == ["reprise status shop --schema public"])
        }
    }

    @Test("O9: a follower that an event stops has the lag of that moment in status")
    func poison() async throws {
        try await withShop { reprise, scene in
            expect(try await reprise.run("follow shop --until-caught-up"), exits: 0)
            try scene.append([NewEvent(stream: "order-x", type: "OrderPaid", data: "{}")])
            try scene.appendShop(events: 200, seed: 43)
            expect(try await reprise.run("follow shop"), exits: 6)
            let status = try await reprise.run("status shop")
            #expect(
                status.standardOutput.contains(/\b20[01] events and [0-9.]+ s behind then/),
                "\(status.standardOutput)"
            )
        }
    }

    @Test("O9: a follower that waits for its row shows the lag that grows, and not the last one's")
    func waits() async throws {
        try await withShop { reprise, scene in
            expect(try await reprise.run("follow shop --until-caught-up"), exits: 0)
            try scene.appendShop(events: 200, seed: 43)
            try await scene.database.withConnection { holder in
                try await holder.execute("BEGIN; SELECT FROM reprise.checkpoint FOR UPDATE")
                _ = try await reprise.withRunning("follow shop --until-caught-up") { child in
                    try await child.waitForText("waits for a lock of pid")
                    let status = try await reprise.run("status shop")
                    #expect(
                        status.standardOutput.contains("200 events and"),
                        "\(status.standardOutput)"
                    )
                    try await holder.execute("COMMIT")
                }
            }
        }
    }

    @Test("C1: what no signal ends is not to be ended by one")
    func preparedTransaction() async throws {
        try await withShop { reprise, scene in
            // The name is the server's: other tests have their own.
            let name = "p \(scene.database.name)"
            try await scene.database.execute(
                "BEGIN; SELECT count(*) FROM public.order_line; PREPARE TRANSACTION '\(name)'"
            )
            let blocked = try await reprise.run("rebuild shop --deadline 1")
            try await scene.database.execute("ROLLBACK PREPARED '\(name)'")
            expect(blocked, exits: 75, saying: ["the prepared transaction", "is out of the way"])
            #expect(!blocked.standardError.contains("--blockers"))
            expect(try await reprise.run("rebuild shop --resume"), exits: 0)
        }
    }

    @Test(
        "C1: a session that is lost in the cut-over leaves a generation that the message continues"
    )
    func lost() async throws {
        try await withShop { reprise, scene in
            let alarm = try await scene.database.withConnection { keeper in
                try await keeper.query(
                    "SELECT pg_advisory_lock(hashtextextended('reprise stop prepared', 0))"
                )
                return try await reprise.withRunning(
                    "rebuild shop",
                    environment: ["REPRISE_STOP_AT": "prepared"]
                ) { _ in
                    try await scene.database.waitUntil(
                        "the cut-over waits for the test's lock",
                        "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                    )
                    try await keeper.execute(
                        """
                        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                        WHERE application_name = 'reprise swap' AND datname = current_database()
                        """
                    )
                }.outcome
            }
            expect(alarm, exits: 75, saying: [unchanged, "The new generation is built"])
            var night = Operator(of: reprise, wokenBy: alarm, of: "reprise rebuild shop")
            try await night.repair { try await scene.liveGeneration() == 2 }
            #expect(night.typed == ["reprise rebuild shop --resume"])
        }
    }
}
