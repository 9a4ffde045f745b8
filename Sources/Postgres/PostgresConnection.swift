/// One connection to PostgreSQL, on a serial executor with a queue of its own, so that calls that
/// wait for the server never block the cooperative pool.
///
/// It has a session of a supported server for itself: a connection pooler that hands sessions to others
/// between transactions, and our settings with them, is refused before anything is set.
///
/// The session starts from known settings (``SessionSettings``), none of the time limits that a role or a
/// database may set for its applications among them.
///
/// Statements of concurrent tasks take turns, also between the statements of a transaction: a task
/// that wants a transaction for itself needs a connection for itself.
///
/// Cancelling the task that waits for a statement cancels the statement on the server and surfaces
/// as `CancellationError`; a statement that had finished by then, such as a COMMIT, returns as usual.
/// A server that does not react is not waited for: 5 s later the connection is cut off, and every
/// later call throws ``ConnectionError/lost``. So does a COMMIT, whose outcome nobody knows then.
/// A cancelled task starts no further statement. Every call can throw ``ConnectionError/lost``,
/// ``ServerError``, ``StatementError`` and `CancellationError`.
package actor PostgresConnection {
    /// The process that serves the connection, as `pg_stat_activity` and `pg_locks` name it.
    package nonisolated let backendPID: Int32
    /// The server's version, such as 150018 for 15.18.
    package nonisolated let serverVersion: Int32
    /// Whether the server is a standby, which only reads.
    package nonisolated let isStandby: Bool

    private nonisolated let executor: ConnectionExecutor
    private nonisolated let canceller: StatementCanceller
    private let settings: ConnectionSettings
    private let isPooled: Bool
    private var session: ServerSession?

    /// The connection's own queue.
    package nonisolated var unownedExecutor: UnownedSerialExecutor {
        executor.asUnownedSerialExecutor()
    }

    private init(_ settings: ConnectionSettings, on executor: ConnectionExecutor) throws {
        let session = try ServerSession(settings)
        let server = try session.assertSuitable(settings)
        self.settings = settings
        self.executor = executor
        canceller = session.canceller
        backendPID = server.backendPID
        isPooled = server.isPooled
        isStandby = server.isStandby
        serverVersion = session.serverVersion
        self.session = session
    }

    /// Lends a connection to `body` and closes it afterwards, also when `body` throws.
    ///
    /// Cancellation while connecting is noticed when the server answers or the time for that is
    /// over. What `body` leaves open the server rolls back.
    ///
    /// - Parameters:
    ///   - settings: Where to connect.
    ///   - isolation: The caller's; `body` runs there.
    ///   - body: What to do with the connection. It must not keep it.
    /// - Returns: What `body` returned.
    /// - Throws: ``ConnectionError``, `CancellationError`, or what `body` threw.
    @discardableResult
    package static func withConnection<R: Sendable>(
        _ settings: ConnectionSettings,
        isolation: isolated (any Actor)? = #isolation,
        _ body: (PostgresConnection) async throws -> R
    ) async throws -> R {
        try Task.checkCancellation()
        let executor = ConnectionExecutor()
        let connection: PostgresConnection
        do {
            connection = try await open(settings, on: executor)
        } catch {
            // Nothing was done yet.
            try Task.checkCancellation()
            throw error
        }
        do {
            try await connection.prepare()
            let result = try await body(connection)
            await connection.close()
            return result
        } catch {
            await connection.close()
            throw error
        }
    }

    /// Connects; where the server has no place left, tries for 2 s.
    ///
    /// A session that this process has just closed keeps its place until the server's process has ended.
    private static func open(
        _ settings: ConnectionSettings,
        on executor: ConnectionExecutor
    ) async throws -> PostgresConnection {
        let end = ContinuousClock.now + .seconds(2)
        while true {
            do {
                return try await executor.perform {
                    try PostgresConnection(settings, on: executor)
                }
            } catch let error as ConnectionError {
                guard case .tooManyConnections = error, .now < end else { throw error }
                try await Task.sleep(for: .milliseconds(100))
            }
        }
    }

    /// Runs one statement with parameters (`$1` …) in the extended protocol.
    ///
    /// - Throws: As the type says. A NUL character in the text or a parameter is refused before
    ///   anything is sent.
    @discardableResult
    package func query(_ sql: String, _ parameters: [PostgresValue] = []) async throws
        -> QueryResult
    {
        try await run { QueryResult(try $0.query(sql, parameters)) }
    }

    /// Runs one message of the simple protocol, which may hold several statements.
    ///
    /// Without BEGIN in it the statements are one transaction.
    ///
    /// - Returns: The result of the last statement.
    @discardableResult
    package func execute(_ sql: String) async throws -> QueryResult {
        try await run { QueryResult(try $0.execute(sql)) }
    }

    /// Runs one message of the simple protocol, which may hold several statements.
    ///
    /// - Returns: The results of all statements, in their order.
    package func executeEach(_ sql: String) async throws -> [QueryResult] {
        try await run { try $0.executeEach(sql).map { QueryResult($0) } }
    }

    /// Runs one message of the simple protocol although the task may have been cancelled, and to its
    /// end: for cleaning up after a failure or a cancellation.
    ///
    /// A server that has not answered ``StatementCanceller/patienceSeconds`` after the cancellation is
    /// not waited for.
    @discardableResult
    package func executeShielded(_ sql: String) async throws -> QueryResult {
        try await shielded { QueryResult(try $0.execute(sql)) }
    }

    /// Runs one message of the simple protocol although the task may have been cancelled, and to its
    /// end; as ``executeShielded(_:)``.
    ///
    /// - Returns: The results of all statements, in their order.
    package func executeEachShielded(_ sql: String) async throws -> [QueryResult] {
        try await shielded { try $0.executeEach(sql).map { QueryResult($0) } }
    }

    /// Runs `body` in a transaction: COMMIT when it returns, ROLLBACK when it throws, also in a
    /// cancelled task.
    ///
    /// A `body` that has ended the transaction itself, with a batch that ends in COMMIT, gets neither.
    /// Calling this inside a transaction is a programmer error.
    ///
    /// - Parameters:
    ///   - mode: What follows BEGIN, such as `ISOLATION LEVEL REPEATABLE READ READ ONLY`.
    ///   - isolation: The caller's; `body` runs there.
    ///   - body: The transaction's statements.
    /// - Returns: What `body` returned, after the server has confirmed the COMMIT.
    /// - Throws: What `body` threw, or the error of BEGIN or COMMIT; ``TransactionError`` with that
    ///   and the reason when the ROLLBACK fails too; ``StatementError/commitBecameRollback``.
    ///   After ``ConnectionError/lost`` during COMMIT it is open whether it took place.
    @discardableResult
    package func withTransaction<R: Sendable>(
        _ mode: String = "",
        isolation: isolated (any Actor)? = #isolation,
        _ body: (PostgresConnection) async throws -> R
    ) async throws -> R {
        try await begin(mode)
        do {
            let result = try await body(self)
            try await commit()
            return result
        } catch {
            try await rollBack(after: error)
        }
    }

    /// Runs `COPY … FROM STDIN` and lets `produce` write the data.
    ///
    /// `produce` runs on the connection's executor, between two statements of it, and may block. When
    /// it throws, the COPY fails and nothing of the data stays. Cancellation is noticed every 64 KiB.
    ///
    /// - Parameters:
    ///   - statement: The COPY statement, without parameters.
    ///   - produce: Writes the data and returns when it is complete.
    /// - Returns: The number of rows that the server took.
    /// - Throws: What `produce` threw, or what the server says about the data.
    @discardableResult
    package func copyIn(
        _ statement: String,
        _ produce: sending (borrowing CopyWriter) throws -> Void
    ) async throws -> Int {
        try await run { try $0.copyIn(statement, produce) }
    }

    /// Runs `COPY … TO STDOUT` and hands the data to `receive`, row by row for text and CSV.
    ///
    /// `receive` runs on the connection's executor; the bytes are valid until it returns. When it
    /// throws, the statement is cancelled on the server. Cancellation is noticed at every piece.
    ///
    /// - Returns: The number of rows that the server sent.
    /// - Throws: What `receive` threw, or what the server says.
    @discardableResult
    package func copyOut(
        _ statement: String,
        _ receive: sending (UnsafeRawBufferPointer) throws -> Void
    ) async throws -> Int {
        try await run { try $0.copyOut(statement, receive) }
    }

    /// Where the connection stands.
    package var transactionStatus: TransactionStatus { openSession.transactionStatus }

    /// The warnings of the server since the last call, at most the last 200.
    package func takeNotices() -> [String] { openSession.notices.take() }

    /// Cancels the statement of the moment on the server, if there is one, from any thread and
    /// without waiting.
    ///
    /// The statement then throws ``ServerError`` with SQLSTATE 57014.
    package nonisolated func cancel() { canceller.cancelRunning() }
}

extension PostgresConnection {
    private var openSession: ServerSession {
        guard let session else {
            preconditionFailure("A connection was used after its withConnection had returned.")
        }
        return session
    }

    /// Ends the session.
    ///
    /// A pooler keeps it for the next client, and not each is set to clean it (`server_reset_query`). One
    /// whose transaction is open it closes.
    private func close() async {
        if isPooled, transactionStatus == .idle {
            // Where it fails, the session is lost or the pooler cleans it.
            _ = try? await executeShielded("DISCARD ALL")
        }
        session = nil
    }

    /// Runs a message in a task that may have been cancelled.
    private func shielded<R>(_ work: (ServerSession) throws -> R) async throws -> R {
        let canceller = canceller
        let statement = canceller.begin()
        defer { canceller.end() }
        return try await withTaskCancellationHandler {
            preconditionIsolated()
            return try work(openSession)
        } onCancel: {
            canceller.cutOff(statement, afterSeconds: StatementCanceller.patienceSeconds)
        }
    }

    /// Runs a statement in the time of the current task.
    ///
    /// - Parameters:
    ///   - isCommit: Whether it may have been done although its answer is lost.
    ///   - work: The statement.
    /// - Returns: What `work` returns.
    /// - Throws: As the type says.
    private func run<R>(
        isCommit: Bool = false,
        _ work: (ServerSession) throws -> R
    ) async throws -> R {
        let canceller = canceller
        let statement = canceller.begin()
        defer { canceller.end() }
        return try await withTaskCancellationHandler {
            // A closure that does not mention self would run on the cooperative pool.
            preconditionIsolated()
            try Task.checkCancellation()
            do {
                return try work(openSession)
            } catch let error as ServerError where error.sqlState == "57014" {
                try Task.checkCancellation()
                throw error
            } catch let error as ConnectionError where canceller.isCutOff && !isCommit {
                try Task.checkCancellation()
                throw error
            }
        } onCancel: {
            canceller.cancel(statement)
        }
    }

    private func prepare() async throws {
        try await execute(SessionSettings.statement(version: serverVersion))
    }

    private func begin(_ mode: String) async throws {
        let status = transactionStatus
        precondition(
            status != .inTransaction && status != .failed,
            "A transaction was begun inside a transaction."
        )
        try await execute("BEGIN \(mode)")
    }

    private func commit() async throws {
        let status = transactionStatus
        guard status != .idle else { return }
        let answer = try await run(isCommit: true) { QueryResult(try $0.execute("COMMIT")) }
        guard answer.commandTag == "COMMIT" else { throw StatementError.commitBecameRollback }
    }

    private func rollBack(after error: any Error) async throws -> Never {
        // An error of COMMIT has ended the transaction, and a lost connection ends it as well.
        let isOpen = [.active, .inTransaction, .failed].contains(transactionStatus)
        guard isOpen else { throw error }
        do {
            try await executeShielded("ROLLBACK")
        } catch let rollback {
            throw TransactionError(first: error, rollback: rollback)
        }
        throw error
    }
}
