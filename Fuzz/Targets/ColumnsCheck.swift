import Foundation

@testable import ProjectionKit

/// Values of columns: what was read and is written again is read as the same.
enum ColumnsCheck {
    /// The first byte chooses the type.
    static func run(_ input: [UInt8]) throws {
        guard let choice = input.first else { return }
        let field = Array(input.dropFirst())
        let types = ColumnType.allCases
        _ = field.withUnsafeBytes { FieldText($0, as: types[Int(choice) % types.count]) }
        switch choice % 17 {
        case 0: try check(Bool.self, field)
        case 1: try check(Int16.self, field)
        case 2: try check(Int32.self, field)
        case 3: try check(Int64.self, field)
        case 4: try check(Int.self, field)
        case 5: try check(Float.self, field)
        case 6: try check(Double.self, field)
        case 7: try checkDecimal(field)
        case 8: try check(String.self, field)
        case 9: try check(JSONText.self, field)
        case 10: try check([UInt8].self, field)
        case 11: try check(Data.self, field)
        case 12: try check(UUID.self, field)
        case 13: try check(Day.self, field)
        case 14: try check(Timestamp.self, field)
        case 15: try check([String].self, field)
        default:
            try check([Int64].self, field)
            try check([UUID].self, field)
        }
    }

    /// Each type has one way to write a value.
    private static func check<Value: ColumnValue>(_: Value.Type, _ field: [UInt8]) throws {
        for type in Value.columnTypes {
            guard let value = try read(Value.self, field, type) else { continue }
            _ = "\(value)"
            let written = try write(value, type)
            // Arrays say whether they may hold NULLs, which is not kept.
            let isArray = [.textArray, .int8Array, .uuidArray].contains(type)
            try require(isArray || written == field, "\(type) is written as it was read")
            let again = try read(Value.self, written, type)
            let bytes = try again.map { try write($0, type) }
            try require(bytes == written, "\(type) is read as it was written")
        }
    }

    /// A number can have zeros behind it, and a scale that shows more of them.
    private static func checkDecimal(_ field: [UInt8]) throws {
        guard let value = try read(Decimal.self, field, .numeric) else { return }
        let written = try write(value, .numeric)
        let again = try read(Decimal.self, written, .numeric)
        try require(again == value || value.isNaN, "a decimal is read as it was written")
        guard !value.isNaN else { return }
        try require(Decimal(string: value.description) == value, "its digits are those of \(value)")
    }

    private static func read<Value: ColumnValue>(
        _: Value.Type,
        _ field: [UInt8],
        _ type: ColumnType
    ) throws -> Value? {
        do {
            return try field.withPadding(0) { try Value(field: $0, as: type) }
        } catch is ColumnError {
            return nil
        }
    }

    private static func write(_ value: some ColumnValue, _ type: ColumnType) throws -> [UInt8] {
        var buffer = RowBuffer(capacity: 64)
        try value.encode(into: &buffer, as: type)
        let length = buffer.bytes.prefix(4).reduce(0) { $0 << 8 | Int($1) }
        try require(length == buffer.count - 4, "a field says how long it is")
        return Array(buffer.bytes.dropFirst(4))
    }
}
