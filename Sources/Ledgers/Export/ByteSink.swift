internal import CZlib
internal import CZstd
internal import Glibc

/// Where bytes go: a file descriptor, compressed on the way if that is wanted.
///
/// Used by one thread. A pipe, a terminal or a socket is asked whether it takes more before each
/// write, so that a reader that stands still does not hold up the end of the process.
package final class ByteSink {
    /// How bytes are compressed.
    package enum Compression: String, CaseIterable, Sendable {
        /// RFC 1952.
        case gzip
        /// RFC 8878.
        case zstd
    }

    /// The reader of the pipe has ended: nobody wants more.
    package struct Closed: Error {}

    /// The file system refuses.
    package struct Failure: Error {
        /// Why, as a clause.
        package let reason: String
    }

    private let file: Int32
    private let isRegular: Bool
    private let check: () throws -> Void
    private let compressor: (any Compressor)?

    /// Bytes of the last write that were taken, as they were handed out.
    package private(set) var taken = 0

    /// Bytes that a pipe takes without waiting once it says that it takes any (pipe(7), POSIX.1).
    private static let pipePiece = 4_096

    /// Writes to a descriptor, which the caller closes.
    ///
    /// - Parameters:
    ///   - file: An open descriptor. When it is no regular file, SIGPIPE must not end the
    ///     process.
    ///   - compression: Nil for plain bytes.
    ///   - check: Called at each write, and ten times a second while one waits; what it throws ends
    ///     the write.
    /// - Throws: ``Failure`` when the compressor cannot start.
    package init(
        to file: Int32,
        compression: Compression? = nil,
        checking check: @escaping () throws -> Void
    ) throws {
        self.file = file
        self.check = check
        var status = stat()
        isRegular = fstat(file, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
        compressor =
            switch compression {
            case nil: nil
            case .gzip: try GzipCompressor()
            case .zstd: try ZstdCompressor()
            }
    }

    /// Writes bytes.
    ///
    /// - Throws: ``Closed``, ``Failure``; what the check throws.
    package func write(_ bytes: UnsafeRawBufferPointer) throws {
        guard let compressor else { return try put(bytes) }
        try compressor.add(bytes, isLast: false) { try put($0) }
    }

    /// Ends what is compressed; call it once, behind the last write.
    package func finish() throws {
        try compressor?.add(UnsafeRawBufferPointer(start: nil, count: 0), isLast: true) {
            try put($0)
        }
    }

    /// Waits, and notices when the reader ends meanwhile.
    ///
    /// - Parameter milliseconds: How long.
    /// - Throws: ``Closed``; what the check throws, up to a tenth of a second later.
    package func pause(milliseconds: Int) throws {
        var left = milliseconds
        repeat {
            try check()
            let step = min(left, 100)
            left -= step
            if isRegular {
                usleep(UInt32(step) * 1_000)
            } else {
                var entry = pollfd(fd: file, events: 0, revents: 0)
                poll(&entry, 1, Int32(step))
                if entry.revents & Int16(POLLERR | POLLNVAL) != 0 { throw Closed() }
            }
        } while left > 0
    }

    private func put(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        taken = 0
        while !rest.isEmpty {
            try check()
            var piece = rest.count
            if !isRegular {
                guard try takesMore() else { continue }
                piece = min(piece, Self.pipePiece)
            }
            let written = Glibc.write(file, rest.baseAddress, piece)
            if written > 0 {
                rest = UnsafeRawBufferPointer(rebasing: rest[written...])
                taken += written
                continue
            }
            switch errno {
            case EINTR, EAGAIN: continue
            case EPIPE: throw Closed()
            default: throw Failure(reason: String(cString: strerror(errno)))
            }
        }
    }

    private func takesMore() throws -> Bool {
        var entry = pollfd(fd: file, events: Int16(POLLOUT), revents: 0)
        guard poll(&entry, 1, 100) > 0 else { return false }
        // A closed pipe says so at the write.
        return true
    }
}

/// Compresses bytes that come in pieces.
private protocol Compressor: AnyObject {
    func add(
        _ bytes: UnsafeRawBufferPointer,
        isLast: Bool,
        _ put: (UnsafeRawBufferPointer) throws -> Void
    ) throws
}

private final class GzipCompressor: Compressor {
    private let stream: UnsafeMutablePointer<z_stream>
    private let output = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 17, alignment: 16)

    init() throws {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        // Level 1 keeps up with most disks; 15 bits of window, and 16 for a gzip header (zlib.h).
        let code = deflateInit2_(
            stream,
            1,
            Z_DEFLATED,
            15 + 16,
            8,
            Z_DEFAULT_STRATEGY,
            ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size)
        )
        guard code == Z_OK else { throw ByteSink.Failure(reason: "zlib cannot start (\(code))") }
    }

    deinit {
        deflateEnd(stream)
        stream.deallocate()
        output.deallocate()
    }

    func add(
        _ bytes: UnsafeRawBufferPointer,
        isLast: Bool,
        _ put: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        stream.pointee.next_in = UnsafeMutablePointer(
            mutating: bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        )
        stream.pointee.avail_in = UInt32(bytes.count)
        var code = Z_OK
        repeat {
            stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
            stream.pointee.avail_out = UInt32(output.count)
            code = deflate(stream, isLast ? Z_FINISH : Z_NO_FLUSH)
            guard code != Z_STREAM_ERROR else {
                throw ByteSink.Failure(reason: "zlib fails (\(code))")
            }
            let made = output.count - Int(stream.pointee.avail_out)
            try put(UnsafeRawBufferPointer(rebasing: output[..<made]))
        } while isLast ? code != Z_STREAM_END : stream.pointee.avail_out == 0
    }
}

private final class ZstdCompressor: Compressor {
    private let context: OpaquePointer
    private let output = UnsafeMutableRawBufferPointer.allocate(
        byteCount: ZSTD_CStreamOutSize(),
        alignment: 16
    )

    init() throws {
        guard let context = ZSTD_createCCtx() else {
            throw ByteSink.Failure(reason: "zstd cannot start")
        }
        self.context = context
        ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)
    }

    deinit {
        ZSTD_freeCCtx(context)
        output.deallocate()
    }

    func add(
        _ bytes: UnsafeRawBufferPointer,
        isLast: Bool,
        _ put: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        var input = ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: 0)
        var left = 0
        repeat {
            var target = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
            left = ZSTD_compressStream2(
                context,
                &target,
                &input,
                isLast ? ZSTD_e_end : ZSTD_e_continue
            )
            guard ZSTD_isError(left) == 0 else {
                throw ByteSink.Failure(reason: String(cString: ZSTD_getErrorName(left)))
            }
            try put(UnsafeRawBufferPointer(rebasing: output[..<target.pos]))
        } while isLast ? left != 0 : input.pos < input.size
    }
}
