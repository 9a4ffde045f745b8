import Postgres

/// What a prune did.
package struct PruneResult: Equatable, Sendable {
    /// A generation that is not live and takes up disk.
    package struct Kept: Equatable, Sendable {
        package let number: Int
        package let state: GenerationState
        /// Its bytes on disk; nil where somebody keeps a table locked.
        package let bytes: Int64?
        /// Why it is there, as a clause.
        package let reason: String
    }

    /// Generations whose tables are dropped.
    package var dropped: [Int] = []
    /// What went with each of them, by its number: its tables, qualified and quoted.
    package var droppedTables: [Int: [String]] = [:]
    /// Generations that are kept although they were to be dropped, and why.
    package var postponed: [Int: String] = [:]
    /// The others that are not live, the newest first.
    package var kept: [Kept] = []
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
        try await prune(run) { generations in
            guard let live = generations.first(where: { $0.state == .live }) else { return [] }
            let older = generations.filter { $0.number < live.number }
            let retired = older.filter { $0.state == .retired }
                .sorted { $0.retiredRank < $1.retiredRank }.dropFirst(keep)
            return retired + older.filter { $0.state == .ready }
        }
    }

    /// Drops generations by their numbers, whatever they are kept for.
    ///
    /// - Throws: ``ReadModelError/nothingToMove(projection:reason:)`` when one of them is live or has no
    ///   tables: nothing is dropped then.
    package func prune(_ run: Run, generations numbers: [Int]) async throws -> PruneResult {
        try await prune(run) { generations in
            try Set(numbers).sorted().map { number in
                let found = generations.first { $0.number == number }
                guard let found, found.hasTables, found.state != .live else {
                    let name = "Generation \(number) of '\(run.projection)'"
                    throw ReadModelError.nothingToMove(
                        projection: run.projection,
                        reason: found?.state == .live
                            ? "\(name) is live, so it is not dropped."
                            : "\(name) is not there, so it cannot be dropped."
                    )
                }
                return found
            }
        }
    }

    private func prune(
        _ run: Run,
        _ choose: @Sendable ([GenerationRecord]) throws -> [GenerationRecord]
    ) async throws -> PruneResult {
        try await withConnection(as: "prune", doing: "pruning old generations") { connection in
            let generations = try await Bookkeeping.generations(
                of: run.projection,
                on: connection
            )
            var result = PruneResult()
            result.warnings = run.notes
            for generation in try choose(generations) {
                if let reason = try await GenerationDrop.dropIfFree(generation, on: connection) {
                    result.postponed[generation.number] = reason
                } else {
                    result.dropped.append(generation.number)
                    result.droppedTables[generation.number] = generation.tables.map {
                        QualifiedName(schema: generation.homeSchema, name: $0.name).sql
                    }
                }
            }
            let left = generations.filter {
                $0.hasTables && $0.state != .live && !result.dropped.contains($0.number)
                    && result.postponed[$0.number] == nil
            }
            let bytes = try await GenerationDisk.bytesIfFree(of: left, on: connection)
            let live = generations.first { $0.state == .live }?.number
            result.kept = left.map {
                PruneResult.Kept(
                    number: $0.number,
                    state: $0.state,
                    bytes: bytes[$0.number],
                    reason: $0.reasonToKeep(besides: live)
                )
            }
            return result
        }
    }
}

extension GenerationRecord {
    fileprivate func reasonToKeep(besides live: Int?) -> String {
        switch state {
        case .ready: "it can be swapped in"
        case .retired where number > live ?? number: "it is newer than the live one"
        case .retired: "it can be rolled back to"
        default: "something depended on it"
        }
    }
}
