internal import Foundation
internal import Glibc
internal import Postgres

/// A PostgreSQL cluster of a test's own, for tests that crash a server or set what holds for all of
/// it.
///
/// It listens on a Unix socket that its own user alone may use. As root it steps down to the user
/// `postgres`, or `nobody`, because PostgreSQL refuses to run as root.
package struct PrivateServer: Sendable {
    /// A program of the server failed.
    package struct Failed: Error, CustomStringConvertible {
        /// Which one, and what it wrote.
        package let description: String
    }

    /// How to stop a server.
    package enum Stop: String, Sendable {
        /// Sessions are ended, and everything is written.
        case fast
        /// As a crash: nothing is written, and the next start recovers.
        case immediate
    }

    private let folder: String
    private let data: String
    /// The folder of its programs; nil for those of the major that is tested.
    private let programs: String?
    var socket: String { "\(data).socket" }

    /// How to reach it.
    package var conninfo: String { "host=\(socket) port=5432 user=reprise dbname=postgres" }

    /// Its first database, which is empty.
    package var postgres: ScratchDatabase {
        ScratchDatabase(
            name: "postgres",
            settings: ConnectionSettings(conninfo: conninfo, applicationName: "reprise tests")
        )
    }

    /// Runs `body` with a new cluster, and deletes it afterwards, also when `body` throws.
    ///
    /// - Parameters:
    ///   - settings: Lines of `postgresql.conf`.
    ///   - programs: The folder of its programs; nil for those of the major that is tested.
    ///   - body: What to do with it.
    /// - Returns: What `body` returned.
    /// - Throws: ``Failed``, or what `body` threw.
    package static func with<R: Sendable>(
        settings: [String] = [],
        programs: String? = nil,
        _ body: (PrivateServer) async throws -> R
    ) async throws -> R {
        try await turnstile.pass { try await withNew(settings, programs, body) }
    }

    private static func withNew<R: Sendable>(
        _ settings: [String],
        _ programs: String?,
        _ body: (PrivateServer) async throws -> R
    ) async throws -> R {
        // Short, because a socket's path holds 107 bytes at most; and outside of the home folder,
        // where the server's user may not enter.
        var template = Array("/tmp/reprise-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else {
            throw Failed(description: "no folder could be made in /tmp")
        }
        let folder = String(cString: made)
        let server = PrivateServer(
            folder: folder,
            data: "\(folder)/primary",
            programs: programs
        )
        do {
            if geteuid() == 0 {
                try await program("chown", ["\(serverUser):", folder])
            }
            try await server.initialise(settings)
            try await server.start()
            let result = try await body(server)
            try await server.remove()
            return result
        } catch {
            // The first error is the one worth reading.
            try? await server.remove()
            throw error
        }
    }

    /// Starts it and waits until it takes connections.
    package func start() async throws {
        do {
            try await served(
                "pg_ctl",
                ["start", "-w", "-t", "60", "-D", data, "-l", "\(data).log"]
            )
        } catch {
            let log = try await ChildProcess.run("tail", ["-n", "20", "\(data).log"])
            throw Failed(description: "\(error)\n\(log.standardOutput)")
        }
    }

    /// Stops it.
    package func stop(_ mode: Stop) async throws {
        try await served(
            "pg_ctl",
            ["stop", "-w", "-t", "60", "-D", data, "-m", mode.rawValue]
        )
    }

    /// Runs `body` with a database and an empty ledger on it.
    package func withScene<R: Sendable>(
        _ body: (RebuildScene) async throws -> R
    ) async throws -> R {
        let settings = ConnectionSettings(conninfo: conninfo, applicationName: "reprise tests")
        try await PostgresConnection.withConnection(settings) {
            try await $0.execute("CREATE DATABASE scene")
        }
        let database = ScratchDatabase(name: "scene", settings: try settings.withDatabase("scene"))
        return try await withRebuildScene(on: database, body)
    }

    /// Runs `body` with a hot standby of it, or of a standby.
    package func withStandby<R: Sendable>(
        settings: [String] = [],
        _ body: (PrivateServer) async throws -> R
    ) async throws -> R {
        let standby = PrivateServer(
            folder: folder,
            data: "\(data)-standby",
            programs: programs
        )
        try await served(
            "pg_basebackup",
            ["-d", conninfo, "-D", standby.data, "-R", "-X", "stream", "-c", "fast"]
        )
        try await served("mkdir", ["-m", "0700", "-p", "\(standby.socket)"])
        let socket = ["unix_socket_directories = '\(standby.socket)'"]
        try await standby.append(socket + settings)
        do {
            try await standby.start()
            let result = try await body(standby)
            try await standby.stop(.immediate)
            return result
        } catch {
            try? await standby.stop(.immediate)
            throw error
        }
    }

    /// Runs `body` with another new cluster, whose processes can reach this one's socket.
    ///
    /// - Parameters:
    ///   - settings: Lines of `postgresql.conf`.
    ///   - body: It is given the other cluster.
    /// - Returns: What `body` returned.
    /// - Throws: ``Failed``, or what `body` threw.
    package func withNeighbour<R: Sendable>(
        settings: [String] = [],
        _ body: (PrivateServer) async throws -> R
    ) async throws -> R {
        let neighbour = PrivateServer(
            folder: folder,
            data: "\(folder)/neighbour",
            programs: programs
        )
        try await neighbour.initialise(settings)
        try await neighbour.start()
        do {
            let result = try await body(neighbour)
            try await neighbour.stop(.immediate)
            return result
        } catch {
            try? await neighbour.stop(.immediate)
            throw error
        }
    }
}

extension PrivateServer {
    private func initialise(_ settings: [String]) async throws {
        try await served(
            "initdb",
            [
                "-D", data, "--username=reprise", "--auth=trust", "--no-sync", "--encoding=UTF8",
                "--locale=C.UTF-8",
            ]
        )
        try await served("mkdir", ["-m", "0700", "\(socket)"])
        let own = [
            "listen_addresses = ''", "unix_socket_directories = '\(socket)'",
            "unix_socket_permissions = 0700", "fsync = off", "shared_buffers = 16MB",
            "max_prepared_transactions = 5",
        ]
        try await append(own + settings)
    }

    private func append(_ lines: [String]) async throws {
        try await append(lines, to: "\(data)/postgresql.conf")
    }

    private func append(_ lines: [String], to file: String) async throws {
        try await served("sh", ["-c", "printf '%s\\n' \"$@\" >> '\(file)'", "sh"] + lines)
    }

    /// Makes a folder of a pooler's own, for its settings and its socket.
    func poolerFolder(_ settings: [String]) async throws -> String {
        let folder = "\(folder)/pooler"
        try await served("rm", ["-rf", folder])
        try await served("mkdir", ["-m", "0700", folder])
        try await append(
            settings + ["unix_socket_dir = \(folder)"],
            to: "\(folder)/pgbouncer.ini"
        )
        return folder
    }

    private func remove() async throws {
        try? await stop(.immediate)
        try await Self.program("rm", ["-rf", "--", folder])
    }

    package static let serverUser = getpwnam("postgres") == nil ? "nobody" : "postgres"

    /// Runs a program as the server's user: those of the major that is tested, or Debian's, which are
    /// not on PATH.
    private func served(_ name: String, _ arguments: [String]) async throws {
        let stepDown =
            geteuid() == 0
            ? [
                "setpriv", "--reuid=\(Self.serverUser)", "--regid=\(Self.serverUser)",
                "--init-groups",
            ] : []
        // Foundation takes a process for alive as long as somebody has the socket open that it
        // inherits; a server that pg_ctl starts would.
        let script = """
            cd /; PATH="${PROGRAMS:+$PROGRAMS:}$PATH"; command -v initdb >/dev/null ||
                PATH="$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1):$PATH"
            # Those of PyPI have a libpq of their own beside them, and say no word of it to the linker.
            libraries=$(dirname "$(command -v initdb)")/../lib
            [[ ! -e $libraries/libpq.so.5 ]] || export LD_LIBRARY_PATH=$libraries
            for fd in $(ls /proc/self/fd); do ((fd < 3)) || eval "exec $fd>&-"; done
            exec "$@"
            """
        try await Self.program(
            "bash",
            ["-c", script, "bash"] + stepDown + [name] + arguments,
            environment: programs.map { ["PROGRAMS": $0] } ?? [:]
        )
    }

    private static func program(
        _ name: String,
        _ arguments: [String],
        environment: [String: String] = [:]
    ) async throws {
        let outcome = try await ChildProcess.run(
            name,
            arguments,
            environment: environment.merging(["LC_ALL": "C.UTF-8"]) { $1 }
        )
        guard outcome.status == 0 else {
            throw Failed(
                description: "\(name) \(arguments.joined(separator: " ")): "
                    + outcome.standardOutput + outcome.standardError
            )
        }
    }
}
