/// Encodes keys of a table by themselves, to ask PostgreSQL for their rows.
///
/// A key is the value of the one key column, or a struct whose stored properties - in the order of
/// their declaration, those of structs in it in their place - are the values of the key columns in the
/// order in which the table names its key.
package struct KeyWriter<Row: TableRow>: Sendable {
    private let parts: [(column: Int, offset: Int)]
    private let columns = Row.table.columns

    /// Why keys of this type cannot be encoded, as a clause; nil when they can.
    package static func obstacle() -> String? {
        do {
            _ = try KeyWriter()
            return nil
        } catch {
            return error.clause
        }
    }

    /// Gets ready to encode keys.
    ///
    /// - Throws: ``RowObstacle`` where ``obstacle()`` is not nil.
    package init() throws(RowObstacle) {
        let indexes = Row.table.key.compactMap { name in
            Row.table.columns.firstIndex { $0.name == name }
        }
        for index in indexes where Row.table.columns[index].value.isNullable {
            let name = Row.table.columns[index].name
            throw RowObstacle(clause: "its key column '\(name)' can be NULL")
        }
        var offsets: [Int] = []
        let types = indexes.map { ObjectIdentifier(Row.table.columns[$0].codec.type) }
        guard let key = StoredProperty.whole(Row.Key.self),
            KeyWriter.place(key, in: 0, types, &offsets), offsets.count == types.count
        else {
            let names = Row.table.key.joined(separator: ", ")
            throw RowObstacle(clause: "its key is not made of the values of \(names)")
        }
        parts = zip(indexes, offsets).map { ($0, $1) }
    }

    /// Appends a key as the fields of the key columns, in the order in which the table names them:
    /// for each its length in 4 bytes, then its bytes.
    ///
    /// - Parameters:
    ///   - key: The key.
    ///   - buffer: Where it goes.
    ///   - types: The real types of all columns, in the order of the table's columns.
    /// - Throws: ``RowEncodingError`` with the table and column; the buffer then ends in the middle
    ///   of a key.
    package func append(
        _ key: Row.Key,
        to buffer: inout RowBuffer,
        as types: [ColumnType]
    ) throws {
        try withUnsafePointer(to: key) { key in
            for part in parts {
                try append(part.column, to: &buffer, as: types) { column, type, buffer in
                    try column.codec.encode(UnsafeRawPointer(key) + part.offset, &buffer, type)
                }
            }
        }
    }

    /// Whether the key columns of a row hold its key.
    ///
    /// - Parameters:
    ///   - row: The row.
    ///   - types: The real types of all columns, in the order of the table's columns.
    /// - Returns: Whether a row that is asked for by this row's key is this one.
    /// - Throws: ``RowEncodingError`` with the table and column.
    package func matches(_ row: Row, as types: [ColumnType]) throws -> Bool {
        var buffer = RowBuffer(capacity: 256)
        try append(row.key, to: &buffer, as: types)
        let end = buffer.count
        try withUnsafePointer(to: row) { row in
            for part in parts {
                try append(part.column, to: &buffer, as: types) { column, type, buffer in
                    try column.encode(UnsafeRawPointer(row), &buffer, type)
                }
            }
        }
        return buffer.bytes[..<end].elementsEqual(buffer.bytes[end...])
    }

    private func append(
        _ index: Int,
        to buffer: inout RowBuffer,
        as types: [ColumnType],
        _ encode: (Column<Row>, ColumnType, inout RowBuffer) throws -> Void
    ) throws {
        do {
            try encode(columns[index], types[index], &buffer)
        } catch let reason as ColumnError {
            throw RowEncodingError(
                table: Row.table.name,
                column: columns[index].name,
                reason: reason
            )
        }
    }

    /// Finds the values of `types`, in this order, in a property; false when there is anything else.
    private static func place(
        _ property: StoredProperty,
        in start: Int,
        _ types: [ObjectIdentifier],
        _ offsets: inout [Int]
    ) -> Bool {
        let offset = start + property.offset
        if offsets.count < types.count, types[offsets.count] == ObjectIdentifier(property.type) {
            offsets.append(offset)
            return true
        }
        let inner = property.properties
        guard property.size == 0 || !inner.isEmpty else { return false }
        return inner.allSatisfy { place($0, in: offset, types, &offsets) }
    }
}
