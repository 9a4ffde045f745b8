import Wording

/// Why a ledger cannot be read or written.
///
/// Each message says what happened and where, that nothing readers see has changed, and what to
/// type next.
package enum LedgerError: Error, Equatable, Sendable {
    /// There is no file.
    case missing(path: String)
    /// Another process holds the ledger's write lock for longer than the wait.
    case locked(path: String)
    /// The file has the format of an older version.
    case olderFormat(path: String)
    /// The file was written by a newer version.
    case newerFormat(path: String, found: Int, supported: Int)
    /// The file is something else, or lacks the ledger's tables.
    case notALedger(path: String, reason: String)
    /// The file is damaged: SQLite says so, or an invariant does not hold.
    case damaged(path: String, reason: String)
    /// The file was left with a log beside it, and that is not there.
    case logMissing(path: String)
    /// The log beside the file is older than the file, or another's.
    case foreignLog(path: String, reason: String)
    /// There is a rollback journal beside the file, which is never made beside a ledger.
    case strayJournal(path: String)
    /// There is a log where that of a new file would be.
    case strayLog(path: String)
    /// The file has hard links, so that it cannot be written safely.
    case severalNames(path: String)
    /// There is a log beside the file, which this process may not read.
    case unreadableLog(path: String)
    /// Another process wrote the file while this one read it without SQLite's locks.
    case writtenWhileRead(path: String)
    /// The disk, the file system or SQLite refuses.
    case failed(path: String, reason: String)
    /// A ledger of a kind that the program brought cannot be read; the reason is what it says.
    case foreign(place: String, reason: String)
    /// An address has a scheme that this program does not know.
    case unknownScheme(String, known: [String])
    /// A command that writes, or looks into the file, was given the address of another kind of ledger.
    case readOnlyKind(String)
    /// `create` found something where the ledger should go.
    case exists(path: String)
    /// An event that was to be appended is not one a ledger takes. Nothing was stored.
    case refused(path: String, reason: String)
}

extension LedgerError: CustomStringConvertible {
    /// The message for people: three lines.
    ///
    /// Wording may change in any release. Match on the case, never on the text.
    package var description: String {
        let (whatHappened, whatNext) = lines
        return """
            \(TextForPeople.line(whatHappened))
            Nothing that readers see has changed.
            \(TextForPeople.line(whatNext))
            """
    }

    /// How to put a backup in the place of a damaged ledger, a sentence.
    ///
    /// - Parameter path: The ledger's.
    /// - Returns: The sentence.
    package static func restoring(_ path: String) -> String {
        "To restore it, stop what appends, move \(quoted(path)), its '-wal' and its '-shm' away, and"
            + " run '\(ProgramName.current) ledger backup \(TextForPeople.pathArgument(path))"
            + " --ledger BACKUP', which checks your backup and puts a copy of it there."
    }

    private var lines: (String, String) {
        switch self {
        case .missing(let path):
            (
                "There is no ledger at \(quoted(path)).",
                "Check the path, or make a ledger there with '\(ProgramName.current) ledger create \(TextForPeople.pathArgument(path))'."
            )
        case .locked(let path):
            (
                "The ledger \(quoted(path)) is being written by another process.",
                "When that process is done, run \(command) again;"
                    + " 'fuser \(TextForPeople.pathArgument(path))' names it."
            )
        case .olderFormat(let path):
            (
                "The ledger \(quoted(path)) has format 1, which orders events by their ids;"
                    + " this version keeps them in the order in which they were appended.",
                "Run '\(ProgramName.current) ledger upgrade \(TextForPeople.pathArgument(path)) NEW' to copy it into a new file, in the order"
                    + " in which it was read until now."
            )
        case .newerFormat(let path, let found, let supported):
            (
                "The ledger \(quoted(path)) has format \(found);"
                    + " this version of reprise reads up to \(supported).",
                "Run '\(ProgramName.current) --version', and install a newer one."
            )
        case .notALedger(let path, let reason):
            (
                "\(quoted(path)) is not a ledger: \(reason).",
                "Check the path, or make a ledger elsewhere with '\(ProgramName.current) ledger create FILE'."
            )
        case .damaged(let path, let reason):
            (
                "The ledger \(quoted(path)) is damaged: \(reason).",
                "Run '\(ProgramName.current) ledger verify --ledger \(TextForPeople.pathArgument(path))' to see"
                    + " what is still good. \(Self.restoring(path))"
            )
        case .logMissing(let path):
            (
                "The ledger \(quoted(path)) is shorter than it must be: its writer left events in the log"
                    + " \(quoted("\(path)-wal")), which is not there.",
                "Put the log beside the file. Where it is lost, '\(ProgramName.current) ledger backup COPY --ledger"
                    + " \(TextForPeople.pathArgument(path)) --without-log' saves what the file has."
            )
        case .foreignLog(let path, let reason):
            (
                "The log \(quoted("\(path)-wal")) is not that of the ledger \(quoted(path)): \(reason).",
                "Nothing was written. Move \(quoted("\(path)-wal")) and \(quoted("\(path)-shm")) away and keep them, then"
                    + " run \(command) again."
            )
        case .strayJournal(let path):
            (
                "There is a rollback journal at \(quoted("\(path)-journal")): SQLite would write what is in it over"
                    + " the ledger.",
                "If the ledger was restored from a backup, move the journal away. If another program changed the"
                    + " journal mode and was killed, let SQLite undo its work: sqlite3"
                    + " \(TextForPeople.pathArgument(path)) \"SELECT count(*) FROM events\""
            )
        case .strayLog(let path):
            (
                "There is a log at \(quoted("\(path)-wal")), of a ledger that is not there any more: a new one"
                    + " would take it for its own.",
                "Move \(quoted("\(path)-wal")) away and keep it, for it may have events of the old one; then run"
                    + " \(command) again."
            )
        case .severalNames(let path):
            (
                "The ledger \(quoted(path)) has more than one name (hard links), and each would get a log of its"
                    + " own: what is written by one would be lost by another.",
                "Nothing was written. Remove the other names; 'find . -samefile \(TextForPeople.pathArgument(path))' shows"
                    + " those below this folder. Or copy it: '\(ProgramName.current) ledger backup COPY --ledger"
                    + " \(TextForPeople.pathArgument(path))'."
            )
        case .unreadableLog(let path):
            (
                "The ledger \(quoted(path)) has a log, \(quoted("\(path)-wal")), that cannot be read without"
                    + " \(quoted("\(path)-shm")), and this user may not make that file.",
                "Get the right to write in the folder of \(quoted(path)), or run the command as the"
                    + " ledger's owner."
            )
        case .writtenWhileRead(let path):
            (
                "The ledger \(quoted(path)) was written while it was read, by a user whose locks this one"
                    + " may not see.",
                "Run \(command) again. The right to write in the folder of \(quoted(path)) makes"
                    + " reading beside writers possible."
            )
        case .failed(let path, let reason):
            (
                "The ledger \(quoted(path)) cannot be used: \(reason).",
                "Check the disk and the permissions ('df' and 'ls -l \(TextForPeople.pathArgument(path))*'),"
                    + " then run \(command) again."
            )
        case .foreign(let place, let reason):
            (
                "The ledger \(quoted(place)) cannot be read: \(reason)",
                "Check that the ledger can be reached, then run \(command) again."
            )
        case .unknownScheme(let name, let known):
            (
                "This program knows no ledgers of the kind \(TextForPeople.shown(name)).",
                "Give a path, or an address that begins with "
                    + "\(known.map { "'\($0):'" }.joined(separator: " or "))."
            )
        case .readOnlyKind(let name):
            (
                "A ledger of the kind \(TextForPeople.shown(name)) is only read; this command needs an embedded one.",
                "Give the path of an embedded ledger (--ledger FILE)."
            )
        case .exists(let path):
            (
                "There is a file at \(quoted(path)) already, and it was left as it is.",
                "Run '\(ProgramName.current) ledger info --ledger \(TextForPeople.pathArgument(path))' to see what it "
                    + "is, or create the ledger under another name."
            )
        case .refused(let path, let reason):
            (
                "The event was not appended to \(quoted(path)): \(reason).",
                "Correct the event and run \(command) again."
            )
        }
    }
}

private func quoted(_ path: String) -> String { TextForPeople.path(path) }

private var command: String { TypedCommand.shown(or: "the same command") }
