internal import Foundation
internal import Glibc

/// How much of a file of bad records belongs to transactions that were committed.
struct FileMark: Hashable {
    /// 0 where there is no file.
    var inode: Int64 = 0
    var bytes: Int64 = 0
}

/// How much of both files does.
struct BadFileMarks: Hashable {
    var records = FileMark()
    var reasons = FileMark()
}

/// The files where an import sets bad records aside: the records themselves, so that the file can be
/// corrected and imported, and beside it the reasons.
///
/// They are made when the first record comes, for their owner alone, and added to when they are there.
/// What a lost transaction added is found behind the ledger's marks, and not added again.
final class BadRecordFiles {
    private let ledger: String
    private let source: String
    /// The header of CSV, which the file of records begins with; nil for JSON.
    private let header: [UInt8]?
    private let marks: () throws -> [BadFileMarks]
    private var files: (records: AppendedFile, reasons: AppendedFile)?

    /// Nothing is opened yet; `marks` gives what the ledger's imports know of the files.
    init(
        ledger: String,
        source: String,
        header: [UInt8]?,
        marks: @escaping () throws -> [BadFileMarks]
    ) {
        self.ledger = ledger
        self.source = source
        self.header = header
        self.marks = marks
    }

    static func recordsPath(of ledger: String, isCSV: Bool) -> String {
        "\(ledger).bad.\(isCSV ? "csv" : "ndjson")"
    }

    /// Whether the file of bad rows is there already, with another header.
    static func hasOtherHeader(of ledger: String, than header: [UInt8]) -> Bool {
        let path = recordsPath(of: ledger, isCSV: true)
        // A pipe must not be waited for.
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { return false }
        let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        let line = header + [0x0a]
        let found = (try? file.read(upToCount: line.count)).map { $0.map(Array.init) ?? [] } ?? []
        // One that is cut off belongs to a run that was killed.
        return found.count == line.count ? found != line : !line.starts(with: found)
    }

    static func reasonsPath(of ledger: String) -> String { "\(ledger).bad.txt" }

    /// Adds a record; in a transaction of the ledger, so that no one else adds one.
    func append(_ record: UnsafeRawBufferPointer, place: String, reason: String) throws {
        let (records, reasons) = try open()
        if header == nil {
            // A line end inside an element of an array is white space, or what is wrong with it.
            try records.append(record.map { $0 == 0x0a || $0 == 0x0d ? 0x20 : $0 } + [0x0a])
        } else {
            try records.append(Array(record) + [0x0a])
        }
        try reasons.append(Array("\(source), \(place): \(reason)\n".utf8))
    }

    /// Waits until what was added is on the disk.
    ///
    /// - Returns: How much of the files is to stay; nil where nothing was added.
    func synchronize() throws -> BadFileMarks? {
        guard let files else { return nil }
        return BadFileMarks(
            records: try files.records.synchronize(),
            reasons: try files.reasons.synchronize()
        )
    }

    private func open() throws -> (records: AppendedFile, reasons: AppendedFile) {
        if let files { return files }
        let marks = try marks()
        let records = try AppendedFile(
            Self.recordsPath(of: ledger, isCSV: header != nil),
            marks: marks.map(\.records),
            header: header.map { $0 + [0x0a] } ?? []
        )
        let reasons = try AppendedFile(
            Self.reasonsPath(of: ledger),
            marks: marks.map(\.reasons),
            header: []
        )
        files = (records, reasons)
        return (records, reasons)
    }
}

/// A file that is only added to.
private final class AppendedFile {
    private let path: String
    private let file: Int32
    private let inode: Int64
    private var size = 0
    /// What stands behind the last mark: lines of a transaction that was lost.
    private var tail: [UInt8] = []
    /// Bytes of the tail that were to be added again; nil before the first one is found.
    private var matched: Int?

    /// The tail of a lost transaction is shorter; what is longer was written by others.
    private static let longestTail = 256 << 20

    init(_ path: String, marks: [FileMark], header: [UInt8]) throws {
        self.path = path
        file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o600)
        guard file >= 0 else {
            throw LedgerError.failed(
                path: path,
                reason: errno == ELOOP ? "it is a symbolic link" : String(cString: strerror(errno))
            )
        }
        var status = stat()
        guard fstat(file, &status) == 0 else {
            inode = 0
            throw failure()
        }
        inode = Int64(bitPattern: UInt64(status.st_ino))
        size = Int(status.st_size)
        try begin(with: header)
        try findTail(marks, header.count)
    }

    deinit { close(file) }

    /// Writes the first line of an empty file; one that has another first line is left as it is.
    private func begin(with line: [UInt8]) throws {
        guard !line.isEmpty else { return }
        let found = try read(from: 0, count: line.count)
        if found.count == size, size < line.count, line.starts(with: found) {
            try cut(to: 0)
            return try write(line)
        }
        guard found == line else {
            throw LedgerError.failed(
                path: path,
                reason: "it begins with another header; move it away, so that a new one can be made"
            )
        }
    }

    private func findTail(_ marks: [FileMark], _ header: Int) throws {
        let own = marks.filter { $0.inode == inode }.map { Int($0.bytes) }.max()
        // A file of another inode was edited or moved here, so nothing is known of its lines.
        let isUnknown = own == nil && marks.contains { $0.inode != 0 }
        let from = max(own ?? 0, header)
        guard !isUnknown, from < size, size - from <= Self.longestTail else { return }
        tail = try read(from: from, count: size - from)
    }

    /// Adds a line, unless it is there from a transaction that was lost.
    func append(_ line: [UInt8]) throws {
        if !tail.isEmpty {
            let place = matched ?? find(line)
            if let place {
                let rest = tail[place...]
                if rest.starts(with: line) {
                    matched = place + line.count
                    return
                }
                // Its end was not written any more.
                if line.starts(with: rest) { try cut(to: size - rest.count) }
            }
            tail = []
            matched = nil
        }
        try write(line)
    }

    /// Where the tail has the line, or at its end the beginning of it.
    private func find(_ line: [UInt8]) -> Int? {
        var place = 0
        while place < tail.count {
            let rest = tail[place...]
            if rest.starts(with: line) || line.starts(with: rest) { return place }
            guard let end = rest.firstIndex(of: 0x0a) else { return nil }
            place = end + 1
        }
        return nil
    }

    private func write(_ line: [UInt8]) throws {
        let last = try read(from: max(0, size - 1), count: 1)
        let bytes = last == [0x0a] || last.isEmpty ? line : [0x0a] + line
        try bytes.withUnsafeBytes { buffer in
            var rest = buffer[...]
            while !rest.isEmpty {
                let piece = UnsafeRawBufferPointer(rebasing: rest)
                let count = Glibc.write(file, piece.baseAddress, piece.count)
                if count < 0, errno == EINTR { continue }
                guard count >= 0 else { throw failure() }
                rest = rest.dropFirst(count)
                size += count
            }
        }
    }

    private func cut(to bytes: Int) throws {
        guard ftruncate(file, off_t(bytes)) == 0 else { throw failure() }
        size = bytes
    }

    private func read(from offset: Int, count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var filled = 0
        while filled < count {
            let found = bytes.withUnsafeMutableBytes {
                pread(
                    file,
                    $0.baseAddress.map { $0 + filled },
                    count - filled,
                    off_t(offset + filled)
                )
            }
            if found < 0, errno == EINTR { continue }
            guard found >= 0 else { throw failure() }
            if found == 0 { break }
            filled += found
        }
        return Array(bytes[..<filled])
    }

    func synchronize() throws -> FileMark {
        guard fsync(file) == 0 else { throw failure() }
        let behind = matched.map { tail.count - $0 } ?? 0
        return FileMark(inode: inode, bytes: Int64(size - behind))
    }

    private func failure() -> LedgerError {
        .failed(path: path, reason: String(cString: strerror(errno)))
    }
}
