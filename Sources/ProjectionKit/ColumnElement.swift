public import FoundationEssentials

/// What an array can hold to be a column's value: `text[]`, `bigint[]`, `uuid[]`, and `bytea` for
/// bytes.
public protocol ColumnElement: Sendable {
    /// The type of a column that holds an array of it.
    static var arrayType: ColumnType { get }

    /// Appends an array of it as one field.
    static func encode(_ elements: [Self], into buffer: inout RowBuffer) throws

    /// Reads an array of it back from one field.
    ///
    /// - Parameter field: The field's bytes, without the length.
    /// - Returns: The elements.
    /// - Throws: ``ColumnError`` when the bytes are no such array. No bytes may trap.
    static func decode(_ field: UnsafeRawBufferPointer) throws -> [Self]
}

extension Array: ColumnValue where Element: ColumnElement {
    /// The array type of the element.
    public static var columnTypes: [ColumnType] { [Element.arrayType] }

    /// Appends the elements.
    @inlinable
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) throws {
        try Element.encode(self, into: &buffer)
    }

    /// Reads the elements.
    @inlinable
    public init(field: UnsafeRawBufferPointer?, as type: ColumnType) throws {
        guard let field else { throw ColumnError.unexpectedNull }
        self = try Element.decode(field)
    }
}

extension UInt8: ColumnElement {
    /// `bytea`.
    public static var arrayType: ColumnType { .bytea }

    /// Appends the bytes.
    public static func encode(_ elements: [UInt8], into buffer: inout RowBuffer) {
        elements.withUnsafeBytes { buffer.appendField($0) }
    }

    /// Reads the bytes.
    public static func decode(_ field: UnsafeRawBufferPointer) -> [UInt8] { Array(field) }
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

    /// Reads a one-dimensional array without NULLs.
    public static func decode(_ field: UnsafeRawBufferPointer) throws -> [String] {
        var reader = try FieldReader(field, as: .textArray)
        return try reader.array(elementOID: 25) { try String(field: $0, as: .text) }
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

    /// Reads a one-dimensional array without NULLs.
    public static func decode(_ field: UnsafeRawBufferPointer) throws -> [Int64] {
        var reader = try FieldReader(field, as: .int8Array)
        return try reader.array(elementOID: 20) { try Int64(field: $0, as: .int8) }
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

    /// Reads a one-dimensional array without NULLs.
    public static func decode(_ field: UnsafeRawBufferPointer) throws -> [UUID] {
        var reader = try FieldReader(field, as: .uuidArray)
        return try reader.array(elementOID: 2_950) { try UUID(field: $0, as: .uuid) }
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
