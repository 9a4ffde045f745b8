internal import Glibc
internal import ProjectionKit

/// Splits a source into lines without copying them.
///
/// Used by one thread.
///
/// Lines end with LF or CR LF; the last one may lack its end. Memory grows to the longest line,
/// up to ``longestLine``.
final class LineReader {
    /// A line, lent until the next call.
    enum Line {
        /// The bytes without their end, readable for ``PayloadParser/padding`` bytes past them.
        case text(UnsafeRawBufferPointer)
        /// The first bytes of a line that is longer than ``longestLine``; the rest is skipped.
        case tooLong(UnsafeRawBufferPointer)
    }

    /// Bytes a line may have: 64 MiB.
    static let longestLine = 64 << 20

    /// Lines read so far.
    private(set) var number = 0

    private let source: ByteSource
    private var buffer: UnsafeMutableRawBufferPointer
    private var start = 0
    private var searched = 0
    private var end = 0
    private var isAtEnd = false

    init(_ source: ByteSource) {
        self.source = source
        buffer = .allocate(byteCount: (1 << 20) + PayloadParser.padding, alignment: 64)
        buffer.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit { buffer.deallocate() }

    /// The next line; nil at the end.
    func next() throws -> Line? {
        while true {
            if let newline = indexOfNewline() {
                return take(upTo: newline, next: newline + 1)
            }
            if end - start > Self.longestLine { return try skipLongLine() }
            if isAtEnd {
                guard start < end else { return nil }
                return take(upTo: end, next: end)
            }
            try readMore()
        }
    }

    private func take(upTo newline: Int, next: Int) -> Line {
        let isByteOrderMark =
            number == 0 && buffer[start..<newline].starts(with: [0xef, 0xbb, 0xbf])
        let from = isByteOrderMark ? start + 3 : start
        let isCarriageReturn = newline > from && buffer[newline - 1] == 0x0d
        let line = UnsafeRawBufferPointer(
            rebasing: buffer[from..<(isCarriageReturn ? newline - 1 : newline)]
        )
        number += 1
        start = next
        searched = next
        return line.count > Self.longestLine ? .tooLong(beginning(of: line)) : .text(line)
    }

    private func beginning(of line: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: line.prefix(1_024))
    }

    private func indexOfNewline() -> Int? {
        guard searched < end, let base = buffer.baseAddress,
            let found = memchr(base + searched, 0x0a, end - searched)
        else {
            searched = end
            return nil
        }
        return UnsafeRawPointer(found) - UnsafeRawPointer(base)
    }

    /// Keeps the first bytes of the line at the front of the buffer and reads over the rest.
    private func skipLongLine() throws -> Line {
        number += 1
        let kept = 1_024
        UnsafeMutableRawBufferPointer(rebasing: buffer[..<kept])
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[start..<(start + kept)]))
        (start, searched, end) = (kept, kept, kept)
        while !isAtEnd {
            end = kept
            searched = kept
            try append()
            if let newline = indexOfNewline() {
                start = newline + 1
                searched = start
                break
            }
            start = end
        }
        return .tooLong(UnsafeRawBufferPointer(rebasing: buffer[..<kept]))
    }

    private func readMore() throws {
        if start > 0 {
            UnsafeMutableRawBufferPointer(rebasing: buffer[..<(end - start)])
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[start..<end]))
            searched -= start
            end -= start
            start = 0
        }
        if end + PayloadParser.padding >= buffer.count { grow() }
        try append()
    }

    private func append() throws {
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
