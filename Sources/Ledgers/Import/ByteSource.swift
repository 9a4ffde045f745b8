internal import CZlib
internal import Glibc

/// Why bytes cannot be read, as a clause.
struct ByteSourceError: Error {
    let reason: String
}

/// Reads a file or standard input, and inflates it when it is gzip.
///
/// Used by one thread.
///
/// A gzip file may consist of several members, as `cat a.gz b.gz` makes them.
final class ByteSource {
    /// Bytes read so far, as they are stored.
    private(set) var bytesRead = 0
    /// Bytes the file has; nil when that is not known beforehand.
    let bytesTotal: Int?

    private let file: Int32
    private let isStandardInput: Bool
    private let input: UnsafeMutableRawBufferPointer
    private var unread: Range<Int> = 0..<0
    private var isAtEnd = false
    private var inflater: Inflater?

    /// Opens a file; `-` is standard input.
    init(path: String) throws {
        isStandardInput = path == "-"
        file = isStandardInput ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw ByteSourceError(reason: String(cString: strerror(errno))) }
        var status = stat()
        let isFile = fstat(file, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
        bytesTotal = isFile ? Int(status.st_size) : nil
        input = .allocate(byteCount: 1 << 18, alignment: 16)
    }

    deinit {
        if !isStandardInput { close(file) }
        input.deallocate()
    }

    /// Fills a part of the buffer.
    ///
    /// - Returns: The number of bytes; 0 at the end.
    func read(into target: UnsafeMutableRawBufferPointer) throws -> Int {
        if bytesRead == 0 { try begin() }
        guard let inflater else { return try readPlain(into: target) }
        while true {
            if unread.isEmpty, !isAtEnd { try fillInput() }
            let (used, made) = try inflater.inflate(
                UnsafeRawBufferPointer(rebasing: input[unread]),
                into: target,
                isAtEnd: isAtEnd
            )
            unread = (unread.lowerBound + used)..<unread.upperBound
            if made > 0 || (isAtEnd && unread.isEmpty) { return made }
        }
    }

    private func begin() throws {
        // A pipe may deliver a single byte first, and the mark of gzip has two.
        while unread.count < 2, !isAtEnd { try fillInput() }
        let isGzip = unread.count >= 2 && input[0] == 0x1f && input[1] == 0x8b
        if isGzip { inflater = try Inflater() }
    }

    private func readPlain(into target: UnsafeMutableRawBufferPointer) throws -> Int {
        guard unread.isEmpty else {
            let count = min(unread.count, target.count)
            let from = unread.lowerBound
            target.copyMemory(from: UnsafeRawBufferPointer(rebasing: input[from..<(from + count)]))
            unread = (from + count)..<unread.upperBound
            return count
        }
        return try readFile(into: target)
    }

    /// Reads behind what is unread, after moving that to the front.
    private func fillInput() throws {
        let count = unread.count
        UnsafeMutableRawBufferPointer(rebasing: input[..<count])
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: input[unread]))
        let more = try readFile(into: UnsafeMutableRawBufferPointer(rebasing: input[count...]))
        unread = 0..<(count + more)
    }

    private func readFile(into target: UnsafeMutableRawBufferPointer) throws -> Int {
        while true {
            let count = Glibc.read(file, target.baseAddress, target.count)
            if count >= 0 {
                bytesRead += count
                isAtEnd = count == 0
                return count
            }
            guard errno == EINTR else {
                throw ByteSourceError(reason: String(cString: strerror(errno)))
            }
        }
    }
}

/// zlib's inflate over the members of a gzip file.
private final class Inflater {
    private let stream: UnsafeMutablePointer<z_stream>
    private var isInsideMember = true
    private var hasEnded = false

    init() throws {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        // 15 bits of window, and 16 for a gzip header (zlib.h, inflateInit2).
        let code = inflateInit2_(
            stream,
            15 + 16,
            ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size)
        )
        guard code == Z_OK else { throw ByteSourceError(reason: "zlib cannot start (\(code))") }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    func inflate(
        _ source: UnsafeRawBufferPointer,
        into target: UnsafeMutableRawBufferPointer,
        isAtEnd: Bool
    ) throws -> (used: Int, made: Int) {
        if !isInsideMember {
            guard let first = source.first else { return (0, 0) }
            // Some tools pad the file with zeros (gzip(1), "trailing zeros").
            if first == 0 || hasEnded {
                hasEnded = true
                guard source.allSatisfy({ $0 == 0 }) else {
                    throw ByteSourceError(reason: "something follows the end of the gzip data")
                }
                return (source.count, 0)
            }
            guard first == 0x1f else {
                throw ByteSourceError(reason: "something follows the end of the gzip data")
            }
            inflateReset(stream)
            isInsideMember = true
        }
        if source.isEmpty, isAtEnd {
            throw ByteSourceError(reason: "the gzip data end too early: the file is cut off")
        }
        return try step(source, into: target)
    }

    private func step(
        _ source: UnsafeRawBufferPointer,
        into target: UnsafeMutableRawBufferPointer
    ) throws -> (used: Int, made: Int) {
        stream.pointee.next_in = UnsafeMutablePointer(
            mutating: source.baseAddress?.assumingMemoryBound(to: UInt8.self)
        )
        stream.pointee.avail_in = UInt32(source.count)
        stream.pointee.next_out = target.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_out = UInt32(clamping: target.count)
        let code = CZlib.inflate(stream, Z_NO_FLUSH)
        switch code {
        case Z_OK, Z_BUF_ERROR: break
        case Z_STREAM_END: isInsideMember = false
        default:
            let reason = stream.pointee.msg.map { String(cString: $0) } ?? "code \(code)"
            throw ByteSourceError(reason: "the gzip data are damaged: \(reason)")
        }
        let room = UInt32(clamping: target.count)
        return (source.count - Int(stream.pointee.avail_in), Int(room - stream.pointee.avail_out))
    }
}
