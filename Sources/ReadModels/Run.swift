import Foundation
import Postgres
import Synchronization
import Wording

/// A command at work on a projection: it holds the projection's lock, and its row in `reprise.run`
/// says what it is doing.
package struct Run: Sendable {
    /// The run's number, unique in the database.
    package let id: Int64
    /// The projection it works on.
    package let projection: String

    /// How an earlier run ended that died, and what of a swap's remains could not be done, as
    /// sentences.
    package internal(set) var notes: [String]

    let database: ReadModelDatabase
    let connection: PostgresConnection
    let lock: SessionLock

    /// Says what the run is doing now, in its row and to `status`, also in a cancelled task: what it was
    /// doing when it was interrupted says what it left.
    package func enter(stage: String) async throws {
        _ = try await translatingErrors(doing: "recording the stage '\(stage)'") {
            try await connection.executeShielded(
                """
                UPDATE reprise.run SET stage = \(SQLText.literal(stage)),
                    heartbeat_at = pg_catalog.clock_timestamp()
                WHERE run_id = \(id)
                """
            )
        }
    }

    /// Keeps a report with the run's row, also in a cancelled task.
    ///
    /// - Parameter json: A JSON object.
    /// - Throws: ``ReadModelError``.
    package func record(report json: String) async throws {
        _ = try await translatingErrors(doing: "recording the report") {
            try await connection.executeShielded(
                """
                UPDATE reprise.run SET report = \(SQLText.literal(json))::pg_catalog.jsonb
                WHERE run_id = \(id)
                """
            )
        }
    }

    func record(generation: Int) async throws {
        _ = try await translatingErrors(doing: "recording the generation") {
            try await connection.query(
                "UPDATE reprise.run SET generation = $2 WHERE run_id = $1",
                [.int(id), .int(Int64(generation))]
            )
        }
    }

    /// Fails unless the session that holds the run's lock is still alive: a run without
    /// its lock must not swap, because another one may have begun.
    func assertLockHeld(on other: PostgresConnection) async throws {
        let held = try await other.query(lock.holdQuery)
        guard held.rows.isEmpty else { return }
        throw ReadModelError.lockLost(doing: "cutting over '\(projection)'")
    }

    /// The run as the statements of a cut-over name it.
    var mark: RunMark { RunMark(id: id, projection: projection, lock: lock) }
}

/// What the text of a cut-over knows of its run.
struct RunMark: Sendable {
    let id: Int64
    let projection: String
    let lock: SessionLock
}

extension ReadModelDatabase {
    /// Takes the projection's lock for the time of `body`, and records the run.
    ///
    /// A connection of its own holds the lock; the server frees it when this process dies, whatever
    /// kills it. The sessions of a run that was not heard of for a minute are ended, except those of
    /// a cut-over, which end by themselves. What an earlier
    /// run left behind half done is dropped first, by its recorded OIDs.
    ///
    /// - Parameters:
    ///   - projection: The projection's name.
    ///   - command: The command's name, such as `rebuild`.
    ///   - strategy: How the tables are to change.
    ///   - body: The work. A failure of it is recorded and thrown on.
    /// - Returns: What `body` returned.
    /// - Throws: ``ReadModelError/runBusy(projection:holder:)`` at once when another run holds the
    ///   lock and is heard of; ``ReadModelError/runStale(projection:holder:silence:backendPID:)``
    ///   when it is not, and its session cannot be ended; what `body` throws.
    package func withRun<Result: Sendable>(
        of projection: String,
        command: String,
        strategy: String,
        _ body: @Sendable (Run) async throws -> Result
    ) async throws -> Result {
        try await withConnection(as: "run", doing: "recording the run") { connection in
            try await EventTriggerTrust.assert(on: connection)
            try await Bookkeeping.migrate(
                for: projection,
                publishing: publishesNewTables,
                on: connection
            )
            let run = try await begin(
                projection: projection,
                command: command,
                strategy: strategy,
                on: connection
            )
            do {
                try await Leftovers(of: projection).drop(on: connection)
                return try await SessionLock.$current.withValue(run.lock) {
                    try await finish(run, body)
                }
            } catch {
                let failure = ReadModelError.naming(
                    projection,
                    in: await freeing(error, of: projection, on: connection)
                )
                let text =
                    failure is CancellationError ? "It was interrupted." : "\(failure)"
                do {
                    try await run.end(state: "failed", error: text)
                } catch {
                    // The next run finds this one without a heartbeat, or has found it.
                    if let other = try? await successor(of: run) {
                        throw ReadModelError.endedByAnother(
                            projection: projection,
                            run: run.id,
                            by: other
                        )
                    }
                }
                throw failure
            }
        }
    }

    /// Drops what a run has built that the disk has no room for: it would stay full until the next one.
    ///
    /// - Returns: The error, which says what became of it.
    private func freeing(
        _ error: any Error,
        of projection: String,
        on connection: PostgresConnection
    ) async -> any Error {
        guard case ReadModelError.diskFull(_, let doing, let reason, nil) = error else {
            return error
        }
        var built = "What it had built is dropped."
        do {
            try await Leftovers(of: projection).drop(on: connection)
        } catch {
            built =
                "What it has built takes room still: "
                + "'\(ProgramName.current) prune \(projection)' drops it."
        }
        return ReadModelError.diskFull(
            projection: projection,
            doing: doing,
            reason: reason,
            built: built
        )
    }

    /// The run that has ended this one and its sessions before it could swap; nil where none has.
    private func successor(of run: Run) async throws -> Int64? {
        try await withConnection(as: "run", doing: "asking for the run") { connection in
            try await connection.query(
                """
                SELECT (SELECT min(n.run_id) FROM reprise.run AS n
                    WHERE n.projection = r.projection AND n.run_id > r.run_id) AS successor
                FROM reprise.run AS r WHERE r.run_id = $1 AND r.state = 'failed'
                    AND NOT EXISTS (SELECT FROM reprise.swap AS s WHERE s.run_id = r.run_id)
                """,
                [.int(run.id)]
            ).first?.optionalInt("successor")
        }
    }

    private func finish<Result: Sendable>(
        _ run: Run,
        _ body: @Sendable (Run) async throws -> Result
    ) async throws -> Result {
        let result = try await Heartbeat.whileRunning(
            """
            UPDATE reprise.run SET heartbeat_at = pg_catalog.clock_timestamp() WHERE run_id = $1
            """,
            .int(run.id),
            on: run.connection
        ) {
            var run = run
            run.notes += await FollowUps(projection: run.projection, database: self).perform()
            return try await body(run)
        }
        // What the run did is committed. A row that goes on saying "running" is set right by the
        // next run; an error here would say that nothing happened.
        try? await run.end(state: "done", error: nil)
        return result
    }

    private func begin(
        projection: String,
        command: String,
        strategy: String,
        on connection: PostgresConnection
    ) async throws -> Run {
        let (lock, ended) = try await takeLock(of: projection, on: connection)
        let predecessor = try await Predecessor.bury(
            of: projection,
            ended: ended,
            on: connection
        )
        let row = try await connection.query(
            """
            INSERT INTO reprise.run (projection, command, strategy, state, stage, host, pid)
            VALUES ($1, $2, $3, 'running', 'starting', $4, $5) RETURNING run_id
            """,
            [
                .text(projection), .text(command), .text(strategy),
                .text(ProcessInfo.processInfo.hostName),
                .int(Int64(ProcessInfo.processInfo.processIdentifier)),
            ]
        ).first
        guard let id = try row?.int("run_id") else {
            preconditionFailure("INSERT … RETURNING gave no row")
        }
        return Run(
            id: id,
            projection: projection,
            notes: [predecessor].compactMap(\.self),
            database: self,
            connection: connection,
            lock: lock
        )
    }

    /// - Returns: The lock, and the number of the run whose sessions were ended for it.
    private func takeLock(
        of projection: String,
        on connection: PostgresConnection
    ) async throws -> (SessionLock, ended: Int64?) {
        do {
            let name = SessionLock.run(of: projection)
            if let lock = try await SessionLock.take(name, on: connection) { return (lock, nil) }
        } catch let left as SessionLock.LeftSession {
            let (holder, silence) = try await holder(of: projection, on: connection)
            throw ReadModelError.runStale(
                projection: projection,
                holder: holder,
                silence: Int(silence),
                backendPID: left.backendPID
            )
        }
        let (holder, _) = try await holder(of: projection, on: connection)
        guard let stale = try await StaleHolder.run(of: projection, on: connection) else {
            throw ReadModelError.runBusy(projection: projection, holder: holder)
        }
        guard let lock = try await stale.takeOver(on: connection) else {
            throw ReadModelError.runStale(
                projection: projection,
                holder: holder,
                silence: Int(stale.silence),
                backendPID: stale.backendPID
            )
        }
        return (lock, stale.run)
    }

    /// Who is at work, or was last, and the seconds since it was heard of.
    private func holder(
        of projection: String,
        on connection: PostgresConnection
    ) async throws -> (String, silence: Double) {
        let row = try await connection.query(
            """
            SELECT l.pid AS backend, l.taken_at, r.run_id, command, host, r.pid, started_at,
                CASE state WHEN 'running' THEN stage ELSE 'ending' END AS stage,
                coalesce(extract(epoch FROM pg_catalog.clock_timestamp()
                    - coalesce(r.heartbeat_at, l.taken_at)), 0) AS silence
            FROM (SELECT $1::pg_catalog.text AS projection) AS asked
            LEFT JOIN (\(SessionLock.holders("$2"))) AS l ON true
            LEFT JOIN LATERAL (
                SELECT * FROM reprise.run WHERE projection = asked.projection
                ORDER BY run_id DESC LIMIT 1
            ) AS r ON coalesce(r.started_at >= l.taken_at, true)
            """,
            [.text(projection), .text(SessionLock.run(of: projection))]
        ).first
        guard let row else { preconditionFailure("a query of one row gave none") }
        guard let run = try row.optionalInt("run_id") else {
            let session = try row.optionalInt("backend").map { "session \($0)" } ?? "one"
            let since = row["taken_at"].map { ", since \($0)" } ?? ""
            return ("\(session), which is just starting\(since)", try row.double("silence"))
        }
        let holder =
            "run \(run), '\(try row.string("command"))' by process "
            + "\(try row.int("pid")) on \(try row.string("host")), since "
            + "\(try row.string("started_at")), now \(try row.string("stage"))"
        return (holder, try row.double("silence"))
    }
}

extension Run {
    /// Writes how the run ended and gives the lock back, also when its task was cancelled.
    fileprivate func end(state: String, error: String?) async throws {
        let error = error.map { TextForPeople.lines($0) }
        try await connection.executeShielded(
            """
            UPDATE reprise.run SET state = \(SQLText.literal(state)),
                error = \(error.map(SQLText.literal) ?? "NULL"),
                ended_at = pg_catalog.clock_timestamp(),
                heartbeat_at = pg_catalog.clock_timestamp()
            WHERE run_id = \(id)
            """
        )
        try await lock.release(on: connection)
    }
}
