/// Makes the rows of a table of the fields that PostgreSQL gives back.
///
/// A row is made without its initialisers: each stored property is put into the row's memory by the
/// column that it was written to. That takes a struct each of whose stored properties, or the stored
/// properties of that in turn, is the property of a column. Columns over computed properties are
/// passed over; of two columns over one property the first is read.
package struct RowReader<Row: TableRow>: Sendable {
    private let assembly: RowAssembly

    /// Why rows of this type cannot be made, as a clause; nil when they can.
    package static func obstacle() -> String? {
        do {
            _ = try RowPlan(Row.self)
            return nil
        } catch {
            return error.clause
        }
    }

    /// Gets ready to read rows.
    ///
    /// - Parameter types: The columns' real types, in the order of the table's columns.
    /// - Throws: ``RowObstacle`` where ``obstacle()`` is not nil.
    package init(types: [ColumnType]) throws(RowObstacle) {
        let columns = Row.table.columns
        precondition(
            types.count == columns.count,
            "\(types.count) types for \(columns.count) columns"
        )
        assembly = RowAssembly(
            table: Row.table.name,
            columnCount: columns.count,
            parts: try RowPlan(Row.self).parts.map { part in
                RowAssembly.Part(
                    column: part.column,
                    name: columns[part.column].name,
                    type: types[part.column],
                    offset: part.offset,
                    codec: columns[part.column].codec
                )
            }
        )
    }

    /// Makes a row.
    ///
    /// - Parameter fields: The fields of all columns, in the order of the table's columns; nil is
    ///   NULL. Their bytes are valid for the call.
    /// - Returns: The row.
    /// - Throws: ``RowReadingError`` with the table and column.
    package func row(_ fields: [UnsafeRawBufferPointer?]) throws -> Row {
        let row = UnsafeMutablePointer<Row>.allocate(capacity: 1)
        defer { row.deallocate() }
        try assembly.initialize(UnsafeMutableRawPointer(row), with: fields)
        return row.move()
    }
}

/// Why rows of a type cannot be read back.
package struct RowObstacle: Error, Equatable, CustomStringConvertible {
    /// The reason as a clause: `its property 'note' is in no column`.
    package let clause: String

    package var description: String { clause }
}

/// A stored value that does not fit the row type.
package struct RowReadingError: Error, Equatable, CustomStringConvertible {
    /// The table's name, unqualified.
    package let table: String
    /// The column's name.
    package let column: String
    /// What is wrong.
    package let reason: ColumnError

    /// Table, column and reason; never the value.
    package var description: String { "\(table).\(column): \(reason)" }
}

/// Which column makes which stored property of a row.
private struct RowPlan<Row: TableRow> {
    private(set) var parts: [(column: Int, offset: Int)] = []
    private let columns = Row.table.columns

    init(_: Row.Type) throws(RowObstacle) {
        guard let row = StoredProperty.whole(Row.self), row.isStruct else {
            throw RowObstacle(clause: "it is no struct")
        }
        for property in row.properties { try add(property, in: 0, path: property.name) }
    }

    private mutating func add(
        _ property: StoredProperty,
        in start: Int,
        path: String
    ) throws(RowObstacle) {
        let offset = start + property.offset
        let type = ObjectIdentifier(property.type)
        let column = columns.firstIndex {
            $0.offset == offset && ObjectIdentifier($0.codec.type) == type
        }
        if let column { return parts.append((column, offset)) }
        let inner = property.properties
        let isSplit = columns.contains { column in
            column.offset.map((offset..<offset + property.size).contains) ?? false
        }
        // A type whose properties the runtime does not tell, such as one of C, has none to cover it.
        guard property.size == 0 || isSplit && !inner.isEmpty else {
            throw RowObstacle(clause: "its property '\(path)' is in no column")
        }
        for part in inner { try add(part, in: offset, path: "\(path).\(part.name)") }
    }
}

/// Makes rows of any type; see ``ColumnCodec`` for why it is not generic.
private struct RowAssembly: Sendable {
    struct Part {
        let column: Int
        let name: String
        let type: ColumnType
        let offset: Int
        let codec: ColumnCodec
    }

    let table: String
    let columnCount: Int
    let parts: [Part]

    /// Initialises the row at an address; when it throws, nothing there is initialised.
    func initialize(
        _ row: UnsafeMutableRawPointer,
        with fields: [UnsafeRawBufferPointer?]
    ) throws {
        precondition(
            fields.count == columnCount,
            "\(fields.count) fields for \(columnCount) columns"
        )
        for (done, part) in parts.enumerated() {
            do {
                try part.codec.initialize(fields[part.column], part.type, row + part.offset)
            } catch {
                for part in parts[..<done] { part.codec.deinitialize(row + part.offset) }
                guard let reason = error as? ColumnError else { throw error }
                throw RowReadingError(table: table, column: part.name, reason: reason)
            }
        }
    }
}
