internal import Dispatch
internal import LedgerKit
internal import ProjectionKit
internal import Synchronization

/// Where a span begins and ends.
enum SpanCheck {
    static func run(_ trial: Trial) throws {
        var maker = EventMaker(for: trial.ledger)
        try trial.append(maker.ascending(100, buckets: 6.5))
        let all = try trial.all()
        guard all.count == 100 else {
            return trial.findings.add("100 events were appended and \(all.count) are read")
        }
        let ends = [
            (0, 99), (0, 0), (0, 1), (10, 11), (14, 15), (29, 60), (98, 99), (99, 99), (50, 20),
        ]
        for (first, last) in ends {
            let span = PositionSpan(after: all[first].position, through: all[last].position)
            try check(span, of: all, "behind event \(first + 1) through event \(last + 1)", trial)
        }
        for last in [0, 1, 50, 99] {
            let span = PositionSpan(through: all[last].position)
            try check(span, of: all, "from the beginning through event \(last + 1)", trial)
        }
    }

    static func runExtremes(_ trial: Trial) throws {
        var maker = EventMaker(for: trial.ledger)
        try trial.append(maker.ascending(30, buckets: 3))
        let all = try trial.all()
        let extremes: [Position] = [
            Position(0), Position(0, .max, .max), Position(1 << 63), Position(1 << 63, .max, .max),
            Position(.max), Position(.max - 1, .max, .max), Position(.max, .max, .max),
        ]
        let afters: [Position?] = [nil] + extremes
        for after in afters {
            for through in extremes {
                let span = PositionSpan(after: after, through: through)
                let name = "behind \(after.map(\.description) ?? "nothing") through \(through)"
                try check(span, of: all, name, trial)
            }
        }
        let taken = Set(all.map(\.position))
        for position in extremes where !taken.contains(position) {
            trial.expect(try !trial.ledger.holds(position), "it holds \(position)")
        }
    }

    private static func check(
        _ span: PositionSpan,
        of all: [LedgerEvent],
        _ name: String,
        _ trial: Trial
    ) throws {
        let (expected, found) = (all.within(span), try trial.events(in: span))
        trial.expect(
            found == expected,
            "the span \(name) has \(expected.count) events, and a reader hands out \(found.count), "
                + "or others"
        )
        try BucketCheck.check(span, of: all, name, trial)
    }
}

/// How readers fill batches.
enum BatchCheck {
    static func run(_ trial: Trial) throws {
        var maker = EventMaker(for: trial.ledger)
        // More than a batch holds, all in one bucket, then one event that is larger than a batch.
        let count = 10_000
        try trial.append(maker.ascending(count, buckets: 0.9), inBatchesOf: 2_500)
        let text = String(repeating: "x", count: 3 << 20)
        var large = maker.next(at: 1.5)
        large.payload = #"{"text":"\#(text)"}"#
        try trial.subject.append([large, maker.next(at: 1.6)])
        let read = try trial.all()
        trial.expect(
            read.count == count + 2,
            "\(count + 2) events were appended and \(read.count) are read"
        )
        trial.expect(
            Set(read.map(\.position)).count == read.count,
            "an event is handed out more than once"
        )
        trial.expect(
            read.dropLast().last?.payload.utf8.count == text.utf8.count + 11,
            "an event of 3 MiB is not read as it was appended"
        )
        try trial.ledger.withReader(of: Trial.everything) { reader in
            let batch = EventBatch()
            while try trial.fill(batch, by: reader) {}
            trial.expect(try !trial.fill(batch, by: reader), "a reader begins again at its end")
        }
    }
}

/// Several readers, and writers beside them.
enum ReaderCheck {
    static func runTwo(_ trial: Trial) throws {
        var maker = EventMaker(for: trial.ledger)
        try trial.append(maker.ascending(9_000, buckets: 4), inBatchesOf: 3_000)
        let all = try trial.all()
        guard all.count > 2 else { return trial.findings.add("events are missing") }
        let span = PositionSpan(after: all[1].position, through: all[all.count - 2].position)
        var (left, right): ([LedgerEvent], [LedgerEvent]) = ([], [])
        try trial.ledger.withReader(of: span) { first in
            try trial.ledger.withReader(of: span) { second in
                let batch = EventBatch()
                var (isLeft, isRight) = (true, true)
                while isLeft || isRight {
                    if isLeft {
                        isLeft = try trial.fill(batch, by: first)
                        if isLeft { batch.forEach { left.append(LedgerEvent($0)) } }
                    }
                    if isRight {
                        isRight = try trial.fill(batch, by: second)
                        if isRight { batch.forEach { right.append(LedgerEvent($0)) } }
                    }
                }
            }
        }
        trial.expect(left == right, "two readers of one span hand out different events")
        trial.expect(left == all.within(span), "two readers at a time do not read the whole span")
    }

    static func runAppending(_ trial: Trial) throws {
        var maker = EventMaker(for: trial.ledger)
        try trial.append(maker.ascending(9_000, buckets: 4), inBatchesOf: 3_000)
        let before = try trial.all()
        guard let end = before.last?.position else {
            return trial.findings.add("events are missing")
        }
        let later = (0..<50).map { maker.next(at: 5 + Double($0) / 50) }
        var read: [LedgerEvent] = []
        try trial.ledger.withReader(of: PositionSpan(through: end)) { reader in
            let batch = EventBatch()
            var isFirst = true
            while try trial.fill(batch, by: reader) {
                batch.forEach { read.append(LedgerEvent($0)) }
                if isFirst { try append(later, beside: trial) }
                isFirst = false
            }
        }
        trial.expect(
            read == before,
            "a reader whose span ends before what is appended meanwhile hands out other events"
        )
        let after = try trial.all()
        trial.expect(
            Array(after.dropFirst(before.count)).map(\.time) == later.map(\.time),
            "what was appended while a reader was open is not behind its span"
        )
        trial.expect(
            Array(after.prefix(before.count)) == before,
            "events were changed by what was appended later"
        )
    }

    private final class Failure: Sendable {
        let error = Mutex<(any Error)?>(nil)
    }

    /// Appends on another thread, as another program would.
    private static func append(_ events: [AppendableEvent], beside trial: Trial) throws {
        let failure = Failure()
        let isDone = DispatchSemaphore(value: 0)
        let (subject, patience) = (trial.subject, trial.writerPatience)
        DispatchQueue(label: "reprise.conformance.append").async {
            do { try subject.append(events) } catch { failure.error.withLock { $0 = error } }
            isDone.signal()
        }
        if isDone.wait(timeout: .now() + .seconds(patience)) == .timedOut {
            trial.findings.add("a writer waits for a reader, \(patience) s by now")
        }
        if let error = failure.error.withLock({ $0 }) { throw error }
    }
}

/// Readers on several threads beside a writer.
enum ThreadCheck {
    static func run(_ trial: Trial) throws {
        var maker = EventMaker(for: trial.ledger)
        let events = maker.ascending(600, buckets: 5)
        try trial.append(Array(events.prefix(100)))
        let (rest, readers, rounds) = (Array(events.dropFirst(100)), 4, 12)
        let reads = Reads()
        let group = DispatchGroup()
        for index in 0...readers {
            // A queue each, for a thread each at once; the first one writes.
            DispatchQueue(label: "reprise.conformance.\(index)").async(group: group) {
                do {
                    if index == 0 { return try trial.append(rest, inBatchesOf: 25) }
                    for _ in 0..<rounds {
                        let read = try look(trial)
                        reads.list.withLock { $0.append(read) }
                    }
                } catch {
                    trial.findings.add("a call beside others threw: \(error)")
                }
            }
        }
        group.wait()
        let all = try trial.all()
        trial.expect(all.count == events.count, "events are missing after calls side by side")
        for read in reads.list.withLock({ $0 }) {
            trial.expect(
                Array(all.prefix(read.count)) == read,
                "a reader beside a writer did not hand out what the ledger begins with"
            )
        }
    }

    /// What each reading found.
    private final class Reads: Sendable {
        let list = Mutex<[[LedgerEvent]]>([])
    }

    /// Everything up to the safe position, counted and looked up on the way.
    private static func look(_ trial: Trial) throws -> [LedgerEvent] {
        guard let end = try trial.ledger.safePosition() else { return [] }
        let span = PositionSpan(through: end)
        let read = try trial.events(in: span)
        trial.expect(read.last?.position == end, "the safe position is not that of an event")
        trial.expect(try trial.ledger.holds(end), "the safe position is not held")
        let counted = try trial.ledger.buckets(in: span).map(\.events).reduce(0, +)
        trial.expect(counted == read.count, "beside a writer buckets do not add up to their events")
        return read
    }
}
