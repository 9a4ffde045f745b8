public import FoundationEssentials

/// A Swift type that a column can hold.
///
/// | Swift | PostgreSQL |
/// | --- | --- |
/// | `Bool` | boolean |
/// | `Int16`, `Int32`, `Int64`, `Int` | smallint, integer, bigint, bigint |
/// | `Float`, `Double`, `Decimal` | real, double precision, numeric |
/// | `String` | text, varchar, char, citext, xml |
/// | ``ColumnEnum`` | an enum type; text, varchar |
/// | ``JSONText`` | json, jsonb |
/// | `[UInt8]`, `Data` | bytea |
/// | `UUID` | uuid |
/// | ``Day``, ``Timestamp`` | date; timestamptz, timestamp (in UTC) |
/// | `Array` of these, such as `[String]` or `[Day]` | the array type: text[], date[] |
/// | `Optional` of these | the same, where the column may be NULL |
/// | `String`, `String?` in `Column(…, as: "inet")` | any type, by way of its text |
///
/// An array has one dimension and no NULLs. Arrays of enum types go by way of their text.
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

    /// Reads the value back from one field, in the bytes that ``encode(into:as:)`` writes behind
    /// the length.
    ///
    /// A type of yours that stands for another value reads that one and makes itself of it:
    /// `try self.init(Int64(field: field, as: type))`.
    ///
    /// - Parameters:
    ///   - field: The field's bytes, at any alignment; nil for NULL. They are valid for the call.
    ///   - type: The column's real type, one of ``columnTypes``.
    /// - Throws: ``ColumnError`` when the bytes are no such value. No bytes may trap.
    init(field: UnsafeRawBufferPointer?, as type: ColumnType) throws
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

    /// Reads the value, or nil from NULL.
    @inlinable
    public init(field: UnsafeRawBufferPointer?, as type: ColumnType) throws {
        self = try field.map { try Wrapped(field: $0, as: type) }
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

    /// Reads one byte, 0 or 1.
    public init(field: UnsafeRawBufferPointer?, as type: ColumnType) throws {
        switch try FieldReader.number(field, as: type) as UInt8 {
        case 0: self = false
        case 1: self = true
        default: throw ColumnError.unreadable(type)
        }
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

    /// Reads two bytes.
    public init(field: UnsafeRawBufferPointer?, as type: ColumnType) throws {
        self = try FieldReader.number(field, as: type)
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

    /// Reads four bytes.
    public init(field: UnsafeRawBufferPointer?, as type: ColumnType) throws {
        self = try FieldReader.number(field, as: type)
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

    /// Reads eight bytes.
    public init(field: UnsafeRawBufferPointer?, as type: ColumnType) throws {
        self = try FieldReader.number(field, as: type)
    }
}

extension Int: ColumnValue {
    /// `bigint`.
    public static var columnTypes: [ColumnType] { [.int8] }

    /// Appends eight bytes.
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) {
        Int64(self).encode(into: &buffer, as: type)
    }

    /// Reads eight bytes.
    public init(field: UnsafeRawBufferPointer?, as type: ColumnType) throws {
        self = try Int(Int64(field: field, as: type))
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

    /// Reads four bytes.
    public init(field: UnsafeRawBufferPointer?, as type: ColumnType) throws {
        self.init(bitPattern: try FieldReader.number(field, as: type))
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

    /// Reads eight bytes.
    public init(field: UnsafeRawBufferPointer?, as type: ColumnType) throws {
        self.init(bitPattern: try FieldReader.number(field, as: type))
    }
}

extension String: ColumnValue {
    /// `text`, `varchar`, `char`, `citext`, `xml`.
    public static var columnTypes: [ColumnType] { [.text, .varchar, .bpchar, .citext, .xml] }

    /// Appends the UTF-8 bytes.
    ///
    /// A text too long for `varchar(n)` is refused by the server, which names the column.
    ///
    /// An XML document that declares another encoding is sent as one that declares UTF-8: the server would
    /// read these bytes as the declaration says (`xml_recv`).
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) throws {
        try buffer.appendText(type == .xml ? declaringUTF8 : self)
    }

    /// Reads UTF-8 bytes.
    public init(field: UnsafeRawBufferPointer?, as type: ColumnType) throws {
        var reader = try FieldReader(field, as: type)
        self = try reader.text()
    }

    private var declaringUTF8: String {
        guard hasPrefix("<?xml"), let end = firstRange(of: "?>"),
            let encoding = self[..<end.lowerBound].firstMatch(
                of: /\sencoding\s*=\s*["']([^"']*)["']/
            )
        else { return self }
        var text = self
        text.replaceSubrange(encoding.1.startIndex..<encoding.1.endIndex, with: "UTF-8")
        return text
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

    /// Reads a label.
    @inlinable
    public init(field: UnsafeRawBufferPointer?, as type: ColumnType) throws {
        guard let value = try Self(rawValue: String(field: field, as: type)) else {
            throw ColumnError.unreadable(type)
        }
        self = value
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

    /// Reads the text, behind a version byte where the column is `jsonb`.
    ///
    /// The server writes `jsonb` anew: what comes back is the same JSON in another text.
    public init(field: UnsafeRawBufferPointer?, as type: ColumnType) throws {
        var reader = try FieldReader(field, as: type)
        if type == .jsonb, try reader.number() != UInt8(1) { throw ColumnError.unreadable(type) }
        text = try reader.text()
    }
}

extension Data: ColumnValue {
    /// `bytea`.
    public static var columnTypes: [ColumnType] { [.bytea] }

    /// Appends the bytes.
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) {
        withUnsafeBytes { buffer.appendField($0) }
    }

    /// Reads the bytes.
    public init(field: UnsafeRawBufferPointer?, as type: ColumnType) throws {
        var reader = try FieldReader(field, as: type)
        self.init(reader.remainder())
    }
}

extension UUID: ColumnValue {
    /// `uuid`.
    public static var columnTypes: [ColumnType] { [.uuid] }

    /// Appends sixteen bytes.
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) {
        withUnsafeBytes(of: uuid) { buffer.appendField($0) }
    }

    /// Reads sixteen bytes.
    public init(field: UnsafeRawBufferPointer?, as type: ColumnType) throws {
        self = try UUIDWords(field: field, as: type).uuid
    }
}

extension UUIDWords: ColumnValue {
    /// `uuid`.
    public static var columnTypes: [ColumnType] { [.uuid] }

    /// Appends sixteen bytes.
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) {
        buffer.append(Int32(16))
        buffer.append(high)
        buffer.append(low)
    }

    /// Reads sixteen bytes.
    public init(field: UnsafeRawBufferPointer?, as type: ColumnType) throws {
        var reader = try FieldReader(field, as: type)
        self.init(high: try reader.number(), low: try reader.number())
        try reader.end()
    }
}

extension Day: ColumnValue {
    /// `date`.
    public static var columnTypes: [ColumnType] { [.date] }

    /// Appends the days since 2000-01-01.
    ///
    /// - Throws: ``ColumnError/outOfRange(_:)`` outside 4713 BC to 5874897 AD.
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) throws {
        let days = Int64(daysSince1970) - 10_957
        guard Day.stored.contains(days) else {
            throw ColumnError.outOfRange(.date)
        }
        buffer.append(Int32(4))
        buffer.append(Int32(days))
    }

    /// Reads the days since 2000-01-01.
    ///
    /// - Throws: ``ColumnError/unreadable(_:)`` also for `infinity` and `-infinity`.
    public init(field: UnsafeRawBufferPointer?, as type: ColumnType) throws {
        let days: Int32 = try FieldReader.number(field, as: type)
        guard Day.stored.contains(Int64(days)) else { throw ColumnError.unreadable(type) }
        self.init(daysSince1970: days + 10_957)
    }

    /// What PostgreSQL can hold, in days since 2000-01-01.
    ///
    /// 2,451,545 is the Julian day of 2000-01-01, 10,957 its distance from 1970-01-01.
    private static let stored: Range<Int64> = -2_451_545..<2_145_031_949
}

extension Timestamp: ColumnValue {
    /// `timestamptz`, `timestamp` (the clock in UTC).
    public static var columnTypes: [ColumnType] { [.timestamptz, .timestamp] }

    /// Appends the microseconds since 2000-01-01T00:00:00Z.
    ///
    /// - Throws: ``ColumnError/outOfRange(_:)`` outside 4713 BC to 294276 AD.
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) throws {
        let (value, overflow) = microseconds.subtractingReportingOverflow(Timestamp.year2000)
        guard !overflow, Timestamp.stored.contains(value) else {
            throw ColumnError.outOfRange(type)
        }
        buffer.append(Int32(8))
        buffer.append(value)
    }

    /// Reads the microseconds since 2000-01-01T00:00:00Z.
    ///
    /// - Throws: ``ColumnError/unreadable(_:)`` also for `infinity` and `-infinity`, and for what
    ///   PostgreSQL can hold beyond the year 294246.
    public init(field: UnsafeRawBufferPointer?, as type: ColumnType) throws {
        let value: Int64 = try FieldReader.number(field, as: type)
        let (microseconds, overflow) = value.addingReportingOverflow(Timestamp.year2000)
        guard !overflow, Timestamp.stored.contains(value) else {
            throw ColumnError.unreadable(type)
        }
        self.init(microseconds: microseconds)
    }

    /// Microseconds from 1970-01-01 to 2000-01-01.
    private static let year2000: Int64 = 946_684_800_000_000
    /// What PostgreSQL can hold, in microseconds since 2000-01-01: `MIN_TIMESTAMP` and
    /// `END_TIMESTAMP` of its `datatype/timestamp.h`.
    private static let stored = -211_813_488_000_000_000..<Int64(9_223_371_331_200_000_000)
}
