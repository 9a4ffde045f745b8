/// Why a ledger cannot be read or written.
///
/// Each message says what happened and where, that nothing readers see has changed, and what to
/// type next.
package enum LedgerError: Error, Equatable, Sendable {
    /// There is no file.
    case missing(path: String)
    /// Another process holds the ledger's write lock for longer than the wait.
    case locked(path: String)
    /// The file was written by a newer version.
    case newerFormat(path: String, found: Int, supported: Int)
    /// The file is something else, or lacks the ledger's tables.
    case notALedger(path: String, reason: String)
    /// The file is damaged: SQLite says so, or an invariant does not hold.
    case damaged(path: String, reason: String)
    /// The disk, the file system or SQLite refuses.
    case failed(path: String, reason: String)
    /// `create` found something where the ledger should go.
    case exists(path: String)
}
