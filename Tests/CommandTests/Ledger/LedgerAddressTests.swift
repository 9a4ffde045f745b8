import Foundation
import Ledgers
import Postgres
import TestSupport
import Testing

/// What `--ledger`, `REPRISE_LEDGER`, `ledger` and `projections.NAME.ledger` name.
@Suite("Which ledger a command uses")
struct LedgerAddressTests {
    private func write(_ settings: String, in folder: String) throws {
        try settings.write(toFile: "\(folder)/reprise.yaml", atomically: true, encoding: .utf8)
    }

    /// Makes ledgers of some events each.
    private func makeLedgers(
        _ sizes: [String: Int],
        in reprise: RepriseProcess
    ) async throws {
        for (name, events) in sizes {
            expect(try await reprise.run(["ledger", "create", name]), exits: 0)
            expect(
                try await reprise.run(
                    [
                        "ledger", "generate", "--events", "\(events)", "--seed", "1", "--ledger",
                        name,
                    ]
                ),
                exits: 0
            )
        }
    }

    private func events(_ outcome: ChildProcess.Outcome) throws -> Int? {
        expect(outcome, exits: 0)
        return try object(outcome)["events"] as? Int
    }

    @Test(
        "a flag goes before the environment, that before the settings file, that before ledger.db"
    )
    func precedence() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            try await makeLedgers(
                ["ledger.db": 1, "file.db": 2, "environment.db": 3, "flag.db": 4],
                in: reprise
            )
            let environment = ["REPRISE_LEDGER": "environment.db"]
            #expect(try events(try await reprise.run("ledger info --json")) == 1)
            try write("ledger: file.db\n", in: folder)
            #expect(try events(try await reprise.run("ledger info --json")) == 2)
            let third = try await reprise.run("ledger info --json", environment: environment)
            #expect(try events(third) == 3)
            let fourth = try await reprise.run(
                "ledger info --json --ledger flag.db",
                environment: environment
            )
            #expect(try events(fourth) == 4)
            // An empty variable counts as none.
            let empty = try await reprise.run(
                "ledger info --json",
                environment: ["REPRISE_LEDGER": ""]
            )
            #expect(try events(empty) == 2)
        }
    }

    @Test("a projection's own ledger goes before the one for all, and behind flag and environment")
    func ownLedger() async throws {
        try await withRebuildScene { scene in
            let reprise = RepriseProcess(scene)
            try await makeLedgers(["shop.db": 400, "all.db": 90], in: reprise)
            try write(
                "ledger: all.db\nprojections: {shop: {ledger: shop.db}}\n",
                in: reprise.folder
            )
            func planned(
                _ line: String,
                environment: [String: String] = [:]
            ) async throws -> Int? {
                let outcome = try await reprise.run(line, environment: environment)
                expect(outcome, exits: 0)
                return try object(outcome)["events"] as? Int
            }
            #expect(try await planned("plan shop --json") == 400)
            #expect(try await planned("plan shop --json --ledger all.db") == 90)
            #expect(
                try await planned("plan shop --json", environment: ["REPRISE_LEDGER": "all.db"])
                    == 90
            )
        }
    }

    @Test("C10: two projections are rebuilt from two ledgers in one run")
    func twoLedgers() async throws {
        try await withRebuildScene { scene in
            let reprise = RepriseProcess(scene)
            try await makeLedgers(["shop.db": 800, "all.db": 500, "copy.db": 500], in: reprise)
            try write(
                "ledger: all.db\nprojections: {shop: {ledger: 'sqlite:shop.db'}}\n",
                in: reprise.folder
            )
            let outcome = try await reprise.run("rebuild --all --json")
            expect(outcome, exits: 0)
            var events: [String: Int] = [:]
            for report in try array(outcome) {
                events[try #require(report["projection"] as? String)] = report["events"] as? Int
            }
            #expect(events == ["shop": 800, "loans": 500, "fulfilment": 500])
            let orders = try await scene.database.count("public.order_summary")
            // Alone from the same ledger it has the same rows.
            expect(
                try await reprise.run("rebuild shop --ledger shop.db --check-determinism"),
                exits: 0
            )
            #expect(try await scene.database.count("public.order_summary") == orders)
            #expect(orders > 0)
        }
    }

    @Test("a ledger of a projection that there is not is an unknown setting")
    func unknownProjection() async throws {
        try await withScratchFolder { folder in
            try write("projections: {shpo: {ledger: a.db}}\n", in: folder)
            expect(
                try await RepriseProcess(in: folder).run("status"),
                exits: 2,
                saying: [
                    "unknown setting 'projections.shpo.ledger'",
                    "did you mean 'projections.shop.ledger'?",
                ]
            )
            try write("projections: {shop: {ledger: [a.db]}}\n", in: folder)
            expect(
                try await RepriseProcess(in: folder).run("plan shop"),
                exits: 2,
                saying: ["'projections.shop.ledger' in 'reprise.yaml' is not a text", unchanged]
            )
        }
    }

    @Test("URLs of a file name it, with what they escape")
    func fileURLs() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            try await makeLedgers(["a.db": 3, "with space.db": 4], in: reprise)
            let addresses = [
                ("a.db", 3), ("./a.db", 3), ("sqlite:a.db", 3), ("SQLite:a.db", 3),
                ("file:a.db", 3),
                ("file://\(folder)/a.db", 3), ("sqlite://\(folder)/a.db", 3),
                ("file://localhost\(folder)/a.db", 3), ("with space.db", 4),
                ("sqlite:with%20space.db", 4), ("file://\(folder)/with%20space.db", 4),
            ]
            for (address, expected) in addresses {
                let info = try await reprise.run(["ledger", "info", "--json", "--ledger", address])
                #expect(try events(info) == expected, "\(address)")
            }
            // A command that writes takes the same.
            let appended = try await reprise.run(
                [
                    "ledger", "append", "--type", "A", "--stream", "s", "--data", "{}", "--ledger",
                    "sqlite:a.db",
                ]
            )
            expect(appended, exits: 0)
            #expect(try events(try await reprise.run("ledger info --json --ledger a.db")) == 4)
            #expect(!FileManager.default.fileExists(atPath: "\(folder)/sqlite:a.db"))
        }
    }

    @Test("a kind of ledger that the program does not know is status 2, and what it knows is named")
    func unknownKind() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            for line in ["ledger info", "rebuild shop", "plan shop", "follow shop"] {
                expect(
                    try await reprise.run("\(line) --ledger kurrent://host:2113/secret-store"),
                    exits: 2,
                    saying: [
                        "This program knows no ledgers of the kind 'kurrent'.\n",
                        "Nothing that readers see has changed.\n",
                        "Give a path, or an address that begins with 'sqlite:'.",
                    ]
                )
            }
        }
    }

    @Test("a command that writes is refused with the address of another kind, and makes no file")
    func writing() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            let lines = [
                "ledger append --type A --stream s --data {}", "ledger import -",
                "ledger generate --events 1 --seed 1", "ledger verify",
            ]
            for line in lines {
                expect(
                    try await reprise.run("\(line) --ledger kurrent://host/store"),
                    exits: 2,
                    saying: [
                        "A ledger of the kind 'kurrent' is only read; this command needs an embedded one.\n",
                        "Nothing that readers see has changed.\n",
                        "Give the path of an embedded ledger (--ledger FILE).",
                    ]
                )
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == [])
        }
    }
}
