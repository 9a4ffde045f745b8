internal import Glibc
internal import ProjectionKit

/// Searching in bytes.
enum Memory {
    /// The first place of a byte from an index on; nil where it is not there.
    static func firstIndex(
        of byte: UInt8,
        in bytes: UnsafeRawBufferPointer,
        from start: Int
    ) -> Int? {
        guard start < bytes.count, let base = bytes.baseAddress,
            let found = memchr(base + start, Int32(byte), bytes.count - start)
        else { return nil }
        return UnsafeRawPointer(found) - base
    }

    /// How often a line ends in the bytes.
    static func newlines(in bytes: UnsafeRawBufferPointer) -> Int {
        var count = 0
        var index = 0
        while let found = firstIndex(of: 0x0a, in: bytes, from: index) {
            count += 1
            index = found + 1
        }
        return count
    }
}

/// Splits a source into records without copying them.
///
/// Used by one thread at a time. Memory grows to the longest record, up to ``longestRecord``.
final class RecordReader {
    /// A record, lent until the next call.
    struct Record {
        /// All bytes from the end of the record before to the end of this one.
        let raw: UnsafeRawBufferPointer
        /// The record itself, readable for ``PayloadParser/padding`` bytes past its end.
        let text: UnsafeRawBufferPointer
        /// The line it begins in, or the number of the element; from 1.
        let number: Int
        let hasEnd: Bool
    }

    /// Bytes a record may have: 64 MiB.
    static let longestRecord = 64 << 20
    /// Bytes that tell what a file is, and whether it was seen before.
    static let headLength = 64 << 10

    let source: ByteSource
    /// The offset in the decompressed text of the next record's bytes.
    private(set) var offset = 0
    /// The line or the element of the last record.
    private(set) var number = 0

    private var splitter: RecordSplitter
    /// Lines, or elements, before `offset`.
    private var passed = 0
    private var buffer: UnsafeMutableRawBufferPointer
    private var start = 0
    private var end = 0
    private var isAtEnd = false

    init(_ source: ByteSource) {
        self.source = source
        splitter = RecordSplitter(.lines)
        buffer = .allocate(byteCount: (1 << 20) + PayloadParser.padding, alignment: 64)
        buffer.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit { buffer.deallocate() }

    var form: RecordForm { splitter.form }

    /// The first ``headLength`` bytes, or fewer where there are no more; before any record is read.
    func head() throws -> UnsafeRawBufferPointer {
        while end - start < Self.headLength, !isAtEnd { try readMore() }
        return UnsafeRawBufferPointer(rebasing: buffer[start..<min(end, start + Self.headLength)])
    }

    /// Begins to read records.
    ///
    /// - Returns: What stands before the first one, a byte order mark or an array's bracket.
    func begin(_ form: RecordForm) -> UnsafeRawBufferPointer {
        splitter = RecordSplitter(form)
        let hasMark = buffer[start..<end].starts(with: [0xef, 0xbb, 0xbf])
        let from = start
        if hasMark { start += 3 }
        if form == .array {
            start += splitter.enterArray(UnsafeRawBufferPointer(rebasing: buffer[start..<end])) ?? 0
        }
        offset = start - from
        return UnsafeRawBufferPointer(rebasing: buffer[from..<start])
    }

    /// Goes back to the first byte.
    func restart() throws {
        try source.rewind()
        forget()
    }

    /// Forgets what was read, as the source begins again.
    func forget() {
        (start, end, offset, number, passed, isAtEnd) = (0, 0, 0, 0, 0, false)
    }

    /// All that was read and not taken yet.
    var unread: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: buffer[start..<end]) }

    /// Passes over bytes that were read before.
    ///
    /// - Parameters:
    ///   - target: The offset where the next record's bytes begin.
    ///   - elements: How many records were read before it.
    ///   - body: Is lent the bytes.
    /// - Returns: False where the source ends before that.
    /// - Throws: ``ByteSourceError``; what `body` throws.
    func advance(
        to target: Int,
        elements: Int,
        _ body: (UnsafeRawBufferPointer) throws -> Void
    ) throws -> Bool {
        while offset < target {
            if start == end {
                if isAtEnd { return false }
                try readMore()
                continue
            }
            let count = min(end - start, target - offset)
            let bytes = UnsafeRawBufferPointer(rebasing: buffer[start..<(start + count)])
            try body(bytes)
            if form != .array { passed += Memory.newlines(in: bytes) }
            start += count
            offset += count
        }
        if form == .array, elements > 0 {
            passed = elements
            splitter.continueBehindElement()
        }
        return true
    }

    /// The next record; nil at the end.
    ///
    /// - Throws: ``ByteSourceError`` and ``RecordSplitError``, after which there are no more.
    func next() throws -> Record? {
        while true {
            let bytes = unread
            let before = passed
            do {
                if let span = try splitter.next(in: bytes, isAtEnd: isAtEnd) {
                    return try take(span, of: bytes)
                }
            } catch {
                number = before + 1
                throw error
            }
            guard end - start <= Self.longestRecord + 1_024 else {
                number = before + 1
                throw RecordSplitError(reason: tooLong)
            }
            if isAtEnd { return nil }
            try readMore()
        }
    }

    private var tooLong: String {
        switch form {
        case .lines: "it is longer than 64 MiB"
        case .array: "it is longer than 64 MiB, or a bracket or a quote is not closed"
        case .rows: "it is longer than 64 MiB, or a quote is not closed"
        }
    }

    private func take(_ span: RecordSpan, of bytes: UnsafeRawBufferPointer) throws -> Record {
        number = passed + 1
        guard span.text.count <= Self.longestRecord else { throw RecordSplitError(reason: tooLong) }
        let raw = UnsafeRawBufferPointer(rebasing: bytes[..<span.next])
        switch form {
        case .lines: passed += 1
        case .array: passed += 1
        case .rows: passed += max(1, Memory.newlines(in: raw))
        }
        start += span.next
        offset += span.next
        return Record(
            raw: raw,
            text: UnsafeRawBufferPointer(rebasing: bytes[span.text]),
            number: number,
            hasEnd: span.hasEnd
        )
    }

    private func readMore() throws {
        if start > 0 {
            UnsafeMutableRawBufferPointer(rebasing: buffer[..<(end - start)])
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[start..<end]))
            end -= start
            start = 0
        }
        if end + PayloadParser.padding >= buffer.count { grow() }
        let room = UnsafeMutableRawBufferPointer(
            rebasing: buffer[end..<(buffer.count - PayloadParser.padding)]
        )
        let count = try source.read(into: room)
        end += count
        isAtEnd = count == 0
    }

    private func grow() {
        let larger = UnsafeMutableRawBufferPointer.allocate(
            byteCount: buffer.count * 2,
            alignment: 64
        )
        larger.initializeMemory(as: UInt8.self, repeating: 0)
        larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[..<end]))
        buffer.deallocate()
        buffer = larger
    }
}
