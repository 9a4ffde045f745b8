import Foundation
import Postgres
package import ProjectionKit
import Wording

/// Where the live tables stand.
package struct LiveCheckpoint: Equatable, Sendable {
    /// The generation that is live.
    package let generation: Int
    /// The last event that its rows stand for; nil for none.
    package let position: Position?
    /// Whose reducer its rows belong to; nil when nobody recorded it.
    package let program: String?
}

/// Reprise as the live projector of a projection.
///
/// Each batch of events is one transaction: the checkpoint row is locked first, so that a swap that
/// fences the projector and this one exclude each other; then rows and position change together.
/// A session of its own holds the projector's lock, because the code of a table's owner runs in the
/// one that writes, and can free every lock there.
package struct Follower: Sendable {
    private let database: ReadModelDatabase
    private let projection: ProjectionTables
    /// Held by `holder`.
    private let lock: SessionLock
    /// The session that nothing but the bookkeeping keeps waiting.
    private let holder: PostgresConnection
    private let connection: PostgresConnection

    fileprivate init(
        of projection: ProjectionTables,
        in database: ReadModelDatabase,
        under lock: SessionLock,
        of holder: PostgresConnection,
        on connection: PostgresConnection
    ) {
        self.projection = projection
        self.database = database
        self.lock = lock
        self.holder = holder
        self.connection = connection
    }

    /// Where the live tables stand now.
    ///
    /// - Throws: ``ReadModelError/nothingToMove(projection:reason:)`` when nothing is live, or nobody
    ///   knows where it stands; ``ReadModelError/unreachable(reason:)`` when the session that holds
    ///   the projector's lock has ended.
    package func checkpoint() async throws -> LiveCheckpoint {
        try await translatingErrors(doing: "reading the checkpoint of '\(projection.name)'") {
            try await checkpoint(isLocking: false)
        }
    }

    /// The position of the live tables, as a session sees it that nobody keeps waiting.
    ///
    /// - Returns: The last event that their rows stand for; nil for none.
    /// - Throws: ``ReadModelError``.
    package func standing() async throws -> Position? {
        try await translatingErrors(doing: "reading the checkpoint of '\(projection.name)'") {
            try await holder.query(
                "SELECT position FROM reprise.checkpoint WHERE projection = $1",
                [.text(projection.name)]
            ).first?["position"].flatMap { Position($0) }
        }
    }

    /// Gets ready to write the tables that are live now.
    ///
    /// - Parameter acceptingOtherProgram: Whether rows that another program made are continued.
    /// - Returns: The tables.
    /// - Throws: ``ReadModelError``, as ``checkpoint()``; ``ReadModelError/otherProgram(_:)`` when
    ///   another program made the rows.
    package func attach(acceptingOtherProgram: Bool = false) async throws -> FollowedTables {
        guard !database.keepsOwnPosition(projection.name) else {
            throw ReadModelError.nothingToMove(
                projection: projection.name,
                reason:
                    "By the settings the live projector of '\(projection.name)' keeps its position "
                    + "in a table of its own. '\(ProgramName.current) follow' keeps it in reprise.checkpoint, and the "
                    + "two together would apply events twice."
            )
        }
        return try await translatingErrors(doing: "looking at the tables of '\(projection.name)'") {
            while true {
                do {
                    return try await connection.withTransaction {
                        try await attach(acceptingOtherProgram, on: $0)
                    }
                } catch let error as ServerError where error.isLockFailure {
                    try Task.checkCancellation()
                }
            }
        }
    }

    private func attach(
        _ acceptsOtherProgram: Bool,
        on connection: PostgresConnection
    ) async throws -> FollowedTables {
        // Held while the tables are looked at, so that nobody swaps them in between.
        let found = try await checkpoint(isLocking: true)
        let program = database.identity(of: projection)
        let provenance = try await Bookkeeping.provenance(
            of: found.generation,
            of: projection.name,
            on: connection
        )
        if let maker = provenance?.program, maker != program, !acceptsOtherProgram {
            throw ReadModelError.otherProgram(
                OtherProgram(
                    projection: projection.name,
                    generation: found.generation,
                    command: "follow"
                )
            )
        }
        let records = try await Bookkeeping.generations(of: projection.name, on: connection)
        // A table under a live name that is not the recorded one is refused here.
        let live = try await LiveTables.find(
            of: projection.name,
            declared: projection.tables.map(\.name),
            schema: database.liveSchema,
            records: records,
            on: connection
        )
        let refusals = try await Hazard.ofFollowing(live.oids, on: connection)
        guard refusals.isEmpty else {
            throw ReadModelError.refusedByPlan(
                projection: projection.name,
                reasons: refusals.map(\.text)
            )
        }
        let exchange = try await RowExchange(
            of: projection,
            in: database.liveSchema,
            on: connection
        )
        return FollowedTables(
            checkpoint: found,
            provenance: provenance,
            exchange: exchange,
            connection: connection
        )
    }

    /// Makes the live rows this program's: from now on every other one is refused.
    ///
    /// - Parameter tables: What was attached to.
    /// - Returns: Where the live tables stand; nil when they stand elsewhere by now.
    /// - Throws: ``ReadModelError``.
    package func claim(_ tables: FollowedTables) async throws -> LiveCheckpoint? {
        let program = database.identity(of: projection)
        let found = tables.checkpoint
        if found.program == program { return found }
        return try await translatingErrors(doing: "following '\(projection.name)'") {
            do {
                return try await connection.withTransaction { connection in
                    guard try await checkpoint(isLocking: true) == found else { return nil }
                    try await record(program: program, on: connection)
                    return LiveCheckpoint(
                        generation: found.generation,
                        position: found.position,
                        program: program
                    )
                }
            } catch let error as ServerError where error.isLockFailure {
                return nil
            }
        }
    }

    /// Changes rows and position in one transaction, if the live tables stand where they are thought
    /// to stand.
    ///
    /// - Parameters:
    ///   - tables: The live tables.
    ///   - expected: Where they are thought to stand.
    ///   - fold: Its journal holds what is to be written after `body`.
    ///   - body: Applies events to the fold, with the checkpoint row locked; it returns where the rows
    ///     stand afterwards.
    /// - Returns: Where the live tables stand now; nil when they stood elsewhere, because somebody
    ///   has swapped, rolled back or projected, or a lock was not to be had: nothing is changed then,
    ///   and the fold is of no use any more.
    /// - Throws: ``ReadModelError``; what `body` throws.
    package func apply(
        to tables: FollowedTables,
        at expected: LiveCheckpoint,
        _ fold: any Fold,
        _ body: @Sendable () async throws -> Position?
    ) async throws -> LiveCheckpoint? {
        do {
            let next = try await translatingErrors(doing: "following '\(projection.name)'") {
                do {
                    return try await connection.withTransaction { connection in
                        guard try await checkpoint(isLocking: true) == expected else {
                            throw Moved()
                        }
                        let position = try await body()
                        _ = try await tables.exchange.write(fold, on: connection)
                        try await record(position, on: connection)
                        return LiveCheckpoint(
                            generation: expected.generation,
                            position: position,
                            program: expected.program
                        )
                    }
                } catch let error as ServerError where error.isLockFailure {
                    throw Moved()
                }
            }
            for table in fold.tables { table.settleChanges() }
            return next
        } catch is Moved {
            return nil
        }
    }

    /// Tells `status` how it goes, also while a transaction is on.
    ///
    /// - Throws: ``ReadModelError``.
    package func report(_ report: FollowReport) async throws {
        try await reporting {
            _ = try await holder.query(
                """
                UPDATE reprise.follower SET heartbeat_at = pg_catalog.clock_timestamp(),
                    generation = $2, events = $3, late_events = $4, lag_events = $5,
                    lag_seconds = $6, buckets = $7
                WHERE projection = $1 AND EXISTS (\(lock.holdQuery))
                """,
                [
                    .text(projection.name), .int(Int64(report.generation)),
                    .int(Int64(report.events)), .int(Int64(report.lateEvents)),
                    .int(Int64(report.lagEvents)), .text("\(report.lagSeconds)"),
                    .text(report.buckets),
                ]
            )
        }
    }

    /// Tells `status` how far the rows are behind, while they stand still.
    ///
    /// - Parameters:
    ///   - events: Events that are still to be applied.
    ///   - seconds: How long ago the ledger ended where the live tables stand.
    /// - Returns: Whom the writing session waits for now.
    /// - Throws: ``ReadModelError``.
    package func reportLag(events: Int, seconds: Double) async throws -> [String] {
        try await reporting {
            try await holder.query(
                """
                UPDATE reprise.follower SET heartbeat_at = pg_catalog.clock_timestamp(),
                    lag_events = $2, lag_seconds = $3
                WHERE projection = $1
                """,
                [.text(projection.name), .int(Int64(events)), .text("\(seconds)")]
            )
        }
        return try await waitsFor()
    }

    /// Whom the writing session waits for now.
    ///
    /// - Throws: ``ReadModelError``.
    package func waitsFor() async throws -> [String] {
        try await translatingErrors(doing: "looking what '\(projection.name)' waits for") {
            try await Blocker.blocking(connection.backendPID, on: holder).map(\.description)
        }
    }

    /// A lock on the bookkeeping holds up a report and nothing else.
    private func reporting(_ body: () async throws -> Void) async throws {
        try await translatingErrors(doing: "recording how '\(projection.name)' is followed") {
            do { try await body() } catch let error as ServerError where error.isLockFailure {}
        }
    }

    /// What the last follower of a generation has recorded of the newest buckets; nil when the last
    /// one followed another.
    ///
    /// - Throws: ``ReadModelError``.
    package func recordedBuckets(of generation: Int) async throws -> String? {
        try await translatingErrors(doing: "reading how '\(projection.name)' was followed") {
            try await connection.query(
                "SELECT buckets FROM reprise.follower WHERE projection = $1 AND generation = $2",
                [.text(projection.name), .int(Int64(generation))]
            ).first?["buckets"]
        }
    }

    /// The tables stood elsewhere.
    private struct Moved: Error {}

    private func checkpoint(isLocking: Bool) async throws -> LiveCheckpoint {
        // The server looks for the lock when it has the row, which it may have waited for.
        let found = try await connection.query(
            """
            WITH standing AS MATERIALIZED (
                SELECT generation, position, program FROM reprise.checkpoint WHERE projection = $1
                \(isLocking ? "FOR UPDATE" : "")
            )
            SELECT generation, position, program, EXISTS (\(lock.holdQuery)) AS holds_lock FROM standing
            """,
            [.text(projection.name)]
        )
        guard let row = found.first else {
            throw ReadModelError.nothingToMove(
                projection: projection.name,
                reason: "Nobody knows where the live tables of '\(projection.name)' stand in the "
                    + "ledger: it has no row in reprise.checkpoint, which "
                    + "'\(ProgramName.current) rebuild' makes."
            )
        }
        guard try row.bool("holds_lock") else {
            throw ReadModelError.lockLost(doing: "following '\(projection.name)'")
        }
        let text = row["position"]
        let position = text.flatMap { Position($0) }
        guard (text == nil) == (position == nil) else {
            throw ReadModelError.nothingToMove(
                projection: projection.name,
                reason: "The checkpoint of '\(projection.name)' is no position of a ledger."
            )
        }
        let generation = Int(try row.int("generation"))
        if position == nil { try await assertBuilt(generation) }
        return LiveCheckpoint(
            generation: generation,
            position: position,
            program: row["program"]
        )
    }

    /// Without a position a generation that was built stands at the ledger's beginning; of one that
    /// was adopted nobody knows.
    private func assertBuilt(_ generation: Int) async throws {
        let found = try await connection.query(
            """
            SELECT FROM reprise.generation
            WHERE projection = $1 AND generation = $2 AND run_id IS NOT NULL
            """,
            [.text(projection.name), .int(Int64(generation))]
        )
        guard found.rows.isEmpty else { return }
        throw ReadModelError.nothingToMove(
            projection: projection.name,
            reason: "Nobody knows where generation \(generation) of '\(projection.name)' stands in "
                + "the ledger: its tables were there before the first rebuild."
        )
    }

    private func record(program: String?, on connection: PostgresConnection) async throws {
        try await connection.query(
            "UPDATE reprise.checkpoint SET program = $2 WHERE projection = $1",
            [.text(projection.name), program.map { .text($0) } ?? .null]
        )
    }

    /// Keeps what the live rows are made of, for the next command that continues from it.
    ///
    /// - Parameters:
    ///   - origin: What they are made of.
    ///   - checkpoint: Where they stand; nothing is kept when they stand elsewhere by now.
    /// - Throws: ``ReadModelError``.
    package func record(_ origin: RowOrigin, at checkpoint: LiveCheckpoint) async throws {
        try await translatingErrors(doing: "recording what '\(projection.name)' is made of") {
            do {
                try await connection.withTransaction { connection in
                    // Others may hold the row as long as they like, and the lag is reported all the same.
                    try await connection.execute("SET LOCAL lock_timeout = '200ms'")
                    try await connection.query(
                        """
                        UPDATE reprise.checkpoint
                        SET ledger = $2, counted_position = $3, counted_events = $4, digest = $5
                        WHERE projection = $1 AND generation = $6
                            AND position IS NOT DISTINCT FROM $7
                            AND program IS NOT DISTINCT FROM $8 AND EXISTS (\(lock.holdQuery))
                        """,
                        [.text(projection.name)] + origin.values + [
                            .int(Int64(checkpoint.generation)),
                            checkpoint.position.map { .text("\($0)") } ?? .null,
                            checkpoint.program.map { .text($0) } ?? .null,
                        ]
                    )
                }
            } catch let error as ServerError where error.isLockFailure {
                // The next report keeps it.
            }
        }
    }

    private func record(_ position: Position?, on connection: PostgresConnection) async throws {
        try await connection.query(
            """
            UPDATE reprise.checkpoint SET position = $2, updated_at = pg_catalog.now()
            WHERE projection = $1
            """,
            [.text(projection.name), position.map { .text("\($0)") } ?? .null]
        )
    }
}

/// The live tables of a generation, as the follower's session writes them.
package struct FollowedTables: Sendable {
    /// Where they stood when they were looked at.
    package let checkpoint: LiveCheckpoint
    /// How their rows came to be.
    package let provenance: Provenance?
    fileprivate let exchange: RowExchange
    fileprivate let connection: PostgresConnection

    /// Why a fold cannot go on from the tables' rows alone, as a clause; nil when it can.
    package func obstacleToReadingBack(_ fold: any Fold) -> String? {
        exchange.obstacleToReadingBack(fold)
    }

    /// Gives a fold's tables the rows that they want, in the transaction of
    /// ``Follower/apply(to:at:_:_:)``.
    ///
    /// - Throws: ``ReadModelError``.
    package func fetch(for fold: any Fold) async throws {
        try await exchange.fetch(for: fold, on: connection)
    }
}

/// How far a follower is.
package struct FollowReport: Sendable {
    /// The generation that it writes.
    package let generation: Int
    /// Events applied since it began.
    package let events: Int
    /// Events among them that came late.
    package let lateEvents: Int
    /// Events that are still to be applied.
    package let lagEvents: Int
    /// How long ago the ledger ended where the live tables stand, in seconds.
    package let lagSeconds: Double
    /// A JSON object: events by the millisecond at which their bucket begins, of the newest buckets.
    package let buckets: String

    /// Makes a report.
    package init(
        generation: Int,
        events: Int,
        lateEvents: Int,
        lagEvents: Int,
        lagSeconds: Double,
        buckets: String
    ) {
        self.generation = generation
        self.events = events
        self.lateEvents = lateEvents
        self.lagEvents = lagEvents
        self.lagSeconds = lagSeconds
        self.buckets = buckets
    }
}

extension PostgresConnection {
    /// Has the server end the session when this process stands still in a transaction: no cut-over gets
    /// the checkpoint row that it has locked.
    fileprivate func limitIdleTransactions() async throws {
        try await execute("SET idle_in_transaction_session_timeout = '5s'")
    }
}

extension ReadModelDatabase {
    /// Takes the projector's lock for the time of `body`.
    ///
    /// It is not the lock of a run: rebuilds, swaps and rollbacks go on beside it. The sessions of a
    /// follower that was not heard of for a minute are ended.
    ///
    /// - Parameters:
    ///   - projection: What is followed.
    ///   - body: The work.
    /// - Returns: What `body` returns.
    /// - Throws: ``ReadModelError/followerBusy(projection:holder:)`` when another one follows;
    ///   ``ReadModelError/followerStale(projection:holder:silence:backendPID:)`` when it is not heard
    ///   of, and its sessions cannot be ended; what `body` throws.
    package func withFollower<Result: Sendable>(
        of projection: ProjectionTables,
        _ body: (Follower) async throws -> Result
    ) async throws -> Result {
        let doing = "following '\(projection.name)'"
        return try await withConnection(as: "follow-lock", doing: doing) { holder in
            try await holder.limitIdleTransactions()
            try await EventTriggerTrust.assert(on: holder)
            try await Bookkeeping.migrate(
                for: projection.name,
                publishing: publishesNewTables,
                on: holder
            )
            try await assertLimits(allow: 1, on: holder)
            let lock = try await takeLock(of: projection.name, on: holder)
            try await begin(projection.name, on: holder)
            do {
                let result = try await SessionLock.$current.withValue(lock) {
                    try await Heartbeat.whileRunning(
                        """
                        UPDATE reprise.follower SET heartbeat_at = pg_catalog.clock_timestamp()
                        WHERE projection = $1
                        """,
                        .text(projection.name),
                        on: holder
                    ) {
                        try await withConnection(as: "follow", doing: doing) {
                            try await $0.limitIdleTransactions()
                            return try await body(
                                Follower(of: projection, in: self, under: lock, of: holder, on: $0)
                            )
                        }
                    }
                }
                try? await end(projection.name, on: holder)
                return result
            } catch {
                let error = ReadModelError.naming(projection.name, in: error)
                try? await end(projection.name, error: error, on: holder)
                throw error
            }
        }
    }

    /// Whether somebody followed the generation that another program made, and this one has replaced.
    ///
    /// - Parameters:
    ///   - projection: The projection.
    ///   - program: Who made the generation that was live before; nil when nobody knows.
    /// - Returns: Whether there was a follower that has not been stopped by its user.
    /// - Throws: ``ReadModelError``.
    package func leftFollower(
        of projection: ProjectionTables,
        byProgram program: String?
    ) async throws -> Bool {
        guard let program, program != identity(of: projection) else { return false }
        return try await withConnection(as: "follow", doing: "looking for a follower") {
            try await !$0.query(
                """
                SELECT FROM reprise.follower
                WHERE projection = $1 AND (ended_at IS NULL OR error IS NOT NULL)
                """,
                [.text(projection.name)]
            ).rows.isEmpty
        }
    }

    /// The server may need a moment to notice that an earlier follower has died.
    private func takeLock(
        of projection: String,
        on connection: PostgresConnection
    ) async throws -> SessionLock {
        let name = SessionLock.follower(of: projection)
        var unended: (backendPID: Int32, silence: Double)?
        do {
            try await SessionLock.awaitEnd(of: name, patience: "5s", on: connection)
            if let lock = try await SessionLock.take(name, on: connection) { return lock }
        } catch let error as ServerError where error.isLockFailure {
        } catch let left as SessionLock.LeftSession {
            unended = (left.backendPID, 0)
        }
        if let stale = try await StaleHolder.follower(of: projection, on: connection) {
            if let lock = try await stale.takeOver(on: connection) { return lock }
            unended = (stale.backendPID, stale.silence)
        }
        let holder = try await follower(of: projection, on: connection)
        guard let unended else {
            throw ReadModelError.followerBusy(projection: projection, holder: holder)
        }
        throw ReadModelError.followerStale(
            projection: projection,
            holder: holder,
            silence: Int(unended.silence),
            backendPID: unended.backendPID
        )
    }

    private func follower(
        of projection: String,
        on connection: PostgresConnection
    ) async throws -> String {
        let row = try await connection.query(
            """
            SELECT f.host, f.pid, f.started_at FROM reprise.follower AS f
            WHERE f.projection = $1 AND NOT EXISTS (
                SELECT FROM (\(SessionLock.holders("$2"))) AS l WHERE f.started_at < l.taken_at)
            """,
            [.text(projection), .text(SessionLock.follower(of: projection))]
        ).first
        guard let row else { return "one that is just starting" }
        return "process \(try row.int("pid")) on \(try row.string("host")), since "
            + "\(try row.string("started_at"))"
    }

    private func begin(_ projection: String, on connection: PostgresConnection) async throws {
        try await connection.query(
            """
            INSERT INTO reprise.follower (projection, host, pid) VALUES ($1, $2, $3)
            ON CONFLICT (projection) DO UPDATE SET host = excluded.host, pid = excluded.pid,
                started_at = pg_catalog.now(), heartbeat_at = pg_catalog.now(), ended_at = NULL,
                events = 0, late_events = 0, lag_events = NULL, lag_seconds = NULL, error = NULL
            """,
            [
                .text(projection), .text(ProcessInfo.processInfo.hostName),
                .int(Int64(ProcessInfo.processInfo.processIdentifier)),
            ]
        )
    }

    private func end(
        _ projection: String,
        error: (any Error)? = nil,
        on connection: PostgresConnection
    ) async throws {
        let text = error.flatMap { $0 is CancellationError ? nil : TextForPeople.lines("\($0)") }
        try await connection.executeShielded(
            """
            UPDATE reprise.follower SET ended_at = pg_catalog.clock_timestamp(),
                heartbeat_at = pg_catalog.clock_timestamp(),
                error = \(text.map(SQLText.literal) ?? "NULL")
            WHERE projection = \(SQLText.literal(projection))
            """
        )
    }
}
