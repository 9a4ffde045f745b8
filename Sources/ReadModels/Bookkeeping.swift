import Foundation
import Migrations
import Postgres
package import ProjectionKit

/// Reads and writes the schema `reprise`.
///
/// Every function is one or a few statements on the connection it is given, so that the caller
/// decides what is one transaction.
enum Bookkeeping {
    private static let supported = Migrations.postgres.map(\.number).max() ?? 0

    /// Applies the migrations that are missing, in one transaction.
    ///
    /// - Parameters:
    ///   - projection: What the command works on, for messages.
    ///   - publishes: Whether new tables may be sent to those who consume all of them.
    ///   - connection: The command's session.
    /// - Throws: ``ReadModelError/refusedByPlan(projection:reasons:)`` where they would be and may not;
    ///   ``ReadModelError/bookkeepingBlocked(blockers:)`` when another transaction is making
    ///   the schema, or holds it, for too long; what else the server says.
    static func migrate(
        for projection: String,
        publishing publishes: Bool,
        on connection: PostgresConnection
    ) async throws {
        let found = try await version(on: connection)
        guard found <= supported else {
            throw ReadModelError.newerBookkeeping(found: found, supported: supported)
        }
        try await BookkeepingTrust.assertUsable(byReader: false, on: connection)
        guard found < supported else { return }
        try await NewTablePublications.assertNone(
            for: projection,
            consents: publishes,
            on: connection
        )
        do {
            try await connection.withTransaction { connection in
                try await connection.execute("SET LOCAL lock_timeout = '10s'")
                try await applyMissing(on: connection)
            }
        } catch let error as ServerError where error.isNameTaken {
            // Two first runs at once: the second one waited for the name of the schema, and finds
            // the work done.
            guard try await version(on: connection) >= supported else { throw error }
        } catch let error as ServerError where error.isLockFailure {
            throw ReadModelError.bookkeepingBlocked(
                blockers: try await Blocker.writing(on: connection).map(\.description)
            )
        }
    }

    private static func applyMissing(on connection: PostgresConnection) async throws {
        if try await version(on: connection) > 0 {
            try await connection.execute("LOCK TABLE reprise.migration IN SHARE ROW EXCLUSIVE MODE")
        }
        let found = try await version(on: connection)
        let known = found == 0 ? [] : try await relations(on: connection)
        for migration in Migrations.postgres where migration.number > found {
            try await connection.execute(migration.sql)
            try await strip(besides: known, on: connection)
            try await connection.query(
                "INSERT INTO reprise.migration (number, name) VALUES ($1, $2)",
                [.int(Int64(migration.number)), .text(migration.name)]
            )
        }
    }

    /// Takes off new relations what event triggers and default privileges did to them, before a row is
    /// written.
    ///
    /// What these give others is not theirs; what was granted since is.
    private static func strip(
        besides known: [Int64],
        on connection: PostgresConnection
    ) async throws {
        let new = try await relations(on: connection).filter { !known.contains($0) }
        try await connection.own(new)
        try await connection.revokeAll(inHome: "reprise", sparing: known)
        try await TableAttachments.remove(from: new.map { UInt32($0) }, on: connection)
    }

    private static func relations(on connection: PostgresConnection) async throws -> [Int64] {
        try await connection.query(
            """
            SELECT c.oid FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE n.nspname = 'reprise'
            """
        ).rows.map { try $0.int("oid") }
    }

    /// Applies the migrations that are missing where there are others already: commands that only
    /// look do not make the schema, and know one version of it.
    ///
    /// - Parameters:
    ///   - projection: What the command works on, for messages.
    ///   - publishes: As in ``migrate(for:publishing:on:)``.
    ///   - isReader: Whether the right to look is enough, as long as nothing is missing.
    ///   - connection: The command's session.
    /// - Throws: As ``version(on:)`` and ``migrate(for:publishing:on:)``.
    static func bringUpToDate(
        for projection: String,
        publishing publishes: Bool,
        forReader isReader: Bool,
        on connection: PostgresConnection
    ) async throws {
        let found = try await version(on: connection)
        guard found > 0, !isReader || found != supported else { return }
        try await migrate(for: projection, publishing: publishes, on: connection)
    }

    /// Whether migrations are missing.
    ///
    /// - Throws: As ``version(on:)``.
    static func isBehind(on connection: PostgresConnection) async throws -> Bool {
        try await version(on: connection) < supported
    }

    /// The highest migration applied; 0 when the schema is not there.
    ///
    /// Every command asks for it before it reads or writes anything else of the schema.
    ///
    /// - Throws: ``ReadModelError/untrustedBookkeeping(reasons:)``,
    ///   ``ReadModelError/bookkeepingOfAnother(owner:role:)``, the server's error.
    static func version(on connection: PostgresConnection) async throws -> Int {
        try await BookkeepingTrust.assert(on: connection)
        try await BookkeepingTrust.assertUsable(byReader: true, on: connection)
        let exists = try await connection.query(
            "SELECT pg_catalog.to_regclass('reprise.migration') IS NOT NULL AS present"
        )
        guard try exists.first?.bool("present") == true else { return 0 }
        let row = try await connection.query(
            "SELECT coalesce(max(number), 0) AS number FROM reprise.migration"
        ).first
        return try row.map { Int(try $0.int("number")) } ?? 0
    }

    /// All generations of a projection, the newest first.
    static func generations(
        of projection: String,
        on connection: PostgresConnection
    ) async throws -> [GenerationRecord] {
        let tables = try await connection.query(
            """
            SELECT generation, table_name, table_oid, row_count, shape, foreign_keys,
                kind = 'materialized view' AS is_materialized_view
            FROM reprise.generation_table WHERE projection = $1 ORDER BY table_name
            """,
            [.text(projection)]
        )
        var tablesByGeneration: [Int: [GenerationRecord.TableRecord]] = [:]
        for row in tables.rows {
            tablesByGeneration[Int(try row.int("generation")), default: []].append(
                .init(
                    name: try row.string("table_name"),
                    oid: UInt32(try row.int("table_oid")),
                    rowCount: try row.optionalInt("row_count").map(Int.init),
                    isMaterializedView: try row.bool("is_materialized_view"),
                    shape: try row["shape"].map {
                        try JSONDecoder().decode([String: String].self, from: Data($0.utf8))
                    },
                    foreignKeys: try row["foreign_keys"].map {
                        try JSONDecoder().decode([OutgoingForeignKey].self, from: Data($0.utf8))
                    } ?? []
                )
            )
        }
        let generations = try await connection.query(
            """
            SELECT g.generation, g.state, g.live_schema, g.home_schema, n.oid AS home_schema_oid,
                g.run_id, g.position, g.events, g.load_xid, g.live_shape, g.live_since,
                pg_catalog.rank() OVER (ORDER BY g.retired_at DESC NULLS LAST) AS retired_rank
            FROM reprise.generation AS g
            -- A recorded number alone may be that of another schema, after a dump was restored. An
            -- upgrade by pg_upgrade gives schemas new numbers, and leaves tables theirs.
            LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = g.home_schema
                AND (n.oid = g.home_schema_oid OR g.home_schema_oid IS NOT NULL AND EXISTS (
                    SELECT FROM reprise.generation_table AS t
                    JOIN pg_catalog.pg_class AS c ON c.oid = t.table_oid
                        AND c.relname = t.table_name AND c.relnamespace = n.oid
                    WHERE t.projection = g.projection AND t.generation = g.generation))
            WHERE g.projection = $1 ORDER BY g.generation DESC
            """,
            [.text(projection)]
        )
        return try generations.rows.map { row in
            let number = Int(try row.int("generation"))
            return try GenerationRecord(
                projection: projection,
                number: number,
                row: row,
                tables: tablesByGeneration[number] ?? []
            )
        }
    }

    /// Records a generation and its tables.
    static func insert(
        _ generation: GenerationRecord,
        on connection: PostgresConnection
    ) async throws {
        try await connection.query(
            """
            INSERT INTO reprise.generation
                (projection, generation, state, live_schema, home_schema, home_schema_oid, run_id,
                 position, events, live_shape, built_by, ledger, counted_position,
                 counted_events, digest, built_at, live_since)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,
                CASE WHEN $3 IN ('ready', 'live') THEN pg_catalog.now() END,
                CASE WHEN $3 = 'live' THEN pg_catalog.now() END)
            """,
            [
                .text(generation.projection), .int(Int64(generation.number)),
                .text(generation.state.rawValue), .text(generation.liveSchema),
                .text(generation.homeSchema),
                generation.homeSchemaOID.map { .int(Int64($0)) } ?? .null,
                generation.runID.map { .int($0) } ?? .null,
                generation.position.map { .text($0) } ?? .null,
                generation.events.map { .int(Int64($0)) } ?? .null,
                generation.liveShape.map { .text($0) } ?? .null,
                generation.builtBy.map { .text($0) } ?? .null,
            ] + (generation.origin?.values ?? [.null, .null, .null, .null])
        )
        for table in generation.tables {
            try await connection.query(
                """
                INSERT INTO reprise.generation_table
                    (projection, generation, table_name, table_oid, row_count, shape, foreign_keys)
                VALUES ($1, $2, $3, $4, $5, $6, $7)
                """,
                [
                    .text(generation.projection), .int(Int64(generation.number)),
                    .text(table.name), .int(Int64(table.oid)),
                    table.rowCount.map { .int(Int64($0)) } ?? .null,
                    try table.shape.map {
                        .text(String(decoding: try JSONEncoder().encode($0), as: UTF8.self))
                    } ?? .null,
                    table.foreignKeys.isEmpty ? .null : .text(try table.foreignKeys.json),
                ]
            )
        }
    }

    /// Changes a generation's state, and stamps the time that belongs to the new one.
    static func setState(
        _ state: GenerationState,
        of number: Int,
        projection: String,
        on connection: PostgresConnection
    ) async throws {
        try await connection.query(
            """
            UPDATE reprise.generation SET state = $3,
                built_at = CASE WHEN $3 = 'ready' THEN pg_catalog.now() ELSE built_at END,
                retired_at = CASE WHEN $3 IN ('retired', 'replaced') THEN pg_catalog.now() ELSE retired_at END,
                dropped_at = CASE WHEN $3 = 'dropped' THEN pg_catalog.now() ELSE dropped_at END
            WHERE projection = $1 AND generation = $2
            """,
            [.text(projection), .int(Int64(number)), .text(state.rawValue)]
        )
    }

    /// Where the live tables stand: nil when there is no checkpoint row.
    static func checkpoint(
        of projection: String,
        on connection: PostgresConnection
    ) async throws -> CheckpointRecord? {
        // By way of JSON: a plan reads bookkeeping of older versions as it is.
        let row = try await connection.query(
            """
            SELECT generation, position, pg_catalog.to_jsonb(c) ->> 'ledger' AS ledger
            FROM reprise.checkpoint AS c WHERE projection = $1
            """,
            [.text(projection)]
        ).first
        return try row.map {
            CheckpointRecord(
                generation: Int(try $0.int("generation")),
                position: $0["position"],
                ledger: $0["ledger"]
            )
        }
    }
}

/// A row of `reprise.checkpoint`.
struct CheckpointRecord: Equatable, Sendable {
    let generation: Int
    let position: String?
    /// The identity of the ledger that the rows were made of; nil when nobody recorded it.
    let ledger: String?
}

/// Where the live tables stand, and in which ledger.
package struct LiveStanding: Sendable {
    /// The generation that is live.
    package let generation: Int
    /// The last event that its rows stand for; nil for none, and where that is no position.
    package let position: Position?
    /// The identity of the ledger that they were made of; nil when nobody recorded it.
    package let ledger: String?

    /// Reads one from a checkpoint.
    init(_ checkpoint: CheckpointRecord) {
        generation = checkpoint.generation
        position = checkpoint.position.flatMap { Position($0) }
        ledger = checkpoint.ledger
    }
}

extension ServerError {
    /// Somebody else has made a schema or a table of that name meanwhile.
    var isNameTaken: Bool { ["23505", "42P06", "42P07", "42710"].contains(sqlState) }
}
