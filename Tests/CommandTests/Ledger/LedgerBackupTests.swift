import Foundation
import Ledgers
import ProjectionKit
import TestSupport
import Testing

@Suite("Ledger backup")
struct LedgerBackupTests {
    private func withLedger(
        events: Int = 2_000,
        _ body: (RepriseProcess, _ folder: String) async throws -> Void
    ) async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            expect(try await reprise.run("ledger create ledger.db"), exits: 0)
            expect(
                try await reprise.run("ledger generate --events \(events) --seed 1"),
                exits: 0
            )
            try await body(reprise, folder)
        }
    }

    /// What lies in the folder besides the ledger and its own files.
    private func others(_ folder: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder)
            .filter { !$0.hasPrefix("ledger.db") }.sorted()
    }

    /// Prints events, the last sequence and the identity of a ledger, as Python reads them, and
    /// whether all events of the second are those of the first.
    private static let compare = """
        import sqlite3, sys
        source, copy = (sqlite3.connect(f'file:{p}?mode=ro', uri=True) for p in sys.argv[1:3])
        rows = copy.execute('SELECT * FROM events ORDER BY sequence').fetchall()
        own = source.execute('SELECT * FROM events WHERE sequence <= ? ORDER BY sequence', (len(rows),))
        assert rows == own.fetchall()
        assert [r[0] for r in rows] == list(range(1, len(rows) + 1))
        for table in ('SELECT * FROM ledger',):
            assert source.execute(table).fetchall() == copy.execute(table).fetchall()
        assert copy.execute('SELECT is_open FROM log_state').fetchone() == (0,)
        assert copy.execute('SELECT sum(events) FROM buckets').fetchone() == (len(rows),)
        assert copy.execute('PRAGMA integrity_check').fetchone() == ('ok',)
        print(len(rows))
        """

    @Test("the copy is the ledger, with its identity, and every command takes it")
    func copies() async throws {
        try await withLedger { reprise, folder in
            let made = try await reprise.run("ledger backup copy.db")
            expect(made, exits: 0)
            #expect(
                made.standardOutput.hasPrefix(
                    "Copied 2,000 events of 'ledger.db' to 'copy.db', all sound: "
                )
            )
            #expect(try others(folder) == ["copy.db"])
            let mode = try FileManager.default.attributesOfItem(atPath: "\(folder)/copy.db")[
                .posixPermissions
            ]
            #expect(mode as? Int == 0o600)
            let count = try await Oracle.run(
                Self.compare,
                ["\(folder)/ledger.db", "\(folder)/copy.db"]
            )
            #expect(count == "2000\n")
            expect(try await reprise.run("ledger verify --ledger copy.db"), exits: 0)
            let again = try await reprise.run("ledger backup copy.db")
            expect(again, exits: 4, saying: ["There is something at 'copy.db' already."])
            // It goes on where the ledger does.
            let appended = try await reprise.run(
                "ledger append --stream s --type T --data {} --ledger copy.db"
            )
            #expect(appended.standardOutput.hasPrefix("Stored: event 2001 "))
        }
    }

    @Test("copies that are made while the ledger is written are whole, each")
    func besideWriter() async throws {
        try await withLedger(events: 20_000) { reprise, folder in
            let (copies, writer) = try await reprise.withRunning(
                "ledger generate --rate 20000 --seed 2"
            ) { writer in
                var copies: [String] = []
                for number in 0..<5 {
                    expect(try await reprise.run("ledger backup copy-\(number).db"), exits: 0)
                    copies.append("copy-\(number).db")
                    // The next copy has more for certain.
                    try LedgerWriter.withWriter(path: "\(folder)/ledger.db") { writer in
                        _ = try writer.append([NewEvent(stream: "s", type: "T", data: "{}")])
                    }
                }
                writer.signal(SIGTERM)
                return copies
            }
            #expect(writer.status == 0)
            var counts: [Int] = []
            for copy in copies {
                let text = try await Oracle.run(
                    Self.compare,
                    ["\(folder)/ledger.db", "\(folder)/\(copy)"]
                )
                counts.append(try #require(Int(text.dropLast())))
                expect(try await reprise.run("ledger verify --ledger \(copy)"), exits: 0)
            }
            #expect(counts.allSatisfy { $0 >= 20_000 })
            #expect(counts == counts.sorted() && Set(counts).count == counts.count)
        }
    }

    @Test("a killed backup leaves nothing under its name, and the next one removes the rest")
    func killed() async throws {
        try await withLedger(events: 60_000) { reprise, folder in
            let program = try BuiltProgram("reprise").path
            // Killed as soon as it has begun to write, or at the end if it was faster.
            let script = """
                import os, signal, subprocess, sys, time
                p = subprocess.Popen([sys.argv[1], 'ledger', 'backup', 'copy.db'], cwd=sys.argv[2])
                while p.poll() is None:
                    staged = [n for n in os.listdir(sys.argv[2]) if n.startswith('.copy.db.reprise-')]
                    if staged and os.listdir(os.path.join(sys.argv[2], staged[0])):
                        p.kill()
                        break
                    time.sleep(0.0005)
                print(p.wait(), sorted(n.split('-')[0] for n in os.listdir(sys.argv[2]) if 'copy' in n))
                """
            let said = try await Oracle.run(script, [program, folder])
            #expect(said == "-9 ['.copy.db.reprise']\n")
            expect(try await reprise.run("ledger backup copy.db"), exits: 0)
            #expect(try others(folder) == ["copy.db"])
            expect(try await reprise.run("ledger verify --ledger copy.db"), exits: 0)
        }
    }

    @Test("an interrupted backup leaves nothing")
    func interrupted() async throws {
        try await withLedger(events: 60_000) { reprise, folder in
            let program = try BuiltProgram("reprise").path
            let script = """
                import os, signal, subprocess, sys, time
                p = subprocess.Popen([sys.argv[1], 'ledger', 'backup', 'copy.db'], cwd=sys.argv[2],
                    stderr=subprocess.PIPE)
                while p.poll() is None:
                    if any(n.startswith('.copy.db.reprise-') for n in os.listdir(sys.argv[2])):
                        p.terminate()
                        break
                    time.sleep(0.0005)
                print(p.wait(), p.stderr.read().decode())
                """
            let said = try await Oracle.run(script, [program, folder])
            #expect(
                said.hasPrefix("143 Error: Interrupted by SIGTERM.\nThere is nothing at 'copy.db'"),
                "\(said)"
            )
            #expect(try others(folder) == [])
        }
    }

    @Test("L8: a file without its log is refused, and the command of the message saves what it has")
    func withoutLog() async throws {
        try await withLedger { reprise, folder in
            // A writer that is killed leaves its log.
            let program = try BuiltProgram("reprise").path
            let script = """
                import os, shutil, subprocess, sys, time
                ledger = sys.argv[2] + '/ledger.db'
                p = subprocess.Popen([sys.argv[1], 'ledger', 'generate', '--rate', '500', '--seed', '2',
                    '--ledger', ledger])
                while not (os.path.exists(ledger + '-wal') and os.path.getsize(ledger + '-wal') > 100000):
                    time.sleep(0.01)
                p.kill()
                p.wait()
                shutil.copy(ledger, sys.argv[2] + '/lonely.db')
                """
            _ = try await Oracle.run(script, [program, folder])
            let refused = try await reprise.run("ledger backup copy.db --ledger lonely.db")
            expect(
                refused,
                exits: 4,
                saying: ["shorter than it must be", "saves what the file has"]
            )
            let start = try #require(refused.standardError.range(of: "'reprise ledger backup "))
            let line = refused.standardError[start.upperBound...].prefix { $0 != "'" }
            let saved = try await reprise.run("ledger backup \(line)")
            expect(saved, exits: 0)
            #expect(try others(folder).contains("COPY"))
            let count = try await Oracle.run(
                Self.compare,
                ["\(folder)/ledger.db", "\(folder)/COPY"]
            )
            #expect(try #require(Int(count.dropLast())) >= 2_000)
            expect(try await reprise.run("ledger verify --ledger COPY"), exits: 0)
            expect(try await reprise.run("ledger info --ledger COPY"), exits: 0)
        }
    }

    @Test("a damaged ledger is not copied, and says so")
    func damaged() async throws {
        try await withLedger { reprise, folder in
            let script = """
                import sqlite3, sys
                c = sqlite3.connect(sys.argv[1])
                c.execute("UPDATE events SET payload = '{}' WHERE sequence = 777")
                c.commit()
                """
            _ = try await Oracle.run(script, ["\(folder)/ledger.db"])
            let outcome = try await reprise.run("ledger backup copy.db")
            expect(
                outcome,
                exits: 4,
                saying: [
                    "The ledger 'ledger.db' is damaged: 1 finding, the first: Event 777 ",
                    "No copy was kept",
                ]
            )
            #expect(try others(folder) == [])
        }
    }

    @Test(
        "without the right to write at the destination it says so; read rights are enough for the source"
    )
    func rights() async throws {
        try await withLedger { reprise, folder in
            let program = try BuiltProgram("reprise").path
            func asNobody(_ copy: String) async throws -> ChildProcess.Outcome {
                try await ChildProcess.run(
                    "setpriv",
                    [
                        "--reuid=65534", "--regid=65534", "--clear-groups", program, "ledger",
                        "backup", copy, "--ledger", "\(folder)/ledger.db",
                    ]
                )
            }
            try FileManager.default.createDirectory(
                atPath: "\(folder)/open",
                withIntermediateDirectories: false
            )
            for (path, mode) in [
                (folder, 0o755), ("\(folder)/ledger.db", 0o644), ("\(folder)/open", 0o777),
            ] {
                try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
            }
            for suffix in ["-wal", "-shm"] {
                try? FileManager.default.removeItem(atPath: "\(folder)/ledger.db\(suffix)")
            }
            let refused = try await asNobody("\(folder)/copy.db")
            expect(
                refused,
                exits: 4,
                saying: ["'\(folder)/copy.db' cannot be written: Permission denied."]
            )
            let made = try await asNobody("\(folder)/open/copy.db")
            expect(made, exits: 0)
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: "\(folder)/open") == ["copy.db"]
            )
            #expect(try others(folder) == ["open"])
            expect(try await reprise.run("ledger verify --ledger open/copy.db"), exits: 0)
        }
    }

    @Test("a full disk is said, and nothing is left")
    func fullDisk() async throws {
        try await withLedger(events: 20_000) { _, folder in
            let program = try BuiltProgram("reprise").path
            // A limit of the size of a file stands for the disk's.
            let outcome = try await ChildProcess.run(
                "bash",
                [
                    "-c",
                    "trap '' XFSZ; ulimit -f 1000; cd '\(folder)' && '\(program)' ledger backup copy.db",
                ]
            )
            expect(outcome, exits: 4, saying: ["'copy.db' cannot be written: "])
            #expect(try others(folder) == [])
        }
    }
}
