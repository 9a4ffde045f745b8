internal import Glibc
internal import LedgerKit
package import ProjectionKit

/// A copy of an embedded ledger: one file without a log, with the same identity and positions.
package struct LedgerBackup: Hashable, Sendable {
    /// What it is doing, for progress.
    package enum Step: Hashable, Sendable {
        /// Pages are copied: the share of them that is, 0 to 1.
        case copying(Double)
        /// The copy is verified: events so far.
        case verifying(Int)
    }

    /// Events in the copy.
    package let events: Int
    /// Where the last of them stands; nil in an empty ledger.
    package let position: Position?
    /// Bytes of the copy.
    package let bytes: Int

    /// Copies a ledger while it is written, as it is at one moment, and verifies the copy.
    ///
    /// Blocks. Needs the right to read the ledger. Writers go on; their log is not merged into the
    /// ledger while the pages are copied.
    ///
    /// - Parameters:
    ///   - path: The ledger.
    ///   - copy: Where the copy is to be; there must be nothing. Only its owner can read and write
    ///     it.
    ///   - withoutLog: Whether to copy what the file has when its log is known to be missing.
    ///   - progress: Called now and then; what it throws ends the copying.
    /// - Returns: What was copied.
    /// - Throws: ``CopyError``, ``LedgerError``; what `progress` throws. Then there is no copy.
    package static func make(
        of path: String,
        at copy: String,
        withoutLog: Bool = false,
        progress: (Step) throws -> Void = { _ in }
    ) throws -> LedgerBackup {
        let hadLog = SQLiteDatabase.hasLog(path)
        let backup = try verifiedCopy(of: path, at: copy, withoutLog, progress)
        // A writer that ended meanwhile could not merge its log while the snapshot was read. A user who
        // may not write leaves it there.
        if !hadLog, SQLiteDatabase.hasLog(path) {
            try? LedgerWriter.withWriter(path: path) { _ in }
        }
        return backup
    }

    private static func verifiedCopy(
        of path: String,
        at copy: String,
        _ withoutLog: Bool,
        _ progress: (Step) throws -> Void
    ) throws -> LedgerBackup {
        try LedgerFile.withLedger(
            path: path,
            mode: .read,
            demanding: withoutLog ? .readable : .whole
        ) { ledger, _ in
            try LedgerFile.assertNoLog(beside: copy)
            if !withoutLog, let reason = LogFile(of: path).damage() {
                throw LedgerError.damaged(path: path, reason: reason)
            }
            return try StagedFile.make(copy) { staged in
                let signature = FileSignature(of: path)
                let end = try ledger.reading {
                    // The first look makes the snapshot that is copied.
                    let end = try ledger.newestPosition()
                    try copyPages(of: ledger, to: staged, for: copy, progress)
                    return end
                }
                if ledger.isImmutable, signature != FileSignature(of: path) {
                    throw LedgerError.writtenWhileRead(path: path)
                }
                try closeLog(of: staged, for: copy)
                return try verify(staged, end, of: path, for: copy, progress)
            }
        }
    }

    private static func copyPages(
        of ledger: SQLiteDatabase,
        to staged: String,
        for copy: String,
        _ progress: (Step) throws -> Void
    ) throws {
        let file = open(staged, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw CopyError.failed(path: copy) }
        close(file)
        try CopyError.naming(copy, insteadOf: staged) {
            try SQLiteDatabase.withDatabase(path: staged, mode: .write, patience: 0) { target in
                // The whole file is synchronized before it gets its name.
                try target.execute("PRAGMA synchronous = OFF")
                try ledger.copyPages(to: target) { try progress(.copying($0)) }
            }
        }
    }

    /// The pages say that there is a log, if the ledger has one; they are all in the file here.
    private static func closeLog(of staged: String, for copy: String) throws {
        try CopyError.naming(copy, insteadOf: staged) {
            try LedgerFile.withLedger(path: staged, mode: .write, demanding: .readable) {
                database,
                _ in
                try database.transaction {
                    // A log of the ledger is none of the copy.
                    try LogState.close(in: database, asFile: .random(in: .min ... .max))
                }
                _ = try database.integer("PRAGMA main.wal_checkpoint(TRUNCATE)")
            }
        }
        guard !SQLiteDatabase.hasLog(staged) else {
            throw CopyError.differs(path: copy, reason: "its log could not be merged")
        }
    }

    private static func verify(
        _ staged: String,
        _ end: Position?,
        of path: String,
        for copy: String,
        _ progress: (Step) throws -> Void
    ) throws -> LedgerBackup {
        let result = try LedgerVerify.run(path: staged) { try progress(.verifying($0)) }
        guard result.isSound else {
            // Damage that the ledger does not have was done on the way.
            let own = try LedgerVerify.run(path: path) { try progress(.verifying($0)) }
            guard !own.isSound else {
                throw CopyError.differs(path: copy, reason: result.firstReason)
            }
            throw CopyError.unsound(
                source: path,
                findings: result.counts.values.reduce(0, +),
                first: result.firstReason
            )
        }
        let copied = try LedgerFile.withLedger(path: staged, mode: .read) { database, _ in
            try database.newestPosition()
        }
        guard copied == end, result.events == end?.sequence ?? 0 else {
            throw CopyError.differs(path: copy, reason: "it has other events at its end")
        }
        var status = stat()
        guard stat(staged, &status) == 0 else { throw CopyError.failed(path: copy) }
        return LedgerBackup(events: result.events, position: end, bytes: Int(status.st_size))
    }
}

extension LedgerVerify {
    /// The first thing that is wrong, as a clause.
    var firstReason: String { findings.first.map { "\($0)" } ?? "it is not sound" }
}

extension CopyError {
    /// Runs `body`, and says of a file that is being made what would become of it.
    static func naming<Result>(
        _ path: String,
        insteadOf staged: String,
        _ body: () throws -> Result
    ) throws -> Result {
        do {
            return try body()
        } catch LedgerError.failed(staged, let reason) {
            throw CopyError.failed(path: path, reason: reason)
        } catch LedgerError.damaged(staged, let reason) {
            throw CopyError.differs(path: path, reason: reason)
        }
    }
}
