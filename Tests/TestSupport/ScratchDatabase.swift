internal import Foundation
package import Postgres

/// A database of a test's own.
package struct ScratchDatabase: Sendable {
    /// The database's name, different for every call.
    package let name: String
    /// How to reach it.
    package let settings: ConnectionSettings

    /// What a child process can be given as `DATABASE_URL`.
    package var url: String { settings.conninfo }

    /// The same database, where every session begins with `SET ROLE`.
    ///
    /// - Parameter role: A role's name, without spaces and quotes.
    /// - Returns: The database.
    package func asRole(_ role: String) -> ScratchDatabase {
        let settings = ConnectionSettings(
            conninfo: "\(settings.conninfo) options='-c role=\(role)'",
            applicationName: settings.applicationName
        )
        return ScratchDatabase(name: name, settings: settings)
    }

    /// Makes a role that logs in by password.
    ///
    /// - Parameters:
    ///   - role: Its name, without spaces and quotes.
    ///   - password: Its password.
    ///   - groups: The roles it is a member of.
    /// - Throws: What the server says.
    package func createLogin(
        _ role: String,
        password: String,
        memberOf groups: [String] = []
    ) async throws {
        // Where local logins go by the system's user, members of this role log in by password.
        let group = try await query("SELECT FROM pg_roles WHERE rolname = 'password_required'")
        let all = groups + (group.rows.isEmpty ? [] : ["password_required"])
        let membership = all.isEmpty ? "" : " IN ROLE \(all.joined(separator: ", "))"
        try await execute("CREATE ROLE \(role) LOGIN PASSWORD '\(password)'\(membership)")
    }

    /// The same database by the login of another role.
    package func asLogin(_ role: String, password: String) -> ScratchDatabase {
        let settings = ConnectionSettings(
            conninfo: "\(settings.conninfo) user='\(role)' password='\(password)'",
            applicationName: settings.applicationName
        )
        return ScratchDatabase(name: name, settings: settings)
    }

    /// Lends a connection to `body`.
    @discardableResult
    package func withConnection<R: Sendable>(
        isolation: isolated (any Actor)? = #isolation,
        _ body: (PostgresConnection) async throws -> R
    ) async throws -> R {
        try await PostgresConnection.withConnection(settings, body)
    }

    /// Runs statements on a connection of their own.
    @discardableResult
    package func execute(_ sql: String) async throws -> QueryResult {
        try await withConnection { try await $0.execute(sql) }
    }

    /// Runs one statement with parameters on a connection of its own.
    @discardableResult
    package func query(
        _ sql: String,
        _ parameters: [PostgresValue] = []
    ) async throws -> QueryResult {
        try await withConnection { try await $0.query(sql, parameters) }
    }

    /// The number of rows in a table, whose name is written as in a statement.
    package func count(_ table: String) async throws -> Int64 {
        let row = try await query("SELECT count(*) AS rows FROM \(table)").first
        return try row?.int("rows") ?? 0
    }
}

/// Runs `body` with a database of its own, and drops it afterwards, also when `body` throws.
///
/// The server is `DATABASE_URL`, or what `PGHOST` and its other variables name. When it cannot be
/// reached the test fails: a skipped database test looks exactly like a passing one.
///
/// - Throws: What `body` threw, or ``Postgres/ConnectionError`` when there is no server.
package func withScratchDatabase<R: Sendable>(
    isolation: isolated (any Actor)? = #isolation,
    _ body: (ScratchDatabase) async throws -> R
) async throws -> R {
    let server = ConnectionSettings(
        conninfo: ProcessInfo.processInfo.environment["DATABASE_URL"] ?? "",
        applicationName: "reprise tests"
    )
    let id = UUID().uuidString.filter { $0 != "-" }.lowercased()
    let name = "reprise_test_\(id)"
    return try await turnstile.pass(isolation: isolation) {
        try await withDatabase(name, on: server, isolation: isolation, body)
    }
}

private func withDatabase<R: Sendable>(
    _ name: String,
    on server: ConnectionSettings,
    isolation: isolated (any Actor)? = #isolation,
    _ body: (ScratchDatabase) async throws -> R
) async throws -> R {
    // template0 is never connected to, so that tests at the same time do not refuse each other.
    try await onServer(server, "CREATE DATABASE \(name) TEMPLATE template0")
    do {
        let database = ScratchDatabase(name: name, settings: try server.withDatabase(name))
        let result = try await body(database)
        try await onServer(server, "DROP DATABASE \(name) WITH (FORCE)")
        return result
    } catch {
        // The first error is the one worth reading.
        try? await onServer(server, "DROP DATABASE IF EXISTS \(name) WITH (FORCE)")
        throw error
    }
}

/// How many scratch databases and private servers there are at once: on two cores more of them only get in each other's
/// way, until every wait is a long one and the server has no connection left.
let turnstile = Turnstile(places: 6)

/// Runs a statement although the test may have been cancelled, by a time limit for example.
private func onServer(_ server: ConnectionSettings, _ sql: String) async throws {
    try await Task {
        _ = try await PostgresConnection.withConnection(server) { try await $0.execute(sql) }
    }.value
}
