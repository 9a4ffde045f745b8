public import FoundationEssentials

/// A Swift type that a column can hold.
///
/// | Swift | PostgreSQL |
/// | --- | --- |
/// | `Bool` | boolean |
/// | `Int16`, `Int32`, `Int64`, `Int` | smallint, integer, bigint, bigint |
/// | `Float`, `Double`, `Decimal` | real, double precision, numeric |
/// | `String` | text, varchar, char |
/// | ``ColumnEnum`` | an enum type; text, varchar |
/// | ``JSONText`` | json, jsonb |
/// | `[UInt8]`, `Data` | bytea |
/// | `UUID`, ``EventID`` | uuid |
/// | ``Day``, ``Timestamp`` | date; timestamptz, timestamp (in UTC) |
/// | `[String]`, `[Int64]`, `[UUID]` | text[], bigint[], uuid[] |
/// | `Optional` of these | the same, where the column may be NULL |
///
/// The match is exact, because binary COPY converts nothing: `Int64` does not fit an `integer`.
public protocol ColumnValue: Sendable {
    /// The PostgreSQL types it fits, the usual one first.
    static var columnTypes: [ColumnType] { get }

    /// Whether a value can be NULL.
    static var isNullable: Bool { get }

    /// The labels an enum type needs to have; nil for other types.
    static var labels: [String]? { get }

    /// Appends the value as one field: its length in 4 bytes, then its bytes.
    ///
    /// - Parameters:
    ///   - buffer: Where it goes.
    ///   - type: The column's real type, one of ``columnTypes``.
    /// - Throws: ``ColumnError`` when the value does not fit.
    func encode(into buffer: inout RowBuffer, as type: ColumnType) throws
}

extension ColumnValue {
    /// No value is NULL.
    public static var isNullable: Bool { false }
    /// Not an enum.
    public static var labels: [String]? { nil }
}

extension Optional: ColumnValue where Wrapped: ColumnValue {
    /// Those of the wrapped type.
    public static var columnTypes: [ColumnType] { Wrapped.columnTypes }
    /// `nil` is NULL.
    public static var isNullable: Bool { true }
    /// Those of the wrapped type.
    public static var labels: [String]? { Wrapped.labels }

    /// Appends the value, or NULL.
    @inlinable
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) throws {
        if let value = self {
            try value.encode(into: &buffer, as: type)
        } else {
            buffer.appendNull()
        }
    }
}

extension Bool: ColumnValue {
    /// `boolean`.
    public static var columnTypes: [ColumnType] { [.bool] }

    /// Appends one byte.
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) {
        buffer.append(Int32(1))
        buffer.append(UInt8(self ? 1 : 0))
    }
}

extension Int16: ColumnValue {
    /// `smallint`.
    public static var columnTypes: [ColumnType] { [.int2] }

    /// Appends two bytes.
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) {
        buffer.append(Int32(2))
        buffer.append(self)
    }
}

extension Int32: ColumnValue {
    /// `integer`.
    public static var columnTypes: [ColumnType] { [.int4] }

    /// Appends four bytes.
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) {
        buffer.append(Int32(4))
        buffer.append(self)
    }
}

extension Int64: ColumnValue {
    /// `bigint`.
    public static var columnTypes: [ColumnType] { [.int8] }

    /// Appends eight bytes.
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) {
        buffer.append(Int32(8))
        buffer.append(self)
    }
}

extension Int: ColumnValue {
    /// `bigint`.
    public static var columnTypes: [ColumnType] { [.int8] }

    /// Appends eight bytes.
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) {
        Int64(self).encode(into: &buffer, as: type)
    }
}

extension Float: ColumnValue {
    /// `real`.
    public static var columnTypes: [ColumnType] { [.float4] }

    /// Appends four bytes.
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) {
        buffer.append(Int32(4))
        buffer.append(bitPattern)
    }
}

extension Double: ColumnValue {
    /// `double precision`.
    public static var columnTypes: [ColumnType] { [.float8] }

    /// Appends eight bytes.
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) {
        buffer.append(Int32(8))
        buffer.append(bitPattern)
    }
}

extension String: ColumnValue {
    /// `text`, `varchar`, `char`.
    public static var columnTypes: [ColumnType] { [.text, .varchar, .bpchar] }

    /// Appends the UTF-8 bytes.
    ///
    /// A text too long for `varchar(n)` is refused by the server, which names the column.
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) throws {
        try buffer.appendText(self)
    }
}

/// A Swift enum whose raw values are the labels of a PostgreSQL enum type.
///
/// ```swift
/// enum LoanState: String, ColumnEnum { case submitted, approved, declined }
/// ```
public protocol ColumnEnum: ColumnValue, RawRepresentable, CaseIterable where RawValue == String {}

extension ColumnEnum {
    /// Any enum type that has all the labels; `text` and `varchar` as well.
    public static var columnTypes: [ColumnType] { [.enumeration, .text, .varchar] }
    /// The raw values of all cases.
    public static var labels: [String]? { allCases.map(\.rawValue) }

    /// Appends the label.
    @inlinable
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) throws {
        try buffer.appendText(rawValue)
    }
}

/// JSON as text, for columns that hold JSON.
///
/// It is not checked here; the server checks it.
public struct JSONText: Hashable, Sendable {
    /// The text.
    public var text: String

    /// Wraps the text of a JSON value.
    public init(_ text: String) {
        self.text = text
    }
}

extension JSONText: ColumnValue {
    /// `jsonb`, `json`.
    public static var columnTypes: [ColumnType] { [.jsonb, .json] }

    /// Appends the text, behind a version byte where the column is `jsonb`.
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) throws {
        guard type == .jsonb else { return try buffer.appendText(text) }
        var text = text
        text.withUTF8 { utf8 in
            buffer.append(Int32(utf8.count + 1))
            buffer.append(UInt8(1))
            buffer.append(UnsafeRawBufferPointer(utf8))
        }
    }
}

extension Data: ColumnValue {
    /// `bytea`.
    public static var columnTypes: [ColumnType] { [.bytea] }

    /// Appends the bytes.
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) {
        withUnsafeBytes { buffer.appendField($0) }
    }
}

extension UUID: ColumnValue {
    /// `uuid`.
    public static var columnTypes: [ColumnType] { [.uuid] }

    /// Appends sixteen bytes.
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) {
        withUnsafeBytes(of: uuid) { buffer.appendField($0) }
    }
}

extension EventID: ColumnValue {
    /// `uuid`.
    public static var columnTypes: [ColumnType] { [.uuid] }

    /// Appends sixteen bytes.
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) {
        buffer.append(Int32(16))
        buffer.append(high)
        buffer.append(low)
    }
}

/// What an array can hold to be a column's value: `text[]`, `bigint[]`, `uuid[]`, and `bytea` for
/// bytes.
public protocol ColumnElement: Sendable {
    /// The type of a column that holds an array of it.
    static var arrayType: ColumnType { get }

    /// Appends an array of it as one field.
    static func encode(_ elements: [Self], into buffer: inout RowBuffer) throws
}

extension Array: ColumnValue where Element: ColumnElement {
    /// The array type of the element.
    public static var columnTypes: [ColumnType] { [Element.arrayType] }

    /// Appends the elements.
    @inlinable
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) throws {
        try Element.encode(self, into: &buffer)
    }
}

extension UInt8: ColumnElement {
    /// `bytea`.
    public static var arrayType: ColumnType { .bytea }

    /// Appends the bytes.
    public static func encode(_ elements: [UInt8], into buffer: inout RowBuffer) {
        elements.withUnsafeBytes { buffer.appendField($0) }
    }
}

extension String: ColumnElement {
    /// `text[]`.
    public static var arrayType: ColumnType { .textArray }

    /// Appends a one-dimensional array.
    public static func encode(_ elements: [String], into buffer: inout RowBuffer) throws {
        try buffer.appendArray(of: elements, elementOID: 25) { text, buffer in
            try buffer.appendText(text)
        }
    }
}

extension Int64: ColumnElement {
    /// `bigint[]`.
    public static var arrayType: ColumnType { .int8Array }

    /// Appends a one-dimensional array.
    public static func encode(_ elements: [Int64], into buffer: inout RowBuffer) throws {
        try buffer.appendArray(of: elements, elementOID: 20) { number, buffer in
            number.encode(into: &buffer, as: .int8)
        }
    }
}

extension UUID: ColumnElement {
    /// `uuid[]`.
    public static var arrayType: ColumnType { .uuidArray }

    /// Appends a one-dimensional array.
    public static func encode(_ elements: [UUID], into buffer: inout RowBuffer) throws {
        try buffer.appendArray(of: elements, elementOID: 2_950) { uuid, buffer in
            uuid.encode(into: &buffer, as: .uuid)
        }
    }
}

extension RowBuffer {
    /// Appends an array: dimensions, a flag for NULLs, the element type's OID, then per dimension
    /// its length and lower bound, then the elements as fields.
    ///
    /// Source: `array_recv` in PostgreSQL's `arrayfuncs.c`. OIDs of built-in types are fixed
    /// (`pg_type.dat`).
    fileprivate mutating func appendArray<Element>(
        of elements: [Element],
        elementOID: Int32,
        _ encode: (Element, inout RowBuffer) throws -> Void
    ) throws {
        let start = count
        append(Int32(0))
        append(Int32(elements.isEmpty ? 0 : 1))
        append(Int32(0))
        append(elementOID)
        if !elements.isEmpty {
            append(Int32(elements.count))
            append(Int32(1))
        }
        for element in elements {
            try encode(element, &self)
        }
        overwrite(at: start, with: Int32(count - start - 4))
    }
}

extension Day: ColumnValue {
    /// `date`.
    public static var columnTypes: [ColumnType] { [.date] }

    /// Appends the days since 2000-01-01.
    ///
    /// - Throws: ``ColumnError/outOfRange(_:)`` outside 4713 BC to 5874897 AD.
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) throws {
        // 2,451,545 is the Julian day of 2000-01-01, 10,957 its distance from 1970-01-01.
        let days = Int64(daysSince1970) - 10_957
        guard (-2_451_545..<2_145_031_949).contains(days) else {
            throw ColumnError.outOfRange(.date)
        }
        buffer.append(Int32(4))
        buffer.append(Int32(days))
    }
}

extension Timestamp: ColumnValue {
    /// `timestamptz`, `timestamp` (the clock in UTC).
    public static var columnTypes: [ColumnType] { [.timestamptz, .timestamp] }

    /// Appends the microseconds since 2000-01-01T00:00:00Z.
    ///
    /// - Throws: ``ColumnError/outOfRange(_:)`` outside 4713 BC to 294276 AD.
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) throws {
        let (value, overflow) = microseconds.subtractingReportingOverflow(946_684_800_000_000)
        // MIN_TIMESTAMP and END_TIMESTAMP of PostgreSQL's datatype/timestamp.h.
        guard !overflow, (-211_813_488_000_000_000..<9_223_371_331_200_000_000).contains(value)
        else { throw ColumnError.outOfRange(type) }
        buffer.append(Int32(8))
        buffer.append(value)
    }
}

extension Decimal: ColumnValue {
    /// `numeric`.
    public static var columnTypes: [ColumnType] { [.numeric] }

    /// Appends the number in groups of four decimal digits.
    ///
    /// Source: `numeric_recv` in PostgreSQL's `numeric.c`.
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) throws {
        guard !isNaN else {
            buffer.append(Int32(8))
            for word in [UInt16(0), 0, 0xc000, 0] { buffer.append(word) }
            return
        }
        let number = DecimalDigits(self)
        buffer.append(Int32(8 + 2 * number.groups.count))
        buffer.append(Int16(number.groups.count))
        buffer.append(Int16(number.weight))
        buffer.append(UInt16(number.isNegative ? 0x4000 : 0))
        buffer.append(Int16(number.scale))
        for group in number.groups { buffer.append(group) }
    }
}

/// A decimal number as groups of four digits, the way PostgreSQL stores `numeric`.
private struct DecimalDigits {
    let isNegative: Bool
    /// Digits behind the point.
    let scale: Int
    /// The power of 10,000 of the first group.
    let weight: Int
    let groups: [Int16]

    init(_ value: Decimal) {
        // The plain notation that `description` gives: `-12.5`, never an exponent.
        let text = value.description
        isNegative = text.hasPrefix("-")
        let parts = text.drop { $0 == "-" }.split(separator: ".", omittingEmptySubsequences: false)
        var whole = Array(parts[0].utf8)
        var fraction = parts.count > 1 ? Array(parts[1].utf8) : []
        scale = fraction.count
        whole = Array(repeating: 48, count: (4 - whole.count % 4) % 4) + whole
        fraction += Array(repeating: 48, count: (4 - fraction.count % 4) % 4)
        var groups = stride(from: 0, to: whole.count + fraction.count, by: 4).map { start in
            (whole + fraction)[start..<(start + 4)].reduce(Int16(0)) { $0 * 10 + Int16($1 - 48) }
        }
        var weight = whole.count / 4 - 1
        while groups.first == 0 {
            groups.removeFirst()
            weight -= 1
        }
        while groups.last == 0 { groups.removeLast() }
        self.groups = groups
        self.weight = groups.isEmpty ? 0 : weight
    }
}
