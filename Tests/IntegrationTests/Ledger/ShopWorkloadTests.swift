import Foundation
import ProjectionKit
import Testing

@testable import Ledgers

@Suite("Shop workload")
struct ShopWorkloadTests {
    private func generate(_ counts: [Int], seed: UInt64) throws -> [String] {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            for count in counts {
                let stored = try LedgerWriter.withWriter(path: path) {
                    try ShopWorkload(events: count, seed: seed).write(to: $0)
                }
                #expect(stored == count)
            }
            #expect(try LedgerVerify.run(path: path).isSound)
            return try contents(of: path)
        }
    }

    @Test("the same numbers make the same events, byte for byte; another seed makes others")
    func deterministic() throws {
        let first = try generate([21_000], seed: 7)
        #expect(try generate([21_000], seed: 7) == first)
        #expect(try generate([21_000], seed: 8) != first)
        #expect(try generate([1_000], seed: 7) == Array(first.prefix(1_000)))
    }

    @Test("in a ledger that has events it adds new ones behind them, deterministically as well")
    func continues() throws {
        let both = try generate([20_000, 5_000], seed: 7)
        #expect(both.count == 25_000)
        #expect(Array(both.prefix(20_000)) == (try generate([20_000], seed: 7)))
        #expect(try generate([20_000, 5_000], seed: 7) == both)
        let placed = both.filter { $0.contains(" OrderPlaced ") }.map {
            $0.split(separator: " ")[2]
        }
        #expect(Set(placed).count == placed.count, "an order was placed twice")
        let registered = both.filter { $0.contains(" CustomerRegistered ") }
            .map { $0.split(separator: " ")[2] }
        #expect(Set(registered).count == registered.count, "a customer was registered twice")
    }

    @Test("every order and customer has a life that makes sense")
    func story() throws {
        var shop = ShopStory()
        for line in try generate([30_000, 10_000], seed: 3) {
            let parts = line.split(separator: " ", maxSplits: 4)
            try shop.follow(
                type: String(parts[3]),
                stream: String(parts[2]),
                data: Data(parts[4].utf8)
            )
        }
        #expect(shop.problems.isEmpty, "\(shop.problems.prefix(5))")
        let orders = Double(shop.orders.count)
        #expect((7.0...9.0).contains(40_000 / orders), "\(40_000 / orders) events an order")
        #expect((3.0...4.5).contains(orders / Double(shop.customers.count)))
        let cancelled = Double(shop.cancelled) / orders
        #expect((0.04...0.08).contains(cancelled), "\(cancelled) are cancelled")
        let busiest = shop.customers.values.sorted(by: >).prefix(shop.customers.count / 10)
        #expect(Double(busiest.reduce(0, +)) > orders * 0.35, "customers are not skewed")
        #expect(shop.names.contains { $0.unicodeScalars.contains { !$0.isASCII } })
        #expect(shop.names.contains { $0.contains("\"") })
    }
}

/// Follows the events and notes what does not fit.
private struct ShopStory {
    struct Order {
        var customer: Int64
        var lines: [Int64: Int64] = [:]
        var isPaid = false
        var isOver = false
    }

    struct Fields: Decodable {
        var orderId: UUID?
        var customerId: Int64?
        var name: String?
        var country: String?
        var line: Int64?
        var sku: String?
        var quantity: Int64?
        var unitCents: Int64?
        var amountCents: Int64?
        var carrier: String?
        var reason: String?
    }

    var orders: [UUID: Order] = [:]
    var customers: [Int64: Int] = [:]
    var names: Set<String> = []
    var cancelled = 0
    var problems: [String] = []

    mutating func follow(type: String, stream: String, data: Data) throws {
        let fields = try JSONDecoder().decode(Fields.self, from: data)
        if type.hasPrefix("Customer") {
            followCustomer(type, stream, fields)
        } else {
            followOrder(type, stream, fields)
        }
    }

    private mutating func followCustomer(_ type: String, _ stream: String, _ fields: Fields) {
        guard let id = fields.customerId, stream == "customer-\(id)", fields.country?.count == 2
        else { return problems.append("\(type) of \(stream)") }
        if type == "CustomerRegistered" {
            names.insert(fields.name ?? "")
            if customers.updateValue(0, forKey: id) != nil { problems.append("\(id) again") }
        } else if customers[id] == nil {
            problems.append("\(id) moved before it was registered")
        }
    }

    private mutating func followOrder(_ type: String, _ stream: String, _ fields: Fields) {
        guard let id = fields.orderId, stream == "order-\(id.uuidString.lowercased())" else {
            return problems.append("\(type) of \(stream)")
        }
        if type == "OrderPlaced" {
            guard let customer = fields.customerId, customers[customer] != nil, orders[id] == nil
            else { return problems.append("\(id) is placed wrongly") }
            customers[customer, default: 0] += 1
            orders[id] = Order(customer: customer)
            return
        }
        guard var order = orders[id], !order.isOver else {
            return problems.append("\(type) of \(id), which is not open")
        }
        switch (type, fields.line) {
        case ("LineAdded", let line?):
            let cents = (fields.quantity ?? 0) * (fields.unitCents ?? 0)
            if order.lines.updateValue(cents, forKey: line) != nil || order.isPaid || cents <= 0 {
                problems.append("line \(line) of \(id)")
            }
        case ("LineRemoved", let line?):
            if order.lines.removeValue(forKey: line) == nil || order.lines.isEmpty {
                problems.append("removed line \(line) of \(id)")
            }
        case ("OrderPaid", nil):
            if order.isPaid || fields.amountCents != order.lines.values.reduce(0, +) {
                problems.append("amount of \(id)")
            }
            order.isPaid = true
        case ("OrderShipped", nil):
            if !order.isPaid || fields.carrier == nil { problems.append("shipping of \(id)") }
            order.isOver = true
        case ("OrderCancelled", nil):
            if order.isPaid || fields.reason == nil { problems.append("cancelling of \(id)") }
            order.isOver = true
            cancelled += 1
        default: problems.append("\(type) of \(id)")
        }
        orders[id] = order
    }
}
