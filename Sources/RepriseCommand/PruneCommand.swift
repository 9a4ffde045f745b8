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

            With --generation it drops those of these numbers instead, also ones that are newer than \
            the live one, as after a rollback. The live one is never dropped.

            Exit status: 0 done, 2 usage, 3 no such generation, 5 database, 75 another run is at work.
            """
    )

    @Argument(help: ArgumentHelp("Projections to prune.", valueName: "projection"))
    var projections: [String]

    @Option(help: ArgumentHelp("Retired generations to keep (default: 1).", valueName: "n"))
    var keep: Int?

    @Option(
        help: ArgumentHelp(
            "Drop the generation of this number, and no other; may be repeated.",
            valueName: "number"
        )
    )
    var generation: [Int] = []

    @Flag(help: "Print JSON: an object for one named projection, otherwise an array.")
    var json = false

    @OptionGroup var database: DatabaseOptions
    @OptionGroup var general: GeneralOptions

    func validate() throws {
        guard generation.isEmpty || (projections.count == 1 && keep == nil) else {
            throw ValidationError("--generation is of one projection, and goes without --keep.")
        }
    }

    func run() async throws {
        let chosen = try Registry.projections(named: projections, all: false, allowsNone: false)
        let settings = try general.settings()
        let keep = try settings.keep(flag: keep)
        let database = try database.database(settings)
        var outlines: [PruneOutline] = []
        for projection in chosen {
            let control = GenerationControl(of: projection, in: database)
            let result =
                try await generation.isEmpty
                ? control.prune(keep: keep) : control.prune(generations: generation)
            result.warnings.forEach { general.logger.warning("\($0)") }
            outlines.append(
                PruneOutline(projection: projection.name, result, isByNumber: !generation.isEmpty)
            )
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

    struct Kept: Encodable {
        let generation: Int
        let state: String
        let bytes: Int64?
        let reason: String

        var text: String {
            let size = bytes.map { ", \(Figures.mebibytes(Int($0)))" } ?? ""
            return "  kept        generation \(generation) (\(state)\(size)): \(reason)"
        }
    }

    let projection: String
    let dropped: [Int]
    /// Tables that were dropped, where their generations were named.
    let tables: [String]?
    let postponed: [Postponed]
    let kept: [Kept]

    init(projection: String, _ result: PruneResult, isByNumber: Bool) {
        self.projection = projection
        tables = isByNumber ? result.droppedTables.values.flatMap(\.self).sorted() : nil
        kept = result.kept.map {
            Kept(
                generation: $0.number,
                state: $0.state.rawValue,
                bytes: $0.bytes,
                reason: $0.reason
            )
        }
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
        let went = (tables ?? []).map { "  went        \(SQLName.plain($0))" }
        let postponed = postponed.map {
            "  kept        generation \($0.generation): \(TextForPeople.line($0.reason))"
        }
        // What a plain prune leaves as it should needs no word, unless it was all.
        let others = dropped.isEmpty ? kept.map(\.text) : []
        return ([what] + went + postponed + others + next).joined(separator: "\n")
    }

    private var next: [String] {
        if !postponed.isEmpty {
            // A plain prune keeps some of those that can be named.
            let names =
                tables == nil ? "" : postponed.map { " --generation \($0.generation)" }.joined()
            return [
                "Next, when what depends on it is dropped by hand, or its readers have ended: "
                    + "\(ProgramName.current) prune \(projection)\(names)"
            ]
        }
        guard dropped.isEmpty else {
            return ["Next: \(ProgramName.current) status \(projection)"]
        }
        guard let first = kept.first else { return [] }
        return [
            "Next, to drop one by its number: \(ProgramName.current) prune \(projection) --generation "
                + "\(first.generation)"
        ]
    }
}
