internal import Glibc

/// Whose turn it is to write next: a lock beside the ledger that a writer holds while it waits for
/// SQLite's, and gives back when it has got that.
///
/// SQLite's own lock is not fair: a writer that takes it again at once gets it before those who wait.
/// With this one, a writer that has just committed stands behind them.
///
/// Used by one thread. Without the right to make the lock's file writing goes on, less fairly.
final class AppendTurn {
    private let path: String
    private var file: Int32

    init(ledger: String) {
        // Two writers may know the file by two names.
        path = LogFile.resolved(ledger) + "-turn"
        file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
    }

    deinit {
        guard file >= 0 else { return }
        // Who waits with the old file while another makes a new one waits less fairly, once.
        if flock(file, LOCK_EX | LOCK_NB) == 0 { unlink(path) }
        close(file)
    }

    /// Tries until `begin` succeeds, or the patience is over.
    ///
    /// - Parameters:
    ///   - patience: Milliseconds.
    ///   - begin: Takes SQLite's lock without waiting; gives false while another has it.
    /// - Returns: Whether `begin` succeeded.
    func wait(_ patience: Int32, toBegin begin: () throws -> Bool) rethrows -> Bool {
        let end = LedgerClock.now() + Int64(patience) * 1_000
        // A process that is stopped may hold it, so that waiting for it has an end.
        var hasTurn = tryTurn()
        while !hasTurn, LedgerClock.now() < end {
            usleep(1_000)
            hasTurn = tryTurn()
        }
        defer { if hasTurn { giveTurn() } }
        while true {
            if try begin() { return true }
            guard LedgerClock.now() < end else { return false }
            usleep(1_000)
        }
    }

    private func tryTurn() -> Bool { file < 0 || flock(file, LOCK_EX | LOCK_NB) == 0 }

    private func giveTurn() { if file >= 0 { flock(file, LOCK_UN) } }
}
