/// Whether what answers is a server that can be worked with: asked of each new session, before it
/// changes anything there.
extension ServerSession {
    /// Who serves the session.
    struct Server {
        /// The process, as `pg_stat_activity` names it.
        ///
        /// Not what the connection was told at its beginning: a pooler invents that.
        let backendPID: Int32
        /// Whether a pooler stands between.
        let isPooled: Bool
        /// Whether it replays another server's changes, and only reads.
        let isStandby: Bool
    }

    /// - Parameter settings: Where the session was to lead.
    /// - Returns: What was found.
    /// - Throws: ``ConnectionError/unsupportedVersion(summary:version:)``,
    ///   ``ConnectionError/pooled(summary:server:)``,
    ///   ``ConnectionError/poolExhausted(summary:server:)``,
    ///   ``ConnectionError/readOnly(summary:source:)``; what the server says.
    func assertSuitable(_ settings: ConnectionSettings) throws -> Server {
        guard serverVersion >= Int32(TestedMajors.oldest) * 10_000 else {
            throw ConnectionError.unsupportedVersion(
                summary: settings.summary,
                version: versionText
            )
        }
        // A pooler invents the process that it names at the beginning. Whatever else it answered once,
        // one that hands the session to others between transactions may answer otherwise next time.
        let answers = try [firstAnswer(settings), whoAnswers()]
        let isPooled = answers.contains { $0.pid != announcedPID }
        if isPooled { try assertOwnServer(settings, server: answers[0].server) }
        if answers[0].isReadOnly {
            throw ConnectionError.readOnly(summary: settings.summary, source: try readOnlySource())
        }
        return Server(
            backendPID: answers[0].pid,
            isPooled: isPooled,
            isStandby: answers[0].isStandby
        )
    }

    /// Fails where a pooler hands the session of the server to others while no transaction of ours is
    /// open.
    ///
    /// A second connection asks in turns with this one: while this one is idle, while its transaction is
    /// open, and after it. Whichever free session such a pooler gives first, one of the two then meets
    /// another one than before, or both meet the same. In session mode each keeps its own.
    private func assertOwnServer(_ settings: ConnectionSettings, server: String?) throws {
        let shared = ConnectionError.pooled(summary: settings.summary, server: server)
        let other = try ServerSession(settings)
        var mine: Set = [try whoAnswers().pid]
        var others: Set = [try other.whoAnswersSoon(settings, server: server)]
        func assertApart() throws {
            guard mine.count == 1, others.count == 1, mine.isDisjoint(with: others) else {
                throw shared
            }
        }
        try assertApart()
        for _ in 0..<3 {
            do {
                _ = try execute("BEGIN")
            } catch {
                // A pooler that hands the session on after each statement takes no transaction.
                throw shared
            }
            mine.insert(try whoAnswers().pid)
            others.insert(try other.whoAnswersSoon(settings, server: server))
            _ = try execute("COMMIT")
            try assertApart()
            others.insert(try other.whoAnswersSoon(settings, server: server))
            mine.insert(try whoAnswers().pid)
            try assertApart()
        }
    }

    /// Asks, and waits for 5 s: where a pooler has no session left it would answer much later.
    private func whoAnswersSoon(_ settings: ConnectionSettings, server: String?) throws -> Int32 {
        let statement = canceller.begin()
        defer { canceller.end() }
        canceller.cutOff(statement, afterSeconds: StatementCanceller.patienceSeconds)
        do {
            return try whoAnswers().pid
        } catch is ConnectionError {
            throw ConnectionError.poolExhausted(summary: settings.summary, server: server)
        }
    }

    /// The answer to the first statement: a server that lets us in has it in milliseconds.
    private func firstAnswer(_ settings: ConnectionSettings) throws -> Answer {
        let statement = canceller.begin()
        defer { canceller.end() }
        canceller.cutOff(statement, afterSeconds: settings.connectTimeoutSeconds)
        do {
            return try whoAnswers()
        } catch is ConnectionError where canceller.isCutOff {
            throw ConnectionError.unreachable(
                summary: settings.summary,
                reason: "the connection was taken, and nothing answered within "
                    + "\(settings.connectTimeoutSeconds) s, as from a pooler whose sessions are all in "
                    + "use, or a server that stands still"
            )
        }
    }

    private struct Answer {
        let pid: Int32
        let server: String?
        let isReadOnly: Bool
        let isStandby: Bool
    }

    private func whoAnswers() throws -> Answer {
        let answer = try execute(Self.question)
        let text = { (column: String) in
            answer.bytes(row: 0, column: answer.position(of: column)).map {
                String(decoding: $0, as: UTF8.self)
            }
        }
        guard let pid = text("pid").flatMap({ Int32($0) }) else {
            preconditionFailure("The server's process has no number.")
        }
        return Answer(
            pid: pid,
            server: text("server"),
            isReadOnly: text("read_only") == "on",
            isStandby: text("is_standby") == "t"
        )
    }

    /// Leaves nothing behind: SET LOCAL ends with the message.
    ///
    /// The role's own limit could end the query, and its own path name other operators.
    private static let question = """
        SET LOCAL statement_timeout = 0;
        SELECT pg_catalog.pg_backend_pid() AS pid, pg_catalog.pg_is_in_recovery() AS is_standby,
            coalesce(
                'host ' OPERATOR(pg_catalog.||) pg_catalog.host(pg_catalog.inet_server_addr()),
                'a Unix socket of its machine') OPERATOR(pg_catalog.||) ', port '
                OPERATOR(pg_catalog.||) pg_catalog.current_setting('port') AS server,
            pg_catalog.current_setting('default_transaction_read_only') AS read_only
        """

    /// Who has made the session read only, as `pg_settings` says it.
    private func readOnlySource() throws -> String {
        let answer = try execute(
            """
            SET LOCAL statement_timeout = 0;
            SELECT s.source FROM pg_catalog.pg_settings AS s
            WHERE s.name OPERATOR(pg_catalog.=) 'default_transaction_read_only'
            """
        )
        return answer.bytes(row: 0, column: 0).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    /// As people write it: 14.5.
    private var versionText: String {
        let (major, rest) = serverVersion.quotientAndRemainder(dividingBy: 10_000)
        // Until 9.6 the first two numbers were the major version.
        return major < 10
            ? "\(major).\(rest / 100).\(rest % 100)" : "\(major).\(rest)"
    }
}
