internal import Foundation
internal import Glibc

extension PrivateServer {
    /// Runs `body` with an HAProxy before the server that ends connections on which nothing passes.
    ///
    /// - Parameters:
    ///   - seconds: For how long nothing passes.
    ///   - body: It is given the proxy's address, without a database.
    /// - Returns: What `body` returned.
    /// - Throws: What `body` threw; ``ChildProcess/NotWritten`` when the proxy does not start.
    package func withIdleProxy<R: Sendable>(
        endingAfter seconds: Int,
        _ body: (String) async throws -> R
    ) async throws -> R {
        try await withScratchFolder { folder in
            let file = "\(folder)/haproxy.cfg"
            let settings = """
                global
                    maxconn 100
                defaults
                    mode tcp
                    timeout connect 5s
                    timeout client \(seconds)s
                    timeout server \(seconds)s
                listen postgres
                    bind unix@\(folder)/.s.PGSQL.5432
                    server primary unix@\(socket)/.s.PGSQL.5432

                """
            try Data(settings.utf8).write(to: URL(filePath: file))
            return try await ChildProcess.withRunning(
                "/usr/sbin/haproxy",
                ["-db", "-f", file]
            ) { proxy in
                // It says nothing when it listens.
                _ = try await ChildProcess.run(
                    "timeout",
                    [
                        "20", "sh", "-c",
                        "until [ -S '\(folder)/.s.PGSQL.5432' ]; do sleep 0.05; done",
                    ]
                )
                defer { proxy.signal(SIGTERM) }
                return try await body("host=\(folder) port=5432 user=reprise")
            }.result
        }
    }
}
