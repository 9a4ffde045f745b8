import Postgres

extension ReadModelDatabase {
    /// Fails where the server has not as many connections left as a build and a cut-over open.
    ///
    /// So that nothing is folded in vain. Others may still take them in the time until then.
    ///
    /// - Parameters:
    ///   - wanted: How many more this command will have at once.
    ///   - run: The run.
    /// - Throws: ``ReadModelError/connectionLimit(reason:remedy:)`` when a limit is lower than what the
    ///   command needs for itself, ``ReadModelError/unreachable(reason:)`` when others hold too many.
    package func assertRoom(for wanted: Int, in run: Run) async throws {
        try await assertLimits(allow: wanted, on: run.connection)
        var room = try await self.room(in: run)
        // A session that was just closed keeps its place until the server's process has ended.
        for _ in 0..<20 {
            guard let left = room, left < wanted else { return }
            try await Task.sleep(for: .milliseconds(100))
            room = try await self.room(in: run)
        }
        guard let room, room < wanted else { return }
        throw ReadModelError.unreachable(
            reason:
                "The server has \(max(room, 0)) connections left for this role and database, and "
                + "this command needs \(wanted) more at once (max_connections, CONNECTION LIMIT of the "
                + "role and of the database)."
        )
    }

    /// How many connections are left; nil where nothing limits them.
    private func room(in run: Run) async throws -> Int64? {
        try await translatingErrors(doing: "counting connections") {
            try await run.connection.query(
                """
                SELECT least(pg_catalog.current_setting('max_connections')::pg_catalog.int8
                        - CASE WHEN r.rolsuper THEN 0 ELSE pg_catalog.current_setting(
                            'superuser_reserved_connections')::pg_catalog.int8
                            + coalesce(pg_catalog.current_setting('reserved_connections', true)
                                ::pg_catalog.int8, 0) END
                        - (SELECT sum(numbackends) FROM pg_catalog.pg_stat_database),
                    CASE WHEN NOT r.rolsuper AND d.datconnlimit >= 0 THEN d.datconnlimit
                        - (SELECT numbackends FROM pg_catalog.pg_stat_database AS s
                            WHERE s.datid OPERATOR(pg_catalog.=) d.oid) END,
                    CASE WHEN NOT r.rolsuper AND r.rolconnlimit >= 0 THEN r.rolconnlimit
                        - (SELECT count(*) FROM pg_catalog.pg_stat_activity AS a
                            WHERE a.usesysid OPERATOR(pg_catalog.=) r.oid) END) AS room
                FROM pg_catalog.pg_roles AS r, pg_catalog.pg_database AS d
                WHERE r.rolname OPERATOR(pg_catalog.=) session_user
                    AND d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
                """
            ).first?.optionalInt("room")
        }
    }

    /// Fails where a limit is lower than what a command needs for itself.
    ///
    /// - Parameters:
    ///   - wanted: How many connections it opens beside this one.
    ///   - connection: One of the same role and database.
    /// - Throws: ``ReadModelError/connectionLimit(reason:remedy:)``.
    func assertLimits(allow wanted: Int, on connection: PostgresConnection) async throws {
        let limit = try await translatingErrors(doing: "counting connections") {
            try await connection.query(
                """
                SELECT pg_catalog.format('The role %s', r.rolname) AS owner, r.rolconnlimit AS most,
                    pg_catalog.format('ALTER ROLE %I', r.rolname) AS change
                FROM pg_catalog.pg_roles AS r
                WHERE r.rolname OPERATOR(pg_catalog.=) session_user AND NOT r.rolsuper
                    AND r.rolconnlimit BETWEEN 0 AND $1
                UNION ALL
                SELECT pg_catalog.format('The database %s', d.datname), d.datconnlimit,
                    pg_catalog.format('ALTER DATABASE %I', d.datname)
                FROM pg_catalog.pg_database AS d
                JOIN pg_catalog.pg_roles AS r ON r.rolname OPERATOR(pg_catalog.=) session_user
                WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
                    AND NOT r.rolsuper AND d.datconnlimit BETWEEN 0 AND $1
                """,
                [.int(Int64(wanted))]
            ).first
        }
        guard let limit else { return }
        throw ReadModelError.connectionLimit(
            reason:
                "\(try limit.string("owner")) may have \(try limit.string("most")) connections at "
                + "once (CONNECTION LIMIT), and this command alone needs \(wanted + 1).",
            remedy:
                "Type \(try limit.string("change")) CONNECTION LIMIT \(wanted + 1), or more where "
                + "others use it too; then run the same command again."
        )
    }
}
