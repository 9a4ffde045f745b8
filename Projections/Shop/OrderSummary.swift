public import FoundationEssentials
public import ProjectionKit

/// How far an order has come.
public enum OrderStatus: String, ColumnEnum {
    case placed
    case paid
    case shipped
    case cancelled
}

/// An order at a glance.
public struct OrderSummary: TableRow, Equatable {
    /// The order.
    public let orderID: UUID
    /// Who placed it.
    public let customerID: Int64
    /// When it was placed.
    public let placedAt: Timestamp
    /// Number of its lines.
    public var lineCount: Int32 = 0
    /// Sum of its lines, in cents.
    public var totalCents: Int64 = 0
    /// Sum of its payments, in cents.
    public var paidCents: Int64 = 0
    /// When it was paid last; nil while it is unpaid.
    public var paidAt: Timestamp?
    /// When it was shipped; nil until then.
    public var shippedAt: Timestamp?
    /// When it was cancelled; nil unless it was.
    public var cancelledAt: Timestamp?
    /// Who carries it; nil until it is shipped.
    public var carrier: String?

    /// What identifies the row.
    public var key: UUID { orderID }

    /// How far the order has come: it follows from the times, so that the two cannot disagree.
    public var status: OrderStatus {
        if cancelledAt != nil { return .cancelled }
        if shippedAt != nil { return .shipped }
        return paidAt == nil ? .placed : .paid
    }

    /// `order_summary`.
    public static let table = TableDefinition<OrderSummary>("order_summary", key: "order_id") {
        Column("order_id", \.orderID)
        Column("customer_id", \.customerID)
        Column("status", \.status)
        Column("line_count", \.lineCount)
        Column("total_cents", \.totalCents)
        Column("paid_cents", \.paidCents)
        Column("placed_at", \.placedAt)
        Column("paid_at", \.paidAt)
        Column("shipped_at", \.shippedAt)
        Column("cancelled_at", \.cancelledAt)
        Column("carrier", \.carrier)
    }
}
