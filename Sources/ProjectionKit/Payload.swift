public import FoundationEssentials

/// An event's content: a JSON object, read field by field.
///
/// Nothing is decoded until it is asked for, and only what is asked for. Lent like the event it
/// belongs to. Every accessor throws ``PayloadError`` with the JSON path when the field is missing,
/// null or of another type; those ending in `IfPresent` give nil when it is missing or null.
///
/// A key that stands twice counts with its last value, as in PostgreSQL's `jsonb`.
public struct Payload: ~Copyable {
    let text: UnsafeRawBufferPointer
    private let parser: Unmanaged<PayloadParser>
    private let serial: UInt64
    private let path: String

    init(text: UnsafeRawBufferPointer, parser: PayloadParser, path: String = "$") {
        self.text = text
        self.parser = Unmanaged.passUnretained(parser)
        self.path = path
        serial = parser.makeSerial()
    }

    /// The JSON text itself, as the ledger holds it.
    public var json: String { String(decoding: text, as: UTF8.self) }

    /// Whether the field is there and not null.
    public func contains(_ key: StaticString) throws -> Bool { try value(key) != nil }

    /// A whole number, written without fraction or exponent.
    public func int64(_ key: StaticString) throws -> Int64 {
        try required(key, JSONValue.int64, "a whole number of 64 bits")
    }

    /// A whole number, or nil.
    public func int64IfPresent(_ key: StaticString) throws -> Int64? {
        try optional(key, JSONValue.int64, "a whole number of 64 bits")
    }

    /// A whole number of 32 bits.
    public func int32(_ key: StaticString) throws -> Int32 {
        try required(key, JSONValue.int32, "a whole number of 32 bits")
    }

    /// A whole number of 32 bits, or nil.
    public func int32IfPresent(_ key: StaticString) throws -> Int32? {
        try optional(key, JSONValue.int32, "a whole number of 32 bits")
    }

    /// A number, to the nearest double; one beyond its range is refused.
    public func double(_ key: StaticString) throws -> Double {
        try required(key, JSONValue.double, "a number within a double's range")
    }

    /// A number to the nearest double, or nil.
    public func doubleIfPresent(_ key: StaticString) throws -> Double? {
        try optional(key, JSONValue.double, "a number within a double's range")
    }

    /// A number or a text that holds one, exactly; one of more than 38 digits is refused.
    public func decimal(_ key: StaticString) throws -> Decimal {
        try required(key, JSONValue.decimal, "a decimal number of at most 38 digits")
    }

    /// A decimal number, or nil.
    public func decimalIfPresent(_ key: StaticString) throws -> Decimal? {
        try optional(key, JSONValue.decimal, "a decimal number of at most 38 digits")
    }

    /// `true` or `false`.
    public func bool(_ key: StaticString) throws -> Bool {
        try required(key, JSONValue.bool, "true or false")
    }

    /// `true`, `false` or nil.
    public func boolIfPresent(_ key: StaticString) throws -> Bool? {
        try optional(key, JSONValue.bool, "true or false")
    }

    /// A text.
    ///
    /// One that holds `\u0000` is refused: PostgreSQL cannot store it.
    public func string(_ key: StaticString) throws -> String {
        try required(key, JSONValue.string, "a text without \\u0000")
    }

    /// A text, or nil.
    public func stringIfPresent(_ key: StaticString) throws -> String? {
        try optional(key, JSONValue.string, "a text without \\u0000")
    }

    /// A text of 36 characters, such as `7d444840-9dc0-11d1-b245-5ffdce74fad2`.
    public func uuid(_ key: StaticString) throws -> UUID {
        try required(key, JSONValue.uuid, "a UUID")
    }

    /// A UUID, or nil.
    public func uuidIfPresent(_ key: StaticString) throws -> UUID? {
        try optional(key, JSONValue.uuid, "a UUID")
    }

    /// An RFC 3339 time, to the microsecond.
    public func timestamp(_ key: StaticString) throws -> Timestamp {
        try required(key, JSONValue.timestamp, "an RFC 3339 time")
    }

    /// An RFC 3339 time, or nil.
    public func timestampIfPresent(_ key: StaticString) throws -> Timestamp? {
        try optional(key, JSONValue.timestamp, "an RFC 3339 time")
    }

    /// A day, such as `2026-03-01`.
    public func day(_ key: StaticString) throws -> Day {
        try required(key, JSONValue.day, "a day such as 2026-03-01")
    }

    /// A day, or nil.
    public func dayIfPresent(_ key: StaticString) throws -> Day? {
        try optional(key, JSONValue.day, "a day such as 2026-03-01")
    }

    /// The field's JSON text as it stands, for a `json` or `jsonb` column.
    public func jsonText(_ key: StaticString) throws -> JSONText {
        try required(key, JSONValue.jsonText, "JSON")
    }

    /// The field's JSON text, or nil.
    public func jsonTextIfPresent(_ key: StaticString) throws -> JSONText? {
        try optional(key, JSONValue.jsonText, "JSON")
    }

    /// An array of texts.
    public func strings(_ key: StaticString) throws -> [String] {
        try elements(key, JSONValue.string, "a text without \\u0000")
    }

    /// An array of whole numbers.
    public func int64s(_ key: StaticString) throws -> [Int64] {
        try elements(key, JSONValue.int64, "a whole number of 64 bits")
    }

    /// An array of UUIDs.
    public func uuids(_ key: StaticString) throws -> [UUID] {
        try elements(key, JSONValue.uuid, "a UUID")
    }

    /// The object inside the field, to read its fields in turn.
    public func object(_ key: StaticString) throws -> Payload {
        guard let found = try value(key) else { throw missing(key) }
        guard found.first == UInt8(ascii: "{") else { throw mismatch(key, "an object", found) }
        return Payload(
            text: found,
            parser: parser._withUnsafeGuaranteedRef { $0.forNested },
            path: "\(path).\(key)"
        )
    }

    /// Calls `body` with each object of the array inside the field, in order.
    public func forEachObject(
        _ key: StaticString,
        _ body: (borrowing Payload) throws -> Void
    ) throws {
        let inner = parser._withUnsafeGuaranteedRef { $0.forNested }
        for (index, element) in try spans(key).enumerated() {
            let place = "\(path).\(key)[\(index)]"
            guard element.first == UInt8(ascii: "{") else {
                throw PayloadError(path: place, reason: "is not an object")
            }
            let object = Payload(text: element, parser: inner, path: place)
            try body(object)
        }
    }

    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .custom { decoder in
            let container = try decoder.singleValueContainer()
            guard let time = Timestamp(try container.decode(String.self)) else {
                throw DecodingError.dataCorruptedError(
                    in: container,
                    debugDescription: "not an RFC 3339 time"
                )
            }
            return Date(timeIntervalSince1970: Double(time.microseconds) / 1_000_000)
        }
        do {
            return try decoder.decode(type, from: Data(text))
        } catch let error as DecodingError {
            throw PayloadError(decoding: error, at: path)
        }
    }
}

extension Payload {
    private func value(_ key: StaticString) throws -> UnsafeRawBufferPointer? {
        let found = parser._withUnsafeGuaranteedRef { parser in
            parser.open(text, serial: serial) ? parser.value(of: key) : nil
        }
        guard let found else {
            try refuseUnlessOpen()
            return nil
        }
        return JSONValue.isNull(found) ? nil : found
    }

    private func refuseUnlessOpen() throws {
        let complaint = parser._withUnsafeGuaranteedRef { $0.complaint(aboutOpening: serial) }
        if let complaint {
            throw PayloadError(path: path, reason: "is not a JSON object: \(complaint)")
        }
    }

    private func required<Value>(
        _ key: StaticString,
        _ read: (UnsafeRawBufferPointer) -> Value?,
        _ wanted: StaticString
    ) throws -> Value {
        guard let found = try value(key) else { throw missing(key) }
        guard let result = read(found) else { throw mismatch(key, wanted, found) }
        return result
    }

    private func optional<Value>(
        _ key: StaticString,
        _ read: (UnsafeRawBufferPointer) -> Value?,
        _ wanted: StaticString
    ) throws -> Value? {
        guard let found = try value(key) else { return nil }
        guard let result = read(found) else { throw mismatch(key, wanted, found) }
        return result
    }

    private func spans(_ key: StaticString) throws -> [UnsafeRawBufferPointer] {
        guard let found = try value(key) else { throw missing(key) }
        guard found.first == UInt8(ascii: "[") else { throw mismatch(key, "an array", found) }
        let inner = parser._withUnsafeGuaranteedRef { $0.forNested }
        let serial = inner.makeSerial()
        guard inner.open(found, serial: serial, opening: UInt8(ascii: "[")) else {
            let complaint = inner.complaint(aboutOpening: serial) ?? "malformed"
            throw PayloadError(path: "\(path).\(key)", reason: "is not a JSON array: \(complaint)")
        }
        return (0..<inner.count).map { inner.element(at: $0) }
    }

    private func elements<Value>(
        _ key: StaticString,
        _ read: (UnsafeRawBufferPointer) -> Value?,
        _ wanted: StaticString
    ) throws -> [Value] {
        try spans(key).enumerated().map { index, element in
            guard let result = read(element) else {
                throw PayloadError(
                    path: "\(path).\(key)[\(index)]",
                    reason: "is \(JSONValue.kind(of: element)), not \(wanted)"
                )
            }
            return result
        }
    }

    private func missing(_ key: StaticString) -> PayloadError {
        PayloadError(path: "\(path).\(key)", reason: "is missing or null")
    }

    private func mismatch(
        _ key: StaticString,
        _ wanted: StaticString,
        _ found: UnsafeRawBufferPointer
    ) -> PayloadError {
        PayloadError(
            path: "\(path).\(key)",
            reason: "is \(JSONValue.kind(of: found)), not \(wanted)"
        )
    }
}

extension PayloadError {
    fileprivate init(decoding error: DecodingError, at root: String) {
        let (context, clause): (DecodingError.Context, String) =
            switch error {
            case .keyNotFound(let key, let context):
                (context, ".\(key.stringValue) is missing")
            case .valueNotFound(_, let context): (context, " is null")
            case .typeMismatch(let type, let context): (context, " is not of type \(type)")
            case .dataCorrupted(let context): (context, " is malformed")
            @unknown default:
                (.init(codingPath: [], debugDescription: ""), " cannot be decoded")
            }
        let place = context.codingPath.reduce(into: root) { text, key in
            text += key.intValue.map { "[\($0)]" } ?? ".\(key.stringValue)"
        }
        let parts = clause.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
        self.init(path: place + parts[0], reason: String(parts[1]))
    }
}
