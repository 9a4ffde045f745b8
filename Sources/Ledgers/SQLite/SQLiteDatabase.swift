internal import CSQLite
internal import Foundation
internal import Glibc

/// One connection to an SQLite file.
///
/// Used by one thread; every call blocks.
final class SQLiteDatabase {
    /// What a connection may do.
    enum Mode {
        case read
        case write
    }

    let path: String
    /// Whether the file is read as if nobody could write it: where this process may not take part in
    /// SQLite's locks, and no log lies beside the file.
    let isImmutable: Bool
    private let handle: OpaquePointer

    /// Opens a file that exists, and closes it when `body` returns or throws.
    ///
    /// - Parameters:
    ///   - path: Where the file is.
    ///   - mode: What the connection may do.
    ///   - patience: Milliseconds to wait for another process' lock.
    ///   - body: The work. The connection must not leave it.
    /// - Returns: What `body` returned.
    /// - Throws: ``LedgerError``; what `body` throws.
    static func withDatabase<Result>(
        path: String,
        mode: Mode,
        patience: Int32,
        _ body: (SQLiteDatabase) throws -> Result
    ) throws -> Result {
        let database = try SQLiteDatabase(path: path, mode: mode, patience: patience)
        return try body(database)
    }

    /// Lends an empty database in memory.
    static func withMemory<Result>(_ body: (SQLiteDatabase) throws -> Result) throws -> Result {
        try body(SQLiteDatabase())
    }

    private init() throws {
        path = ":memory:"
        isImmutable = false
        handle = try Self.connect(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, 0)
    }

    /// Opens a file that exists; it is closed with the last reference.
    init(path: String, mode: Mode, patience: Int32) throws {
        var status = stat()
        guard stat(path, &status) == 0 else {
            if errno == ENOENT { throw LedgerError.missing(path: path) }
            throw LedgerError.failed(path: path, reason: String(cString: strerror(errno)))
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw LedgerError.notALedger(path: path, reason: "it is not a regular file")
        }
        self.path = path
        (handle, isImmutable) = try Self.open(path, mode, patience)
    }

    /// The path as SQLite takes it for a path: one that begins with `file:` or `:` means something else
    /// to it.
    private static func plain(_ path: String) -> String {
        path.hasPrefix("/") ? path : "./" + path
    }

    deinit {
        // Unlike sqlite3_close, it also succeeds while a statement has not been finalized yet.
        sqlite3_close_v2(handle)
    }

    /// Whether a log with something in it lies beside a file.
    static func hasLog(_ path: String) -> Bool { LogFile(of: path).hasFrames }

    private static func open(
        _ path: String,
        _ mode: Mode,
        _ patience: Int32
    ) throws -> (OpaquePointer, isImmutable: Bool) {
        if mode == .write {
            let handle = try connect(plain(path), SQLITE_OPEN_READWRITE, patience, path: path)
            return (handle, false)
        }
        let handle = try connect(plain(path), SQLITE_OPEN_READONLY, patience, path: path)
        // A first look into the file: opening alone touches nothing.
        let code = sqlite3_exec(handle, "SELECT 1 FROM main.sqlite_schema LIMIT 1", nil, nil, nil)
        let isRefused = [SQLITE_CANTOPEN, SQLITE_READONLY, SQLITE_IOERR].contains(code & 0xff)
        guard isRefused else { return (handle, false) }
        sqlite3_close_v2(handle)
        guard !hasLog(path) else {
            throw LedgerError.unreadableLog(path: path)
        }
        // Readers of a log share a file that they may have to make. Without a log there is nothing
        // to share (https://www.sqlite.org/uri.html#uriimmutable).
        let immutable = try connect(
            uri(of: path) + "?immutable=1",
            SQLITE_OPEN_READONLY | SQLITE_OPEN_URI,
            patience,
            path: path
        )
        return (immutable, true)
    }

    private static func connect(
        _ name: String,
        _ flags: Int32,
        _ patience: Int32,
        path: String? = nil
    ) throws -> OpaquePointer {
        var handle: OpaquePointer?
        let code = sqlite3_open_v2(name, &handle, flags | SQLITE_OPEN_NOMUTEX, nil)
        guard code == SQLITE_OK, let handle else {
            let reason = handle.map { String(cString: sqlite3_errmsg($0)) } ?? "out of memory"
            sqlite3_close_v2(handle)
            let path = path ?? name
            throw LedgerError.failed(path: path, reason: excess(of: path) ?? reason)
        }
        sqlite3_extended_result_codes(handle, 1)
        sqlite3_busy_timeout(handle, patience)
        // What somebody else may have put into the file is not to be run
        // (https://www.sqlite.org/security.html).
        _ = csqlite_configure(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        _ = csqlite_configure(handle, SQLITE_DBCONFIG_DEFENSIVE, 1)
        return handle
    }

    /// That a path is longer than SQLite takes, as a clause; nil when it is not.
    static func excess(of path: String) -> String? {
        let whole = URL(fileURLWithPath: LogFile.resolved(path))
        let name = whole.lastPathComponent.utf8.count
        let room = "-journal".utf8.count
        // NAME_MAX of Linux, and MAX_PATHNAME of SQLite's os_unix.c.
        if name + room > 255 {
            return "its name is too long: it has \(name) bytes, and SQLite takes \(255 - room)"
        }
        let bytes = whole.path.utf8.count
        guard bytes + room > 512 else { return nil }
        return "its path is too long: it has \(bytes) bytes, and SQLite takes \(512 - room)"
    }

    private static func uri(of path: String) -> String {
        let plain = Set("/-._~".utf8)
        var uri = path.hasPrefix("/") ? "file://" : "file:"
        for byte in path.utf8 {
            let isPlain =
                plain.contains(byte) || (48...57).contains(byte) || (65...90).contains(byte)
                || (97...122).contains(byte)
            if isPlain {
                uri.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                uri += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
            }
        }
        return uri
    }

    /// Runs statements that return nothing of interest.
    func execute(_ sql: String) throws {
        let code = sqlite3_exec(handle, sql, nil, nil, nil)
        guard code == SQLITE_OK else { throw failure(code) }
    }

    /// Compiles one statement.
    func prepare(_ sql: String) throws -> SQLiteStatement {
        var statement: OpaquePointer?
        let code = sqlite3_prepare_v3(
            handle,
            sql,
            -1,
            UInt32(SQLITE_PREPARE_PERSISTENT),
            &statement,
            nil
        )
        guard code == SQLITE_OK, let statement else { throw failure(code) }
        return SQLiteStatement(statement, of: self)
    }

    /// The first column of the first row as a number; nil when there is no row.
    func integer(_ sql: String) throws -> Int64? {
        let statement = try prepare(sql)
        return try statement.step() ? statement.integer(0) : nil
    }

    /// Runs `body` in a transaction that takes the write lock at once; commits when it returns.
    ///
    /// When the call returns, the changes are on the disk (`synchronous` is FULL).
    func transaction<Result>(_ body: () throws -> Result) throws -> Result {
        try execute("BEGIN IMMEDIATE")
        return try finishing(body)
    }

    /// Runs `body` in the transaction that was begun, and ends it.
    func finishing<Result>(_ body: () throws -> Result) throws -> Result {
        do {
            let result = try body()
            try execute("COMMIT")
            return result
        } catch {
            // The first error is the one worth reading; SQLite may have rolled back by itself.
            try? execute("ROLLBACK")
            throw error
        }
    }

    /// Runs `body` on one snapshot.
    func reading<Result>(_ body: () throws -> Result) throws -> Result {
        try execute("BEGIN")
        return try finishing(body)
    }

    /// Copies every page into an empty file, of the snapshot that this connection's transaction has.
    ///
    /// - Parameters:
    ///   - copy: A connection to the empty file.
    ///   - progress: Called with the share that is copied, 0 to 1, some hundred times a gigabyte.
    ///     What it throws ends the copying.
    /// - Throws: ``LedgerError`` of the file that refuses; what `progress` throws.
    func copyPages(to copy: SQLiteDatabase, progress: (Double) throws -> Void) throws {
        guard let backup = sqlite3_backup_init(copy.handle, "main", handle, "main") else {
            throw copy.failure(sqlite3_errcode(copy.handle))
        }
        var code = SQLITE_OK
        do {
            while code == SQLITE_OK {
                code = sqlite3_backup_step(backup, 256)
                let (left, all) = (
                    sqlite3_backup_remaining(backup), sqlite3_backup_pagecount(backup)
                )
                if all > 0 { try progress(1 - Double(left) / Double(all)) }
            }
        } catch {
            sqlite3_backup_finish(backup)
            throw error
        }
        sqlite3_backup_finish(backup)
        switch code & 0xff {
        case SQLITE_DONE: return
        case SQLITE_CORRUPT, SQLITE_NOTADB:
            throw LedgerError.damaged(path: path, reason: String(cString: sqlite3_errstr(code)))
        default:
            throw LedgerError.failed(path: copy.path, reason: String(cString: sqlite3_errstr(code)))
        }
    }

    /// Fills bytes from the file itself, past its log.
    ///
    /// - Returns: False when the file does not have them.
    func readFile(_ bytes: inout [UInt8], at offset: Int64) -> Bool {
        bytes.withUnsafeMutableBytes {
            csqlite_read_file(handle, $0.baseAddress, Int32($0.count), offset) == SQLITE_OK
        }
    }

    /// Whether the log stays as it is when the connection is closed, rather than be merged by the last
    /// one.
    func keepsLog(_ keeps: Bool) {
        _ = csqlite_configure(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keeps ? 1 : 0)
    }

    /// That a file is shorter than it says, as a clause; nil when it is not, or when a log may have the
    /// rest.
    private static func cutOff(_ path: String) -> String? {
        guard !hasLog(path) else { return nil }
        // Closing the file gives up this process' locks on it
        // (https://www.sqlite.org/howtocorrupt.html, section 2.2), which a damaged file is past.
        let file = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var status = stat()
        var header = [UInt8](repeating: 0, count: 100)
        guard fstat(file, &status) == 0, pread(file, &header, 100, 0) == 100 else { return nil }
        // https://www.sqlite.org/fileformat2.html, section 1.3: page size and number of pages.
        func number(_ bytes: Range<Int>) -> Int { header[bytes].reduce(0) { $0 << 8 | Int($1) } }
        let pageSize = number(16..<18) == 1 ? 65_536 : number(16..<18)
        let bytes = pageSize * number(28..<32)
        guard bytes > Int(status.st_size) else { return nil }
        return "it is cut off: it has \(status.st_size) bytes of \(bytes)"
    }

    /// The error for a result code, in the ledger's terms.
    func failure(_ code: Int32) -> LedgerError {
        let reason = String(cString: sqlite3_errmsg(handle))
        return switch code & 0xff {
        case SQLITE_BUSY, SQLITE_LOCKED: .locked(path: path)
        case SQLITE_NOTADB: .notALedger(path: path, reason: "it is not an SQLite database")
        case SQLITE_CORRUPT: .damaged(path: path, reason: Self.cutOff(path) ?? reason)
        case SQLITE_READONLY where access(path, W_OK) == 0 && code & 0xff00 == 0:
            .damaged(path: path, reason: "its header says that nobody may write it")
        case SQLITE_READONLY: .failed(path: path, reason: "it, or its folder, may not be written")
        // The statements are the same for every ledger, so that the file's own tables are at fault.
        case SQLITE_ERROR: .damaged(path: path, reason: reason)
        case SQLITE_CANTOPEN: .failed(path: path, reason: Self.excess(of: path) ?? reason)
        default: .failed(path: path, reason: reason)
        }
    }
}

/// A compiled statement; columns and parameters count from 0 and 1, as in SQLite.
///
/// Text and blobs are bound without a copy: they must stay where they are until the next
/// ``reset()``. What a column lends is good until the next step.
final class SQLiteStatement {
    private let handle: OpaquePointer
    private let database: SQLiteDatabase

    fileprivate init(_ handle: OpaquePointer, of database: SQLiteDatabase) {
        self.handle = handle
        self.database = database
    }

    deinit { sqlite3_finalize(handle) }

    /// Moves to the next row.
    ///
    /// - Returns: False when there is none.
    func step() throws -> Bool {
        let code = sqlite3_step(handle)
        if code == SQLITE_ROW { return true }
        guard code == SQLITE_DONE else {
            let failure = database.failure(code)
            sqlite3_reset(handle)
            throw failure
        }
        return false
    }

    /// Runs a statement that returns no rows, and makes it ready to run again.
    func run() throws {
        _ = try step()
        reset()
    }

    /// Ends the read transaction, if this statement held it open, and makes it ready to run again.
    func reset() {
        sqlite3_reset(handle)
    }

    func bind(_ value: Int64, at index: Int32) {
        sqlite3_bind_int64(handle, index, value)
    }

    func bindNull(at index: Int32) {
        sqlite3_bind_null(handle, index)
    }

    func bind(blob: UnsafeRawBufferPointer, at index: Int32) {
        sqlite3_bind_blob64(handle, index, blob.baseAddress, UInt64(blob.count), nil)
    }

    /// Binds a text; one without an address is NULL.
    func bind(text: UnsafeRawBufferPointer, at index: Int32) {
        sqlite3_bind_text64(
            handle,
            index,
            text.baseAddress?.assumingMemoryBound(to: CChar.self),
            UInt64(text.count),
            nil,
            UInt8(SQLITE_UTF8)
        )
    }

    /// Binds a copy of a text.
    func bind(copying text: String?, at index: Int32) {
        guard var text else { return bindNull(at: index) }
        let transient = unsafeBitCast(
            OpaquePointer(bitPattern: -1),
            to: sqlite3_destructor_type.self
        )
        text.withUTF8 { bytes in
            _ = sqlite3_bind_text64(
                handle,
                index,
                bytes.baseAddress.map { UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self) },
                UInt64(bytes.count),
                transient,
                UInt8(SQLITE_UTF8)
            )
        }
    }

    /// Binds a copy of bytes.
    func bind(copying bytes: [UInt8], at index: Int32) {
        let transient = unsafeBitCast(
            OpaquePointer(bitPattern: -1),
            to: sqlite3_destructor_type.self
        )
        bytes.withUnsafeBytes {
            _ = sqlite3_bind_blob64(handle, index, $0.baseAddress, UInt64($0.count), transient)
        }
    }

    func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(handle, column) }

    func isNull(_ column: Int32) -> Bool { sqlite3_column_type(handle, column) == SQLITE_NULL }

    func blob(_ column: Int32) -> UnsafeRawBufferPointer {
        let value = sqlite3_column_value(handle, column)
        let base = sqlite3_value_blob(value)
        return UnsafeRawBufferPointer(start: base, count: Int(sqlite3_value_bytes(value)))
    }

    // One look-up of the column for text and length: without a mutex a value may be used like one that
    // is protected (https://www.sqlite.org/c3ref/value.html), and connections are opened without.

    /// The text of a column; without an address for NULL, and only then.
    func text(_ column: Int32) -> UnsafeRawBufferPointer {
        let value = sqlite3_column_value(handle, column)
        let base = UnsafeRawPointer(sqlite3_value_text(value))
        return UnsafeRawBufferPointer(start: base, count: Int(sqlite3_value_bytes(value)))
    }

    func string(_ column: Int32) -> String { String(decoding: text(column), as: UTF8.self) }
}
