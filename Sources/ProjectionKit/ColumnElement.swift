public import FoundationEssentials

/// What an array can hold to be a column's value: each Swift type that a column can hold by itself, and
/// `UInt8` for bytes.
public protocol ColumnElement: Sendable {
    /// The types of a column that holds an array of it, the usual one first.
    static var arrayTypes: [ColumnType] { get }

    /// Appends an array of it as one field.
    ///
    /// - Parameters:
    ///   - elements: The elements, none of them NULL.
    ///   - buffer: Where they go.
    ///   - type: The column's real type, one of ``arrayTypes``.
    /// - Throws: ``ColumnError`` when an element does not fit.
    static func encode(
        _ elements: [Self],
        into buffer: inout RowBuffer,
        as type: ColumnType
    ) throws

    /// Reads an array of it back from one field.
    ///
    /// - Parameters:
    ///   - field: The field's bytes, without the length.
    ///   - type: The column's real type, one of ``arrayTypes``.
    /// - Returns: The elements.
    /// - Throws: ``ColumnError`` when the bytes are no such array. No bytes may trap.
    static func decode(_ field: UnsafeRawBufferPointer, as type: ColumnType) throws -> [Self]
}

extension Array: ColumnValue where Element: ColumnElement {
    /// The array types of the element.
    public static var columnTypes: [ColumnType] { Element.arrayTypes }

    /// Appends the elements.
    @inlinable
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) throws {
        try Element.encode(self, into: &buffer, as: type)
    }

    /// Reads the elements.
    @inlinable
    public init(field: UnsafeRawBufferPointer?, as type: ColumnType) throws {
        guard let field else { throw ColumnError.unexpectedNull }
        self = try Element.decode(field, as: type)
    }
}

extension ColumnElement where Self: ColumnValue {
    /// Appends a one-dimensional array.
    public static func encode(
        _ elements: [Self],
        into buffer: inout RowBuffer,
        as type: ColumnType
    ) throws {
        guard let element = type.element, let oid = element.elementOID else {
            throw ColumnError.unreadable(type)
        }
        try buffer.appendArray(of: elements, elementOID: oid) { value, buffer in
            try value.encode(into: &buffer, as: element)
        }
    }

    /// Reads a one-dimensional array without NULLs.
    public static func decode(
        _ field: UnsafeRawBufferPointer,
        as type: ColumnType
    ) throws -> [Self] {
        guard let element = type.element, let oid = element.elementOID else {
            throw ColumnError.unreadable(type)
        }
        var reader = try FieldReader(field, as: type)
        return try reader.array(elementOID: oid) { try Self(field: $0, as: element) }
    }
}

extension UInt8: ColumnElement {
    /// `bytea`.
    public static var arrayTypes: [ColumnType] { [.bytea] }

    /// Appends the bytes.
    public static func encode(
        _ elements: [UInt8],
        into buffer: inout RowBuffer,
        as type: ColumnType
    ) {
        elements.withUnsafeBytes { buffer.appendField($0) }
    }

    /// Reads the bytes.
    public static func decode(_ field: UnsafeRawBufferPointer, as type: ColumnType) -> [UInt8] {
        Array(field)
    }
}

extension Bool: ColumnElement {
    /// `boolean[]`.
    public static var arrayTypes: [ColumnType] { [.boolArray] }
}

extension Int16: ColumnElement {
    /// `smallint[]`.
    public static var arrayTypes: [ColumnType] { [.int2Array] }
}

extension Int32: ColumnElement {
    /// `integer[]`.
    public static var arrayTypes: [ColumnType] { [.int4Array] }
}

extension Int64: ColumnElement {
    /// `bigint[]`.
    public static var arrayTypes: [ColumnType] { [.int8Array] }
}

extension Int: ColumnElement {
    /// `bigint[]`.
    public static var arrayTypes: [ColumnType] { [.int8Array] }
}

extension Float: ColumnElement {
    /// `real[]`.
    public static var arrayTypes: [ColumnType] { [.float4Array] }
}

extension Double: ColumnElement {
    /// `double precision[]`.
    public static var arrayTypes: [ColumnType] { [.float8Array] }
}

extension Decimal: ColumnElement {
    /// `numeric[]`.
    public static var arrayTypes: [ColumnType] { [.numericArray] }
}

extension String: ColumnElement {
    /// `text[]`, `varchar[]`, `character[]`.
    public static var arrayTypes: [ColumnType] { [.textArray, .varcharArray, .bpcharArray] }
}

extension Data: ColumnElement {
    /// `bytea[]`.
    public static var arrayTypes: [ColumnType] { [.byteaArray] }
}

extension UUID: ColumnElement {
    /// `uuid[]`.
    public static var arrayTypes: [ColumnType] { [.uuidArray] }
}

extension UUIDWords: ColumnElement {
    /// `uuid[]`.
    public static var arrayTypes: [ColumnType] { [.uuidArray] }
}

extension Day: ColumnElement {
    /// `date[]`.
    public static var arrayTypes: [ColumnType] { [.dateArray] }
}

extension Timestamp: ColumnElement {
    /// `timestamptz[]`, `timestamp[]`.
    public static var arrayTypes: [ColumnType] { [.timestamptzArray, .timestampArray] }
}

extension JSONText: ColumnElement {
    /// `jsonb[]`, `json[]`.
    public static var arrayTypes: [ColumnType] { [.jsonbArray, .jsonArray] }
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

extension FieldReader {
    /// Reads what `appendArray` writes: one dimension that begins at 1, without NULLs.
    ///
    /// Any other array would come back as another one when it is written again.
    fileprivate mutating func array<Element>(
        elementOID: Int32,
        _ decode: (UnsafeRawBufferPointer) throws -> Element
    ) throws -> [Element] {
        let dimensions: Int32 = try number()
        let flags: Int32 = try number()
        guard (0...1).contains(dimensions), (0...1).contains(flags),
            try number() == elementOID
        else { throw refusal }
        var elements: [Element] = []
        if dimensions == 1 {
            let count: Int32 = try number()
            let lowerBound: Int32 = try number()
            // Each element takes four bytes at least: a damaged count reserves no memory.
            guard count > 0, lowerBound == 1, Int(count) <= remaining / 4 else { throw refusal }
            elements.reserveCapacity(Int(count))
            for _ in 0..<count {
                let length: Int32 = try number()
                elements.append(try decode(bytes(Int(length))))
            }
        }
        try end()
        return elements
    }
}
