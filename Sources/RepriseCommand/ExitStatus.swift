internal import LedgerKit
internal import Ledgers
internal import ProjectionKit
internal import ReadModels
internal import Rebuilder
internal import Wording

/// How a command ended, for the program that called it.
///
/// `docs/messages.md` lists the messages of each.
enum ExitStatus: Int32, CaseIterable {
    case done = 0
    case checkFailed = 1
    case usage = 2
    case refused = 3
    case ledger = 4
    case database = 5
    case rejected = 6
    case hookFailed = 7
    case unexpected = 70
    /// `EX_TEMPFAIL` of sysexits.h(3head).
    case tryAgain = 75

    /// The list as `reprise --help` shows it.
    static let help = """
        Exit status:
          0    done
          1    a check or a hook says no; the new generation was not swapped in
          2    the command line, a setting or a projection's name is wrong
          3    the plan refuses, or there is nothing to do that to
          4    the ledger is missing, damaged, of a newer format or cannot be used
          5    the database refuses the role or a statement
          6    an event, or a line of an import, is rejected
          7    the new generation is live, but a hook after the swap failed
          70   an error that nobody foresaw, or no thread or file can be opened
          75   try again later: another run, other sessions' locks, no database
          129  interrupted by SIGHUP
          130  interrupted by SIGINT; 143 by SIGTERM
        """

    /// How bad it is, of several that a command came to: what wants a person before what a hook or a later
    /// try settles.
    var severity: Int {
        switch self {
        case .done: 0
        case .tryAgain: 1
        case .hookFailed: 2
        case .checkFailed: 3
        case .refused: 4
        case .rejected: 5
        case .ledger: 6
        case .database: 7
        case .usage: 8
        case .unexpected: 9
        }
    }

    /// The status of an error that this project throws; nil for one of ArgumentParser's, or one that
    /// nobody foresaw.
    init?(of error: any Error) {
        switch error {
        case let error as CommandError: self = error.status
        case let error as LedgerNeeded: self = ExitStatus(of: error.cause) ?? .unexpected
        case let error as RebuildsFailed: self = error.status ?? .unexpected
        case let error as LaterFailure:
            // The swap is done: it must not be tried again.
            if case ReadModelError.unreachable = error.cause {
                self = .database
            } else {
                self = ExitStatus(of: error.cause) ?? .unexpected
            }
        case let error as ReadModelError: self.init(of: error)
        case let error as LedgerError: self.init(of: error)
        case is CopyError: self = .ledger
        case let error as HookError:
            switch error.moment {
            case .before: self = .checkFailed
            case .after: self = .hookFailed
            }
        case let error as RebuildError:
            switch error {
            case .ledgerChangedBehind, .outrun, .stoppedByAnother: self = .tryAgain
            case .ledgerMismatch: self = .refused
            case .ledgerReplaced: self = .ledger
            case .copiesOverlap: self = .rejected
            }
        case is ThreadShortage: self = .unexpected
        case is UnrepeatableFold: self = .checkFailed
        case is ImportError, is EventRejection: self = .rejected
        default: return nil
        }
    }

    private init(of error: ReadModelError) {
        self =
            switch error {
            case .unreachable, .lostWhenBuilt, .endedByAnother, .runBusy, .runStale, .followerBusy,
                .cutOverBlocked,
                .overBudget, .tooMuchToLock,
                .behindLive, .bookkeepingBlocked, .followerStale, .lockedOut:
                .tryAgain
            case .refusedByPlan, .nothingToMove, .changedMeanwhile, .newerBookkeeping,
                .untrustedBookkeeping, .bookkeepingOfAnother, .untrustedEventTriggers,
                .otherProgram,
                .positionUnreadable, .positionMisfit, .positionUnknown, .positionUnwritten:
                .refused
            case .checkFailed, .reloadFailsCheck: .checkFailed
            case .refused, .unsuitableServer, .rightMissing, .server, .diskFull, .rowRejected,
                .otherRows, .outcomeUnknown, .connectionLimit:
                .database
            case .descriptorsExhausted: .unexpected
            }
    }

    private init(of error: LedgerError) {
        self =
            switch error {
            case .locked: .tryAgain
            case .refused: .rejected
            case .missing, .olderFormat, .newerFormat, .notALedger, .damaged, .logMissing,
                .foreignLog, .severalNames, .strayJournal, .strayLog, .unreadableLog, .failed,
                .exists, .foreign:
                .ledger
            case .writtenWhileRead: .tryAgain
            case .unknownScheme, .readOnlyKind: .usage
            }
    }

    /// The message of an error that no type of ours stands for.
    static func unexpectedMessage(of error: any Error) -> String {
        """
        An error that nobody foresaw: \(TextForPeople.oneLine(error))
        The live tables are one generation or the other, whole.
        Run '\(ProgramName.current) status' to see which, and report the message above as a defect.
        """
    }
}
