internal import Glibc
internal import ProjectionKit

/// Appends events to an SQLite ledger, batch by batch.
///
/// Used by one thread; every call blocks.
///
/// - Durable: when `append` returns, its batch is on the disk, whole. When it throws, nothing of
///   the batch is stored.
/// - Idempotent: an event whose id the ledger holds is not stored again, whatever its content.
/// - Order: events without an id stand behind every event that is in the ledger.
/// - Several processes may write to one ledger: each batch waits its turn.
package final class LedgerWriter {
    /// The ledger's path.
    package var place: String { database.path }
    /// Milliseconds.
    package let bucketWidth: Int64

    private let database: SQLiteDatabase
    private let clock: () -> Int64
    private let insert: SQLiteStatement
    private let find: SQLiteStatement
    private let newestOfMillisecond: SQLiteStatement
    private let newestInLedger: SQLiteStatement
    private let key: UnsafeMutableRawBufferPointer

    /// Opens a ledger for writing, and closes it when `body` returns or throws.
    ///
    /// - Parameters:
    ///   - path: A ledger that exists.
    ///   - patience: How long a batch waits for another process' lock.
    ///   - clock: Milliseconds since 1970.
    ///   - body: The appending. The writer must not leave it.
    /// - Returns: What `body` returned.
    /// - Throws: ``LedgerError``; what `body` throws.
    @discardableResult
    package static func withWriter<Result>(
        path: String,
        patience: Duration = .milliseconds(Int64(LedgerFile.patience)),
        clock: @escaping () -> Int64 = LedgerWriter.systemClock,
        _ body: (LedgerWriter) throws -> Result
    ) throws -> Result {
        let (seconds, attoseconds) = patience.components
        let milliseconds = Int32(clamping: seconds * 1_000 + attoseconds / 1_000_000_000_000_000)
        return try LedgerFile.withLedger(path: path, mode: .write, patience: milliseconds) {
            try body(LedgerWriter(database: $0, bucketWidth: $1, clock: clock))
        }
    }

    /// Milliseconds since 1970 by the machine's clock.
    package static func systemClock() -> Int64 {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
    }

    private init(database: SQLiteDatabase, bucketWidth: Int64, clock: @escaping () -> Int64) throws
    {
        self.database = database
        self.bucketWidth = bucketWidth
        self.clock = clock
        // FULL, because NORMAL does not wait for the disk at commit in WAL mode
        // (https://www.sqlite.org/pragma.html#pragma_synchronous). Checkpoints every 64 MiB of log
        // instead of every 16 write a page once that many batches touched.
        try database.execute(
            """
            PRAGMA synchronous = FULL;
            PRAGMA cache_size = -65536;
            PRAGMA wal_autocheckpoint = 4096;
            PRAGMA journal_size_limit = 67108864
            """
        )
        insert = try database.prepare(
            """
            INSERT INTO main.events (time_bucket, event_id, ts, stream, type, message)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING
            """
        )
        find = try database.prepare(
            "SELECT 1 FROM main.events WHERE time_bucket = ?1 AND event_id = ?2"
        )
        newestOfMillisecond = try database.prepare(
            """
            SELECT event_id FROM main.events
            WHERE time_bucket = ?1 AND event_id BETWEEN ?2 AND ?3
            ORDER BY event_id DESC LIMIT 1
            """
        )
        newestInLedger = try database.prepare(
            """
            SELECT time_bucket, event_id, ts FROM main.events
            ORDER BY time_bucket DESC, event_id DESC LIMIT 1
            """
        )
        key = .allocate(byteCount: 32, alignment: 16)
    }

    deinit { key.deallocate() }

    /// Stores the events in one transaction.
    ///
    /// - Returns: What became of each, in the same order.
    /// - Throws: ``LedgerError``.
    @discardableResult
    package func append(_ events: [NewEvent]) throws -> [AppendedEvent] {
        let batch = NewEventBatch()
        var checker = NewEventChecker()
        for event in events {
            if let reason = checker.append(event, to: batch) {
                throw LedgerError.refused(path: place, reason: reason)
            }
        }
        _ = try append(batch)
        return batch.records.compactMap { record in
            guard let id = record.id, let time = record.time else { return nil }
            return AppendedEvent(
                id: id,
                time: Timestamp(milliseconds: time),
                position: key(of: id, time: time).position,
                wasPresent: record.wasPresent
            )
        }
    }

    /// Stores the events of a batch in one transaction, and writes ids and times into it where the
    /// ledger assigned them.
    func append(_ batch: NewEventBatch) throws -> AppendCounts {
        guard !batch.records.isEmpty else { return AppendCounts() }
        return try database.transaction {
            var counts = AppendCounts()
            for index in batch.records.indices {
                let record = batch.records[index]
                let (id, time) = try identity(for: record)
                let isNew = try store(record, of: batch, id: id, time: time)
                if isNew {
                    counts.stored += 1
                } else {
                    counts.present += 1
                }
                batch.settle(at: index, id: id, time: time, wasPresent: !isNew)
            }
            return counts
        }
    }

    /// The newest event's place and time; nil in an empty ledger.
    func newest() throws -> (key: EventKey, time: Int64)? {
        defer { newestInLedger.reset() }
        guard try newestInLedger.step() else { return nil }
        guard let id = EventID(blob: newestInLedger.blob(1)) else {
            throw LedgerError.damaged(
                path: place,
                reason: "the newest event's id is not 16 bytes long"
            )
        }
        let key = EventKey(bucketStart: newestInLedger.integer(0), id: id)
        return (key, newestInLedger.integer(2))
    }

    private func key(of id: EventID, time: Int64) -> EventKey {
        EventKey(bucketStart: Bucket(containing: time, width: bucketWidth).start, id: id)
    }
}

extension LedgerWriter {
    private func store(
        _ record: NewEventBatch.Record,
        of batch: NewEventBatch,
        id: EventID,
        time: Int64
    ) throws -> Bool {
        let bucketStart = Bucket(containing: time, width: bucketWidth).start
        if !record.isIDOfTime, try isFiledUnderItsOwnTime(id, notIn: bucketStart) { return false }
        insert.bind(bucketStart, at: 1)
        insert.bind(blob: id.write(to: key, at: 0), at: 2)
        insert.bind(time, at: 3)
        insert.bind(text: batch.stream(of: record), at: 4)
        insert.bind(text: batch.type(of: record), at: 5)
        insert.bind(text: batch.data(of: record), at: 6)
        _ = try insert.step()
        insert.reset()
        return database.changes == 1
    }

    /// Whether a UUIDv7 that is to be filed in one bucket stands already in that of the time it
    /// carries.
    ///
    /// The primary key cannot know: its first column is the bucket.
    private func isFiledUnderItsOwnTime(_ id: EventID, notIn bucketStart: Int64) throws -> Bool {
        guard id.isVersion7 else { return false }
        let own = Bucket(containing: id.milliseconds, width: bucketWidth).start
        guard own != bucketStart else { return false }
        find.bind(own, at: 1)
        find.bind(blob: id.write(to: key, at: 0), at: 2)
        defer { find.reset() }
        return try find.step()
    }

    private func identity(
        for record: NewEventBatch.Record
    ) throws -> (id: EventID, time: Int64) {
        switch (record.id, record.time) {
        case (let id?, let time?): return (id, time)
        case (let id?, nil): return (id, max(clock(), try newest()?.time ?? .min))
        case (nil, let time?): return (try nextID(at: time), time)
        case (nil, nil): return try nextIdentity()
        }
    }

    /// An id behind all others of a millisecond.
    private func nextID(at time: Int64) throws -> EventID {
        let first = EventID.version7(milliseconds: time, upper: 0, lower: 0)
        let last = EventID.version7(milliseconds: time, upper: .max, lower: .max)
        newestOfMillisecond.bind(Bucket(containing: time, width: bucketWidth).start, at: 1)
        newestOfMillisecond.bind(blob: first.write(to: key, at: 0), at: 2)
        newestOfMillisecond.bind(blob: last.write(to: key, at: 16), at: 3)
        defer { newestOfMillisecond.reset() }
        guard try newestOfMillisecond.step() else { return Self.startingID(at: time) }
        guard let newest = EventID(blob: newestOfMillisecond.blob(0)),
            let next = newest.nextVersion7
        else { return Self.startingID(at: time) }
        return next
    }

    /// An id and a time behind all others of the ledger.
    private func nextIdentity() throws -> (id: EventID, time: Int64) {
        let now = clock()
        guard let newest = try newest() else { return (Self.startingID(at: now), now) }
        let time = max(now, newest.time)
        let id = Self.startingID(at: time)
        if key(of: id, time: time) > newest.key { return (id, time) }
        if let next = newest.key.id.nextVersion7, key(of: next, time: time) > newest.key {
            return (next, time)
        }
        // An imported id can stand so high that none fits behind it in its bucket.
        let later = newest.key.bucketStart + bucketWidth
        return (Self.startingID(at: later), later)
    }

    /// An id of a millisecond that leaves half of it free for the ones that follow.
    private static func startingID(at time: Int64) -> EventID {
        .version7(
            milliseconds: time,
            upper: .random(in: 0..<0x800),
            lower: .random(in: 0..<(1 << 62))
        )
    }
}

extension LedgerWriter {
    /// The distinct values of a whole-number field in the newest events of a type.
    ///
    /// It looks at the last 50,000 events at most, so that it costs the same in any ledger.
    func recentNumbers(_ key: StaticString, ofType type: StaticString) throws -> [Int64] {
        let statement = try database.prepare(
            """
            SELECT DISTINCT json_extract(message, '$.' || ?2) AS number FROM (
                SELECT type, message FROM main.events
                ORDER BY time_bucket DESC, event_id DESC LIMIT 50000)
            WHERE type = ?1 AND json_type(message, '$.' || ?2) = 'integer'
            """
        )
        statement.bind(
            text: UnsafeRawBufferPointer(start: type.utf8Start, count: type.utf8CodeUnitCount),
            at: 1
        )
        statement.bind(
            text: UnsafeRawBufferPointer(start: key.utf8Start, count: key.utf8CodeUnitCount),
            at: 2
        )
        var numbers: [Int64] = []
        while try statement.step() { numbers.append(statement.integer(0)) }
        return numbers
    }
}
