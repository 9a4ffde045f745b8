internal import ProjectionKit

/// The shop, one event after the other.
struct ShopSimulation {
    /// Orders in progress at a time, about: enough that the events of one lie far apart.
    private static let busy = 400..<1_200

    private var random: SplitMix64
    /// Milliseconds.
    private var time: Int64
    /// Of the last event.
    private var microseconds = Int64.min
    private var customers: ShopCustomers
    private var orders: [ShopOrder] = []
    private var text = ShopText()

    init(seed: UInt64, start: Int64, customers: ShopCustomers) {
        // Seeds that differ in one bit would start sequences that are shifts of one another.
        var mixer = SplitMix64(seed: seed)
        random = SplitMix64(seed: mixer.next())
        time = start
        self.customers = customers
    }

    /// Moves the clock on and adds the next event.
    mutating func appendEvent(to batch: NewEventBatch) {
        // 0 to 28 ms, so 14 on average: 71 events a second.
        time += Int64(random.below(29))
        writeEvent()
        microseconds = max(microseconds + 1, time * 1_000 + Int64(random.next() % 1_000))
        batch.append(
            id: nil,
            time: microseconds,
            stream: text.stream,
            type: text.type,
            data: text.data
        )
    }

    private mutating func writeEvent() {
        if random.oneIn(100), let customer = customers.any(&random) {
            return text.writeMoved(customer, to: ShopCatalogue.country(&random))
        }
        if wantsOrder() {
            guard let customer = customers.forOrder(&random) else {
                return text.writeRegistered(customers.register(), &random)
            }
            let order = ShopOrder(customer: customer, &random)
            orders.append(order)
            return text.writePlaced(order)
        }
        let index = random.below(orders.count)
        let isOver = orders[index].advance(&random, &text)
        if isOver {
            orders.swapAt(index, orders.count - 1)
            orders.removeLast()
        }
    }

    private mutating func wantsOrder() -> Bool {
        if orders.count < Self.busy.lowerBound { return orders.isEmpty || random.oneIn(3) }
        return orders.count < Self.busy.upperBound && random.oneIn(7)
    }
}

/// Who is registered.
///
/// New customers get the numbers behind the greatest known one.
struct ShopCustomers {
    private let known: [Int64]
    private let firstNew: Int64
    private var newCount: Int64 = 0
    private var isWaiting = false

    init(known: [Int64]) {
        self.known = known.sorted()
        firstNew = (self.known.last ?? 0) + 1
    }

    private var count: Int { known.count + Int(newCount) }

    private func customer(at index: Int) -> Int64 {
        index < known.count ? known[index] : firstNew + Int64(index - known.count)
    }

    mutating func register() -> Int64 {
        newCount += 1
        isWaiting = true
        return firstNew + newCount - 1
    }

    /// Anyone, each as likely as the other.
    func any(_ random: inout SplitMix64) -> Int64? {
        count == 0 ? nil : customer(at: random.below(count))
    }

    /// Who places the next order; nil when somebody new has to be registered first.
    mutating func forOrder(_ random: inout SplitMix64) -> Int64? {
        if isWaiting {
            isWaiting = false
            return customer(at: count - 1)
        }
        guard count > 0, !random.oneIn(4) else { return nil }
        // The cube of an even distribution favours the first: a tenth of the customers place
        // nearly half of the orders.
        let part = random.below(1 << 20)
        let cube = (((part * part) >> 20) * part) >> 20
        return customer(at: (cube * count) >> 20)
    }
}

/// An order in progress.
struct ShopOrder {
    let high: UInt64
    let low: UInt64
    let customer: Int64
    private var linesToCome: Int
    private var lineCents = SIMD8<Int32>(repeating: 0)
    private var lineCount = 0
    private var isPaid = false

    init(customer: Int64, _ random: inout SplitMix64) {
        self.customer = customer
        // The version and variant of a random UUID.
        high = random.next() & ~0xf000 | 0x4000
        low = random.next() & ~(3 << 62) | 2 << 62
        linesToCome = 2 + random.below(6)
    }

    private var amount: Int64 {
        (0..<lineCount).reduce(0) { $0 + Int64(lineCents[$1]) }
    }

    /// Writes what happens next to the order.
    ///
    /// - Returns: Whether it is the last that happens to it.
    mutating func advance(_ random: inout SplitMix64, _ text: inout ShopText) -> Bool {
        if isPaid {
            text.writeShipped(self, by: ShopCatalogue.carrier(&random))
            return true
        }
        if linesToCome > 0 {
            addLine(&random, &text)
            return false
        }
        if random.oneIn(5), let line = lineToRemove(&random) {
            lineCents[line] = 0
            text.writeLineRemoved(self, line: line + 1)
            return false
        }
        if random.oneIn(16) {
            text.writeCancelled(self, for: ShopCatalogue.reason(&random))
            return true
        }
        isPaid = true
        text.writePaid(self, cents: amount)
        // Some are never shipped.
        return random.oneIn(25)
    }

    private mutating func addLine(_ random: inout SplitMix64, _ text: inout ShopText) {
        let quantity = 1 + random.below(5)
        let unitCents = 99 + random.below(20_000)
        lineCents[lineCount] = Int32(quantity * unitCents)
        lineCount += 1
        linesToCome -= 1
        text.writeLineAdded(
            self,
            line: lineCount,
            sku: 1_000 + random.below(9_000),
            quantity: quantity,
            unitCents: unitCents
        )
    }

    /// A line that is still there, if another one is as well.
    private func lineToRemove(_ random: inout SplitMix64) -> Int? {
        let line = random.below(lineCount)
        let others = (0..<lineCount).contains { $0 != line && lineCents[$0] > 0 }
        return others && lineCents[line] > 0 ? line : nil
    }
}
