import Foundation
package import LedgerKit
package import Ledgers
import Postgres
package import ProjectionKit
package import ReadModels
package import Rebuilder
import Testing

/// A scratch database and a ledger file beside it, for tests that rebuild.
package struct RebuildScene: Sendable {
    /// The database.
    package private(set) var database: ScratchDatabase
    /// The path of the embedded ledger.
    package var ledgerPath: String
    /// The ledger to use instead of the embedded one; nil for that one.
    package var memory: MemoryLedger?
    /// The schema of the live tables.
    package var liveSchema = "public"
    /// Which program rebuilds and follows; nil for this one.
    package var program: String?

    /// The same scene, where everything connects as `database` says.
    package func connecting(to database: ScratchDatabase) -> RebuildScene {
        var scene = self
        scene.database = database
        return scene
    }

    /// The ledger, opened anew.
    package func ledger() throws -> any Ledger { try memory ?? SQLiteLedger(path: ledgerPath) }

    /// The same database as a rebuild sees it.
    package var target: ReadModelDatabase {
        var target = ReadModelDatabase(conninfo: database.url, liveSchema: liveSchema)
        if let program { target.program = program }
        return target
    }

    /// A scene.
    package init(
        database: ScratchDatabase,
        ledgerPath: String,
        liveSchema: String = "public"
    ) {
        self.database = database
        self.ledgerPath = ledgerPath
        self.liveSchema = liveSchema
    }

    /// Appends events of the shop workload.
    package func appendShop(events: Int, seed: UInt64) throws {
        _ = try LedgerWriter.withWriter(path: ledgerPath) {
            try ShopWorkload(events: events, seed: seed).write(to: $0)
        }
    }

    /// Appends events as they are given.
    package func append(_ events: [NewEvent]) throws {
        if let memory { return memory.append(events) }
        _ = try LedgerWriter.withWriter(path: ledgerPath) { try $0.append(events) }
    }

    /// Follows a projection to the end of the ledger.
    package func follow(_ projection: any Projection.Type) async throws {
        var options = FollowOptions()
        options.endsAtEnd = true
        try await Follow(of: projection, from: try ledger(), into: target, options: options).run()
    }

    /// Rebuilds a projection.
    package func rebuild(
        _ projection: any Projection.Type,
        options: RebuildOptions = RebuildOptions(),
        progress: @escaping @Sendable (RebuildProgress) -> Void = { _ in }
    ) async throws -> RebuildReport {
        try await Rebuild(
            of: projection,
            from: try ledger(),
            into: target,
            options: options,
            progress: progress
        ).run()
    }

    /// Moves and drops generations.
    package func control(_ projection: any Projection.Type) -> GenerationControl {
        GenerationControl(of: projection, in: target, from: try? ledger())
    }

    /// What a plan says.
    package func plan(
        _ projection: any Projection.Type,
        strategy: Strategy = .swap
    ) async throws -> ReadModelPlan {
        try await target.plan(ProjectionTables(projection), strategy: strategy)
    }

    /// Runs SQL, from a callback that cannot wait for a connection.
    package func psql(_ sql: String) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["psql", "-qX", "-v", "ON_ERROR_STOP=1", database.url, "-c", sql]
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
    }

    /// All rows of a table as text, in the order of all columns: equal when the rows are equal.
    package func rows(of table: String) async throws -> [String] {
        // An alias that no column has: the column would be meant, and not the row.
        let result = try await database.query(
            "SELECT \"a row\"::text AS line FROM \(table) AS \"a row\" ORDER BY 1"
        )
        return try result.rows.map { try $0.string("line") }
    }
}

/// Runs `body` with a database and an empty ledger of its own.
package func withRebuildScene<Result: Sendable>(
    liveSchema: String = "public",
    _ body: (RebuildScene) async throws -> Result
) async throws -> Result {
    try await withScratchDatabase {
        try await withRebuildScene(on: $0, liveSchema: liveSchema, body)
    }
}

/// Runs `body` with a database and an empty ledger in memory, in which events come late.
package func withLateScene<Result: Sendable>(
    _ body: (RebuildScene, MemoryLedger) async throws -> Result
) async throws -> Result {
    try await withScratchDatabase { database in
        var scene = RebuildScene(database: database, ledgerPath: "none")
        let ledger = MemoryLedger(.late)
        scene.memory = ledger
        return try await body(scene, ledger)
    }
}

/// Runs `body` with an empty ledger beside a database.
func withRebuildScene<Result: Sendable>(
    on database: ScratchDatabase,
    liveSchema: String = "public",
    _ body: (RebuildScene) async throws -> Result
) async throws -> Result {
    try await withScratchFolder { folder in
        let path = "\(folder)/ledger.db"
        _ = try SQLiteLedger.create(path: path)
        return try await body(
            RebuildScene(database: database, ledgerPath: path, liveSchema: liveSchema)
        )
    }
}
