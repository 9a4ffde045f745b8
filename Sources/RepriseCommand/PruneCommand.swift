internal import ArgumentParser
internal import ProjectionKit
internal import Logging
internal import ReadModels
internal import Rebuilder
internal import Wording

/// `reprise prune`: drops what is too old.
struct PruneCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prune",
        abstract: "Drop retired generations but the newest.",
        discussion: """
            Drops the tables of retired generations, the newest --keep of them excepted, and of \
            ready ones that the live one has overtaken. The live tables are not touched or locked. \
            A generation that something depends on, or that a reader still has locked, is kept and \
            named: drop by hand what depends on it, then prune again. There is no way back to what \
            was dropped, except a rebuild.

            Exit status: 0 done, 2 usage, 5 database, 75 another run is at work.
            """
    )

    @Argument(help: ArgumentHelp("Projections to prune.", valueName: "projection"))
    var projections: [String]

    @Option(help: ArgumentHelp("Retired generations to keep (default: 1).", valueName: "n"))
    var keep: Int?

    @Flag(help: "Print JSON: an object for one named projection, otherwise an array.")
    var json = false

    @OptionGroup var database: DatabaseOptions
    @OptionGroup var general: GeneralOptions

    func run() async throws {
        let chosen = try Registry.projections(named: projections, all: false, allowsNone: false)
        let settings = try general.settings()
        let keep = try settings.keep(flag: keep)
        let database = try database.database(settings)
        var outlines: [PruneOutline] = []
        for projection in chosen {
            let result = try await GenerationControl(of: projection, in: database).prune(keep: keep)
            result.warnings.forEach { general.logger.warning("\($0)") }
            outlines.append(PruneOutline(projection: projection.name, result))
        }
        guard json else {
            return try ResultStream.print(
                outlines.map(\.text).joined(separator: "\n"),
                done: "What was to be dropped is dropped."
            )
        }
        let objects = try outlines.map { try JSONOutput.text($0) }
        try ResultStream.print(
            JSONOutput.list(objects, asArray: projections.count != 1),
            done: "What was to be dropped is dropped."
        )
    }
}

/// A prune as `--json` prints it; the names are stable.
private struct PruneOutline: Encodable {
    struct Postponed: Encodable {
        let generation: Int
        let reason: String
    }

    let projection: String
    let dropped: [Int]
    let postponed: [Postponed]

    init(projection: String, _ result: PruneResult) {
        self.projection = projection
        dropped = result.dropped.sorted()
        postponed = result.postponed.sorted { $0.key < $1.key }.map {
            Postponed(generation: $0.key, reason: $0.value)
        }
    }

    var text: String {
        let what =
            dropped.isEmpty
            ? "\(projection): nothing was dropped."
            : "\(projection): dropped generation \(dropped.map(String.init).joined(separator: ", "))."
        let kept = postponed.map {
            "  kept        generation \($0.generation): \(TextForPeople.line($0.reason))"
        }
        let next =
            kept.isEmpty
            ? []
            : [
                "Next: drop by hand what depends on it, or wait for who has it locked; then reprise "
                    + "prune \(projection)"
            ]
        return ([what] + kept + next).joined(separator: "\n")
    }
}
