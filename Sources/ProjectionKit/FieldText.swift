internal import FoundationEssentials

/// A field's value for people, in one line.
struct FieldText {
    /// The value; texts in quotes, and in hexadecimal digits what people do not read anyway.
    let text: String

    /// Reads the bytes of a field of that type.
    init(_ field: UnsafeRawBufferPointer, as type: ColumnType) {
        func described<Value: ColumnValue>(_: Value.Type) -> String? {
            (try? Value(field: field, as: type)).map { "\($0)" }
        }
        let value: String? =
            switch type {
            case .bool: described(Bool.self)
            case .int2: described(Int16.self)
            case .int4: described(Int32.self)
            case .int8: described(Int64.self)
            case .float4: described(Float.self)
            case .float8: described(Double.self)
            case .numeric: described(Decimal.self)
            case .uuid: described(UUIDWords.self)
            case .date: described(Day.self)
            case .timestamp, .timestamptz: described(Timestamp.self)
            case .text, .varchar, .bpchar, .citext, .xml, .enumeration, .json, .passed:
                (try? String(field: field, as: type))?.debugDescription
            default: nil
            }
        text = value ?? FieldText.hexadecimal(field)
    }

    private static func hexadecimal(_ field: UnsafeRawBufferPointer) -> String {
        "\\x"
            + field.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
