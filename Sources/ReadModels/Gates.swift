import Postgres
import Wording

/// What has to be so before an attempt of a cut-over asks for its first lock.
///
/// Looking costs no lock, so a closed gate holds up nobody.
struct Gates: Sendable {
    /// The transaction that loaded the rows, and the time at which they were complete.
    struct LoadMark: Sendable {
        /// With its epoch.
        let transaction: Int64
        /// As the server writes it.
        let completedAt: String
    }

    let run: Run
    let patience: CutOverPatience
    /// The live tables.
    let live: [UInt32]
    /// Nil when nobody has recorded it; snapshots are not looked at then.
    let loadMark: LoadMark?
    /// The newest write of a catch-up behind the load; nil when there was none.
    var roundMark: LoadMark?
    let readyGeneration: Int?
    /// Told what is waited for for longer than a moment.
    let notice: @Sendable (String) -> Void

    /// How long the flush barrier waits for a synchronous standby.
    private static let barrierSeconds = 5

    /// Fails while one of the gates is closed.
    ///
    /// - Parameters:
    ///   - watch: Since when blockers have stood in the way.
    ///   - connection: Where to ask; it is in no transaction.
    /// - Returns: What should be known of gates that stay open by policy.
    /// - Throws: ``LockLadder/Blocked``.
    func pass(watch: BlockerWatch, on connection: PostgresConnection) async throws -> [String] {
        try await lookBeforeLocking(watch, on: connection)
        let warnings = try await awaitSnapshots(on: connection)
        try await flush(on: connection)
        return warnings
    }

    /// Does not queue behind a transaction that has been open for long: it will not end within an
    /// attempt, and readers would queue behind this session for nothing.
    private func lookBeforeLocking(
        _ watch: BlockerWatch,
        on connection: PostgresConnection
    ) async throws {
        let limit = max(1, 5 * Double(patience.outageBudget) / 1_000)
        let relations = try await relations(on: connection)
        let blockers = try await Blocker.holding(relations, on: connection).filter {
            $0.key.pid != run.connection.backendPID
        }
        let lasting = blockers.filter { blocker in
            let age = blocker.transactionAge ?? watch.seconds(of: blocker.key)
            return blocker.key.pid == nil || blocker.mayBeClient && age > limit
        }
        guard lasting.isEmpty else {
            throw LockLadder.Blocked(blockers: lasting, readyGeneration: readyGeneration)
        }
    }

    /// What the cut-over will ask to have for itself, or more: the live tables, views over them, other
    /// tables whose keys and policies refer to them.
    private func relations(on connection: PostgresConnection) async throws -> [UInt32] {
        try await connection.query(
            """
            WITH RECURSIVE relation AS (
                SELECT u.oid FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS u (oid)
                UNION
                SELECT coalesce(w.ev_class, p.polrelid) FROM relation AS r
                JOIN pg_catalog.pg_depend AS d ON d.refobjid = r.oid
                    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                LEFT JOIN pg_catalog.pg_rewrite AS w ON w.oid = d.objid
                    AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
                LEFT JOIN pg_catalog.pg_policy AS p ON p.oid = d.objid
                    AND d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass
                WHERE coalesce(w.ev_class, p.polrelid) IS NOT NULL
            )
            SELECT r.oid FROM relation AS r
            UNION
            SELECT k.conrelid FROM pg_catalog.pg_constraint AS k
            WHERE k.oid IN (\(References.constraints)) AND k.contype = 'f'
                AND k.confrelid = ANY ($1::pg_catalog.oid[])
            """,
            [.ints(live.map { Int64($0) })]
        ).rows.map { UInt32(try $0.int("oid")) }
    }

    /// Waits for snapshots that are older than the new rows.
    ///
    /// Those older than the load do not know its rows, and would take the new tables for empty or for
    /// what they were not. One that is older than the last round of the catch-up
    /// finds them as they were before it, which may be older than what it has seen.
    ///
    /// Rounds go on as long as events do, and at any moment somebody has a snapshot: so those that are
    /// older than a round are waited for, and most end at once.
    ///
    /// - Parameters:
    ///   - limit: How long to wait for those that are older than a round only.
    ///   - connection: Where to ask; in a transaction or not.
    /// - Returns: What should be known of a gate that stays open by policy.
    /// - Throws: ``LockLadder/Blocked``.
    func awaitSnapshots(
        for limit: Duration = .seconds(1),
        on connection: PostgresConnection
    ) async throws -> [String] {
        // Where there were no tables nobody can have expected other rows in them.
        guard let loadMark, !live.isEmpty else { return [] }
        let end = ContinuousClock.now + limit
        while true {
            let elsewhere = try await standbySnapshots(olderThan: loadMark, on: connection)
            let old = try await snapshots(olderThan: loadMark, on: connection) + elsewhere
            guard !old.isEmpty else { return [] }
            if patience.oldSnapshots == .proceed {
                return old.map {
                    "A snapshot is older than the new rows, and may find other rows than it knows: "
                        + "\($0.session)."
                }
            }
            for reader in elsewhere {
                notice("The cut-over waits, and holds no lock meanwhile, for \(reader.session).")
            }
            guard !old.contains(where: \.isBeforeLoad), ContinuousClock.now < end else {
                throw LockLadder.Blocked(
                    reasons: old.map {
                        "a snapshot that is older than the new rows: \($0.session) "
                            + "('--old-snapshots proceed' does not wait for it)"
                    },
                    readyGeneration: readyGeneration
                )
            }
            // The server shows a transaction the same sessions until it is asked for new ones.
            try await connection.execute(
                "SELECT pg_catalog.pg_stat_clear_snapshot(), pg_catalog.pg_sleep(0.02)"
            )
        }
    }

    /// A session whose snapshot is old, as people look for it.
    private struct OldSnapshot {
        let session: String
        let isBeforeLoad: Bool
    }

    /// Finds them.
    ///
    /// `backend_xmin` alone would accuse every session that began while an older transaction was
    /// still writing; one whose transaction began after the load knows the rows. Of a round a long
    /// statement does not count whose transaction began with it, because its snapshot ends with it,
    /// and on a server for reports there is always one; 20 ms are what the messages of one statement
    /// are apart at most.
    ///
    /// A walsender that has made a logical slot keeps the snapshot of that moment until its next command,
    /// and hands it to workers that begin later; it has no `xact_start`.
    /// A dump counts whenever it began: it finds tables by name, and what it reads of them is new where
    /// the bookkeeping that it reads is old.
    private func snapshots(
        olderThan loadMark: LoadMark,
        on connection: PostgresConnection
    ) async throws -> [OldSnapshot] {
        let roundMark = roundMark ?? loadMark
        let found = try await connection.query(
            """
            SELECT o.pid, o.usename, o.application_name, o.is_before_load,
                extract(epoch FROM pg_catalog.clock_timestamp() - o.xact_start) AS age
            FROM (
                SELECT a.*, \(Self.isOlder(than: "$1", "$2")) AS is_before_load,
                    \(Self.isOlder(than: "$4", "$5"))
                        AND (a.state LIKE 'idle in transaction%'
                            OR a.query_start - a.xact_start > interval '20 ms'
                            OR pg_catalog.clock_timestamp() - a.query_start < interval '1 s')
                        AS is_before_round,
                    a.application_name = 'pg_dump' AS is_dump
                FROM pg_catalog.pg_stat_activity AS a
                CROSS JOIN (SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())
                    ::pg_catalog.text::pg_catalog.int8 AS xmax) AS s
                WHERE a.datname = pg_catalog.current_database() AND a.usesysid IS NOT NULL
                    AND (coalesce(a.backend_type, 'client backend') = 'client backend'
                        OR a.backend_type = 'walsender' AND a.state = 'idle in transaction')
                    AND a.pid <> pg_catalog.pg_backend_pid() AND a.backend_xmin IS NOT NULL
                    AND a.application_name !~ $3
            ) AS o
            WHERE o.is_before_load OR o.is_before_round OR o.is_dump
            ORDER BY o.pid
            """,
            [
                .int(loadMark.transaction), .text(loadMark.completedAt), .text(Self.loaders),
                .int(roundMark.transaction), .text(roundMark.completedAt),
            ]
        )
        return try found.rows.map { row in
            let age = try row.optionalDouble("age").map {
                ", its transaction open for \(Blocker.seconds($0))"
            }
            return OldSnapshot(
                session: "pid \(try row.string("pid")), user \(row["usename"] ?? "unknown"), "
                    + "application '\(row["application_name"] ?? "")'\(age ?? "")",
                isBeforeLoad: try row.bool("is_before_load")
            )
        }
    }

    /// Standbys on which somebody reads with a snapshot that is older than the load.
    ///
    /// `hot_standby_feedback` tells of them, every `wal_receiver_status_interval`, and keeps the replay from
    /// stopping at them. Without it the replay of the cut-over waits there, or ends them. Those that are older
    /// than a round alone cannot be told from those that are not.
    private func standbySnapshots(
        olderThan loadMark: LoadMark,
        on connection: PostgresConnection
    ) async throws -> [OldSnapshot] {
        try await connection.query(
            """
            SELECT DISTINCT a.standby FROM (
                SELECT coalesce(r.application_name, pg_catalog.host(r.client_addr), r.pid::pg_catalog.text)
                    AS standby, r.backend_xmin AS xmin
                FROM pg_catalog.pg_stat_replication AS r
                WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots AS l
                    WHERE l.active_pid = r.pid AND l.slot_type = 'logical')
                UNION ALL
                SELECT coalesce(r.application_name, s.slot_name::pg_catalog.text), s.xmin
                FROM pg_catalog.pg_replication_slots AS s
                LEFT JOIN pg_catalog.pg_stat_replication AS r ON r.pid = s.active_pid
                WHERE s.slot_type = 'physical' AND s.active
            ) AS a
            CROSS JOIN (SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())
                ::pg_catalog.text::pg_catalog.int8 AS xmax) AS s
            WHERE a.xmin IS NOT NULL AND \(Self.isUpTo("$1", "a.xmin"))
            ORDER BY a.standby
            """,
            [.int(loadMark.transaction)]
        ).rows.map {
            OldSnapshot(
                session:
                    "a reader on standby '\(TextForPeople.line($0["standby"] ?? ""))', which its "
                    + "hot_standby_feedback tells of",
                isBeforeLoad: true
            )
        }
    }

    /// Whether a transaction's number, which has no epoch, is up to one that has.
    private static func isUpTo(_ transaction: String, _ number: String) -> String {
        """
        s.xmax + (\(number)::pg_catalog.text::pg_catalog.int8
            - s.xmax % 4294967296 + 6442450944) % 4294967296 - 2147483648 <= \(transaction)
        """
    }

    private static func isOlder(than transaction: String, _ completedAt: String) -> String {
        """
        (\(isUpTo(transaction, "a.backend_xmin"))
            AND (a.xact_start IS NULL OR a.xact_start < \(completedAt)::pg_catalog.timestamptz))
        """
    }

    /// Sessions of rebuilds at work on other tables: their long statements have snapshots, and read
    /// no live table.
    ///
    /// Those of a load that share its work have numbers.
    private static let loaders = "^reprise (load|index|prune)( [0-9]+)?$"

    /// Waits until synchronous standbys have all of the load: one that is not there would not have the
    /// cut-over either.
    private func flush(on connection: PostgresConnection) async throws {
        if try await SynchronousStandbys.haveEverything(within: .seconds(1), on: connection) {
            return
        }
        let who = try await SynchronousStandbys.lagging(on: connection)
        notice("The cut-over waits for a standby, and holds no lock meanwhile: \(who).")
        let isFlushed = try await SynchronousStandbys.haveEverything(
            within: .seconds(Self.barrierSeconds - 1),
            on: connection
        )
        guard !isFlushed else { return }
        throw LockLadder.Blocked(
            reasons: [
                "a synchronous standby that lags behind, or is not there: \(who) was waited for for "
                    + "\(Self.barrierSeconds) s"
            ],
            readyGeneration: readyGeneration
        )
    }
}

extension Gates.LoadMark {
    /// Those of a generation's load and of its last round; nil what was not recorded.
    static func find(
        of generation: Int,
        of projection: String,
        on connection: PostgresConnection
    ) async throws -> (load: Gates.LoadMark?, round: Gates.LoadMark?) {
        let row = try await connection.query(
            """
            SELECT load_xid, coalesce(built_at, pg_catalog.clock_timestamp()) AS loaded_at,
                round_xid, coalesce(round_at, pg_catalog.clock_timestamp()) AS round_at
            FROM reprise.generation WHERE projection = $1 AND generation = $2
            """,
            [.text(projection), .int(Int64(generation))]
        ).first
        func mark(_ transaction: String, _ time: String) throws -> Gates.LoadMark? {
            guard let row, let transaction = try row.optionalInt(transaction) else { return nil }
            return Gates.LoadMark(transaction: transaction, completedAt: try row.string(time))
        }
        return (try mark("load_xid", "loaded_at"), try mark("round_xid", "round_at"))
    }

    /// The present moment: for rows that are loaded in the cut-over itself.
    static func now(on connection: PostgresConnection) async throws -> Gates.LoadMark {
        let row = try await connection.query(
            """
            SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())
                ::pg_catalog.text::pg_catalog.int8 AS transaction,
                pg_catalog.clock_timestamp() AS completed_at
            """
        ).first
        guard let row else { preconditionFailure("SELECT without FROM gave no row") }
        return Gates.LoadMark(
            transaction: try row.int("transaction"),
            completedAt: try row.string("completed_at")
        )
    }
}
