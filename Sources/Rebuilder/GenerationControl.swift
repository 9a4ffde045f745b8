package import ProjectionKit
package import ReadModels
import Wording

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
    /// - Throws: ``ReadModelError``; the live tables are unchanged then. ``HookError`` says itself
    ///   how they stand.
    package func swap(
        to generation: Int? = nil,
        patience: CutOverPatience,
        consent: CarryOverConsent = CarryOverConsent(),
        hooks: Hooks = Hooks(),
        notice: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws -> CutOverResult {
        let terms = Terms(patience: patience, consent: consent, hooks: hooks, notice: notice)
        return try await move(.swap, to: generation, terms)
    }

    /// Brings the previous generation back, with the position it stood at.
    ///
    /// - Throws: ``ReadModelError``; the live tables are unchanged then. ``HookError`` says itself
    ///   how they stand.
    package func rollback(
        to generation: Int? = nil,
        patience: CutOverPatience,
        consent: CarryOverConsent = CarryOverConsent(),
        hooks: Hooks = Hooks(),
        notice: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws -> CutOverResult {
        let terms = Terms(patience: patience, consent: consent, hooks: hooks, notice: notice)
        return try await move(.rollback, to: generation, terms)
    }

    /// Drops retired generations but the newest `keep`.
    ///
    /// - Throws: ``ReadModelError``.
    package func prune(keep: Int) async throws -> PruneResult {
        try await database.withRun(of: tables.name, command: "prune", strategy: "none") { run in
            try await database.prune(run, keep: keep)
        }
    }

    /// Drops generations by their numbers.
    ///
    /// - Throws: ``ReadModelError``.
    package func prune(generations: [Int]) async throws -> PruneResult {
        try await database.withRun(of: tables.name, command: "prune", strategy: "none") { run in
            try await database.prune(run, generations: generations)
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

    /// What a move is asked with.
    private struct Terms: Sendable {
        let patience: CutOverPatience
        let consent: CarryOverConsent
        let hooks: Hooks
        let notice: @Sendable (String) -> Void
    }

    private func move(
        _ kind: CutOverKind,
        to generation: Int?,
        _ terms: Terms
    ) async throws -> CutOverResult {
        try await database.withRun(
            of: tables.name,
            command: kind.rawValue,
            strategy: Strategy.swap.rawValue
        ) { run in
            let announced =
                terms.hooks.isEmpty
                ? nil : try await announce(kind, generation, terms.patience, run)
            if let announced, !terms.hooks.commands(.before).isEmpty {
                let rows = try await database.rowsAtRest(of: announced.generation, run: run)
                try await self.run(terms.hooks, .before, announced, run)
                try await database.assertAtRest(rows, run: run)
            }
            try await run.enter(stage: RebuildStage.cuttingOver.rawValue)
            var result = try await database.cutOver(
                tables,
                kind: kind,
                generation: announced?.generation ?? generation,
                run: run,
                patience: terms.patience,
                consent: terms.consent,
                notice: terms.notice
            )
            result.warnings = run.notes + result.warnings
            let recorded = await record(result, of: kind, terms.patience, run)
            if let announced { try await self.run(terms.hooks, .after, announced, run) }
            return recorded
        }
    }

    private func announce(
        _ kind: CutOverKind,
        _ generation: Int?,
        _ patience: CutOverPatience,
        _ run: Run
    ) async throws -> AnnouncedCutOver {
        let destination = try await database.destination(
            of: kind,
            generation: generation,
            run: run,
            patience: patience
        )
        return AnnouncedCutOver(
            projection: tables.name,
            kind: kind,
            generation: destination.generation,
            previous: destination.previous,
            run: run.id,
            position: destination.position
        )
    }

    private func run(
        _ hooks: Hooks,
        _ moment: Hooks.Moment,
        _ cutOver: AnnouncedCutOver,
        _ run: Run
    ) async throws {
        guard !hooks.commands(moment).isEmpty else { return }
        // Only a note, and after the cut-over an error here would say that nothing happened.
        try? await run.enter(stage: moment.stage.rawValue)
        try await hooks.run(moment, of: cutOver)
    }

    /// Keeps the report with the run; a failure of that must not hide that the cut-over is done.
    private func record(
        _ result: CutOverResult,
        of kind: CutOverKind,
        _ patience: CutOverPatience,
        _ run: Run
    ) async -> CutOverResult {
        do {
            let report = MoveReport(
                projection: tables.name,
                kind: kind,
                result,
                patience: patience
            )
            try await run.record(report: try report.json)
            return result
        } catch {
            var result = result
            result.warnings.append(
                "The report could not be kept with the run: \(TextForPeople.oneLine(error))"
            )
            return result
        }
    }
}
