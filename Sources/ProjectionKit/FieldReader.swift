internal import Glibc

/// Reads the bytes of one field from front to back; what runs past their end throws.
struct FieldReader {
    private let type: ColumnType
    private var rest: UnsafeRawBufferPointer

    /// Starts at the first byte.
    ///
    /// - Throws: ``ColumnError/unexpectedNull`` for NULL.
    init(_ field: UnsafeRawBufferPointer?, as type: ColumnType) throws {
        guard let field else { throw ColumnError.unexpectedNull }
        rest = field
        self.type = type
    }

    /// Reads a field that is one number, most significant byte first.
    static func number<Number: FixedWidthInteger>(
        _ field: UnsafeRawBufferPointer?,
        as type: ColumnType
    ) throws -> Number {
        guard let field else { throw ColumnError.unexpectedNull }
        guard field.count == MemoryLayout<Number>.size else { throw ColumnError.unreadable(type) }
        return Number(bigEndian: field.loadUnaligned(as: Number.self))
    }

    /// What to throw when the bytes are no such value.
    var refusal: ColumnError { .unreadable(type) }

    /// Number of bytes that were not read yet.
    var remaining: Int { rest.count }

    /// Reads a number, most significant byte first.
    mutating func number<Number: FixedWidthInteger>() throws -> Number {
        try Number(bigEndian: bytes(MemoryLayout<Number>.size).loadUnaligned(as: Number.self))
    }

    /// Takes the next bytes.
    mutating func bytes(_ count: Int) throws -> UnsafeRawBufferPointer {
        guard (0...rest.count).contains(count) else { throw refusal }
        let taken = UnsafeRawBufferPointer(rebasing: rest.prefix(count))
        rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
        return taken
    }

    /// Takes all that is left.
    mutating func remainder() -> UnsafeRawBufferPointer {
        let taken = rest
        rest = UnsafeRawBufferPointer(rebasing: rest.suffix(0))
        return taken
    }

    /// Reads all that is left as UTF-8.
    ///
    /// - Throws: ``ColumnError`` also for U+0000, which PostgreSQL cannot store.
    mutating func text() throws -> String {
        let bytes = remainder()
        guard let start = bytes.baseAddress, !bytes.isEmpty else { return "" }
        guard memchr(start, 0, bytes.count) == nil else { throw ColumnError.nulInText }
        let text = bytes.withMemoryRebound(to: UInt8.self) {
            String(validating: $0, as: UTF8.self)
        }
        guard let text else { throw refusal }
        return text
    }

    /// Sees to it that nothing is left.
    func end() throws {
        guard rest.isEmpty else { throw refusal }
    }
}
