public import FoundationEssentials
public import ProjectionKit

/// What has to be packed for an order, and whether it has left.
public struct OrderFulfilment: TableRow, Equatable {
    /// The order.
    public let orderID: UUID
    /// When it was placed.
    public var placedAt: Timestamp
    /// Lines that were added and not removed again.
    public var lines: Int32 = 0
    /// Sum of their quantities.
    public var pieces: Int64 = 0
    /// When it was shipped.
    public var shippedAt: Timestamp?
    /// Who carries it; nil until it is shipped.
    public var carrier: String?
    /// When it was cancelled.
    public var cancelledAt: Timestamp?

    /// The order.
    public var key: UUID { orderID }

    /// `fulfilment`.
    public static let table = TableDefinition<OrderFulfilment>("fulfilment", key: "order_id") {
        Column("order_id", \.orderID)
        Column("placed_at", \.placedAt)
        Column("lines", \.lines)
        Column("pieces", \.pieces)
        Column("shipped_at", \.shippedAt)
        Column("carrier", \.carrier)
        Column("cancelled_at", \.cancelledAt)
    }
}

/// A line of an order that has not been removed again: its removal does not tell how many pieces it
/// had.
struct PackedLine: TableRow {
    struct Key: Hashable, Sendable {
        let orderID: UUID
        let line: Int32
    }

    let key: Key
    let pieces: Int32

    static let table = TableDefinition<PackedLine>("packed_line", key: "order_id", "line") {
        Column("order_id", \.key.orderID)
        Column("line", \.key.line)
        Column("pieces", \.pieces)
    }
}
