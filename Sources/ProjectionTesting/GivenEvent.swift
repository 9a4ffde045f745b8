public import ProjectionKit

/// An event as a test writes it.
///
/// ```swift
/// GivenEvent("OrderPaid", stream: "order-1", data: #"{"orderId": "…", "amountCents": 100}"#)
/// ```
public struct GivenEvent: Sendable {
    /// The event's type.
    public var type: String
    /// The stream it belongs to.
    public var stream: String
    /// When it happened, as RFC 3339; nil is one second after the event before it.
    public var time: String?
    /// Its id; nil makes one of its time and its place in the list.
    public var id: EventID?
    /// Its payload, a JSON object.
    public var data: String

    /// Writes down an event.
    ///
    /// - Parameters:
    ///   - type: Its type.
    ///   - stream: The stream it belongs to.
    ///   - time: When it happened, such as `2026-01-01T09:30:00Z`. Without one it is one second
    ///     after the event before it; the first is at 2026-01-01T00:00:00Z.
    ///   - id: Its id. Without one it gets a UUIDv7 of its time and its place in the list.
    ///   - data: Its payload, a JSON object.
    public init(
        _ type: String,
        stream: String = "stream-1",
        at time: String? = nil,
        id: EventID? = nil,
        data: String = "{}"
    ) {
        self.type = type
        self.stream = stream
        self.time = time
        self.id = id
        self.data = data
    }
}
