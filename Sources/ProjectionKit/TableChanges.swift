/// What has to be done to a table in PostgreSQL for it to hold the rows of a fold again.
package struct TableChanges: Equatable, Sendable {
    /// Rows that are new.
    package var inserted = 0
    /// Rows that were there and are different.
    package var updated = 0
    /// Rows that are gone.
    package var deleted = 0
    /// Whether the reducer has put another table in this one's place: all rows go, and those of the
    /// new one are among the inserted.
    package var isReplaced = false

    /// None.
    package init() {}

    /// Rows to be written.
    package var rows: Int { inserted + updated + deleted }
    /// Whether there is nothing to do.
    package var isEmpty: Bool { rows == 0 && !isReplaced }
}

/// What is to be done with a row; the raw values travel in front of its fields.
package enum RowChange: Int16, Sendable {
    case delete = 0
    case update = 1
    case insert = 2
}

extension RowTable where Audience == TableAudience.Readers {
    package func beginJournal(wants: RowWants?) {
        storage.journal = TableJournal(
            gaps: wants.map { TableGaps(wants: $0) },
            texts: storage.texts
        )
    }

    package func encodeChanges(
        as types: [ColumnType],
        earlierAs fieldTypes: [UInt32],
        into buffer: inout RowBuffer
    ) throws -> TableChanges {
        let encoder = ChangeEncoder(
            table: name,
            columns: Row.table.columns,
            types: types,
            fieldTypes: fieldTypes
        )
        var changes = TableChanges()
        guard let journal = storage.journal else {
            changes.isReplaced = true
            try storage.forEachIndex { index in
                try encoder.append(.insert, storage.pointer(at: index), to: &buffer)
                changes.inserted += 1
            }
            return changes
        }
        let writer = journal.gaps == nil ? nil : try KeyWriter<Row>()
        for (key, before) in journal.before {
            let index = storage.index(of: key.key, hash: storage.hash(key.key))
            switch (before, index) {
            case (nil, nil): continue
            case (nil, let index?):
                let row = storage.pointer(at: index)
                if let writer, try !writer.matches(row.pointee, as: types) {
                    throw RowObstacle.mixedUpKey(of: name)
                }
                try encoder.append(.insert, storage.pointer(at: index), to: &buffer)
                changes.inserted += 1
            case (let before?, nil):
                try withUnsafePointer(to: before) {
                    try encoder.append(.delete, $0, to: &buffer)
                }
                changes.deleted += 1
            case (let before?, let index?):
                let isChanged = try withUnsafePointer(to: before) {
                    try encoder.append(from: $0, to: storage.pointer(at: index), in: &buffer)
                }
                if isChanged { changes.updated += 1 }
            }
        }
        return changes
    }

    package func settleChanges() {
        let gaps = storage.journal?.gaps
        // What was inserted since is held; what is absent today can be there tomorrow, and the keys
        // that were asked for in vain would add up.
        gaps?.absent.removeAll(keepingCapacity: true)
        storage.journal = TableJournal(gaps: gaps, texts: storage.texts)
    }
}

extension RowTable {
    package func undoChanges() -> Bool {
        guard let journal = storage.journal else { return false }
        for (key, before) in journal.before {
            let key = key.key
            let hash = storage.hash(key)
            let index = storage.index(of: key, hash: hash)
            if let index { storage.pointer(at: index).deinitialize(count: 1) }
            storage.put(before, key: key, hash: hash, at: index)
        }
        journal.before.removeAll(keepingCapacity: true)
        return true
    }
}

/// Encodes changed rows: for each a field count, the change as a field of two bytes, its fields, and a
/// composite value of those that it had before, which is NULL for a row that is inserted or deleted.
///
/// One field, because twice as many columns are more than a table may have, and twice as many bytes more
/// than fit into a page: a composite value is stored out of line where it is long.
private struct ChangeEncoder {
    let rows: RowEncoder
    let fieldTypes: [UInt32]

    init<Row: TableRow>(
        table: String,
        columns: [Column<Row>],
        types: [ColumnType],
        fieldTypes: [UInt32]
    ) {
        rows = RowEncoder(table: table, columns: columns, types: types)
        self.fieldTypes = fieldTypes
    }

    func append(
        _ change: RowChange,
        _ row: UnsafeRawPointer,
        to buffer: inout RowBuffer
    ) throws {
        try begin(change, row, in: &buffer)
        buffer.appendNull()
    }

    private func begin(
        _ change: RowChange,
        _ row: UnsafeRawPointer,
        in buffer: inout RowBuffer
    ) throws {
        buffer.append(Int16(rows.fields.count + 2))
        buffer.append(Int32(2))
        buffer.append(change.rawValue)
        try rows.encodeFields(of: row, into: &buffer)
    }

    /// Appends an update, unless the two rows are the same to PostgreSQL.
    ///
    /// - Returns: Whether they differ.
    func append(
        from before: UnsafeRawPointer,
        to after: UnsafeRawPointer,
        in buffer: inout RowBuffer
    ) throws -> Bool {
        let start = buffer.count
        try begin(.update, after, in: &buffer)
        let middle = buffer.count
        try rows.encodeFields(of: before, into: &buffer)
        let bytes = buffer.bytes
        // Behind the field count and the change.
        guard !bytes[(start + 8)..<middle].elementsEqual(bytes[middle...]) else {
            buffer.truncate(to: start)
            return false
        }
        let fields = Array(bytes[middle...])
        buffer.truncate(to: middle)
        appendRecord(fields, to: &buffer)
        return true
    }

    /// Appends encoded fields, each behind its length, as a field of a composite type.
    private func appendRecord(_ fields: [UInt8], to buffer: inout RowBuffer) {
        buffer.append(Int32(4 + 4 * fieldTypes.count + fields.count))
        buffer.append(Int32(fieldTypes.count))
        fields.withUnsafeBytes { bytes in
            var start = 0
            for type in fieldTypes {
                let length = Int32(
                    bigEndian: bytes.loadUnaligned(fromByteOffset: start, as: Int32.self)
                )
                let end = start + 4 + max(0, Int(length))
                buffer.append(type)
                buffer.append(UnsafeRawBufferPointer(rebasing: bytes[start..<end]))
                start = end
            }
        }
    }
}
