internal import ArgumentParser
internal import Foundation
internal import LedgerKit
internal import Ledgers
internal import Logging
internal import ProjectionKit
internal import ReadModels
internal import Rebuilder
internal import Wording

/// Where settings are, and how much to say.
struct GeneralOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Settings file (default: reprise.yaml, if it is there).",
            valueName: "file"
        )
    )
    var config: String?

    @Option(
        help: ArgumentHelp(
            "Least important messages to print: trace, debug, info, notice, warning, error.",
            valueName: "level"
        ),
        transform: { text in
            guard let level = Logger.Level(rawValue: text) else {
                throw ValidationError(
                    "'\(text)' is none of \(Logger.Level.allCases.map(\.rawValue))."
                )
            }
            return level
        }
    )
    var logLevel = Logger.Level.notice

    var logger: Logger { .console(level: logLevel) }

    func settings() throws -> Settings { try Settings(config: config) }
}

/// The database and the schema of the live tables.
struct DatabaseOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Database as a libpq URL or keywords (DATABASE_URL; else PGHOST and its like). Passwords "
                + "are better kept in PGPASSWORD or ~/.pgpass.",
            valueName: "url"
        )
    )
    var database: String?

    @Option(
        help: ArgumentHelp(
            "Schema of the live tables (REPRISE_SCHEMA; default: public).",
            valueName: "name"
        )
    )
    var schema: String?

    @Flag(
        inversion: .prefixedNo,
        help: ArgumentHelp(
            "Make new tables although a publication of all tables sends them to its consumers "
                + "(default: no)."
        )
    )
    var publishNewTables: Bool?

    func database(_ settings: Settings) throws -> ReadModelDatabase {
        var database = ReadModelDatabase(
            conninfo: try settings.text(.database, flag: self.database) ?? "",
            liveSchema: try settings.text(.schema, flag: schema) ?? "public"
        )
        database.positionTemplates = try settings.positionTemplates()
        database.publishesNewTables = try settings.yesOrNo(
            .publishNewTables,
            flag: publishNewTables,
            default: false
        )
        return database
    }
}

/// The ledger.
struct LedgerOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Ledger: a file, or the URL of another kind of ledger (REPRISE_LEDGER; "
                + "projections.NAME.ledger; default: ledger.db).",
            valueName: "ledger"
        )
    )
    var ledger: String?

    /// Opens the ledger of a projection, or the one for all where none is named.
    func open(_ settings: Settings, for projection: String? = nil) async throws -> any Ledger {
        let address = try address(settings, for: projection)
        let schemes = Registry.ledgers
        let ledger = try await onThread { _ in try address.open(schemes) }
        CrashReport.name(ledger: TextForPeople.pathArgument(ledger.place))
        return ledger
    }

    /// The file of a ledger that is written.
    func path(_ settings: Settings) throws -> String {
        try address(settings, for: nil).writablePath()
    }

    private func address(_ settings: Settings, for projection: String?) throws -> LedgerAddress {
        LedgerAddress(try settings.ledger(flag: ledger, for: projection) ?? "ledger.db")
    }
}

/// Whose generations are continued.
struct ProgramOptions: ParsableArguments {
    @Flag(
        help: """
            Continue a generation that another program built: its reducer folds as this one's does.
            """
    )
    var otherProgram = false
}

/// What a generation that goes live is compared with.
struct ComparisonOptions: ParsableArguments {
    @OptionGroup var ledger: LedgerOptions

    @Flag(help: "Put the generation live as it is, without a look at the ledger.")
    var withoutLedger = false

    /// The ledger; nil where none is asked for.
    func open(_ settings: Settings, for projection: String) async throws -> (any Ledger)? {
        guard !withoutLedger else { return nil }
        do {
            return try await ledger.open(settings, for: projection)
        } catch {
            throw LedgerNeeded(cause: error)
        }
    }
}

/// How patient a cut-over is, and what it does about those who stand in its way.
struct CutOverOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Longest that one attempt may hold up a reader, in milliseconds (default: 200).",
            valueName: "ms"
        )
    )
    var outageBudget: Int?

    @Option(
        help: ArgumentHelp(
            "Seconds to go on trying before giving up (default: 30).",
            valueName: "seconds"
        )
    )
    var deadline: Double?

    @Option(
        help: ArgumentHelp(
            "What to do about sessions that block the cut-over: wait for them, cancel their "
                + "statements, or terminate them (default: wait).",
            valueName: "policy"
        )
    )
    var blockers: CutOverPatience.BlockerPolicy?

    @Option(
        help: ArgumentHelp(
            "Seconds that a session must have blocked before it is cancelled or terminated "
                + "(default: 10).",
            valueName: "seconds"
        )
    )
    var blockersAfter: Double?

    @Option(
        help: ArgumentHelp(
            "What to do about snapshots older than the new rows, which would see empty tables: "
                + "wait for them, or proceed (default: wait).",
            valueName: "policy"
        )
    )
    var oldSnapshots: CutOverPatience.SnapshotPolicy?

    @Option(
        help: ArgumentHelp(
            "Do not cut over while this file exists; the deadline does not count that time.",
            valueName: "path"
        )
    )
    var postponeFile: String?

    func patience(_ settings: Settings, allowsOlder: Bool) throws -> CutOverPatience {
        var patience = CutOverPatience(
            outageBudget: try settings.number(
                .outageBudgetMs,
                flag: outageBudget,
                in: 20...3_600_000,
                default: 200
            ),
            deadline: try settings.decimal(
                .deadlineSeconds,
                flag: deadline,
                in: 0...86_400,
                default: 30
            ),
            allowsOlder: allowsOlder
        )
        patience.blockers = try settings.choice(.blockers, flag: blockers, default: .wait)
        patience.blockersAfter = try settings.decimal(
            .blockersAfterSeconds,
            flag: blockersAfter,
            in: 0...86_400,
            default: 10
        )
        patience.oldSnapshots = try settings.choice(
            .oldSnapshots,
            flag: oldSnapshots,
            default: .wait
        )
        patience.postponeFile = try settings.path(.postponeFile, flag: postponeFile)
        return patience
    }
}

/// How a rebuild keeps up with a ledger that goes on growing.
struct CatchUpOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "What to do about events that were committed into a part of the ledger that was folded "
                + "already: fail, restart the fold, or accept them behind the others "
                + "(default: fail). Only for ledgers in which events can come late; the embedded "
                + "ledger is not one.",
            valueName: "policy"
        )
    )
    var lateEvents: LatenessPolicy?

    @Option(
        help: ArgumentHelp(
            "How far back from the newest event to look for late events, in seconds "
                + "(default: the whole ledger). Only for ledgers in which events can come late.",
            valueName: "seconds"
        )
    )
    var latenessHorizon: Double?

    @Option(
        help: ArgumentHelp(
            "How old an event must be to be folded in the first pass, in seconds (default: 2). "
                + "Only for ledgers in which events can come late.",
            valueName: "seconds"
        )
    )
    var settle: Double?

    @Option(
        help: ArgumentHelp(
            "Seconds to go on catching up with a growing ledger before giving up (default: 600).",
            valueName: "seconds"
        )
    )
    var catchUpLimit: Double?

    func lateness(_ settings: Settings) throws -> LatenessTerms {
        var terms = LatenessTerms()
        terms.policy = try settings.choice(.lateEvents, flag: lateEvents, default: .fail)
        let horizon = try settings.decimal(
            .latenessHorizonSeconds,
            flag: latenessHorizon,
            in: 0...Self.longestHorizon,
            default: Self.longestHorizon
        )
        terms.horizon = horizon == Self.longestHorizon ? nil : horizon
        terms.settleTime = try settings.decimal(
            .settleSeconds,
            flag: settle,
            in: 0...86_400,
            default: 2
        )
        return terms
    }

    func limit(_ settings: Settings) throws -> Double {
        try settings.decimal(
            .catchUpLimitSeconds,
            flag: catchUpLimit,
            in: 0...604_800,
            default: 600
        )
    }

    /// A hundred years: longer than a ledger is.
    private static let longestHorizon = 3_155_760_000.0
}

/// What a swap may do that others notice.
struct ConsentOptions: ParsableArguments {
    /// What becomes of foreign keys of other tables that refer to live ones.
    enum IncomingForeignKeys: String, CaseIterable, ExpressibleByArgument {
        case refuse
        case recreate
    }

    @Flag(
        inversion: .prefixedNo,
        help: "Swap published tables; subscribers must copy them anew (default: no)."
    )
    var republish: Bool?

    @Option(
        help: ArgumentHelp(
            "Foreign keys of other tables that refer to live ones: refuse to swap, or recreate "
                + "and validate them (default: refuse).",
            valueName: "policy"
        )
    )
    var incomingForeignKeys: IncomingForeignKeys?

    @Flag(
        inversion: .prefixedNo,
        help: ArgumentHelp(
            "Go ahead where readers lose tables, or what was made on live tables by hand "
                + "(default: no)."
        )
    )
    var allowLoss: Bool?

    @Flag(
        inversion: .prefixedNo,
        help: ArgumentHelp(
            "Take over live tables that a role owns which neither owns their schema nor runs this "
                + "(default: no)."
        )
    )
    var adopt: Bool?

    func consent(_ settings: Settings) throws -> CarryOverConsent {
        let keys = try settings.choice(
            .incomingForeignKeys,
            flag: incomingForeignKeys,
            default: .refuse
        )
        return CarryOverConsent(
            republishes: try settings.yesOrNo(.republish, flag: republish, default: false),
            recreatesIncomingForeignKeys: keys == .recreate,
            acceptsLoss: try settings.yesOrNo(.allowLoss, flag: allowLoss, default: false),
            adoptsStrangers: try settings.yesOrNo(.adopt, flag: adopt, default: false)
        )
    }
}

extension Settings {
    /// How many retired generations to keep.
    func keep(flag: Int?) throws -> Int {
        try number(.keep, flag: flag, in: 0...1_000, default: 1)
    }

    /// What to run before and after a cut-over.
    func hooks() throws -> Hooks {
        Hooks(
            beforeSwap: try commands(.hooksBeforeSwap),
            afterSwap: try commands(.hooksAfterSwap),
            timeout: try decimal(.hookTimeoutSeconds, flag: nil, in: 0.1...86_400, default: 600)
        )
    }
}

extension Strategy: ExpressibleByArgument {}
extension LatenessPolicy: ExpressibleByArgument {}
extension CutOverPatience.BlockerPolicy: ExpressibleByArgument {}
extension CutOverPatience.SnapshotPolicy: ExpressibleByArgument {}
