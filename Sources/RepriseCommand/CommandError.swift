internal import Ledgers
internal import ReadModels
internal import Wording

/// What is wrong with what the user asked for, or says no.
///
/// Each message says what happened, what readers see now, and what to type next.
enum CommandError: Error, Equatable {
    /// The program's author has declared something wrongly.
    case badProgram(mistakes: [String])
    /// No projection of that name.
    case unknownProjection(name: String, nearest: String?, known: [String])
    /// Neither names nor `--all`, or both.
    case unclearProjections(isBoth: Bool, known: [String])
    /// A setting has a value that cannot be used; `source` says where it stands.
    case badSetting(source: String, reason: String)
    /// The settings file cannot be used.
    case badSettingsFile(path: String, reason: String)
    /// A plan, printed before, refuses.
    case planRefused(projections: [String])
    /// A plan has no SQL of a cut-over to show.
    case noCutOverSQL(projection: String)
    /// What would go is listed on standard output, and nobody has agreed to it.
    case consentMissing(command: String)
    /// A ledger's check, printed before, has findings.
    case ledgerUnsound(path: String, findings: Int)
    /// No event has the id that was asked for.
    case noSuchEvent(id: String, ledger: String)
    /// The ledger is another one than at the beginning: the event that was read last is not in it.
    case ledgerReplaced(ledger: String, position: String)
    /// Standard output takes no more, for another reason than that its reader ended; what was done
    /// before, a sentence, stays.
    case outputFailed(reason: String, done: String?)

    /// The exit status that belongs to it.
    var status: ExitStatus {
        switch self {
        case .badProgram, .unknownProjection, .unclearProjections, .badSetting, .badSettingsFile,
            .consentMissing:
            .usage
        case .planRefused, .noCutOverSQL: .refused
        case .ledgerUnsound, .noSuchEvent: .checkFailed
        case .outputFailed, .ledgerReplaced: .ledger
        }
    }
}

extension CommandError: CustomStringConvertible {
    var description: String {
        let (what, next) = parts
        return "\(TextForPeople.line(what))\n\(state)\n\(TextForPeople.line(next))"
    }

    private var state: String {
        guard case .outputFailed(_, let done?) = self else {
            return "The live tables are unchanged."
        }
        return "\(done) Only the report of it is lost."
    }

    private var parts: (what: String, next: String) {
        switch self {
        case .badProgram(let mistakes):
            (
                mistakes.joined(separator: " "),
                "Correct the program, build it and run the command again."
            )
        case .unknownProjection(let name, let nearest, let known):
            (
                "There is no projection '\(name)'"
                    + (nearest.map { "; did you mean '\($0)'?" } ?? "."),
                "Known projections: \(known.joined(separator: ", "))."
            )
        case .unclearProjections(let isBoth, let known):
            (
                isBoth
                    ? "Name projections, or say --all; not both."
                    : "No projection is named; --all stands for each of them.",
                "Known projections: \(known.joined(separator: ", "))."
            )
        case .badSetting(let source, let reason):
            ("\(source) \(reason).", "Correct it and run the command again.")
        case .badSettingsFile(let path, let reason):
            (
                "The settings file \(TextForPeople.path(path)) \(reason).",
                "Settings it can hold: \(SettingKey.allCases.map(\.rawValue).joined(separator: ", ")), "
                    + "projections."
            )
        case .planRefused(let projections):
            (
                "The plan refuses \(projections.map { "'\($0)'" }.joined(separator: ", ")).",
                "Fix what is listed as refused, then run '\(ProgramName.current) plan "
                    + "\(projections.joined(separator: " "))' again."
            )
        case .noCutOverSQL(let projection):
            (
                "The plan of '\(projection)' has no SQL of a cut-over to show.",
                "Run '\(ProgramName.current) plan \(projection)' to see what would happen."
            )
        case .consentMissing(let command):
            (
                "What is listed would go, and nothing was dropped yet.",
                "Run '\(ProgramName.current) \(command) --yes' to drop it."
            )
        case .ledgerUnsound(let path, let findings):
            (
                "The ledger \(TextForPeople.path(path)) is not sound: \(Figures.count(findings, "finding")).",
                LedgerError.restoring(path)
            )
        case .noSuchEvent(let id, let ledger):
            (
                "No event of \(TextForPeople.path(ledger)) has the id \(TextForPeople.shown(id)).",
                "Check the id; '\(ProgramName.current) ledger show --ledger \(TextForPeople.pathArgument(ledger)) --json'"
                    + " lists the newest events"
                    + " with theirs."
            )
        case .ledgerReplaced(let ledger, let position):
            (
                "The ledger \(TextForPeople.path(ledger)) was replaced while it was read: the event at \(position), the"
                    + " last one that was shown, is not there any more.",
                "Run the same command again to see the events of the new one."
            )
        case .outputFailed(let reason, let done):
            (
                "Standard output cannot be written: \(reason).",
                done == nil
                    ? "Check where it goes ('df'), then run the same command again."
                    : "Check where it goes ('df'); do not run the command a second time."
            )
        }
    }
}

/// A failure after a generation went live, so that "the live tables are unchanged" would be untrue.
struct LaterFailure: Error, CustomStringConvertible {
    /// The projection.
    let projection: String
    /// What failed after the cut-over.
    let cause: any Error

    var description: String {
        // The last two lines of the cause say what readers see and what to do, had it come earlier.
        let what = "\(cause)".split(separator: "\n", omittingEmptySubsequences: false).dropLast(2)
        return """
            The new generation of '\(projection)' is live, but what follows failed.
            \(what.isEmpty ? "\(cause)" : what.joined(separator: "\n"))
            Readers see the new generation, whole.
            Run '\(ProgramName.current) status \(projection)'; '\(ProgramName.current) prune \(projection)' drops what is too old.
            """
    }
}

/// A signal ended a command that knows better than others what it leaves.
struct Interrupted: Error {
    /// What readers see, or what is stored.
    let state: String
    /// What to type next.
    let next: String

    /// The message of an error that came after a signal.
    ///
    /// - Parameters:
    ///   - error: What ended the command, or the work on one projection.
    ///   - signal: The signal.
    /// - Returns: The message; nil where the error has nothing to do with an interruption.
    static func message(of error: any Error, signal: Int32) -> String? {
        guard error is CancellationError || error is Interrupted else {
            guard hasEndedOnTheWay(error) else { return nil }
            return "Interrupted by \(SignalName.of(signal)).\n\(error)"
        }
        let interrupted =
            error as? Interrupted
            ?? Interrupted(
                state: "The live tables are unchanged.",
                next: "Run \(TypedCommand.shown(or: "the same command")) again; what this one left "
                    + "behind is removed then."
            )
        return """
            Interrupted by \(SignalName.of(signal)).
            \(interrupted.state)
            \(interrupted.next)
            """
    }

    /// Whether an error may be how a statement ended that was cancelled, on a server that does not answer.
    private static func hasEndedOnTheWay(_ error: any Error) -> Bool {
        if let later = error as? LaterFailure { return hasEndedOnTheWay(later.cause) }
        if let failed = error as? RebuildsFailed {
            return failed.records.contains { $0.interruption != nil }
        }
        return switch error as? ReadModelError {
        case .unreachable, .lostWhenBuilt, .outcomeUnknown: true
        default: false
        }
    }
}
