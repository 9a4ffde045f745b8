import Postgres
import ProjectionKit

/// What one attempt of a cut-over holds before it asks for exclusive locks: the guard on the live
/// tables and the fence of the live projector.
///
/// Readers and writers go on.
struct Fence: Sendable {
    let records: [GenerationRecord]
    let live: LiveTables
    /// Where the live tables stand, wherever that is kept.
    var checkpoint: CheckpointRecord?

    /// The number of a generation that is built now.
    var nextGeneration: Int { GenerationRecord.next(after: records, live: live) }

    /// Takes both, in the open transaction.
    ///
    /// The guard is SHARE UPDATE EXCLUSIVE: it sends autovacuum away and keeps it and other
    /// people's DDL out. The fence is the checkpoint row, and the row of a projector that keeps its
    /// position elsewhere: one that takes it at the start of each transaction stands still from here
    /// to COMMIT.
    static func take(
        of projection: ProjectionTables,
        in database: ReadModelDatabase,
        run: Run,
        on connection: PostgresConnection
    ) async throws -> Fence {
        try await connection.execute(
            """
            SET LOCAL idle_in_transaction_session_timeout = '\(idleTimeout)';
            SET LOCAL lock_timeout = '5s'
            """
        )
        // Heartbeats go on beside it. Who gets the row FOR UPDATE knows that no session of the run is
        // still committing.
        try await connection.query(
            "SELECT FROM reprise.run WHERE run_id = $1 FOR KEY SHARE",
            [.int(run.id)]
        )
        try await connection.setSearchPath([])
        let before = try await look(at: projection, in: database, on: connection)
        if !before.live.tables.isEmpty {
            let names = before.live.tables.map(\.name.sql)
            // A session that waits for one table and holds another can be in a deadlock with a writer, and
            // the server may end that writer. So each table is waited for alone.
            for name in names {
                try await connection.execute(
                    """
                    SAVEPOINT reprise_guard;
                    LOCK TABLE \(name) IN SHARE UPDATE EXCLUSIVE MODE;
                    ROLLBACK TO SAVEPOINT reprise_guard; RELEASE SAVEPOINT reprise_guard
                    """
                )
            }
            // All together are waited for so shortly that no other session's wait comes to the age at
            // which the server looks for deadlocks (`deadlock_timeout`, 1 s).
            try await connection.execute(
                """
                SET LOCAL lock_timeout = '\(max(10, 600 / names.count))ms';
                LOCK TABLE \(names.joined(separator: ", ")) IN SHARE UPDATE EXCLUSIVE MODE;
                SET LOCAL lock_timeout = '5s'
                """
            )
        }
        try await CutOverStop.pass(.guarded, on: connection)
        try await connection.query(
            "SELECT FROM reprise.checkpoint WHERE projection = $1 FOR UPDATE",
            [.text(projection.name)]
        )
        let position = try await database.lockOwnPosition(of: projection.name, on: connection)
        // Looked up again, because somebody may have swapped before the guard was ours.
        var fence = try await look(at: projection, in: database, on: connection)
        guard fence.live.oids == before.live.oids else {
            throw ReadModelError.changedMeanwhile(
                projection: projection.name,
                reason: "the live tables changed during the cut-over"
            )
        }
        fence.checkpoint = position.replacing(fence.checkpoint)
        try await run.assertLockHeld(on: connection)
        try await EventTriggerTrust.assert(on: connection)
        try await CutOverStop.pass(.fenced, on: connection)
        return fence
    }

    /// A process that was stopped holds guard, fence or locks for this long and no longer.
    static let idleTimeout = "3s"

    /// Who may keep an attempt from taking guard and fence.
    static func blockers(
        of projection: ProjectionTables,
        in database: ReadModelDatabase,
        on connection: PostgresConnection
    ) async throws -> [Blocker] {
        let found = try await connection.query(
            """
            SELECT c.oid FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE c.relname = ANY ($1::pg_catalog.text[]) AND n.nspname = $2
            """,
            [.texts(projection.tables.map(\.name)), .text(database.liveSchema)]
        )
        let tables = try found.rows.map { UInt32(try $0.int("oid")) }
        return try await Blocker.holding(tables, againstGuard: true, on: connection)
            + Blocker.holdingCheckpoint(of: projection.name, on: connection)
            + database.holdersOfOwnPosition(of: projection.name, on: connection)
    }

    /// What an attempt would find now; takes no lock.
    static func look(
        at projection: ProjectionTables,
        in database: ReadModelDatabase,
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
