/// Whether what answers is a server that can be worked with: asked of each new session, before it
/// changes anything there.
extension ServerSession {
    /// The versions that are supported, in words.
    static let supportedVersions = "PostgreSQL 15 to 18"
    private static let oldestVersion: Int32 = 150_000

    /// - Parameter settings: Where the session was to lead.
    /// - Throws: ``ConnectionError/unsupportedVersion(summary:version:)``,
    ///   ``ConnectionError/pooled(summary:server:)``,
    ///   ``ConnectionError/readOnly(summary:source:)``; what the server says.
    func assertSuitable(_ settings: ConnectionSettings) throws {
        guard serverVersion >= Self.oldestVersion else {
            throw ConnectionError.unsupportedVersion(
                summary: settings.summary,
                version: versionText
            )
        }
        // A pooler invents the process that it names at the beginning. One that hands the session to
        // others between transactions may answer from another process each time.
        for _ in 0..<2 {
            let answer = try execute(Self.whoAnswers)
            let text = { (column: String) in
                answer.bytes(row: 0, column: answer.position(of: column)).map {
                    String(decoding: $0, as: UTF8.self)
                }
            }
            guard text("pid") == "\(backendPID)" else {
                throw ConnectionError.pooled(summary: settings.summary, server: text("server"))
            }
            if let source = text("read_only") {
                throw ConnectionError.readOnly(summary: settings.summary, source: source)
            }
        }
    }

    /// Leaves nothing behind: SET LOCAL ends with the message.
    ///
    /// The role's own limit could end the query, and its own path name other operators.
    private static let whoAnswers = """
        SET LOCAL statement_timeout = 0;
        SELECT pg_catalog.pg_backend_pid() AS pid,
            coalesce(
                'host ' OPERATOR(pg_catalog.||) pg_catalog.host(pg_catalog.inet_server_addr()),
                'a Unix socket of its machine') OPERATOR(pg_catalog.||) ', port '
                OPERATOR(pg_catalog.||) pg_catalog.current_setting('port') AS server,
            (SELECT s.source FROM pg_catalog.pg_settings AS s
             WHERE s.name OPERATOR(pg_catalog.=) 'default_transaction_read_only'
                AND s.setting OPERATOR(pg_catalog.=) 'on') AS read_only
        """

    /// As people write it: 14.5.
    private var versionText: String {
        let (major, rest) = serverVersion.quotientAndRemainder(dividingBy: 10_000)
        // Until 9.6 the first two numbers were the major version.
        return major < 10
            ? "\(major).\(rest / 100).\(rest % 100)" : "\(major).\(rest)"
    }
}
