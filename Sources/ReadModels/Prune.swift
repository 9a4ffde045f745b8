import Postgres

/// What a prune did.
package struct PruneResult: Equatable, Sendable {
    /// Generations whose tables are dropped.
    package var dropped: [Int] = []
    /// Generations that are kept although they are past the limit, and why.
    package var postponed: [Int: String] = [:]
    /// What should be known beside that.
    package var warnings: [String] = []
}

extension ReadModelDatabase {
    /// Drops retired generations but the `keep` that were live last, and built ones that a newer
    /// live one has overtaken.
    ///
    /// A generation that cannot be dropped now, because something depends on it or a reader still
    /// has it locked, is postponed and named; that is not a failure.
    ///
    /// - Throws: ``ReadModelError`` when the bookkeeping cannot be read.
    package func prune(_ run: Run, keep: Int) async throws -> PruneResult {
        try await withConnection(as: "prune", doing: "pruning old generations") { connection in
            let generations = try await Bookkeeping.generations(
                of: run.projection,
                on: connection
            )
            guard let live = generations.first(where: { $0.state == .live }) else {
                return PruneResult()
            }
            let older = generations.filter { $0.number < live.number }
            let retired = older.filter { $0.state == .retired }
                .sorted { $0.retiredRank < $1.retiredRank }.dropFirst(keep)
            let overtaken = older.filter { $0.state == .ready }
            var result = PruneResult()
            result.warnings = run.notes
            for generation in retired + overtaken {
                if let reason = try await GenerationDrop.dropIfFree(generation, on: connection) {
                    result.postponed[generation.number] = reason
                } else {
                    result.dropped.append(generation.number)
                }
            }
            return result
        }
    }
}
