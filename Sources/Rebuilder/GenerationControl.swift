package import LedgerKit
package import ProjectionKit
package import ReadModels
import Wording

/// Moves and drops generations that exist already: swap, rollback, prune.
package struct GenerationControl: Sendable {
    private let tables: ProjectionTables
    private let database: ReadModelDatabase
    private let ledger: (any Ledger)?

    /// Prepares; nothing is opened yet.
    ///
    /// - Parameters:
    ///   - projection: Whose generations.
    ///   - database: Where they are.
    ///   - ledger: What a generation that goes live is compared with; nil compares it with nothing.
    package init(
        of projection: any Projection.Type,
        in database: ReadModelDatabase,
        from ledger: (any Ledger)? = nil
    ) {
        tables = ProjectionTables(projection)
        self.database = database
        self.ledger = ledger
    }

    /// Puts a built generation live: the newest one that is newer than the live one, or the one
    /// asked for.
    ///
    /// - Throws: ``ReadModelError``, ``RebuildError/ledgerMismatch(_:)``; the live tables are unchanged
    ///   then. ``HookError`` says itself how they stand.
    package func swap(
        to generation: Int? = nil,
        patience: CutOverPatience,
        consent: CarryOverConsent = CarryOverConsent(),
        acceptingOtherProgram: Bool = false,
        hooks: Hooks = Hooks(),
        notice: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws -> CutOverResult {
        let terms = Terms(
            patience: patience,
            consent: consent,
            acceptsOtherProgram: acceptingOtherProgram,
            hooks: hooks,
            notice: notice
        )
        return try await move(.swap, to: generation, terms)
    }

    /// Brings the previous generation back, with the position it stood at.
    ///
    /// Also one that another program built, because that is what a rollback is for; a notice tells it.
    ///
    /// - Throws: ``ReadModelError``, ``RebuildError/ledgerMismatch(_:)``; the live tables are unchanged
    ///   then. ``HookError`` says itself how they stand.
    package func rollback(
        to generation: Int? = nil,
        patience: CutOverPatience,
        consent: CarryOverConsent = CarryOverConsent(),
        hooks: Hooks = Hooks(),
        notice: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws -> CutOverResult {
        let terms = Terms(
            patience: patience,
            consent: consent,
            acceptsOtherProgram: true,
            hooks: hooks,
            notice: notice
        )
        return try await move(.rollback, to: generation, terms)
    }

    /// Drops retired generations but the newest `keep`.
    ///
    /// - Throws: ``ReadModelError``.
    package func prune(keep: Int) async throws -> PruneResult {
        try await database.withRun(of: tables.name, command: "prune", strategy: "none") { run in
            try await database.assertRoom(for: 1, in: run)
            return try await database.prune(run, keep: keep)
        }
    }

    /// Drops generations by their numbers.
    ///
    /// - Throws: ``ReadModelError``.
    package func prune(generations: [Int]) async throws -> PruneResult {
        try await database.withRun(of: tables.name, command: "prune", strategy: "none") { run in
            try await database.assertRoom(for: 1, in: run)
            return try await database.prune(run, generations: generations)
        }
    }

    /// Says how the projection stands.
    ///
    /// Needs no lock.
    ///
    /// - Throws: ``ReadModelError``.
    package func status() async throws -> ProjectionStatus {
        try await database.status(
            of: tables.name,
            continuedBy: database.identity(of: tables)
        )
    }

    /// What a move is asked with.
    private struct Terms: Sendable {
        let patience: CutOverPatience
        let consent: CarryOverConsent
        let acceptsOtherProgram: Bool
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
            // As many as a cut-over has.
            try await database.assertRoom(for: 3, in: run)
            let destination = try await database.destination(
                of: kind,
                generation: generation,
                projection: tables,
                run: run,
                patience: terms.patience
            )
            let confirm = try await compare(destination, kind, terms)
            let announced = announce(kind, destination, run)
            if !terms.hooks.commands(.before).isEmpty {
                let rows = try await database.rowsAtRest(of: announced.generation, run: run)
                try await self.run(terms.hooks, .before, announced, run)
                try await database.assertAtRest(rows, run: run)
            }
            try await run.enter(stage: RebuildStage.cuttingOver.rawValue)
            var result = try await database.cutOver(
                tables,
                kind: kind,
                generation: destination.generation,
                run: run,
                patience: terms.patience,
                consent: terms.consent,
                confirm: confirm,
                notice: terms.notice
            )
            result.warnings = run.notes + result.warnings
            result.leavesOtherLedger = await leavesOtherLedger(destination)
            let recorded = await record(result, of: kind, terms.patience, run)
            try await self.run(terms.hooks, .after, announced, run)
            return recorded
        }
    }

    /// Makes sure that the generation is this program's, and made of what the ledger holds.
    ///
    /// - Returns: What compares it with the ledger again.
    private func compare(
        _ destination: CutOverDestination,
        _ kind: CutOverKind,
        _ terms: Terms
    ) async throws -> @Sendable (LiveStanding?) async throws -> Void {
        if destination.isOfOtherProgram {
            guard terms.acceptsOtherProgram else {
                throw ReadModelError.otherProgram(
                    OtherProgram(
                        projection: tables.name,
                        generation: destination.generation,
                        command: kind.rawValue
                    )
                )
            }
            terms.notice(
                "Another program made generation \(destination.generation) of '\(tables.name)': follow it "
                    + "with that one, or rebuild with this one before you follow with it."
            )
        }
        guard let ledger else { return { _ in } }
        let match = LedgerMatch(
            projection: tables.name,
            generation: destination.generation,
            ledger: ledger,
            command: kind == .rollback ? .rollback : .swap
        )
        // What a projector writes itself need not be all of a position.
        let isPosition = !database.keepsOwnPosition(tables.name)
        let position = isPosition ? destination.position.flatMap { Position($0) } : nil
        let began = ContinuousClock.now
        try await match.assert(destination.provenance, at: position)
        // The live projector waits for it: what takes long is not done twice.
        let isQuick = ContinuousClock.now - began < .seconds(1)
        let confirm: @Sendable (LiveStanding?) async throws -> Void = { live in
            if let live, kind == .swap, !terms.patience.allowsOlder {
                try await overtake(live, in: ledger, comparesPosition: isPosition)
            }
            guard ledger.arrival == .late, isQuick else { return }
            try await match.assert(destination.provenance, at: position)
        }
        try await confirm(destination.live)
        return confirm
    }

    /// Whether the way back leads to rows that the ledger does not hold; nil where nobody can tell.
    private func leavesOtherLedger(_ destination: CutOverDestination) async -> Bool? {
        guard let ledger, let live = destination.live else { return nil }
        let match = LedgerMatch(
            projection: tables.name,
            generation: live.generation,
            ledger: ledger,
            command: .swap
        )
        do {
            try await match.assert(live.ledger)
            if !database.keepsOwnPosition(tables.name), let position = live.position {
                try await match.assert(position)
            }
            return false
        } catch RebuildError.ledgerMismatch {
            return true
        } catch {
            return nil
        }
    }

    /// Makes sure that positions of the live tables and of the ledger compare: nothing that is live is
    /// missing then in a generation that stands further on.
    private func overtake(
        _ live: LiveStanding,
        in ledger: any Ledger,
        comparesPosition: Bool
    ) async throws {
        let match = LedgerMatch(
            projection: tables.name,
            generation: live.generation,
            ledger: ledger,
            command: .overtake
        )
        try await match.assert(live.ledger)
        if comparesPosition, let position = live.position {
            try await match.assertShared(position)
        }
    }

    private func announce(
        _ kind: CutOverKind,
        _ destination: CutOverDestination,
        _ run: Run
    ) -> AnnouncedCutOver {
        AnnouncedCutOver(
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
