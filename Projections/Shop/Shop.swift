internal import FoundationEssentials
public import ProjectionKit

extension EventType {
    static let customerRegistered = EventType("CustomerRegistered")
    static let customerMoved = EventType("CustomerMoved")
    static let orderPlaced = EventType("OrderPlaced")
    static let lineAdded = EventType("LineAdded")
    static let lineRemoved = EventType("LineRemoved")
    static let orderPaid = EventType("OrderPaid")
    static let orderShipped = EventType("OrderShipped")
    static let orderCancelled = EventType("OrderCancelled")
}

/// The read model of a shop: its orders, their lines, and what each customer ordered and paid.
///
/// An event about an order that was never placed is refused, because every number derived from it
/// would be wrong. A customer may order before the registration arrives: the totals are kept under
/// the customer's number until then.
public struct Shop: Projection {
    /// `shop`.
    public static let name = "shop"
    /// `Projections/Shop/schema.sql`.
    public static let schema: String? = String(
        decoding: PackageResources.schema_sql,
        as: UTF8.self
    )
    /// `Projections/Shop/checks.sql`.
    public static let checks: String? = String(
        decoding: PackageResources.checks_sql,
        as: UTF8.self
    )

    /// One row for each order.
    public var summaries = Table<OrderSummary>()
    /// One row for each line that was not removed.
    public var lines = Table<OrderLine>()
    /// One row for each customer.
    public var totals = Table<CustomerTotals>()

    /// A shop without orders.
    public init() {}

    /// Applies one event of the shop; other types change nothing.
    public mutating func reduce(_ event: borrowing Event) throws {
        switch event.type {
        case .lineAdded: try addLine(event)
        case .orderPlaced: try place(event)
        case .orderPaid: try pay(event)
        case .orderShipped: try ship(event)
        case .lineRemoved: try removeLine(event)
        case .orderCancelled: try cancel(event)
        case .customerRegistered: try register(event)
        case .customerMoved: try move(event)
        default: break
        }
    }

    private mutating func register(_ event: borrowing Event) throws {
        let customerID = try event.payload.int64("customerId")
        let name = try event.payload.string("name")
        let country = try event.payload.string("country")
        totals[customerID, default: CustomerTotals(customerID: customerID)]
            .register(name, country)
    }

    private mutating func move(_ event: borrowing Event) throws {
        let customerID = try event.payload.int64("customerId")
        let country = try event.payload.string("country")
        totals[customerID, default: CustomerTotals(customerID: customerID)].country = country
    }

    private mutating func place(_ event: borrowing Event) throws {
        let orderID = try event.payload.uuid("orderId")
        let customerID = try event.payload.int64("customerId")
        let order = OrderSummary(orderID: orderID, customerID: customerID, placedAt: event.time)
        guard summaries.insert(order) else { throw EventError("the order was placed before") }
        totals[customerID, default: CustomerTotals(customerID: customerID)].countOrder(
            placedAt: event.time
        )
    }

    private mutating func addLine(_ event: borrowing Event) throws {
        let key = try event.payload.lineKey()
        let line = OrderLine(
            key: key,
            sku: try event.payload.string("sku"),
            quantity: try event.payload.quantity("quantity"),
            unitCents: try event.payload.cents("unitCents"),
            addedAt: event.time
        )
        guard lines.insert(line) else { throw EventError("the order has that line already") }
        guard summaries.update(key.orderID, { $0.add(line) }) != nil else {
            throw EventError.neverPlaced
        }
    }

    private mutating func removeLine(_ event: borrowing Event) throws {
        let key = try event.payload.lineKey()
        guard let line = lines.remove(key) else { throw EventError("the order has no such line") }
        summaries.update(key.orderID) { $0.remove(line) }
    }

    private mutating func pay(_ event: borrowing Event) throws {
        let orderID = try event.payload.uuid("orderId")
        let amount = try event.payload.cents("amountCents")
        let time = event.time
        guard let customerID = summaries.update(orderID, { $0.pay(amount, at: time) }) else {
            throw EventError.neverPlaced
        }
        totals.update(customerID) { $0.paidCents += amount }
    }

    private mutating func ship(_ event: borrowing Event) throws {
        let orderID = try event.payload.uuid("orderId")
        let carrier = try event.payload.string("carrier")
        let time = event.time
        guard summaries.update(orderID, { $0.ship(with: carrier, at: time) }) != nil else {
            throw EventError.neverPlaced
        }
    }

    private mutating func cancel(_ event: borrowing Event) throws {
        let orderID = try event.payload.uuid("orderId")
        let time = event.time
        guard let (customerID, isNew) = summaries.update(orderID, { $0.cancel(at: time) }) else {
            throw EventError.neverPlaced
        }
        guard isNew else { throw EventError("the order was cancelled before") }
        totals.update(customerID) { $0.cancelledOrders += 1 }
    }
}

extension OrderSummary {
    fileprivate mutating func add(_ line: OrderLine) {
        lineCount += 1
        totalCents += line.totalCents
    }

    fileprivate mutating func remove(_ line: OrderLine) {
        lineCount -= 1
        totalCents -= line.totalCents
    }

    /// Notes a payment and gives the customer who made it.
    fileprivate mutating func pay(_ amount: Int64, at time: Timestamp) -> Int64 {
        paidCents += amount
        paidAt = time
        return customerID
    }

    /// Notes a cancellation, and gives the customer and whether it is the first.
    fileprivate mutating func cancel(at time: Timestamp) -> (customerID: Int64, isNew: Bool) {
        let isNew = cancelledAt == nil
        if isNew { cancelledAt = time }
        return (customerID, isNew)
    }

    fileprivate mutating func ship(with carrier: String, at time: Timestamp) {
        self.carrier = carrier
        shippedAt = time
    }
}

extension CustomerTotals {
    fileprivate mutating func register(_ name: String, _ country: String) {
        self.name = name
        self.country = country
    }

    fileprivate mutating func countOrder(placedAt time: Timestamp) {
        orders += 1
        lastOrderAt = max(lastOrderAt ?? time, time)
    }
}

// The limits keep every sum within 64 bits: a reducer refuses an event, and never traps on one.
extension Payload {
    fileprivate func lineKey() throws -> OrderLine.Key {
        OrderLine.Key(orderID: try uuid("orderId"), line: try int32("line"))
    }

    fileprivate func cents(_ key: StaticString) throws -> Int64 {
        let amount = try int64(key)
        guard (0...100_000_000_000).contains(amount) else {
            throw EventError("\(key) is not between 0 and 100,000,000,000")
        }
        return amount
    }

    fileprivate func quantity(_ key: StaticString) throws -> Int32 {
        let quantity = try int32(key)
        guard (1...100_000).contains(quantity) else {
            throw EventError("\(key) is not between 1 and 100,000")
        }
        return quantity
    }
}

extension EventError {
    fileprivate static let neverPlaced = EventError("the order was never placed")
}
