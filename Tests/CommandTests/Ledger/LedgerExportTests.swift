import Foundation
import Ledgers
import ProjectionKit
import TestSupport
import Testing

@Suite("Ledger export")
struct LedgerExportTests {
    private static let seed: UInt64 = .random(in: 0...999_999)

    private func withOddLedger(
        _ body: (RepriseProcess, _ folder: String) async throws -> Void
    ) async throws {
        print("seed \(Self.seed)")
        try await withScratchFolder { folder in
            try OddLedger.write(to: "\(folder)/ledger.db", seed: Self.seed)
            try await body(RepriseProcess(in: folder), folder)
        }
    }

    @Test("each line says what the file's row holds, to the byte")
    func lines() async throws {
        try await withOddLedger { reprise, folder in
            let exported = try await reprise.run("ledger export --output all.ndjson")
            expect(exported, exits: 0)
            #expect(exported.standardOutput.hasPrefix("Exported 400 events to 'all.ndjson': "))
            let count = try await Oracle.run(
                Oracle.lines,
                ["\(folder)/ledger.db", "\(folder)/all.ndjson"]
            )
            #expect(count == "400\n")
            let piped = try await reprise.run("ledger export")
            #expect(
                piped.standardOutput
                    == (try String(contentsOfFile: "\(folder)/all.ndjson", encoding: .utf8))
            )
            #expect(piped.standardError.contains("Exported 400 events.\n"))
        }
    }

    @Test("compressed exports are the same bytes", arguments: [("gzip", "gzip"), ("zstd", "zstd")])
    func compressed(method: String, program: String) async throws {
        try await withOddLedger { reprise, folder in
            expect(try await reprise.run("ledger export -o plain"), exits: 0)
            expect(try await reprise.run("ledger export -o packed --compress \(method)"), exits: 0)
            let check = try await ChildProcess.run(
                "sh",
                ["-c", "\(program) -dc < '\(folder)/packed' | cmp - '\(folder)/plain'"]
            )
            #expect(check.status == 0, "\(check.standardError)\(check.standardOutput)")
            let sizes = try ["plain", "packed"].map {
                try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\($0)")).count
            }
            #expect(sizes[1] < sizes[0] / 4)
        }
    }

    @Test("a file that is there is only replaced by force, and never one that is no file")
    func existing() async throws {
        try await withOddLedger { reprise, folder in
            let path = "\(folder)/out"
            try "kept".write(toFile: path, atomically: true, encoding: .utf8)
            let refused = try await reprise.run("ledger export --output out")
            expect(
                refused,
                exits: 4,
                saying: ["There is something at 'out' already.", "nothing was written"]
            )
            #expect(try String(contentsOfFile: path, encoding: .utf8) == "kept")
            expect(try await reprise.run("ledger export --output out --force"), exits: 0)
            let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions]
            #expect(mode as? Int == 0o600)
            try FileManager.default.createSymbolicLink(
                atPath: "\(folder)/link",
                withDestinationPath: path
            )
            let link = try await reprise.run("ledger export --output link --force")
            expect(link, exits: 4, saying: ["'link' is no regular file"])
            let missing = try await reprise.run("ledger export --output nowhere/out")
            expect(missing, exits: 4, saying: ["'nowhere/out' cannot be written: No such file"])
            let names = try FileManager.default.contentsOfDirectory(atPath: folder)
            #expect(names.filter { $0.hasPrefix(".") } == [])
        }
    }

    @Test("a range has the events that are filed in it, behind a number those behind it")
    func ranges() async throws {
        try await withOddLedger { reprise, folder in
            let file = "\(folder)/part"
            for (arguments, first, last) in [
                ("--after 0", 0, 400), ("--after 123", 123, 400), ("--after 400", 400, 400),
            ] {
                expect(
                    try await reprise.run("ledger export --force -o part \(arguments)"),
                    exits: 0
                )
                let count = try await Oracle.run(
                    Oracle.lines,
                    ["\(folder)/ledger.db", file, "\(first)", "\(last)"]
                )
                #expect(count == "\(last - first)\n")
            }
            let both = try await reprise.run("ledger export --from 2026-01-01T00:00:00Z --after 3")
            expect(both, exits: 2, saying: ["give one of them"])
            let odd = try await reprise.run("ledger export --after soon")
            expect(
                odd,
                exits: 2,
                saying: ["--after must be an event's number or its position; it is 'soon'"]
            )
            let other = try await reprise.run("ledger export --after \(Position(3, 1))")
            expect(other, exits: 2, saying: ["--after names no event of 'ledger.db': the position"])
        }
    }

    @Test(
        "a reader that ends first is a good end",
        arguments: ["ledger export", "replay", "ledger show --limit 100000"]
    )
    func closedPipe(command: String) async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            expect(try await reprise.run("ledger create ledger.db"), exits: 0)
            expect(try await reprise.run("ledger generate --events 20000 --seed 1"), exits: 0)
            let program = try BuiltProgram("reprise").path
            let outcome = try await ChildProcess.run(
                "bash",
                [
                    "-c",
                    "cd '\(folder)' && '\(program)' \(command) | head -n 1; echo \"${PIPESTATUS[0]}\"",
                ]
            )
            let lines = outcome.standardOutput.split(separator: "\n")
            #expect(lines.count == 2)
            #expect(lines.last == "0", "\(outcome.standardError)")
            #expect(!outcome.standardError.contains("Error"))
        }
    }

    @Test("an interruption while the reader stands still ends at once, with 130")
    func interrupted() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            expect(try await reprise.run("ledger create ledger.db"), exits: 0)
            expect(try await reprise.run("ledger generate --events 20000 --seed 1"), exits: 0)
            let program = try BuiltProgram("reprise").path
            // The reader takes one line, then nothing until the writer has ended.
            let script = """
                import os, signal, subprocess, sys
                p = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                p.stdout.readline()
                p.send_signal(signal.SIGINT)
                p.wait(30)
                print(p.returncode, p.stderr.read().decode())
                """
            for command in [["ledger", "export"], ["replay"]] {
                let said = try await Oracle.run(
                    script,
                    [program] + command + ["--ledger", "\(folder)/ledger.db"]
                )
                #expect(said.hasPrefix("130 "), "\(said)")
                #expect(said.contains("Interrupted by SIGINT."))
            }
        }
    }

    @Test(
        "a full disk is said, and nothing is left",
        arguments: ["ledger export", "replay", "ledger show"]
    )
    func fullDisk(command: String) async throws {
        try await withOddLedger { _, folder in
            let program = try BuiltProgram("reprise").path
            let outcome = try await ChildProcess.run(
                "bash",
                ["-c", "cd '\(folder)' && '\(program)' \(command) > /dev/full"]
            )
            expect(
                outcome,
                exits: 4,
                saying: ["Standard output cannot be written: No space left on device."]
            )
        }
    }

    @Test("a ledger and what lies beside one are never replaced", arguments: [true, false])
    func overLedger(force: Bool) async throws {
        try await withOddLedger { reprise, folder in
            let flag = force ? ["--force"] : []
            let files = FileManager.default
            try files.copyItem(atPath: "\(folder)/ledger.db", toPath: "\(folder)/other.db")
            try files.createSymbolicLink(
                atPath: "\(folder)/link.db",
                withDestinationPath: "ledger.db"
            )
            try files.createSymbolicLink(atPath: "\(folder)/here", withDestinationPath: ".")
            let before = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/ledger.db"))
            for name in ["ledger.db", "other.db", "here/ledger.db", "link.db"] {
                let outcome = try await reprise.run(["ledger", "export", "-o", name] + flag)
                expect(
                    outcome,
                    exits: 4,
                    saying: ["'\(name)'", "It was left", "Give another name"]
                )
            }
            for suffix in ["-wal", "-shm", "-journal", "-turn"] {
                for name in ["ledger.db\(suffix)", "other.db\(suffix)", "here/link.db\(suffix)"] {
                    let outcome = try await reprise.run(["ledger", "export", "-o", name] + flag)
                    expect(
                        outcome,
                        exits: 4,
                        saying: ["belongs to the ledger", "Give another name."]
                    )
                    // Readers make an empty log and its index.
                    let bytes = files.contents(atPath: "\(folder)/\(name)") ?? Data()
                    #expect(!bytes.starts(with: Data("{".utf8)))
                }
            }
            for name in ["ledger.db", "other.db"] {
                #expect(try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(name)")) == before)
            }
            // Any other file may have such a name, and be replaced.
            try Data("x".utf8).write(to: URL(fileURLWithPath: "\(folder)/notes-wal"))
            expect(
                try await reprise.run("ledger export -o notes-wal --force"),
                exits: 0
            )
        }
    }

    @Test("a mistake in --after is told without the usage of another command")
    func mistakenAfter() async throws {
        try await withOddLedger { reprise, _ in
            for after in ["soon", "401", "99999999999999999999", "0000000000000001-0-0"] {
                let outcome = try await reprise.run("ledger export --after \(after)")
                expect(
                    outcome,
                    exits: 2,
                    saying: ["Error: --after", "\nThe live tables are unchanged.\n"]
                )
                #expect(!outcome.standardError.contains("Usage:"))
                #expect(outcome.standardError.split(separator: "\n").count == 3)
            }
        }
    }
}
