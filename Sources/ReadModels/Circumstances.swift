import Postgres
import Wording

extension Gates {
    /// What a plan says of the circumstances of a cut-over: what it would wait for, and what it can
    /// do to others.
    ///
    /// - Parameters:
    ///   - live: The live tables; none when there are none yet.
    ///   - connection: Where to ask.
    /// - Returns: A line each.
    /// - Throws: What the server says.
    static func findings(
        of live: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        let circumstances = Circumstances(live: live, connection: connection)
        return try await [circumstances.version]
            + circumstances.deadlockTimeout()
            + circumstances.standbys()
            + circumstances.synchronousCommit()
            + circumstances.slots()
            + circumstances.longTransactions()
            + circumstances.wraparoundVacuum()
            + circumstances.eventTriggers()
            + circumstances.lockTable()
            + circumstances.roleOfOurName()
    }
}

/// Looks at the server and at who is at work on the live tables.
private struct Circumstances {
    let live: [UInt32]
    let connection: PostgresConnection

    var version: Finding {
        let major = Int(connection.serverVersion) / 10_000
        let subject = "PostgreSQL \(major).\(connection.serverVersion % 10_000)"
        guard TestedMajors.all.contains(major) else {
            return Finding(
                .warn,
                subject,
                "newer than \(TestedMajors.newest), the last one tested."
            )
        }
        return Finding(.ok, subject, "a version that is tested.")
    }

    func deadlockTimeout() async throws -> [Finding] {
        let row = try await connection.query(
            """
            SELECT s.setting::pg_catalog.int4 AS milliseconds FROM pg_catalog.pg_settings AS s
            WHERE s.name = 'deadlock_timeout'
            """
        ).first
        guard let milliseconds = try row?.int("milliseconds") else { return [] }
        let subject = "deadlock_timeout \(milliseconds) ms"
        guard milliseconds < 100 else {
            return [
                Finding(.ok, subject, "a lock is waited for \(milliseconds * 4 / 5) ms at most.")
            ]
        }
        return [
            Finding(
                .warn,
                subject,
                "a lock is waited for \(max(1, milliseconds * 4 / 5)) ms at most, so that a busy "
                    + "table may not be had. The usual second is better."
            )
        ]
    }

    func standbys() async throws -> [Finding] {
        let found = try await connection.query(
            """
            SELECT r.application_name, r.usename, r.pid FROM pg_catalog.pg_stat_replication AS r
            WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots AS s
                WHERE s.active_pid = r.pid AND s.slot_type = 'logical')
            ORDER BY r.pid
            """
        )
        return try found.rows.map { row in
            Finding(
                .warn,
                "standby '\(row["application_name"] ?? "")', pid \(try row.string("pid"))",
                "readers there wait for a reader of the old tables, and it is cancelled after the "
                    + "standby's max_standby_streaming_delay. Attempts that do not get their locks "
                    + "here do the same there."
            )
        }
    }

    func synchronousCommit() async throws -> [Finding] {
        let row = try await connection.query(
            "SELECT pg_catalog.current_setting('synchronous_standby_names') AS names"
        ).first
        guard let names = row?["names"], !names.isEmpty else { return [] }
        return [
            Finding(
                .warn,
                "synchronous_standby_names '\(names)'",
                "the cut-over waits until these have the load, before it asks for a lock, and for 30 s "
                    + "at most until they have the cut-over. Readers never wait for them."
            )
        ]
    }

    /// Slots that keep the WAL of the rebuild, or have to read it.
    func slots() async throws -> [Finding] {
        let found = try await connection.query(
            """
            SELECT s.slot_name, s.slot_type, s.active, s.wal_status = 'lost' AS is_lost,
                pg_catalog.pg_size_pretty(s.safe_wal_size) AS safe,
                pg_catalog.pg_size_pretty(pg_catalog.pg_wal_lsn_diff(
                    pg_catalog.pg_current_wal_insert_lsn(), s.restart_lsn)) AS kept
            FROM pg_catalog.pg_replication_slots AS s
            WHERE (s.restart_lsn IS NOT NULL OR s.wal_status = 'lost')
                AND (s.database = pg_catalog.current_database() OR NOT s.active)
            ORDER BY s.slot_name
            """
        )
        return try found.rows.map { row in
            let name = TextForPeople.line(try row.string("slot_name"))
            let isLogical = row["slot_type"] == "logical"
            let state = try row.bool("active") ? "" : ", nobody reads it"
            let subject = "\(isLogical ? "logical" : "physical") slot \(name)\(state)"
            if row["is_lost"] == "t" {
                return Finding(
                    .warn,
                    subject,
                    "the server has thrown away WAL that it was to keep (max_slot_wal_keep_size): its reader "
                        + "has to be made anew."
                )
            }
            let limit = row["safe"].map {
                " It is thrown away, and its reader has to be made anew, when it is more than \($0) of "
                    + "new WAL behind (max_slot_wal_keep_size)."
            }
            return Finding(
                .warn,
                subject,
                "it keeps \(try row.string("kept")) of WAL on the server's disk now, and all that the "
                    + "rebuild writes until it has been read"
                    + (isLogical ? ". Its reader decodes that, unpublished tables included." : ".")
                    + (limit ?? "")
            )
        }
    }

    /// Transactions that keep the cut-over from queueing.
    func longTransactions() async throws -> [Finding] {
        try await Blocker.holding(live, on: connection).filter {
            $0.key.pid == nil || ($0.transactionAge ?? 0) > 1
        }.map { blocker in
            Finding(
                .warn,
                "a lock on a live table",
                "\(blocker). The cut-over waits until it ends."
            )
        }
    }

    func wraparoundVacuum() async throws -> [Finding] {
        let found = try await connection.query(
            """
            SELECT DISTINCT a.pid, l.relation::pg_catalog.regclass AS name
            FROM pg_catalog.pg_locks AS l
            JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
            WHERE l.locktype = 'relation' AND l.granted
                AND l.relation = ANY ($1::pg_catalog.oid[])
                AND l.database = (SELECT oid FROM pg_catalog.pg_database
                    WHERE datname = pg_catalog.current_database())
                AND a.backend_type = 'autovacuum worker'
                AND a.query LIKE '%(to prevent wraparound)'
            """,
            [.ints(live.map { Int64($0) })]
        )
        return try found.rows.map { row in
            Finding(
                .warn,
                "autovacuum of \(try row.string("name")), pid \(try row.string("pid"))",
                "it prevents wraparound, so it does not give way: the cut-over waits until it ends."
            )
        }
    }

    func eventTriggers() async throws -> [Finding] {
        let found = try await connection.query(
            """
            SELECT t.evtname, t.evtevent, t.evtfoid::pg_catalog.regproc AS function
            FROM pg_catalog.pg_event_trigger AS t WHERE \(EventTriggers.fires)
            ORDER BY t.evtname
            """
        )
        return try found.rows.map { row in
            Finding(
                .warn,
                "event trigger \(try row.string("evtname"))",
                "\(try row.string("function")) runs at \(try row.string("evtevent")), also inside "
                    + "the cut-over: its time counts against the outage budget, and an error of it "
                    + "undoes the cut-over."
            )
        }
    }

    /// The shared lock table has room for `max_locks_per_transaction` locks a connection, and one
    /// transaction may use the room of others.
    func lockTable() async throws -> [Finding] {
        let row = try await connection.query(
            """
            SELECT pg_catalog.current_setting('max_locks_per_transaction')::pg_catalog.int8
                * (pg_catalog.current_setting('max_connections')::pg_catalog.int8
                    + pg_catalog.current_setting('max_prepared_transactions')::pg_catalog.int8)
                AS room,
                (SELECT pg_catalog.count(*) FROM (
                    SELECT c.oid FROM pg_catalog.pg_class AS c
                    WHERE c.oid = ANY ($1::pg_catalog.oid[])
                    UNION ALL
                    SELECT i.indexrelid FROM pg_catalog.pg_index AS i
                    WHERE i.indrelid = ANY ($1::pg_catalog.oid[])) AS r) AS relations
            """,
            [.ints(live.map { Int64($0) })]
        ).first
        // The old ones and the new ones.
        guard let row, try row.int("room") < 8 * row.int("relations") else { return [] }
        return [
            Finding(
                .warn,
                "max_locks_per_transaction",
                "the cut-over locks about \(2 * (try row.int("relations"))) relations, and the "
                    + "server has room for \(try row.int("room")) locks of all its sessions."
            )
        ]
    }

    /// `"$user"` stands first on the usual search path: what a role of that name makes without naming a
    /// schema lands in the schema of the bookkeeping.
    func roleOfOurName() async throws -> [Finding] {
        let found = try await connection.query(
            """
            SELECT FROM pg_catalog.pg_roles AS r
            WHERE r.rolname = 'reprise' AND r.rolcanlogin AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_db_role_setting AS s
                CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS c (line)
                WHERE s.setrole IN (0, r.oid) AND s.setdatabase IN (0, (
                        SELECT d.oid FROM pg_catalog.pg_database AS d
                        WHERE d.datname = pg_catalog.current_database()))
                    AND c.line LIKE 'search_path=%' AND c.line NOT LIKE '%$user%')
                AND NOT (r.rolname = session_user AND EXISTS (
                    SELECT FROM pg_catalog.pg_settings AS s
                    WHERE s.name = 'search_path' AND s.reset_val NOT LIKE '%$user%'))
            """
        )
        return found.rows.map { _ in
            Finding(
                .warn,
                "role reprise",
                "a table that it makes without naming a schema lands in the schema 'reprise', which "
                    + "holds the bookkeeping. Type ALTER ROLE reprise RENAME TO reprise_job, or ALTER "
                    + "ROLE reprise SET search_path = public."
            )
        }
    }
}
