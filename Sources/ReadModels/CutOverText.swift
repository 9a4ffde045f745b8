import Postgres
import ProjectionKit

/// The SQL of a swap, for people who want to read it before it runs.
struct CutOverText: Sendable {
    let database: ReadModelDatabase
    let projection: ProjectionTables
    let live: LiveTables
    let records: [GenerationRecord]
    let patience: CutOverPatience

    /// Writes down what an attempt would send, in a transaction that the caller rolls back.
    ///
    /// - Parameters:
    ///   - generation: The number of the generation that was rehearsed.
    ///   - created: Its tables, at home, with twins of materialized views beside them.
    ///   - paths: Search paths of those objects that need one, by their subjects.
    ///   - connection: Inside the transaction that made them.
    /// - Returns: The guard, the fence, and the one message that ends in COMMIT.
    /// - Throws: ``ReadModelError``, ``ServerError``.
    func text(
        of generation: Int,
        _ created: ShadowSchema.Created,
        paths: [String: String],
        on connection: PostgresConnection
    ) async throws -> String {
        var target = GenerationRecord(
            projection: projection.name,
            number: generation,
            state: .ready,
            liveSchema: database.liveSchema,
            homeSchema: created.homeSchema,
            homeSchemaOID: created.homeSchemaOID,
            tables: created.tables.map { table in
                .init(
                    name: table.name.name,
                    oid: table.oid,
                    foreignKeys: created.foreignKeys.filter { $0.table == table.name.name }
                )
            }
        )
        target.materializedViews = try await MaterializedView.over(
            created.tables.map(\.oid),
            on: connection
        ).map { .init(name: $0.name.name, oid: $0.oid, isMaterializedView: true) }
        let batch = SwapBatch(
            kind: .swap,
            run: RunMark(
                id: 0,
                projection: projection.name,
                lock: SessionLock(
                    name: SessionLock.run(of: projection.name),
                    key: 0,
                    backendPID: 0
                )
            ),
            target: target,
            fence: Fence(records: records, live: live, checkpoint: nil),
            retiredHome: live.tables.isEmpty ? nil : live.generation?.homeSchema,
            liveSchema: database.liveSchema,
            captured: try await SwapDraft(
                liveSchema: database.liveSchema,
                target: target,
                live: live,
                maxima: [:],
                paths: paths,
                schema: projection.schema
            ).prepare(on: connection),
            fingerprint: "",
            positionWrite: try database.positionWrite(
                of: projection.name,
                generation: generation,
                position: nil
            )
        )
        return """
            -- The cut-over of '\(projection.name)' to generation \(generation).
            -- OIDs of new tables, position, the run's number and the fingerprint are those of a rehearsal.

            -- Guard and fence: no reader and no writer waits.
            BEGIN;
            \(guarded)SELECT FROM reprise.checkpoint WHERE projection = \
            \(SQLText.literal(projection.name)) FOR UPDATE;\(fenced)

            -- One message, from the first exclusive lock to COMMIT.
            \(batch.sql(Rung(budget: patience.outageBudget)));
            """
    }

    private var fenced: String {
        database.positionTemplates[projection.name].map {
            "\n" + $0.reading(of: projection.name) + ";"
        } ?? ""
    }

    private var guarded: String {
        guard !live.tables.isEmpty else { return "" }
        let names = live.tables.map(\.name.sql).joined(separator: ", ")
        return "LOCK TABLE \(names) IN SHARE UPDATE EXCLUSIVE MODE;\n"
    }
}
