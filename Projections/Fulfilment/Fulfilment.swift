internal import FoundationEssentials
public import ProjectionKit

extension EventType {
    static let orderPlaced = EventType("OrderPlaced")
    static let lineAdded = EventType("LineAdded")
    static let lineRemoved = EventType("LineRemoved")
    static let orderShipped = EventType("OrderShipped")
    static let orderCancelled = EventType("OrderCancelled")
}

/// The read model of a shop's packers: what has to leave, and what has left.
///
/// An order's events are all in one stream, and no other stream has any of them, so the stream is the
/// partition key.
public struct Fulfilment: PartitionedProjection {
    /// `fulfilment`.
    public static let name = "fulfilment"
    /// `Projections/Fulfilment/schema.sql`.
    public static let schema: String? = String(
        decoding: PackageResources.schema_sql,
        as: UTF8.self
    )
    /// `Projections/Fulfilment/checks.sql`.
    public static let checks: String? = String(
        decoding: PackageResources.checks_sql,
        as: UTF8.self
    )

    /// One row for each order.
    public var orders = Table<OrderFulfilment>()

    private var lines = WorkingTable<PackedLine>()

    /// A shop without orders.
    public init() {}

    /// The event's stream.
    public static func partitionKey(of event: borrowing Event) -> PartitionKey {
        PartitionKey(streamOf: event)
    }

    /// Applies one event of an order; other types change nothing.
    public mutating func reduce(_ event: borrowing Event) throws {
        switch event.type {
        case .orderPlaced:
            let order = OrderFulfilment(
                orderID: try event.payload.uuid("orderId"),
                placedAt: event.time
            )
            guard orders.insert(order) else { throw EventError("the order was placed before") }
        case .lineAdded: try addLine(event)
        case .lineRemoved: try removeLine(event)
        case .orderShipped:
            let carrier = try event.payload.string("carrier")
            try change(event) { $0.ship(with: carrier, at: $1) }
        case .orderCancelled: try change(event) { $0.cancelledAt = $1 }
        default: break
        }
    }

    private mutating func addLine(_ event: borrowing Event) throws {
        let pieces = try event.payload.int32("quantity")
        guard pieces > 0 else { throw EventError("quantity is not 1 or more") }
        let line = PackedLine(key: try event.payload.lineKey(), pieces: pieces)
        guard lines.insert(line) else { throw EventError("the order has that line already") }
        try change(event) { order, _ in
            order.lines += 1
            order.pieces += Int64(pieces)
        }
    }

    private mutating func removeLine(_ event: borrowing Event) throws {
        guard let line = lines.remove(try event.payload.lineKey()) else {
            throw EventError("the order has no such line")
        }
        try change(event) { order, _ in
            order.lines -= 1
            order.pieces -= Int64(line.pieces)
        }
    }

    private mutating func change(
        _ event: borrowing Event,
        _ body: (inout OrderFulfilment, Timestamp) -> Void
    ) throws {
        let orderID = try event.payload.uuid("orderId")
        let time = event.time
        guard orders.update(orderID, { body(&$0, time) }) != nil else {
            throw EventError("the order was never placed")
        }
    }
}

extension OrderFulfilment {
    fileprivate mutating func ship(with carrier: String, at time: Timestamp) {
        self.carrier = carrier
        shippedAt = time
    }
}

extension Payload {
    fileprivate func lineKey() throws -> PackedLine.Key {
        PackedLine.Key(orderID: try uuid("orderId"), line: try int32("line"))
    }
}
