import Foundation
import Synchronization
import TestSupport
import Testing

@Suite("The command ledger import")
struct ImportCommandTests {
    private static func line(_ number: Int, id: String = "") -> String {
        "{\(id)\"time\":\"2026-01-05T08:00:00Z\",\"stream\":\"s\",\"type\":\"A\",\"data\":{\"n\":\(number)}}\n"
    }

    private func withLedger(_ body: (RepriseProcess, _ folder: String) async throws -> Void)
        async throws
    {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            expect(try await reprise.run("ledger create ledger.db"), exits: 0)
            try await body(reprise, folder)
        }
    }

    private func write(_ text: String, to path: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    }

    @Test(
        "the command that is advised for another format imports with the same options, typed as it is"
    )
    func advisedCommand() async throws {
        try await withScratchFolder { folder in
            let program = try BuiltProgram("reprise").path
            let reprise = RepriseProcess(in: folder)
            let (file, ledger) = ("an IMPORT, Müller's FILE.json", "a led'ger.db")
            expect(try await reprise.run(["ledger", "create", ledger]), exits: 0)
            let line = "{\"at\":\"2026-01-05T08:00:00Z\",\"who\":\"s\",\"d\":{\"n\":1}}\n"
            let wide = try #require(line.data(using: .utf16))
            try wide.write(to: URL(fileURLWithPath: "\(folder)/\(file)"))
            let refused = try await reprise.run([
                "ledger", "import", file, "--ledger", ledger, "--field", "time=/at", "--field",
                "stream=/who", "--field", "data=/d", "--field", "type==it's FILE",
                "--stream-prefix=-x ",
            ])
            expect(refused, exits: 6, saying: ["it is UTF-16 text", "Write it as UTF-8: iconv -f"])
            let said = try #require(refused.standardError.split(separator: "\n").last)
            let command = try #require(said.split(separator: "UTF-8: ").last)
            let bin = URL(fileURLWithPath: program).deletingLastPathComponent().path
            let typed = try await ChildProcess.run(
                "bash",
                ["-c", "cd '\(folder)' && PATH='\(bin)':$PATH && \(command)"]
            )
            #expect(typed.status == 0, "\(typed.standardError)")
            let shown = try await reprise.run(["ledger", "export", "--ledger", ledger])
            #expect(shown.standardOutput.contains("\"stream\":\"-x s\",\"type\":\"it's FILE\""))
        }
    }

    @Test(
        "C7: one signal ends an import from a pipe that delivers nothing, or nothing more",
        arguments: [false, true]
    )
    func silentPipe(hasBegun: Bool) async throws {
        try await withLedger { reprise, folder in
            var reprise = reprise
            #expect(mkfifo("\(folder)/pipe", 0o600) == 0)
            let pipe = hasBegun ? open("\(folder)/pipe", O_RDWR | O_CLOEXEC) : -1
            defer { if pipe >= 0 { close(pipe) } }
            let line = Self.line(1)
            if hasBegun { try FileHandle(fileDescriptor: pipe).write(contentsOf: Data(line.utf8)) }
            // timeout(1) passes the signal on, and kills what has not ended by then.
            reprise.launcher = ["timeout", "-k", "1", "120"]
            let (_, outcome) = try await reprise.withRunning(
                "ledger import pipe --ledger ledger.db"
            ) {
                try await $0.waitForText("importing")
                $0.signal(SIGTERM)
            }
            expect(outcome, exits: 143, saying: ["Interrupted by SIGTERM."])
        }
    }

    @Test("C7: an append that waits for another writer stores nothing behind a signal")
    func waitingAppend() async throws {
        try await withLedger { reprise, folder in
            let holder = """
                import signal, sqlite3, sys
                ledger = sqlite3.connect(sys.argv[1], isolation_level=None)
                ledger.execute("BEGIN IMMEDIATE")
                print("locked", flush=True)
                signal.pause()
                """
            _ = try await ChildProcess.withRunning(
                "python3",
                ["-c", holder, "\(folder)/ledger.db"]
            ) {
                holder in
                try await holder.waitForText("locked", on: .output)
                let (_, outcome) = try await reprise.withRunning(
                    "ledger append --ledger ledger.db --type A --stream s --data {}"
                ) { child in
                    // Writers make it before they wait.
                    while !FileManager.default.fileExists(atPath: "\(folder)/ledger.db-turn") {
                        await Task.yield()
                    }
                    child.signal(SIGTERM)
                }
                expect(outcome, exits: 143, saying: ["Interrupted by", "The event is not stored"])
                holder.signal(SIGTERM)
            }
            let info = try object(try await reprise.run("ledger info --ledger ledger.db --json"))
            #expect(info["events"] as? Int == 0)
        }
    }

    @Test(
        "a CSV file whose bad rows would follow those of another header is refused before it begins"
    )
    func otherHeader() async throws {
        try await withLedger { reprise, folder in
            let rows = "2026-01-05T08:00:00Z,s,A,1\nnever,s,A,2\n"
            let first = "time,stream,type,n\n" + rows
            expect(try await reprise.run("ledger import - --skip-bad 5", input: first), exits: 0)
            let second = "time,stream,type,other\n" + rows
            let refused = try await reprise.run("ledger import - --skip-bad 5", input: second)
            expect(
                refused,
                exits: 6,
                saying: ["'ledger.db.bad.csv', which has another header", "nothing was stored"]
            )
            let said = try #require(refused.standardError.split(separator: "\n").last)
            let command = try #require(said.split(separator: "again: ").last)
            let moved = try await ChildProcess.run("bash", ["-c", "cd '\(folder)' && \(command)"])
            #expect(moved.status == 0, "\(moved.standardError)")
            expect(try await reprise.run("ledger import - --skip-bad 5", input: second), exits: 0)
            let bad = try String(contentsOfFile: "\(folder)/ledger.db.bad.csv", encoding: .utf8)
            #expect(bad == "time,stream,type,other\nnever,s,A,2\n")
        }
    }

    @Test("CSV with bytes that are not text says so, with U+0000 in it as well")
    func oddText() async throws {
        try await withLedger { reprise, folder in
            let header = Array("time,stream,type,note\n0,s,A,".utf8)
            try Data(header + [0xe9, 0x0a]).write(to: URL(fileURLWithPath: "\(folder)/latin.csv"))
            expect(
                try await reprise.run("ledger import latin.csv --time-unit s"),
                exits: 6,
                saying: ["line 2", "it holds bytes that are not UTF-8"]
            )
            try Data(header + [0, 0x0a]).write(to: URL(fileURLWithPath: "\(folder)/zero.csv"))
            let replaced = try await reprise.run(
                "ledger import zero.csv --time-unit s --replace"
            )
            expect(replaced, exits: 0)
            let shown = try await reprise.run("ledger show --json")
            #expect(shown.standardOutput.contains("\\ufffd"))
            expect(
                try await reprise.run("ledger export --from 10000-01-01T00:00:00Z"),
                exits: 2,
                saying: ["--from", "an RFC 3339 time of the years 0001 to 9999"]
            )
        }
    }

    @Test("a further copy whose report was lost is not stored once more by the same command")
    func lostReport() async throws {
        try await withLedger { reprise, folder in
            try write(Self.line(1) + Self.line(2), to: "\(folder)/events")
            expect(try await reprise.run("ledger import events"), exits: 0)
            let program = try BuiltProgram("reprise").path
            let full = try await ChildProcess.run(
                "bash",
                ["-c", "cd '\(folder)' && '\(program)' ledger import events --again > /dev/full"]
            )
            expect(full, exits: 4, saying: ["report of it is lost"])
            for stored in ["Stored 0 events", "Stored 2 events"] {
                let next = try await reprise.run("ledger import events --again")
                expect(next, exits: 0)
                #expect(next.standardOutput.hasPrefix(stored))
            }
        }
    }

    @Test("what it stored, what was there and what is refused are said, with their exit statuses")
    func outcomes() async throws {
        try await withLedger { reprise, folder in
            let first = try await reprise.run("ledger import -", input: Self.line(1))
            expect(first, exits: 0)
            #expect(first.standardOutput.hasPrefix("Stored 1 event in 'ledger.db': "))
            let again = try await reprise.run("ledger import -", input: Self.line(1))
            expect(
                again,
                exits: 6,
                saying: ["Standard input was not imported", "nothing was stored", "'--again'"]
            )
            expect(try await reprise.run("ledger import - --again", input: Self.line(1)), exits: 0)
            let named = Self.line(2, id: "\"id\":\"a\",")
            expect(try await reprise.run("ledger import -", input: named), exits: 0)
            let present = try await reprise.run("ledger import -", input: named)
            #expect(
                present.standardOutput.hasPrefix(
                    "Stored 0 events in 'ledger.db', 1 were there already: "
                )
            )
            expect(
                try await reprise.run("ledger import -", input: "a,b\n1,2\n"),
                exits: 6,
                saying: [
                    "the first line", "'time', 'stream' and 'type' are missing", "it has 'a', 'b'",
                ]
            )
            expect(
                try await reprise.run("ledger import ."),
                exits: 6,
                saying: ["it is a directory"]
            )
            let bad = try await reprise.run(
                "ledger import - --skip-bad 1",
                input: "{}\n" + Self.line(3)
            )
            expect(
                bad,
                exits: 0,
                saying: ["line 1", "1 bad record set aside in 'ledger.db.bad.ndjson'"]
            )
            expect(try await reprise.run("ledger verify"), exits: 0)
            #expect(FileManager.default.fileExists(atPath: "\(folder)/ledger.db.bad.txt"))
        }
    }

    @Test(
        "options that say nothing are usage errors",
        arguments: [
            ["--field", "stream"], ["--field", "stream=name"], ["--field", "x=/y"],
            ["--time-zone", "Nowhere"],
            ["--time-unit", "h"], ["--delimiter", "ab"], ["--source", ""], ["--skip-bad", "-1"],
        ]
    )
    func usage(_ arguments: [String]) async throws {
        try await withLedger { reprise, _ in
            let outcome = try await reprise.run(
                ["ledger", "import", "-"] + arguments,
                input: Self.line(1)
            )
            expect(outcome, exits: 2)
        }
    }

    @Test("killed in the middle of a file, it continues there and stores each event once")
    func killed() async throws {
        try await withLedger { reprise, folder in
            let count = 150_000
            let text = (0..<count).map { Self.line($0) }.joined()
            try write(text, to: "\(folder)/events")
            #expect(mkfifo("\(folder)/pipe", 0o600) == 0)
            let (_, outcome) = try await reprise.withRunning("ledger import pipe") { child in
                let pipe = try FileHandle(forWritingTo: URL(fileURLWithPath: "\(folder)/pipe"))
                // Chunks of at most 20,000 records, of which three are on their way: when so many
                // bytes are taken, some were stored.
                try pipe.write(contentsOf: Data(text.utf8.prefix(text.utf8.count - 100)))
                child.signal(SIGKILL)
                try pipe.close()
            }
            #expect(outcome.wasKilled)
            let rest = try await reprise.run("ledger import events")
            expect(rest, exits: 0)
            #expect(rest.standardOutput.contains(" imported before: "))
            let info = try object(try await reprise.run("ledger info --json"))
            #expect(info["events"] as? Int == count)
            expect(try await reprise.run("ledger verify"), exits: 0)
            expect(
                try await reprise.run("ledger import events"),
                exits: 6,
                saying: ["was not imported"]
            )
        }
    }

    @Test("L10: beside an import that goes on others append")
    func fairTurns() async throws {
        try await withLedger { reprise, folder in
            #expect(mkfifo("\(folder)/pipe", 0o600) == 0)
            let piece = Data((0..<20_000).map { Self.line($0) }.joined().utf8)
            let others = Others()
            let (pieces, outcome) = try await reprise.withRunning("ledger import pipe") { _ in
                let pipe = try FileHandle(forWritingTo: URL(fileURLWithPath: "\(folder)/pipe"))
                let feeding = Task.detached { () throws -> Int in
                    // Until the others are done, and not for ever.
                    var pieces = 0
                    while pieces < 500, !others.areDone.load(ordering: .relaxed) {
                        try pipe.write(contentsOf: piece)
                        pieces += 1
                    }
                    try pipe.close()
                    return pieces
                }
                for number in 0..<5 {
                    let appended = try await reprise.run(
                        "ledger import -",
                        input: Self.line(1_000_000 + number)
                    )
                    expect(appended, exits: 0)
                }
                others.areDone.store(true, ordering: .relaxed)
                return try await feeding.value
            }
            expect(outcome, exits: 0)
            #expect(pieces < 500, "the others waited for the import's end")
            let info = try object(try await reprise.run("ledger info --json"))
            #expect(info["events"] as? Int == pieces * 20_000 + 5)
        }
    }
}

/// Those who append beside an import.
private final class Others: Sendable {
    let areDone = Atomic(false)
}
