import Postgres

/// The limits of one attempt of a cut-over, and the statements that keep it inside them.
///
/// Its clock is the server's, and runs from before the first exclusive lock is asked for: from
/// there on readers queue.
struct Rung: Sendable {
    /// What the statements raise when the outage budget is spent; the attempt is undone.
    static let overBudget = "RP003"
    /// What they raise when the time for the locks is over.
    static let locksTooLong = "RP006"

    /// The attempt, counted from 1.
    let attempt: Int
    /// Milliseconds for waiting and swapping together.
    let budget: Int
    /// Milliseconds for each lock.
    let lockTimeout: Int
    /// Milliseconds for all locks together.
    let locksTimeout: Int
    /// The longest that an earlier attempt queued, in milliseconds.
    let longestFailedWait: Double

    /// A rung of the ladder.
    ///
    /// - Parameters:
    ///   - attempt: The attempt, counted from 1.
    ///   - lockTimeout: What the ladder would wait for a lock, in milliseconds.
    ///   - budget: The outage budget, in milliseconds.
    ///   - lastBatch: How long the swap itself took at an earlier attempt, in milliseconds.
    ///   - longestFailedWait: The longest that an earlier attempt queued, in milliseconds.
    init(
        attempt: Int = 1,
        lockTimeout: Int = 20,
        budget: Int,
        lastBatch: Double? = nil,
        longestFailedWait: Double = 0
    ) {
        // What waiting takes is not there for swapping. A swap that would not leave a quarter of
        // the budget for locks gets that quarter all the same: it may be quicker this time.
        let reserve = max(min(50, budget / 4), Int(min(lastBatch ?? 0, 1e9)))
        let forLocks = max(1, budget / 4, budget - reserve)
        self.attempt = attempt
        self.budget = budget
        self.lockTimeout = min(lockTimeout, forLocks)
        // On a busy machine locks that are free can take that long as well.
        locksTimeout = min(max(2 * lockTimeout, 100), forLocks)
        self.longestFailedWait = longestFailedWait
    }

    /// Starts the clock, and limits the statement that takes the locks.
    ///
    /// Both limits stay below the server's `deadlock_timeout`: a reader that stands in a circle with
    /// this session looks for deadlocks when it has waited that long, and must find this session
    /// gone. `lock_timeout` alone would not do, because it holds for each lock anew.
    var begin: String {
        """
        SELECT pg_catalog.set_config('reprise.began', \(Self.now)::pg_catalog.text, true),
            pg_catalog.set_config('lock_timeout', least(\(lockTimeout),
                greatest(1, s.setting::pg_catalog.int4 * 4 / 5))::pg_catalog.text, true),
            pg_catalog.set_config('statement_timeout', least(\(locksTimeout),
                greatest(1, s.setting::pg_catalog.int4 * 4 / 5))::pg_catalog.text, true)
        FROM pg_catalog.pg_settings AS s WHERE s.name = 'deadlock_timeout'
        """
    }

    /// One statement that takes the locks, so that one limit holds for all of them together.
    ///
    /// When the time is over it tells how many of them it has, and whether it was one lock that it waited
    /// for or their number that took the time.
    func locking(_ locks: [String]) -> String {
        let body = """
            DECLARE
                began pg_catalog.timestamptz := pg_catalog.clock_timestamp();
                latest pg_catalog.timestamptz := began;
                got pg_catalog.int4 := 0;
            BEGIN
            \(locks.map { "\($0)\ngot := got + 1; latest := pg_catalog.clock_timestamp();" }
                .joined(separator: "\n"))
            EXCEPTION WHEN query_canceled THEN
                RAISE EXCEPTION 'the locks of the cut-over take too long'
                    USING ERRCODE = '\(Self.locksTooLong)',
                        DETAIL = pg_catalog.format('%s %s', got,
                            pg_catalog.clock_timestamp() - latest < (latest - began));
            END
            """
        return "DO \(SQLText.literal(body))"
    }

    /// Notes how long the locks took.
    var locked: String {
        "SELECT pg_catalog.set_config('reprise.waited', (\(Self.elapsed))::pg_catalog.text, true)"
    }

    /// Limits the next statement to what is left of the budget.
    private var rest: String {
        """
        SELECT pg_catalog.set_config('statement_timeout',
            greatest(1, \(budget) - (\(Self.elapsed)))::pg_catalog.int4::pg_catalog.text, true)
        """
    }

    /// Raises when the budget is spent: the last statement before COMMIT.
    var assertion: String {
        let body = """
            BEGIN
            IF (\(Self.elapsed)) > \(budget) THEN
                RAISE EXCEPTION 'the cut-over takes longer than its outage budget'
                    USING ERRCODE = '\(Self.overBudget)',
                        DETAIL = pg_catalog.format('%s %s', \(Self.waited), (\(Self.elapsed)));
            END IF;
            END
            """
        return "DO \(SQLText.literal(body))"
    }

    /// Each statement with the budget's rest as its limit, and the assertion after them.
    func bounding(_ statements: [String]) -> [String] {
        statements.flatMap { [rest, $0] } + [assertion]
    }

    /// Whether an error says that there are more locks than can be taken in the time for them.
    ///
    /// - Returns: How it was; nil for another error, and where one lock was not to be had.
    func crowding(_ error: ServerError, among locks: Int) -> LockLadder.Crowding? {
        guard error.sqlState == Self.locksTooLong, error.detail?.hasSuffix(" t") == true else {
            return nil
        }
        let got = error.detail?.split(separator: " ").first.flatMap { Int($0) }
        return LockLadder.Crowding(locks: locks, got: got ?? 0, milliseconds: locksTimeout)
    }

    /// Whether an error says that the attempt took too long, and not that a lock was not to be had.
    ///
    /// - Parameters:
    ///   - error: What the server says.
    ///   - waited: Milliseconds that the client waited for it. Waiting for locks ends before the
    ///     budget is spent.
    /// - Returns: How long the attempt took; nil for another error.
    func overrun(_ error: ServerError, after waited: Double) -> LockLadder.Overrun? {
        switch error.sqlState {
        case Self.overBudget:
            let times = error.detail?.split(separator: " ").compactMap { Double($0) } ?? []
            guard times.count == 2 else { return LockLadder.Overrun(total: waited, batch: waited) }
            return LockLadder.Overrun(total: times[1], batch: times[1] - times[0])
        case "57014" where waited >= Double(budget):
            return LockLadder.Overrun(total: waited, batch: waited)
        default: return nil
        }
    }

    /// Milliseconds from the arrival of the message to the clock's beginning, in which nobody waited.
    static let unlocked = """
        1000 * (pg_catalog.current_setting('reprise.began')::pg_catalog.numeric
            - extract(epoch FROM pg_catalog.statement_timestamp()))
        """

    /// Columns of `reprise.swap` that hold what the attempt took, and their values.
    var record: (columns: String, values: String) {
        (
            "attempts, lock_wait_ms, longest_failed_wait_ms, held_ms",
            "\(attempt), \(Self.waited), \(longestFailedWait), \(Self.elapsed)"
        )
    }

    private static let now = "extract(epoch FROM pg_catalog.clock_timestamp())"
    private static let elapsed = """
        1000 * (\(now) - pg_catalog.current_setting('reprise.began')::pg_catalog.numeric)
        """
    private static let waited = """
        pg_catalog.current_setting('reprise.waited')::pg_catalog.numeric
        """
}
