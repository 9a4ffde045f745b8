internal import Postgres

/// A reader that runs one query again and again on a connection of its own, as an application does.
package actor PollingReader {
    /// The results in the order in which they were seen; a result that equals the one before is not
    /// repeated.
    ///
    /// Each is a list of rows, a row's columns joined by `|`, NULL written as NULL.
    package private(set) var results: [[String]] = []
    /// The errors, in order.
    package private(set) var errors: [String] = []
    /// The longest time that one query took.
    package private(set) var longest: Duration = .zero
    /// How many queries have come back, with rows or with an error.
    package private(set) var polls = 0

    private var isStopped = false
    private var waiters: [(poll: Int, continuation: CheckedContinuation<Void, Never>)] = []

    /// Waits until a query that began after this call has come back.
    package func nextPoll() async {
        guard !isStopped else { return }
        // The query that is under way began before.
        let poll = polls + 2
        await withCheckedContinuation { waiters.append((poll, $0)) }
    }

    fileprivate func firstPoll() async {
        guard polls == 0, !isStopped else { return }
        await withCheckedContinuation { waiters.append((1, $0)) }
    }

    fileprivate func stop() { isStopped = true }

    fileprivate func run(_ sql: String, on settings: ConnectionSettings, every pause: Duration)
        async
    {
        var failuresInRow = 0
        while !isStopped && failuresInRow < 100 {
            do {
                try await PostgresConnection.withConnection(settings) { connection in
                    while !isStopped {
                        await poll(sql, on: connection)
                        failuresInRow = 0
                        guard await connection.transactionStatus != .unknown else { return }
                        try await Task.sleep(for: pause)
                    }
                }
            } catch {
                record(error)
                failuresInRow += 1
            }
        }
        isStopped = true
        resumeWaiters()
    }

    private func poll(_ sql: String, on connection: PostgresConnection) async {
        let start = ContinuousClock.now
        do {
            let answer = try await connection.query(sql)
            longest = max(longest, ContinuousClock.now - start)
            let result = answer.rows.map { row in
                answer.columns.indices.map { row[$0] ?? "NULL" }.joined(separator: "|")
            }
            if results.last != result { results.append(result) }
            polls += 1
            resumeWaiters()
        } catch {
            longest = max(longest, ContinuousClock.now - start)
            record(error)
        }
    }

    private func record(_ error: any Error) {
        errors.append(String(describing: error))
        polls += 1
        resumeWaiters()
    }

    private func resumeWaiters() {
        let due = waiters.filter { isStopped || $0.poll <= polls }
        waiters.removeAll { isStopped || $0.poll <= polls }
        for waiter in due { waiter.continuation.resume() }
    }
}

/// Runs `body` while a reader polls, from after its first result to the end of `body`.
///
/// What the reader has seen stays in it after the call; return it from `body` to look then.
///
/// - Parameters:
///   - database: Where to read.
///   - sql: The query; it names its tables with their schemas.
///   - pause: The time between an answer and the next query.
///   - isolation: The caller's; `body` runs there.
///   - body: What happens while the reader reads.
/// - Returns: What `body` returned.
/// - Throws: What `body` threw; the reader's own errors are in the reader.
package func withPollingReader<R: Sendable>(
    on database: ScratchDatabase,
    sql: String,
    every pause: Duration = .milliseconds(1),
    isolation: isolated (any Actor)? = #isolation,
    _ body: (PollingReader) async throws -> R
) async throws -> R {
    let reader = PollingReader()
    async let reading: Void = reader.run(
        sql,
        on: database.settings.withApplicationName("polling reader"),
        every: pause
    )
    await reader.firstPoll()
    do {
        let result = try await body(reader)
        await reader.nextPoll()
        await reader.stop()
        await reading
        return result
    } catch {
        await reader.stop()
        await reading
        throw error
    }
}
