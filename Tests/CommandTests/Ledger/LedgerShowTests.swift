import Foundation
import Ledgers
import ProjectionKit
import TestSupport
import Testing

@Suite("Ledger show")
struct LedgerShowTests {
    /// Events `1` to `n` on two streams, of two types, a second apart.
    private func withLedger(
        of count: Int = 50,
        _ body: (RepriseProcess, _ path: String) async throws -> Void
    ) async throws {
        try await withScratchFolder { folder in
            let path = "\(folder)/ledger.db"
            try EmbeddedLedger.create(path: path, bucketWidth: 10_000)
            try LedgerWriter.withWriter(path: path) { writer in
                try writer.append(
                    (1...count).map { number in
                        NewEvent(
                            id: "id-\(number)",
                            time: Timestamp(
                                microseconds: 1_767_225_600_000_000 + Int64(number) * 1_000_000
                            ),
                            stream: number.isMultiple(of: 2) ? "even" : "odd",
                            type: number.isMultiple(of: 5) ? "Fifth" : "Other",
                            data: "{\"n\":\(number)}"
                        )
                    }
                )
            }
            try await body(RepriseProcess(in: folder), path)
        }
    }

    private func numbers(_ outcome: ChildProcess.Outcome) -> [Int] {
        outcome.standardOutput.split(separator: "\n").compactMap { line in
            let value = try? JSONSerialization.jsonObject(with: Data(line.utf8))
            return (value as? [String: Any])?["sequence"] as? Int
        }
    }

    @Test(
        "filters, order and limit go together",
        arguments: [
            ("", Array((31...50).reversed())), ("--limit 3", [50, 49, 48]),
            ("--oldest --limit 2", [1, 2]),
            ("--limit 0", []), ("--after 48", [50, 49]), ("--after 48 --oldest", [49, 50]),
            ("--stream even --type Fifth", [50, 40, 30, 20, 10]),
            ("--stream even --stream odd --type Fifth --limit 2", [50, 45]),
            ("--stream nobody", []),
            ("--id id-17", [17]), ("--id id-17 --oldest --json", [17]),
            ("--from 2026-01-01T00:00:07Z --to 2026-01-01T00:00:10Z", [9, 8, 7]),
            ("--from 2026-01-01T00:00:07.000001Z --to 2026-01-01T00:00:10.000001Z", [10, 9, 8]),
            ("--to 2026-01-01T00:00:03Z", [2, 1]), ("--from 2027-01-01T00:00:00Z", []),
        ]
    )
    func filters(arguments: String, wanted: [Int]) async throws {
        try await withLedger { reprise, _ in
            let outcome = try await reprise.run("ledger show --json \(arguments)")
            expect(outcome, exits: 0)
            #expect(numbers(outcome) == wanted)
        }
    }

    @Test("the newest are found across many parts, without a filter and with one")
    func manyParts() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            expect(try await reprise.run("ledger create ledger.db"), exits: 0)
            expect(try await reprise.run("ledger generate --events 5000 --seed 1"), exits: 0)
            #expect(
                numbers(try await reprise.run("ledger show --json --limit 3000"))
                    == Array((2_001...5_000).reversed())
            )
            let all = try await reprise.run(
                "ledger show --json --type CustomerRegistered --limit 100000"
            )
            let wanted = try await Oracle.run(
                """
                import sqlite3, sys
                for s, in sqlite3.connect(sys.argv[1]).execute('''SELECT sequence FROM events
                    WHERE type = 'CustomerRegistered' ORDER BY sequence DESC'''): print(s)
                """,
                ["\(folder)/ledger.db"]
            )
            #expect(numbers(all) == wanted.split(separator: "\n").compactMap { Int($0) })
            #expect(numbers(all).count > 50)
        }
    }

    @Test("an id that no event has is said, with status 1")
    func unknownID() async throws {
        try await withLedger { reprise, _ in
            let outcome = try await reprise.run("ledger show --id id-99")
            expect(
                outcome,
                exits: 1,
                saying: ["No event of 'ledger.db' has the id 'id-99'.", "--json"]
            )
            #expect(outcome.standardOutput.isEmpty)
        }
    }

    @Test("columns stand below each other, and control characters are escaped")
    func table() async throws {
        try await withScratchFolder { folder in
            var events = LedgerBuilder()
            events.add("T", to: "s", at: "2026-01-01T00:00:00Z", #"{"a":1}"#)
            events.add(
                "LongType",
                to: "\u{1B}[31mred\n2",
                at: "2026-01-01T00:00:00.5Z",
                "{\"a\":\n2}"
            )
            try events.write(to: "\(folder)/ledger.db")
            let outcome = try await RepriseProcess(in: folder).run("ledger show")
            #expect(
                outcome.standardOutput == #"""
                    2  2026-01-01T00:00:00.500000Z  \u{1b}[31mred\u{a}2  LongType  {"a":\u{a}2}
                    1  2026-01-01T00:00:00.000000Z  s                    T         {"a":1}

                    """#
            )
            let narrow = try await ChildProcess.run(
                "script",
                [
                    "-qec",
                    "stty cols 60; cd '\(folder)'; '\(try BuiltProgram("reprise").path)' ledger show",
                    "/dev/null",
                ]
            )
            for line in narrow.standardOutput.split(whereSeparator: \.isNewline) {
                #expect(
                    line.count == 60 && line.hasSuffix("…") || line.hasSuffix(#"{"a":1}"#),
                    "\(line)"
                )
            }
        }
    }

    @Test("what is appended is shown as it comes, until a signal or the reader's end")
    func follow() async throws {
        try await withLedger { reprise, path in
            func append(_ stream: String) throws {
                try LedgerWriter.withWriter(path: path) { writer in
                    _ = try writer.append([NewEvent(stream: stream, type: "T", data: "{}")])
                }
            }
            let (_, outcome) = try await reprise.withRunning(
                "ledger show --follow --limit 2 --json"
            ) { child in
                try await child.waitForText("\"sequence\":50", on: .output)
                try append("first")
                try await child.waitForText("\"stream\":\"first\"", on: .output)
                try append("second")
                try await child.waitForText("\"stream\":\"second\"", on: .output)
                child.signal(SIGINT)
            }
            #expect(outcome.status == 130 && !outcome.wasKilled)
            #expect(numbers(outcome) == [49, 50, 51, 52])
            let program = try BuiltProgram("reprise").path
            let piped = try await ChildProcess.run(
                "bash",
                [
                    "-c",
                    "'\(program)' ledger show --follow --after 50 --json --ledger '\(path)' | head -n 2"
                        + "; echo \"${PIPESTATUS[0]}\"",
                ]
            )
            // Nothing more is appended: the closed pipe alone ends it.
            #expect(piped.standardOutput.hasSuffix("\n0\n"), "\(piped.standardError)")
            #expect(numbers(piped) == [51, 52])
        }
    }

    @Test("a ledger that is replaced is noticed: its events are shown, or the end is said")
    func replaced() async throws {
        try await withLedger { reprise, path in
            let copy = "\(path).copy"
            let append = { (path: String, stream: String) in
                try LedgerWriter.withWriter(path: path) { writer in
                    _ = try writer.append([NewEvent(stream: stream, type: "T", data: "{}")])
                }
            }
            // As the manual says: nothing that SQLite keeps beside the old file stays.
            let putInPlace = {
                for suffix in ["-wal", "-shm"] { unlink(path + suffix) }
                #expect(rename(copy, path) == 0)
            }
            try FileManager.default.copyItem(atPath: path, toPath: copy)
            try append(copy, "in the copy")
            let (_, outcome) = try await reprise.withRunning(
                "ledger show --follow --limit 2 --json"
            ) { child in
                try await child.waitForText("\"sequence\":50", on: .output)
                putInPlace()
                try await child.waitForText("in the copy", on: .output)
                try append(path, "behind it")
                try await child.waitForText("behind it", on: .output)
                // One that has other events.
                try EmbeddedLedger.create(path: copy, bucketWidth: 10_000)
                try LedgerWriter.withWriter(path: copy) { writer in
                    try writer.append(
                        (1...60).map { _ in NewEvent(stream: "other", type: "T", data: "{}") }
                    )
                }
                putInPlace()
            }
            expect(
                outcome,
                exits: 4,
                saying: ["The ledger 'ledger.db' was replaced while it was read"]
            )
            #expect(numbers(outcome) == [49, 50, 51, 52])
        }
    }
}
