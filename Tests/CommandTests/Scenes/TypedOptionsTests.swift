import Foundation
import Postgres
import TestSupport
import Testing

@Suite("What is advised to one who typed options")
struct TypedOptionsTests {
    /// A shop that was rebuilt from a ledger which no default finds.
    private func withShop(
        _ body: @Sendable (RepriseProcess, RebuildScene) async throws -> Void
    ) async throws {
        try await withRebuildScene { scene in
            let reprise = RepriseProcess(scene)
            try? FileManager.default.removeItem(atPath: scene.ledgerPath)
            try await make("my.db", events: 400, seed: 97, reprise)
            expect(try await reprise.run("rebuild shop --ledger my.db"), exits: 0)
            try await body(reprise, scene)
        }
    }

    private func make(
        _ ledger: String,
        events: Int,
        seed: Int,
        _ reprise: RepriseProcess
    ) async throws {
        expect(try await reprise.run("ledger create \(ledger)"), exits: 0)
        let generate = "ledger generate --events \(events) --seed \(seed) --ledger \(ledger)"
        expect(try await reprise.run(generate), exits: 0)
    }

    @Test("C1: the command that waits for sessions has the consents of the run, and its ledger")
    func consents() async throws {
        try await withShop { reprise, scene in
            try await scene.database.execute(
                """
                CREATE PUBLICATION p FOR TABLE public.order_line;
                CREATE TABLE public.note (o uuid REFERENCES public.order_summary);
                """
            )
            var hurried = reprise
            hurried.settings = ["REPRISE_DEADLINE_SECONDS": "2"]
            let command =
                "rebuild shop --ledger my.db --republish --incoming-foreign-keys recreate"
            let alarm = try await scene.database.withConnection { idle in
                try await idle.execute("BEGIN; SELECT count(*) FROM public.order_line")
                let alarm = try await hurried.run(command)
                try await idle.execute("COMMIT")
                return alarm
            }
            expect(alarm, exits: 75, saying: [unchanged])
            var night = Operator(of: reprise, wokenBy: alarm, of: nil)
            try await night.repair { try await scene.liveGeneration() == 2 }
            let options = command.split(separator: " ").dropFirst(2).joined(separator: " ")
            #expect(night.typed == ["reprise rebuild shop --resume \(options)"])
        }
    }

    @Test("C1: two consents that a rebuild needs do not send in a circle")
    func circle() async throws {
        try await withShop { reprise, scene in
            try await make("small.db", events: 40, seed: 98, reprise)
            let alarm = try await reprise.run("rebuild shop --ledger small.db")
            expect(alarm, exits: 3, saying: [unchanged])
            var night = Operator(of: reprise, wokenBy: alarm, of: nil)
            try await night.repair { try await scene.liveGeneration() != 1 }
            #expect(
                night.typed == [
                    "reprise rebuild shop --other-ledger --ledger small.db",
                    "reprise rebuild shop --max-shrink 100 --other-ledger --ledger small.db",
                ]
            )
        }
    }

    @Test("C1: the way back, and the follower's next start, have the ledger")
    func ledger() async throws {
        try await withShop { reprise, scene in
            let rebuilt = try await reprise.run("rebuild shop --ledger my.db")
            var night = Operator(of: reprise, wokenBy: rebuilt, of: nil)
            expect(try await night.typeNext(), exits: 0)
            #expect(night.typed == ["reprise rollback shop --ledger my.db"])
            #expect(try await scene.liveGeneration() == 1)
            let (_, stopped) = try await reprise.withRunning("follow shop --ledger my.db") {
                try await $0.waitForText("following generation")
                $0.signal(SIGTERM)
            }
            let next = "'reprise follow shop --ledger my.db'"
            #expect(stopped.standardOutput.contains(next), "\(stopped.standardOutput)")
        }
    }

    @Test("C1: an odd schema is in the next command as a shell reads it")
    func schema() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 200, seed: 99)
            let reprise = RepriseProcess(scene)
            let schema = "App \"1 it's"
            try await scene.database.execute("CREATE SCHEMA \"App \"\"1 it's\"")
            for _ in 1...2 {
                expect(try await reprise.run(["rebuild", "shop", "--schema", schema]), exits: 0)
            }
            // Who forgets the schema reads it in the message, and who types that goes back.
            let forgot = try await reprise.run("rollback shop")
            expect(forgot, exits: 3, saying: [#"with --schema 'App "1 it'\''s'"#])
            let rebuilt = try await reprise.run(["rebuild", "shop", "--schema", schema])
            let line = try #require(
                rebuilt.standardOutput.split(separator: "\n").last { $0.hasPrefix("Next") }
            )
            let typed = try #require(line.split(separator: ": reprise ").last)
            let shell = try await ChildProcess.run("sh", ["-c", "printf '%s\\n' \(typed)"])
            let words = shell.standardOutput.split(separator: "\n").map(String.init)
            #expect(words == ["rollback", "shop", "--schema", schema])
            expect(try await reprise.run(words), exits: 0)
        }
    }

    @Test("C1: what was to be kept is kept, and a closed gate stays closed, by the advised command")
    func keepAndGate() async throws {
        try await withShop { reprise, scene in
            for _ in 2...4 {
                expect(try await reprise.run("rebuild shop --ledger my.db --keep 5"), exits: 0)
            }
            var hurried = reprise
            hurried.settings = ["REPRISE_DEADLINE_SECONDS": "1"]
            let alarm = try await scene.database.withConnection { idle in
                try await idle.execute("BEGIN; SELECT count(*) FROM public.order_line")
                let alarm = try await hurried.run("rebuild shop --ledger my.db --keep 5")
                try await idle.execute("COMMIT")
                return alarm
            }
            var night = Operator(of: reprise, wokenBy: alarm, of: nil)
            try await night.repair { try await scene.liveGeneration() == 5 }
            #expect(night.typed == ["reprise rebuild shop --resume --ledger my.db --keep 5"])
            #expect(
                try await scene.database.query(
                    "SELECT FROM reprise.generation WHERE state = 'retired'"
                ).rows.count == 4
            )
            let gated = try await reprise.run(
                "rebuild shop --ledger my.db --keep 5 --postpone-file gate --no-swap"
            )
            var morning = Operator(of: reprise, wokenBy: gated, of: nil)
            try await morning.typeNext()
            #expect(morning.typed == ["reprise swap shop --ledger my.db --postpone-file gate"])
        }
    }

    @Test("C1: the way back after --allow-older does not look for a ledger")
    func wayBack() async throws {
        try await withShop { reprise, scene in
            let rebuilt = try await reprise.run("rebuild shop --ledger my.db --allow-older")
            var night = Operator(of: reprise, wokenBy: rebuilt, of: nil)
            expect(try await night.typeNext(), exits: 0)
            #expect(night.typed == ["reprise rollback shop --without-ledger"])
            #expect(try await scene.liveGeneration() == 1)
        }
    }

    @Test("no message shows the password of an address that was typed in a wrong place")
    func addresses() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            let address = "postgresql://u:hush-hush@127.0.0.1:1/d"
            for line in [
                "ledger upgrade \(address) y.db", "ledger create \(address)", "status \(address)",
                "rebuild shop \(address)", "remove \(address)", "rebuild shop --jobs \(address)",
                "rebuild shop --blockers \(address)", "rebuild shop --config \(address)",
                "rebuild shop --ledger file:/x?password=hush-hush", "plan shop --ledger \(address)",
                "status --json \(address)", "ledger backup y.db --ledger \(address)",
                "\(address) x", "ledger import \(address)", "rebuild shop --json --jobs \(address)",
                "rebuild shop --json --ledger nowhere.db --config \(address)",
            ] {
                let outcome = try await reprise.run(
                    line,
                    environment: ["DATABASE_URL": "host=/nowhere/at/all dbname=shop"]
                )
                #expect(outcome.status != 0)
                let all = outcome.standardOutput + outcome.standardError
                #expect(!all.contains("hush-hush"), "\(line): \(all)")
            }
        }
    }
}
