package import Ledgers
package import ProjectionKit

/// A ledger in memory whose positions are numbers, as those of frameworks with a global sequence
/// are, or pairs of a transaction's number and one.
package struct NumberedLedger: Ledger {
    /// What messages call it.
    package let place = "a numbered ledger"
    /// Milliseconds.
    package let bucketWidth: Int64 = 15_000

    private let events: [NewEvent]
    private let isPaired: Bool

    /// A ledger of the events, numbered from 1.
    ///
    /// - Parameters:
    ///   - events: The events, in their order.
    ///   - isPaired: Whether a transaction's number stands before each event's own.
    package init(_ events: [NewEvent], isPaired: Bool = false) {
        self.events = events
        self.isPaired = isPaired
    }

    /// Where the event of a number stands.
    package func position(of number: Int) -> Position {
        isPaired ? Position(700 + UInt64(number), UInt64(number)) : Position(UInt64(number))
    }

    package func safePosition() throws -> Position? {
        events.isEmpty ? nil : position(of: events.count)
    }

    package func lastPosition(before time: Int64) throws -> Position? { try safePosition() }

    package func bucket(of position: Position) -> Bucket { Bucket(start: 0, width: bucketWidth) }

    package func span(of bucket: Bucket) -> PositionSpan {
        PositionSpan(through: Position(.max, .max, .max))
    }

    package func watch() throws -> any LedgerWatch { ConstantWatch() }

    package func bucketCounts(in span: PositionSpan) throws -> [BucketCount] {
        let events = numbers(in: span).count
        return events == 0
            ? [] : [BucketCount(bucket: Bucket(start: 0, width: bucketWidth), events: events)]
    }

    package func typeCounts(in span: PositionSpan) throws -> [TypeCount] {
        Dictionary(grouping: numbers(in: span)) { events[$0 - 1].type }
            .map { TypeCount(type: $0.key, events: $0.value.count) }
            .sorted { $0.events > $1.events }
    }

    package func withReader<Result>(
        of span: PositionSpan,
        _ body: (any LedgerReader) throws -> Result
    ) throws -> Result {
        try body(NumberedReader(ledger: self, numbers: numbers(in: span)))
    }

    private func numbers(in span: PositionSpan) -> [Int] {
        events.indices.map { $0 + 1 }.filter { number in
            position(of: number) <= span.through
                && span.after.map { position(of: number) > $0 } != false
        }
    }

    fileprivate func event(_ number: Int) -> NewEvent { events[number - 1] }
}

/// What is given once does not change.
private struct ConstantWatch: LedgerWatch {
    func hasChanged() -> Bool { false }
}

private final class NumberedReader: LedgerReader {
    private let ledger: NumberedLedger
    private var numbers: ArraySlice<Int>

    init(ledger: NumberedLedger, numbers: [Int]) {
        self.ledger = ledger
        self.numbers = numbers[...]
    }

    func fill(_ batch: EventBatch) throws -> Bool {
        batch.removeAll()
        batch.bucketWidth = ledger.bucketWidth
        guard let number = numbers.popFirst() else { return false }
        let event = ledger.event(number)
        Array(event.stream.utf8).withUnsafeBytes { stream in
            Array(event.data.utf8).withUnsafeBytes { payload in
                batch.append(
                    id: EventID(high: 0, low: UInt64(number)),
                    position: ledger.position(of: number),
                    bucketStart: 0,
                    time: Int64(number),
                    type: EventType(event.type),
                    stream: stream,
                    payload: payload
                )
            }
        }
        return true
    }
}
