internal import Foundation
internal import Glibc

/// A file that comes into being whole, under its name, or not at all.
///
/// It is written in a folder beside its destination, `.NAME.reprise-…`, which only its owner can
/// enter, then moved. A folder that a killed process left is removed by the next one that writes to
/// the same destination: a process holds a lock on its folder for as long as it lives.
package enum StagedFile {
    /// Makes a file.
    ///
    /// - Parameters:
    ///   - path: Where it is to be.
    ///   - replaces: Whether a regular file there may be replaced. A ledger, and what lies beside one,
    ///     never is.
    ///   - body: Writes the file of the path that it is handed, where there is nothing yet.
    /// - Returns: What `body` returns.
    /// - Throws: ``CopyError``; what `body` throws. Then there is nothing at the path that was not
    ///   there before.
    package static func make<Result>(
        _ path: String,
        replacing replaces: Bool = false,
        _ body: (_ staged: String) throws -> Result
    ) throws -> Result {
        try assertFree(path, replaces)
        let target = URL(fileURLWithPath: path)
        let name = target.lastPathComponent
        let parent = target.deletingLastPathComponent().path
        // The folder's name lengthens the path, and SQLite takes 512 bytes of it.
        let prefix = ".\(String(decoding: name.utf8.prefix(40), as: UTF8.self)).reprise-"
        removeAbandoned(in: parent, prefix: prefix)
        let folder = try StagingFolder(in: parent, prefix: prefix, for: path)
        defer { folder.remove() }
        let staged = "\(folder.path)/\(name)"
        let result = try body(staged)
        try sync(staged, for: path)
        // Meanwhile a ledger can have come there.
        try assertFree(path, replaces)
        try move(staged, to: path, replaces)
        try sync(parent, for: path)
        return result
    }

    private static func assertFree(_ path: String, _ replaces: Bool) throws {
        for suffix in ["-wal", "-shm", "-journal", "-turn"] where path.hasSuffix(suffix) {
            let ledger = String(path.dropLast(suffix.count))
            guard !LedgerFile.isLedger(ledger) else {
                throw CopyError.besideLedger(path: path, ledger: ledger)
            }
        }
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard replaces else { throw CopyError.exists(path: path) }
        guard !LedgerFile.isLedger(path) else { throw CopyError.ledger(path: path) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw CopyError.notAFile(path: path) }
    }

    private static func removeAbandoned(in parent: String, prefix: String) {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? []
        for name in names where name.hasPrefix(prefix) {
            StagingFolder.removeIfAbandoned("\(parent)/\(name)")
        }
    }

    private static func sync(_ path: String, for target: String) throws {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw CopyError.failed(path: target) }
        defer { close(file) }
        // Some file systems have nothing to do for a folder, and say EINVAL.
        guard fsync(file) == 0 || errno == EINVAL else { throw CopyError.failed(path: target) }
    }

    private static func move(_ staged: String, to path: String, _ replaces: Bool) throws {
        if replaces {
            guard rename(staged, path) == 0 else { throw CopyError.failed(path: path) }
            return
        }
        // Unlike a renaming, a link never replaces what is there.
        if link(staged, path) == 0 { return }
        let code = errno
        if code == EEXIST { throw CopyError.exists(path: path) }
        let isWithoutLinks = [EPERM, ENOTSUP, ENOSYS, EMLINK].contains(code)
        if isWithoutLinks, access(path, F_OK) != 0, rename(staged, path) == 0 { return }
        throw CopyError.failed(path: path, reason: String(cString: strerror(code)))
    }
}

/// A folder that is locked for as long as the process that made it lives.
private struct StagingFolder {
    let path: String
    private let lock: Int32

    init(in parent: String, prefix: String, for target: String) throws {
        while true {
            let path = "\(parent)/\(prefix)\(String(UInt64.random(in: .min ... .max), radix: 36))"
            guard mkdir(path, 0o700) == 0 else {
                if errno == EEXIST { continue }
                throw CopyError.failed(path: target)
            }
            let lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
            // Another process can have taken it for abandoned between the two calls.
            guard lock >= 0 else { continue }
            let isOurs = flock(lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK
            var status = stat()
            if isOurs, lstat(path, &status) == 0 {
                self.path = path
                self.lock = lock
                return
            }
            close(lock)
        }
    }

    func remove() {
        try? FileManager.default.removeItem(atPath: path)
        close(lock)
    }

    /// Removes a folder that no living process has locked.
    static func removeIfAbandoned(_ path: String) {
        let lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        guard lock >= 0 else { return }
        defer { close(lock) }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else { return }
        try? FileManager.default.removeItem(atPath: path)
    }
}
