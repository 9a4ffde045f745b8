import Foundation
import LedgerKit
import Ledgers
import ProjectionKit
import TestSupport
import Testing

@Suite("Replay strategies")
struct ReplayStrategyTests {
    /// Notes what it is handed, and can fail at an event, or leave a bucket after its first event.
    private struct Notes: ReplayStrategy {
        struct Failed: Error {}

        var buckets: [(start: Int64, streams: [String])] = []
        var failsAt: String?
        var takesNothing = false

        var starts: [Int64] { buckets.map(\.start) }
        var streams: [[String]] { buckets.map(\.streams) }

        mutating func replay(_ bucket: borrowing ReplayBucket) throws {
            buckets.append((bucket.bucket.start, []))
            guard !takesNothing else { return }
            let last = buckets.count - 1
            try bucket.forEach { event in
                if event.stream == failsAt { throw Failed() }
                buckets[last].streams.append(event.stream)
            }
        }
    }

    private static func time(_ seconds: Int64, _ microseconds: Int64 = 0) -> Timestamp {
        Timestamp(microseconds: seconds * 1_000_000 + microseconds)
    }

    /// Buckets of a second: a and b at 1, c at 2 (and d, which is dated back to 1), e at 5.
    private func withLedger(_ body: (any Ledger) throws -> Void) async throws {
        try await withScratchFolder { folder in
            let path = "\(folder)/ledger.db"
            try EmbeddedLedger.create(path: path, bucketWidth: 1_000)
            let times = [
                Self.time(1), Self.time(1, 7), Self.time(2, 5), Self.time(1, 1), Self.time(5),
            ]
            try LedgerWriter.withWriter(path: path) { writer in
                try writer.append(
                    zip(["a", "b", "c", "d", "e"], times).map {
                        NewEvent(time: $1, stream: $0, type: "T", data: "{}")
                    }
                )
            }
            try body(LedgerAddress(path).open([]))
        }
    }

    @Test("buckets come in order, each once, cut by the range's ends")
    func order() async throws {
        try await withLedger { ledger in
            var all = Notes()
            let result = try Replay(of: ledger).run(&all)
            #expect(all.starts == [1_000, 2_000, 5_000])
            #expect(all.streams == [["a", "b"], ["c", "d"], ["e"]])
            #expect(result.events == 5 && result.buckets == 3 && !result.isClosed)
            #expect(try result.through == ledger.safePosition())

            // `d` is filed at the time of `c`.
            var part = Notes()
            let cut = try Replay(of: ledger, from: Self.time(1, 7), to: Self.time(2, 6)).run(&part)
            #expect(part.streams == [["b"], ["c", "d"]])
            #expect(cut.events == 3 && cut.isClosed)

            var rest = Notes()
            try Replay(of: ledger, from: Self.time(2, 6)).run(&rest)
            #expect(rest.streams == [["e"]])

            var behind = Notes()
            let through = try #require(cut.through)
            try Replay(of: ledger, start: .after(through)).run(&behind)
            #expect(behind.streams == [["e"]])
        }
    }

    @Test("events that a strategy does not ask for are passed over, and counted")
    func passedOver() async throws {
        try await withLedger { ledger in
            var notes = Notes(takesNothing: true)
            let result = try Replay(of: ledger).run(&notes)
            #expect(notes.starts == [1_000, 2_000, 5_000])
            #expect(result.events == 5 && result.buckets == 3)
        }
    }

    @Test("an error names the bucket that was not completed, and where to begin again")
    func stopped() async throws {
        try await withLedger { ledger in
            var notes = Notes(failsAt: "d")
            let stopped = try #require(throws: ReplayStopped.self) {
                try Replay(of: ledger, from: Self.time(1, 1)).run(&notes)
            }
            #expect(stopped.cause is Notes.Failed)
            #expect(stopped.bucket.start == 2_000)
            #expect(stopped.completed.buckets == 1 && stopped.completed.events == 1)
            #expect(stopped.nextFrom == Self.time(2))
            var again = Notes()
            try Replay(of: ledger, from: stopped.nextFrom).run(&again)
            #expect(again.streams == [["c", "d"], ["e"]])

            // In the first bucket the range begins where it began.
            var first = Notes(failsAt: "b")
            let early = try #require(throws: ReplayStopped.self) {
                try Replay(of: ledger, from: Self.time(1, 7)).run(&first)
            }
            #expect(early.nextFrom == Self.time(1, 7))
        }
    }

    @Test("a replay that is cancelled stops before the next bucket")
    func cancelled() async throws {
        try await withLedger { ledger in
            var notes = Notes()
            var left = 2
            let stopped = try #require(throws: ReplayStopped.self) {
                try Replay(of: ledger).run(&notes) {
                    left -= 1
                    if left < 0 { throw CancellationError() }
                }
            }
            #expect(stopped.cause is CancellationError)
            #expect(notes.starts.count < 3)
        }
    }

    @Test("an empty ledger, and ranges before and behind it, have no buckets")
    func empty() async throws {
        try await withLedger { ledger in
            for (from, to) in [(0, 1), (6, 9), (3, 3), (3, 5)] {
                var notes = Notes()
                let result = try Replay(
                    of: ledger,
                    from: Self.time(Int64(from)),
                    to: Self.time(Int64(to))
                )
                .run(&notes)
                #expect(notes.buckets.isEmpty && result.events == 0)
                #expect(result.isClosed == (to <= 5))
            }
        }
        try await withScratchFolder { folder in
            try EmbeddedLedger.create(path: "\(folder)/empty.db", bucketWidth: 1_000)
            var notes = Notes()
            let result = try Replay(of: LedgerAddress("\(folder)/empty.db").open([])).run(&notes)
            #expect(result.events == 0 && result.through == nil && !result.isClosed)
        }
    }
}
