internal import Foundation
internal import Glibc

extension PrivateServer {
    /// How a pooler shares its sessions of the server.
    package enum PoolMode: String, CaseIterable, Sendable {
        /// A client has one for as long as it is connected.
        case session
        /// A client has one for as long as its transaction is open.
        case transaction
        /// A client has one for a statement.
        case statement
    }

    /// Runs `body` with a pgbouncer before the server, which shares sessions of it among all clients of a
    /// database.
    ///
    /// - Parameters:
    ///   - mode: How it shares them.
    ///   - size: How many it has for a database.
    ///   - settings: More lines for pgbouncer.ini; the last one of a name counts.
    ///   - body: It is given the pooler's address, without a database.
    /// - Returns: What `body` returned.
    /// - Throws: What `body` threw; ``ChildProcess/NotWritten`` when the pooler does not start.
    package func withPooler<R: Sendable>(
        _ mode: PoolMode,
        size: Int = 1,
        settings: [String] = [],
        _ body: (String) async throws -> R
    ) async throws -> R {
        let folder = try await poolerFolder(self.settings(of: mode, size: size) + settings)
        // As its user: as root it would refuse to run.
        let stepDown =
            geteuid() == 0
            ? [
                "setpriv", "--reuid=\(Self.serverUser)", "--regid=\(Self.serverUser)",
                "--init-groups",
            ] : ["env"]
        let arguments = stepDown.dropFirst() + ["/usr/sbin/pgbouncer", "\(folder)/pgbouncer.ini"]
        return try await ChildProcess.withRunning(
            stepDown[0],
            Array(arguments),
            environment: ["LC_ALL": "C.UTF-8"]
        ) { pooler in
            try await pooler.waitForText("process up")
            // SIGTERM ends it at once, with clients or without (pgbouncer(1)).
            defer { pooler.signal(SIGTERM) }
            return try await body("host=\(folder) port=6432 user=reprise")
        }.result
    }

    private func settings(of mode: PoolMode, size: Int) -> [String] {
        [
            "[databases]", "* = host=\(socket) port=5432 user=reprise", "[pgbouncer]",
            "listen_addr =", "listen_port = 6432", "auth_type = any",
            "pool_mode = \(mode.rawValue)", "default_pool_size = \(size)",
            "query_wait_timeout = 10",
        ]
    }
}
