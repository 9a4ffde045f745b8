internal import LedgerKit
internal import ProjectionKit

/// What is asked about positions.
enum PositionCheck {
    static func runSafe(_ trial: Trial) throws {
        var maker = EventMaker(for: trial.ledger)
        let events =
            trial.ledger.arrival == .inOrder
            ? maker.disordered(120) : maker.ascending(120, buckets: 4)
        var before: Position?
        for start in stride(from: 0, to: events.count, by: 10) {
            try trial.subject.append(Array(events[start..<(start + 10)]))
            let safe = try trial.ledger.safePosition()
            if let before {
                trial.expect(
                    safe.map { $0 > before } ?? false,
                    "the safe position does not go forward with what is appended"
                )
            }
            let read = try trial.events(in: Trial.everything)
            trial.expect(
                read.count == start + 10,
                "of \(start + 10) events that were committed a reader finds \(read.count)"
            )
            trial.expect(
                read.last?.position == safe,
                "the safe position is not that of the last event, with no writer at work"
            )
            before = safe
        }
        let reopened = try trial.subject.open()
        trial.expect(
            try reopened.safePosition() == before,
            "a ledger that is opened again has another safe position"
        )
        trial.expect(
            try trial.events(in: Trial.everything, of: reopened)
                == trial.events(in: Trial.everything),
            "a ledger that is opened again has other events, or other positions"
        )
    }

    static func runHolds(_ trial: Trial) throws {
        var maker = EventMaker(for: trial.ledger)
        try trial.append(maker.disordered(60))
        let positions = try trial.all().map(\.position)
        let taken = Set(positions)
        for position in positions {
            trial.expect(
                try trial.ledger.holds(position),
                "it does not hold \(position), which was read"
            )
            for other in altered(position) where !taken.contains(other) {
                trial.expect(
                    try !trial.ledger.holds(other),
                    "it holds \(other), which no event has, beside \(position)"
                )
            }
        }
    }

    /// What is said of a position stays as it is, and tells other events apart.
    static func runExtent(_ trial: Trial) throws {
        var maker = EventMaker(for: trial.ledger)
        let events =
            trial.ledger.arrival == .inOrder
            ? maker.disordered(90) : maker.ascending(90, buckets: 4)
        try trial.subject.append(Array(events[..<60]))
        let positions = try trial.all().map(\.position)
        let extents = try positions.map { try trial.ledger.extent(through: $0) }
        trial.expect(
            extents.map(\.events) == Array(1...60),
            "the numbers of events up to each of 60 are not 1 to 60"
        )
        let digests = extents.compactMap(\.digest)
        trial.expect(
            Set(digests).count == digests.count,
            "it has one digest for different numbers of events"
        )
        try trial.subject.append(Array(events[60...]))
        let reopened = try trial.subject.open()
        trial.expect(
            try positions.map { try reopened.extent(through: $0) } == extents,
            "what it holds up to a position is another once more was appended"
        )
    }

    /// Positions that differ in one word.
    private static func altered(_ position: Position) -> [Position] {
        let (first, second, third) = position.words
        return [
            Position(first &+ 1, second, third), Position(first &- 1, second, third),
            Position(first &+ 1_000, second, third), Position(first ^ 1 << 63, second, third),
            Position(first, second ^ 1, third), Position(first, second ^ 1 << 63, third),
            Position(first, 0, 0), Position(first, second, third ^ 1),
            Position(first, second, third ^ 1 << 63),
        ]
    }

    static func runBefore(_ trial: Trial) throws {
        var maker = EventMaker(for: trial.ledger)
        try trial.append(maker.disordered(200))
        // A microsecond apart, and at the edges of a bucket.
        let edge = maker.next(at: 9).time.microseconds
        try trial.append(
            [edge - 1, edge, edge, edge + 1, edge + 999, edge + 1_000].map { time in
                var event = maker.next(at: 9)
                event.time = Timestamp(microseconds: time)
                return event
            }
        )
        let read = try trial.all()
        let filed = read.filedTimes
        var times = Set(
            filed.flatMap { time in
                [-1, 0, 1].map { Timestamp(microseconds: time.microseconds + $0) }
            }
        )
        times.formUnion(read.map(\.time))
        times.formUnion(
            [
                .min, -62_135_596_800_000_000, 0, EventMaker.start - 1, edge + 1_000_000_000_000,
                253_402_300_799_999_999, .max,
            ].map { Timestamp(microseconds: $0) }
        )
        for time in times.sorted() {
            let index = filed.lastIndex { $0 < time }
            let found = try trial.ledger.lastPosition(before: time)
            trial.expect(
                found == index.map { read[$0].position },
                "the last position before \(time.microseconds) µs is "
                    + "\(index.map { read[$0].position.description } ?? "none"), and it says "
                    + "\(found.map(\.description) ?? "none")"
            )
        }
    }
}

/// The counts of buckets.
enum BucketCheck {
    static func run(_ trial: Trial) throws {
        var maker = EventMaker(for: trial.ledger)
        try trial.append(maker.disordered(300))
        let all = try trial.all()
        guard all.count == 300 else {
            return trial.findings.add("300 events were appended and \(all.count) are read")
        }
        try check(Trial.everything, of: all, "of everything", trial)
        for first in stride(from: -1, to: 300, by: 13) {
            for last in stride(from: 0, to: 300, by: 31) {
                let after = first < 0 ? nil : all[first].position
                let span = PositionSpan(after: after, through: all[last].position)
                try check(
                    span,
                    of: all,
                    "behind event \(first + 1) through event \(last + 1)",
                    trial
                )
            }
        }
    }

    /// Holds the counts of a span against its events.
    static func check(
        _ span: PositionSpan,
        of all: [LedgerEvent],
        _ name: String,
        _ trial: Trial
    ) throws {
        let width = trial.ledger.bucketWidth
        var expected: [BucketCount] = []
        for event in all.within(span) {
            let bucket = Bucket(start: event.bucketStart, width: width)
            let before = expected.last?.bucket == bucket ? expected.removeLast().events : 0
            expected.append(BucketCount(bucket: bucket, events: before + 1, last: event.position))
        }
        let found = try trial.ledger.buckets(in: span)
        trial.expect(
            found.map(\.bucket) == expected.map(\.bucket),
            "the buckets of the span \(name) are not those of its events, oldest first"
        )
        trial.expect(
            found.map(\.events) == expected.map(\.events),
            "the buckets of the span \(name) have other numbers of events"
        )
        trial.expect(
            found.map(\.last) == expected.map(\.last),
            "the buckets of the span \(name) end at other positions"
        )
    }
}

/// What tells a ledger from others, and that it has changed.
enum IdentityCheck {
    static func run(_ trial: Trial) throws {
        let identity = try trial.ledger.identity()
        trial.expect(!identity.isEmpty, "the identity is empty")
        trial.expect(
            try trial.ledger.identity() == identity,
            "the identity is another at each call"
        )
        var maker = EventMaker(for: trial.ledger)
        try trial.append(maker.ascending(10, buckets: 2))
        trial.expect(
            try trial.ledger.identity() == identity,
            "the identity changes with what is appended"
        )
        trial.expect(
            try trial.subject.open().identity() == identity,
            "a ledger that is opened again has another identity"
        )
        let other = try trial.make()
        trial.expect(
            try other.open().identity() != identity,
            "two ledgers have the same identity"
        )
        trial.expect(
            try other.open().safePosition() == nil,
            "what was appended to one ledger is in another"
        )
    }

    static func runWatch(_ trial: Trial) throws {
        var maker = EventMaker(for: trial.ledger)
        let (first, second) = (try trial.ledger.watch(), try trial.ledger.watch())
        for round in 1...3 {
            _ = try first.hasChanged()
            try trial.subject.append([maker.next(at: Double(round))])
            trial.expect(try first.hasChanged(), "a watch does not see what is appended")
        }
        trial.expect(
            try second.hasChanged(),
            "a watch does not see what was appended since it began, where another was asked"
        )
        let late = try trial.ledger.watch()
        try trial.subject.append([maker.next(at: 4)])
        trial.expect(
            try late.hasChanged(),
            "a watch does not see what is appended between its beginning and the first question"
        )
    }
}
