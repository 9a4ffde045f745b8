package import Ledgers
internal import ProjectionKit

/// Puts a few literal events into a new SQLite ledger.
///
/// ```swift
/// var events = LedgerBuilder()
/// events.add("OrderPlaced", to: "order-1", at: "2026-03-01T09:00:00.000Z", #"{"orderId":1}"#)
/// let ledger = try events.write(to: "\(folder)/orders.ledger")
/// ```
package struct LedgerBuilder {
    /// The events so far.
    package private(set) var events: [NewEvent] = []

    /// A builder with no events.
    package init() {}

    /// Adds an event.
    ///
    /// - Parameters:
    ///   - type: The event's type.
    ///   - stream: The stream.
    ///   - time: RFC 3339.
    ///   - data: A JSON object.
    ///   - id: Nil for an event without one.
    package mutating func add(
        _ type: String,
        to stream: String,
        at time: String,
        _ data: String = "{}",
        id: String? = nil
    ) {
        guard let timestamp = Timestamp(time) else {
            preconditionFailure("'\(time)' is not an RFC 3339 time")
        }
        events.append(NewEvent(id: id, time: timestamp, stream: stream, type: type, data: data))
    }

    /// Makes a ledger of the events.
    ///
    /// - Parameters:
    ///   - path: Where; there must be nothing.
    ///   - bucketWidth: Milliseconds.
    /// - Returns: The ledger.
    /// - Throws: ``LedgerError``.
    @discardableResult
    package func write(to path: String, bucketWidth: Int64 = 15_000) throws -> SQLiteLedger {
        let ledger = try SQLiteLedger.create(path: path, bucketWidth: bucketWidth)
        try LedgerWriter.withWriter(path: path) { _ = try $0.append(events) }
        return ledger
    }
}
