package import ProjectionKit
package import ReadModels

/// Moves and drops generations that exist already: swap, rollback, prune.
package struct GenerationControl: Sendable {
    private let tables: ProjectionTables
    private let database: ReadModelDatabase

    /// Prepares; nothing is opened yet.
    package init(of projection: any Projection.Type, in database: ReadModelDatabase) {
        tables = ProjectionTables(projection)
        self.database = database
    }

    /// Puts a built generation live: the newest one that is newer than the live one, or the one
    /// asked for.
    ///
    /// - Throws: ``ReadModelError``; the live tables are unchanged then.
    package func swap(
        to generation: Int? = nil,
        patience: CutOverPatience,
        consent: CarryOverConsent = CarryOverConsent(),
        notice: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws -> CutOverResult {
        try await move(
            .swap,
            to: generation,
            patience: patience,
            consent: consent,
            notice: notice
        )
    }

    /// Brings the previous generation back, with the position it stood at.
    ///
    /// - Throws: ``ReadModelError``; the live tables are unchanged then.
    package func rollback(
        to generation: Int? = nil,
        patience: CutOverPatience,
        consent: CarryOverConsent = CarryOverConsent(),
        notice: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws -> CutOverResult {
        try await move(
            .rollback,
            to: generation,
            patience: patience,
            consent: consent,
            notice: notice
        )
    }

    /// Drops retired generations but the newest `keep`.
    ///
    /// - Throws: ``ReadModelError``.
    package func prune(keep: Int) async throws -> PruneResult {
        try await database.withRun(of: tables.name, command: "prune", strategy: "none") { run in
            try await database.prune(run, keep: keep)
        }
    }

    /// Says how the projection stands.
    ///
    /// Needs no lock.
    ///
    /// - Throws: ``ReadModelError``.
    package func status() async throws -> ProjectionStatus {
        try await database.status(of: tables.name)
    }

    private func move(
        _ kind: CutOverKind,
        to generation: Int?,
        patience: CutOverPatience,
        consent: CarryOverConsent,
        notice: @escaping @Sendable (String) -> Void
    ) async throws -> CutOverResult {
        try await database.withRun(
            of: tables.name,
            command: kind.rawValue,
            strategy: Strategy.swap.rawValue
        ) { run in
            try await run.enter(stage: RebuildStage.cuttingOver.rawValue)
            var result = try await database.cutOver(
                tables,
                kind: kind,
                generation: generation,
                run: run,
                patience: patience,
                consent: consent,
                notice: notice
            )
            result.warnings = [run.predecessor].compactMap(\.self) + result.warnings
            return result
        }
    }
}
