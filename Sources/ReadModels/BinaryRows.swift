/// Takes the rows out of what `COPY … TO STDOUT (FORMAT binary)` sends, as it arrives.
///
/// The bytes may be cut anywhere. What belongs to a row that is not complete is kept, and nothing
/// else, so that memory does not grow with the rows.
///
/// Source: PostgreSQL manual, "COPY", section "Binary Format".
package struct BinaryRows {
    private enum Stage { case header, rows, end }

    private let fieldCount: Int
    private var stage = Stage.header
    /// What has arrived of the row, or of the header, that is not complete.
    private var pending: [UInt8] = []
    /// Bytes that `pending` has to have before it is worth a look.
    private var needed = 0
    /// Bytes in front of the first one that is looked at.
    private var consumed = 0
    private var fields: [UnsafeRawBufferPointer?] = []

    /// Waits for the first byte.
    ///
    /// - Parameter fieldCount: The columns of the COPY statement.
    package init(fieldCount: Int) {
        self.fieldCount = fieldCount
    }

    /// Takes the next bytes and calls `body` with each row that they complete.
    ///
    /// - Parameters:
    ///   - piece: The bytes.
    ///   - body: Called with the fields of a row; nil is NULL. Their bytes are valid for the call.
    /// - Throws: ``BinaryRowsError``, or what `body` threw. There is no going on after either.
    package mutating func take(
        _ piece: UnsafeRawBufferPointer,
        _ body: ([UnsafeRawBufferPointer?]) throws -> Void
    ) throws {
        guard !pending.isEmpty else {
            let used = try parse(piece, body)
            pending.append(contentsOf: piece.dropFirst(used))
            return
        }
        pending.append(contentsOf: piece)
        guard pending.count >= needed else { return }
        var bytes: [UInt8] = []
        swap(&bytes, &pending)
        let used = try bytes.withUnsafeBytes { try parse($0, body) }
        bytes.removeFirst(used)
        pending = bytes
    }

    /// Sees to it that the last row has come, and with it the trailer.
    ///
    /// - Throws: ``BinaryRowsError`` when it has not.
    package func finish() throws {
        guard stage == .end else {
            throw BinaryRowsError(offset: consumed + pending.count, reason: "they end too early")
        }
    }

    /// Goes through all that is complete.
    ///
    /// - Returns: Number of bytes that it took.
    private mutating func parse(
        _ bytes: UnsafeRawBufferPointer,
        _ body: ([UnsafeRawBufferPointer?]) throws -> Void
    ) throws -> Int {
        var used = 0
        while used < bytes.count {
            var cursor = Cursor(bytes: bytes, start: used)
            let isComplete =
                switch stage {
                case .header: try readHeader(&cursor)
                case .rows: try readRow(&cursor, body)
                case .end: throw damage("something follows their end")
                }
            guard isComplete else {
                needed = cursor.index - used
                return used
            }
            consumed += cursor.index - used
            used = cursor.index
        }
        return used
    }

    private mutating func readHeader(_ cursor: inout Cursor) throws -> Bool {
        guard let signature = cursor.bytes(11), let flags = cursor.int32(),
            let length = cursor.int32()
        else { return false }
        guard signature.elementsEqual(Array("PGCOPY\n".utf8) + [0xff, 0x0d, 0x0a, 0x00]) else {
            throw damage("they do not begin as binary rows do")
        }
        // The upper half is for what a reader must understand; nothing there is in use any more.
        guard UInt32(bitPattern: flags) >> 16 == 0, length >= 0 else {
            throw damage("their header asks for what is not known")
        }
        guard cursor.bytes(Int(length)) != nil else { return false }
        stage = .rows
        return true
    }

    private mutating func readRow(
        _ cursor: inout Cursor,
        _ body: ([UnsafeRawBufferPointer?]) throws -> Void
    ) throws -> Bool {
        guard let count = cursor.int16() else { return false }
        guard count != -1 else {
            stage = .end
            return true
        }
        guard count == fieldCount else {
            throw damage("a row has \(count) fields in place of \(fieldCount)")
        }
        fields.removeAll(keepingCapacity: true)
        for _ in 0..<fieldCount {
            guard let length = cursor.int32() else { return false }
            guard length != -1 else {
                fields.append(nil)
                continue
            }
            guard length >= 0 else { throw damage("a field has \(length) bytes") }
            guard let field = cursor.bytes(Int(length)) else { return false }
            fields.append(field)
        }
        try body(fields)
        return true
    }

    private func damage(_ reason: String) -> BinaryRowsError {
        BinaryRowsError(offset: consumed, reason: reason)
    }
}

/// Why bytes are no rows in PostgreSQL's binary COPY format.
package struct BinaryRowsError: Error, Equatable, CustomStringConvertible {
    /// Bytes in front of the row, or the header, that is damaged.
    package let offset: Int
    /// What is wrong, as a clause.
    package let reason: String

    /// What is wrong and where; never a value.
    package var description: String {
        "rows that the server sent are damaged at byte \(offset): \(reason)"
    }
}

/// Reads what is there; its index goes on past the end to where the missing bytes would end.
private struct Cursor {
    let all: UnsafeRawBufferPointer
    var index: Int

    init(bytes: UnsafeRawBufferPointer, start: Int) {
        all = bytes
        index = start
    }

    mutating func bytes(_ count: Int) -> UnsafeRawBufferPointer? {
        let start = index
        index += count
        return index <= all.count ? UnsafeRawBufferPointer(rebasing: all[start..<index]) : nil
    }

    mutating func int16() -> Int16? {
        bytes(2).map { Int16(bigEndian: $0.loadUnaligned(as: Int16.self)) }
    }

    mutating func int32() -> Int32? {
        bytes(4).map { Int32(bigEndian: $0.loadUnaligned(as: Int32.self)) }
    }
}
