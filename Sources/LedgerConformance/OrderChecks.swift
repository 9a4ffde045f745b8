internal import LedgerKit
internal import ProjectionKit

/// A ledger in which nothing stands.
enum EmptyLedgerCheck {
    static func run(_ trial: Trial) throws {
        let ledger = trial.ledger
        trial.expect(!ledger.place.isEmpty, "its place is empty: messages have nothing to call it")
        trial.expect(ledger.bucketWidth > 0, "its bucket width is not 1 ms or more")
        trial.expect(try ledger.safePosition() == nil, "it has a safe position")
        trial.expect(try trial.events(in: Trial.everything).isEmpty, "a reader finds events in it")
        trial.expect(try ledger.buckets(in: Trial.everything).isEmpty, "it has buckets")
        let later = Timestamp(microseconds: EventMaker.start)
        trial.expect(
            try ledger.lastPosition(before: later) == nil,
            "it has a last position before a time"
        )
        for position in [Position(0), Position(1), Position(1, 1, 1), Trial.everything.through] {
            trial.expect(try !ledger.holds(position), "it holds the position \(position)")
        }
    }
}

/// The order in which events are handed out, and where they are filed.
enum OrderCheck {
    static func run(_ trial: Trial) throws {
        var maker = EventMaker(for: trial.ledger)
        let appended = maker.disordered(400)
        try trial.append(appended, inBatchesOf: 17)
        let read = try trial.all()
        trial.expect(
            read.count == appended.count,
            "\(appended.count) events were appended and \(read.count) are read"
        )
        for (earlier, later) in zip(read, read.dropFirst()) {
            trial.expect(
                earlier.position < later.position,
                "the position \(later.position) comes after \(earlier.position)"
            )
        }
        if trial.ledger.arrival == .inOrder {
            for (event, new) in zip(read, appended) where event.payload != new.payload {
                // A store with its own text for JSON still keeps streams and times.
                guard !trial.subject.losses.contains(.payloadText) || event.stream != new.stream
                else { continue }
                trial.findings.add(
                    "events are not in the order in which they were appended: \(new.payload) was "
                        + "expected at \(event.position), and \(event.payload) is there"
                )
                break
            }
        } else {
            trial.expect(
                Set(read.map(\.stream)) == Set(appended.map(\.stream)),
                "other streams are read than were appended"
            )
        }
        trial.expect(
            try trial.events(in: Trial.everything) == read,
            "a span that ends behind the last event has other events"
        )
    }

    static func runFiling(_ trial: Trial) throws {
        var maker = EventMaker(for: trial.ledger)
        try trial.append(maker.disordered(300))
        let read = try trial.all()
        let width = trial.ledger.bucketWidth
        for (event, filed) in zip(read, read.filedTimes) {
            let bucket = Bucket(containing: filed.milliseconds, width: width)
            trial.expect(
                event.bucketStart == bucket.start,
                "the event at \(event.position) is not in the bucket of the time at which it is filed, "
                    + "\(filed)"
            )
        }
        trial.expect(Set(read.map(\.bucketStart)).count > 1, "all events are in one bucket")
    }
}

/// What is kept of an event.
enum ContentCheck {
    static func run(_ trial: Trial) throws {
        let losses = trial.subject.losses
        let appended = events()
        try trial.append(appended, inBatchesOf: 3)
        let read = try trial.all()
        guard read.count == appended.count else {
            trial.findings.add("\(appended.count) events were appended and \(read.count) are read")
            return
        }
        for new in appended {
            guard let event = read.first(where: { $0.stream == new.stream }) else {
                trial.findings.add("no event has the stream '\(new.stream)'")
                continue
            }
            let name = "the event of the stream '\(new.stream)'"
            trial.expect(event.type == new.type, "\(name) has another type")
            trial.expect(
                losses.contains(.payloadText) || event.payload.utf8.elementsEqual(new.payload.utf8),
                "\(name) has another payload"
            )
            trial.expect(
                losses.contains(.ids) || isSame(event.id, new.id),
                "\(name) has another id"
            )
            trial.expect(
                losses.contains(.metadata) || isSame(event.metadata, new.metadata),
                "\(name) has other metadata"
            )
            let isSameTime =
                losses.contains(.microseconds)
                ? event.time.milliseconds == new.time.milliseconds : event.time == new.time
            trial.expect(isSameTime, "\(name) has the time \(event.time) instead of \(new.time)")
        }
    }

    /// Texts of Swift are the same where their characters are; a ledger keeps bytes.
    private static func isSame(_ left: String?, _ right: String?) -> Bool {
        (left == nil) == (right == nil) && (left ?? "").utf8.elementsEqual((right ?? "").utf8)
    }

    private static func events() -> [AppendableEvent] {
        let time = EventMaker.start
        let decomposed = "Zoe\u{308}"
        return [
            AppendableEvent(
                time: Timestamp(microseconds: -1_000),
                stream: "before 1970",
                type: "Early",
                payload: "{}"
            ),
            AppendableEvent(
                id: "order/7:ß",
                time: Timestamp(microseconds: time + 123_456),
                stream: "größe-渡辺-\(decomposed)",
                type: "Ünïcode-\(decomposed)",
                payload: #"{ "text" : "\#(decomposed) \"x\" \ud83d\ude00 😀", "n":1.50 }"#,
                metadata: #"{"by" :"Zoë","causation":"3f2504e0-4f89-41d3-9a0c-0305e82c3301"}"#
            ),
            AppendableEvent(
                id: String(repeating: "i", count: 255),
                time: Timestamp(microseconds: time + 999_999),
                stream: String(repeating: "s", count: 300),
                type: "Long",
                payload: "{\t\"list\":\n[ 1 ,2,\r\n{} ] , \"n\": -0.0e+10, \"u\":\"\\u00e9\" }"
            ),
            AppendableEvent(
                time: Timestamp(microseconds: time + 1_000_001),
                stream: "with metadata and no id",
                type: "Plain",
                payload: #"{"n":9007199254740993}"#,
                metadata: "{}"
            ),
            AppendableEvent(
                time: Timestamp(microseconds: time + 1_000_002),
                stream: "large",
                type: "Large",
                payload: #"{"text":"\#(String(repeating: "é", count: 100_000))"}"#
            ),
        ]
    }
}
