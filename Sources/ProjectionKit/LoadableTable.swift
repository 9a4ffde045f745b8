/// A ``Table`` seen without its row type: what loading needs of it.
package protocol LoadableTable: Sendable {
    /// The table's name, unqualified.
    var name: String { get }
    /// The key's column names.
    var key: [String] { get }
    /// Names of the columns that are written, in the order of the encoded fields.
    var columnNames: [String] { get }
    /// The Swift side of the columns, in the same order.
    var columnValues: [ColumnValueDescription] { get }
    /// Whether the rows are for readers; working state is not loaded.
    var isForReaders: Bool { get }
    /// Number of rows.
    var count: Int { get }
    /// Upper bound of row indexes; some below it may be vacant.
    var endIndex: Int { get }

    /// Appends rows in PostgreSQL's binary COPY format: for each a field count, then its fields.
    ///
    /// - Parameters:
    ///   - range: Row indexes below ``endIndex``.
    ///   - types: The columns' real types, in the order of ``columnNames``.
    ///   - buffer: Where they go.
    /// - Returns: Number of rows appended.
    /// - Throws: ``RowEncodingError`` with the table and column; the buffer then ends in the middle
    ///   of a row.
    func encodeRows(
        _ range: Range<Int>, as types: [ColumnType], into buffer: inout RowBuffer
    ) throws -> Int
}

/// A value that does not fit its column.
package struct RowEncodingError: Error, Equatable, CustomStringConvertible {
    /// The table's name, unqualified.
    package let table: String
    /// The column's name.
    package let column: String
    /// What is wrong.
    package let reason: ColumnError

    /// `order_summary.note: a text holds the character U+0000, which PostgreSQL cannot store`.
    package var description: String { "\(table).\(column): \(reason)" }
}

extension Table: LoadableTable {
    package var name: String { Row.table.name }
    package var key: [String] { Row.table.key }
    package var columnNames: [String] { Row.table.columns.map(\.name) }
    package var columnValues: [ColumnValueDescription] { Row.table.columns.map(\.value) }
    package var isForReaders: Bool { audience == .readers }
    package var endIndex: Int { storage.end }

    package func encodeRows(
        _ range: Range<Int>, as types: [ColumnType], into buffer: inout RowBuffer
    ) throws -> Int {
        let columns = Row.table.columns
        precondition(types.count == columns.count, "\(types.count) types for \(columns.count) columns")
        var rows = 0
        for index in range where !storage.isVacant(index) {
            let row = UnsafePointer(storage.pointer(at: index))
            buffer.append(Int16(columns.count))
            for (column, type) in zip(columns, types) {
                do {
                    try column.encode(row, &buffer, type)
                } catch let reason as ColumnError {
                    throw RowEncodingError(table: name, column: column.name, reason: reason)
                }
            }
            rows += 1
        }
        return rows
    }
}
