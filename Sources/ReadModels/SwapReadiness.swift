import Postgres
import ProjectionKit

/// Everything for a cut-over that may take time: which generation it is, the twins of materialized
/// views, the values that sequences have to pass.
///
/// It is done once, before the first attempt, without a lock on a live table.
struct SwapReadiness: Sendable {
    /// The number of the generation that comes.
    let generation: Int
    /// Whether it was never live, so that a rebuild can continue it.
    let isReady: Bool
    /// Where it stood then.
    let position: String?
    /// The largest values in columns with a sequence, by sequence.
    let maxima: [UInt32: Int64]
    /// Search paths of those objects that need one, by their subjects.
    let paths: [String: String]
}

extension ReadModelDatabase {
    /// Chooses the generation and gets it ready.
    ///
    /// - Throws: What ``cutOver(_:kind:generation:run:patience:consent:)`` throws before its first
    ///   attempt.
    func readySwap(
        of projection: ProjectionTables,
        kind: CutOverKind,
        wanted: Int?,
        patience: CutOverPatience,
        consent: CarryOverConsent,
        isFinal: Bool
    ) async throws -> SwapReadiness {
        let doing = "preparing the cut-over of '\(projection.name)'"
        return try await withConnection(as: "ready", doing: doing) { connection in
            try await connection.withTransaction { connection in
                try await connection.execute("SET LOCAL lock_timeout = '2s'")
                let records = try await Bookkeeping.generations(
                    of: projection.name,
                    on: connection
                )
                let live = try await LiveTables.find(
                    of: projection.name,
                    declared: projection.tables.map(\.name),
                    schema: liveSchema,
                    records: records,
                    on: connection
                )
                let target = try GenerationChoice(
                    projection: projection.name,
                    kind: kind,
                    wanted: wanted
                ).choose(from: records, live: live.generation?.number)
                if kind == .swap && isFinal {
                    try patience.guardPosition(
                        target.position,
                        of: target.number,
                        of: projection.name,
                        against: try await checkpoint(of: projection.name, on: connection)
                    )
                }
                _ = try positionWrite(of: target)
                return try await ready(
                    target,
                    live: live,
                    schema: projection.schema,
                    consent: consent,
                    on: connection
                )
            }
        }
    }

    private func ready(
        _ target: GenerationRecord,
        live: LiveTables,
        schema: String?,
        consent: CarryOverConsent,
        on connection: PostgresConnection
    ) async throws -> SwapReadiness {
        try await assertAllowed(target, live: live, consent: consent, on: connection)
        let orphans = try await IncomingForeignKeys.orphans(
            of: live.oids,
            in: target.homeSchema,
            on: connection
        )
        guard orphans.isEmpty else {
            throw ReadModelError.checkFailed(
                projection: target.projection,
                generation: target.number,
                reasons: orphans
            )
        }
        let rehearsal = try await MaterializedTwins(target: target, liveSchema: liveSchema).ensure(
            for: live,
            on: connection
        )
        let carried = try await rehearsal.carried(consent: consent, on: connection)
        guard carried.refusals.isEmpty else {
            throw ReadModelError.refusedByPlan(
                projection: target.projection,
                reasons: carried.refusals.map(\.text)
            )
        }
        try await assertUnchanged(target, live: live, schema: schema, on: connection)
        return SwapReadiness(
            generation: target.number,
            isReady: target.state == .ready,
            position: target.position,
            maxima: try await OwnedSequences.maxima(
                of: target.tables.map(\.oid),
                besides: live.oids,
                on: connection
            ),
            paths: carried.paths
        )
    }

    /// Refuses what the cut-over would lose or break, and what this role may not do.
    private func assertAllowed(
        _ target: GenerationRecord,
        live: LiveTables,
        consent: CarryOverConsent,
        on connection: PostgresConnection
    ) async throws {
        var refusals = try await Hazard.ofSwap(live.oids, consent: consent, on: connection)
        refusals += try await Hazard.ofBoth(live.oids, target.relationOIDs, on: connection)
        refusals += try await SwapPreflight(
            live: live,
            liveSchema: liveSchema,
            homeSchema: target.homeSchema
        ).missingRights(on: connection)
        if !consent.acceptsLoss {
            refusals += try await ManualLoss(
                live: live,
                liveSchema: liveSchema,
                generation: target.number,
                tables: Dictionary(
                    uniqueKeysWithValues: target.tables.map { ($0.name, $0.oid) }
                ),
                homeSchema: target.homeSchema
            ).findings(
                isBack: target.state == .retired,
                keys: target.tables.flatMap(\.foreignKeys),
                on: connection
            )
        }
        guard refusals.isEmpty else {
            throw ReadModelError.refusedByPlan(
                projection: target.projection,
                reasons: refusals.map(\.text)
            )
        }
    }

    /// Refuses where event triggers would change something in the cut-over.
    private func assertUnchanged(
        _ target: GenerationRecord,
        live: LiveTables,
        schema: String?,
        on connection: PostgresConnection
    ) async throws {
        guard try await !EventTriggers.names(on: connection).isEmpty else { return }
        let names = Set(live.tables.map(\.name.name))
        let given = try await NewTables(
            projection: target.projection,
            homeSchema: target.homeSchema,
            liveSchema: liveSchema,
            tables: target.tables.filter { !names.contains($0.name) }.map(\.oid),
            foreignKeys: target.tables.flatMap(\.foreignKeys),
            schema: live.tables.isEmpty ? schema : nil
        ).given(on: connection)
        let reasons = try await CutOverProbe(
            homeSchema: target.homeSchema,
            liveSchema: liveSchema,
            live: live,
            tables: target.tables.map(\.name),
            given: given
        ).reasons(on: connection)
        guard reasons.isEmpty else {
            throw ReadModelError.refusedByPlan(projection: target.projection, reasons: reasons)
        }
    }
}
