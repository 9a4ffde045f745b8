/// What a statement returned.
package struct QueryResult: Sendable {
    /// The rows, in the order in which the server sent them.
    package let rows: [QueryRow]
    /// Rows inserted, updated, deleted, selected or copied; 0 for statements that count nothing.
    package let affectedRows: Int
    /// The columns' names, from left to right.
    package let columns: [String]
    /// The server's word for what was done, such as `COMMIT` or `INSERT 0 1`.
    package let commandTag: String

    /// The first row, if there is one.
    package var first: QueryRow? { rows.first }

    init(_ answer: ServerAnswer) {
        rows = (0..<answer.rowCount).map { QueryRow(answer: answer, index: $0) }
        affectedRows = answer.affectedRows
        columns = answer.columns
        commandTag = answer.commandTag
    }
}

/// One row of a result.
///
/// Columns are asked for by name; a name that the result does not have is a programmer error. Of
/// two columns with one name the left one counts.
package struct QueryRow: Sendable {
    let answer: ServerAnswer
    let index: Int

    /// The text of a column; nil for NULL.
    package subscript(_ column: String) -> String? {
        self[answer.position(of: column)]
    }

    /// The text of a column by its position from 0; nil for NULL.
    package subscript(_ column: Int) -> String? {
        answer.bytes(row: index, column: column).map { String(decoding: $0, as: UTF8.self) }
    }

    /// The text of a column.
    ///
    /// - Throws: ``ColumnError`` when it is NULL.
    package func string(_ column: String) throws -> String {
        guard let text = self[column] else {
            throw ColumnError(column: column, expected: "a text", isNull: true)
        }
        return text
    }

    /// A whole number.
    ///
    /// - Throws: ``ColumnError`` when it is NULL or no whole number of 64 bits.
    package func int(_ column: String) throws -> Int64 {
        try required(optionalInt(column), column, "a whole number")
    }

    /// A whole number; nil for NULL.
    ///
    /// - Throws: ``ColumnError`` when it is no whole number of 64 bits.
    package func optionalInt(_ column: String) throws -> Int64? {
        try converted(column, "a whole number") { Int64($0) }
    }

    /// A number with a fraction.
    ///
    /// - Throws: ``ColumnError`` when it is NULL or no number.
    package func double(_ column: String) throws -> Double {
        try required(optionalDouble(column), column, "a number")
    }

    /// A number with a fraction; nil for NULL.
    ///
    /// - Throws: ``ColumnError`` when it is no number.
    package func optionalDouble(_ column: String) throws -> Double? {
        try converted(column, "a number") { Double($0) }
    }

    /// A truth value.
    ///
    /// - Throws: ``ColumnError`` when it is NULL or not `t` or `f`.
    package func bool(_ column: String) throws -> Bool {
        try required(optionalBool(column), column, "a truth value")
    }

    /// A truth value; nil for NULL.
    ///
    /// - Throws: ``ColumnError`` when it is not `t` or `f`.
    package func optionalBool(_ column: String) throws -> Bool? {
        try converted(column, "a truth value") { text in
            switch text {
            case "t": true
            case "f": false
            default: nil
            }
        }
    }

    /// The bytes of a `bytea`.
    ///
    /// - Throws: ``ColumnError`` when it is NULL or not in the hexadecimal form.
    package func bytes(_ column: String) throws -> [UInt8] {
        let text = answer.bytes(row: index, column: answer.position(of: column))
        guard let text else { throw ColumnError(column: column, expected: "bytes", isNull: true) }
        guard let bytes = Self.unhexed(text) else {
            throw ColumnError(column: column, expected: "bytes", isNull: false)
        }
        return bytes
    }

    private func required<T>(_ value: T?, _ column: String, _ expected: String) throws -> T {
        guard let value else { throw ColumnError(column: column, expected: expected, isNull: true) }
        return value
    }

    private func converted<T>(
        _ column: String,
        _ expected: String,
        _ convert: (String) -> T?
    ) throws -> T? {
        guard let text = self[column] else { return nil }
        guard let value = convert(text) else {
            throw ColumnError(column: column, expected: expected, isNull: false)
        }
        return value
    }

    private static func unhexed(_ text: UnsafeRawBufferPointer) -> [UInt8]? {
        guard text.count.isMultiple(of: 2), text.starts(with: Array("\\x".utf8)) else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count / 2 - 1)
        for index in stride(from: 2, to: text.count, by: 2) {
            guard let high = nibble(text[index]), let low = nibble(text[index + 1]) else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    private static func nibble(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        default: nil
        }
    }
}

/// A column of a result that does not hold what was asked for.
///
/// The value itself is never named.
package struct ColumnError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The column's name.
    package let column: String
    /// What was asked for, such as "a whole number".
    package let expected: String
    /// Whether the column was NULL.
    package let isNull: Bool

    /// Which column, and what was expected.
    package var description: String {
        "The result's column \(column) holds \(isNull ? "NULL" : "something else") "
            + "where \(expected) was expected."
    }
}
