internal import Glibc

/// Bytes of rows in PostgreSQL's binary COPY format, growing at the end.
///
/// Source: PostgreSQL manual, "COPY", section "Binary Format".
public struct RowBuffer: ~Copyable {
    /// Bytes written so far.
    public private(set) var count = 0

    @usableFromInline var base: UnsafeMutableRawPointer
    @usableFromInline var capacity: Int

    /// An empty buffer with room for that many bytes; it grows when more come.
    public init(capacity: Int = 1 << 16) {
        self.capacity = max(capacity, 64)
        guard let memory = malloc(self.capacity) else {
            preconditionFailure("no memory for \(self.capacity) bytes of encoded rows")
        }
        base = memory
    }

    deinit { free(base) }

    /// What was written.
    public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    /// Forgets what was written and keeps the memory.
    public mutating func removeAll() { count = 0 }

    /// Forgets what was written after the first `count` bytes.
    package mutating func truncate(to count: Int) {
        precondition(count <= self.count, "cannot truncate \(self.count) bytes to \(count)")
        self.count = count
    }

    /// Appends a number, most significant byte first.
    public mutating func append<Number: FixedWidthInteger>(_ number: Number) {
        let size = MemoryLayout<Number>.size
        reserve(size)
        base.storeBytes(of: number.bigEndian, toByteOffset: count, as: Number.self)
        count += size
    }

    /// Appends bytes as they are.
    public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress else { return }
        reserve(bytes.count)
        (base + count).copyMemory(from: source, byteCount: bytes.count)
        count += bytes.count
    }

    /// Appends the length of a field, then its bytes.
    public mutating func appendField(_ bytes: UnsafeRawBufferPointer) {
        append(Int32(bytes.count))
        append(bytes)
    }

    /// Appends a NULL field.
    public mutating func appendNull() { append(Int32(-1)) }

    /// Overwrites the number at `offset`: a length that is known only afterwards.
    public mutating func overwrite(at offset: Int, with number: Int32) {
        precondition(offset + 4 <= count, "offset \(offset) is past the end \(count)")
        base.storeBytes(of: number.bigEndian, toByteOffset: offset, as: Int32.self)
    }

    /// Appends a text field.
    ///
    /// - Throws: ``ColumnError/nulInText`` when it holds the character U+0000, which PostgreSQL
    ///   cannot store (manual, "Character Types").
    public mutating func appendText(_ text: String) throws {
        var text = text
        let holdsNUL = text.withUTF8 { utf8 in
            if let start = utf8.baseAddress, memchr(start, 0, utf8.count) != nil { return true }
            appendField(UnsafeRawBufferPointer(utf8))
            return false
        }
        if holdsNUL { throw ColumnError.nulInText }
    }

    private mutating func reserve(_ bytes: Int) {
        guard count + bytes > capacity else { return }
        capacity = max(count + bytes, capacity * 2)
        guard let larger = realloc(base, capacity) else {
            preconditionFailure("no memory for \(capacity) bytes of encoded rows")
        }
        base = larger
    }
}

/// Why a value cannot be stored in its column, or not be read back from it.
public enum ColumnError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A text holds the character U+0000.
    case nulInText
    /// A time, day or number lies outside what the column's type can hold.
    case outOfRange(ColumnType)
    /// A stored value is NULL where the Swift type has no `nil`.
    case unexpectedNull
    /// A stored value is damaged, or is none that the Swift type can hold.
    case unreadable(ColumnType)

    /// The reason as a clause; never the value.
    public var description: String {
        switch self {
        case .nulInText: "a text holds the character U+0000, which PostgreSQL cannot store"
        case .outOfRange(let type): "a value is outside the range of \(type.sqlName)"
        case .unexpectedNull: "a stored value is NULL, and the row type has no nil for it"
        case .unreadable(let type):
            "a stored value of type \(type.sqlName) is none that the row type can hold"
        }
    }
}
