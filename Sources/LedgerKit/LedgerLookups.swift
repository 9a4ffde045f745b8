package import ProjectionKit

/// A ledger that numbers its events 1, 2, 3 and so on, without gaps, in ledger order.
package protocol NumberedLedger: Ledger {
    /// The number of the event of a position.
    func number(of position: Position) -> Int64

    /// The span of the events whose numbers are in a range, which may go beyond the ledger's ends.
    func span(ofNumbers numbers: ClosedRange<Int64>) -> PositionSpan
}

/// A ledger that finds an event by its id without reading the others.
package protocol IDLookup: Ledger {
    /// The span that has the event of an id and no other; nil when there is none.
    func span(ofID id: String) throws -> PositionSpan?
}
