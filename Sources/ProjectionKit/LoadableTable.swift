/// A ``Table`` seen without its row type: what loading needs of it.
///
/// A ``WorkingTable`` is none, so that nothing can load one.
package protocol LoadableTable: FoldedTable {
    /// The key's column names.
    var key: [String] { get }
    /// Names of the columns that are written, in the order of the encoded fields.
    var columnNames: [String] { get }
    /// The Swift side of the columns, in the same order.
    var columnValues: [ColumnValueDescription] { get }
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
        _ range: Range<Int>,
        as types: [ColumnType],
        into buffer: inout RowBuffer
    ) throws -> Int

    /// A mark of one row, by which it is found in other folds of the projection.
    ///
    /// - Parameter ordinal: From 0, in the order of the row indexes, vacant ones left out.
    /// - Returns: The mark; nil where there are fewer rows.
    func mark(ofRow ordinal: Int) -> RowMark?

    /// A mark of the row that has a key, by which it is found in other folds of the projection.
    ///
    /// - Parameters:
    ///   - fields: The encoded fields of the key columns, each behind its length.
    ///   - types: The columns' real types.
    /// - Returns: The mark; nil where no row is written down with such a key.
    func mark(ofKey fields: [UInt8], as types: [ColumnType]) -> RowMark?

    /// Begins to note changes; those before are taken as written.
    ///
    /// - Parameter wants: Counts what the reducer asks for and the table does not hold, for a table
    ///   that holds only rows it was given; nil for one that holds all its rows.
    func beginJournal(wants: RowWants?)

    /// Appends the rows that changed since the journal began: for each a field count, a
    /// ``RowChange`` as a field of two bytes, then the fields as ``encodeRows(_:as:into:)`` writes
    /// them; of a row to delete those it had before. One field more holds those that a row to update had
    /// before, as a value of a composite type (`record_recv` of PostgreSQL), and is NULL for any other.
    ///
    /// Rows that are encoded as they were before are left out. The order means nothing.
    ///
    /// - Parameters:
    ///   - types: The columns' real types.
    ///   - fieldTypes: OIDs of the types that the composite type has for them.
    ///   - buffer: Where to.
    /// - Returns: How many of each.
    /// - Throws: ``RowEncodingError``.
    func encodeChanges(
        as types: [ColumnType],
        earlierAs fieldTypes: [UInt32],
        into buffer: inout RowBuffer
    ) throws -> TableChanges

    /// Forgets the changes, because they are written, and goes on noting.
    func settleChanges()

    /// Why the table's rows cannot be read back from PostgreSQL, as a clause; nil when they can.
    var obstacleToReadingBack: String? { get }

    /// Keys that the reducer asked for, of which it is not known whether they have rows.
    var wantedKeys: Int { get }

    /// Rows in memory, for a table that holds only those it was given.
    var heldRows: Int { get }

    /// Appends the wanted keys as rows of the key columns, in the order in which the table names
    /// them.
    ///
    /// - Throws: ``RowEncodingError``; ``RowObstacle``.
    func encodeWantedKeys(as types: [ColumnType], into buffer: inout RowBuffer) throws

    /// Takes in the rows of wanted keys; those that do not come have none.
    ///
    /// - Parameters:
    ///   - types: The columns' real types.
    ///   - feed: Calls its argument with the fields of each row that was found.
    /// - Throws: ``RowReadingError``, ``RowObstacle``; what `feed` throws.
    func admitWantedRows(
        as types: [ColumnType],
        _ feed: ((_ fields: [UnsafeRawBufferPointer?]) throws -> Void) throws -> Void
    ) throws
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

extension RowTable: LoadableTable where Audience == TableAudience.Readers {
    package var key: [String] { Row.table.key }
    package var columnNames: [String] { Row.table.columns.map(\.name) }
    package var columnValues: [ColumnValueDescription] { Row.table.columns.map(\.value) }
    package var endIndex: Int { storage.end }

    package func encodeRows(
        _ range: Range<Int>,
        as types: [ColumnType],
        into buffer: inout RowBuffer
    ) throws -> Int {
        let encoder = RowEncoder(table: name, columns: Row.table.columns, types: types)
        return try storage.withSegments(of: range) { try encoder.encode($0, into: &buffer) }
    }
}

/// Rows that stand one behind the other in memory, seen without their type.
struct RowSegment {
    /// Where the first one stands.
    let start: UnsafeRawPointer
    /// Bytes from one to the next.
    let stride: Int
    /// Their row indexes.
    let indexes: Range<Int>
    /// A set bit for each row index without a row; row indexes beyond its end have rows.
    let vacantBits: [UInt64]

    func isVacant(_ index: Int) -> Bool {
        index >> 6 < vacantBits.count && vacantBits[index >> 6] & (1 << UInt64(index & 63)) != 0
    }
}

/// Encodes rows of any type: generic code that is not specialised costs ten times as much, and the
/// row types are made in other modules.
struct RowEncoder {
    struct Field {
        let column: String
        let type: ColumnType
        let encode: FieldEncoder
        /// What to do instead of calling `encode`, and where the property stands.
        let direct: (field: DirectField, offset: Int)?
    }

    let table: String
    let fields: [Field]

    init<Row: TableRow>(table: String, columns: [Column<Row>], types: [ColumnType]) {
        precondition(
            types.count == columns.count,
            "\(types.count) types for \(columns.count) columns"
        )
        self.table = table
        fields = zip(columns, types).map { column, type in
            Field(
                column: column.name,
                type: type,
                encode: column.encode,
                direct: column.offset.flatMap { offset in
                    DirectField(column.codec.type).map { ($0, offset) }
                }
            )
        }
    }

    func encode(_ segment: RowSegment, into buffer: inout RowBuffer) throws -> Int {
        var rows = 0
        for (offset, index) in segment.indexes.enumerated() where !segment.isVacant(index) {
            try encode(segment.start + offset * segment.stride, into: &buffer)
            rows += 1
        }
        return rows
    }

    private func encode(_ row: UnsafeRawPointer, into buffer: inout RowBuffer) throws {
        buffer.append(Int16(fields.count))
        try encodeFields(of: row, into: &buffer)
    }

    func encodeFields(of row: UnsafeRawPointer, into buffer: inout RowBuffer) throws {
        // By index, because a copy of each field would be retained and released.
        for index in fields.indices {
            do {
                if let (direct, offset) = fields[index].direct {
                    try direct.encode(row + offset, into: &buffer, as: fields[index].type)
                } else {
                    try fields[index].encode(row, &buffer, fields[index].type)
                }
            } catch let reason as ColumnError {
                throw RowEncodingError(table: table, column: fields[index].column, reason: reason)
            }
        }
    }
}
