internal import Glibc

/// The files where an import sets bad records aside: the records themselves, so that the file can be
/// corrected and imported, and beside it the reasons.
///
/// They are made when the first record comes, for their owner alone, and added to when they are there.
final class BadRecordFiles {
    private let ledger: String
    private let source: String
    /// The header of CSV, which the file of records begins with; nil for JSON.
    private let header: [UInt8]?
    private var records: AppendedFile?
    private var reasons: AppendedFile?

    init(ledger: String, source: String, header: [UInt8]?) {
        self.ledger = ledger
        self.source = source
        self.header = header
    }

    static func recordsPath(of ledger: String, isCSV: Bool) -> String {
        "\(ledger).bad.\(isCSV ? "csv" : "ndjson")"
    }

    static func reasonsPath(of ledger: String) -> String { "\(ledger).bad.txt" }

    /// Adds a record.
    func append(_ record: UnsafeRawBufferPointer, place: String, reason: String) throws {
        let (records, reasons) = (try openRecords(), try openReasons())
        if header == nil {
            // A line end inside an element of an array is white space, or what is wrong with it.
            try records.append(record.map { $0 == 0x0a || $0 == 0x0d ? 0x20 : $0 } + [0x0a])
        } else {
            try records.append(Array(record) + [0x0a])
        }
        try reasons.append(Array("\(source), \(place): \(reason)\n".utf8))
    }

    /// Waits until what was added is on the disk.
    func synchronize() throws {
        try records?.synchronize()
        try reasons?.synchronize()
    }

    private func openRecords() throws -> AppendedFile {
        if let records { return records }
        let file = try AppendedFile(Self.recordsPath(of: ledger, isCSV: header != nil))
        if let header { try file.begin(with: header + [0x0a]) }
        records = file
        return file
    }

    private func openReasons() throws -> AppendedFile {
        if let reasons { return reasons }
        let file = try AppendedFile(Self.reasonsPath(of: ledger))
        reasons = file
        return file
    }
}

/// A file that is only added to.
private final class AppendedFile {
    private let path: String
    private let file: Int32

    init(_ path: String) throws {
        self.path = path
        file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o600)
        guard file >= 0 else {
            throw LedgerError.failed(
                path: path,
                reason: errno == ELOOP ? "it is a symbolic link" : String(cString: strerror(errno))
            )
        }
    }

    deinit { close(file) }

    /// Writes the first line of an empty file; one that has another first line is left as it is.
    func begin(with line: [UInt8]) throws {
        var found = [UInt8](repeating: 0, count: line.count)
        let count = found.withUnsafeMutableBytes { pread(file, $0.baseAddress, $0.count, 0) }
        if count == 0 { return try append(line) }
        guard count == line.count, found == line else {
            throw LedgerError.failed(
                path: path,
                reason: "it begins with another header; move it away, so that a new one can be made"
            )
        }
    }

    func append(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { buffer in
            var rest = buffer[...]
            while !rest.isEmpty {
                let piece = UnsafeRawBufferPointer(rebasing: rest)
                let count = write(file, piece.baseAddress, piece.count)
                if count < 0, errno == EINTR { continue }
                guard count >= 0 else { throw failure() }
                rest = rest.dropFirst(count)
            }
        }
    }

    func synchronize() throws {
        guard fsync(file) == 0 else { throw failure() }
    }

    private func failure() -> LedgerError {
        .failed(path: path, reason: String(cString: strerror(errno)))
    }
}
