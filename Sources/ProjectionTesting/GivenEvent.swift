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
    /// Its id; nil for an event that was appended without one.
    public var id: String?
    /// Its payload, a JSON object.
    public var data: String
    /// What is said about it besides, a JSON object; nil for nothing.
    public var metadata: String?

    /// Writes down an event.
    ///
    /// - Parameters:
    ///   - type: Its type.
    ///   - stream: The stream it belongs to.
    ///   - time: When it happened, such as `2026-01-01T09:30:00Z`. Without one it is one second
    ///     after the event before it; the first is at 2026-01-01T00:00:00Z.
    ///   - id: Its id, if it has one.
    ///   - data: Its payload, a JSON object.
    ///   - metadata: Its metadata, a JSON object, if it has any.
    public init(
        _ type: String,
        stream: String = "stream-1",
        at time: String? = nil,
        id: String? = nil,
        data: String = "{}",
        metadata: String? = nil
    ) {
        self.type = type
        self.stream = stream
        self.time = time
        self.id = id
        self.data = data
        self.metadata = metadata
    }
}
