internal import LedgerKit
internal import ProjectionKit
internal import Synchronization

/// One check of one ledger: what it is done to, and where its findings go.
struct Trial {
    let subject: LedgerSubject
    let ledger: any Ledger
    let make: @Sendable () throws -> LedgerSubject
    /// Seconds.
    let writerPatience: Int
    let findings: Findings

    init(
        subject: LedgerSubject,
        make: @escaping @Sendable () throws -> LedgerSubject,
        writerPatience: Int,
        findings: Findings
    ) throws {
        self.subject = subject
        self.make = make
        self.writerPatience = writerPatience
        self.findings = findings
        ledger = try subject.open()
    }

    /// Every position that there is.
    static let everything = PositionSpan(through: Position(.max, .max, .max))

    /// Notes the sentence unless the promise is kept.
    func expect(_ isKept: Bool, _ sentence: @autoclosure () -> String) {
        if !isKept { findings.add(sentence()) }
    }

    /// Reads a span to its end, and looks at each batch on the way.
    func events(in span: PositionSpan, of other: (any Ledger)? = nil) throws -> [LedgerEvent] {
        let ledger = other ?? ledger
        return try ledger.withReader(of: span) { reader in
            var events: [LedgerEvent] = []
            let batch = EventBatch(capacity: 1, bytes: 16)
            while try fill(batch, by: reader) { batch.forEach { events.append(LedgerEvent($0)) } }
            expect(batch.count == 0, "the batch after the last one is not empty")
            return events
        }
    }

    /// Fills a batch in which something was left.
    func fill(_ batch: EventBatch, by reader: any LedgerReader) throws -> Bool {
        let leftOver = "left over"
        batch.removeAll()
        batch.append(
            LedgerEvent(
                position: Position(0),
                time: Timestamp(microseconds: 0),
                bucketStart: 0,
                type: leftOver,
                stream: leftOver,
                payload: "{}"
            )
        )
        batch.bucketWidth = ledger.bucketWidth + 1
        batch.share = nil
        let isFilled = try reader.fill(batch)
        batch.forEach { event in
            expect(event.stream != leftOver, "a batch is filled without being emptied first")
        }
        guard isFilled else { return false }
        guard batch.count > 0 else {
            findings.add("a batch that was filled is empty")
            return false
        }
        expect(batch.bucketWidth == ledger.bucketWidth, "a batch has another bucket width")
        expect(
            batch.share.map { (0...1).contains($0) } ?? true,
            "a batch's share is not between 0 and 1"
        )
        return true
    }

    /// All events, and the span that they are in.
    func all() throws -> [LedgerEvent] {
        guard let end = try ledger.safePosition() else {
            findings.add("a ledger with events has no safe position")
            return []
        }
        return try events(in: PositionSpan(through: end))
    }

    /// Appends events in transactions of a few.
    func append(_ events: [AppendableEvent], inBatchesOf size: Int = 40) throws {
        for start in stride(from: 0, to: events.count, by: size) {
            try subject.append(Array(events[start..<min(start + size, events.count)]))
        }
    }
}

/// What was found, from whatever thread.
final class Findings: Sendable {
    /// More of one check than a reader needs.
    private static let most = 5

    private let list = Mutex<[String]>([])

    var sentences: [String] { list.withLock { $0 } }

    func add(_ sentence: String) {
        list.withLock { list in
            if list.count < Self.most, !list.contains(sentence) { list.append(sentence) }
        }
    }
}

/// Events to append.
struct EventMaker {
    /// 2025-01-01T00:00:00Z, in microseconds.
    static let start: Int64 = 1_735_689_600_000_000

    /// Microseconds: the length of a bucket.
    private let bucket: Int64
    private var random = Chance()
    private var count = 0

    init(for ledger: any Ledger) {
        bucket = ledger.bucketWidth * 1_000
    }

    /// The next event.
    ///
    /// - Parameters:
    ///   - buckets: How many buckets after the start of 2025 it is.
    ///   - hasID: Whether it has an id, of UUIDv4's form.
    mutating func next(at buckets: Double, hasID: Bool = false) -> AppendableEvent {
        defer { count += 1 }
        return AppendableEvent(
            id: hasID ? random.uuid() : nil,
            time: Timestamp(microseconds: Self.start + Int64(buckets * Double(bucket))),
            stream: "stream-\(count % 7)",
            type: "Type\(count % 3)",
            payload: #"{"number":\#(count)}"#
        )
    }

    /// Events whose times ascend evenly.
    mutating func ascending(_ count: Int, buckets: Double) -> [AppendableEvent] {
        (0..<count).map { next(at: buckets * Double($0) / Double(count)) }
    }

    /// Events as they come from many writers: ids at random, clocks that go back, and some that
    /// happened long before.
    mutating func disordered(_ count: Int) -> [AppendableEvent] {
        (0..<count).map { index in
            let now = 8 * Double(index) / Double(count)
            let isBackdated = random.next() % 11 == 0
            let lag = Double(random.next() % 1_000) / 1_000
            let time = isBackdated ? now * lag : max(0, now - lag)
            return next(at: time, hasID: random.next() % 4 > 0)
        }
    }
}

/// SplitMix64 (S. Vigna, public domain), begun at the same place each time.
private struct Chance {
    private var state: UInt64 = 42

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    /// A UUID of version 4.
    mutating func uuid() -> String {
        let words = [next(), next()].map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }
        let digits = Array(words.joined())
        func part(_ range: Range<Int>) -> String { String(digits[range]) }
        return "\(part(0..<8))-\(part(8..<12))-4\(part(13..<16))-8\(part(17..<20))-\(part(20..<32))"
    }
}

extension [LedgerEvent] {
    /// The events of a span, by their positions alone.
    func within(_ span: PositionSpan) -> [LedgerEvent] {
        filter { event in
            event.position <= span.through && span.after.map { event.position > $0 } != false
        }
    }

    /// The time at which each event is filed: its own, or that of an event before it where that is
    /// later.
    var filedTimes: [Timestamp] {
        var filed = Timestamp(microseconds: .min)
        return map { event in
            filed = Swift.max(filed, event.time)
            return filed
        }
    }
}
