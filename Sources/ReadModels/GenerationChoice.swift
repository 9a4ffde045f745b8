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
    /// Where the generation that would go live stands in the ledger.
    package let position: String?
}

extension ReadModelDatabase {
    /// Finds out which generation a cut-over would put live, for those who are told before it
    /// begins.
    ///
    /// The run holds the projection's lock, so that the cut-over finds the same one.
    ///
    /// - Parameters:
    ///   - kind: `.swap` or `.rollback`.
    ///   - generation: The one that was asked for; nil for the one that `kind` names.
    ///   - run: The run that is going to cut over.
    ///   - patience: Whether readers may step back in time.
    /// - Returns: The generation, the live one, and where the former stands.
    /// - Throws: ``ReadModelError/nothingToMove(projection:reason:)``,
    ///   ``ReadModelError/behindLive(projection:generation:position:livePosition:)``.
    package func destination(
        of kind: CutOverKind,
        generation: Int?,
        run: Run,
        patience: CutOverPatience
    ) async throws -> CutOverDestination {
        let name = run.projection
        return try await withConnection(as: kind.rawValue, doing: "choosing a generation") {
            let records = try await Bookkeeping.generations(of: name, on: $0)
            let live = records.first { $0.state == .live }?.number
            let chosen = try GenerationChoice(projection: name, kind: kind, wanted: generation)
                .choose(from: records, live: live)
            if kind == .swap {
                try patience.guardPosition(
                    chosen.position,
                    of: chosen.number,
                    of: name,
                    against: try await checkpoint(of: name, on: $0)
                )
            }
            return CutOverDestination(
                generation: chosen.number,
                previous: live,
                position: chosen.position
            )
        }
    }
}
