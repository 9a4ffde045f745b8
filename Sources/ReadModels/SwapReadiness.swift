import Postgres
import ProjectionKit

/// Everything for a cut-over that may take time: which generation it is, the twins of materialized
/// views, the values that sequences have to pass.
///
/// It is done once, before the first attempt, without a lock on a live table.
struct SwapReadiness: Sendable {
    /// The number of the generation that comes.
    let generation: Int
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
                return try await ready(target, live: live, consent: consent, on: connection)
            }
        }
    }

    private func ready(
        _ target: GenerationRecord,
        live: LiveTables,
        consent: CarryOverConsent,
        on connection: PostgresConnection
    ) async throws -> SwapReadiness {
        let refusals = try await Hazard.ofSwap(live.oids, consent: consent, on: connection)
        guard refusals.isEmpty else {
            throw ReadModelError.refusedByPlan(
                projection: target.projection,
                reasons: refusals.map(\.text)
            )
        }
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
        return SwapReadiness(
            generation: target.number,
            position: target.position,
            maxima: try await OwnedSequences.maxima(
                of: target.tables.map(\.oid),
                besides: live.oids,
                on: connection
            ),
            paths: carried.paths
        )
    }
}

/// The materialized views of a generation that is not live, filled from its tables.
struct MaterializedTwins: Sendable {
    let target: GenerationRecord
    let liveSchema: String

    /// Makes those that are missing or made by another definition, in the caller's transaction.
    ///
    /// They are made all together or kept all together, because one can read another.
    ///
    /// - Returns: What is to take the places of the live tables and materialized views.
    func ensure(
        for live: LiveTables,
        on connection: PostgresConnection
    ) async throws -> CarryRehearsal {
        let tables = Dictionary(uniqueKeysWithValues: target.tables.map { ($0.name, $0.oid) })
        let bare = CarryRehearsal(live: live, homeSchema: target.homeSchema, tables: tables)
        let wanted = try await MaterializedView.over(live.oids, on: connection)
        let found = try await MaterializedView.over(target.tables.map(\.oid), on: connection)
            .filter { $0.name.schema == target.homeSchema }
        var rehearsal = bare
        for view in wanted {
            guard let twin = found.first(where: { $0.name.name == view.name.name }) else {
                continue
            }
            rehearsal.add(.init(live: view.oid, name: view.name, home: twin.oid))
        }
        let scripts = try await scripts(of: wanted, for: rehearsal, on: connection)
        if try await scripts == self.scripts(of: found, for: bare, on: connection) {
            return rehearsal
        }
        for view in found.reversed() {
            try await connection.execute("DROP MATERIALIZED VIEW \(view.name.sql) RESTRICT")
        }
        rehearsal = bare
        for view in wanted { try await make(view, &rehearsal, on: connection) }
        try await record(wanted, on: connection)
        return rehearsal
    }

    private func make(
        _ view: MaterializedView,
        _ rehearsal: inout CarryRehearsal,
        on connection: PostgresConnection
    ) async throws {
        let twin = try await view.twin(for: rehearsal, on: connection)
        let outcome = try await rehearsal.outcome(of: view, by: twin.creation, on: connection)
        guard case .same(let path) = outcome else {
            let object = CarriedObject(subject: "materialized view \(view.name.sql)", note: "")
            throw ReadModelError.refusedByPlan(
                projection: target.projection,
                reasons: [outcome.finding(of: object).text]
            )
        }
        try await view.make(twin, under: path, in: &rehearsal, on: connection)
        try await revoke(view, on: connection)
        if view.isPopulated {
            try await connection.execute("REFRESH MATERIALIZED VIEW \(twin.name.sql)")
        }
        let indexPath = try await SearchPaths.ofTables(
            in: target.homeSchema,
            liveSchema,
            like: [view.oid],
            on: connection
        )
        try await connection.setSearchPath(list: indexPath)
        for statement in twin.indexes { try await connection.execute(statement) }
    }

    /// Default privileges may have given others a right on the twin.
    private func revoke(_ view: MaterializedView, on connection: PostgresConnection) async throws {
        let home = QualifiedName(schema: target.homeSchema, name: view.name.name)
        guard let twin = try await Catalogue.table(home, on: connection) else { return }
        for statement in try await TableRights.revocation(
            of: twin.oid,
            named: home,
            on: connection
        ) {
            try await connection.execute(statement)
        }
    }

    private func scripts(
        of views: [MaterializedView],
        for rehearsal: CarryRehearsal,
        on connection: PostgresConnection
    ) async throws -> [MaterializedView.Twin] {
        var scripts: [MaterializedView.Twin] = []
        for view in views {
            scripts.append(try await view.twin(for: rehearsal, on: connection))
        }
        return scripts
    }

    private func record(
        _ views: [MaterializedView],
        on connection: PostgresConnection
    ) async throws {
        try await connection.query(
            """
            DELETE FROM reprise.generation_table
            WHERE projection = $1 AND generation = $2 AND kind = 'materialized view'
            """,
            [.text(target.projection), .int(Int64(target.number))]
        )
        for view in views {
            let home = QualifiedName(schema: target.homeSchema, name: view.name.name)
            try await connection.query(
                """
                INSERT INTO reprise.generation_table
                    (projection, generation, table_name, table_oid, kind)
                VALUES ($1, $2, $3, $4::pg_catalog.regclass, 'materialized view')
                """,
                [
                    .text(target.projection), .int(Int64(target.number)), .text(view.name.name),
                    .text(home.sql),
                ]
            )
        }
    }
}
