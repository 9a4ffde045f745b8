internal import Glibc

/// Whose turn it is to write next, and whether others write: two locks of a file beside the ledger.
///
/// SQLite's own lock is not fair: a writer that takes it again at once gets it before those who wait.
/// With the first lock, which a writer holds while it waits for SQLite's, one that has just committed
/// stands behind them. The second is shared by all writers as long as they have the ledger open.
///
/// Used by one thread. Without the right to make the file writing goes on, less fairly.
final class AppendTurn {
    private let path: String
    private var file: Int32 = -1

    init(ledger: String) {
        // Two writers may know the file by two names.
        path = LogFile.resolved(ledger) + "-turn"
        // The last writer takes the file away; who opened it just before opens it anew.
        for attempt in 0..<100 {
            if attempt > 0 { usleep(1_000) }
            file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
            guard file >= 0 else { return }
            if lock(.writers, F_RDLCK), isInPlace { return }
            close(file)
            file = -1
        }
    }

    deinit {
        guard file >= 0 else { return }
        if lock(.writers, F_WRLCK), isInPlace { unlink(path) }
        close(file)
    }

    /// Whether the open file is the one that others open; anybody may have removed it.
    private var isInPlace: Bool {
        var (own, found) = (stat(), stat())
        return fstat(file, &own) == 0 && stat(path, &found) == 0 && own.st_ino == found.st_ino
            && own.st_dev == found.st_dev
    }

    /// Whether no other writer has the ledger open; true too where that cannot be known.
    ///
    /// Of two that end at once and ask, one at least hears that it is alone.
    func isAlone() -> Bool {
        guard file >= 0 else { return true }
        _ = lock(.writers, F_UNLCK)
        let isAlone = lock(.writers, F_WRLCK)
        // Others may come, and need not wait. Another may be asking just now: for a moment.
        for _ in 0..<100 {
            if lock(.writers, F_RDLCK) { break }
            usleep(100)
        }
        return isAlone
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
        defer { if hasTurn { _ = lock(.turn, F_UNLCK) } }
        while true {
            if try begin() { return true }
            guard LedgerClock.now() < end else { return false }
            usleep(1_000)
        }
    }

    private func tryTurn() -> Bool { file < 0 || lock(.turn, F_WRLCK) }

    /// The bytes of the file that are locked; it has none.
    private enum Lock: off_t {
        case turn = 0
        case writers = 1
    }

    /// F_OFD_SETLK of Linux, which Swift's Glibc leaves out: a lock that belongs to the open file, so
    /// that another open file of this process neither shares nor drops it.
    private static let setLock: Int32 = 37

    private func lock(_ lock: Lock, _ kind: Int32) -> Bool {
        var request = flock()
        request.l_type = Int16(kind)
        request.l_whence = Int16(SEEK_SET)
        request.l_start = lock.rawValue
        request.l_len = 1
        return fcntl(file, Self.setLock, &request) == 0
    }
}
