internal import CZlib
internal import CZstd
internal import Glibc

/// How the bytes of a file are compressed.
enum Compression: String {
    case gzip
    case zstd

    /// Looks at the first bytes; nil where they are neither gzip nor zstd.
    init?(beginning bytes: UnsafeRawBufferPointer) {
        let zstd: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd]
        if bytes.starts(with: [0x1f, 0x8b]) {
            self = .gzip
        } else if bytes.starts(with: zstd) {
            self = .zstd
        } else if bytes.count >= 4, bytes[0] & 0xf0 == 0x50,
            bytes[1...3].elementsEqual([0x2a, 0x4d, 0x18])
        {
            // A skippable frame (RFC 8878, section 3.1.2).
            self = .zstd
        } else {
            return nil
        }
    }

    func makeDecompressor() throws -> any Decompressor {
        switch self {
        case .gzip: try GzipDecompressor()
        case .zstd: try ZstdDecompressor()
        }
    }
}

/// Decompresses bytes that come in pieces.
///
/// Used by one thread.
protocol Decompressor: AnyObject {
    /// Whether the data may end here: between two members or frames.
    var mayEnd: Bool { get }

    /// Takes some of the source, and fills some of the target.
    ///
    /// - Throws: ``ByteSourceError`` where the data are damaged.
    func step(
        _ source: UnsafeRawBufferPointer,
        into target: UnsafeMutableRawBufferPointer
    ) throws -> (used: Int, made: Int)
}

/// zlib's inflate over the members of a gzip file.
final class GzipDecompressor: Decompressor {
    private let stream: UnsafeMutablePointer<z_stream>
    private var isInsideMember = true
    private var isPadding = false

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

    var mayEnd: Bool { !isInsideMember }

    func step(
        _ source: UnsafeRawBufferPointer,
        into target: UnsafeMutableRawBufferPointer
    ) throws -> (used: Int, made: Int) {
        if !isInsideMember {
            guard let first = source.first else { return (0, 0) }
            // Some tools pad the file with zeros (gzip(1), "trailing zeros").
            if first == 0 || isPadding {
                isPadding = true
                guard source.allSatisfy({ $0 == 0 }) else { throw Self.trailing }
                return (source.count, 0)
            }
            guard first == 0x1f else { throw Self.trailing }
            inflateReset(stream)
            isInsideMember = true
        }
        return try inflate(source, into: target)
    }

    private static var trailing: ByteSourceError {
        ByteSourceError(reason: "something else follows the end of the gzip data")
    }

    private func inflate(
        _ source: UnsafeRawBufferPointer,
        into target: UnsafeMutableRawBufferPointer
    ) throws -> (used: Int, made: Int) {
        let room = UInt32(clamping: target.count)
        stream.pointee.next_in = UnsafeMutablePointer(
            mutating: source.baseAddress?.assumingMemoryBound(to: UInt8.self)
        )
        stream.pointee.avail_in = UInt32(source.count)
        stream.pointee.next_out = target.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_out = room
        let code = CZlib.inflate(stream, Z_NO_FLUSH)
        switch code {
        case Z_OK, Z_BUF_ERROR: break
        case Z_STREAM_END: isInsideMember = false
        default:
            let reason = stream.pointee.msg.map { String(cString: $0) } ?? "code \(code)"
            throw ByteSourceError(reason: "its gzip data are damaged: \(reason)")
        }
        return (source.count - Int(stream.pointee.avail_in), Int(room - stream.pointee.avail_out))
    }
}

/// libzstd over the frames of a zstd file.
final class ZstdDecompressor: Decompressor {
    private let context: OpaquePointer
    private(set) var mayEnd = true
    private var hasFrames = false

    /// The longest window that a 64-bit libzstd takes: 2 GiB, as of `zstd --long=31`.
    private static let longestWindow: Int32 = 31

    init() throws {
        guard let context = ZSTD_createDCtx() else {
            throw ByteSourceError(reason: "there is no memory for zstd")
        }
        self.context = context
        // Where it is not taken, the limit stays 128 MiB, and a longer window is an error by name.
        _ = ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, Self.longestWindow)
    }

    deinit { ZSTD_freeDCtx(context) }

    func step(
        _ source: UnsafeRawBufferPointer,
        into target: UnsafeMutableRawBufferPointer
    ) throws -> (used: Int, made: Int) {
        // Between two frames an empty input would begin a frame that never comes.
        if source.isEmpty, mayEnd { return (0, 0) }
        var input = ZSTD_inBuffer(src: source.baseAddress, size: source.count, pos: 0)
        var output = ZSTD_outBuffer(dst: target.baseAddress, size: target.count, pos: 0)
        let code = ZSTD_decompressStream(context, &output, &input)
        guard ZSTD_isError(code) == 0 else {
            let reason = String(cString: ZSTD_getErrorName(code))
            throw ByteSourceError(
                reason: mayEnd && input.pos == 0 && hasFrames
                    ? "something else follows the end of the zstd data"
                    : "its zstd data are damaged: \(reason)"
            )
        }
        mayEnd = code == 0
        if mayEnd { hasFrames = true }
        return (input.pos, output.pos)
    }
}
