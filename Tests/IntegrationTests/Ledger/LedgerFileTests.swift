import Foundation
import LedgerKit
import Migrations
import ProjectionKit
import TestSupport
import Testing

@testable import Ledgers

/// A ledger's file: what it takes to read it, and what is said of one that is not what it should be.
@Suite("The file of a ledger", .serialized)
struct LedgerFileTests {
    @Test("L8: a copy without its log is recognised as shorter than it must be")
    func missingLog() async throws {
        try await withScratchFolder { folder in
            let path = "\(folder)/a.ledger"
            let copy = "\(folder)/copy.ledger"
            try SQLiteLedger.create(path: path)
            // The writer merges its log from time to time: both are copied as it leaves them.
            try await LedgerWriterProcess.killed(path) {}
            _ = try await ChildProcess.run("cp", [path, copy])
            #expect(FileManager.default.fileExists(atPath: "\(path)-wal"))
            let whole = try #require(try SQLiteLedger(path: path).safePosition())
            #expect(throws: LedgerError.logMissing(path: copy)) { try SQLiteLedger(path: copy) }
            #expect(throws: LedgerError.logMissing(path: copy)) {
                try LedgerWriter.withWriter(path: copy) { _ in }
            }
            #expect(try LedgerVerify.run(path: copy).counts[.log] == 1)
            // With its log it is whole, and the next writer merges that.
            _ = try await ChildProcess.run("cp", ["\(path)-wal", "\(copy)-wal"])
            #expect(try SQLiteLedger(path: copy).safePosition() == whole)
            try LedgerWriter.withWriter(path: copy) { _ in }
            #expect(!FileManager.default.fileExists(atPath: "\(copy)-wal"))
            #expect(try LedgerVerify.run(path: copy).isSound)
        }
    }

    @Test("a mark that a reader kept out of the file is put there by the next writer")
    func keptOutMark() async throws {
        try await withScratchFolder { folder in
            let path = "\(folder)/a.ledger"
            try SQLiteLedger.create(path: path)
            try SQLiteDatabase.withDatabase(path: path, mode: .read, patience: 0) { reader in
                try reader.execute("BEGIN; SELECT count(*) FROM main.events")
                try LedgerWriter.withWriter(path: path) { first in
                    try first.append([Self.event])
                    #expect(try !MergedFile(in: first.database).announcesLog())
                    try LedgerWriter.withWriter(path: path) { second in
                        try reader.execute("COMMIT")
                        try second.append([Self.event])
                        #expect(try MergedFile(in: second.database).announcesLog())
                    }
                }
            }
        }
    }

    @Test("an event that was appended during a backup is in the file when both have ended")
    func appendDuringBackup() async throws {
        try await withScratchFolder { folder in
            let (path, copy) = ("\(folder)/a.ledger", "\(folder)/copy.ledger")
            try SQLiteLedger.create(path: path)
            try LedgerWriter.withWriter(path: path) { _ = try $0.append([Self.event]) }
            var appended: Position?
            let backup = try LedgerBackup.make(of: path, at: "\(folder)/backup.ledger") { step in
                guard appended == nil, case .copying = step else { return }
                try LedgerWriter.withWriter(path: path) {
                    appended = try $0.append([Self.event]).first?.position
                }
                #expect(SQLiteDatabase.hasLog(path), "the backup keeps the log from being merged")
            }
            #expect(backup.events == 1)
            #expect(!SQLiteDatabase.hasLog(path))
            _ = try await ChildProcess.run("cp", [path, copy])
            #expect(try SQLiteLedger(path: copy).safePosition() == appended)
        }
    }

    @Test("a ledger with a second name is read and not written")
    func severalNames() async throws {
        try await withScratchFolder { folder in
            let (path, other) = ("\(folder)/a.ledger", "\(folder)/other.ledger")
            try SQLiteLedger.create(path: path)
            try LedgerWriter.withWriter(path: path) { _ = try $0.append([Self.event]) }
            #expect(link(path, other) == 0)
            for name in [path, other] {
                #expect(throws: LedgerError.severalNames(path: name)) {
                    try LedgerWriter.withWriter(path: name) { _ = try $0.append([Self.event]) }
                }
                #expect(try LedgerVerify.run(path: name).isSound)
            }
            // What the message advises.
            _ = try LedgerBackup.make(of: path, at: "\(folder)/copy.ledger")
            unlink(other)
            try LedgerWriter.withWriter(path: path) { _ = try $0.append([Self.event]) }
        }
    }

    private static let event = NewEvent(stream: "s", type: "A", data: "{}")

    @Test("a log that another SQLite program has merged is not missed; a renamed file's log is")
    func mergedLog() async throws {
        try await withScratchFolder { folder in
            let path = "\(folder)/a.ledger"
            try SQLiteLedger.create(path: path)
            try await LedgerWriterProcess.killed(path) {}
            let renamed = "\(folder)/renamed.ledger"
            #expect(rename(path, renamed) == 0)
            #expect(throws: LedgerError.logMissing(path: renamed)) {
                try SQLiteLedger(path: renamed)
            }
            #expect(rename(renamed, path) == 0)
            let whole = try SQLiteLedger(path: path).safePosition()
            let python =
                "import sqlite3,sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM events').fetchone())"
            let outcome = try await ChildProcess.run("/usr/bin/python3", ["-c", python, path])
            #expect(outcome.status == 0, "\(outcome.standardError)")
            #expect(!FileManager.default.fileExists(atPath: "\(path)-wal"))
            #expect(try SQLiteLedger(path: path).safePosition() == whole)
            let verify = try LedgerVerify.run(path: path)
            #expect(verify.isSound)
            #expect(verify.remarks.contains { $0.contains("another SQLite program merged it") })
            try LedgerWriter.withWriter(path: path) { try $0.append([event()]) }
            #expect(try LedgerVerify.run(path: path).remarks == [])
        }
    }

    @Test("damage to the log is found, behind which what was committed is not read any more")
    func damagedLog() async throws {
        try await withScratchFolder { folder in
            let path = "\(folder)/a.ledger"
            try SQLiteLedger.create(path: path)
            try await LedgerWriterProcess.killed(path) {}
            #expect(try LedgerVerify.run(path: path).isSound)
            let log = try [UInt8](Data(contentsOf: URL(fileURLWithPath: "\(path)-wal")))
            // https://www.sqlite.org/walformat.html: a header of 32 bytes, then frames.
            for place in [40, 32 + 24 + 100, log.count / 2] {
                var damaged = log
                damaged[place] ^= 4
                try Data(damaged).write(to: URL(fileURLWithPath: "\(path)-wal"))
                let found = try LedgerVerify.run(path: path)
                #expect(found.counts[.log] == 1, "byte \(place): \(found)")
            }
            var header = log
            header[20] ^= 1
            try Data(header).write(to: URL(fileURLWithPath: "\(path)-wal"))
            #expect(try LedgerVerify.run(path: path).counts[.log] == 1)
            // What a process that died was writing is not damage.
            try Data(log.dropLast(100)).write(to: URL(fileURLWithPath: "\(path)-wal"))
            #expect(try LedgerVerify.run(path: path).counts[.log] == nil)
            // A log without a frame is none.
            try Data(log.prefix(33)).write(to: URL(fileURLWithPath: "\(path)-wal"))
            unlink("\(path)-shm")
            let copy = "\(folder)/copy.ledger"
            _ = try await ChildProcess.run("cp", [path, copy])
            _ = try await ChildProcess.run("cp", ["\(path)-wal", "\(copy)-wal"])
            #expect(throws: LedgerError.logMissing(path: copy)) { try SQLiteLedger(path: copy) }
        }
    }

    @Test("an old log beside a newer file is noticed before it shortens the ledger")
    func oldLog() async throws {
        try await withScratchFolder { folder in
            let path = "\(folder)/a.ledger"
            try SQLiteLedger.create(path: path)
            try await LedgerWriterProcess.killed(path) {}
            let log = try Data(contentsOf: URL(fileURLWithPath: "\(path)-wal"))
            try LedgerWriter.withWriter(path: path) {
                _ = try ShopWorkload(events: 5_000, seed: 3).write(to: $0)
            }
            let whole = try SQLiteLedger(path: path).safePosition()
            try log.write(to: URL(fileURLWithPath: "\(path)-wal"))
            let read = #expect(throws: LedgerError.self) { try SQLiteLedger(path: path) }
            let written = #expect(throws: LedgerError.self) {
                try LedgerWriter.withWriter(path: path) { try $0.append([event()]) }
            }
            for error in [read, written] {
                let isForeign = if case .foreignLog = error { true } else { false }
                #expect(isForeign, "\(String(describing: error))")
            }
            #expect(try LedgerVerify.run(path: path).counts[.log] != nil)
            // What the message advises.
            unlink("\(path)-wal")
            unlink("\(path)-shm")
            #expect(try SQLiteLedger(path: path).safePosition() == whole)
        }
    }

    @Test("through a link a ledger is the same ledger, beside a writer as well")
    func links() async throws {
        try await withScratchFolder { folder in
            let (path, link) = ("\(folder)/a.ledger", "\(folder)/link.ledger")
            try SQLiteLedger.create(path: path)
            #expect(symlink(path, link) == 0)
            try await LedgerWriterProcess.killed(path) {
                #expect(try SQLiteLedger(path: link).safePosition() != nil)
                try LedgerWriter.withWriter(path: link, patience: .seconds(60)) {
                    _ = try $0.append([event()])
                }
            }
            #expect(try LedgerVerify.run(path: link).isSound)
        }
    }

    /// A ledger with `events` events, whose writer was killed: they are in its log alone.
    private func killedWriter(_ path: String) async throws {
        try SQLiteLedger.create(path: path)
        try await LedgerWriterProcess.killed(path) {}
    }

    @Test(
        "a log of another file is refused and kept: of another ledger, and beside a restored backup"
    )
    func logOfAnotherFile() async throws {
        try await withScratchFolder { folder in
            let (path, other) = ("\(folder)/a.ledger", "\(folder)/b.ledger")
            try await killedWriter(other)
            let log = try Data(contentsOf: URL(fileURLWithPath: "\(other)-wal"))
            try SQLiteLedger.create(path: path)
            try LedgerWriter.withWriter(path: path) { _ = try $0.append([Self.event]) }
            let whole = try SQLiteLedger(path: path).safePosition()
            let backup = "\(folder)/backup.ledger"
            _ = try LedgerBackup.make(of: other, at: backup)
            for file in [path, backup] {
                let before = try SQLiteLedger(path: file).safePosition()
                try log.write(to: URL(fileURLWithPath: "\(file)-wal"))
                let reason = "it was written beside another file"
                #expect(throws: LedgerError.foreignLog(path: file, reason: reason)) {
                    try SQLiteLedger(path: file)
                }
                #expect(throws: LedgerError.foreignLog(path: file, reason: reason)) {
                    try LedgerWriter.withWriter(path: file) { _ = try $0.append([Self.event]) }
                }
                #expect(try LedgerVerify.run(path: file).counts[.log] != nil)
                #expect(try Data(contentsOf: URL(fileURLWithPath: "\(file)-wal")) == log)
                // What the message advises.
                unlink("\(file)-wal")
                unlink("\(file)-shm")
                #expect(try SQLiteLedger(path: file).safePosition() == before)
            }
            #expect(try SQLiteLedger(path: path).safePosition() == whole)
        }
    }

    @Test("a log that is newer than an older state of its own file is refused")
    func newerLog() async throws {
        try await withScratchFolder { folder in
            let (path, old) = ("\(folder)/a.ledger", "\(folder)/old.ledger")
            try SQLiteLedger.create(path: path)
            try LedgerWriter.withWriter(path: path) { _ = try $0.append([Self.event]) }
            _ = try await ChildProcess.run("cp", [path, old])
            for _ in 0..<2 {
                try LedgerWriter.withWriter(path: path) { _ = try $0.append([Self.event]) }
            }
            try LedgerWriter.withWriter(path: path) { writer in
                _ = try writer.append([Self.event])
                let log = try Data(contentsOf: URL(fileURLWithPath: "\(path)-wal"))
                try log.write(to: URL(fileURLWithPath: "\(old)-wal"))
            }
            for attempt in 0..<2 {
                let error = #expect(throws: LedgerError.self) {
                    if attempt == 0 {
                        _ = try SQLiteLedger(path: old)
                    } else {
                        try LedgerWriter.withWriter(path: old) { _ = try $0.append([Self.event]) }
                    }
                }
                let isForeign = if case .foreignLog = error { true } else { false }
                #expect(isForeign, "\(error as Any)")
            }
        }
    }

    @Test("the log of a file that was emptied stays, and no command reads or writes the file")
    func emptiedFile() async throws {
        try await withScratchFolder { folder in
            let path = "\(folder)/a.ledger"
            try await killedWriter(path)
            let log = try Data(contentsOf: URL(fileURLWithPath: "\(path)-wal"))
            for bytes in [0, 1] {
                try Data(repeating: 0, count: bytes).write(to: URL(fileURLWithPath: path))
                #expect(throws: LedgerError.self) { try SQLiteLedger(path: path) }
                #expect(try LedgerVerify.run(path: path).counts[.file] == 1)
                #expect(throws: LedgerError.self) {
                    try LedgerWriter.withWriter(path: path) { _ in }
                }
                #expect(try Data(contentsOf: URL(fileURLWithPath: "\(path)-wal")) == log)
            }
        }
    }

    @Test("a damaged log is neither continued nor taken into a backup")
    func continuedDamage() async throws {
        try await withScratchFolder { folder in
            let path = "\(folder)/a.ledger"
            try await killedWriter(path)
            var log = try Data(contentsOf: URL(fileURLWithPath: "\(path)-wal"))
            log[100] ^= 1
            try log.write(to: URL(fileURLWithPath: "\(path)-wal"))
            unlink("\(path)-shm")
            for attempt in 0..<2 {
                let error = #expect(throws: LedgerError.self) {
                    if attempt == 0 {
                        try LedgerWriter.withWriter(path: path) { _ = try $0.append([Self.event]) }
                    } else {
                        _ = try LedgerBackup.make(of: path, at: "\(folder)/copy.ledger")
                    }
                }
                #expect("\(error as Any)".contains("frame 1 of the log is damaged"))
            }
            #expect(try Data(contentsOf: URL(fileURLWithPath: "\(path)-wal")) == log)
        }
    }

    @Test("a rollback journal is not written over the ledger")
    func strayJournal() throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            _ = try folder.write("pages of before", to: "a.ledger-journal")
            #expect(throws: LedgerError.strayJournal(path: path)) { try SQLiteLedger(path: path) }
            #expect(throws: LedgerError.strayJournal(path: path)) {
                try LedgerWriter.withWriter(path: path) { _ in }
            }
            unlink("\(path)-journal")
            #expect(try LedgerVerify.run(path: path).isSound)
        }
    }

    @Test("another journal mode of another program is set back by the next writer")
    func otherMode() throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            try SQLiteDatabase.withDatabase(path: path, mode: .write, patience: 0) {
                try $0.execute("PRAGMA journal_mode = DELETE")
            }
            try LedgerWriter.withWriter(path: path) { writer in
                try SQLiteDatabase.withDatabase(path: path, mode: .read, patience: 0) { reader in
                    try reader.execute("BEGIN; SELECT count(*) FROM main.events")
                    _ = try writer.append([Self.event])
                }
            }
        }
    }

    @Test("a file that is replaced under a writer is not written any more")
    func replacedFile() async throws {
        try await withScratchFolder { folder in
            let (path, other) = ("\(folder)/a.ledger", "\(folder)/b.ledger")
            for file in [path, other] { try SQLiteLedger.create(path: file) }
            try LedgerWriter.withWriter(path: path) { writer in
                _ = try writer.append([Self.event])
                #expect(rename(other, path) == 0)
                let error = #expect(throws: LedgerError.self) {
                    _ = try writer.append([Self.event])
                }
                #expect("\(error as Any)".contains("another file was put in its place"))
            }
        }
    }

    @Test("a file that was moved into another folder without its log is refused")
    func otherFolder() async throws {
        try await withScratchFolder { folder in
            let (path, moved) = ("\(folder)/a.ledger", "\(folder)/sub/a.ledger")
            try await killedWriter(path)
            try FileManager.default.createDirectory(
                atPath: "\(folder)/sub",
                withIntermediateDirectories: false
            )
            #expect(rename(path, moved) == 0)
            #expect(throws: LedgerError.logMissing(path: moved)) { try SQLiteLedger(path: moved) }
        }
    }

    @Test("two paths of one file with a log each are noticed before the second one writes")
    func twoPaths() async throws {
        try await withScratchFolder { folder in
            let (path, mounted) = ("\(folder)/a.ledger", "\(folder)/sub/a.ledger")
            try SQLiteLedger.create(path: path)
            try FileManager.default.createDirectory(
                atPath: "\(folder)/sub",
                withIntermediateDirectories: false
            )
            // As through a mount of the file alone: the same file, with another path for its log.
            let program = """
                import sqlite3, sys
                other = sqlite3.connect(sys.argv[1])
                other.execute("UPDATE log_state SET is_open = 1, commits = commits + 1, folder = 1")
                other.commit()
                other.execute("PRAGMA wal_checkpoint(PASSIVE)")
                """
            try LedgerWriter.withWriter(path: path) { writer in
                #expect(link(path, mounted) == 0)
                let process = Process()
                process.executableURL = URL(fileURLWithPath: "/usr/bin/python3")
                process.arguments = ["-c", program, mounted]
                try process.run()
                process.waitUntilExit()
                #expect(process.terminationStatus == 0)
                unlink(mounted)
                let error = #expect(throws: LedgerError.self) {
                    _ = try writer.append([Self.event])
                }
                #expect("\(error as Any)".contains("by another path"))
            }
        }
    }

    @Test(
        "X9: numbers of a damaged bucket trap nothing",
        arguments: ["start_ms", "first_sequence", "events", "bytes"],
        [Int64.max, .min, -1, 0]
    )
    func oddBucket(column: String, value: Int64) throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            try LedgerWriter.withWriter(path: path) {
                for _ in 0..<3 { _ = try $0.append([Self.event]) }
            }
            try SQLiteDatabase.withDatabase(path: path, mode: .write, patience: 0) {
                try $0.execute("UPDATE main.buckets SET \(column) = \(value)")
            }
            #expect(try !LedgerVerify.run(path: path).isSound)
            // Each ends, with an error or without.
            let ledger = try SQLiteLedger(path: path)
            _ = try? LedgerInfo.read(ledger)
            let end = try #require(try ledger.safePosition())
            _ = try? ledger.buckets(in: PositionSpan(through: end))
            _ = try? ledger.lastPosition(before: Timestamp(microseconds: 0))
            try? LedgerWriter.withWriter(path: path) { _ = try $0.append([Self.event]) }
        }
    }

    @Test("no ledger is made where the log of another one lies")
    func strayLog() throws {
        try withLedgerFolder { folder in
            let (path, old) = (folder.file("a.ledger"), folder.file("old.ledger"))
            try SQLiteLedger.create(path: old)
            _ = try folder.write("what was left", to: "a.ledger-wal")
            #expect(throws: LedgerError.strayLog(path: path)) {
                try SQLiteLedger.create(path: path)
            }
            #expect(throws: LedgerError.strayLog(path: path)) {
                _ = try LedgerBackup.make(of: old, at: path)
            }
            #expect(try folder.text(of: "a.ledger-wal") == "what was left")
        }
    }

    @Test(
        "names that mean something to SQLite are paths",
        arguments: [":memory:", "file:a.db", "a?b#c%20"]
    )
    func names(_ name: String) async throws {
        try await withScratchFolder { folder in
            let program = try BuiltProgram("reprise").path
            // Relative, because an absolute path means nothing else.
            let script =
                #"cd "$1" && "$2" ledger create "./$3" && cd "$1" && "$2" ledger append --ledger "./$3" --stream s --type T --data '{}'"#
            let outcome = try await ChildProcess.run(
                "sh",
                ["-c", script, "sh", folder, program, name]
            )
            #expect(outcome.status == 0, "\(outcome.standardError)")
            #expect(try LedgerVerify.run(path: "\(folder)/\(name)").events == 1)
        }
    }

    @Test("a writer that ends leaves one file, which is whole without a log")
    func wholeFile() async throws {
        try await withScratchFolder { folder in
            let path = "\(folder)/a.ledger"
            try SQLiteLedger.create(path: path)
            for _ in 0..<3 {
                try LedgerWriter.withWriter(path: path) { try $0.append([event(), event()]) }
                #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["a.ledger"])
            }
            let sound = try LedgerVerify.run(path: path)
            #expect(sound.isSound)
            #expect(sound.events == 6)
        }
    }

    @Test("files that are no ledger of this format are named for what they are")
    func foreignFiles() async throws {
        try await withScratchFolder { folder in
            let path = "\(folder)/a.ledger"
            try SQLiteLedger.create(path: path)
            try LedgerWriter.withWriter(path: path) {
                try $0.append((0..<500).map { _ in event() })
            }
            let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
            func message(_ name: String, _ content: Data) throws -> String {
                let file = "\(folder)/\(name)"
                try content.write(to: URL(fileURLWithPath: file))
                let error = #expect(throws: LedgerError.self) { try SQLiteLedger(path: file) }
                return error.map { "\($0)" } ?? ""
            }
            let half = try message("cut", bytes.prefix(bytes.count / 2))
            #expect(
                half.contains("it is cut off: it has \(bytes.count / 2) bytes of \(bytes.count)")
            )
            let page = try message("page", bytes.dropLast(16_384))
            #expect(page.contains("it is cut off"))
            #expect(try message("text", Data("hello".utf8)).contains("not an SQLite database"))
            #expect(try message("empty", Data()).contains("it is empty"))
            // https://www.sqlite.org/fileformat2.html, section 1.3.
            var newer = bytes
            newer[63] = 3
            #expect(try message("newer", newer).contains("has format 3"))
            var foreign = bytes
            foreign[68] = 0
            #expect(
                try message("foreign", foreign).contains("an SQLite database of something else")
            )
            let old = "\(folder)/old"
            try await Self.makeFormat1(old)
            let error = #expect(throws: LedgerError.self) { try SQLiteLedger(path: old) }
            #expect(error == .olderFormat(path: old))
            let advice = error.map { "\($0)" } ?? ""
            #expect(advice.contains("reprise ledger upgrade \(old) NEW"))
        }
    }

    private static func makeFormat1(_ path: String) async throws {
        let migration = try #require(Migrations.ledger.first)
        let outcome = try await ChildProcess.run(
            "/usr/bin/python3",
            [
                "-c",
                "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.stdin.read())",
                path,
            ],
            input: migration.sql
        )
        #expect(outcome.status == 0, "\(outcome.standardError)")
    }

    @Test("L9: a reader needs the right to read, and no other")
    func readingRights() async throws {
        try await withScratchFolder { folder in
            let path = "\(folder)/a.ledger"
            try SQLiteLedger.create(path: path)
            try LedgerWriter.withWriter(path: path) { try $0.append([event(), event()]) }
            let other = try OtherUser(in: folder)
            let refused = try await other.run(["ledger", "info", "--ledger", path])
            // Who is not root cannot become another than the owner.
            if geteuid() == 0 { #expect(refused.status == 4, "a new ledger is its owner's alone") }
            chmod(path, 0o644)
            for command in ["info", "verify"] {
                let outcome = try await other.run(["ledger", command, "--ledger", path])
                #expect(outcome.status == 0, "\(outcome.standardError)")
                #expect(outcome.standardOutput.contains("2 events"))
            }
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: folder).sorted() == [
                    "a.ledger", "reprise",
                ]
            )
            // Beside a writer the files that it shares with readers are there.
            let beside = try await LedgerWriterProcess.killed(path) {
                try await other.run(["ledger", "info", "--ledger", path])
            }
            #expect(beside.status == 0, "\(beside.standardError)")
            // The log of a dead writer needs one of them made.
            unlink("\(path)-shm")
            let left = try await other.run(["ledger", "info", "--ledger", path])
            #expect(left.status == 4)
            #expect(
                left.standardError.contains("'\(path)-shm', and this user may not make that file")
            )
            let written = try await other.run([
                "ledger", "append", "--stream", "s", "--type", "T", "--data", "{}", "--ledger",
                path,
            ])
            #expect(written.status == 4)
            #expect(written.standardError.contains(path))
        }
    }

    private func event() -> NewEvent { NewEvent(stream: "s", type: "T", data: "{}") }
}

/// A process that writes, and is killed.
enum LedgerWriterProcess {
    /// Runs `body` while a process writes into a ledger, then kills the process.
    static func killed<R: Sendable>(
        _ path: String,
        isolation: isolated (any Actor)? = #isolation,
        _ body: () async throws -> R
    ) async throws -> R {
        let watch = try SQLiteLedger(path: path).watch()
        return try await ChildProcess.withRunning(
            try BuiltProgram("reprise").path,
            ["ledger", "generate", "--rate", "2000", "--seed", "1", "--ledger", path]
        ) { child in
            // Some batches, so that there is a log with events in it.
            for _ in 0..<5 { while try !watch.hasChanged() { await Task.yield() } }
            let result = try await body()
            child.signal(SIGKILL)
            return result
        }.result
    }
}

/// The built command as somebody else runs it.
struct OtherUser {
    private let program: String
    private let folder: String

    /// Copies the command to where that user can run it.
    init(in folder: String) throws {
        self.folder = folder
        program = "\(folder)/reprise"
        chmod(folder, 0o755)
        try FileManager.default.copyItem(atPath: try BuiltProgram("reprise").path, toPath: program)
        chmod(program, 0o755)
    }

    func run(_ arguments: [String]) async throws -> ChildProcess.Outcome {
        // Root may read and write everything, so the test has to step down; who is not root, gives up
        // the right to write.
        guard geteuid() == 0 else {
            chmod(folder, 0o555)
            defer { chmod(folder, 0o755) }
            return try await ChildProcess.run(program, arguments)
        }
        return try await ChildProcess.run(
            "setpriv",
            ["--reuid=65534", "--regid=65534", "--clear-groups", program] + arguments
        )
    }
}
