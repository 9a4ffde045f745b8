internal import Glibc
internal import Wording

/// Why a copy of a ledger, or of its events, was not made.
///
/// Each message says what happened and where, what there is now, and what to type next.
package enum CopyError: Error, Equatable, Sendable {
    /// There is something where the copy should go.
    case exists(path: String)
    /// What is there is no regular file, so that it is never replaced.
    case notAFile(path: String)
    /// What is there is a ledger, which is never replaced.
    case ledger(path: String)
    /// The name is that of a file which belongs to a ledger.
    case besideLedger(path: String, ledger: String)
    /// The file system refuses.
    case failed(path: String, reason: String)
    /// The ledger that was copied is damaged.
    case unsound(source: String, findings: Int, first: String)
    /// The copy is not what was copied.
    case differs(path: String, reason: String)
    /// The ledger has the newest format already.
    case newestFormat(path: String, found: Int)
    /// An event of an older format is none that a ledger takes.
    case rejected(path: String, event: String, reason: String)
    /// Another process wrote the ledger of an older format meanwhile.
    case written(path: String)

    /// The file system's refusal that `errno` stands for.
    static func failed(path: String) -> CopyError {
        .failed(path: path, reason: String(cString: strerror(errno)))
    }
}

extension CopyError: CustomStringConvertible {
    /// The message for people: three lines.
    ///
    /// Wording may change in any release. Match on the case, never on the text.
    package var description: String {
        let (what, state, next) = lines
        return [what, state, next].map { TextForPeople.line($0) }.joined(separator: "\n")
    }

    private var lines: (what: String, state: String, next: String) {
        switch self {
        case .exists(let path):
            (
                "There is something at \(quoted(path)) already.",
                "It was left as it is, and nothing was written.",
                "Give another name, or move it away first."
            )
        case .notAFile(let path):
            (
                "\(quoted(path)) is no regular file, so it is not replaced.",
                "Nothing was written.",
                "Give another name; '-' stands for standard output."
            )
        case .ledger(let path):
            (
                "\(quoted(path)) is a ledger, so it is not replaced.",
                "It was left as it is, and nothing was written.",
                "Give another name; to be rid of that ledger, delete it with its '-wal' first."
            )
        case .besideLedger(let path, let ledger):
            (
                "\(quoted(path)) is the name of a file that belongs to the ledger"
                    + " \(quoted(ledger)).",
                "It was left as it is, and nothing was written.",
                "Give another name."
            )
        case .failed(let path, let reason):
            (
                "\(quoted(path)) cannot be written: \(reason).",
                "There is nothing new at \(quoted(path)).",
                "Check the disk and the permissions ('df' and 'ls -ld' on its folder), then run the"
                    + " same command again."
            )
        case .unsound(let source, let findings, let first):
            (
                "The ledger \(quoted(source)) is damaged: \(findings) finding\(findings == 1 ? "" : "s"),"
                    + " the first: \(first).",
                "No copy was kept, and the ledger was not changed.",
                "Run '\(ProgramName.current) ledger verify --ledger \(TextForPeople.pathArgument(source))' to see the"
                    + " others. \(LedgerError.restoring(source))"
            )
        case .differs(let path, let reason):
            (
                "The copy for \(quoted(path)) is not what was copied: \(reason).",
                "No copy was kept, and the ledger was not changed.",
                "Run the same command again; when it fails again, check the disk and the memory."
            )
        case .newestFormat(let path, let found):
            (
                "The ledger \(quoted(path)) has format \(found), the newest one, already.",
                "Nothing was written.",
                "Use it as it is; '\(ProgramName.current) ledger backup COPY --ledger"
                    + " \(TextForPeople.pathArgument(path))' copies it."
            )
        case .rejected(let path, let event, let reason):
            (
                "The ledger \(quoted(path)) holds something that is no event: \(event): \(reason).",
                "No copy was kept, and the ledger was not changed.",
                "Correct or delete that row with 'sqlite3' in a copy of the file, and upgrade the"
                    + " copy."
            )
        case .written(let path):
            (
                "The ledger \(quoted(path)) was written while it was copied.",
                "No copy was kept, and the ledger was not changed.",
                "Stop the programs that append to it, then run the same command again."
            )
        }
    }
}

private func quoted(_ path: String) -> String { TextForPeople.path(path) }
