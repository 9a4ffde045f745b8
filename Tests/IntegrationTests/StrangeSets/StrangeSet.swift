import Postgres
import ProjectionKit
import ReadModels
import TestSupport
import Testing

/// Objects on and around a live table, as SQL, and what Reprise does with them.
struct StrangeSet: Sendable, CustomTestStringConvertible {
    /// What it is about.
    let name: String
    /// Extensions that it puts into the schema `ext`; where the server lacks one, the set is left
    /// out by name.
    var extensions: [String] = []
    /// Whether it needs a server that was built with ICU.
    var needsICU = false
    /// What has to be there before the table.
    var before = ""
    /// The live table, in its own schema.
    var table = "CREATE TABLE live (id int PRIMARY KEY, v text)"
    /// What is put onto the table and around it, once it has its old row.
    let around: String
    var roles: [String] = []
    var projection: any Projection.Type = Live.self
    var liveSchema = "s"
    var rows = "INSERT INTO s.live (id, v) VALUES (1, 'old')"
    /// Reads the row's text.
    var reading = "SELECT v FROM s.live WHERE id = 1"
    var consent = CarryOverConsent(adoptsStrangers: true)
    /// Where the new tables come from.
    var shapes = [Shape.cloned]
    var swap = Outcome.passes
    var truncate = Outcome.passes

    /// What a strategy does.
    enum Outcome: Sendable {
        /// It changes the rows and nothing else.
        case passes
        /// It names these and changes nothing.
        case refuses([String])
    }

    var testDescription: String { name }
}

/// A set with one of its shapes.
struct StrangeCase: Sendable, CustomTestStringConvertible {
    let set: StrangeSet
    let shape: Shape

    var testDescription: String { "\(set.name), \(shape)" }

    static func all(of sets: [StrangeSet]) -> [StrangeCase] {
        sets.flatMap { set in set.shapes.map { StrangeCase(set: set, shape: $0) } }
    }

    /// Expects what the set says: of rebuild, rollback, swap back, prune and truncate.
    func holds() async throws {
        if set.needsICU, try await !ServerBuild.hasICU() {
            return print("Left out: the server was built without ICU, for \(set.name).")
        }
        let absent = try await absentExtensions()
        guard absent.isEmpty else {
            print("Left out: the server has no \(absent.joined(separator: ", ")), for \(set.name).")
            return
        }
        let installing = set.extensions.map { "CREATE EXTENSION \"\($0)\" SCHEMA ext CASCADE;" }
        let before =
            set.extensions.isEmpty ? "" : "CREATE SCHEMA ext; \(installing.joined()) "
        try await withHazard(
            shape,
            in: set.liveSchema,
            of: set.projection,
            table: before + set.before + set.table,
            file: set.table,
            rows: set.rows,
            setUp: set.around,
            roles: set.roles,
            consent: set.consent
        ) { hazard in
            let definitions = try await hazard.definitions()
            try await swap(hazard)
            #expect(try await hazard.changes(since: definitions) == [], "after the swaps")
            try await truncate(hazard)
            #expect(try await hazard.changes(since: definitions) == [], "after the truncate")
        }
    }

    private func swap(_ hazard: HazardScene) async throws {
        switch set.swap {
        case .passes:
            try await hazard.passes { epoch in
                try await hazard.expect(set.reading, gives: epoch.rawValue)
            }
        case .refuses(let names):
            try await expectRefusal(by: .swap, naming: names, of: hazard)
            try await hazard.expect(set.reading, gives: "old")
        }
    }

    private func truncate(_ hazard: HazardScene) async throws {
        switch set.truncate {
        case .passes:
            try #require(try await hazard.plan(.truncate).refusals == [])
            try await hazard.execute("UPDATE \(table(of: hazard)) SET v = 'old'")
            try await hazard.rebuild(.truncate)
            try await hazard.expect(set.reading, gives: "new")
        case .refuses(let names):
            try await expectRefusal(by: .truncate, naming: names, of: hazard)
        }
    }

    private func table(of hazard: HazardScene) -> String {
        "\(SQLText.identifier(set.liveSchema)).live"
    }

    private func expectRefusal(
        by strategy: Strategy,
        naming names: [String],
        of hazard: HazardScene
    ) async throws {
        let refusals = try await hazard.plan(strategy).refusals
        for name in names {
            #expect(
                refusals.contains { $0.contains(name) },
                "\(strategy): \(refusals) do not name \(name)"
            )
        }
        await #expect(throws: ReadModelError.self) { try await hazard.rebuild(strategy) }
    }

    private func absentExtensions() async throws -> [String] {
        guard !set.extensions.isEmpty else { return [] }
        return try await withScratchDatabase { database in
            try await database.query(
                """
                SELECT e.name FROM pg_catalog.unnest($1::pg_catalog.text[]) AS e (name)
                WHERE e.name NOT IN (SELECT a.name FROM pg_catalog.pg_available_extensions AS a)
                """,
                [.texts(set.extensions)]
            ).rows.map { try $0.string("name") }
        }
    }
}
