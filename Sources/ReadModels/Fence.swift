import Postgres
import ProjectionKit

/// What one attempt of a cut-over holds before it asks for exclusive locks: the guard on the live
/// tables and the fence of the live projector.
///
/// Readers and writers go on.
struct Fence: Sendable {
    let records: [GenerationRecord]
    let live: LiveTables
    let checkpoint: CheckpointRecord?

    /// The number of a generation that is built now.
    var nextGeneration: Int { GenerationRecord.next(after: records, live: live) }

    /// Takes both, in the open transaction.
    ///
    /// The guard is SHARE UPDATE EXCLUSIVE: it sends autovacuum away and keeps it and other
    /// people's DDL out. The fence is the checkpoint row: a projector that takes it at the start of
    /// each transaction stands still from here to COMMIT.
    static func take(
        of projection: ProjectionTables,
        in database: ReadModelDatabase,
        run: Run,
        on connection: PostgresConnection
    ) async throws -> Fence {
        try await connection.execute(
            """
            SET LOCAL idle_in_transaction_session_timeout = '60s';
            SET LOCAL lock_timeout = '5s'
            """
        )
        try await connection.query(
            "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))",
            [.text(cutOverLockName(run: run.id))]
        )
        try await connection.setSearchPath([])
        let before = try await find(projection, database, on: connection)
        if !before.live.tables.isEmpty {
            let names = before.live.tables.map(\.name.sql).joined(separator: ", ")
            try await connection.execute("LOCK TABLE \(names) IN SHARE UPDATE EXCLUSIVE MODE")
        }
        try await connection.query(
            "SELECT FROM reprise.checkpoint WHERE projection = $1 FOR UPDATE",
            [.text(projection.name)]
        )
        // Looked up again, because somebody may have swapped before the guard was ours.
        let fence = try await find(projection, database, on: connection)
        guard fence.live.oids == before.live.oids else {
            throw ReadModelError.changedMeanwhile(
                projection: projection.name,
                reason: "the live tables changed during the cut-over"
            )
        }
        try await run.assertLockHeld(on: connection)
        return fence
    }

    /// Whoever holds this lock proves that no session of the run is still committing.
    static func cutOverLockName(run: Int64) -> String { "reprise cut-over \(run)" }

    /// Sessions that may keep an attempt from taking guard and fence: those that hold more than a
    /// reader's lock on a live table, and those that have locked a checkpoint.
    static func holders(
        of projection: ProjectionTables,
        in database: ReadModelDatabase,
        on connection: PostgresConnection
    ) async throws -> [String] {
        let found = try await connection.query(
            """
            SELECT c.oid FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE c.relname = 'checkpoint' AND n.nspname = 'reprise'
                OR c.relname = ANY ($1::pg_catalog.text[]) AND n.nspname = $2
            """,
            [.texts(projection.tables.map(\.name)), .text(database.liveSchema)]
        )
        return try await connection.holders(
            of: try found.rows.map { UInt32(try $0.int("oid")) },
            includingReaders: false
        )
    }

    private static func find(
        _ projection: ProjectionTables,
        _ database: ReadModelDatabase,
        on connection: PostgresConnection
    ) async throws -> Fence {
        let records = try await Bookkeeping.generations(of: projection.name, on: connection)
        return Fence(
            records: records,
            live: try await LiveTables.find(
                of: projection.name,
                declared: projection.tables.map(\.name),
                schema: database.liveSchema,
                records: records,
                on: connection
            ),
            checkpoint: try await Bookkeeping.checkpoint(of: projection.name, on: connection)
        )
    }
}

extension PostgresConnection {
    /// Sessions that hold a lock on one of the relations, as people look for them.
    ///
    /// A prepared transaction has no session; it is named by its gid.
    func holders(
        of relations: [UInt32],
        includingReaders: Bool = true
    ) async throws -> [String] {
        let result = try await query(
            """
            SELECT DISTINCT CASE
                WHEN a.pid IS NOT NULL THEN pg_catalog.format(
                    'pid %s, user %s, application %L, %s for %s s', a.pid, a.usename,
                    a.application_name, a.state,
                    pg_catalog.round(extract(epoch FROM
                        pg_catalog.clock_timestamp() - a.xact_start)::pg_catalog.numeric, 1))
                ELSE 'a prepared transaction: '
                    || (SELECT pg_catalog.string_agg(p.gid, ', ') FROM pg_catalog.pg_prepared_xacts AS p)
                END AS holder
            FROM pg_catalog.pg_locks AS l
            LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
            WHERE l.locktype = 'relation' AND l.granted
                AND ($2::pg_catalog.bool OR l.mode <> 'AccessShareLock')
                AND l.relation = ANY ($1::pg_catalog.oid[])
                AND l.database = (SELECT oid FROM pg_catalog.pg_database
                    WHERE datname = pg_catalog.current_database())
                AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
            ORDER BY 1
            """,
            [.ints(relations.map { Int64($0) }), .text(includingReaders ? "true" : "false")]
        )
        return try result.rows.map { try $0.string("holder") }
    }
}
