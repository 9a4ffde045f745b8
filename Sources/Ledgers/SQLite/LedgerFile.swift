internal import Foundation
internal import Glibc
internal import Migrations
internal import ProjectionKit
internal import Wording

/// The format of a ledger file: how one is made and recognised.
enum LedgerFile {
    /// The format this version reads and writes.
    static let formatVersion = 2
    /// `RPRS`, in the header of the file.
    static let applicationID: Int64 = 0x5250_5253
    /// Milliseconds to wait for another process' lock.
    static let patience: Int32 = 5_000

    /// What a file says of itself.
    struct Header: Equatable {
        var identity: String
        /// Milliseconds.
        var bucketWidth: Int64
        /// What ids are hashed with, so that nobody can prepare ids that share a hash.
        var idSeed: Int64
        /// Microseconds since 1970.
        var createdAt: Int64

        init(identity: String, bucketWidth: Int64, idSeed: Int64, createdAt: Int64) {
            self.identity = identity
            self.bucketWidth = bucketWidth
            self.idSeed = idSeed
            self.createdAt = createdAt
        }

        /// The header of a new file.
        init(bucketWidth: Int64) {
            self.init(
                identity: UUID().uuidString.lowercased(),
                bucketWidth: bucketWidth,
                idSeed: .random(in: .min ... .max),
                createdAt: LedgerClock.now()
            )
        }

        /// XXH3 over what it says, as text with a line for each.
        var checksum: Int64 {
            var text = "\(formatVersion)\n\(identity)\n\(bucketWidth)\n\(idSeed)\n\(createdAt)\n"
            return text.withUTF8 {
                Int64(bitPattern: XXHash.of(UnsafeRawBufferPointer($0), seed: 0))
            }
        }
    }

    /// What opening a file makes sure of, besides its being a ledger.
    enum Demand {
        /// That nothing of it is known to be missing.
        case whole
        /// Nothing more: for those who look for damage, or save what is there.
        case readable
    }

    /// Opens a ledger, checks that it is one, and lends the connection with what it says of itself.
    static func withLedger<Result>(
        path: String,
        mode: SQLiteDatabase.Mode,
        patience: Int32 = LedgerFile.patience,
        demanding demand: Demand = .whole,
        _ body: (SQLiteDatabase, Header) throws -> Result
    ) throws -> Result {
        try assertFits(path)
        if mode == .write { try assertOneName(path) }
        return try SQLiteDatabase.withDatabase(path: path, mode: mode, patience: patience) {
            database in
            // A log that turns out to be another's must not be merged by closing the file.
            database.keepsLog(true)
            let header = try header(of: database)
            if demand == .whole {
                guard header.1 == header.0.checksum else {
                    throw LedgerError.damaged(
                        path: path,
                        reason: "its header is not what was written"
                    )
                }
                if try log(of: database) == .missing { throw LedgerError.logMissing(path: path) }
                if let reason = try foreignLog(of: database) {
                    throw LedgerError.foreignLog(path: path, reason: reason)
                }
            }
            return try body(database, header.0)
        }
    }

    /// Each name of a file would have a log and locks of its own, and events would be lost
    /// (https://www.sqlite.org/howtocorrupt.html, section 2.5).
    private static func assertOneName(_ path: String) throws {
        // A file that was just made has its temporary name as well for a moment.
        for _ in 0..<50 {
            var status = stat()
            guard stat(path, &status) == 0, status.st_nlink > 1 else { return }
            pause()
        }
        throw LedgerError.severalNames(path: path)
    }

    /// What is known of a file's log.
    enum Log: Equatable {
        /// It is there, or there is nothing in it that the file lacks.
        case complete
        /// The file is the one that the log belonged to, and the log is gone: another SQLite program has
        /// merged it, or somebody has taken it away.
        case merged
        /// The file is a copy, or has another name: its log is elsewhere.
        case missing
    }

    /// Whether the file was left to be read with a log that is not there.
    static func log(of database: SQLiteDatabase) throws -> Log {
        // A writer may end between the first two looks.
        guard try LogState(in: database).isOpen, !SQLiteDatabase.hasLog(database.path) else {
            return .complete
        }
        let state = try LogState(in: database)
        guard state.isOpen else { return .complete }
        return state.owner == LogOwner(path: database.path) ? .merged : .missing
    }

    /// That the log beside a file is not the one that continues it, as a clause; nil when it may be.
    ///
    /// A log holds what came behind the file's own events, so that the ledger never ends earlier with it.
    static func foreignLog(of database: SQLiteDatabase) throws -> String? {
        guard SQLiteDatabase.hasLog(database.path), !database.isImmutable else { return nil }
        let file = MergedFile(in: database)
        // In this order: the file can only get further meanwhile.
        if let first = try file.firstLogState(), let own = try file.logState(),
            first.file == own.file, first.commits > own.commits + 1
        {
            return "it begins with commit \(first.commits), and the file ends with \(own.commits)"
        }
        if let own = try file.logState()?.file,
            try LogState(in: database).file != own
        {
            return "it was written beside another file"
        }
        // In this order: what is merged in between is in the log's events, too.
        guard let merged = try file.lastEvent(),
            let last = try database.integer("SELECT coalesce(max(sequence), 0) FROM main.events"),
            last < merged
        else { return nil }
        return "with it the ledger ends with event \(last), and without it with event \(merged)"
    }

    /// What SQLite would do with what lies beside a file, before it is let near it.
    private static func assertFits(_ path: String) throws {
        var status = stat()
        guard stat(path, &status) == 0 else { return }
        // SQLite deletes the log of a file that it takes for empty.
        if status.st_size < 100, LogFile(of: path).hasFrames {
            throw LedgerError.damaged(
                path: path,
                reason: "it has \(status.st_size) bytes, and its log '\(path)-wal' has more"
            )
        }
        // It writes an old journal's pages back over the file.
        let journal = LogFile.resolved(path) + "-journal"
        if stat(journal, &status) == 0, status.st_size > 0 {
            throw LedgerError.strayJournal(path: path)
        }
    }

    /// Makes an empty ledger where there is no file: whole, or not at all.
    ///
    /// Only its owner can read and write it.
    static func create(path: String, header: Header) throws {
        try assertNoLog(beside: path)
        if let reason = SQLiteDatabase.excess(of: path) {
            throw LedgerError.failed(path: path, reason: reason)
        }
        do {
            try StagedFile.make(path) { staged in
                do {
                    try make(staged, header)
                } catch LedgerError.failed(_, let reason) {
                    throw LedgerError.failed(path: path, reason: reason)
                }
            }
        } catch CopyError.exists {
            throw LedgerError.exists(path: path)
        } catch CopyError.failed(_, let reason) {
            throw LedgerError.failed(path: path, reason: reason)
        }
    }

    /// Makes an empty ledger in place: a process that is killed meanwhile leaves half of one.
    static func make(_ path: String, _ header: Header) throws {
        precondition(
            header.bucketWidth > 0,
            "a bucket width must be 1 ms or more; it is \(header.bucketWidth)"
        )
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else {
            if errno == EEXIST { throw LedgerError.exists(path: path) }
            throw LedgerError.failed(path: path, reason: String(cString: strerror(errno)))
        }
        close(file)
        do {
            try fill(path: path, header)
        } catch {
            remove(path)
            throw error
        }
    }

    /// Waits a moment for another process.
    static func pause() { usleep(2_000) }

    /// Makes sure that no log of another file lies where that of a new ledger would: SQLite would take it
    /// for the new one's.
    static func assertNoLog(beside path: String) throws {
        var status = stat()
        guard stat(path + "-wal", &status) == 0, status.st_size > 0 else { return }
        throw LedgerError.strayLog(path: path)
    }

    /// Whether a file says in its first bytes that it is a ledger, of whatever format.
    ///
    /// Not for a file that this process has open as a ledger: closing it gives up the locks
    /// (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    static func isLedger(_ path: String) -> Bool {
        // A pipe must not be waited for.
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { return false }
        defer { close(file) }
        // https://www.sqlite.org/fileformat2.html, section 1.3: the application's number is at 68.
        var header = [UInt8](repeating: 0, count: 72)
        guard pread(file, &header, header.count, 0) == header.count else { return false }
        return header.starts(with: "SQLite format 3\0".utf8)
            && header[68...].reduce(0) { $0 << 8 | Int64($1) } == applicationID
    }

    /// Deletes a ledger and what SQLite keeps beside it.
    static func remove(_ path: String) {
        for suffix in ["", "-wal", "-shm"] { unlink(path + suffix) }
    }

    private static func fill(path: String, _ header: Header) throws {
        try SQLiteDatabase.withDatabase(path: path, mode: .write, patience: patience) { database in
            // A wide page makes a flat tree, and an event needs an overflow page only where it is
            // longer (https://www.sqlite.org/fileformat2.html, section 1.6).
            try database.execute("PRAGMA page_size = 16384; PRAGMA journal_mode = WAL")
            try database.transaction {
                guard let migration = Migrations.ledger.last else { return }
                try database.execute(migration.sql)
                try LogState.insert(into: database)
                let row = try database.prepare(
                    """
                    INSERT INTO main.ledger (only_row, format, identity, bucket_width_ms, id_seed,
                        created_at, checksum)
                    VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)
                    """
                )
                row.bind(Int64(formatVersion), at: 1)
                row.bind(copying: header.identity, at: 2)
                row.bind(header.bucketWidth, at: 3)
                row.bind(header.idSeed, at: 4)
                row.bind(header.createdAt, at: 5)
                row.bind(header.checksum, at: 6)
                try row.run()
            }
        }
    }

    /// What a file says of itself, and the checksum it has for that.
    private static func header(of database: SQLiteDatabase) throws -> (Header, Int64) {
        try assertFormat(of: database)
        let statement = try database.prepare(
            """
            SELECT identity, bucket_width_ms, id_seed, created_at, checksum, format
            FROM main.ledger WHERE only_row = 1
            """
        )
        guard try statement.step(), statement.integer(1) > 0 else {
            throw LedgerError.damaged(path: database.path, reason: "its header is missing")
        }
        let header = Header(
            identity: statement.string(0),
            bucketWidth: statement.integer(1),
            idSeed: statement.integer(2),
            createdAt: statement.integer(3)
        )
        // A format that is not the one of the file's own header belongs into the checksum.
        let isOfFormat = statement.integer(5) == Int64(formatVersion)
        return (header, isOfFormat ? statement.integer(4) : ~header.checksum)
    }

    /// Whether what the file says of itself is what was written.
    static func hasSoundHeader(_ database: SQLiteDatabase) throws -> Bool {
        let (header, checksum) = try header(of: database)
        return header.checksum == checksum
    }

    /// What the file's tables have that those of a new ledger have not, or the other way round, as
    /// clauses.
    static func schemaDifferences(_ database: SQLiteDatabase) throws -> [String] {
        let wanted = try SQLiteDatabase.withMemory { memory in
            if let migration = Migrations.ledger.last { try memory.execute(migration.sql) }
            return try schema(of: memory)
        }
        let found = try schema(of: database)
        let names = Set(wanted.keys).union(found.keys).sorted()
        return names.filter { wanted[$0] != found[$0] }.map { name in
            found[name] == nil
                ? "the file lacks \(name)"
                : "the file's \(TextForPeople.shown(name)) is not a ledger's"
        }
    }

    private static func schema(of database: SQLiteDatabase) throws -> [String: String] {
        let statement = try database.prepare(
            "SELECT type || ' ' || name, tbl_name || ': ' || coalesce(sql, '') FROM main.sqlite_schema"
        )
        var schema: [String: String] = [:]
        while try statement.step() { schema[statement.string(0)] = statement.string(1) }
        return schema
    }

    /// The format of a file that says it is a ledger.
    static func format(of database: SQLiteDatabase) throws -> Int {
        let found = try database.integer("PRAGMA main.application_id") ?? 0
        guard found == applicationID else {
            let isEmpty = try database.integer("SELECT count(*) FROM main.sqlite_schema") == 0
            throw LedgerError.notALedger(
                path: database.path,
                reason: isEmpty ? "it is empty" : "it is an SQLite database of something else"
            )
        }
        return Int(try database.integer("PRAGMA main.user_version") ?? 0)
    }

    private static func assertFormat(of database: SQLiteDatabase) throws {
        let path = database.path
        let version = try format(of: database)
        guard version <= formatVersion else {
            throw LedgerError.newerFormat(path: path, found: version, supported: formatVersion)
        }
        guard version == formatVersion else { throw LedgerError.olderFormat(path: path) }
        let tables = try database.integer(
            """
            SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name IN ('ledger',
                'log_state', 'events', 'buckets', 'recent_ids', 'id_runs', 'id_chunks', 'imports')
            """
        )
        guard tables == 8 else {
            throw LedgerError.notALedger(path: path, reason: "its tables are missing")
        }
    }
}

/// The machine's clock.
package enum LedgerClock {
    /// Microseconds since 1970.
    package static func now() -> Int64 {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1_000_000 + Int64(now.tv_nsec) / 1_000
    }
}
