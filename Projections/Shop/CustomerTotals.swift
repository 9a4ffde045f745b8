public import ProjectionKit

/// What a customer has ordered and paid so far.
public struct CustomerTotals: TableRow, Equatable {
    /// The customer.
    public let customerID: Int64
    /// The customer's name; nil while the ledger holds no registration.
    public var name: String?
    /// Where the customer lives now, as ISO 3166 alpha-2; nil while that is unknown.
    public var country: String?
    /// Orders placed, the cancelled ones included.
    public var orders: Int64 = 0
    /// Orders cancelled.
    public var cancelledOrders: Int64 = 0
    /// Sum of all payments, in cents.
    public var paidCents: Int64 = 0
    /// When the newest order was placed; nil before the first.
    public var lastOrderAt: Timestamp?

    /// What identifies the row.
    public var key: Int64 { customerID }

    init(customerID: Int64) {
        self.customerID = customerID
    }

    /// `customer_totals`.
    public static let table = TableDefinition<CustomerTotals>(
        "customer_totals",
        key: "customer_id"
    ) {
        Column("customer_id", \.customerID)
        Column("name", \.name)
        Column("country", \.country)
        Column("orders", \.orders)
        Column("cancelled_orders", \.cancelledOrders)
        Column("paid_cents", \.paidCents)
        Column("last_order_at", \.lastOrderAt)
    }
}
