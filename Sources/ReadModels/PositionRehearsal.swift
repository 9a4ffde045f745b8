import Postgres
import ProjectionKit
import Wording

/// Tries a position template while a rebuild is planned, and takes back what it did: whoever learns
/// at the cut-over that it does not work has folded and loaded for nothing.
struct PositionRehearsal: Sendable {
    let database: ReadModelDatabase
    let projection: String
    /// The generation that would be built.
    let generation: Int
    /// Where the ledger ends; nil when it is empty, or not looked at.
    let ledgerEnd: Position?

    /// Where the live tables stand, and a line about the template; none where there is no template.
    func findings(
        on connection: PostgresConnection
    ) async throws -> (checkpoint: CheckpointRecord?, lines: [Finding]) {
        let recorded =
            try await Bookkeeping.version(on: connection) == 0
            ? nil : try await Bookkeeping.checkpoint(of: projection, on: connection)
        guard let template = database.positionTemplates[projection] else { return (recorded, []) }
        do {
            return try await connection.undoing { connection in
                let position = try await read(template, on: connection)
                let isLocked = try await keepsOthersWaiting(template, position, on: connection)
                // Before anything is written, which a template that ends the transaction would keep.
                let others = try await positionsOfOthers(on: connection)
                try await write(template, position, on: connection)
                guard isLocked else { throw Refusal(reason: Self.unlocked) }
                try await assertApart(template, others, on: connection)
                let checkpoint = OwnPosition.at(position).replacing(recorded)
                return (checkpoint, [kept(at: checkpoint?.position)])
            }
        } catch let error as ServerError where error.isLockFailure {
            return (nil, [Finding(.warn, Self.subject, Self.held)])
        } catch let refusal as Refusal {
            return (nil, [Finding(.refuse, Self.subject, refusal.reason)])
        } catch let error as ReadModelError {
            // A template that has ended the transaction leaves nothing to plan in.
            guard case .positionUnreadable(_, let reason) = error,
                await connection.transactionStatus == .inTransaction
            else { throw error }
            return (nil, [Finding(.refuse, Self.subject, "its template does not work: \(reason)")])
        }
    }

    private struct Refusal: Error {
        let reason: String
    }

    private static let subject = "position of the projector"
    private static let unlocked = """
        'read' does not keep others from writing the position, so that the projector would go on during \
        the cut-over; end it with FOR UPDATE
        """
    private static let held = """
        somebody holds it now, so that its template could not be tried; the cut-over waits for it
        """

    private func kept(at position: String?) -> Finding {
        Finding(
            .ok,
            Self.subject,
            "kept outside of reprise.checkpoint, at \(position ?? "the beginning"); the cut-over locks "
                + "it and writes it in the same transaction"
        )
    }

    private func read(
        _ template: PositionTemplate,
        on connection: PostgresConnection
    ) async throws -> Position? {
        let before = try await connection.rowLocks()
        guard
            case .at(let position) = try await database.lockOwnPosition(
                of: projection,
                on: connection
            )
        else { return nil }
        guard try await connection.rowLocks() > before else {
            throw Refusal(
                reason: "'read' locks nothing, so that the projector would go on during the "
                    + "cut-over; end it with FOR UPDATE"
            )
        }
        return position
    }

    /// Whether another session cannot write the position now, whatever it is.
    private func keepsOthersWaiting(
        _ template: PositionTemplate,
        _ position: Position?,
        on connection: PostgresConnection
    ) async throws -> Bool {
        let found = try await connection.execute(template.reading(of: projection))
        // What stands there already breaks no rule of the table.
        let sql = template.statement(
            for: position ?? Position(1),
            generation: generation,
            of: projection
        )
        // Where there is no row yet, there is nothing that anybody could lock.
        guard !found.rows.isEmpty, let sql else { return true }
        return try await database.withConnection(as: "position", doing: "trying a template") {
            try await $0.undoing { other in
                do {
                    // The projector waits as long.
                    try await other.execute("SET LOCAL lock_timeout = '50ms'")
                    try await other.query(sql)
                    return false
                } catch is ServerError {
                    // What is wrong with it besides a lock is said by the session that is to write.
                    return true
                }
            }
        }
    }

    /// What the templates of the other projections read now, by projection.
    private func positionsOfOthers(
        on connection: PostgresConnection
    ) async throws -> [String: [String?]] {
        var positions: [String: [String?]] = [:]
        let transaction = try await connection.virtualTransaction()
        for (other, template) in database.positionTemplates where other != projection {
            // What does not work there is said where that one is planned. A row that somebody holds is
            // not this projection's.
            let found = try? await connection.undoing {
                // This projection's own row is locked meanwhile.
                try await $0.execute("SET LOCAL lock_timeout = '10ms'")
                return try await $0.execute(template.reading(of: other)).rows.map { $0[0] }
            }
            if let found { positions[other] = found }
            guard try await connection.virtualTransaction() == transaction else {
                throw ReadModelError.positionUnreadable(
                    projection: other,
                    reason: "'read' ends the transaction"
                )
            }
        }
        return positions
    }

    /// Asserts that no other projection's position changes with this one's: a swap of one would take
    /// the position of the other along, and with it the events in between.
    private func assertApart(
        _ template: PositionTemplate,
        _ before: [String: [String?]],
        on connection: PostgresConnection
    ) async throws {
        for probe in [Position(1), Position(2)] {
            let sql = template.statement(for: probe, generation: generation, of: projection)
            guard let sql else { continue }
            let after = try? await connection.undoing { connection in
                try await connection.execute(sql)
                return try await positionsOfOthers(on: connection)
            }
            // What does not take these positions may take those of the ledger.
            guard let after else { continue }
            let moved = before.keys.filter { after[$0] != before[$0] }.sorted()
            guard let other = moved.first else { continue }
            throw Refusal(
                reason: "'write' writes the position of '\(other)' as well, so that a swap of one "
                    + "would skip events of the other; give each projection a row of its own"
            )
        }
    }

    private func write(
        _ template: PositionTemplate,
        _ position: Position?,
        on connection: PostgresConnection
    ) async throws {
        // A column that takes no NULL is not written with one: at the beginning of an empty ledger
        // nothing is rebuilt in earnest.
        let wanted = ledgerEnd ?? position ?? Position(1)
        try await write(template, wanted, on: connection)
        // A rollback writes an earlier one.
        if let position, position != wanted { try await write(template, position, on: connection) }
        let statement = template.statement(for: wanted, generation: generation, of: projection)
        guard let statement else { return }
        do {
            // The server prepares one statement only, and of several the last alone is counted.
            try await connection.query("EXPLAIN \(statement)")
        } catch let error as ServerError where error.sqlState == "42601" {
            throw Refusal(reason: "'write' is more than one statement")
        }
    }

    private func write(
        _ template: PositionTemplate,
        _ position: Position,
        on connection: PostgresConnection
    ) async throws {
        guard let sql = template.writing(position, generation: generation, of: projection) else {
            throw Refusal(
                reason: "the format '\(template.format.rawValue)' cannot hold this ledger's "
                    + "positions, such as \(position); 'text' holds every one"
            )
        }
        do {
            try await connection.execute(sql)
        } catch let error as ServerError where error.sqlState == SwapBatch.SQLState.unwritten {
            throw Refusal(reason: "'write' changes \(error.changedRows) rows; it must be one")
        } catch let error as ServerError where error.sqlState == SwapBatch.SQLState.misread {
            throw Refusal(reason: Self.misread)
        } catch let error as ServerError where !error.isLockFailure {
            throw Refusal(reason: "'write' fails: \(TextForPeople.oneLine(error))")
        }
        // In SQL a text of the type char(n) has lost its blanks.
        let answer = try await connection.execute(template.reading(of: projection))
        guard template.isRead(position, in: answer) else { throw Refusal(reason: Self.misread) }
    }

    fileprivate static let misread = """
        'read' gives another position than 'write' has written; the two must name the same row and \
        the same column, and the column must keep a whole position
        """
}

extension PositionTemplate {
    /// Whether the statement that reads has given a position.
    fileprivate func isRead(_ position: Position, in answer: QueryResult) -> Bool {
        guard let found = try? self.position(in: answer) ?? Position(0) else { return false }
        return found == position
    }
}

extension ServerError {
    /// How many rows a template changed that must change one.
    fileprivate var changedRows: String { detail ?? "other" }

    /// Whether a position template has changed other than one row, or reads something else.
    var isOfPositionTemplate: Bool {
        [SwapBatch.SQLState.unwritten, SwapBatch.SQLState.misread].contains(sqlState)
    }
}

extension ReadModelError {
    /// What a cut-over says whose template did not write the position.
    static func unwritten(_ error: ServerError, of projection: String) -> ReadModelError {
        guard error.sqlState == SwapBatch.SQLState.misread else {
            return .positionUnwritten(projection: projection, rows: error.changedRows)
        }
        return .positionUnreadable(projection: projection, reason: PositionRehearsal.misread)
    }
}

extension PostgresConnection {
    /// Which transaction is open, also before it has a number; another one outside of any.
    fileprivate func virtualTransaction() async throws -> String {
        guard transactionStatus == .inTransaction else { return "none" }
        return try await query(
            """
            SELECT virtualtransaction FROM pg_catalog.pg_locks
            WHERE pid = pg_catalog.pg_backend_pid() AND locktype = 'virtualxid'
            """
        ).first?.string("virtualtransaction") ?? "none"
    }

    /// How many relations this session has locked as FOR UPDATE and stronger locks do.
    fileprivate func rowLocks() async throws -> Int64 {
        let row = try await query(
            """
            SELECT pg_catalog.count(*) AS locks FROM pg_catalog.pg_locks
            WHERE pid = pg_catalog.pg_backend_pid() AND locktype = 'relation'
                AND mode <> 'AccessShareLock'
            """
        ).first
        return try row?.int("locks") ?? 0
    }
}
