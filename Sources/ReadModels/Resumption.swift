import Postgres
package import ProjectionKit

/// What a rebuild finds that is to go on with what another has left.
package enum Resumption: Sendable {
    /// A generation that is built and not live.
    case generation(ResumableGeneration)
    /// There is none; the reason is a sentence.
    case nothing(reason: String)
}

/// A generation that was built, checked, and never went live.
package struct ResumableGeneration: Sendable {
    /// Its number.
    package let number: Int
    /// Where it stands in the ledger; nil for the beginning.
    package let position: Position?
    /// Events that it is made of.
    package let events: Int
    /// When it was built, as text.
    package let builtAt: String
    /// How its rows came to be.
    package let provenance: Provenance
}

extension ReadModelDatabase {
    /// Finds the generation to go on with: the newest that is ready, and newer than the live one.
    ///
    /// - Parameters:
    ///   - projection: Whose generation.
    ///   - run: The run that holds the projection's lock, so that nobody else works on it.
    ///   - acceptingOtherProgram: Whether a generation that another program built will do; it is this
    ///     program's from then on.
    /// - Returns: The generation, or why there is none.
    /// - Throws: ``ReadModelError``.
    package func resumption(
        of projection: ProjectionTables,
        run: Run,
        acceptingOtherProgram: Bool = false
    ) async throws -> Resumption {
        try await withConnection(as: "resume", doing: "looking for a generation to go on with") {
            connection in
            let found = try await connection.query(
                """
                SELECT generation, position, events, built_at, built_by AS program, ledger,
                    counted_position, counted_events, digest
                FROM reprise.generation AS g
                WHERE projection = $1 AND state = 'ready' AND generation > coalesce(
                    (SELECT l.generation FROM reprise.generation AS l
                    WHERE l.projection = $1 AND l.state = 'live'), -1)
                ORDER BY generation DESC LIMIT 1
                """,
                [.text(projection.name)]
            )
            guard let row = found.first else { return .nothing(reason: try await end(of: run)) }
            let number = Int(try row.int("generation"))
            let provenance = try Provenance(row)
            guard
                acceptingOtherProgram
                    || provenance.program != nil && provenance.program == identity(of: projection)
            else {
                return .nothing(
                    reason: "Generation \(number) was built by another version of this program, "
                        + "which may fold differently."
                )
            }
            let text = row["position"]
            let position = text.flatMap { Position($0) }
            guard (text == nil) == (position == nil) else {
                return .nothing(
                    reason: "Generation \(number) stands at no position of this ledger."
                )
            }
            if provenance.program != identity(of: projection) {
                // Its rows come from both programs now, and the other one must not continue them.
                try await connection.query(
                    """
                    UPDATE reprise.generation SET built_by = $3
                    WHERE projection = $1 AND generation = $2 AND state = 'ready'
                    """,
                    [
                        .text(projection.name), .int(Int64(number)),
                        identity(of: projection).map { .text($0) } ?? .null,
                    ]
                )
            }
            return .generation(
                ResumableGeneration(
                    number: number,
                    position: position,
                    events: Int(try row.optionalInt("events") ?? 0),
                    builtAt: try row.string("built_at"),
                    provenance: provenance
                )
            )
        }
    }

    /// Why there is no generation to go on with.
    private func end(of run: Run) async throws -> String {
        let found = try await run.connection.query(
            """
            SELECT run_id, stage FROM reprise.run
            WHERE projection = $1 AND command = 'rebuild' AND state = 'failed' AND run_id < $2
            ORDER BY run_id DESC LIMIT 1
            """,
            [.text(run.projection), .int(run.id)]
        )
        guard let row = found.first else { return "No earlier rebuild has left anything." }
        return
            "Run \(try row.int("run_id")) ended while it was \(try row.string("stage")), before its "
            + "generation was complete."
    }
}
