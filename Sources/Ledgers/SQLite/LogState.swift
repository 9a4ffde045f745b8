internal import Foundation
internal import Glibc

/// What a ledger's file says of its log: the row of `log_state`.
struct LogState: Equatable {
    /// Whether events may be in the log alone.
    var isOpen: Bool
    /// A random number of the file, which its log repeats.
    var file: Int64
    /// Goes up with each commit, so that the row is in every log.
    var commits: Int64
    /// The file that the log belongs to; nil while it is not open.
    var owner: LogOwner?
    /// Whether the row is what was written.
    var isSound = true

    /// Reads the row.
    init(in database: SQLiteDatabase) throws {
        let row = try database.prepare(
            """
            SELECT is_open, file, commits, folder, inode, name, checksum FROM main.log_state
            WHERE only_row = 1
            """
        )
        guard try row.step() else {
            throw LedgerError.damaged(
                path: database.path,
                reason: "what it says of its log is missing"
            )
        }
        isOpen = row.integer(0) != 0
        file = row.integer(1)
        commits = row.integer(2)
        let found = LogOwner(folder: row.integer(3), inode: row.integer(4), name: row.string(5))
        owner = found == .nobody ? nil : found
        isSound =
            (0...1).contains(row.integer(0)) && isOpen == (owner != nil)
            && row.integer(6) == checksum
    }

    /// Makes the row of a new file.
    static func insert(into database: SQLiteDatabase) throws {
        try database.execute(
            """
            INSERT INTO main.log_state (only_row, is_open, file, commits, folder, inode, name,
                checksum)
            VALUES (1, 0, 0, 0, 0, 0, '', 0)
            """
        )
        try close(in: database, asFile: .random(in: .min ... .max))
    }

    /// Counts a commit.
    static func count(in database: SQLiteDatabase) throws {
        var state = try LogState(in: database)
        try state.write(to: database)
    }

    /// Says that there is a log from now on.
    static func open(in database: SQLiteDatabase, owner: LogOwner) throws {
        var state = try LogState(in: database)
        state.isOpen = true
        state.owner = owner
        try state.write(to: database)
    }

    /// Says that there is none, of the same file or of another one.
    static func close(in database: SQLiteDatabase, asFile file: Int64? = nil) throws {
        var state = try LogState(in: database)
        state.isOpen = false
        state.owner = nil
        state.file = file ?? state.file
        try state.write(to: database)
    }

    private mutating func write(to database: SQLiteDatabase) throws {
        commits &+= 1
        let row = try database.prepare(
            """
            UPDATE main.log_state SET is_open = ?1, file = ?2, commits = ?3, folder = ?4, inode = ?5,
                name = ?6, checksum = ?7
            """
        )
        let owner = owner ?? .nobody
        row.bind(isOpen ? 1 : 0, at: 1)
        row.bind(file, at: 2)
        row.bind(commits, at: 3)
        row.bind(owner.folder, at: 4)
        row.bind(owner.inode, at: 5)
        row.bind(copying: owner.name, at: 6)
        row.bind(checksum, at: 7)
        try row.run()
    }

    /// XXH3 over what it says, as text with a line for each.
    private var checksum: Int64 {
        let owner = owner ?? .nobody
        var text = "\(isOpen)\n\(file)\n\(commits)\n"
        text += "\(owner.folder)\n\(owner.inode)\n\(owner.name)\n"
        return text.withUTF8 { Int64(bitPattern: XXHash.of(UnsafeRawBufferPointer($0), seed: 0)) }
    }
}

/// Which file a log belongs to.
///
/// Its folder as well: a file that is mounted by itself in another one has the same inode, and a log
/// elsewhere.
struct LogOwner: Equatable {
    let folder: Int64
    let inode: Int64
    let name: String

    /// What stands for no file.
    static let nobody = LogOwner(folder: 0, inode: 0, name: "")

    init(folder: Int64, inode: Int64, name: String) {
        self.folder = folder
        self.inode = inode
        self.name = name
    }

    init(path: String) {
        let url = URL(fileURLWithPath: LogFile.resolved(path))
        folder = Self.inode(of: url.deletingLastPathComponent().path)
        inode = Self.inode(of: path)
        name = url.lastPathComponent
    }

    private static func inode(of path: String) -> Int64 {
        var status = stat()
        return stat(path, &status) == 0 ? Int64(bitPattern: UInt64(status.st_ino)) : 0
    }
}
