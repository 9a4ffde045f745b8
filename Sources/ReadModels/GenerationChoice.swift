import Postgres

/// Picks the generation that a swap or a rollback puts live.
struct GenerationChoice: Sendable {
    let projection: String
    let kind: CutOverKind
    /// The one that was asked for; nil for the one that `kind` names.
    let wanted: Int?

    /// Picks it.
    ///
    /// - Throws: ``ReadModelError/nothingToMove(projection:reason:)``.
    func choose(from records: [GenerationRecord], live: Int?) throws -> GenerationRecord {
        let live = live ?? -1
        let candidates = records.filter(\.canGoLive)
        let chosen: GenerationRecord? =
            switch (wanted, kind) {
            case (let wanted?, _): candidates.first { $0.number == wanted }
            case (nil, .rollback):
                candidates.filter { $0.number < live && $0.state == .retired }
                    .min { $0.retiredRank < $1.retiredRank }
            case (nil, _): candidates.first { $0.number > live }
            }
        guard let chosen else {
            let what =
                wanted.map { "generation \($0)" }
                ?? (kind == .rollback
                    ? "retired generation before the live one"
                    : "generation newer than the live one")
            throw ReadModelError.nothingToMove(
                projection: projection,
                reason: "'\(projection)' has no \(what) to put live."
            )
        }
        return chosen
    }
}

extension GenerationRecord {
    /// Whether a cut-over may put it live.
    var canGoLive: Bool { state == .ready || state == .retired }
}

/// Where a cut-over is to lead.
package struct CutOverDestination: Sendable {
    /// The generation that would go live.
    package let generation: Int
    /// The one that is live; nil when there is none.
    package let previous: Int?
    /// Where the live tables stand; nil when there are none.
    package let live: LiveStanding?
    /// Where the generation that would go live stands in the ledger.
    package let position: String?
    /// How the rows of the former came to be.
    package let provenance: Provenance
    /// Whether another program than this one made them.
    package let isOfOtherProgram: Bool
}

extension ReadModelDatabase {
    /// Finds out which generation a cut-over would put live, so that it is compared with the ledger, and
    /// hooks hear of it, before the cut-over begins.
    ///
    /// The run holds the projection's lock, so that the cut-over finds the same one.
    ///
    /// - Parameters:
    ///   - kind: `.swap` or `.rollback`.
    ///   - generation: The one that was asked for; nil for the one that `kind` names.
    ///   - projection: Whose generation.
    ///   - run: The run that is going to cut over.
    ///   - patience: Whether readers may step back in time.
    /// - Returns: The generation, the live one, where the former stands and what made it.
    /// - Throws: ``ReadModelError/nothingToMove(projection:reason:)``,
    ///   ``ReadModelError/behindLive(projection:generation:position:livePosition:)``.
    package func destination(
        of kind: CutOverKind,
        generation: Int?,
        projection: ProjectionTables,
        run: Run,
        patience: CutOverPatience
    ) async throws -> CutOverDestination {
        let name = projection.name
        return try await withConnection(as: "choose", doing: "choosing a generation") {
            let records = try await Bookkeeping.generations(of: name, on: $0)
            let live = records.first { $0.state == .live }?.number
            let chosen = try GenerationChoice(projection: name, kind: kind, wanted: generation)
                .choose(from: records, live: live)
            let checkpoint = try await checkpoint(of: name, on: $0)
            if kind == .swap {
                try patience.guardPosition(
                    chosen.position,
                    of: chosen.number,
                    of: name,
                    against: checkpoint
                )
            }
            let found = try await Bookkeeping.provenance(of: chosen.number, of: name, on: $0)
            guard let provenance = found else {
                throw ReadModelError.changedMeanwhile(
                    projection: name,
                    reason: "generation \(chosen.number) is no longer there"
                )
            }
            let program = identity(of: projection)
            return CutOverDestination(
                generation: chosen.number,
                previous: live,
                live: checkpoint.map { LiveStanding($0) },
                position: chosen.position,
                provenance: provenance,
                isOfOtherProgram: provenance.program.map { $0 != program } ?? false
            )
        }
    }
}
