import Postgres

/// A session, or a prepared transaction, that holds a lock which a cut-over needs.
///
/// What it does is told without the text of its statement, which can hold row values.
struct Blocker: Sendable, CustomStringConvertible {
    /// One transaction of one session: the same as long as it lasts.
    struct Key: Hashable, Sendable {
        let pid: Int32?
        let transaction: String
    }

    let key: Key
    /// Whether it is somebody's session: not autovacuum, a WAL sender or a parallel worker.
    ///
    /// False as well when the server does not say.
    let isClient: Bool
    /// Whether it is one, or may be one: the server shows some roles no kind of session.
    let mayBeClient: Bool
    /// Seconds since its transaction began; nil when the server does not say.
    let transactionAge: Double?
    /// `active`, `idle in transaction` and the like; nil when the server does not say.
    let state: String?
    let description: String

    /// The sessions that hold a lock on one of the relations, and whether any mode counts or only
    /// those that keep a SHARE UPDATE EXCLUSIVE lock out.
    static func holding(
        _ relations: [UInt32],
        againstGuard: Bool = false,
        on connection: PostgresConnection
    ) async throws -> [Blocker] {
        let modes =
            againstGuard
            ? """
            AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock',
                'ExclusiveLock', 'AccessExclusiveLock')
            """ : ""
        return try await find(
            """
            SELECT DISTINCT l.pid, l.virtualtransaction FROM pg_catalog.pg_locks AS l
            WHERE l.locktype = 'relation' AND l.granted \(modes)
                AND l.relation = ANY ($1::pg_catalog.oid[])
                AND l.database = (SELECT oid FROM pg_catalog.pg_database
                    WHERE datname = pg_catalog.current_database())
            """,
            [.ints(relations.map { Int64($0) })],
            on: connection
        )
    }

    /// The session that has locked a projection's checkpoint row.
    static func holdingCheckpoint(
        of projection: String,
        on connection: PostgresConnection
    ) async throws -> [Blocker] {
        try await find(
            """
            SELECT DISTINCT l.pid, l.virtualtransaction FROM pg_catalog.pg_locks AS l
            WHERE l.locktype = 'transactionid' AND l.granted AND l.transactionid IN (
                SELECT c.xmax FROM reprise.checkpoint AS c WHERE c.projection = $1)
            """,
            [.text(projection)],
            on: connection
        )
    }

    /// The sessions that have written something in this database and not ended their transaction.
    static func writing(on connection: PostgresConnection) async throws -> [Blocker] {
        try await find(
            """
            SELECT DISTINCT l.pid, l.virtualtransaction FROM pg_catalog.pg_locks AS l
            LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
            LEFT JOIN pg_catalog.pg_prepared_xacts AS p ON p.transaction = l.transactionid
            WHERE l.locktype = 'transactionid' AND l.granted
                AND coalesce(a.datname, p.database) = pg_catalog.current_database()
            """,
            [],
            on: connection
        )
    }

    /// The sessions that another one waits for now.
    static func blocking(_ pid: Int32, on connection: PostgresConnection) async throws -> [Blocker]
    {
        try await find(
            """
            SELECT DISTINCT l.pid, l.virtualtransaction FROM pg_catalog.pg_locks AS l
            WHERE l.locktype = 'virtualxid' AND l.granted
                AND l.pid = ANY (pg_catalog.pg_blocking_pids($1))
            UNION
            SELECT DISTINCT l.pid, l.virtualtransaction FROM pg_catalog.pg_locks AS w
            JOIN pg_catalog.pg_locks AS l ON l.pid IS NULL AND l.granted AND l.locktype = w.locktype
                AND l.database IS NOT DISTINCT FROM w.database
                AND l.relation IS NOT DISTINCT FROM w.relation
                AND l.transactionid IS NOT DISTINCT FROM w.transactionid
            WHERE w.pid = $1 AND NOT w.granted AND 0 = ANY (pg_catalog.pg_blocking_pids($1))
            """,
            [.int(Int64(pid))],
            on: connection
        )
    }

    /// Who holds something of the bookkeeping, or of a schema, that others have to wait for.
    static func holding(
        anythingIn schema: String,
        on connection: PostgresConnection
    ) async throws -> [Blocker] {
        try await find(
            """
            SELECT DISTINCT l.pid, l.virtualtransaction FROM pg_catalog.pg_locks AS l
            JOIN pg_catalog.pg_class AS c ON c.oid = l.relation
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE l.locktype = 'relation' AND l.granted AND n.nspname IN ($1, 'reprise')
                AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d
                    WHERE d.datname = pg_catalog.current_database())
                AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
            """,
            [.text(schema)],
            on: connection
        )
    }

    /// What is known of the holders that a query over `pg_locks` finds.
    ///
    /// A prepared transaction has no session. Its locks keep the virtual transaction number of the
    /// session it was made in, and one of them is on its own transaction number.
    private static func find(
        _ locks: String,
        _ parameters: [PostgresValue],
        on connection: PostgresConnection
    ) async throws -> [Blocker] {
        let result = try await connection.query(
            """
            SELECT l.pid, l.virtualtransaction, CASE a.wait_event_type WHEN 'Lock' THEN
                    pg_catalog.array_to_string(pg_catalog.pg_blocking_pids(l.pid), ', ') END AS waits_for,
                a.usename, a.application_name, a.backend_type,
                a.state, p.gid, p.owner,
                extract(epoch FROM pg_catalog.clock_timestamp()
                    - coalesce(a.xact_start, p.prepared)) AS age,
                extract(epoch FROM pg_catalog.clock_timestamp()
                    - CASE a.state WHEN 'active' THEN a.query_start ELSE a.state_change END)
                    AS state_age
            FROM (\(locks)) AS l
            LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
            LEFT JOIN pg_catalog.pg_locks AS x ON l.pid IS NULL AND x.pid IS NULL
                AND x.locktype = 'transactionid'
                AND x.virtualtransaction = l.virtualtransaction
            LEFT JOIN pg_catalog.pg_prepared_xacts AS p ON p.transaction = x.transactionid
            WHERE l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
            ORDER BY l.pid, l.virtualtransaction
            """,
            parameters
        )
        return try result.rows.map { try Blocker($0) }
    }

    private init(_ row: QueryRow) throws {
        let pid = try row.optionalInt("pid").map { Int32($0) }
        key = Key(pid: pid, transaction: try row.string("virtualtransaction"))
        isClient = row["backend_type"] == "client backend"
        mayBeClient = isClient || row["backend_type"] == nil && row["usename"] != nil
        transactionAge = try row.optionalDouble("age")
        state = row["state"]
        description = try Self.text(row)
    }

    private static func text(_ row: QueryRow) throws -> String {
        let age = try row.optionalDouble("age").map(Self.seconds)
        guard let pid = row["pid"] else {
            guard let gid = row["gid"] else { return "a prepared transaction" }
            return "the prepared transaction '\(gid)' of user \(row["owner"] ?? "unknown"), "
                + "prepared \(age ?? "some time") ago"
        }
        var parts = ["pid \(pid)"]
        if let kind = row["backend_type"], kind != "client backend" { parts.append(kind) }
        if let user = row["usename"] { parts.append("user \(user)") }
        if let name = row["application_name"], !name.isEmpty {
            parts.append("application '\(name)'")
        }
        if let state = row["state"], let since = try row.optionalDouble("state_age") {
            parts.append("\(state) for \(Self.seconds(since))")
        } else if row["backend_type"] == nil {
            parts.append("the rest is shown to members of pg_read_all_stats")
        }
        if let age { parts.append("its transaction open for \(age)") }
        // The number of a prepared transaction's process is 0.
        if let pids = row["waits_for"], !pids.isEmpty {
            parts.append("waiting for " + (pids == "0" ? "a prepared transaction" : "pid \(pids)"))
        }
        return parts.joined(separator: ", ")
    }

    /// A time as people read it, such as `12.3 s`.
    static func seconds(_ seconds: Double) -> String {
        "\((max(0, seconds) * 10).rounded() / 10) s"
    }
}

extension Blocker {
    /// What became of a signal.
    enum Signal {
        /// It was sent; the text says what it does.
        case sent(String)
        /// It was not, and why.
        case spared(String)
    }

    /// Cancels the session's statement, or ends the session, if it is somebody's session and its
    /// transaction is still the same.
    func signal(
        _ policy: CutOverPatience.BlockerPolicy,
        on connection: PostgresConnection
    ) async throws -> Signal {
        guard let pid = key.pid else {
            return .spared("it has no session; COMMIT PREPARED or ROLLBACK PREPARED ends it")
        }
        guard isClient else {
            return .spared(
                mayBeClient
                    ? "it was left alone, because its kind is shown to members of "
                        + "pg_read_all_stats only"
                    : "it was left alone, because it is no application's session"
            )
        }
        if policy == .cancel && state != "active" {
            return .spared("there is no statement to cancel; ending the session would help")
        }
        let function = policy == .cancel ? "pg_cancel_backend" : "pg_terminate_backend"
        do {
            let sent = try await connection.query(
                """
                SELECT pg_catalog.\(function)(l.pid) AS is_sent FROM pg_catalog.pg_locks AS l
                WHERE l.pid = $1 AND l.virtualtransaction = $2 AND l.granted LIMIT 1
                """,
                [.int(Int64(pid)), .text(key.transaction)]
            ).first
            guard try sent?.bool("is_sent") == true else {
                return .spared("its transaction has just ended")
            }
            return .sent(policy == .cancel ? "cancelled" : "ended")
        } catch let error as ServerError where error.sqlState == "42501" {
            return .spared(
                "this role may not signal it: that needs membership in its role or in "
                    + "pg_signal_backend, and for a superuser's session a superuser"
            )
        }
    }
}

/// Since when each blocker has stood in the way, attempt after attempt.
struct BlockerWatch: Sendable {
    private var since: [Blocker.Key: ContinuousClock.Instant] = [:]

    /// Takes what an attempt has met; who is not among it begins anew the next time.
    mutating func see(_ blockers: [Blocker], at now: ContinuousClock.Instant = .now) {
        since = Dictionary(
            blockers.map { ($0.key, since[$0.key] ?? now) },
            uniquingKeysWith: { first, _ in first }
        )
    }

    /// Counts one from now, because something was done about it.
    mutating func restart(_ key: Blocker.Key, at now: ContinuousClock.Instant = .now) {
        since[key] = now
    }

    /// How long one has stood in the way, in seconds.
    func seconds(of key: Blocker.Key, at now: ContinuousClock.Instant = .now) -> Double {
        since[key].map { (now - $0).milliseconds / 1_000 } ?? 0
    }
}
