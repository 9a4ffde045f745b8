package import ReadModels

/// Forgets a projection, which the program need not know.
package struct Removal: Sendable {
    private let projection: String
    private let database: ReadModelDatabase

    /// Prepares; nothing is opened yet.
    package init(of projection: String, in database: ReadModelDatabase) {
        self.projection = projection
        self.database = database
    }

    /// Drops what is kept of it and forgets it.
    ///
    /// - Parameter dropsLive: Whether the live tables are dropped as well.
    /// - Throws: ``ReadModelError``.
    package func perform(dropsLive: Bool) async throws {
        try await database.withRun(of: projection, command: "remove", strategy: "none") { run in
            try await database.assertRoom(for: 1, in: run)
            try await database.remove(run, dropsLive: dropsLive)
        }
    }
}
