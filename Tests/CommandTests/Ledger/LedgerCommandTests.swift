import Foundation
import LedgerKit
import ProjectionKit
import TestSupport
import Testing

@testable import Ledgers

@Suite("Ledger commands")
struct LedgerCommandTests {
    private static let line = """
        {"time":"2026-01-05T08:00:00Z","stream":"s","type":"A","data":{"n":1}}

        """

    private func withLedger(
        _ body: (RepriseProcess, _ path: String) async throws -> Void
    ) async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            expect(try await reprise.run("ledger create ledger.db"), exits: 0)
            try await body(reprise, "\(folder)/ledger.db")
        }
    }

    @Test("a ledger is made, filled, described and verified")
    func wholeWay() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            let made = try await reprise.run("ledger create ledger.db --bucket-width 500ms")
            expect(made, exits: 0)
            #expect(made.standardOutput.contains("buckets of 500 ms"))
            let imported = try await reprise.run("ledger import -", input: Self.line)
            expect(imported, exits: 0)
            #expect(imported.standardOutput.hasPrefix("Stored 1 event in 'ledger.db': "))
            let again = try await reprise.run("ledger import -", input: Self.line)
            expect(again, exits: 6, saying: ["its content was imported on"])
            let generated = try await reprise.run("ledger generate --events 1000 --seed 1")
            #expect(generated.standardOutput.hasPrefix("Stored 1,000 events in 'ledger.db': "))
            let info = try object(try await reprise.run("ledger info --json"))
            #expect(info["events"] as? Int == 1001)
            #expect(info["bucketWidthMs"] as? Int == 500)
            let verified = try await reprise.run("ledger verify")
            expect(verified, exits: 0)
            #expect(verified.standardOutput == "ledger.db: 1,001 events, all sound.\n")
        }
    }

    @Test("the same numbers generate the same events")
    func deterministicGenerate() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            for name in ["a.db", "b.db"] {
                expect(try await reprise.run(["ledger", "create", name]), exits: 0)
                expect(
                    try await reprise.run([
                        "ledger", "generate", "--events", "500", "--seed", "3", "--start",
                        "2025-05-01T00:00:00Z", "--ledger", name,
                    ]),
                    exits: 0
                )
            }
            var a = try object(try await reprise.run("ledger info --json --ledger a.db"))
            var b = try object(try await reprise.run("ledger info --json --ledger b.db"))
            #expect((a["from"] as? String)?.hasPrefix("2025-05-01T00:00:00") == true)
            #expect(a["identity"] as? String != b["identity"] as? String)
            for name in ["path", "identity"] {
                a[name] = nil
                b[name] = nil
            }
            #expect(NSDictionary(dictionary: a) == NSDictionary(dictionary: b))
            let bytes = try ["a.db", "b.db"].map {
                try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\($0)"))
            }
            #expect(bytes[0].count == bytes[1].count)
        }
    }

    @Test("with a rate events come as fast as that, in transactions of their own")
    func rate() async throws {
        try await withLedger { reprise, path in
            let begin = ContinuousClock.now
            let outcome = try await reprise.run(
                "ledger generate --events 300 --rate 200 --seed 1 --ledger ledger.db"
            )
            // The last batch of 10 is due 29 batches after the first.
            #expect(ContinuousClock.now - begin >= .milliseconds(1_450))
            expect(outcome, exits: 0)
            #expect(outcome.standardOutput.hasPrefix("Stored 300 events in 'ledger.db': "))
            expect(try await reprise.run("ledger create at-once.db"), exits: 0)
            expect(
                try await reprise.run(
                    "ledger generate --events 300 --seed 1 --ledger at-once.db"
                ),
                exits: 0
            )
            let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
            let ledgers = try [path, "\(folder)/at-once.db"].map { try Self.positions(in: $0) }
            #expect(ledgers[0] == ledgers[1])
            #expect(ledgers[0].count == 300)
        }
    }

    private static func positions(in path: String) throws -> [Position] {
        let ledger = try SQLiteLedger(path: path)
        let end = try #require(try ledger.safePosition())
        return try ledger.withReader(of: PositionSpan(through: end)) { reader in
            let batch = EventBatch()
            var positions: [Position] = []
            while try reader.fill(batch) { batch.forEach { positions.append($0.position) } }
            return positions
        }
    }

    @Test("without a number of events it goes on until a signal, which is its end")
    func endless() async throws {
        try await withLedger { reprise, path in
            let ledger = try SQLiteLedger(path: path)
            for signal in [SIGTERM, SIGINT] {
                let before = try ledger.safePosition()
                let (_, outcome) = try await reprise.withRunning(
                    "ledger generate --rate 400 --seed 5"
                ) { child in
                    try await Self.waitForEvents(in: ledger, behind: before)
                    child.signal(signal)
                }
                expect(outcome, exits: 0)
                let stored = try #require(
                    outcome.standardOutput.firstMatch(of: /Stored ([0-9,]+) event/)
                )
                let end = try #require(try ledger.safePosition())
                let found = try ledger.buckets(in: PositionSpan(after: before, through: end))
                #expect(found.map(\.events).reduce(0, +) == Int(stored.1.replacing(",", with: "")))
            }
            // With a number of events, being stopped before it is reached is no success.
            let (_, early) = try await reprise.withRunning(
                "ledger generate --rate 1 --events 600 --seed 5"
            ) { child in
                try await Self.waitForEvents(in: ledger, behind: try ledger.safePosition())
                child.signal(SIGTERM)
            }
            expect(
                early,
                exits: 143,
                saying: ["Interrupted by SIGTERM.", " are in 'ledger.db'", "ledger info"]
            )
        }
    }

    @Test("a generator that is killed and started again makes a shop that a rebuild takes")
    func killedGenerator() async throws {
        try await withRebuildScene { scene in
            let reprise = RepriseProcess(scene)
            let ledger = try SQLiteLedger(path: scene.ledgerPath)
            for _ in 1...4 {
                let before = try ledger.safePosition()
                _ = try await reprise.withRunning("ledger generate --rate 4000 --seed 7") { child in
                    try await Self.waitForEvents(in: ledger, behind: before)
                    child.signal(SIGKILL)
                }
            }
            expect(try await reprise.run("ledger verify"), exits: 0)
            // The reducer refuses an order that is placed twice.
            expect(try await reprise.run("rebuild shop"), exits: 0)
        }
    }

    /// Waits until the ledger holds an event behind a position.
    private static func waitForEvents(
        in ledger: SQLiteLedger,
        behind position: Position?
    ) async throws {
        while try ledger.safePosition() == position { await Task.yield() }
    }

    @Test(
        "a rate that makes no sense is refused",
        arguments: [
            ("--seed 1", "Give --events, or --rate to go on until it is stopped."),
            ("--seed 1 --rate 0", "--rate must be 1 to 1000000; it is 0."),
            ("--seed 1 --events=-1 --rate 1", "--events must be 0 or more; it is -1."),
        ]
    )
    func badRate(arguments: String, message: String) async throws {
        try await withLedger { reprise, _ in
            expect(
                try await reprise.run("ledger generate \(arguments)"),
                exits: 2,
                saying: [message]
            )
        }
    }

    @Test("an event with an id is appended once, and its number says so")
    func append() async throws {
        try await withLedger { reprise, _ in
            let id = "0198c2a7-7c55-7000-8000-000000000001"
            func append(_ data: String) async throws -> ChildProcess.Outcome {
                try await reprise.run([
                    "ledger", "append", "--type", "A", "--stream", "s", "--id", id, "--time",
                    "2025-08-19T12:00:00Z", "--data", data,
                ])
            }
            let stored = try await append("{}")
            expect(stored, exits: 0)
            #expect(stored.standardOutput == "Stored: event 1 of 2025-08-19T12:00:00.000Z.\n")
            let again = try await append("{}")
            expect(again, exits: 0)
            #expect(
                again.standardOutput == "There already: event 1 of 2025-08-19T12:00:00.000Z.\n"
            )
            expect(
                try await append(#"{"secret":1}"#),
                exits: 6,
                saying: [
                    "its id, '\(id)', is that of event 1", "whose data is different",
                    "Nothing that readers see",
                ]
            )
            #expect(try object(try await reprise.run("ledger info --json"))["events"] as? Int == 1)
            expect(
                try await append("[]"),
                exits: 6,
                saying: ["The event was not appended to 'ledger.db'", "Nothing that readers see"]
            )
        }
    }

    @Test("a bad line stops an import by file, line and reason, and says what is stored")
    func badLine() async throws {
        try await withLedger { reprise, path in
            let text = Self.line + "{\"time\":\"2026-01-05T08:00:01Z\",\"stream\":\"s\"}\n"
            let file = URL(fileURLWithPath: path).deletingLastPathComponent()
                .appending(path: "events.ndjson")
            try Data(text.utf8).write(to: file)
            expect(
                try await reprise.run("ledger import events.ndjson"),
                exits: 6,
                saying: [
                    "'events.ndjson', line 2, is not an event for this ledger: ",
                    "1 event was stored",
                    "--skip-bad",
                ]
            )
            let skipped = try await reprise.run("ledger import events.ndjson --skip-bad 1")
            expect(
                skipped,
                exits: 0,
                saying: [
                    "Warning: 1 bad record set aside in 'ledger.db.bad.ndjson', the reasons in"
                ]
            )
            expect(
                try await reprise.run("ledger import nowhere.ndjson"),
                exits: 6,
                saying: ["'nowhere.ndjson' cannot be opened"]
            )
        }
    }

    @Test("a missing ledger is named, with the command that makes one")
    func missing() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            let parts = [
                "Error: There is no ledger at 'ledger.db'.",
                "Nothing that readers see has changed.",
                "reprise ledger create ledger.db",
            ]
            expect(try await reprise.run("rebuild shop"), exits: 4, saying: parts)
            expect(try await reprise.run("plan"), exits: 4, saying: parts)
            expect(try await reprise.run("ledger import -"), exits: 4, saying: parts)
            expect(try await reprise.run("ledger info"), exits: 4, saying: parts)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
        }
    }

    @Test("create never touches what is there")
    func exists() async throws {
        try await withLedger { reprise, path in
            let before = try Data(contentsOf: URL(fileURLWithPath: path))
            expect(
                try await reprise.run("ledger create ledger.db"),
                exits: 4,
                saying: ["There is a file at 'ledger.db' already"]
            )
            #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == before)
        }
    }

    @Test("a file that is something else is refused")
    func notALedger() async throws {
        try await withScratchFolder { folder in
            try Data("name,total\n".utf8).write(to: URL(fileURLWithPath: "\(folder)/ledger.db"))
            expect(
                try await RepriseProcess(in: folder).run("rebuild shop"),
                exits: 4,
                saying: ["'ledger.db' is not a ledger", "Nothing that readers see has changed."]
            )
        }
    }

    @Test("a ledger of a newer format is refused")
    func newerFormat() async throws {
        try await withLedger { reprise, path in
            try SQLiteDatabase.withDatabase(path: path, mode: .write, patience: 0) {
                try $0.execute("PRAGMA user_version = 99")
            }
            expect(
                try await reprise.run("rebuild shop"),
                exits: 4,
                saying: ["has format 99", "reads up to 2", "reprise --version"]
            )
        }
    }

    @Test("verify finds what is wrong, and says no")
    func unsound() async throws {
        try await withLedger { reprise, path in
            expect(try await reprise.run("ledger import -", input: Self.line), exits: 0)
            try SQLiteDatabase.withDatabase(path: path, mode: .write, patience: 0) {
                try $0.execute("UPDATE events SET payload = '[1]', time = time + 3600000000")
            }
            let outcome = try await reprise.run("ledger verify")
            expect(outcome, exits: 1, saying: ["The ledger 'ledger.db' is not sound: "])
            #expect(outcome.standardOutput.contains("Event 1"))
            #expect(!outcome.standardOutput.contains("[1]"))
            let json = try object(try await reprise.run("ledger verify --json"))
            #expect(json["isSound"] as? Bool == false)
            let counts = try #require(json["counts"] as? [String: Int])
            #expect(counts["content"] == 1)
            #expect(Set(counts.keys).isSubset(of: ["content", "buckets"]))
            #expect((json["findings"] as? [Any])?.count == counts.values.reduce(0, +))
        }
    }

    @Test("a ledger that somebody else writes is worth another try")
    func locked() async throws {
        try await withLedger { reprise, path in
            let lock = HeldLock(path: path)
            await lock.isTaken()
            let outcome = try await reprise.run("ledger import -", input: Self.line)
            lock.free()
            expect(
                outcome,
                exits: 75,
                saying: [
                    "The ledger 'ledger.db' is being written by another process.",
                    "run the same command again;",
                ]
            )
        }
    }
}

/// Another connection's write lock, held by a thread of its own until it is told to let go.
private final class HeldLock: Sendable {
    private let release = DispatchSemaphore(value: 0)
    private let taken: AsyncStream<Void>

    init(path: String) {
        let (taken, continuation) = AsyncStream.makeStream(of: Void.self)
        self.taken = taken
        let release = release
        Thread.detachNewThread {
            do {
                try SQLiteDatabase.withDatabase(path: path, mode: .write, patience: 0) { database in
                    try database.execute("BEGIN IMMEDIATE")
                    continuation.finish()
                    release.wait()
                }
            } catch {
                Issue.record(error)
                continuation.finish()
            }
        }
    }

    func isTaken() async {
        for await _ in taken {}
    }

    func free() {
        release.signal()
    }
}
