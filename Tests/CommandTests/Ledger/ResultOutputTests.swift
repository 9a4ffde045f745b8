import Foundation
import LedgerKit
import Ledgers
import ProjectionKit
import TestSupport
import Testing

@Suite("Standard output that takes nothing")
struct ResultOutputTests {
    @Test("a result that cannot be written is a failure, and one that nobody wants is none")
    func fullOutput() async throws {
        try await withScratchFolder { folder in
            let path = "\(folder)/ledger.db"
            try EmbeddedLedger.create(path: path, bucketWidth: 10_000)
            let program = try BuiltProgram("reprise").path
            let shell = { (line: String) in
                try await ChildProcess.run(
                    "bash",
                    ["-c", "cd '\(folder)' && '\(program)' \(line)"]
                )
            }
            let append = "ledger append --type T --stream s --data '{}'"
            let changing = [
                append, "ledger create new.db", "ledger generate --events 5 --seed 1",
                "ledger backup copy.db", "ledger export -o all.ndjson",
            ]
            for command in ["ledger info", "ledger verify --json", "--help"] {
                let full = try await shell("\(command) > /dev/full")
                expect(
                    full,
                    exits: 4,
                    saying: ["Standard output cannot be written: No space", "again."]
                )
            }
            for command in changing {
                let full = try await shell("\(command) > /dev/full")
                expect(
                    full,
                    exits: 4,
                    saying: ["cannot be written: No space", "report of it is lost.", "do not run"]
                )
            }
            let ledger = try LedgerAddress(path).open([])
            #expect(try ledger.safePosition()?.words.0 == 6)
            // The reader has ended before the command begins.
            let script = """
                import os, subprocess, sys
                taken, given = os.pipe()
                os.close(taken)
                print(subprocess.run(sys.argv[1:], stdout=given, timeout=60).returncode)
                """
            for command in ["info", "verify", "append --type T --stream s --data {}"] {
                let words = command.split(separator: " ").map { String($0) }
                let status = try await Oracle.run(
                    script,
                    [program, "ledger"] + words + ["--ledger", path]
                )
                #expect(status == "0\n", "\(command)")
            }
            #expect(try ledger.safePosition()?.words.0 == 7)
        }
    }

    @Test("messages that nobody reads any more stop nothing (C1)")
    func messagesWithoutReader() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 200, seed: 6)
            // The reader of standard error has ended before the command begins.
            let script = """
                import os, subprocess, sys
                taken, given = os.pipe()
                os.close(taken)
                print(subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=given,
                                     timeout=120).returncode)
                """
            let program = try BuiltProgram("reprise").path
            for command in ["rebuild shop", "follow shop --until-caught-up", "rollback shop"] {
                let words = command.split(separator: " ").map(String.init)
                let places = ["--ledger", scene.ledgerPath, "--database", scene.database.url]
                let status = try await Oracle.run(script, [program] + words + places)
                #expect(status == (command == "rollback shop" ? "3\n" : "0\n"), "\(command)")
            }
            #expect(try await scene.isRight())
        }
    }

    @Test("a closed standard stream is none that the runtime opened: the command ends")
    func closedStreams() async throws {
        try await withScratchFolder { folder in
            let path = "\(folder)/ledger.db"
            try EmbeddedLedger.create(path: path, bucketWidth: 10_000)
            let program = try BuiltProgram("reprise").path
            // The status tells a command that had to be killed, 137, from one that ended.
            for (closing, status) in [(">&-", 4), ("2>&-", 0), ("<&-", 0), ("<&- >&- 2>&-", 4)] {
                let line = "timeout -s KILL 60 '\(program)' ledger info --ledger '\(path)'"
                let ended = try await ChildProcess.run("bash", ["-c", "\(line) \(closing)"])
                #expect(ended.status == status, "\(closing): \(ended.standardError)")
            }
        }
    }
}
