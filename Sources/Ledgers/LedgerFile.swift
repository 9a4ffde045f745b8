internal import Glibc
internal import Migrations
internal import ProjectionKit

/// The format of a ledger file: how one is made and recognised.
enum LedgerFile {
    /// The newest format this version reads and writes.
    static let formatVersion = 1
    /// `RPRS`, in the header of the file.
    static let applicationID: Int64 = 0x5250_5253
    /// Milliseconds to wait for another process' lock.
    static let patience: Int32 = 5_000

    /// Opens a ledger, checks that it is one, and lends the connection with the bucket width.
    static func withLedger<Result>(
        path: String,
        mode: SQLiteDatabase.Mode,
        patience: Int32 = LedgerFile.patience,
        _ body: (SQLiteDatabase, _ bucketWidth: Int64) throws -> Result
    ) throws -> Result {
        try SQLiteDatabase.withDatabase(path: path, mode: mode, patience: patience) { database in
            try body(database, try bucketWidth(of: database))
        }
    }

    /// Makes an empty ledger where there is no file.
    static func create(path: String, bucketWidth: Int64) throws {
        precondition(bucketWidth > 0, "a bucket width must be 1 ms or more; it is \(bucketWidth)")
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard file >= 0 else {
            if errno == EEXIST { throw LedgerError.exists(path: path) }
            throw LedgerError.failed(path: path, reason: String(cString: strerror(errno)))
        }
        close(file)
        do {
            try fill(path: path, bucketWidth: bucketWidth)
        } catch {
            for suffix in ["", "-wal", "-shm"] { unlink(path + suffix) }
            throw error
        }
    }

    private static func fill(path: String, bucketWidth: Int64) throws {
        try SQLiteDatabase.withDatabase(path: path, mode: .write, patience: patience) { database in
            // A WITHOUT ROWID table keeps whole rows in its inner pages too, so a wide page makes
            // a flat tree; and events up to a quarter of it need no overflow page
            // (https://www.sqlite.org/fileformat2.html, section 1.6).
            try database.execute("PRAGMA page_size = 16384; PRAGMA journal_mode = WAL")
            try database.transaction {
                for migration in Migrations.ledger { try database.execute(migration.sql) }
                let setting = try database.prepare(
                    "INSERT INTO settings (name, value) VALUES ('bucket_width_ms', ?1)"
                )
                setting.bind(bucketWidth, at: 1)
                _ = try setting.step()
            }
        }
    }

    private static func bucketWidth(of database: SQLiteDatabase) throws -> Int64 {
        let path = database.path
        let found = try database.integer("PRAGMA application_id") ?? 0
        guard found == applicationID else {
            let isEmpty = try database.integer("SELECT count(*) FROM main.sqlite_schema") == 0
            throw LedgerError.notALedger(
                path: path,
                reason: isEmpty ? "it is empty" : "it is an SQLite database of something else"
            )
        }
        let version = Int(try database.integer("PRAGMA user_version") ?? 0)
        guard version <= formatVersion else {
            throw LedgerError.newerFormat(path: path, found: version, supported: formatVersion)
        }
        let tables = try database.integer(
            """
            SELECT count(*) FROM main.sqlite_schema
            WHERE type = 'table' AND name IN ('events', 'settings')
            """
        )
        guard tables == 2 else {
            throw LedgerError.notALedger(path: path, reason: "its tables are missing")
        }
        let width = try database.integer(
            "SELECT value FROM main.settings WHERE name = 'bucket_width_ms'"
        )
        guard let width, width > 0 else {
            throw LedgerError.damaged(path: path, reason: "its bucket width is missing")
        }
        return width
    }
}
