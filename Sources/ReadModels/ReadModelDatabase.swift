package import Postgres

/// The database that holds the read models, and the schema readers find them in.
package struct ReadModelDatabase: Sendable {
    /// The schema of the live tables.
    package let liveSchema: String

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

    /// Opens a connection for `body`; what goes wrong inside is a ``ReadModelError``.
    func withConnection<Result: Sendable>(
        as role: String, doing: String,
        _ body: (PostgresConnection) async throws -> Result
    ) async throws -> Result {
        try await translatingErrors(doing: doing) {
            try await PostgresConnection.withConnection(
                settings.withApplicationName("reprise \(role)"), body)
        }
    }

    /// Makes the schema `reprise`, or brings it up to date.
    ///
    /// - Throws: ``ReadModelError/newerBookkeeping(found:supported:)``; server errors.
    package func migrate() async throws {
        try await withConnection(as: "migrate", doing: "preparing the schema 'reprise'") {
            try await Bookkeeping.migrate(on: $0)
        }
    }
}

/// Turns what libpq and the server say into ``ReadModelError``; everything else passes.
func translatingErrors<Result: Sendable>(
    doing: String, _ body: () async throws -> Result
) async throws -> Result {
    do {
        return try await body()
    } catch let error as ConnectionError {
        throw ReadModelError(error)
    } catch let error as ServerError {
        if error.sqlState == "42501" {
            throw ReadModelError.refused(reason: "While \(doing): \(error)")
        }
        throw ReadModelError.server(doing: doing, reason: "\(error)")
    }
}

extension ReadModelError {
    init(_ error: ConnectionError) {
        self =
            error.isRefusal
            ? .refused(reason: "\(error)") : .unreachable(reason: "\(error)")
    }
}
