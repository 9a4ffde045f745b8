internal import ArgumentParser
internal import LedgerKit
internal import Ledgers
internal import ProjectionKit
internal import ReadModels
internal import Rebuilder

/// `reprise plan`: what a rebuild would do.
struct PlanCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Say what a rebuild would do, and change nothing.",
        discussion: """
            Counts the ledger's events, makes the new tables in a transaction that is rolled back, \
            compares them with the projection's rows, and says of everything it looked at whether \
            it is ok, should be known (warn), or stops a rebuild (refuse). No lock stops a reader \
            or a writer. Without a name it plans every projection.

            With --sql it prints the SQL that the cut-over would send, and nothing else; the \
            ledger is not read.

            Exit status: 0 a rebuild can begin, 2 usage, 3 the plan refuses, 4 ledger, 5 database.
            """
    )

    @Argument(help: ArgumentHelp("Projections to plan (default: all).", valueName: "projection"))
    var projections: [String] = []

    @Flag(help: "Plan every projection.")
    var all = false

    @Option(help: "How the tables are to change.")
    var strategy = Strategy.swap

    @Flag(help: "Print JSON: an object for one named projection, otherwise an array.")
    var json = false

    @Flag(help: "Print the SQL of one projection's cut-over, as it would be sent.")
    var sql = false

    @OptionGroup var cutOver: CutOverOptions
    @OptionGroup var consent: ConsentOptions
    @OptionGroup var ledger: LedgerOptions
    @OptionGroup var database: DatabaseOptions
    @OptionGroup var general: GeneralOptions

    func validate() throws {
        guard sql else { return }
        guard projections.count == 1, !all else {
            throw ValidationError("--sql prints the cut-over of one projection; name it.")
        }
        guard !json else { throw ValidationError("--sql prints SQL, --json an outline; say one.") }
        guard strategy == .swap else {
            throw ValidationError("--sql prints a swap; --strategy truncate sends no such batch.")
        }
    }

    func run() async throws {
        let chosen = try Registry.projections(named: projections, all: all, allowsNone: true)
        let settings = try general.settings()
        let database = try database.database(settings)
        let consent = try consent.consent(settings)
        let patience = try cutOver.patience(settings, allowsOlder: false)
        if sql {
            for projection in chosen {
                let tables = ProjectionTables(projection)
                let plan = try await database.plan(
                    tables,
                    strategy: strategy,
                    consent: consent,
                    patience: patience
                )
                try ResultStream.print(exactly: plan.approvedSQL)
            }
            return
        }
        var options = RebuildOptions()
        options.strategy = strategy
        options.consent = consent
        options.patience = patience
        var outlines: [PlanOutline] = []
        for projection in chosen {
            let ledger = try await ledger.open(settings, for: projection.name)
            let rebuild = Rebuild(
                of: projection,
                from: ledger,
                into: database,
                options: options
            )
            outlines.append(
                PlanOutline(try await rebuild.plan(), bucketWidth: ledger.bucketWidth)
            )
        }
        if json {
            let objects = try outlines.map { try JSONOutput.text($0) }
            try ResultStream.print(JSONOutput.list(objects, asArray: projections.count != 1))
        } else {
            try ResultStream.print(outlines.map(\.text).joined(separator: "\n\n"))
        }
        let refused = outlines.filter(\.isRefused).map(\.projection)
        guard refused.isEmpty else { throw CommandError.planRefused(projections: refused) }
    }
}

extension ReadModelPlan {
    /// The SQL of the cut-over.
    fileprivate var approvedSQL: String {
        get throws {
            guard refusals.isEmpty else {
                throw ReadModelError.refusedByPlan(projection: projection, reasons: refusals)
            }
            guard let cutOverSQL else { throw CommandError.noCutOverSQL(projection: projection) }
            return cutOverSQL
        }
    }
}
