import FoundationEssentials
import ProjectionKit
import ProjectionTesting
import ShopProjection
import TestSupport
import Testing

@Suite("Shop")
struct ShopTests {
    private let orderID: UUID

    init() throws {
        orderID = try #require(UUID(uuidString: order))
    }

    @Test("an order is placed, filled, paid and shipped")
    func wholeOrder() throws {
        let shop = try given(
            Shop.self,
            registered,
            placed,
            lineAdded(1, quantity: 2, cents: 450),
            lineAdded(2, quantity: 1, cents: 100),
            lineAdded(3, quantity: 5, cents: 7),
            lineRemoved(2),
            GivenEvent("OrderPaid", data: #"{"orderId":"\#(order)","amountCents":935}"#),
            GivenEvent("OrderShipped", data: #"{"orderId":"\#(order)","carrier":"PostNL"}"#)
        )

        let summary = try #require(shop.summaries[orderID])
        #expect(summary.status == .shipped)
        #expect(summary.customerID == 7)
        #expect(summary.lineCount == 2)
        #expect(summary.totalCents == 935)
        #expect(summary.paidCents == 935)
        #expect(summary.placedAt.description == "2026-01-01T00:00:01.000Z")
        #expect(summary.paidAt?.description == "2026-01-01T00:00:06.000Z")
        #expect(summary.shippedAt?.description == "2026-01-01T00:00:07.000Z")
        #expect(summary.cancelledAt == nil)
        #expect(summary.carrier == "PostNL")

        #expect(shop.lines.rows.map(\.key.line) == [1, 3])
        let line = try #require(shop.lines[OrderLine.Key(orderID: orderID, line: 1)])
        #expect(line.sku == "sku-1")
        #expect(line.quantity == 2)
        #expect(line.unitCents == 450)
        #expect(line.addedAt.description == "2026-01-01T00:00:02.000Z")

        let totals = try #require(shop.totals[7])
        #expect(totals.name == "Zoë")
        #expect(totals.country == "NL")
        #expect(totals.orders == 1)
        #expect(totals.cancelledOrders == 0)
        #expect(totals.paidCents == 935)
        #expect(totals.lastOrderAt == summary.placedAt)
    }

    @Test("an order that was paid in parts is paid in full")
    func partialPayments() throws {
        let shop = try given(
            Shop.self,
            placed,
            GivenEvent("OrderPaid", data: #"{"orderId":"\#(order)","amountCents":60}"#),
            GivenEvent("OrderPaid", data: #"{"orderId":"\#(order)","amountCents":40}"#)
        )
        #expect(shop.summaries[orderID]?.paidCents == 100)
        #expect(shop.summaries[orderID]?.status == .paid)
        #expect(shop.totals[7]?.paidCents == 100)
    }

    @Test("a cancelled order stays cancelled, whatever came before")
    func cancelled() throws {
        let shop = try given(
            Shop.self,
            placed,
            GivenEvent("OrderPaid", data: #"{"orderId":"\#(order)","amountCents":60}"#),
            GivenEvent("OrderCancelled", data: #"{"orderId":"\#(order)","reason":"late"}"#)
        )
        #expect(shop.summaries[orderID]?.status == .cancelled)
        #expect(shop.totals[7]?.cancelledOrders == 1)
        #expect(shop.totals[7]?.orders == 1)
    }

    @Test("a customer who orders before registering keeps the totals")
    func lateRegistration() throws {
        let before = try given(Shop.self, placed)
        #expect(before.totals[7]?.name == nil)
        #expect(before.totals[7]?.country == nil)

        let after = try given(
            Shop.self,
            placed,
            registered,
            GivenEvent("CustomerMoved", data: #"{"customerId":7,"country":"BE"}"#)
        )
        #expect(after.totals[7]?.name == "Zoë")
        #expect(after.totals[7]?.country == "BE")
        #expect(after.totals[7]?.orders == 1)
    }

    @Test("the newest order counts, also when an older one arrives after it")
    func lastOrder() throws {
        let other = "00000000-0000-4000-8000-000000000002"
        let shop = try given(
            Shop.self,
            GivenEvent(
                "OrderPlaced",
                at: "2026-01-01T12:00:00Z",
                data: #"{"orderId":"\#(order)","customerId":7}"#
            ),
            GivenEvent(
                "OrderPlaced",
                at: "2026-01-01T11:59:59Z",
                data: #"{"orderId":"\#(other)","customerId":7}"#
            )
        )
        #expect(shop.totals[7]?.lastOrderAt == Timestamp("2026-01-01T12:00:00Z"))
        #expect(shop.totals[7]?.orders == 2)
    }

    @Test("an event of another type changes nothing")
    func otherTypes() throws {
        let shop = try given(Shop.self, GivenEvent("StockCounted"))
        #expect(shop.summaries.isEmpty && shop.lines.isEmpty && shop.totals.isEmpty)
    }

    @Test(
        "an event about an order that was never placed is refused",
        arguments: [
            ("LineAdded", #","line":1,"sku":"A","quantity":1,"unitCents":1"#),
            ("OrderPaid", #","amountCents":1"#), ("OrderShipped", #","carrier":"DHL""#),
            ("OrderCancelled", #","reason":"late""#),
        ]
    )
    func neverPlaced(type: String, rest: String) throws {
        let rejected = try #require(throws: RejectedEvent.self) {
            try given(
                Shop.self,
                GivenEvent("StockCounted"),
                GivenEvent(type, stream: "order-1", data: #"{"orderId":"\#(order)"\#(rest)}"#)
            )
        }
        #expect(rejected.number == 2)
        #expect(rejected.type == type)
        #expect(rejected.stream == "order-1")
        #expect(rejected.path == nil)
        #expect(rejected.reason == "the order was never placed")
    }

    @Test("what cannot happen twice is refused the second time")
    func twice() {
        let cancelled = GivenEvent(
            "OrderCancelled",
            data: #"{"orderId":"\#(order)","reason":"late"}"#
        )
        #expect(throws: RejectedEvent.self) { try given(Shop.self, placed, placed) }
        #expect(throws: RejectedEvent.self) {
            try given(Shop.self, placed, cancelled, cancelled)
        }
        #expect(throws: RejectedEvent.self) {
            try given(
                Shop.self,
                placed,
                lineAdded(1, quantity: 1, cents: 1),
                lineAdded(1, quantity: 1, cents: 1)
            )
        }
        #expect(throws: RejectedEvent.self) {
            try given(
                Shop.self,
                placed,
                lineAdded(1, quantity: 1, cents: 1),
                lineRemoved(1),
                lineRemoved(1)
            )
        }
    }

    @Test("an amount that no sum could hold is refused, not added")
    func amounts() throws {
        for cents in [-1, 100_000_000_001, .max] as [Int64] {
            let rejected = try #require(throws: RejectedEvent.self) {
                try given(
                    Shop.self,
                    placed,
                    GivenEvent(
                        "OrderPaid",
                        data: #"{"orderId":"\#(order)","amountCents":\#(cents)}"#
                    )
                )
            }
            #expect(rejected.reason == "amountCents is not between 0 and 100,000,000,000")
        }
        #expect(throws: RejectedEvent.self) {
            try given(Shop.self, placed, lineAdded(1, quantity: 0, cents: 1))
        }
    }

    @Test("a misfit names the JSON path and not the value")
    func misfit() throws {
        let rejected = try #require(throws: RejectedEvent.self) {
            try given(
                Shop.self,
                placed,
                GivenEvent("OrderPaid", data: #"{"orderId":"\#(order)","amountCents":"4711"}"#)
            )
        }
        #expect(rejected.path == "$.amountCents")
        #expect(rejected.reason == "is a text, not a whole number of 64 bits")
        #expect(!rejected.description.contains("4711"))
    }

    @Test("totals follow from the orders and lines, whatever happened", arguments: [61, 62, 63])
    func invariants(seed: UInt64) throws {
        print("shop: seed \(seed)")
        var random = SeededRandom(seed: seed)
        let shop = try given(Shop.self, ShopTests.randomEvents(using: &random))
        #expect(shop.summaries.count == 40)
        for summary in shop.summaries.rows {
            let lines = shop.lines.rows.filter { $0.key.orderID == summary.orderID }
            #expect(summary.lineCount == lines.count)
            #expect(summary.totalCents == lines.reduce(0) { $0 + $1.totalCents })
        }
        for totals in shop.totals.rows {
            let orders = shop.summaries.rows.filter { $0.customerID == totals.customerID }
            #expect(totals.orders == orders.count)
            #expect(totals.cancelledOrders == orders.count { $0.status == .cancelled })
            #expect(totals.paidCents == orders.reduce(0) { $0 + $1.paidCents })
            #expect(totals.lastOrderAt == orders.map(\.placedAt).max())
        }
    }

    private static func randomEvents(using random: inout SeededRandom) -> [GivenEvent] {
        var events: [GivenEvent] = []
        for number in 0..<40 {
            let id = "00000000-0000-4000-8000-0000000000\(number + 10)"
            let customer = Int.random(in: 1...9, using: &random)
            events.append(
                GivenEvent("OrderPlaced", data: #"{"orderId":"\#(id)","customerId":\#(customer)}"#)
            )
            for line in 1...Int.random(in: 1...6, using: &random) {
                let key = #""orderId":"\#(id)","line":\#(line)"#
                let quantity = Int.random(in: 1...9, using: &random)
                events.append(
                    GivenEvent(
                        "LineAdded",
                        data: #"{\#(key),"sku":"A","quantity":\#(quantity),"unitCents":125}"#
                    )
                )
                if Bool.random(using: &random) {
                    events.append(GivenEvent("LineRemoved", data: "{\(key)}"))
                }
            }
            if Bool.random(using: &random) {
                events.append(
                    GivenEvent("OrderPaid", data: #"{"orderId":"\#(id)","amountCents":125}"#)
                )
            }
            if Bool.random(using: &random) {
                events.append(
                    GivenEvent("OrderCancelled", data: #"{"orderId":"\#(id)","reason":"x"}"#)
                )
            }
        }
        return events
    }
}

private let order = "7d444840-9dc0-11d1-b245-5ffdce74fad2"

private let registered = GivenEvent(
    "CustomerRegistered",
    data: #"{"customerId":7,"name":"Zo\u00eb","country":"NL"}"#
)

private let placed = GivenEvent(
    "OrderPlaced",
    stream: "order-\(order)",
    data: #"{"orderId":"\#(order)","customerId":7}"#
)

private func lineAdded(_ line: Int, quantity: Int, cents: Int) -> GivenEvent {
    GivenEvent(
        "LineAdded",
        data: """
            {"orderId":"\(order)","line":\(line),"sku":"sku-\(line)","quantity":\(quantity),\
            "unitCents":\(cents)}
            """
    )
}

private func lineRemoved(_ line: Int) -> GivenEvent {
    GivenEvent("LineRemoved", data: #"{"orderId":"\#(order)","line":\#(line)}"#)
}
