package import ProjectionKit
import Postgres

/// A generation that was loaded, indexed and analysed.
package struct BuiltGeneration: Sendable {
    /// Its number.
    package let number: Int
    /// The schema it is in.
    package let homeSchema: String
    /// Rows of each table, by name.
    package let rows: [String: Int]
    /// Bytes that went through COPY.
    package let bytes: Int
    /// What does not stop the rebuild.
    package let warnings: [String]
}

extension ReadModelDatabase {
    /// Runs the projection's `setup.sql` in the live schema, and keeps what it does.
    ///
    /// - Throws: ``ReadModelError/refusedByPlan(projection:reasons:)`` with the server's complaint, or
    ///   with the tables that the file may not change.
    package func setUp(_ projection: ProjectionTables) async throws {
        guard projection.setup != nil else { return }
        try await withConnection(as: "setup", doing: "running setup.sql") { connection in
            try await connection.withTransaction { connection in
                try await connection.execute("SET LOCAL lock_timeout = '2s'")
                try await runSetup(of: projection, on: connection)
            }
        }
    }

    /// The same in the open transaction.
    func runSetup(
        of projection: ProjectionTables,
        on connection: PostgresConnection
    ) async throws {
        guard let setup = projection.setup else { return }
        if let reason = try await SearchPaths.distrust(of: liveSchema, on: connection) {
            throw ReadModelError.refusedByPlan(
                projection: projection.name,
                reasons: ["setup.sql runs in the schema '\(liveSchema)', where \(reason)"]
            )
        }
        try await SetupFile(
            text: setup,
            projection: projection.name,
            liveSchema: liveSchema,
            declared: projection.tables.map(\.name)
        ).run(on: connection)
    }

    /// Builds a generation in its home schema from folded tables.
    ///
    /// One short transaction makes schema and tables and writes the bookkeeping. Then several
    /// connections share what is left, each item in a transaction of its own: the rows of a table,
    /// each of its indexes, and what is made of those; the largest table first. So a death at any
    /// moment leaves either nothing, or a generation that the next run finds in state `building`
    /// and drops.
    ///
    /// - Parameters:
    ///   - projection: What to build.
    ///   - fold: The folded tables.
    ///   - origin: What the rows are made of.
    ///   - run: The run that holds the projection's lock.
    ///   - jobs: Connections that load and build indexes side by side, 1 or more.
    /// - Returns: The generation, in state `building`.
    /// - Throws: ``ReadModelError``. Live tables are never touched.
    package func build(
        _ projection: ProjectionTables,
        from fold: any Fold,
        origin: RowOrigin,
        run: Run,
        jobs: Int
    ) async throws -> BuiltGeneration {
        let load = GenerationLoad(
            database: self,
            projection: projection,
            tables: projection.tables.map { fold.table(named: $0.name) },
            origin: origin,
            run: run
        )
        return try await load.perform(jobs: jobs)
    }
}
