internal import ArgumentParser
internal import Foundation
internal import Ledgers
internal import Logging
internal import ReadModels
internal import Rebuilder

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

    func database(_ settings: Settings) throws -> ReadModelDatabase {
        var database = ReadModelDatabase(
            conninfo: try settings.text(.database, flag: self.database) ?? "",
            liveSchema: try settings.text(.schema, flag: schema) ?? "public"
        )
        database.positionTemplates = try settings.positionTemplates()
        return database
    }
}

/// The ledger.
struct LedgerOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Ledger file (REPRISE_LEDGER; default: ledger.db).",
            valueName: "file"
        )
    )
    var ledger: String?

    func path(_ settings: Settings) throws -> String {
        try settings.text(.ledger, flag: ledger) ?? "ledger.db"
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

    func consent(_ settings: Settings) throws -> CarryOverConsent {
        let keys = try settings.choice(
            .incomingForeignKeys,
            flag: incomingForeignKeys,
            default: .refuse
        )
        return CarryOverConsent(
            republishes: try settings.yesOrNo(.republish, flag: republish, default: false),
            recreatesIncomingForeignKeys: keys == .recreate
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
extension CutOverPatience.BlockerPolicy: ExpressibleByArgument {}
extension CutOverPatience.SnapshotPolicy: ExpressibleByArgument {}
