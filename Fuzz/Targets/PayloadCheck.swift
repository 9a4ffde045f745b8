import FoundationEssentials

@testable import ProjectionKit

/// The accessors of a payload, beside a reading of our own.
enum PayloadCheck {
    /// A whole payload where the input begins with a brace, and else the value of its only key.
    static func run(_ input: [UInt8]) throws {
        let isWhole = input.first == UInt8(ascii: "{")
        let text = isWhole ? input : Array("{\"k\":".utf8) + input + Array("}".utf8)
        var reader = PlainJSONReader(text)
        let value = reader.document()
        let isSound = value.map { !$0.holdsWhatCannotBeStored } ?? false
        let batch = EventBatch(capacity: 1, bytes: 1)
        text.withUnsafeBytes {
            batch.append(
                position: Position(1),
                time: Timestamp(microseconds: 0),
                bucketStart: 0,
                type: $0,
                stream: $0,
                payload: $0,
                metadata: $0
            )
        }
        try batch.forEach { event in
            try readAll(event.payload)
            try readAll(event.metadata)
            _ = try? event.decode([String: Loose].self)
            // A ledger holds sound payloads only; of others no more is asked than not to trap.
            if isSound, let value { try compare(event.payload, value.value(of: "k")) }
        }
    }

    private struct Loose: Decodable {
        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            _ = try? container.decode(Int64.self)
            _ = try? container.decode(Date.self)
            _ = try? container.decode([String: Loose].self)
        }
    }

    /// Nothing but `PayloadError` comes out of what is no such value.
    private static func readAll(_ payload: borrowing Payload) throws {
        func attempt(_ body: () throws -> Void) throws {
            do { try body() } catch is PayloadError {}
        }
        try attempt { _ = try payload.timestamp("k") }
        try attempt { _ = try payload.day("k") }
        try attempt { _ = try payload.uuid("k") }
        try attempt { _ = try payload.jsonText("k") }
        try attempt { _ = try payload.strings("k") }
        try attempt { _ = try payload.int64s("k") }
        try attempt { _ = try payload.uuids("k") }
        try attempt { _ = try payload.contains("") }
        try attempt { _ = try payload.contains("longer") }
        try attempt {
            let inner = try payload.object("k")
            try attempt { _ = try inner.decimal("k") }
            try attempt { _ = try inner.string("k") }
            try attempt { try inner.forEachObject("k") { _ = try $0.int32("k") } }
        }
        try attempt {
            try payload.forEachObject("k") { inner in
                try attempt { _ = try inner.double("k") }
                try attempt { _ = try inner.object("k").bool("k") }
            }
        }
    }

    private static func compare(_ payload: borrowing Payload, _ value: PlainJSON?) throws {
        let isThere = value != nil && value != .null
        try require(try payload.contains("k") == isThere, "the key is there")
        var (text, whole, small): (String?, Int64?, Int32?)
        var (number, isTrue): (Double?, Bool?)
        switch value {
        case .string(let bytes): text = bytes.map { String(decoding: $0, as: UTF8.self) }
        case .bool(let value): isTrue = value
        case .number(let digits):
            if digits.wholeMatch(of: /-?[0-9]+/) != nil { whole = Int64(digits) }
            // `-0` is a number without a fraction.
            small = whole.flatMap { Int32(exactly: $0) }
            number = Double(digits).flatMap { $0.isFinite ? $0 : nil }
        default: break
        }
        try require((try? payload.string("k")) == text, "the text is the one that stands there")
        try require((try? payload.int64("k")) == whole, "the whole number is \(whole as Any)")
        try require((try? payload.int32("k")) == small, "the small number is \(small as Any)")
        try require((try? payload.double("k")) == number, "the double is \(number as Any)")
        try require((try? payload.bool("k")) == isTrue, "the flag is \(isTrue as Any)")
        try compareDecimal(try? payload.decimal("k"), value)
        guard case .array(let elements) = value else { return }
        let texts = elements.map { element -> String? in
            guard case .string(let bytes?) = element else { return nil }
            return String(decoding: bytes, as: UTF8.self)
        }
        let found = try? payload.strings("k")
        try require(
            texts.contains(nil) ? found == nil : found == texts.compactMap { $0 },
            "the texts of the array are those that stand there"
        )
    }

    /// A decimal that was read is the number that stands there, digit for digit.
    private static func compareDecimal(_ found: Decimal?, _ value: PlainJSON?) throws {
        guard let found else { return }
        let digits: String
        switch value {
        case .number(let text): digits = text
        case .string(let bytes?): digits = String(decoding: bytes, as: UTF8.self)
        default: throw FuzzFailure(description: "a decimal was read where none stands")
        }
        try require(
            PlainDecimal(digits) == PlainDecimal(found.description),
            "'\(digits)' is the decimal \(found)"
        )
    }
}

/// A decimal number as a sign, its significant digits and a power of ten.
private struct PlainDecimal: Equatable {
    var isNegative = false
    var digits = ""
    var exponent = 0

    init?(_ text: String) {
        guard let match = text.wholeMatch(of: /(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([-+]?[0-9]+))?/)
        else { return nil }
        let fraction = match.3.map(String.init) ?? ""
        var all = Substring(String(match.2) + fraction)
        exponent = (match.4.flatMap { Int($0) } ?? 0) - fraction.utf8.count
        all = all.drop { $0 == "0" }
        while all.last == "0" {
            all.removeLast()
            exponent += 1
        }
        if all.isEmpty { exponent = 0 }
        digits = String(all)
        isNegative = match.1 == "-" && !all.isEmpty
    }
}
