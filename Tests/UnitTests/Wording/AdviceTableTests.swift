import Foundation
import Testing

/// Which test types what is advised, in the state in which it is advised.
@Suite("Every advice")
struct AdviceTableTests {
    /// How it is known that an advice leads on.
    enum Proof {
        /// A test types it in that state: its suite and function.
        case typed(String)
        /// A test does the same in that state without the command line: its suite and function.
        case done(String)
        /// A help text, or a sentence that says what a command does: it belongs to no state.
        case described
        /// Nobody types it in a test: why.
        case untested(String)
    }

    static let proofs: [String: Proof] = commands.merging(readModels) { $1 }.merging(ledgers) { $1 }

    /// What commands and their reports advise.
    private static let commands: [String: Proof] = [
        "CommandError.consentMissing: … --yes": .typed("AdviceTests.typed"),
        "CommandError.noCutOverSQL: plan …": .untested("what it shows is tested by plans"),
        "CommandError.noSuchEvent: ledger show --ledger … --json":
            .typed("LedgerAdviceTests.typed"),
        "CommandError.planRefused: plan …": .typed("AdviceTests.typed"),
        "CommandError: prune …": .untested("a failure between a commit and its report"),
        "CommandError: status …": .untested("a failure between a commit and its report"),
        "CommandError: the command again": .untested(
            "a signal while a command without stages works"
        ),
        "ExitStatus: status": .untested("an error that nobody foresaw"),
        "FollowCommand: follow …": .typed("AdviceTests.secondFollower"),
        "FollowCommand: status": .described,
        "MoveCommands: rebuild --no-swap": .described,
        "MoveCommands: rollback PROJECTION": .described,
        "MoveCommands: status …": .untested("a signal between a commit and its answer"),
        "MoveCommands: swap PROJECTION --allow-older": .described,
        "MoveText: status …": .typed("AdviceTests.typed"),
        "MoveText: swap … --allow-older…": .typed("ContinuedAdviceTests.restored"),
        "PlanOutline: plan …": .typed("AdviceTests.typed"),
        "PlanOutline: rebuild …": .typed("AdviceTests.typed"),
        "PruneCommand: prune ……": .typed("ContinuedAdviceTests.prune"),
        "PruneCommand: prune … --generation …": .typed("RemovalTests.pruneByNumber"),
        "PruneCommand: status …": .typed("AdviceTests.typed"),
        "RebuildCommand: prune …": .untested("a signal while old generations are dropped"),
        "RebuildCommand: rebuild …": .typed("ContentionTests.signalledWhileFolding"),
        "RebuildCommand: rebuild … --resume": .typed("RemovalTests.signalAfterLoad"),
        "RebuildCommand: rollback PROJECTION": .described,
        "RebuildCommand: swap": .described,
        "RebuildRecord: rebuild …": .typed("AdviceTests.several"),
        "RebuildRecord: status": .untested("all went live, and what follows failed"),
        "RejectionMessage: ledger verify": .typed("EightScenesTests.ledgerDamaged"),
        "RejectionMessage: rebuild …": .untested("it wants another reducer first"),
        "ReportText: follow …": .typed("EightScenesTests.changedReducer"),
        "ReportText: rollback …": .typed("EightScenesTests.goingBack"),
        "ReportText: status …": .typed("AdviceTests.typed"),
        "ReportText: swap …": .typed("AdviceTests.waiting"),
        "Signals: status": .untested("a command that does not end by itself"),
        "StatusCommand: follow …": .typed("EightScenesTests.changedReducer"),
        "StatusCommand: rebuild …": .typed("EightScenesTests.wrongModel"),
        "StatusCommand: rebuild … --resume": .typed("AdviceTests.typed"),
        "StatusCommand: rollback ……": .typed("ContinuedAdviceTests.restored"),
        "StatusCommand: status …": .typed("EightScenesTests.stuckRebuild"),
        "StatusCommand: status … --schema": .typed("ContinuedAdviceTests.otherSchema"),
    ]

    /// What is advised about read models and their generations.
    private static let readModels: [String: Proof] = [
        "ColumnKeeping: follow": .described,
        "ReadModelDatabase: status NAME": .typed("StandbyCommandTests.onStandby"),
        "DeterminismCheck: rebuild … --check-determinism":
            .untested("it wants another reducer first"),
        "Follow: rebuild …": .untested("the embedded ledger has no late events"),
        "Follower: follow": .described,
        "Follower: rebuild": .described,
        "Hooks: rebuild … --strategy truncate": .typed("AdviceTests.hooks"),
        "Hooks: rollback …": .typed("AdviceTests.hooks"),
        "Hooks: status …": .typed("AdviceTests.hooks"),
        "Hooks: swap … --allow-older": .typed("AdviceTests.hooks"),
        "Hooks: swap … --generation …": .typed("AdviceTests.waiting"),
        "LedgerMatch: rebuild …": .typed("ChangedReducerTests.ledgers"),
        "LedgerMatch: rebuild … --allow-older": .typed("ChangedReducerTests.ledgers"),
        "LedgerMatch: rebuild … --other-ledger": .typed("ChangedReducerTests.ledgers"),
        "LedgerMatch: swap … --allow-older": .typed("ChangedReducerTests.ledgers"),
        "ProjectionStatus: prune … --generation …": .typed("StatusTests.droppedHome"),
        "Run: prune …": .untested("the server fails twice; what prune drops is tested"),
        "ReadModelError.behindLive: rebuild … --resume": .typed("AdviceTests.waiting"),
        "ReadModelError.changedMeanwhile: plan …": .untested("the rebuild that helps is typed"),
        "ReadModelError.diskFull: prune … --keep 0": .typed("EightScenesTests.diskFull"),
        "ReadModelError.endedByAnother: status …": .typed("EightScenesTests.stuckRebuild"),
        "ReadModelError.followerBusy: status …": .typed("AdviceTests.secondFollower"),
        "ReadModelError.lostWhenBuilt: rebuild … --resume": .typed("ContinuedAdviceTests.lost"),
        "ReadModelError.nothingToMove: status …": .typed("AdviceTests.typed"),
        "ReadModelError.otherProgram: rebuild …": .typed("AdviceTests.otherProgram"),
        "ReadModelError.otherRows: rebuild …": .typed("EightScenesTests.wrongModel"),
        "ReadModelError.outcomeUnknown: status …": .typed("FaultTests.crash"),
        "ReadModelError.overBudget: rebuild … --resume": .typed("AdviceTests.typed"),
        "ReadModelError.positionUnknown: rebuild …": .untested("a rebuild is tested as such"),
        "ReadModelError.positionUnreadable: plan …": .untested("it wants another setting first"),
        "ReadModelError.refusedByPlan: plan …": .typed("AdviceTests.typed"),
        "ReadModelError.reloadFailsCheck: rebuild … --no-swap": .typed("AdviceTests.typed"),
        "ReadModelError.runBusy: status …": .typed("EightScenesTests.stuckRebuild"),
        "ReadModelError.tooMuchToLock: rebuild … --resume":
            .untested("it wants fewer views first"),
        "ReadModelError: rebuild …": .typed("EightScenesTests.wrongModel"),
        "ReadModelError: rebuild … --resume": .typed("EightScenesTests.blockedSwap"),
        "ReadModelError: rebuild … --resume …": .typed("EightScenesTests.blockedSwap"),
        "ReadModelError: the command again": .typed("EightScenesTests.databaseRestarted"),
        "ReadModelError: the command with more words": .typed("AdviceTests.blockedMove"),
        "RebuildError.copiesOverlap: rebuild … --fold-copies 1": .done("FoldPassTests.overlap"),
        "RebuildError.ledgerChangedBehind: ledger verify":
            .untested("the embedded ledger has no late events"),
        "RebuildError.ledgerChangedBehind: rebuild …":
            .untested("the embedded ledger has no late events"),
        "RebuildError.ledgerReplaced: rebuild … --allow-older":
            .untested("the same as of an older copy"),
        "RebuildError.outrun: rebuild … --resume": .untested("it wants a quieter time first"),
        "RebuildError.stoppedByAnother: rebuild …": .untested("it is recorded and not printed"),
        "RebuildStage: prune …": .untested("a kill while old generations are dropped"),
        "RebuildStage: rebuild … --resume": .typed("RemovalTests.signalAfterLoad"),
        "RebuildStage: swap …": .typed("ContinuedAdviceTests.killedBeforeSwap"),
        "Swap: rebuild …": .typed("AdviceTests.typed"),
    ]

    /// What is advised about ledgers.
    private static let ledgers: [String: Proof] = [
        "CopyError.newestFormat: ledger backup COPY --ledger …":
            .typed("LedgerAdviceTests.typed"),
        "CopyError.unsound: ledger verify --ledger …": .typed("LedgerAdviceTests.typed"),
        "FileKind: ledger export": .untested("it is one end of a pipe of the user's"),
        "ImportOptions: ledger import -": .untested("it is one end of a pipe of the user's"),
        "ImportStart: ledger verify --ledger …": .untested("the same as of a damaged ledger"),
        "LedgerCommand: ledger import EVENTS.ndjson --ledger …":
            .typed("LedgerAdviceTests.typed"),
        "LedgerCommand: ledger info --ledger …": .untested("a signal while events are stored"),
        "LedgerCopyCommands: ledger info --ledger …": .typed("LedgerUpgradeTests.order"),
        "LedgerCopyCommands: rebuild PROJECTION --ledger …":
            .typed("EightScenesTests.ledgerDamaged"),
        "LedgerCopyCommands: the command again": .untested("a signal while a copy is made"),
        "LedgerError: ledger backup … --ledger BACKUP":
            .typed("EightScenesTests.ledgerDamaged"),
        "LedgerError.damaged: ledger verify --ledger …":
            .typed("EightScenesTests.ledgerDamaged"),
        "LedgerError.exists: ledger info --ledger …": .typed("LedgerAdviceTests.typed"),
        "LedgerError.logMissing: ledger backup COPY --ledger … --without-log":
            .typed("LedgerBackupTests.withoutLog"),
        "LedgerError.missing: ledger create …": .typed("LedgerAdviceTests.typed"),
        "LedgerError.newerFormat: --version": .typed("LedgerAdviceTests.typed"),
        "LedgerError.notALedger: ledger create FILE": .typed("LedgerAdviceTests.typed"),
        "LedgerError.olderFormat: ledger upgrade … NEW": .typed("LedgerUpgradeTests.order"),
        "LedgerError.severalNames: ledger backup COPY --ledger …":
            .typed("LedgerAdviceTests.typed"),
        "LedgerError: the command again": .typed("LedgerAdviceTests.again"),
        "LedgerImportCommand: ledger import -": .untested("it is one end of a pipe of the user's"),
        "ReplayCommand: ledger export": .described,
        "ReplayCommand: replay": .typed("ReplayTests.adjacent"),
    ]

    @Test(
        "each command that a message advises has its line in the table, and each line its message"
    )
    func complete() throws {
        let found = try Self.files(in: "Sources").reduce(into: Set<Advice>()) {
            $0.formUnion(Advice.found(in: $1))
        }
        // A wrong folder would advise nothing.
        try #require(found.count > 80)
        let known = Set(Self.proofs.keys)
        for advice in found.sorted() where !known.contains(advice.description) {
            Issue.record("\(advice): which test types it in that state? Name it in the table.")
        }
        for line in known.subtracting(found.map(\.description)).sorted() {
            Issue.record("\(line): nothing advises it any more. Take it out of the table.")
        }
    }

    @Test("each test that the table names is there")
    func tests() throws {
        let files = try Self.files(in: "Tests")
        for (line, proof) in Self.proofs.sorted(by: { $0.key < $1.key }) {
            guard let test = proof.test else { continue }
            let parts = test.split(separator: ".")
            let suite = files.first { $0.name == "\(parts[0]).swift" }
            let isThere = suite?.text.contains("    func \(parts[1])(") ?? false
            #expect(isThere, "\(line): there is no test \(test)")
        }
    }

    @Test("an advice is found over the end of a line, in a constant, and with what is put in")
    func finds() {
        let source = #"""
            // "Run '\(ProgramName.current) comment'."
            case .late(let name):
                "Run '\(ProgramName.current) rebuild "
                    + "\(name ?? f("a")) --resume', then '\(ProgramName.current) status'."
            let rebuild = "\(ProgramName.current) rebuild \(name)"
            let next = "Next: \(rebuild) --other"
            let again = "then run \(TypedCommand.shown(or: "the command")) again"
            """#
        let file = HouseRules.File(path: "Sources/A/SomeError.swift", text: source)
        #expect(
            Advice.found(in: file).sorted().map(\.description) == [
                "SomeError.late: rebuild … --other", "SomeError.late: rebuild … --resume",
                "SomeError.late: status", "SomeError.late: the command again",
            ]
        )
    }

    private static func files(in folder: String) throws -> [HouseRules.File] {
        let root = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../../\(folder)").standardizedFileURL
        let paths =
            FileManager.default.enumerator(atPath: root.path(percentEncoded: false))?
            .compactMap { $0 as? String } ?? []
        return try paths.filter { $0.hasSuffix(".swift") }.map { path in
            HouseRules.File(
                path: "\(folder)/\(path)",
                text: try String(contentsOf: root.appending(path: path), encoding: .utf8)
            )
        }
    }
}

extension AdviceTableTests.Proof {
    /// The test that proves it.
    fileprivate var test: String? {
        switch self {
        case .typed(let test), .done(let test): test
        case .described, .untested: nil
        }
    }
}
