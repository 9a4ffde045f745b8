import Foundation
import Ledgers
import ProjectionKit
import ReadModels
import Rebuilder
import Testing

@testable import RepriseCommand

@Suite("Messages and statuses")
struct MessageTests {
    static let readModelErrors: [(ReadModelError, Int32)] = [
        (.unreachable(reason: "r"), 75), (.endedByAnother(projection: "p", run: 1, by: 2), 75),
        (.refused(reason: "r"), 5),
        (.server(doing: "d", reason: "r"), 5),
        (.diskFull(projection: nil, doing: "d", reason: "r", built: nil), 5),
        (.unsuitableServer(reason: "r", remedy: "m"), 5), (.rightMissing(reason: "r"), 5),
        (
            .tooMuchToLock(
                projection: "p",
                attempts: 1,
                locks: 9,
                got: 3,
                milliseconds: 100,
                readyGeneration: 2
            ), 75
        ),
        (.rowRejected(RejectedRow(table: "t", reason: "r")), 5),
        (.outcomeUnknown(projection: "p", runID: 1), 5),
        (.runBusy(projection: "p", holder: "h"), 75),
        (.runStale(projection: "p", holder: "h", silence: 61, backendPID: 1), 75),
        (.followerStale(projection: "p", holder: "h", silence: 61, backendPID: 1), 75),
        (.bookkeepingBlocked(blockers: ["b"]), 75), (.lockedOut(reason: "r", blockers: ["b"]), 75),
        (
            .cutOverBlocked(
                projection: "p",
                attempts: 1,
                blockers: [],
                haveSessions: true,
                readyGeneration: 2
            ), 75
        ),
        (.behindLive(projection: "p", generation: 1, position: "a", livePosition: "b"), 75),
        (.refusedByPlan(projection: "p", reasons: []), 3),
        (.nothingToMove(projection: "p", reason: "r"), 3),
        (.changedMeanwhile(projection: "p", reason: "r"), 3),
        (.otherProgram(OtherProgram(projection: "p", generation: 1, command: "follow")), 3),
        (.newerBookkeeping(found: 2, supported: 1), 3),
        (.bookkeepingOfAnother(owner: "o", role: "r"), 3),
        (.untrustedBookkeeping(reasons: ["r"]), 3), (.untrustedEventTriggers(reasons: ["r"]), 3),
        (.checkFailed(projection: "p", generation: 1, reasons: []), 1),
        (.reloadFailsCheck(projection: "p", reasons: []), 1),
        (.positionUnreadable(projection: "p", reason: "r"), 3),
        (.positionMisfit(projection: "p", generation: 1, position: "a", format: .number), 3),
        (.positionUnknown(projection: "p", generation: 0), 3),
        (.positionUnwritten(projection: "p", rows: "0"), 3),
    ]

    @Test(
        "each error of the read models has its status",
        arguments: readModelErrors
    )
    func readModels(error: ReadModelError, status: Int32) {
        #expect(ExitStatus(of: error)?.rawValue == status)
    }

    @Test(
        "each error of the ledger has its status",
        arguments: [
            (LedgerError.missing(path: "f"), Int32(4)), (.locked(path: "f"), 75),
            (.newerFormat(path: "f", found: 2, supported: 1), 4),
            (.notALedger(path: "f", reason: "r"), 4), (.damaged(path: "f", reason: "r"), 4),
            (.failed(path: "f", reason: "r"), 4), (.exists(path: "f"), 4),
            (.refused(path: "f", reason: "r"), 6),
        ]
    )
    func ledgers(error: LedgerError, status: Int32) {
        #expect(ExitStatus(of: error)?.rawValue == status)
    }

    @Test(
        "a ledger that does not match refuses in three lines",
        arguments: LedgerMismatch.Command.allCases
    )
    func mismatch(command: LedgerMismatch.Command) {
        let position = Position(1)
        let differences: [LedgerMismatch.Difference] = [
            .otherLedger(place: "a\nb"), .endsEarly(position, end: nil), .otherEvent(position),
            .otherPast(through: position, 2, found: 2), .lacksEvents(1, through: position),
        ]
        for difference in differences {
            let error = RebuildError.ledgerMismatch(
                LedgerMismatch(
                    projection: "p",
                    generation: 1,
                    command: command,
                    difference: difference
                )
            )
            #expect(ExitStatus(of: error) == .refused)
            let lines = error.description.split(separator: "\n")
            #expect(lines.count == 3, "\(error)")
            #expect(lines[1] == "The live tables are unchanged.")
            let verb = command == .overtake ? "swap" : "rebuild"
            #expect(lines[2].contains("reprise \(verb) p"))
        }
    }

    @Test("a fold that does not repeat is a check that says no, in three lines")
    func unrepeatable() throws {
        let (left, right) = (Table<Toss>(), Toss.table(of: 1))
        guard case .different(let difference) = left.comparison(with: right) else {
            Issue.record("an empty table and another one were the same")
            return
        }
        let error = UnrepeatableFold(projection: "p", difference: difference)
        #expect(ExitStatus(of: error) == .checkFailed)
        let lines = error.description.split(separator: "\n")
        #expect(lines.count == 3)
        #expect(
            lines[0].hasSuffix(
                "in 'toss' 1 row differs, the first at id = 1, which only one fold has."
            )
        )
        #expect(lines[1] == "The live tables are unchanged.")
        #expect(lines[2].contains("'reprise rebuild p --check-determinism'"))
    }

    @Test(
        "a hook that fails says how readers stand, and what to type",
        arguments: [
            (
                Hooks.Moment.before, CutOverKind.swap,
                ["unchanged", "'reprise swap p --generation 2'"]
            ),
            (.before, .rollback, ["unchanged", "'reprise rollback p'"]),
            (.before, .truncate, ["unchanged", "'reprise rebuild p --strategy truncate'"]),
            (.after, .swap, ["generation 2, whole", "'reprise rollback p'"]),
            (.after, .rollback, ["generation 2, whole", "'reprise swap p --allow-older'"]),
            (.after, .truncate, ["generation 2, whole", "'reprise status p'"]),
        ]
    )
    func hooks(moment: Hooks.Moment, kind: CutOverKind, parts: [String]) {
        let error = HookError(
            moment: moment,
            number: 1,
            count: 1,
            ending: .exited(3),
            cutOver: AnnouncedCutOver(
                projection: "p",
                kind: kind,
                generation: 2,
                previous: 1,
                run: 5,
                position: nil
            )
        )
        let lines = error.description.split(separator: "\n")
        #expect(lines.count == 3)
        #expect(lines.first == "The hook \(moment.rawValue) of 'p' ended with status 3.")
        #expect(zip(lines.dropFirst(), parts).allSatisfy { $0.contains($1) }, "\(error)")
        #expect(ExitStatus(of: error)?.rawValue == (moment == .before ? 1 : 7))
    }

    @Test("each setting stands in docs/messages.md, by every name it has")
    func settings() throws {
        let document = try String(
            contentsOf: URL(filePath: #filePath).deletingLastPathComponent()
                .appending(path: "../../../docs/messages.md"),
            encoding: .utf8
        )
        for key in SettingKey.allCases {
            let name = try #require(key.path.last)
            guard key.path.first != "hooks" else {
                #expect(document.contains("\n  \(name):"), "\(name)")
                continue
            }
            #expect(document.contains(key.environmentVariable), "\(name)")
            #expect(document.contains("`\(name)`") || document.contains("\n\(name):"), "\(name)")
            if key != .hookTimeoutSeconds {
                #expect(document.contains("`\(key.flag)`"), "\(name)")
            }
        }
    }

    @Test("an error that nobody foresaw has no status of its own")
    func unforeseen() {
        struct Surprise: Error {}
        #expect(ExitStatus(of: Surprise()) == nil)
        #expect(ExitStatus.unexpectedMessage(of: Surprise()).contains("whole"))
    }

    @Test("a failure after the swap does not say that the live tables are unchanged")
    func afterTheSwap() {
        let cause = ReadModelError.server(doing: "pruning", reason: "out of shared memory\nHINT: h")
        let failure = LaterFailure(projection: "shop", cause: cause)
        #expect(
            failure.description == """
                The new generation of 'shop' is live, but what follows failed.
                PostgreSQL refused while pruning: out of shared memory
                HINT: h
                Readers see the new generation, whole.
                Run 'reprise status shop'; 'reprise prune shop' drops what is too old.
                """
        )
        #expect(ExitStatus(of: failure) == .database)
    }

    @Test(
        "each message of the command says what happened, what readers see and what to type",
        arguments: [
            CommandError.unknownProjection(name: "a", nearest: nil, known: ["shop"]),
            .unclearProjections(isBoth: true, known: ["shop"]),
            .badSetting(source: "--keep", reason: "is odd"),
            .badSettingsFile(path: "f", reason: "is odd"), .planRefused(projections: ["shop"]),
            .noCutOverSQL(projection: "shop"), .consentMissing(command: "reset"),
            .ledgerUnsound(path: "f", findings: 1),
        ]
    )
    func threeLines(error: CommandError) {
        let lines = error.description.split(separator: "\n")
        #expect(lines.count == 3)
        #expect(lines[1] == "The live tables are unchanged.")
    }
}

private struct Toss: TableRow {
    let id: Int64
    var key: Int64 { id }

    static let table = TableDefinition<Toss>("toss", key: "id") { Column("id", \.id) }

    static func table(of id: Int64) -> Table<Toss> {
        var table = Table<Toss>()
        table[id] = Toss(id: id)
        return table
    }
}
