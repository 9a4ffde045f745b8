public import FoundationEssentials
public import ProjectionKit

/// A line of an order that has not been removed again.
public struct OrderLine: TableRow, Equatable {
    /// What tells one line from the next.
    public struct Key: Hashable, Sendable {
        /// The order.
        public var orderID: UUID
        /// The line's number in that order.
        public var line: Int32

        /// Names a line.
        public init(orderID: UUID, line: Int32) {
            self.orderID = orderID
            self.line = line
        }
    }

    /// The order and the line's number in it.
    public let key: Key
    /// What was ordered.
    public var sku: String
    /// How many, 1 or more.
    public var quantity: Int32
    /// Price of one, in cents.
    public var unitCents: Int64
    /// When the line was added.
    public var addedAt: Timestamp

    /// Price of the line, in cents.
    public var totalCents: Int64 { Int64(quantity) * unitCents }

    /// `order_line`.
    public static let table = TableDefinition<OrderLine>("order_line", key: "order_id", "line") {
        Column("order_id", \.key.orderID)
        Column("line", \.key.line)
        Column("sku", \.sku)
        Column("quantity", \.quantity)
        Column("unit_cents", \.unitCents)
        Column("added_at", \.addedAt)
    }
}
