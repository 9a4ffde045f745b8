internal import Glibc
internal import LedgerKit
internal import ProjectionKit

/// One row of the table `events`, lent for one call.
struct EventRow {
    let sequence: Int64
    /// Microseconds since 1970.
    let time: Int64
    let type: UnsafeRawBufferPointer
    let texts: EventBytes
    /// As it is stored.
    let checksum: Int64

    /// The event's place: its number, and what was written there.
    var position: Position { Position(UInt64(bitPattern: sequence), UInt64(bitPattern: checksum)) }

    /// The checksum of what is stored.
    var computedChecksum: Int64 {
        EventChecksum.of(sequence: sequence, time: time, type: type, texts: texts)
    }
}

extension Position {
    /// The event's number, for a position of an SQLite ledger; greater numbers than any for others.
    var sequence: Int64 { Int64(clamping: words.0) }
}

/// Reads a span of events page after page, each page in a read transaction of its own.
final class EventRows {
    /// The columns that a row is made of.
    static let columns = "sequence, time, stream, type, payload, metadata, id, checksum"

    private static let pageRows: Int64 = 4_096

    private let path: String
    private let through: Int64
    private var after: Int64
    private var database: SQLiteDatabase
    private var statement: SQLiteStatement
    private var signature: FileSignature

    /// The events behind a sequence up to another, which the ledger has.
    init(after: Int64, through: Int64, in database: SQLiteDatabase) throws {
        path = database.path
        self.after = after
        self.through = through
        self.database = database
        statement = try Self.prepare(in: database)
        signature = FileSignature(of: database.path)
    }

    private static func prepare(in database: SQLiteDatabase) throws -> SQLiteStatement {
        // Where the span ends is seen below: asked of SQLite, it took a twentieth of reading.
        try database.prepare(
            """
            SELECT \(columns) FROM main.events WHERE sequence > ?1 ORDER BY sequence LIMIT ?2
            """
        )
    }

    /// Calls `body` with the next events, in order, until it says enough or the page is full.
    ///
    /// - Parameter body: Gives false when the row it was handed is the last it wants for now.
    /// - Returns: The number of rows handed out; 0 when the span is read to its end.
    /// - Throws: ``LedgerError``, also when an event of the span is missing; what `body` throws.
    func nextPage(_ body: (EventRow) throws -> Bool) throws -> Int {
        guard after < through else { return 0 }
        try reopenIfWritten()
        statement.bind(after, at: 1)
        statement.bind(Self.pageRows, at: 2)
        defer { statement.reset() }
        var count = 0
        while try statement.step() {
            let row = EventRow(statement)
            guard row.sequence <= through else { break }
            // Numbers have no gaps, so that what is missing, or comes twice, is noticed here.
            guard row.sequence == after + 1 else { throw gap() }
            after = row.sequence
            count += 1
            guard try body(row) else { break }
        }
        try assertUnwritten()
        if count == 0 { throw gap() }
        return count
    }

    private func gap() -> LedgerError {
        .damaged(path: path, reason: "event \(after + 1) is not where it was appended")
    }

    /// A file that nobody wrote may be written by now; its log is not read by the connection of
    /// before.
    private func reopenIfWritten() throws {
        guard database.isImmutable, signature != FileSignature(of: path) else { return }
        statement.reset()
        database = try SQLiteDatabase(path: path, mode: .read, patience: LedgerFile.patience)
        statement = try Self.prepare(in: database)
        signature = FileSignature(of: path)
    }

    private func assertUnwritten() throws {
        guard database.isImmutable, !signature.isOfSameFile(FileSignature(of: path)) else { return }
        throw LedgerError.writtenWhileRead(path: path)
    }
}

extension EventRow {
    /// The row that a statement of ``EventRows/columns`` stands at.
    init(_ statement: SQLiteStatement) {
        sequence = statement.integer(0)
        time = statement.integer(1)
        type = statement.text(3)
        texts = EventBytes(
            stream: statement.text(2),
            payload: statement.text(4),
            id: statement.text(6),
            metadata: statement.text(5)
        )
        checksum = statement.integer(7)
    }
}

/// What tells that a file was written, for one who may not take part in SQLite's locks.
struct FileSignature: Equatable {
    private let size: Int
    private let seconds: Int
    private let nanoseconds: Int
    private let log: [Int]

    init(of path: String) {
        var status = stat()
        let isThere = stat(path, &status) == 0
        size = isThere ? Int(status.st_size) : -1
        seconds = status.st_mtim.tv_sec
        nanoseconds = status.st_mtim.tv_nsec
        var logStatus = stat()
        log =
            stat(LogFile.resolved(path) + "-wal", &logStatus) == 0 && logStatus.st_size > 0
            ? [Int(logStatus.st_size), logStatus.st_mtim.tv_sec, logStatus.st_mtim.tv_nsec] : []
    }

    /// Whether the file itself is as it was, its log apart.
    func isOfSameFile(_ other: FileSignature) -> Bool {
        size == other.size && seconds == other.seconds && nanoseconds == other.nanoseconds
    }
}
