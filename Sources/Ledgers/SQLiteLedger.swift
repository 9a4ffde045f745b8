package import ProjectionKit
internal import Synchronization

/// The embedded ledger: one SQLite file in WAL mode, its events clustered by bucket and id.
///
/// Each call opens a connection of its own, so a ledger can be used from any thread. It is read
/// while another process writes it. The safe position is the newest event: SQLite has one writer at
/// a time, and what that has not committed nobody sees.
package struct SQLiteLedger: Ledger {
    /// Where the file is.
    package let path: String
    /// Milliseconds.
    package let bucketWidth: Int64

    /// The path.
    package var place: String { path }

    /// Opens a ledger that exists and checks its format.
    ///
    /// - Throws: ``LedgerError``.
    package init(path: String) throws {
        self.path = path
        bucketWidth = try LedgerFile.withLedger(path: path, mode: .read) { $1 }
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
        try LedgerFile.create(path: path, bucketWidth: bucketWidth)
        return try SQLiteLedger(path: path)
    }

    package func safePosition() throws -> Position? {
        try withDatabase { try EventKey.newest(in: $0)?.position }
    }

    package func lastPosition(before time: Int64) throws -> Position? {
        try withDatabase { database in
            let first = EventKey(
                bucketStart: Bucket(containing: time, width: bucketWidth).start,
                id: .version7(milliseconds: max(0, time), upper: 0, lower: 0)
            )
            return try EventKey.newest(before: first, in: database)?.position
        }
    }

    package func bucket(of position: Position) -> Bucket {
        Bucket(start: EventKey(position).bucketStart, width: bucketWidth)
    }

    package func span(of bucket: Bucket) -> PositionSpan {
        // Nothing sorts between the highest id of the millisecond before and the bucket's lowest.
        let before = EventKey(
            bucketStart: bucket.start - 1,
            id: EventID(high: .max, low: .max)
        )
        let last = EventKey(bucketStart: bucket.start, id: EventID(high: .max, low: .max))
        return PositionSpan(after: before.position, through: last.position)
    }

    package func watch() throws -> any LedgerWatch { try SQLiteWatch(path: path) }

    package func bucketCounts(in span: PositionSpan) throws -> [BucketCount] {
        try withDatabase { database in
            let statement = try database.prepare(
                """
                SELECT time_bucket, count(*) FROM main.events
                WHERE (time_bucket, event_id) > (?1, ?2) AND (time_bucket, event_id) <= (?3, ?4)
                GROUP BY time_bucket ORDER BY time_bucket
                """
            )
            let bounds = SpanBounds(span)
            // The statement points into them until it is done.
            defer { withExtendedLifetime(bounds) {} }
            bounds.bind(to: statement)
            var counts: [BucketCount] = []
            while try statement.step() {
                let bucket = Bucket(start: statement.integer(0), width: bucketWidth)
                counts.append(BucketCount(bucket: bucket, events: Int(statement.integer(1))))
            }
            return counts
        }
    }

    package func typeCounts(in span: PositionSpan) throws -> [TypeCount] {
        var types = EventTypeCache()
        var counts: [EventType: Int] = [:]
        try forEachRow(of: span) { counts[types.type(named: $0.type), default: 0] += 1 }
        return TypeCount.sorted(counts)
    }

    package func withReader<Result>(
        of span: PositionSpan,
        _ body: (any LedgerReader) throws -> Result
    ) throws -> Result {
        try withDatabase { database in
            let rows = try EventRows(of: span, in: database)
            // Of a span that begins elsewhere it is not known which part of the file it is.
            let size = span.after == nil ? try database.size() : nil
            return try body(SQLiteLedgerReader(rows: rows, size: size, bucketWidth: bucketWidth))
        }
    }

    private func withDatabase<Result>(_ body: (SQLiteDatabase) throws -> Result) throws -> Result {
        try LedgerFile.withLedger(path: path, mode: .read) { database, _ in try body(database) }
    }

    private func forEachRow(of span: PositionSpan, _ body: (EventRow) -> Void) throws {
        try withDatabase { database in
            let rows = try EventRows(of: span, in: database)
            while try rows.nextPage({
                body($0)
                return true
            }) > 0 {}
        }
    }
}

extension TypeCount {
    /// The most frequent first; types of equal number by name.
    static func sorted(_ counts: [EventType: Int]) -> [TypeCount] {
        counts.map { TypeCount(type: $0.key.name, events: $0.value) }
            .sorted { ($1.events, $0.type) < ($0.events, $1.type) }
    }
}

extension EventKey {
    /// The key of the event that stands last; nil in an empty ledger.
    static func newest(in database: SQLiteDatabase) throws -> EventKey? {
        try newest(
            of: try database.prepare(
                """
                SELECT time_bucket, event_id FROM main.events
                ORDER BY time_bucket DESC, event_id DESC LIMIT 1
                """
            ),
            in: database
        )
    }

    /// The key of the last event that stands before another key; nil when there is none.
    static func newest(before key: EventKey, in database: SQLiteDatabase) throws -> EventKey? {
        let statement = try database.prepare(
            """
            SELECT time_bucket, event_id FROM main.events WHERE (time_bucket, event_id) < (?1, ?2)
            ORDER BY time_bucket DESC, event_id DESC LIMIT 1
            """
        )
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 16, alignment: 16)
        defer { memory.deallocate() }
        statement.bind(key.bucketStart, at: 1)
        statement.bind(blob: key.id.write(to: memory, at: 0), at: 2)
        return try newest(of: statement, in: database)
    }

    private static func newest(
        of statement: SQLiteStatement,
        in database: SQLiteDatabase
    ) throws -> EventKey? {
        guard try statement.step() else { return nil }
        guard let id = EventID(blob: statement.blob(1)) else {
            throw LedgerError.damaged(
                path: database.path,
                reason: "the newest event's id is not 16 bytes long"
            )
        }
        return EventKey(bucketStart: statement.integer(0), id: id)
    }
}

/// Asks SQLite for the number that changes with every commit of another connection
/// (https://www.sqlite.org/pragma.html#pragma_data_version).
private final class SQLiteWatch: LedgerWatch {
    private struct State {
        let database: SQLiteDatabase
        var version: Int64?

        /// Begins no transaction that lasts.
        func currentVersion() throws -> Int64? { try database.integer("PRAGMA main.data_version") }
    }

    private let state: Mutex<State>

    init(path: String) throws {
        var state = State(
            database: try SQLiteDatabase(path: path, mode: .read, patience: LedgerFile.patience)
        )
        // The number is that of the last transaction of the connection, so it has to have one.
        _ = try state.database.integer("SELECT 1 FROM main.sqlite_schema")
        state.version = try state.currentVersion()
        self.state = Mutex(state)
    }

    func hasChanged() throws -> Bool {
        try state.withLock { state in
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

    /// Bytes that a row takes in the file beside its texts: id, times, header and pointer.
    private static let rowOverhead = 40

    private let rows: EventRows
    /// Bytes of the file; nil when only a part of it is read.
    private let size: Int?
    private let bucketWidth: Int64
    @exclusivity(unchecked) private var bytesRead = 0
    @exclusivity(unchecked) private var types = EventTypeCache()

    init(rows: EventRows, size: Int?, bucketWidth: Int64) {
        self.rows = rows
        self.size = size
        self.bucketWidth = bucketWidth
    }

    func fill(_ batch: EventBatch) throws -> Bool {
        batch.removeAll()
        batch.bucketWidth = bucketWidth
        let count = try rows.nextPage { row in
            batch.append(
                id: row.id,
                position: row.key.position,
                bucketStart: row.bucketStart,
                time: row.time,
                type: types.type(named: row.type),
                stream: row.stream,
                payload: row.payload
            )
            return batch.byteCount < Self.batchBytes
        }
        bytesRead += batch.byteCount + count * Self.rowOverhead
        batch.share = size.map { min(1, Double(bytesRead) / Double(max(1, $0))) }
        return count > 0
    }
}
