package import LedgerKit
package import Ledgers
package import ProjectionKit

/// A ledger in memory whose positions are numbers, as those of frameworks with a global sequence
/// are, or pairs of a transaction's number and one.
package struct NumberedLedger: Ledger {
    /// What messages call it.
    package let place = "a numbered ledger"
    /// Milliseconds.
    package let bucketWidth: Int64 = 15_000
    /// What is given once does not change.
    package let arrival = Arrival.inOrder

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

    package func identity() -> String { "numbered" }

    package func holds(_ position: Position) -> Bool {
        events.indices.contains { self.position(of: $0 + 1) == position }
    }

    package func lastPosition(before time: Timestamp) throws -> Position? { try safePosition() }

    package func watch() throws -> any LedgerWatch { ConstantWatch() }

    package func buckets(in span: PositionSpan) throws -> [BucketCount] {
        let numbers = numbers(in: span)
        guard let last = numbers.last else { return [] }
        return [
            BucketCount(
                bucket: Bucket(start: 0, width: bucketWidth),
                events: numbers.count,
                last: position(of: last)
            )
        ]
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
        batch.append(
            LedgerEvent(
                position: ledger.position(of: number),
                time: Timestamp(milliseconds: Int64(number)),
                bucketStart: 0,
                type: event.type,
                stream: event.stream,
                payload: event.data,
                id: "\(number)"
            )
        )
        return true
    }
}
