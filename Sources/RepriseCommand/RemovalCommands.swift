internal import ArgumentParser
internal import ProjectionKit
internal import ReadModels
internal import Rebuilder

/// `reprise remove`: forgets projections.
struct RemoveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove",
        abstract: "Forget a projection and drop what is kept of it.",
        discussion: """
            For a projection that is not built any more, also one that the program does not know. It \
            drops every generation that is not live and the projection's rows in the schema \
            'reprise'. The live tables stay as ordinary tables, unless --live is said. Without --yes it \
            only lists what would go. What others hung onto a table stops it by name; CASCADE is never \
            used.

            Exit status: 0 done, 2 usage or no --yes, 3 not recorded or something depends on it, 5 \
            database, 75 another run or a follower is at work.
            """
    )

    @Argument(help: ArgumentHelp("Projections to forget.", valueName: "projection"))
    var projections: [String]

    @Flag(help: "Drop the live tables as well: readers lose them.")
    var live = false

    @Flag(help: "Do it; without it the command only lists what would go.")
    var yes = false

    @OptionGroup var database: DatabaseOptions
    @OptionGroup var general: GeneralOptions

    func run() async throws {
        let database = try database.database(try general.settings())
        let recorded = try await database.recordedProjections()
        for name in projections where !recorded.contains(name) {
            throw ReadModelError.nothingToMove(
                projection: name,
                reason: "No generation of '\(name)' is recorded in this database. Recorded are: "
                    + (recorded.isEmpty ? "none" : recorded.joined(separator: ", ")) + "."
            )
        }
        var remains: [ProjectionRemains] = []
        for name in projections {
            remains.append(ProjectionRemains(try await database.status(of: name), dropsLive: live))
        }
        let list = remains.map(\.text).joined(separator: "\n")
        guard yes else {
            try ResultStream.print(list)
            throw CommandError.consentMissing(
                command: "remove \(projections.joined(separator: " "))\(live ? " --live" : "")"
            )
        }
        for name in projections {
            try await Removal(of: name, in: database).perform(dropsLive: live)
        }
        try ResultStream.print(list + "\nIt is done.", done: "What is listed is gone.")
    }
}

/// `reprise reset`: takes everything of Reprise out of a database.
struct ResetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reset",
        abstract: "Drop everything that Reprise made in a database of a developer.",
        discussion: """
            Drops every generation, the live tables of the projections that the program knows, and the \
            schema 'reprise'. The live tables of other projections stay as ordinary tables. Without \
            --yes it only lists what would go. What others hung onto a table stops it by name; CASCADE \
            is never used. The next rebuild begins with generation 1; the ledger is not touched.

            Exit status: 0 done, 2 usage or no --yes, 3 something depends on it, 5 database, 75 another \
            run or a follower is at work.
            """
    )

    @Flag(help: "Do it; without it the command only lists what would go.")
    var yes = false

    @OptionGroup var database: DatabaseOptions
    @OptionGroup var general: GeneralOptions

    func run() async throws {
        let database = try database.database(try general.settings())
        let recorded = try await database.recordedProjections()
        let known = Set(Registry.names)
        var remains: [ProjectionRemains] = []
        for name in recorded {
            remains.append(
                ProjectionRemains(
                    try await database.status(of: name),
                    dropsLive: known.contains(name)
                )
            )
        }
        let objects = try await database.bookkeepingObjects().map {
            "  goes        \(SQLName.plain($0))"
        }
        guard !objects.isEmpty else {
            return try ResultStream.print("There is nothing of Reprise in this database.")
        }
        let list = (remains.map(\.text) + ["the bookkeeping:"] + objects).joined(separator: "\n")
        guard yes else {
            try ResultStream.print(list)
            throw CommandError.consentMissing(command: "reset")
        }
        for name in recorded {
            try await Removal(of: name, in: database).perform(dropsLive: known.contains(name))
        }
        try await database.dropBookkeeping()
        try ResultStream.print(list + "\nIt is done.", done: "What is listed is gone.")
    }
}

/// What there is of a projection, and what becomes of it.
private struct ProjectionRemains {
    let text: String

    init(_ status: ProjectionStatus, dropsLive: Bool) {
        let lines = status.generations.flatMap { generation in
            let isLive = generation.state == .live
            let schema = isLive ? generation.liveSchema : generation.homeSchema
            let fate = isLive && !dropsLive ? "stays" : "goes"
            return generation.rows.keys.sorted().map { table in
                let label = "  \(fate)\(String(repeating: " ", count: 12 - fate.count))"
                return "\(label)\(schema).\(table), generation \(generation.number), "
                    + generation.state.rawValue
            }
        }
        text = (["\(status.projection):"] + lines).joined(separator: "\n")
    }
}
