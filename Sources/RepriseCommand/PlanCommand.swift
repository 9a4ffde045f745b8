internal import ArgumentParser
internal import Ledgers
internal import ReadModels
internal import Rebuilder

/// `reprise plan`: what a rebuild would do.
struct PlanCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Say what a rebuild would do, and change nothing.",
        discussion: """
            Counts the ledger's events, makes the new tables in a transaction that is rolled back, \
            compares them with the projection's rows, and lists what a rebuild would refuse. No lock \
            stops a reader or a writer. Without a name it plans every projection.

            Exit status: 0 a rebuild can begin, 3 the plan refuses, 4 ledger, 5 database.
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

    @OptionGroup var ledger: LedgerOptions
    @OptionGroup var database: DatabaseOptions
    @OptionGroup var general: GeneralOptions

    func run() async throws {
        let chosen = try Registry.projections(named: projections, all: all, allowsNone: true)
        let settings = try general.settings()
        let database = try database.database(settings)
        let path = try ledger.path(settings)
        let ledger = try await onThread { _ in try SQLiteLedger(path: path) }
        var options = RebuildOptions()
        options.strategy = strategy
        var outlines: [PlanOutline] = []
        for projection in chosen {
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
            print(JSONOutput.list(objects, asArray: projections.count != 1))
        } else {
            print(outlines.map(\.text).joined(separator: "\n\n"))
        }
        let refused = outlines.filter { !$0.refusals.isEmpty }.map(\.projection)
        guard refused.isEmpty else { throw CommandError.planRefused(projections: refused) }
    }
}
