/// Writes the stream, type and payload of one shop event at a time into memory that is reused.
struct ShopText {
    private(set) var type = UnsafeRawBufferPointer(start: nil, count: 0)
    private let streamBytes = ShopBytes()
    private let dataBytes = ShopBytes()

    var stream: UnsafeRawBufferPointer { streamBytes.written }
    var data: UnsafeRawBufferPointer { dataBytes.written }

    mutating func writeRegistered(_ customer: Int64, _ random: inout SplitMix64) {
        begin("CustomerRegistered", customer: customer)
        dataBytes.write(",\"name\":\"")
        dataBytes.write(ShopCatalogue.firstName(&random))
        dataBytes.write(" ")
        dataBytes.write(ShopCatalogue.lastName(&random))
        dataBytes.write("\",\"country\":\"")
        dataBytes.write(ShopCatalogue.country(&random))
        dataBytes.write("\"}")
    }

    mutating func writeMoved(_ customer: Int64, to country: StaticString) {
        begin("CustomerMoved", customer: customer)
        dataBytes.write(",\"country\":\"")
        dataBytes.write(country)
        dataBytes.write("\"}")
    }

    mutating func writePlaced(_ order: ShopOrder) {
        begin("OrderPlaced", order)
        writeField(",\"customerId\":", order.customer)
        dataBytes.write("}")
    }

    mutating func writeLineAdded(
        _ order: ShopOrder,
        line: Int,
        sku: Int,
        quantity: Int,
        unitCents: Int
    ) {
        begin("LineAdded", order)
        writeField(",\"line\":", Int64(line))
        writeField(",\"sku\":\"SKU-", Int64(sku))
        writeField("\",\"quantity\":", Int64(quantity))
        writeField(",\"unitCents\":", Int64(unitCents))
        dataBytes.write("}")
    }

    mutating func writeLineRemoved(_ order: ShopOrder, line: Int) {
        begin("LineRemoved", order)
        writeField(",\"line\":", Int64(line))
        dataBytes.write("}")
    }

    mutating func writePaid(_ order: ShopOrder, cents: Int64) {
        begin("OrderPaid", order)
        writeField(",\"amountCents\":", cents)
        dataBytes.write("}")
    }

    mutating func writeShipped(_ order: ShopOrder, by carrier: StaticString) {
        begin("OrderShipped", order)
        dataBytes.write(",\"carrier\":\"")
        dataBytes.write(carrier)
        dataBytes.write("\"}")
    }

    mutating func writeCancelled(_ order: ShopOrder, for reason: StaticString) {
        begin("OrderCancelled", order)
        dataBytes.write(",\"reason\":\"")
        dataBytes.write(reason)
        dataBytes.write("\"}")
    }

    private mutating func begin(_ name: StaticString, customer: Int64) {
        setType(name)
        streamBytes.removeAll()
        streamBytes.write("customer-")
        streamBytes.write(customer)
        dataBytes.removeAll()
        writeField("{\"customerId\":", customer)
    }

    private mutating func begin(_ name: StaticString, _ order: ShopOrder) {
        setType(name)
        streamBytes.removeAll()
        streamBytes.write("order-")
        streamBytes.write(uuid: order.high, order.low)
        dataBytes.removeAll()
        dataBytes.write("{\"orderId\":\"")
        dataBytes.write(UnsafeRawBufferPointer(rebasing: streamBytes.written[6...]))
        dataBytes.write("\"")
    }

    private mutating func setType(_ name: StaticString) {
        type = UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
    }

    private func writeField(_ key: StaticString, _ number: Int64) {
        dataBytes.write(key)
        dataBytes.write(number)
    }
}

/// Bytes of one text, in memory of a fixed size: every shop event fits with room to spare.
private final class ShopBytes {
    private static let capacity = 1_024

    private let bytes: UnsafeMutableRawBufferPointer
    private var count = 0

    init() {
        bytes = .allocate(byteCount: Self.capacity, alignment: 16)
    }

    deinit { bytes.deallocate() }

    var written: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: bytes[..<count]) }

    func removeAll() {
        count = 0
    }

    func write(_ text: StaticString) {
        write(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    func write(_ text: UnsafeRawBufferPointer) {
        UnsafeMutableRawBufferPointer(rebasing: bytes[count...]).copyMemory(from: text)
        count += text.count
    }

    func write(_ number: Int64) {
        precondition(number >= 0, "the shop has no negative numbers, but here is \(number)")
        var digits = 1
        var bound: Int64 = 10
        while number >= bound, digits < 18 {
            digits += 1
            bound *= 10
        }
        var rest = number
        for index in stride(from: count + digits - 1, through: count, by: -1) {
            bytes[index] = 48 + UInt8(rest % 10)
            rest /= 10
        }
        count += digits
    }

    func write(uuid high: UInt64, _ low: UInt64) {
        for index in 0..<32 {
            if index == 8 || index == 12 || index == 16 || index == 20 {
                bytes[count] = UInt8(ascii: "-")
                count += 1
            }
            let word = index < 16 ? high : low
            let digit = UInt8(truncatingIfNeeded: word >> UInt64(60 - (index & 15) * 4)) & 15
            bytes[count] = digit < 10 ? 48 + digit : 87 + digit
            count += 1
        }
    }
}

/// The words of the shop, as they stand between the quotes of JSON.
enum ShopCatalogue {
    private static let firstNames: [StaticString] = [
        "Anna", "Ben", "Chlo\u{e9}", "Daan", "Emma", "Zo\u{eb}", "J\u{fc}rgen", "\u{141}ukasz",
        "\\u00c5sa", "Si\u{e2}n", "Noah", "Mar\u{ed}a", "\u{5c0f}\u{660e}", "Yuki", "Olivia",
        "Ren\\u00e9e",
        "Bj\u{f6}rn", "Ada \\\"Ace\\\"", "Iv\u{e1}n", "Lotte",
    ]
    private static let lastNames: [StaticString] = [
        "de Vries", "Jansen", "M\u{fc}ller", "O'Neil", "Garc\u{ed}a", "Nowak", "Smith", "Dubois",
        "\u{6e21}\u{8fba}", "Lindstr\u{f6}m", "Rossi", "van den Berg", "\\u00d8stergaard",
        "Kowalski",
        "Silva", "Bakker\\/Visser", "Schulz", "Haddad", "Ivanova", "\\ud83d\\ude00 Jones",
    ]
    private static let countries: [StaticString] = [
        "NL", "NL", "NL", "DE", "DE", "BE", "FR", "GB", "ES", "IT", "PL", "SE", "US", "JP",
    ]
    private static let carriers: [StaticString] = ["PostNL", "DHL", "UPS", "DPD", "GLS"]
    private static let reasons: [StaticString] = [
        "changed my mind", "out of stock", "payment failed", "found it \\\"cheaper\\\" elsewhere",
        "delivery takes too long",
    ]

    static func firstName(_ random: inout SplitMix64) -> StaticString { any(firstNames, &random) }
    static func lastName(_ random: inout SplitMix64) -> StaticString { any(lastNames, &random) }
    static func country(_ random: inout SplitMix64) -> StaticString { any(countries, &random) }
    static func carrier(_ random: inout SplitMix64) -> StaticString { any(carriers, &random) }
    static func reason(_ random: inout SplitMix64) -> StaticString { any(reasons, &random) }

    private static func any(
        _ words: [StaticString],
        _ random: inout SplitMix64
    ) -> StaticString {
        words[random.below(words.count)]
    }
}
