package import LedgerKit
package import ProjectionKit
internal import Glibc
internal import Synchronization

/// The embedded ledger: one SQLite file in WAL mode, its events in the order in which they were
/// appended.
///
/// Each call opens a connection of its own, so a ledger can be used from any thread. It is read
/// while another process writes it. The safe position is the newest event: SQLite has one writer at
/// a time, and what that has not committed nobody sees.
package struct SQLiteLedger: Ledger {
    /// Where the file is.
    package let path: String
    /// Milliseconds.
    package let bucketWidth: Int64
    private let fileIdentity: String

    /// The path.
    package var place: String { path }
    /// In order: events are numbered in the transaction that appends them.
    package var arrival: Arrival { .inOrder }

    /// Opens a ledger that exists and checks its format.
    ///
    /// - Throws: ``LedgerError``.
    package init(path: String) throws {
        self.path = path
        (bucketWidth, fileIdentity) = try LedgerFile.withLedger(path: path, mode: .read) {
            ($1.bucketWidth, $1.identity)
        }
    }

    /// Makes an empty ledger.
    ///
    /// - Parameters:
    ///   - path: Where; there must be nothing.
    ///   - bucketWidth: Milliseconds, 1 or more. It never changes afterwards.
    /// - Returns: The ledger, open for reading.
    /// - Throws: ``LedgerError``; then there is no file.
    @discardableResult
    package static func create(path: String, bucketWidth: Int64 = 15_000) throws -> SQLiteLedger {
        try LedgerFile.create(path: path, header: .init(bucketWidth: bucketWidth))
        return try SQLiteLedger(path: path)
    }

    package func identity() -> String { fileIdentity }

    package func safePosition() throws -> Position? {
        try withDatabase { try $0.newestPosition() }
    }

    package func holds(_ position: Position) throws -> Bool {
        try withDatabase { database in
            let statement = try database.prepare(
                "SELECT \(EventRows.columns) FROM main.events WHERE sequence = ?1"
            )
            statement.bind(position.sequence, at: 1)
            guard try statement.step() else { return false }
            let row = EventRow(statement)
            return row.position == position && row.computedChecksum == row.checksum
        }
    }

    package func lastPosition(before time: Timestamp) throws -> Position? {
        try withDatabase { database in
            guard let bucket = try Filing(width: bucketWidth).firstBucket(from: time, in: database)
            else { return try database.newestPosition() }
            // The bucket's first event is filed at its own time, and each other one no earlier than
            // the one before.
            var last = bucket.firstSequence - 1
            if bucket.start <= time.milliseconds {
                let rows = try EventRows(after: last, through: bucket.lastSequence, in: database)
                var isBefore = true
                while isBefore,
                    try rows.nextPage({ row in
                        isBefore = row.time < time.microseconds
                        if isBefore { last = row.sequence }
                        return isBefore
                    }) > 0
                {}
            }
            return try database.position(of: last)
        }
    }

    package func watch() throws -> any LedgerWatch { try SQLiteWatch(path: path) }

    package func buckets(in span: PositionSpan) throws -> [BucketCount] {
        let (after, through) = (span.after?.sequence ?? 0, span.through.sequence)
        guard after < through else { return [] }
        return try withDatabase { database in
            let statement = try database.prepare(
                """
                SELECT b.start_ms, max(b.first_sequence, ?1 + 1),
                    min(b.first_sequence + b.events - 1, ?2) AS last,
                    (SELECT checksum FROM main.events
                        WHERE sequence = min(b.first_sequence + b.events - 1, ?2))
                FROM main.buckets AS b
                WHERE b.first_sequence <= ?2 AND b.first_sequence >= coalesce(
                        (SELECT max(first_sequence) FROM main.buckets WHERE first_sequence <= ?1 + 1),
                        0)
                    AND b.first_sequence + b.events > ?1 + 1
                ORDER BY b.first_sequence
                """
            )
            statement.bind(after, at: 1)
            statement.bind(through, at: 2)
            var counts: [BucketCount] = []
            while try statement.step() {
                let (start, first) = (statement.integer(0), statement.integer(1))
                let last = statement.integer(2)
                guard Filing.Row.bounds.contains(start), Filing.Row.bounds.contains(last),
                    first <= last, first > 0
                else {
                    throw LedgerError.damaged(
                        path: path,
                        reason: "its table of buckets is not what was written"
                    )
                }
                counts.append(
                    BucketCount(
                        bucket: Bucket(start: start, width: bucketWidth),
                        events: Int(last - first + 1),
                        last: Position(
                            UInt64(bitPattern: last),
                            UInt64(bitPattern: statement.integer(3))
                        )
                    )
                )
            }
            return counts
        }
    }

    /// The digest chains the checksums of the buckets, the last one as far as the position.
    package func extent(through position: Position) throws -> LedgerExtent {
        try withDatabase { database in
            let statement = try database.prepare(
                """
                SELECT first_sequence, events, checksum FROM main.buckets
                WHERE first_sequence <= ?1 ORDER BY first_sequence
                """
            )
            statement.bind(position.sequence, at: 1)
            var (events, digest) = (Int64(0), Int64(0))
            while try statement.step() {
                let (first, count) = (statement.integer(0), statement.integer(1))
                let last = first + count - 1
                let isWhole = last <= position.sequence
                let checksum =
                    isWhole
                    ? statement.integer(2)
                    : try chain(from: first, through: position.sequence, in: database)
                digest = EventChecksum.chained(digest, checksum)
                events += isWhole ? count : position.sequence - first + 1
            }
            return LedgerExtent(events: Int(events), digest: UInt64(bitPattern: digest))
        }
    }

    /// The checksum that a bucket has which ends at an event.
    private func chain(
        from first: Int64,
        through last: Int64,
        in database: SQLiteDatabase
    ) throws -> Int64 {
        let statement = try database.prepare(
            "SELECT checksum FROM main.events WHERE sequence BETWEEN ?1 AND ?2 ORDER BY sequence"
        )
        statement.bind(first, at: 1)
        statement.bind(last, at: 2)
        var checksum: Int64 = 0
        while try statement.step() {
            checksum = EventChecksum.chained(checksum, statement.integer(0))
        }
        return checksum
    }

    package func withReader<Result>(
        of span: PositionSpan,
        _ body: (any LedgerReader) throws -> Result
    ) throws -> Result {
        try withDatabase { database in
            try body(SQLiteLedgerReader(span, in: database, bucketWidth: bucketWidth))
        }
    }

    private func withDatabase<Result>(_ body: (SQLiteDatabase) throws -> Result) throws -> Result {
        try LedgerFile.withLedger(path: path, mode: .read) { database, _ in try body(database) }
    }
}

extension SQLiteLedger: NumberedLedger {
    package func number(of position: Position) -> Int64 { position.sequence }

    package func span(ofNumbers numbers: ClosedRange<Int64>) -> PositionSpan {
        // Only the numbers are looked at where a span begins and ends.
        let before = max(0, numbers.lowerBound &- 1)
        return PositionSpan(
            after: before == 0 ? nil : Position(UInt64(before)),
            through: Position(UInt64(max(0, numbers.upperBound)), .max)
        )
    }
}

extension SQLiteLedger: IDLookup {
    package func span(ofID id: String) throws -> PositionSpan? {
        try LedgerFile.withLedger(path: path, mode: .read) { database, header in
            try database.reading {
                let index = try IDIndex(database: database, seed: header.idSeed)
                try index.begin()
                var id = id
                let found = try id.withUTF8 { bytes in
                    let bytes = UnsafeRawBufferPointer(bytes)
                    return try index.find(index.hash(bytes)).first { sequence in
                        try database.hasID(bytes, at: sequence)
                    }
                }
                return found.map { span(ofNumbers: $0...$0) }
            }
        }
    }
}

/// How events are filed: in the bucket of their time, or in the newest one where that is later.
struct Filing {
    /// Milliseconds.
    let width: Int64

    /// The start of the bucket of an event, in milliseconds.
    ///
    /// - Parameters:
    ///   - time: The event's, in microseconds.
    ///   - newest: Where the bucket of the event before it begins; nil for the first one.
    /// - Returns: Milliseconds since 1970.
    func bucketStart(of time: Int64, after newest: Int64?) -> Int64 {
        let own = Bucket(containing: Timestamp(microseconds: time).milliseconds, width: width).start
        return max(own, newest ?? own)
    }

    /// A row of the table `buckets`.
    struct Row: Equatable {
        var start: Int64
        var firstSequence: Int64
        var events: Int64
        var bytes: Int64
        var checksum: Int64

        var lastSequence: Int64 { firstSequence + events - 1 }

        static let columns = "start_ms, first_sequence, events, bytes, checksum"

        init(start: Int64, firstSequence: Int64) {
            self.start = start
            self.firstSequence = firstSequence
            events = 0
            bytes = 0
            checksum = 0
        }

        /// Numbers of a row that was written; others would not bear any arithmetic.
        static let bounds = Int64(-1 << 50)...Int64(1 << 50)

        /// The row that a statement of ``columns`` stands at.
        ///
        /// A number that nobody wrote is moved to the bounds, so that it differs from any other.
        init(_ statement: SQLiteStatement) {
            func number(_ column: Int32) -> Int64 {
                let found = statement.integer(column)
                return min(max(found, Self.bounds.lowerBound), Self.bounds.upperBound)
            }
            start = number(0)
            firstSequence = number(1)
            events = number(2)
            bytes = number(3)
            checksum = statement.integer(4)
        }

        /// Whether no number is at its bound.
        var isPlausible: Bool {
            [start, firstSequence, events, bytes].allSatisfy {
                Self.bounds.lowerBound < $0 && $0 < Self.bounds.upperBound
            }
        }

        /// The event that comes next.
        mutating func add(checksum next: Int64, bytes count: Int) {
            events += 1
            bytes += Int64(count)
            checksum = EventChecksum.chained(checksum, next)
        }
    }

    /// The first bucket that holds a time or begins behind it; nil when there is none.
    func firstBucket(from time: Timestamp, in database: SQLiteDatabase) throws -> Row? {
        let own = Bucket(containing: time.milliseconds, width: width).start
        let statement = try database.prepare(
            "SELECT \(Row.columns) FROM main.buckets WHERE start_ms >= ?1 ORDER BY start_ms LIMIT 1"
        )
        statement.bind(own, at: 1)
        return try statement.step() ? Row(statement) : nil
    }

    /// The bucket that an event is filed in, or the one before it; nil before the first one.
    static func bucket(at sequence: Int64, in database: SQLiteDatabase) throws -> Row? {
        let statement = try database.prepare(
            """
            SELECT \(Row.columns) FROM main.buckets WHERE first_sequence <= ?1
            ORDER BY first_sequence DESC LIMIT 1
            """
        )
        statement.bind(sequence, at: 1)
        return try statement.step() ? Row(statement) : nil
    }
}

extension SQLiteDatabase {
    /// The place of the event that stands last; nil in an empty ledger.
    func newestPosition() throws -> Position? {
        let statement = try prepare(
            "SELECT sequence, checksum FROM main.events ORDER BY sequence DESC LIMIT 1"
        )
        return try statement.step() ? Self.position(statement) : nil
    }

    /// The place of an event; nil when there is none.
    func position(of sequence: Int64) throws -> Position? {
        let statement = try prepare(
            "SELECT sequence, checksum FROM main.events WHERE sequence = ?1"
        )
        statement.bind(sequence, at: 1)
        return try statement.step() ? Self.position(statement) : nil
    }

    /// Whether the event of a sequence has an id.
    fileprivate func hasID(_ id: UnsafeRawBufferPointer, at sequence: Int64) throws -> Bool {
        let statement = try prepare("SELECT id FROM main.events WHERE sequence = ?1")
        statement.bind(sequence, at: 1)
        return try statement.step() && statement.text(0).elementsEqual(id)
    }

    private static func position(_ statement: SQLiteStatement) -> Position {
        Position(
            UInt64(bitPattern: statement.integer(0)),
            UInt64(bitPattern: statement.integer(1))
        )
    }
}

/// What tells a file from others that have had its path.
private struct InodeNumber: Equatable {
    private let device: dev_t
    private let inode: ino_t

    /// That of the file that has a path now; nil when there is none.
    init?(of path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        (device, inode) = (status.st_dev, status.st_ino)
    }
}

/// Asks SQLite for the number that changes with every commit of another connection
/// (https://www.sqlite.org/pragma.html#pragma_data_version).
private final class SQLiteWatch: LedgerWatch {
    private struct State {
        let database: SQLiteDatabase
        var version: Int64?
        var signature: FileSignature
        let inode: InodeNumber?

        init(path: String) throws {
            inode = InodeNumber(of: path)
            signature = FileSignature(of: path)
            database = try SQLiteDatabase(
                path: path,
                mode: .read,
                patience: LedgerFile.patience
            )
            // The number is that of the last transaction of the connection, so it has to have one.
            _ = try database.integer("SELECT 1 FROM main.sqlite_schema")
            version = try currentVersion()
        }

        /// Begins no transaction that lasts.
        func currentVersion() throws -> Int64? { try database.integer("PRAGMA main.data_version") }
    }

    private let state: Mutex<State>

    init(path: String) throws {
        state = Mutex(try State(path: path))
    }

    func hasChanged() throws -> Bool {
        try state.withLock { state in
            let path = state.database.path
            // Another file has the path now: the old one never changes again. Where there is none,
            // somebody is about to put one there.
            if let inode = InodeNumber(of: path), inode != state.inode {
                state = try State(path: path)
                return true
            }
            guard !state.database.isImmutable else {
                let signature = FileSignature(of: path)
                defer { state.signature = signature }
                return signature != state.signature
            }
            let version = try state.currentVersion()
            defer { state.version = version }
            return version != state.version
        }
    }
}

/// Fills batches from a span of an SQLite ledger.
private final class SQLiteLedgerReader: LedgerReader {
    /// Enough to make the hand-over between threads cheap, and few enough to stay in a cache.
    private static let batchBytes = 1 << 20

    private let rows: EventRows
    private let first: Int64
    private let last: Int64
    private let filing: Filing
    private var bucketStart: Int64?
    @exclusivity(unchecked) private var types = EventTypeCache()

    init(_ span: PositionSpan, in database: SQLiteDatabase, bucketWidth: Int64) throws {
        let after = span.after?.sequence ?? 0
        let newest = try database.integer("SELECT max(sequence) FROM main.events") ?? 0
        first = after
        last = min(span.through.sequence, newest)
        rows = try EventRows(after: after, through: last, in: database)
        filing = Filing(width: bucketWidth)
        bucketStart = try Filing.bucket(at: after, in: database)?.start
    }

    func fill(_ batch: EventBatch) throws -> Bool {
        batch.removeAll()
        batch.bucketWidth = filing.width
        var bucketStart = bucketStart
        var sequence = first
        let count = try rows.nextPage { row in
            let start = filing.bucketStart(of: row.time, after: bucketStart)
            bucketStart = start
            sequence = row.sequence
            batch.append(
                position: row.position,
                time: Timestamp(microseconds: row.time),
                bucketStart: start,
                type: types.type(named: row.type),
                texts: row.texts
            )
            return batch.byteCount < Self.batchBytes
        }
        self.bucketStart = bucketStart
        batch.share = Double(sequence - first) / Double(max(1, last - first))
        return count > 0
    }
}
