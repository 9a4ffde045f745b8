import Postgres
import Wording

/// The database that holds the read models, and the schema readers find them in.
package struct ReadModelDatabase: Sendable {
    /// The schema of the live tables.
    package let liveSchema: String

    /// How the positions are read and written that projectors keep themselves, by projection.
    package var positionTemplates: [String: PositionTemplate] = [:]

    /// Whether new tables may be sent to those who consume all of them, by a publication that names none.
    package var publishesNewTables = false

    /// What tells this program from others.
    package var program = ProgramIdentity.current

    let settings: ConnectionSettings

    /// Names a database; nothing is opened yet.
    ///
    /// - Parameters:
    ///   - conninfo: A libpq URI or keyword string; empty lets libpq read `PGHOST` and its like.
    ///   - liveSchema: The schema of the live tables.
    package init(conninfo: String, liveSchema: String) {
        settings = ConnectionSettings(conninfo: conninfo, applicationName: "reprise")
        self.liveSchema = liveSchema
    }

    /// Where it is, for messages; never a password.
    package var place: String { settings.summary }

    /// Whether the projection's live projector keeps its position itself; it need not be all of a
    /// ledger's then.
    package func keepsOwnPosition(_ projection: String) -> Bool {
        positionTemplates[projection] != nil
    }

    /// Opens a connection for `body`; what goes wrong inside is a ``ReadModelError``.
    ///
    /// - Parameters:
    ///   - role: What it is for, as `pg_stat_activity` shows it.
    ///   - doing: What goes wrong, for messages.
    ///   - outlivesRun: Whether the session is left alone when another run takes over: those of a
    ///     cut-over end by themselves, and their outcome is asked for.
    ///   - body: What to do with it.
    /// - Returns: What `body` returned.
    /// - Throws: ``ReadModelError``; what else `body` throws.
    func withConnection<Result: Sendable>(
        as role: String,
        doing: String,
        outlivesRun: Bool = false,
        _ body: (PostgresConnection) async throws -> Result
    ) async throws -> Result {
        try await translatingErrors(doing: doing) {
            try await PostgresConnection.withConnection(
                settings.withApplicationName("reprise \(role)")
            ) { connection in
                try assertWritable(connection, for: role)
                if Self.bookkeepers.contains(role) {
                    try await connection.execute("SET lock_timeout = '10s'")
                }
                if !outlivesRun, let lock = SessionLock.current {
                    guard try await lock.mark(connection) else {
                        throw ReadModelError.lockLost(doing: doing)
                    }
                    try await EventTriggerTrust.assert(on: connection)
                }
                do {
                    return try await body(connection)
                } catch let error as ServerError where ["55P03", "40P01"].contains(error.sqlState) {
                    throw ReadModelError.lockedOut(
                        reason: "While \(TextForPeople.line(doing)): \(error.message) "
                            + "(SQLSTATE \(error.sqlState)).",
                        blockers: await blockers(on: connection)
                    )
                }
            }
        }
    }

    /// A standby only reads, which is enough for `status`.
    private func assertWritable(_ connection: PostgresConnection, for role: String) throws {
        guard connection.isStandby, role != "status" else { return }
        throw ReadModelError.unsuitableServer(
            reason: "The server is a standby, which only reads: \(place).",
            remedy: "Name the primary by DATABASE_URL or PGHOST; of several hosts "
                + "target_session_attrs=read-write finds it. "
                + "'\(ProgramName.current) status NAME' works here as well."
        )
    }

    /// Sessions that wait for nobody but those who lock the bookkeeping, and say who that is.
    ///
    /// The others work on tables that applications use, and limit their waiting where it holds up
    /// somebody.
    private static let bookkeepers: Set = [
        "run", "plan", "status", "prune", "remove", "reset", "choose", "resume",
        "discard",
        "ready", "signal", "follow-lock",
    ]

    /// Who may have kept a lock from the session, as far as it can still ask.
    private func blockers(on connection: PostgresConnection) async -> [String] {
        _ = try? await connection.executeShielded("ROLLBACK")
        let found = try? await Blocker.holding(anythingIn: liveSchema, on: connection)
        return (found ?? []).map(\.description)
    }
}

/// Turns what libpq and the server say into ``ReadModelError``; everything else passes.
func translatingErrors<Result: Sendable>(
    doing: String,
    _ body: () async throws -> Result
) async throws -> Result {
    do {
        return try await body()
    } catch {
        throw ReadModelError.translating(error, doing: doing)
    }
}

extension ReadModelError {
    /// An error of a projection's command, which says of which one where that leads on.
    ///
    /// - Parameters:
    ///   - projection: The projection.
    ///   - error: Any error.
    /// - Returns: The same error, or a better one.
    package static func naming(_ projection: String, in error: any Error) -> any Error {
        guard case ReadModelError.diskFull(nil, let doing, let reason, let built) = error else {
            return error
        }
        return ReadModelError.diskFull(
            projection: projection,
            doing: doing,
            reason: reason,
            built: built
        )
    }

    /// The session that holds the lock of this command has ended: another one may have begun.
    static func lockLost(doing: String) -> ReadModelError {
        .unreachable(
            reason: "While \(TextForPeople.line(doing)): the session that holds the lock of this "
                + "command has ended."
        )
    }

    fileprivate static func translating(_ error: any Error, doing: String) -> any Error {
        switch error {
        case let error as ConnectionError where error.isTransient:
            ReadModelError.unreachable(reason: "While \(TextForPeople.line(doing)): \(error)")
        case ConnectionError.descriptorsExhausted:
            ReadModelError.descriptorsExhausted(
                reason: "While \(TextForPeople.line(doing)): \(error)"
            )
        case let error as ConnectionError where error.remedy != nil:
            ReadModelError.unsuitableServer(reason: error.what, remedy: error.remedy ?? "")
        case let error as ConnectionError:
            ReadModelError.refused(reason: "While \(TextForPeople.line(doing)): \(error)")
        case let error as ServerError where error.isTransient:
            ReadModelError.unreachable(reason: "While \(TextForPeople.line(doing)): \(error)")
        case let error as ServerError where error.sqlState == "42501":
            ReadModelError.rightMissing(reason: "While \(TextForPeople.line(doing)): \(error)")
        case let error as ServerError where error.sqlState == "53100":
            ReadModelError.diskFull(projection: nil, doing: doing, reason: "\(error)", built: nil)
        case let error as ServerError:
            ReadModelError.server(doing: doing, reason: "\(error)")
        case let error as TransactionError:
            translating(error.first, doing: doing)
        default: error
        }
    }
}
