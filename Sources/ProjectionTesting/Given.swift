public import ProjectionKit

/// Folds events into an empty projection, as a rebuild would.
///
/// ```swift
/// let shop = try given(
///     Shop.self,
///     GivenEvent("OrderPlaced", data: #"{"orderId": "7d44…", "customerId": 7}"#),
///     GivenEvent("OrderPaid", data: #"{"orderId": "7d44…", "amountCents": 100}"#))
/// #expect(shop.summaries[orderID]?.paidCents == 100)
/// ```
///
/// - Parameters:
///   - projection: The projection's type.
///   - events: What happened, in the order in which the reducer sees it.
/// - Returns: The projection after the last event, to look into its tables.
/// - Throws: ``RejectedEvent`` for the first event that the reducer refuses, and
///   ``UnfitGivenEvent`` for one that no ledger would hold.
public func given<P: Projection>(_ projection: P.Type, _ events: GivenEvent...) throws -> P {
    try given(projection, events)
}

/// Folds events into an empty projection, as a rebuild would.
///
/// - Parameters:
///   - projection: The projection's type.
///   - events: What happened, in the order in which the reducer sees it.
/// - Returns: The projection after the last event, to look into its tables.
/// - Throws: ``RejectedEvent`` for the first event that the reducer refuses, and
///   ``UnfitGivenEvent`` for one that no ledger would hold.
public func given<P: Projection>(_ projection: P.Type, _ events: [GivenEvent]) throws -> P {
    let batch = EventBatch(capacity: max(events.count, 1), bytes: 1 << 12)
    var time = Timestamp(milliseconds: 1_767_225_599_000)
    for (index, event) in events.enumerated() {
        time = try event.time(after: time, number: index + 1)
        try event.append(to: batch, at: time, number: index + 1)
    }
    var folded = P()
    let declarations = TableDeclarations(of: folded)
    do {
        try folded.apply(batch)
    } catch let rejection as EventRejection {
        throw RejectedEvent(rejection)
    }
    // A rebuild would trap before it loads.
    _ = declarations.tables(of: folded)
    return folded
}

/// An event that the reducer refused: the facts that a rebuild prints when it stops there.
public struct RejectedEvent: Error, Equatable, Sendable, CustomStringConvertible {
    /// The event's place in the list, from 1.
    public let number: Int
    /// The event's id; nil when it has none.
    public let eventID: String?
    /// The bucket it is filed in.
    public let bucket: Bucket
    /// Its stream.
    public let stream: String
    /// Its type.
    public let type: String
    /// The JSON path that does not fit, such as `$.amountCents`; nil when the reducer refused the
    /// event for another reason.
    public let path: String?
    /// What is wrong, as a clause.
    public let reason: String
    /// All of it as a rebuild prints it.
    public let description: String

    init(_ rejection: EventRejection) {
        number = Int(rejection.event.position.words.0)
        eventID = rejection.event.eventID
        bucket = rejection.event.bucket
        stream = rejection.event.stream
        type = rejection.event.type
        path = rejection.path
        reason = rejection.reason
        description = rejection.description
    }
}

/// An event of a test that no ledger would hold.
public struct UnfitGivenEvent: Error, Equatable, Sendable, CustomStringConvertible {
    /// The event's place in the list, from 1.
    public let number: Int
    /// What is wrong with it, as a clause.
    public let reason: String

    /// `event 2: the time is not RFC 3339`.
    public var description: String { "event \(number): \(reason)" }
}

extension GivenEvent {
    fileprivate func time(after previous: Timestamp, number: Int) throws -> Timestamp {
        guard let text = time else {
            return Timestamp(milliseconds: previous.milliseconds + 1_000)
        }
        guard let time = Timestamp(text) else {
            throw UnfitGivenEvent(number: number, reason: "its time is not RFC 3339")
        }
        return time
    }

    fileprivate func append(to batch: EventBatch, at time: Timestamp, number: Int) throws {
        try check(number: number)
        let bucket = Bucket(containing: time.milliseconds, width: batch.bucketWidth)
        batch.append(
            LedgerEvent(
                position: Position(UInt64(number)),
                time: time,
                bucketStart: bucket.start,
                type: type,
                stream: stream,
                payload: data,
                id: id,
                metadata: metadata
            )
        )
    }

    private func check(number: Int) throws {
        try check(data, "data", number: number)
        if let metadata { try check(metadata, "metadata", number: number) }
    }

    private func check(_ data: String, _ name: String, number: Int) throws {
        var padded = Array(data.utf8)
        let length = padded.count
        padded += Array(repeating: 0, count: PayloadParser.padding)
        let complaint = padded.withUnsafeBytes {
            PayloadParser().complaint(about: UnsafeRawBufferPointer(rebasing: $0[..<length]))
        }
        if let complaint {
            throw UnfitGivenEvent(number: number, reason: "its \(name) is not JSON: \(complaint)")
        }
        guard data.utf8.first(where: { !" \t\r\n".utf8.contains($0) }) == UInt8(ascii: "{") else {
            throw UnfitGivenEvent(number: number, reason: "its \(name) is not a JSON object")
        }
    }
}
