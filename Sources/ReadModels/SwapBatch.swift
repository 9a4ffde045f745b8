import Postgres

/// The statements of a swap that run while readers are held up: locks, then catalogue statements
/// only, sent as one message that ends in COMMIT.
///
/// Between the first lock and the COMMIT the server waits neither for the network nor for this
/// process.
struct SwapBatch: Sendable {
    let kind: CutOverKind
    let run: Run
    let target: GenerationRecord
    let fence: Fence
    /// Where the live tables go; nil when there are none.
    let retiredHome: String?
    let liveSchema: String
    /// Grants on tables that get another owner, by table.
    let grants: [String: [String]]
    /// Outermost first.
    let views: [DependentView]
    /// Extended statistics, which do not follow their table into another schema.
    let statistics: [Statistics]
    let fingerprint: String

    /// An extended statistics object and its table.
    struct Statistics: Sendable {
        let name: QualifiedName
        let table: UInt32
    }

    /// SQLSTATEs that the batch raises itself.
    enum SQLState {
        /// What was captured is not what is there: the next attempt captures it again.
        static let changed = "RP001"
        /// The session with the run's lock is gone.
        static let lostLock = "RP002"
    }

    /// Takes the exclusive locks: views from the outside in, then the tables by name.
    ///
    /// They are one statement, so that one limit holds for all of them together.
    private var locks: String {
        var locks = views.map(\.lock)
        if !fence.live.tables.isEmpty {
            let tables = fence.live.tables.map(\.name.sql).joined(separator: ", ")
            locks.append("LOCK TABLE \(tables) IN ACCESS EXCLUSIVE MODE;")
        }
        return "DO \(SQLText.literal("BEGIN\n\(locks.joined(separator: "\n"))\nEND"))"
    }

    /// What the batch did, once it is committed.
    ///
    /// - Parameters:
    ///   - rung: The limits it had.
    ///   - began: When it was sent.
    ///   - answers: Those to its statements; one has the times that it has recorded.
    /// - Returns: What the cut-over did.
    func result(
        _ rung: Rung,
        since began: ContinuousClock.Instant,
        _ answers: [QueryResult]
    ) -> CutOverResult {
        let recorded = answers.last { $0.columns.contains("lock_wait_ms") }?.first
        var result = CutOverResult(
            generation: target.number,
            previous: fence.live.generation?.number,
            position: target.position,
            blockedMilliseconds: (ContinuousClock.now - began).milliseconds,
            longestFailedWait: rung.longestFailedWait,
            attempts: rung.attempt,
            views: views.map(\.name.sql)
        )
        result.lockWaitMilliseconds = (try? recorded?.optionalDouble("lock_wait_ms")) ?? 0
        result.positionBefore = fence.checkpoint?.position
        return result
    }

    /// Everything from the locks to COMMIT.
    ///
    /// - Parameter rung: The limits.
    /// - Returns: The text of one message.
    func sql(_ rung: Rung) -> String {
        var statements = [assertion]
        if let retiredHome {
            let home = SQLText.identifier(retiredHome)
            for statistic in statistics where fence.live.oids.contains(statistic.table) {
                statements.append("ALTER STATISTICS \(statistic.name.sql) SET SCHEMA \(home)")
            }
            for table in fence.live.tables {
                statements.append("ALTER TABLE \(table.name.sql) SET SCHEMA \(home)")
            }
        }
        let live = SQLText.identifier(liveSchema)
        for table in target.tables {
            let name = QualifiedName(schema: target.homeSchema, name: table.name)
            statements.append("ALTER TABLE \(name.sql) SET SCHEMA \(live)")
            if let twin = fence.live.tables.first(where: { $0.name.name == table.name }) {
                let moved = QualifiedName(schema: liveSchema, name: table.name)
                statements.append(
                    "ALTER TABLE \(moved.sql) OWNER TO \(SQLText.identifier(twin.owner))"
                )
            }
            statements += grants[table.name] ?? []
        }
        let targetOIDs = target.tables.map(\.oid)
        for statistic in statistics where targetOIDs.contains(statistic.table) {
            statements.append("ALTER STATISTICS \(statistic.name.sql) SET SCHEMA \(live)")
        }
        statements += CutOverStop.statements(at: .moved)
        statements += views.reversed().map(\.replacement)
        statements += CutOverStop.statements(at: .carried)
        statements += bookkeeping(rung)
        statements += CutOverStop.statements(at: .recorded)
        let opening = [rung.begin, locks, rung.locked] + CutOverStop.statements(at: .locked)
        return (opening + rung.bounding(statements) + ["COMMIT"]).joined(separator: ";\n")
    }

    /// Raises unless the run still has its lock, every table is the one that was looked at, and what
    /// depends on the live tables and their grants is unchanged.
    private var assertion: String {
        let expected =
            (fence.live.tables.map { ($0.oid, $0.name) }
                + target.tables.map {
                    ($0.oid, QualifiedName(schema: target.homeSchema, name: $0.name))
                })
        let rows = expected.map { oid, name in
            "(\(oid)::pg_catalog.oid, \(SQLText.literal(name.schema)), \(SQLText.literal(name.name)))"
        }.joined(separator: ", ")
        let body = """
            BEGIN
            IF NOT EXISTS (\(run.lockQuery)) THEN
                RAISE EXCEPTION 'the run lost its lock' USING ERRCODE = '\(SQLState.lostLock)';
            END IF;
            IF (SELECT pg_catalog.count(*) FROM (VALUES \(rows)) AS e (oid, schema, name)
                JOIN pg_catalog.pg_class AS c ON c.oid = e.oid AND c.relname = e.name
                JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                    AND n.nspname = e.schema) <> \(expected.count)
                OR (\(Self.fingerprintQuery(of: fence.live.oids))) <> \(SQLText.literal(fingerprint))
            THEN
                RAISE EXCEPTION 'the tables changed since the cut-over began'
                    USING ERRCODE = '\(SQLState.changed)';
            END IF;
            END
            """
        return "DO \(SQLText.literal(body))"
    }

    private func bookkeeping(_ rung: Rung) -> [String] {
        let name = SQLText.literal(run.projection)
        var statements: [String] = []
        let position = fence.checkpoint?.position.map(SQLText.literal) ?? "NULL"
        if let old = fence.live.generation {
            let home =
                retiredHome.map {
                    "(SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = \(SQLText.literal($0)))"
                } ?? "NULL"
            let state = retiredHome == nil ? "'dropped'" : "'retired'"
            statements.append(
                """
                UPDATE reprise.generation SET state = \(state), retired_at = pg_catalog.now(),
                    home_schema_oid = \(home), position = coalesce(\(position), position)
                WHERE projection = \(name) AND generation = \(old.number)
                """
            )
        }
        return statements + arrival(name: name, positionBefore: position, rung)
    }

    private func arrival(name: String, positionBefore: String, _ rung: Rung) -> [String] {
        let after = target.position.map(SQLText.literal) ?? "NULL"
        let from = fence.live.generation.map { "\($0.number)" } ?? "NULL"
        return [
            """
            UPDATE reprise.generation SET state = 'live', live_since = pg_catalog.now()
            WHERE projection = \(name) AND generation = \(target.number)
            """,
            "UPDATE reprise.run SET generation = \(target.number) WHERE run_id = \(run.id)",
            """
            INSERT INTO reprise.checkpoint (projection, generation, position)
            VALUES (\(name), \(target.number), \(after))
            ON CONFLICT (projection) DO UPDATE SET generation = excluded.generation,
                position = excluded.position, updated_at = excluded.updated_at
            """,
            """
            INSERT INTO reprise.swap (run_id, projection, kind, from_generation, to_generation,
                position_before, position_after, \(rung.record.columns))
            VALUES (\(run.id), \(name), '\(kind.rawValue)', \(from), \(target.number),
                \(positionBefore), \(after), \(rung.record.values))
            RETURNING lock_wait_ms
            """,
        ]
    }

    static func statistics(
        of tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [Statistics] {
        let result = try await connection.query(
            """
            SELECT s.stxrelid, s.stxname, n.nspname
            FROM pg_catalog.pg_statistic_ext AS s
            JOIN pg_catalog.pg_namespace AS n ON n.oid = s.stxnamespace
            WHERE s.stxrelid = ANY ($1::pg_catalog.oid[]) ORDER BY s.stxname
            """,
            [.ints(tables.map { Int64($0) })]
        )
        return try result.rows.map {
            Statistics(
                name: QualifiedName(
                    schema: try $0.string("nspname"),
                    name: try $0.string("stxname")
                ),
                table: UInt32(try $0.int("stxrelid"))
            )
        }
    }

    static func fingerprint(
        of tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> String {
        let row = try await connection.query(
            "SELECT (\(fingerprintQuery(of: tables))) AS fingerprint"
        ).first
        return try row?.string("fingerprint") ?? ""
    }

    /// A digest of the grants on the tables, of what depends on them, and of how views are set.
    private static func fingerprintQuery(of tables: [UInt32]) -> String {
        let oids = "'{\(tables.map(String.init).joined(separator: ","))}'::pg_catalog.oid[]"
        return """
            SELECT pg_catalog.md5(coalesce(pg_catalog.string_agg(f.line, ' ' ORDER BY f.line), ''))
            FROM (
                SELECT pg_catalog.format('%s %s %s %s', c.oid, c.relowner, c.relacl, a.attacl) AS line
                FROM pg_catalog.pg_class AS c
                JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
                WHERE c.oid = ANY (\(oids))
                UNION ALL
                SELECT pg_catalog.format('%s %s %s', d.classid, d.objid, d.deptype)
                FROM pg_catalog.pg_depend AS d
                WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                    AND d.refobjid = ANY (\(oids))
                UNION ALL
                SELECT pg_catalog.format('rule %s %s %s %s', r.oid, r.xmin, v.relowner, v.reloptions)
                FROM pg_catalog.pg_depend AS d
                JOIN pg_catalog.pg_rewrite AS r ON r.oid = d.objid
                JOIN pg_catalog.pg_class AS v ON v.oid = r.ev_class
                WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
                    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                    AND d.refobjid = ANY (\(oids))) AS f
            """
    }
}
