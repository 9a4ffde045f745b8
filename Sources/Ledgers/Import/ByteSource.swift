internal import Glibc

/// Why bytes cannot be read, as a clause.
struct ByteSourceError: Error {
    let reason: String
}

/// Reads a file or standard input, and decompresses gzip and zstd.
///
/// Used by one thread at a time.
///
/// A compressed file may consist of several members or frames, as `cat a.gz b.gz` makes them.
final class ByteSource {
    /// Bytes read so far, as they are stored.
    private(set) var bytesRead = 0
    /// Bytes the file has; nil when that is not known beforehand.
    private(set) var bytesTotal: Int?
    /// Nil for plain bytes.
    private(set) var compression: Compression?
    /// Whether ``rewind()`` works: not on a pipe.
    private(set) var canRewind: Bool

    private var file: Int32
    private var isOwned: Bool
    private var origin: off_t = 0
    private let input: UnsafeMutableRawBufferPointer
    private var unread: Range<Int> = 0..<0
    private var isAtEnd = false
    private var decompressor: (any Decompressor)?
    private let check: () throws -> Void

    /// Opens a file, and looks at its first bytes; `-` is standard input.
    ///
    /// - Parameters:
    ///   - path: The file.
    ///   - check: Called again and again while a pipe delivers nothing; what it throws ends the waiting.
    /// - Throws: ``ByteSourceError``; what `check` throws.
    init(path: String, checking check: @escaping () throws -> Void = {}) throws {
        self.check = check
        isOwned = path != "-"
        // A named pipe that nobody writes to yet would be opened for as long as nobody does.
        file = path == "-" ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { throw ByteSourceError(reason: String(cString: strerror(errno))) }
        var status = stat()
        let kind = fstat(file, &status) == 0 ? status.st_mode & S_IFMT : 0
        canRewind = kind == S_IFREG
        if canRewind {
            origin = max(0, lseek(file, 0, SEEK_CUR))
            bytesTotal = max(0, Int(status.st_size - origin))
        }
        input = .allocate(byteCount: 1 << 18, alignment: 16)
        guard kind != S_IFDIR else { throw ByteSourceError(reason: "it is a directory") }
        try begin()
    }

    deinit {
        if isOwned, file >= 0 { close(file) }
        input.deallocate()
    }

    /// Fills a part of the buffer.
    ///
    /// - Returns: The number of bytes; 0 at the end.
    func read(into target: UnsafeMutableRawBufferPointer) throws -> Int {
        guard let decompressor else { return try readPlain(into: target) }
        while true {
            if unread.isEmpty, !isAtEnd { try fillInput() }
            if unread.isEmpty, decompressor.mayEnd { return 0 }
            let (used, made) = try decompressor.step(
                UnsafeRawBufferPointer(rebasing: input[unread]),
                into: target
            )
            unread = (unread.lowerBound + used)..<unread.upperBound
            if made > 0 { return made }
            guard !unread.isEmpty || !isAtEnd || decompressor.mayEnd else {
                throw ByteSourceError(
                    reason:
                        "its \(compression?.rawValue ?? "") data end too early: the file is cut off"
                )
            }
        }
    }

    /// Whether it is the file of that name.
    func isFile(at path: String) -> Bool {
        var (own, other) = (stat(), stat())
        guard fstat(file, &own) == 0, stat(path, &other) == 0 else { return false }
        return own.st_dev == other.st_dev && own.st_ino == other.st_ino
    }

    /// Begins again at the first byte.
    func rewind() throws {
        guard canRewind, lseek(file, origin, SEEK_SET) >= 0 else {
            throw ByteSourceError(reason: "it cannot be read a second time")
        }
        unread = 0..<0
        isAtEnd = false
        bytesRead = 0
        decompressor = nil
        try begin()
    }

    /// Decompresses the whole of a file that can be read again, and begins again: only then its
    /// checksums are known to be right.
    ///
    /// - Parameter progress: Called every 16 MiB or so.
    /// - Throws: ``ByteSourceError`` where they are not; what `progress` throws.
    func check(_ progress: () throws -> Void) throws {
        let target = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
        defer { target.deallocate() }
        var pieces = 0
        while try read(into: target) > 0 {
            pieces += 1
            if pieces % 16 == 0 { try progress() }
        }
        try rewind()
    }

    /// Copies what is left of a pipe, and what was read of it, into a file without a name, so that
    /// it can be read again.
    ///
    /// - Parameters:
    ///   - folder: Where the file is made; only its owner can read it.
    ///   - head: What the caller took of a plain pipe.
    /// - Throws: ``ByteSourceError``.
    func spool(in folder: String, after head: UnsafeRawBufferPointer) throws {
        let spool = try Self.makeUnnamedFile(in: folder)
        do {
            try Self.write(head, to: spool)
            try Self.write(UnsafeRawBufferPointer(rebasing: input[unread]), to: spool)
            while !isAtEnd {
                let count = try readFile(into: input)
                try Self.write(UnsafeRawBufferPointer(rebasing: input[..<count]), to: spool)
            }
        } catch {
            close(spool)
            throw error
        }
        if isOwned { close(file) }
        (file, isOwned, origin, canRewind) = (spool, true, 0, true)
        bytesTotal = Int(lseek(spool, 0, SEEK_END))
        try rewind()
    }

    private static func makeUnnamedFile(in folder: String) throws -> Int32 {
        var name = Array("\(folder)/reprise-import-XXXXXX".utf8CString)
        let file = mkstemp(&name)
        guard file >= 0 else {
            throw ByteSourceError(
                reason:
                    "a copy of it cannot be made in '\(folder)': \(String(cString: strerror(errno)))"
            )
        }
        unlink(name)
        _ = fcntl(file, F_SETFD, FD_CLOEXEC)
        return file
    }

    private static func write(_ bytes: UnsafeRawBufferPointer, to file: Int32) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = UnsafeRawBufferPointer(rebasing: rest)
            let count = Glibc.write(file, piece.baseAddress, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else {
                throw ByteSourceError(
                    reason: "its copy cannot be written: \(String(cString: strerror(errno)))"
                )
            }
            rest = rest.dropFirst(count)
        }
    }

    private func begin() throws {
        // A pipe may deliver a single byte first, and the mark of zstd has four.
        while unread.count < 4, !isAtEnd { try fillInput() }
        compression = Compression(beginning: UnsafeRawBufferPointer(rebasing: input[unread]))
        decompressor = try compression?.makeDecompressor()
    }

    private func readPlain(into target: UnsafeMutableRawBufferPointer) throws -> Int {
        guard unread.isEmpty else {
            let count = min(unread.count, target.count)
            let from = unread.lowerBound
            target.copyMemory(from: UnsafeRawBufferPointer(rebasing: input[from..<(from + count)]))
            unread = (from + count)..<unread.upperBound
            return count
        }
        return isAtEnd ? 0 : try readFile(into: target)
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
            try awaitBytes()
            let count = Glibc.read(file, target.baseAddress, target.count)
            if count >= 0 {
                bytesRead += count
                isAtEnd = count == 0
                return count
            }
            guard errno == EINTR || errno == EAGAIN else {
                throw ByteSourceError(reason: String(cString: strerror(errno)))
            }
        }
    }

    /// Waits until there is something to read, or an end, and looks meanwhile whether to stop.
    private func awaitBytes() throws {
        guard !canRewind else { return }
        var descriptor = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
        while poll(&descriptor, 1, 200) == 0 { try check() }
    }
}
