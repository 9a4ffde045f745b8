import Postgres
import Wording

/// The standbys that a COMMIT may have to wait for (`synchronous_standby_names`).
///
/// Sessions of ours commit without waiting (``SessionSettings``): a cut-over would hold its locks for as
/// long, and bookkeeping would stop with the standby. They are waited for here alone, where no lock is
/// held, for a limited time, and as the role's own `synchronous_commit` asks. A standby that takes over
/// has tables, position and bookkeeping of one moment, whether that was waited for or not.
enum SynchronousStandbys {
    /// Waits until they have what was committed before, by a small commit.
    ///
    /// - Parameters:
    ///   - limit: How long.
    ///   - connection: In no transaction.
    /// - Returns: Whether they have it; true where the server or the role waits for none.
    /// - Throws: What the server says; `CancellationError`.
    static func haveEverything(
        within limit: Duration,
        on connection: PostgresConnection
    ) async throws -> Bool {
        let isThere = try await withThrowingTaskGroup(of: Bool.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                try await connection.withTransaction { try await $0.execute(write) }
                return true
            }
            group.addTask {
                try await Task.sleep(for: limit)
                return false
            }
            return try await group.next() ?? false
        }
        // A COMMIT that is interrupted while it waits has been done, and says so.
        try Task.checkCancellation()
        return isThere
    }

    /// Leaves no row, and locks none that another session may want.
    private static let write = """
        SELECT pg_catalog.set_config('synchronous_commit',
            CASE s.reset_val WHEN 'off' THEN 'local' ELSE s.reset_val END, true)
        FROM pg_catalog.pg_settings AS s WHERE s.name = 'synchronous_commit';
        INSERT INTO reprise.session_mark (key, name, pid, role)
        VALUES (- pg_catalog.pg_backend_pid(), '', pg_catalog.pg_backend_pid(), 0);
        DELETE FROM reprise.session_mark WHERE key = - pg_catalog.pg_backend_pid()
        """

    /// Who is not there, or is behind, in words.
    static func lagging(on connection: PostgresConnection) async throws -> String {
        let row = try await connection.query(
            "SELECT pg_catalog.current_setting('synchronous_standby_names') AS names"
        ).first
        return "synchronous_standby_names '\(TextForPeople.line(row?["names"] ?? ""))'"
    }
}

extension ReadModelDatabase {
    /// Waits until the synchronous standbys have a cut-over that has taken place, for 30 s.
    ///
    /// - Parameter notice: Told what is waited for.
    /// - Returns: A sentence where they do not have it.
    func awaitStandbys(notice: @escaping @Sendable (String) -> Void) async -> [String] {
        do {
            return try await withConnection(
                as: "standby",
                doing: "waiting for the synchronous standbys"
            ) { connection in
                if try await SynchronousStandbys.haveEverything(
                    within: .seconds(1),
                    on: connection
                ) {
                    return []
                }
                let who = try await SynchronousStandbys.lagging(on: connection)
                notice("The tables are changed. Waiting up to 30 s for a standby: \(who).")
                if try await SynchronousStandbys.haveEverything(
                    within: .seconds(30),
                    on: connection
                ) {
                    return []
                }
                return [Self.unconfirmed("\(who) did not answer within 30 s")]
            }
        } catch is CancellationError {
            return [Self.unconfirmed("the wait for the synchronous standbys was interrupted")]
        } catch {
            return [Self.unconfirmed(TextForPeople.oneLine(error))]
        }
    }

    private static func unconfirmed(_ reason: String) -> String {
        "The change is committed here, and a standby may not have it yet: \(reason). One that takes over "
            + "before it has it shows the tables as they were."
    }
}
