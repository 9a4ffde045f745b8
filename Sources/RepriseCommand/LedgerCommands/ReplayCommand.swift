internal import ArgumentParser
internal import Foundation
internal import LedgerKit
internal import Ledgers
internal import ProjectionKit
internal import Rebuilder
internal import Synchronization
internal import Wording

/// `reprise replay`: the events of a range of time to any consumer.
struct ReplayCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Write the events of a time range to standard output, bucket after bucket.",
        discussion: """
            NDJSON, as '\(ProgramName.current) ledger export' writes it: pipe it into kcat, amqp-publish, curl or a \
            program of your own. --from belongs to the range, --to does not, to the microsecond, so \
            that adjacent ranges have every event once.

            An event is filed at its own time, or at that of an event before it where that is \
            later; a range has the events that are filed in it, in ledger order.

            At the end standard error says how many events of how many buckets were written, and \
            what to type for the next range. When the reader ends first, it says from where on to \
            write again, and the command ends with 0.

            Exit status: 0 done, 2 usage, 4 the ledger cannot be read or the output not written, \
            129, 130 or 143 interrupted.
            """
    )

    @Option(
        help: ArgumentHelp(
            "Events to write in a second (default: as many as the reader takes).",
            valueName: "n"
        )
    )
    var rate: Int?

    @OptionGroup var range: RangeOptions
    @OptionGroup var filter: FilterOptions
    @OptionGroup var ledger: LedgerOptions
    @OptionGroup var general: GeneralOptions

    func validate() throws {
        if let rate, !(1...1_000_000).contains(rate) {
            throw ValidationError("--rate must be 1 to 1000000; it is \(rate).")
        }
    }

    func run() async throws {
        let replay = try range.replay(of: try await ledger.open(general.settings()))
        let (filter, rate) = (filter.filter, rate)
        let meter = LedgerMeter(doing: "replaying")
        let isQuiet = ResultStream.isTerminal
        let ending = try await withProgress({ isQuiet ? nil : meter.line }) {
            try await onThread { check in
                try Self.write(replay, filter, rate, meter, check)
            }
        }
        switch ending {
        case .whole(let result, let written): say(result, written)
        case .stopped(let stop):
            if stop.cause is CancellationError {
                throw Interrupted(state: stop.state, next: again(stop))
            }
            Console.standardError.write(line: stop.state)
            Console.standardError.write(line: again(stop))
            if let cause = stop.cause { throw cause }
        }
    }

    /// How a replay ended.
    private enum Ending: Sendable {
        case whole(ReplayResult, written: Int)
        case stopped(Stop)
    }

    /// What a replay that ended early leaves.
    private struct Stop: Sendable {
        /// Nil when the reader ended.
        let cause: (any Error)?
        let written: Int
        /// The bucket with the first event that may not have been written; nil for the first bucket.
        let bucket: Bucket?

        var state: String {
            "\(Figures.count(written, "event")) were written"
                + (cause == nil ? "; the reader of standard output wanted no more." : ".")
        }
    }

    private static func write(
        _ replay: Replay,
        _ filter: EventFilter,
        _ rate: Int?,
        _ meter: LedgerMeter,
        _ check: @escaping () throws -> Void
    ) throws -> Ending {
        var stop: (bucket: Bucket?, written: Int)?
        var result: ReplayResult?
        do {
            let isWhole = try ResultStream.write(checking: check) { sink in
                var strategy = LineReplay(filter, to: sink, rate: rate, meter)
                do {
                    result = try replay.run(&strategy, checking: check)
                    stop = (strategy.unwrittenSince(nil), strategy.written)
                    defer { stop?.written = strategy.written }
                    try strategy.flush()
                } catch let stopped as ReplayStopped {
                    stop = (strategy.unwrittenSince(stopped.bucket), strategy.written)
                    throw stopped.cause
                }
            }
            if isWhole, let result { return .whole(result, written: stop?.written ?? 0) }
            return .stopped(Stop(cause: nil, written: stop?.written ?? 0, bucket: stop?.bucket))
        } catch {
            guard let stop else { throw error }
            return .stopped(Stop(cause: error, written: stop.written, bucket: stop.bucket))
        }
    }

    private func say(_ result: ReplayResult, _ written: Int) {
        let console = Console.standardError
        let part = written == result.events ? "" : " of \(Figures.count(result.events))"
        console.write(
            line: "Replayed \(Figures.count(written))\(part) event\(result.events == 1 ? "" : "s") "
                + "in \(Figures.count(result.buckets, "bucket"))."
        )
        let same =
            command + (range.from.map { " --from \($0.text)" } ?? "")
            + (range.after.map { " --after \($0)" } ?? "")
        // Behind a range without events begins what is not in it.
        let end = result.events > 0 ? result.through : nil
        let rest = end.map { "\(command) --after \($0)" } ?? same
        guard let to = range.to else {
            console.write(line: "Next: \(rest)")
            return
        }
        console.write(line: "Next: \(command) --from \(to.text)")
        if !result.isClosed {
            console.write(
                line: "The ledger ends before \(to.text), so that events can still be appended to "
                    + "this range: '\(rest) --to \(to.text)' writes those."
            )
        }
    }

    /// What to type to have again what may not have been written.
    private func again(_ stop: Stop) -> String {
        let begin =
            if let bucket = stop.bucket {
                " --from \(Timestamp(milliseconds: bucket.start))"
            } else if let from = range.from {
                " --from \(from.text)"
            } else {
                range.after.map { " --after \($0)" } ?? ""
            }
        return "From the first bucket on that was not written whole: \(command)\(begin)"
            + (range.to.map { " --to \($0.text)" } ?? "")
    }

    private var command: String {
        // A value may begin with a hyphen, so it is joined to its option.
        (["\(ProgramName.current) replay"]
            + (ledger.ledger.map { ["--ledger=\(TextForPeople.argument($0))"] } ?? [])
            + filter.type.map { "--type=\(TextForPeople.argument($0))" }
            + filter.stream.map { "--stream=\(TextForPeople.argument($0))" }
            + (rate.map { ["--rate=\($0)"] } ?? [])).joined(separator: " ")
    }
}

/// Writes the events of buckets as lines.
private final class LineReplay: ReplayStrategy {
    private static let fullBuffer = 1 << 17

    /// Events that the output took.
    private(set) var written = 0

    private let filter: EventFilter
    private let sink: ByteSink
    private let meter: LedgerMeter
    private let lines = EventLines()
    private var unwritten = 0
    /// The bucket with the first event that the output did not take yet; nil for none.
    private var firstUnwritten: Bucket?
    private var firstBucket: Bucket?
    private var pace: Pace?

    init(_ filter: EventFilter, to sink: ByteSink, rate: Int?, _ meter: LedgerMeter) {
        self.filter = filter
        self.sink = sink
        self.meter = meter
        pace = rate.map { Pace(perSecond: $0) }
    }

    func replay(_ bucket: borrowing ReplayBucket) throws {
        if firstBucket == nil { firstBucket = bucket.bucket }
        if unwritten == 0 { firstUnwritten = bucket.bucket }
        let own = bucket.bucket
        try bucket.forEach { event in
            guard filter.takes(event) else { return }
            if let pause = pace?.pause(), pause > 0 {
                try flush()
                firstUnwritten = own
                try sink.pause(milliseconds: pause)
            }
            lines.append(event)
            unwritten += 1
            if lines.count >= Self.fullBuffer {
                try flush()
                firstUnwritten = own
            }
        }
        if unwritten == 0 { firstUnwritten = nil }
    }

    /// The first bucket that the output did not take whole, where the one that is under way is that
    /// of the parameter; nil for the first one of the range.
    func unwrittenSince(_ current: Bucket?) -> Bucket? {
        let bucket = firstUnwritten ?? current
        return bucket == firstBucket ? nil : bucket
    }

    /// Writes what is not written yet.
    func flush() throws {
        guard unwritten > 0 else { return }
        do {
            try sink.write(lines.bytes)
        } catch {
            written += lines.lines(inFirst: sink.taken)
            throw error
        }
        lines.removeAll()
        written += unwritten
        unwritten = 0
        firstUnwritten = nil
        meter.advance(to: written)
    }
}

/// When events are due, so many a second.
private struct Pace {
    private let interval: Double
    private var begin = ContinuousClock.now
    private var events = 0

    /// The shortest pause; several events are due behind it where more are wanted.
    private static let shortest = 5
    /// Seconds that are caught up with behind a reader that stood still.
    private static let mostBehind = 0.1

    init(perSecond rate: Int) {
        interval = 1 / Double(rate)
    }

    /// Milliseconds until the next event is due; 0 when it is.
    mutating func pause() -> Int {
        let now = (ContinuousClock.now - begin) / .seconds(1)
        let due = Double(events) * interval
        events += 1
        guard due > now else {
            if now - due > Self.mostBehind {
                begin = ContinuousClock.now
                events = 1
            }
            return 0
        }
        return max(Self.shortest, Int(((due - now) * 1_000).rounded(.up)))
    }
}
