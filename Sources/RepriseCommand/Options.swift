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
        ReadModelDatabase(
            conninfo: try settings.text(.database, flag: database) ?? "",
            liveSchema: try settings.text(.schema, flag: schema) ?? "public"
        )
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

/// How patient a cut-over is.
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

    func patience(_ settings: Settings, allowsOlder: Bool) throws -> CutOverPatience {
        CutOverPatience(
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
    }
}

extension Settings {
    /// How many retired generations to keep.
    func keep(flag: Int?) throws -> Int {
        try number(.keep, flag: flag, in: 0...1_000, default: 1)
    }
}

extension Strategy: ExpressibleByArgument {}
