import Postgres
import Wording

/// The database that holds the read models, and the schema readers find them in.
package struct ReadModelDatabase: Sendable {
    /// The schema of the live tables.
    package let liveSchema: String

    /// How the positions are read and written that projectors keep themselves, by projection.
    package var positionTemplates: [String: PositionTemplate] = [:]

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
        as role: String,
        doing: String,
        _ body: (PostgresConnection) async throws -> Result
    ) async throws -> Result {
        try await translatingErrors(doing: doing) {
            try await PostgresConnection.withConnection(
                settings.withApplicationName("reprise \(role)"),
                body
            )
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
    fileprivate static func translating(_ error: any Error, doing: String) -> any Error {
        switch error {
        case let error as ConnectionError where error.isTransient:
            ReadModelError.unreachable(reason: "While \(TextForPeople.line(doing)): \(error)")
        case let error as ConnectionError where error.remedy != nil:
            ReadModelError.unsuitableServer(reason: error.what, remedy: error.remedy ?? "")
        case let error as ConnectionError:
            ReadModelError.refused(reason: "While \(TextForPeople.line(doing)): \(error)")
        case let error as ServerError where error.sqlState == "42501":
            ReadModelError.rightMissing(reason: "While \(TextForPeople.line(doing)): \(error)")
        case let error as ServerError:
            ReadModelError.server(doing: doing, reason: "\(error)")
        case let error as TransactionError:
            translating(error.first, doing: doing)
        default: error
        }
    }
}
