import Foundation
import Ledgers
import ProjectionKit
import TestSupport
import Testing

@Suite("Replay")
struct ReplayTests {
    /// The lines of an export whose events are filed in ranges: `ledger export`, then pairs of
    /// microseconds on standard input.
    private static let oracle = """
        import json, sqlite3, sys
        ledger, export, out = sys.argv[1:4]
        lines = open(export, 'rb').read().split(b'\\n')[:-1]
        times = [t for t, in sqlite3.connect(ledger).execute('SELECT time FROM events ORDER BY sequence')]
        filed, last = [], -2**63
        for t in times:
            last = max(last, t)
            filed.append(last)
        for n, pair in enumerate(sys.argv[4:]):
            a, b = (int(x) for x in pair.split(':'))
            part = [l for l, t in zip(lines, filed) if a <= t < b]
            open(f'{out}/want-{n}', 'wb').write(b''.join(l + b'\\n' for l in part))
        """

    @Test("a range begins and ends to the microsecond")
    func boundaries() async throws {
        let seed: UInt64 = .random(in: 0...999_999)
        print("seed \(seed)")
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            try OddLedger.write(to: "\(folder)/ledger.db", seed: seed)
            expect(try await reprise.run("ledger export --output all"), exits: 0)
            let ranges = try await Self.ranges(of: "\(folder)/ledger.db", seed: seed)
            _ = try await Oracle.run(
                Self.oracle,
                ["\(folder)/ledger.db", "\(folder)/all", folder]
                    + ranges.map { "\($0.0.microseconds):\($0.1.microseconds)" }
            )
            for (index, range) in ranges.enumerated() {
                let wanted = try String(contentsOfFile: "\(folder)/want-\(index)", encoding: .utf8)
                let outcome = try await reprise.run("replay --from \(range.0) --to \(range.1)")
                expect(
                    outcome,
                    exits: 0,
                    saying: ["Replayed ", "Next: reprise replay --from \(range.1)"]
                )
                #expect(outcome.standardOutput == wanted, "\(range)")
                let count = wanted.utf8.count { $0 == 10 }
                #expect(outcome.standardError.contains("Replayed \(count) event"))
            }
        }
    }

    /// Ranges that begin or end at an event's time, just before and just behind it.
    private static func ranges(
        of path: String,
        seed: UInt64
    ) async throws -> [(Timestamp, Timestamp)] {
        let text = try await Oracle.run(
            """
            import sqlite3, sys
            for t, in sqlite3.connect(sys.argv[1]).execute('SELECT time FROM events ORDER BY time'): print(t)
            """,
            [path]
        )
        let times = text.split(separator: "\n").compactMap { Int64($0) }
        let (first, last) = (try #require(times.first), try #require(times.last))
        var random = SeededRandom(seed: seed)
        var ranges = [
            (first - 10_000_000, first), (first - 1, first + 1), (last, last + 1),
            (last + 1, last + 9), (first - 9, last + 9),
        ]
        for _ in 0..<12 {
            let pair = (0..<2).map { _ in
                (times.randomElement(using: &random) ?? first)
                    + Int64.random(in: -1...1, using: &random)
            }
            ranges.append((pair.min() ?? first, pair.max() ?? last))
        }
        return ranges.map { (Timestamp(microseconds: $0.0), Timestamp(microseconds: $0.1)) }
    }

    @Test(
        "adjacent ranges have every event once, in ledger order, whatever is appended between them"
    )
    func adjacent() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            expect(try await reprise.run("ledger create ledger.db --bucket-width 1s"), exits: 0)
            func append(_ stream: String, _ time: String) async throws {
                expect(
                    try await reprise.run(
                        "ledger append --type T --data {} --stream \(stream) --time \(time)"
                    ),
                    exits: 0
                )
            }
            try await append("1", "2026-01-01T00:00:00.000001Z")
            try await append("2", "2026-01-01T00:00:09.999999Z")
            // The range is not over: an event before its end can still come.
            let open = try await reprise.run(
                "replay --from 2026-01-01T00:00:00Z --to 2026-01-01T00:00:10Z"
            )
            #expect(Self.streams(open) == ["1", "2"])
            let advice = try #require(Self.quoted(open.standardError, behind: "to this range: '"))
            try await append("3", "2026-01-01T00:00:03Z")
            try await append("4", "2026-01-01T00:00:10Z")
            try await append("5", "2026-01-01T00:00:05Z")
            // What the message says to type has what came later, and no more.
            let rest = try await reprise.run(advice)
            #expect(Self.streams(rest) == ["3"])
            #expect(!rest.standardError.contains("The ledger ends before"))
            let next = try #require(Self.line(rest.standardError, behind: "Next: reprise "))
            #expect(next == "replay --from 2026-01-01T00:00:10Z")
            // The backdated one is filed at its predecessor's time.
            let second = try await reprise.run(next)
            #expect(Self.streams(second) == ["4", "5"])
            // Without an end it goes on behind the last event.
            try await append("6", "2026-01-01T00:00:10Z")
            let on = try #require(Self.line(second.standardError, behind: "Next: reprise "))
            let third = try await reprise.run(on)
            #expect(Self.streams(third) == ["6"])
            let last = try #require(Self.line(third.standardError, behind: "Next: reprise "))
            let nothing = try await reprise.run(last)
            expect(nothing, exits: 0, saying: ["Replayed 0 events in 0 buckets."])
            // Nothing came, so the next one is the same.
            #expect(Self.line(nothing.standardError, behind: "Next: reprise ") == last)
        }
    }

    private static func streams(_ outcome: ChildProcess.Outcome) -> [String] {
        outcome.standardOutput.split(separator: "\n").compactMap {
            let value = try? JSONSerialization.jsonObject(with: Data($0.utf8))
            return (value as? [String: Any])?["stream"] as? String
        }
    }

    /// A command in quotes, without the program's name.
    private static func quoted(_ text: String, behind mark: String) -> String? {
        guard let start = text.range(of: mark)?.upperBound,
            let end = text[start...].firstIndex(of: "'")
        else { return nil }
        return String(text[start..<end].dropFirst("reprise ".count))
    }

    private static func line(_ text: String, behind mark: String) -> String? {
        guard let start = text.range(of: mark)?.upperBound else { return nil }
        return String(text[start...].prefix { $0 != "\n" })
    }

    @Test("from and to at one time are an empty range, the wrong way round a mistake")
    func emptyAndWrong() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            expect(try await reprise.run("ledger create ledger.db"), exits: 0)
            let empty = try await reprise.run("replay")
            expect(
                empty,
                exits: 0,
                saying: ["Replayed 0 events in 0 buckets.", "Next: reprise replay\n"]
            )
            expect(try await reprise.run("ledger generate --events 100 --seed 1"), exits: 0)
            let same = try await reprise.run(
                "replay --from 2026-01-01T00:00:01Z --to 2026-01-01T00:00:01Z"
            )
            expect(same, exits: 0, saying: ["Replayed 0 events in 0 buckets."])
            #expect(same.standardOutput.isEmpty)
            for (line, said) in [
                (
                    "--from 2026-01-01T00:00:02Z --to 2026-01-01T00:00:01.999999Z",
                    "--from must not be later than --to."
                ),
                ("--from yesterday", "yesterday"), ("--rate 0", "--rate must be 1 to 1000000"),
            ] {
                let outcome = try await reprise.run("replay \(line)")
                expect(outcome, exits: 2, saying: [said])
                #expect(outcome.standardOutput.isEmpty)
            }
        }
    }

    @Test("only events of the named types and streams are written")
    func filters() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            expect(try await reprise.run("ledger create ledger.db"), exits: 0)
            expect(try await reprise.run("ledger generate --events 3000 --seed 4"), exits: 0)
            let outcome = try await reprise.run(
                "replay --type OrderPaid --type CustomerRegistered --stream customer-1 --stream customer-2"
            )
            #expect(Self.streams(outcome) == ["customer-1", "customer-2"])
            #expect(outcome.standardError.contains("Replayed 2 of 3,000 events in "))
        }
    }

    @Test("a rate is kept, without work in between")
    func rate() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            expect(try await reprise.run("ledger create ledger.db"), exits: 0)
            expect(try await reprise.run("ledger generate --events 300 --seed 4"), exits: 0)
            let begin = ContinuousClock.now
            let program = try BuiltProgram("reprise").path
            let outcome = try await ChildProcess.run(
                "bash",
                ["-c", "cd '\(folder)'; time '\(program)' replay --rate 200 | wc -l"]
            )
            // The last one is due 299 two hundredths behind the first.
            #expect(ContinuousClock.now - begin >= .milliseconds(1_495))
            #expect(outcome.standardOutput == "300\n")
            let user = try #require(Self.line(outcome.standardError, behind: "user\t0m"))
            #expect(try #require(Double(user.dropLast())) < 1, "\(outcome.standardError)")
        }
    }

    @Test("where the reader ends first, the time to begin again leaves nothing out")
    func readerEnds() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            expect(try await reprise.run("ledger create ledger.db --bucket-width 1s"), exits: 0)
            expect(try await reprise.run("ledger generate --events 20000 --seed 1"), exits: 0)
            let all = try await reprise.run("ledger export").standardOutput.split(separator: "\n")
            let program = try BuiltProgram("reprise").path
            let outcome = try await ChildProcess.run(
                "bash",
                ["-c", "cd '\(folder)' && '\(program)' replay | head -n 9000 > taken"]
            )
            let taken = try String(contentsOfFile: "\(folder)/taken", encoding: .utf8)
                .split(separator: "\n")
            #expect(taken.count == 9_000)
            let again = try #require(
                Self.line(outcome.standardError, behind: "was not written whole: reprise ")
            )
            let rest = try await reprise.run(again).standardOutput.split(separator: "\n")
            #expect(all.suffix(rest.count) == rest[...])
            // What the pipe took and head did not is at most two buffers.
            let gap = all.dropFirst(9_000).dropLast(rest.count)
            #expect(gap.map(\.utf8.count).reduce(0, +) <= 131_072)
            #expect(rest.count < 19_000)
        }
    }
}
