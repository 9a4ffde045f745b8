internal import LedgerKit
internal import ProjectionKit
internal import Wording

/// Appends events to an SQLite ledger, batch by batch.
///
/// Used by one thread; every call blocks.
///
/// - Durable: when `append` returns, its batch is on the disk, whole. When it throws, nothing of
///   the batch is stored.
/// - Order: events stand in the order in which they were appended, whatever their times and ids.
/// - Idempotent: an event whose id the ledger holds is not stored again; one of the same id and other
///   content is refused.
/// - Several processes may write to one ledger: each batch waits its turn.
package final class LedgerWriter {
    /// The ledger's path.
    package var place: String { database.path }
    /// Milliseconds.
    package let bucketWidth: Int64
    /// Whether times far in the future are taken.
    package var allowsFuture = false
    /// Called while a batch waits for its turn and before it is stored; what it throws ends that.
    package var beforeBatch: () throws -> Void = {}

    /// How far ahead of the clock, and of the event before it, an event may be: a day.
    package static let farAhead: Int64 = 86_400_000_000

    /// For what is written in the same transaction as a batch.
    let database: SQLiteDatabase
    private let owner: LogOwner
    private let clock: () -> Int64
    private let patience: Int32
    private let turn: AppendTurn
    private let filing: Filing
    private let ids: IDIndex
    private let insert: SQLiteStatement
    private let find: SQLiteStatement
    private let writeBucket: SQLiteStatement
    private let newestBucket: SQLiteStatement

    /// Opens a ledger for writing, and closes it when `body` returns or throws.
    ///
    /// - Parameters:
    ///   - path: A ledger that exists.
    ///   - patience: How long a batch waits for another process' lock.
    ///   - clock: Microseconds since 1970.
    ///   - body: The appending. The writer must not leave it.
    /// - Returns: What `body` returned.
    /// - Throws: ``LedgerError``; what `body` throws.
    @discardableResult
    package static func withWriter<Result>(
        path: String,
        patience: Duration = .milliseconds(Int64(LedgerFile.patience)),
        clock: @escaping () -> Int64 = LedgerClock.now,
        _ body: (LedgerWriter) throws -> Result
    ) throws -> Result {
        let (seconds, attoseconds) = patience.components
        let milliseconds = Int32(clamping: seconds * 1_000 + attoseconds / 1_000_000_000_000_000)
        return try LedgerFile.withLedger(path: path, mode: .write, patience: milliseconds) {
            let writer = try LedgerWriter($0, $1, patience: milliseconds, clock: clock)
            defer { writer.mergeLog() }
            return try body(writer)
        }
    }

    private init(
        _ database: SQLiteDatabase,
        _ header: LedgerFile.Header,
        patience: Int32,
        clock: @escaping () -> Int64
    ) throws {
        self.database = database
        self.patience = patience
        self.clock = clock
        bucketWidth = header.bucketWidth
        filing = Filing(width: header.bucketWidth)
        owner = LogOwner(path: database.path)
        turn = AppendTurn(ledger: database.path)
        // What is committed behind the damage would be overwritten.
        if turn.isAlone(), let reason = LogFile(of: database.path).damage() {
            throw LedgerError.damaged(path: database.path, reason: reason)
        }
        // Another program may have left the file in another mode, which keeps writers and readers apart.
        _ = try? database.execute("PRAGMA main.journal_mode = WAL")
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
        ids = try IDIndex(database: database, seed: header.idSeed)
        insert = try database.prepare(
            """
            INSERT INTO main.events (sequence, time, stream, type, payload, metadata, id, checksum)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
            """
        )
        find = try database.prepare(
            "SELECT \(EventRows.columns) FROM main.events WHERE sequence = ?1"
        )
        newestBucket = try database.prepare(
            "SELECT \(Filing.Row.columns) FROM main.buckets ORDER BY start_ms DESC LIMIT 1"
        )
        writeBucket = try database.prepare(
            """
            INSERT OR REPLACE INTO main.buckets (start_ms, first_sequence, events, bytes, checksum)
            VALUES (?1, ?2, ?3, ?4, ?5)
            """
        )
    }

    /// Lets batches return before they are on the disk.
    ///
    /// Only for a file that nobody uses before the caller has synchronized it as a whole.
    func leaveSyncToCaller() throws { try database.execute("PRAGMA synchronous = OFF") }

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
        var appended: [AppendedEvent] = []
        appended.reserveCapacity(events.count)
        try append(
            batch,
            refusing: { _, reason in throw LedgerError.refused(path: self.place, reason: reason) },
            done: { appended.append($0) }
        )
        return appended
    }

    /// Stores the events of a batch in one transaction.
    ///
    /// - Parameters:
    ///   - batch: The events; each was checked by ``NewEventChecker`` or as it checks.
    ///   - refusing: Hears of an event that is refused for what the ledger holds, a clause; gives
    ///     whether to pass it over. Where not, the events before it are stored and the others not.
    ///   - done: Hears what became of each event that was not refused, in order.
    ///   - together: Runs in the same transaction, behind the events.
    /// - Returns: The numbers.
    /// - Throws: ``LedgerError``; what the closures throw. Then nothing is stored.
    @discardableResult
    func append(
        _ batch: NewEventBatch,
        refusing: (_ index: Int, _ reason: String) throws -> Bool,
        done: (AppendedEvent) -> Void = { _ in },
        together: (AppendCounts) throws -> Void = { _ in }
    ) throws -> AppendCounts {
        let ids = batch.records.reduce(0) { $0 + ($1.hasID ? 1 : 0) }
        while true {
            try self.ids.prepare(toFind: ids)
            guard
                try turn.wait(
                    patience,
                    toBegin: {
                        try self.beforeBatch()
                        return try self.begin()
                    }
                )
            else {
                throw LedgerError.locked(path: place)
            }
            let counts: AppendCounts?
            do {
                counts = try database.finishing {
                    guard try isLogAnnounced() else { return nil }
                    try assertInPlace()
                    let counts = try store(batch, refusing: refusing, done: done)
                    try together(counts)
                    // A log tells by this page whose it is.
                    try LogState.count(in: database)
                    return counts
                }
            } catch {
                self.ids.undo()
                throw error
            }
            if let counts {
                // A reader can have kept the mark, another writer's too, out of the file until now.
                try mergeMark(attempts: 1)
                return counts
            }
            try mergeMark(attempts: 50)
        }
    }

    private func begin() throws -> Bool {
        do {
            try database.execute("PRAGMA busy_timeout = 0; BEGIN IMMEDIATE")
            try database.execute("PRAGMA busy_timeout = \(patience)")
            return true
        } catch LedgerError.locked {
            return false
        }
    }

    private func store(
        _ batch: NewEventBatch,
        refusing: (Int, String) throws -> Bool,
        done: (AppendedEvent) -> Void
    ) throws -> AppendCounts {
        var counts = AppendCounts()
        var end = try LedgerEnd(newestBucket, database)
        let now = clock()
        try ids.begin()
        for index in batch.records.indices {
            let record = batch.records[index]
            do throws(Refusal) {
                let event = try store(record, of: batch, at: &end, now: now)
                if event.wasPresent { counts.present += 1 } else { counts.stored += 1 }
                done(event)
            } catch {
                if let failure = error.failure { throw failure }
                guard try refusing(index, error.reason) else {
                    counts.stoppedAt = index
                    break
                }
                counts.refused += 1
            }
        }
        if counts.stored > 0, let bucket = end.bucket { try write(bucket) }
        try ids.finish()
        return counts
    }

    /// Why an event is not stored: what the ledger holds, or a failure of the ledger.
    private struct Refusal: Error {
        var reason = ""
        var failure: (any Error)?
    }

    private func store(
        _ record: NewEventBatch.Record,
        of batch: NewEventBatch,
        at end: inout LedgerEnd,
        now: Int64
    ) throws(Refusal) -> AppendedEvent {
        let (texts, type) = (batch.texts(of: record), batch.type(of: record))
        let time = record.time ?? now
        do {
            var hash: UInt64 = 0
            if record.hasID {
                hash = ids.hash(texts.id)
                for sequence in try ids.find(hash) {
                    if let present = try twin(sequence, of: texts, type, record.time) {
                        return present
                    }
                }
            }
            if !allowsFuture, let reason = end.complaint(about: time, now: now) {
                throw Refusal(reason: reason)
            }
            let sequence = end.sequence + 1
            let checksum = EventChecksum.of(
                sequence: sequence,
                time: time,
                type: type,
                texts: texts
            )
            try write(sequence, time, type, texts, checksum)
            if record.hasID { ids.add(IDIndex.Entry(hash: hash, sequence: sequence)) }
            if let full = end.add(time, checksum, texts.count + type.count, filing) {
                try write(full)
            }
            return AppendedEvent(
                time: Timestamp(microseconds: time),
                position: Position(UInt64(bitPattern: sequence), UInt64(bitPattern: checksum)),
                wasPresent: false
            )
        } catch let refusal as Refusal {
            throw refusal
        } catch {
            throw Refusal(failure: error)
        }
    }

    /// The event of a sequence, when it has the id that is to be stored.
    ///
    /// - Throws: `Refusal` when its content is another.
    private func twin(
        _ sequence: Int64,
        of texts: EventBytes,
        _ type: UnsafeRawBufferPointer,
        _ time: Int64?
    ) throws -> AppendedEvent? {
        find.bind(sequence, at: 1)
        defer { find.reset() }
        guard try find.step() else {
            throw LedgerError.damaged(
                path: place,
                reason: "the index of ids names event \(sequence), which is not there"
            )
        }
        let row = EventRow(find)
        guard Self.isSame(row.texts.id, texts.id) else { return nil }
        let differing: [String] = [
            (time == nil || time == row.time, "time"),
            (Self.isSame(row.texts.stream, texts.stream), "stream"),
            (Self.isSame(row.type, type), "type"),
            (Self.isSame(row.texts.payload, texts.payload), "data"),
            (Self.isSame(row.texts.metadata, texts.metadata), "metadata"),
        ].filter { !$0.0 }.map(\.1)
        guard differing.isEmpty else {
            throw Refusal(
                reason:
                    "its id, \(TextForPeople.shown(texts.id)), is that of event \(sequence), of "
                    + "\(Timestamp(microseconds: row.time)), whose \(differing.joined(separator: ", "))"
                    + " \(differing.count == 1 ? "is" : "are") different"
            )
        }
        return AppendedEvent(
            time: Timestamp(microseconds: row.time),
            position: row.position,
            wasPresent: true
        )
    }

    private static func isSame(
        _ left: UnsafeRawBufferPointer,
        _ right: UnsafeRawBufferPointer
    ) -> Bool {
        (left.baseAddress == nil) == (right.baseAddress == nil) && left.elementsEqual(right)
    }

    private func write(
        _ sequence: Int64,
        _ time: Int64,
        _ type: UnsafeRawBufferPointer,
        _ texts: EventBytes,
        _ checksum: Int64
    ) throws {
        insert.bind(sequence, at: 1)
        insert.bind(time, at: 2)
        insert.bind(text: texts.stream, at: 3)
        insert.bind(text: type, at: 4)
        insert.bind(text: texts.payload, at: 5)
        insert.bind(text: texts.metadata, at: 6)
        insert.bind(text: texts.id, at: 7)
        insert.bind(checksum, at: 8)
        try insert.run()
    }

    private func write(_ bucket: Filing.Row) throws {
        writeBucket.bind(bucket.start, at: 1)
        writeBucket.bind(bucket.firstSequence, at: 2)
        writeBucket.bind(bucket.events, at: 3)
        writeBucket.bind(bucket.bytes, at: 4)
        writeBucket.bind(bucket.checksum, at: 5)
        try writeBucket.run()
    }
}

/// Where the next event goes.
private struct LedgerEnd {
    /// Of the last event; 0 in an empty ledger.
    private(set) var sequence: Int64
    /// The newest bucket as it is to be written; nil in an empty ledger.
    private(set) var bucket: Filing.Row?
    /// The time at which the last event is filed: a lower bound.
    private var filed: Int64

    init(_ newestBucket: SQLiteStatement, _ database: SQLiteDatabase) throws {
        sequence = try database.integer("SELECT max(sequence) FROM main.events") ?? 0
        defer { newestBucket.reset() }
        bucket = try newestBucket.step() ? Filing.Row(newestBucket) : nil
        filed = bucket.map { Timestamp(milliseconds: $0.start).microseconds } ?? .min
        guard bucket?.isPlausible ?? true, bucket?.lastSequence ?? 0 == sequence else {
            throw LedgerError.damaged(
                path: database.path,
                reason: "its last event is \(sequence), and its last bucket ends with "
                    + "\(bucket?.lastSequence ?? 0)"
            )
        }
    }

    func complaint(about time: Int64, now: Int64) -> String? {
        let isFarAhead =
            time - now > LedgerWriter.farAhead
            && (bucket == nil || time - filed > LedgerWriter.farAhead)
        guard isFarAhead else { return nil }
        return
            "its time, \(Timestamp(microseconds: time)), is more than a day ahead of the clock and "
            + "of the event before it"
    }

    /// Adds an event.
    ///
    /// - Returns: The bucket before it, when it begins another.
    mutating func add(_ time: Int64, _ checksum: Int64, _ bytes: Int, _ filing: Filing) -> Filing
        .Row?
    {
        sequence += 1
        filed = max(filed, time)
        let start = filing.bucketStart(of: time, after: bucket?.start)
        if bucket?.start == start {
            bucket?.add(checksum: checksum, bytes: bytes)
            return nil
        }
        var next = Filing.Row(start: start, firstSequence: sequence)
        next.add(checksum: checksum, bytes: bytes)
        defer { bucket = next }
        return bucket
    }
}

extension LedgerWriter {
    /// Makes sure that the open file is still the one of its name: what is written to a file that was
    /// replaced is lost.
    private func assertInPlace() throws {
        guard LogOwner(path: place) == owner else {
            throw LedgerError.damaged(
                path: place,
                reason: "it was moved, or another file was put in its place, while it was written"
            )
        }
    }

    /// Makes sure that nobody writes the file by another path, such as a mount of the file alone: each
    /// would have a log of its own.
    private func assertOnePath(_ state: LogState) throws {
        // Nobody commits meanwhile, so that the file cannot be ahead of its log.
        let mark = try MergedFile(in: database).logState()
        let isAhead = mark.map { $0.isOpen && $0.commits > state.commits } ?? false
        let isElsewhere =
            state.isOpen && state.owner != owner && !SQLiteDatabase.hasLog(place)
        guard isAhead || isElsewhere else { return }
        throw LedgerError.failed(
            path: place,
            reason: "another process writes the same file by another path, with a log of its own"
        )
    }

    /// Whether the ledger says that there is a log; otherwise it says so from the end of this
    /// transaction on.
    private func isLogAnnounced() throws -> Bool {
        let state = try LogState(in: database)
        try assertOnePath(state)
        if state.isOpen, state.owner == owner { return true }
        try LogState.open(in: database, owner: owner)
        return false
    }

    /// Puts into the file itself, past its log, that there is a log from now on: a copy of the file
    /// without it can be told by that.
    private func mergeMark(attempts: Int) throws {
        // A reader of the moment keeps the page from being written. Most are short; where one is not,
        // the next batch tries again.
        for attempt in 1...attempts {
            if try MergedFile(in: database).announcesLog() { return }
            if attempt > 1 { LedgerFile.pause() }
            _ = try database.integer("PRAGMA main.wal_checkpoint(PASSIVE)")
        }
    }

    /// Merges the log into the file, then says there that there is none; where others use the ledger,
    /// the log stays for the last of them.
    private func mergeLog() {
        // Beside others the log can be long, and merging it is theirs.
        guard turn.isAlone() else { return }
        do {
            try database.execute("PRAGMA busy_timeout = 0")
            // What is merged is written page after page, so the mark may go only when all others are
            // there: a copy made by then, or a machine that stops, must not look whole. The log keeps
            // its length until the mark is gone, for by that it is known to be there.
            guard try LogState(in: database).isOpen else {
                return database.keepsLog(false)
            }
            // FULL keeps writers out, so most is merged before it.
            _ = try database.integer("PRAGMA main.wal_checkpoint(PASSIVE)")
            guard try database.integer("PRAGMA main.wal_checkpoint(FULL)") == 0 else { return }
            let merged = try newest()?.sequence
            try database.transaction {
                guard try newest()?.sequence == merged else {
                    throw LedgerError.locked(path: place)
                }
                try LogState.close(in: database)
            }
            _ = try database.integer("PRAGMA main.wal_checkpoint(TRUNCATE)")
            database.keepsLog(false)
        } catch {
            // What is in the log stays there, for the writer that closes the ledger last.
        }
    }

    /// The distinct values of a whole-number field in the newest events of a type.
    ///
    /// It looks at the last 50,000 events at most, so that it costs the same in any ledger.
    func recentNumbers(_ key: StaticString, ofType type: StaticString) throws -> [Int64] {
        let statement = try database.prepare(
            """
            SELECT DISTINCT json_extract(payload, '$.' || ?2) AS number FROM (
                SELECT type, payload FROM main.events ORDER BY sequence DESC LIMIT 50000)
            WHERE type = ?1 AND json_type(payload, '$.' || ?2) = 'integer'
            """
        )
        statement.bind(copying: "\(type)", at: 1)
        statement.bind(copying: "\(key)", at: 2)
        var numbers: [Int64] = []
        while try statement.step() { numbers.append(statement.integer(0)) }
        return numbers
    }

    /// The newest event's number and time; nil in an empty ledger.
    func newest() throws -> (sequence: Int64, time: Timestamp)? {
        let statement = try database.prepare(
            "SELECT sequence, time FROM main.events ORDER BY sequence DESC LIMIT 1"
        )
        guard try statement.step() else { return nil }
        return (statement.integer(0), Timestamp(microseconds: statement.integer(1)))
    }
}
