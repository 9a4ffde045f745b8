package import Ledgers
internal import ProjectionKit
internal import Testing

/// What every ledger promises, as one suite.
///
/// - Parameter withLedger: Makes an empty ledger whose buckets are 15 s wide, and hands it over
///   with a way to append to it. Called once for each check.
/// - Throws: What the ledger throws.
package func ledgerConformance(
    of withLedger: (_ body: (_ subject: LedgerSubject) throws -> Void) throws -> Void
) throws {
    try withLedger(checkEmptyLedger)
    try withLedger(checkOrderAcrossBuckets)
    try withLedger(checkSpanBounds)
    try withLedger(checkBatchBoundaries)
    try withLedger(checkCounts)
    try withLedger(checkLaterEventsAreOutside)
    try withLedger(checkContent)
}

/// A ledger under test and the way to append to it.
package struct LedgerSubject {
    let ledger: any Ledger
    let append: ([NewEvent]) throws -> Void

    /// Pairs them.
    package init(ledger: any Ledger, append: @escaping ([NewEvent]) throws -> Void) {
        self.ledger = ledger
        self.append = append
    }
}

/// An event as a test remembers it.
private struct SeenEvent: Equatable {
    let id: EventID
    let position: Position
    let bucket: Bucket
    let time: Timestamp
    let type: String
    let stream: String
    let payload: String
}

extension LedgerSubject {
    fileprivate func events(in span: PositionSpan) throws -> [SeenEvent] {
        var seen: [SeenEvent] = []
        try ledger.withReader(of: span) { reader in
            let batch = EventBatch(capacity: 1, bytes: 16)
            while try reader.fill(batch) {
                #expect(batch.count > 0, "a batch that was filled is empty")
                batch.forEach { event in
                    seen.append(
                        SeenEvent(
                            id: event.id,
                            position: event.position,
                            bucket: event.bucket,
                            time: event.time,
                            type: event.type.name,
                            stream: event.stream,
                            payload: event.payload.json
                        )
                    )
                }
            }
            #expect(batch.count == 0, "the batch after the last one is not empty")
        }
        return seen
    }

    fileprivate func safePosition() throws -> Position {
        try #require(try ledger.safePosition(), "a ledger with events has no safe position")
    }

    /// Appends events at these seconds after 2026-01-01T00:00:00Z.
    fileprivate func append(atSeconds seconds: [Double]) throws {
        try append(
            seconds.enumerated().map { index, second in
                NewEvent(
                    time: Timestamp(
                        microseconds: 1_767_225_600_000_000 + Int64(second * 1_000_000)
                    ),
                    stream: "stream-\(index % 7)",
                    type: "Type\(index % 3)",
                    data: #"{"index":\#(index)}"#
                )
            }
        )
    }
}

private func checkEmptyLedger(_ subject: LedgerSubject) throws {
    #expect(try subject.ledger.safePosition() == nil)
    let span = PositionSpan(through: Position(.max, .max, .max))
    #expect(try subject.events(in: span).isEmpty)
    #expect(try subject.ledger.bucketCounts(in: span).isEmpty)
    #expect(try subject.ledger.typeCounts(in: span).isEmpty)
}

private func checkOrderAcrossBuckets(_ subject: LedgerSubject) throws {
    // Appended newest bucket first, and times descend inside each.
    let seconds = stride(from: 119.5, through: 0, by: -0.5).map { $0 }
    try subject.append(atSeconds: seconds)
    let seen = try subject.events(in: PositionSpan(through: try subject.safePosition()))
    #expect(seen.count == seconds.count)
    for (earlier, later) in zip(seen, seen.dropFirst()) {
        #expect(earlier.position < later.position)
        #expect(earlier.bucket <= later.bucket, "a bucket came after a newer one")
        if earlier.bucket == later.bucket { #expect(earlier.id < later.id) }
    }
    for event in seen {
        #expect(event.bucket.width == subject.ledger.bucketWidth)
        #expect(
            event.bucket
                == Bucket(
                    containing: event.time.milliseconds,
                    width: subject.ledger.bucketWidth
                )
        )
    }
}

private func checkSpanBounds(_ subject: LedgerSubject) throws {
    try subject.append(atSeconds: (0..<100).map { Double($0) })
    let all = try subject.events(in: PositionSpan(through: try subject.safePosition()))
    for (first, last) in [(0, 99), (0, 0), (10, 11), (14, 15), (29, 60), (99, 99)] {
        let span = PositionSpan(after: all[first].position, through: all[last].position)
        let expected = Array(all[(first + 1)..<max(last + 1, first + 1)])
        #expect(try subject.events(in: span) == expected, "events \(first) to \(last)")
        let counts = try subject.ledger.bucketCounts(in: span)
        #expect(counts.reduce(0) { $0 + $1.events } == expected.count)
    }
    let backwards = PositionSpan(after: all[50].position, through: all[20].position)
    #expect(try subject.events(in: backwards).isEmpty)
}

private func checkBatchBoundaries(_ subject: LedgerSubject) throws {
    // More events than any batch holds, all in one bucket, then one event that is larger than one.
    let count = 10_000
    try subject.append(atSeconds: (0..<count).map { Double($0) / 1_000 })
    let large = String(repeating: "x", count: 3 << 20)
    try subject.append([
        NewEvent(
            time: Timestamp("2026-01-01T00:01:00Z"),
            stream: "large",
            type: "Large",
            data: #"{"text":"\#(large)"}"#
        )
    ])
    let seen = try subject.events(in: PositionSpan(through: try subject.safePosition()))
    #expect(seen.count == count + 1)
    #expect(Set(seen.map(\.id)).count == count + 1)
    #expect(seen.last?.payload.utf8.count == large.utf8.count + 11)
    let indexes = seen.dropLast().map(\.payload)
    #expect(indexes == (0..<count).map { #"{"index":\#($0)}"# })
}

private func checkCounts(_ subject: LedgerSubject) throws {
    try subject.append(atSeconds: (0..<200).map { Double($0 * $0 % 331) })
    let span = PositionSpan(through: try subject.safePosition())
    let seen = try subject.events(in: span)
    let counts = try subject.ledger.bucketCounts(in: span)
    #expect(counts.map(\.bucket) == counts.map(\.bucket).sorted(), "buckets are not in order")
    #expect(Set(counts.map(\.bucket)).count == counts.count, "a bucket comes twice")
    #expect(
        Dictionary(uniqueKeysWithValues: counts.map { ($0.bucket, $0.events) })
            == Dictionary(grouping: seen, by: \.bucket).mapValues(\.count)
    )
    let types = try subject.ledger.typeCounts(in: span)
    #expect(types.map(\.events) == types.map(\.events).sorted(by: >))
    #expect(
        Dictionary(uniqueKeysWithValues: types.map { ($0.type, $0.events) })
            == Dictionary(grouping: seen, by: \.type).mapValues(\.count)
    )
}

private func checkLaterEventsAreOutside(_ subject: LedgerSubject) throws {
    try subject.append(atSeconds: [1, 2, 3])
    let first = PositionSpan(through: try subject.safePosition())
    let before = try subject.events(in: first)
    try subject.append([NewEvent(stream: "later", type: "Later", data: "{}")])
    try subject.append([NewEvent(stream: "later", type: "Latest", data: "{}")])
    #expect(try subject.events(in: first) == before, "an appended event is in an earlier span")
    let rest = PositionSpan(after: first.through, through: try subject.safePosition())
    #expect(try subject.events(in: rest).map(\.type) == ["Later", "Latest"])
}

private func checkContent(_ subject: LedgerSubject) throws {
    let payload = #"{ "text" : "Zoë \"x\" \ud83d\ude00", "n":1.50, "n":[ ] }"#
    try subject.append([
        NewEvent(
            time: Timestamp("1969-12-31T23:59:59.999Z"),
            stream: "größe-渡辺",
            type: "Ünïcode",
            data: payload
        )
    ])
    let seen = try subject.events(in: PositionSpan(through: try subject.safePosition()))
    #expect(seen.map(\.payload) == [payload], "the payload is not the text that was appended")
    #expect(seen.map(\.stream) == ["größe-渡辺"])
    #expect(seen.map(\.type) == ["Ünïcode"])
    #expect(seen.map(\.time.milliseconds) == [-1])
    #expect(seen.map(\.bucket.start) == [-15_000])
}
