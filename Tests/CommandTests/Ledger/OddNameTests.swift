import Foundation
import TestSupport
import Testing
import Wording

@testable import Ledgers

@Suite("Odd names and places of a ledger")
struct OddNameTests {
    @Test("a create that is killed leaves nothing in the way of the next one")
    func killedCreate() async throws {
        try await withScratchFolder { folder in
            let program = try BuiltProgram("reprise").path
            // The first byte that is written to a file ends the process (setrlimit(2)).
            let killed = try await ChildProcess.run(
                "bash",
                [
                    "-c",
                    "cd '\(folder)' && ulimit -c 0 -f 0 && exec '\(program)' ledger create k.db",
                ]
            )
            #expect(killed.wasKilled || killed.status != 0)
            #expect(!FileManager.default.fileExists(atPath: "\(folder)/k.db"))
            let reprise = RepriseProcess(in: folder)
            expect(try await reprise.run("ledger create k.db"), exits: 0)
            expect(try await reprise.run("ledger verify --ledger k.db"), exits: 0)
            let left = try FileManager.default.contentsOfDirectory(atPath: folder)
            #expect(left.allSatisfy { !$0.hasPrefix(".") }, "\(left)")
        }
    }

    @Test("names are shown without their control characters, in results and in messages")
    func escaped() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            let odd = "\u{1B}[31mred\nError: no"
            let made = try await reprise.run(["ledger", "create", odd])
            expect(made, exits: 0)
            #expect(made.standardOutput.split(separator: "\n").count == 2)
            let info = try await reprise.run(["ledger", "info", "--ledger", odd])
            let verify = try await reprise.run(["ledger", "verify", "--ledger", odd])
            let export = try await reprise.run(
                ["ledger", "export", "-o", "out\(odd)", "--ledger", odd]
            )
            let again = try await reprise.run(["ledger", "create", odd])
            let missing = try await reprise.run(["ledger", "info", "--ledger", "no\(odd)"])
            for (outcome, status) in [
                (info, 0), (verify, 0), (export, 0), (again, 4), (missing, 4),
            ] {
                expect(outcome, exits: Int32(status))
                let text = outcome.standardOutput + outcome.standardError
                #expect(text.contains(#"\u{1b}[31mred\u{a}Error: no"#))
                #expect(!text.contains("\u{1B}"))
                #expect(!text.contains("\nError: no"))
            }
        }
    }

    @Test(
        "a shell reads an argument as it was",
        arguments: [
            "ledger.db", "a b.db", "it's.db", "$x", "", "-f", "a\nb", "\u{1B}[31m'\\x41",
            "é\u{202E}ü\t",
        ]
    )
    func argument(word: String) async throws {
        let shown = TextForPeople.argument(word)
        #expect(!shown.contains("\n") && !shown.contains("\u{1B}"))
        let outcome = try await ChildProcess.run("bash", ["-c", "printf '%s' \(shown)"])
        #expect(outcome.standardOutput == word)
    }

    @Test("commands in messages quote the ledger's name")
    func quotedCommands() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            let name = "a b.db"
            expect(try await reprise.run(["ledger", "create", name]), exits: 0)
            let unknown = try await reprise.run(["ledger", "show", "--id", "x", "--ledger", name])
            expect(unknown, exits: 1, saying: ["show --ledger 'a b.db' --json"])
            #expect("\(LedgerError.locked(path: name))".contains("'fuser 'a b.db''"))
        }
    }

    @Test("a time out of the years, and a name that is too long, are said to be that")
    func outOfRange() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            expect(try await reprise.run("ledger create ledger.db"), exits: 0)
            let early = try await reprise.run([
                "ledger", "append", "--type", "T", "--stream", "s", "--data", "{}", "--time",
                "0001-01-01T00:00:00+01:00",
            ])
            expect(early, exits: 2, saying: ["of the years 0001 to 9999 in UTC"])
            let name = String(repeating: "n", count: 248)
            let long = try await reprise.run(["ledger", "create", name])
            expect(long, exits: 4, saying: ["its name is too long: it has 248 bytes"])
            let fits = String(name.dropLast())
            expect(try await reprise.run(["ledger", "create", fits]), exits: 0)
            let deep = Array(repeating: String(repeating: "d", count: 100), count: 5)
                .joined(separator: "/")
            try FileManager.default.createDirectory(
                atPath: "\(folder)/\(deep)",
                withIntermediateDirectories: true
            )
            let far = try await reprise.run(["ledger", "create", "\(deep)/l.db"])
            expect(far, exits: 4, saying: ["its path is too long"])
        }
    }
}
