import Postgres
import ProjectionKit
import Wording

/// Where the live tables stand, as a projector says that keeps its position itself.
enum OwnPosition: Sendable {
    /// It keeps none: `reprise.checkpoint` says it.
    case inCheckpoint
    /// There; nil is the beginning.
    case at(Position?)
    /// Somebody holds it.
    case held

    /// The checkpoint with this position in the place of its own.
    ///
    /// One that somebody holds is unknown, and nothing is judged by it: whoever decides waits until
    /// it can lock it.
    func replacing(_ checkpoint: CheckpointRecord?) -> CheckpointRecord? {
        switch self {
        case .inCheckpoint: return checkpoint
        case .held: return nil
        case .at(let position):
            guard let position else { return nil }
            return CheckpointRecord(
                generation: checkpoint?.generation ?? 0,
                position: "\(position)",
                ledger: checkpoint?.ledger
            )
        }
    }
}

extension ReadModelDatabase {
    /// Where the live tables stand, wherever that is kept; keeps no lock.
    func checkpoint(
        of projection: String,
        on connection: PostgresConnection
    ) async throws -> CheckpointRecord? {
        try await ownPosition(of: projection, on: connection)
            .replacing(try await Bookkeeping.checkpoint(of: projection, on: connection))
    }

    /// Where the projector says that the live tables stand.
    ///
    /// What it locks to read it is let go at once.
    func ownPosition(
        of projection: String,
        on connection: PostgresConnection
    ) async throws -> OwnPosition {
        guard positionTemplates[projection] != nil else { return .inCheckpoint }
        return try await connection.undoing { connection in
            do {
                return try await lockOwnPosition(of: projection, on: connection)
            } catch let error as ServerError where error.isLockFailure {
                return .held
            }
        }
    }

    /// Locks the position where the projector keeps it, for the rest of the transaction.
    ///
    /// - Throws: ``ReadModelError/positionUnreadable(projection:reason:)``; ``ServerError`` when the
    ///   lock is not to be had in time.
    func lockOwnPosition(
        of projection: String,
        on connection: PostgresConnection
    ) async throws -> OwnPosition {
        guard let template = positionTemplates[projection] else { return .inCheckpoint }
        do {
            let answer = try await connection.execute(template.reading(of: projection))
            guard await connection.transactionStatus == .inTransaction else {
                throw PositionTemplate.Complaint("read", "ends the transaction")
            }
            return .at(try template.position(in: answer))
        } catch let complaint as PositionTemplate.Complaint {
            throw ReadModelError.positionUnreadable(
                projection: projection,
                reason: "'\(complaint.field)' \(complaint.reason)"
            )
        } catch let error as ServerError where !error.isLockFailure {
            throw ReadModelError.positionUnreadable(
                projection: projection,
                reason: "'read' fails: \(TextForPeople.oneLine(error))"
            )
        }
    }

    /// What writes a generation's position where the projector keeps it; nothing where it keeps none.
    ///
    /// - Throws: ``ReadModelError/positionMisfit(projection:generation:position:format:)``,
    ///   ``ReadModelError/positionUnknown(projection:generation:)``.
    func positionWrite(of target: GenerationRecord) throws -> [String] {
        // Tables that were adopted stand somewhere, and not at the beginning.
        if positionTemplates[target.projection] != nil, target.position == nil, target.events != 0 {
            throw ReadModelError.positionUnknown(
                projection: target.projection,
                generation: target.number
            )
        }
        return try positionWrite(
            of: target.projection,
            generation: target.number,
            position: target.position
        )
    }

    /// The same for a position; nil is the beginning.
    func positionWrite(
        of projection: String,
        generation: Int,
        position: String?
    ) throws -> [String] {
        guard let template = positionTemplates[projection] else { return [] }
        let words = position.flatMap { Position($0) }
        let write = template.writing(words, generation: generation, of: projection)
        guard let write, (words == nil) == (position == nil) else {
            throw ReadModelError.positionMisfit(
                projection: projection,
                generation: generation,
                position: position ?? "the beginning",
                format: template.format
            )
        }
        return [write]
    }

    /// Who keeps the position locked where the projector keeps it.
    ///
    /// Only the server knows which rows a template locks, so that somebody has to wait for them to
    /// see who is in the way.
    func holdersOfOwnPosition(
        of projection: String,
        on connection: PostgresConnection
    ) async throws -> [Blocker] {
        guard positionTemplates[projection] != nil else { return [] }
        return try await withConnection(as: "blockers", doing: "looking who holds the position") {
            waiter in
            try await withThrowingTaskGroup(of: [Blocker].self) { group in
                group.addTask {
                    // It fails when it has waited long enough, and that is no news.
                    _ = try? await ownPosition(of: projection, on: waiter)
                    return []
                }
                group.addTask {
                    while true {
                        let found = try await Blocker.blocking(waiter.backendPID, on: connection)
                        guard found.isEmpty else { return found }
                    }
                }
                defer { group.cancelAll() }
                return try await group.next() ?? []
            }
        }
    }
}

extension PostgresConnection {
    /// Runs `body` and takes back what it did and what it has locked, inside a transaction or not.
    ///
    /// Nothing in it waits longer than half a second for a lock.
    func undoing<Result: Sendable>(
        isolation: isolated (any Actor)? = #isolation,
        _ body: (PostgresConnection) async throws -> Result
    ) async throws -> Result {
        guard await transactionStatus == .idle else { return try await undoingInside(body) }
        return try await withTransaction { try await $0.undoingInside(body) }
    }

    private func undoingInside<Result: Sendable>(
        isolation: isolated (any Actor)? = #isolation,
        _ body: (PostgresConnection) async throws -> Result
    ) async throws -> Result {
        try await execute("SAVEPOINT undo; SET LOCAL lock_timeout = '500ms'")
        do {
            try await setSearchPath([])
            let result = try await body(self)
            try await execute("ROLLBACK TO undo; RELEASE undo")
            return result
        } catch {
            // The first error is the one worth reading.
            _ = try? await executeShielded("ROLLBACK TO undo; RELEASE undo")
            throw error
        }
    }
}
