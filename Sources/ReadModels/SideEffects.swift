import Postgres

/// What the server changes along when rows of a projection are written: foreign keys that do something
/// to the rows that refer to one, and triggers and rules.
///
/// A rebuild loads its tables without them. So a row that one of them changes is another one than a
/// rebuild would have, and a fold that continues from it would not know. The server counts what a
/// session changes, whatever makes it do so; what a statement did not change itself is a side effect.
struct SideEffects: Sendable {
    /// Tables of projections, whose rows nothing but a fold may change.
    private let watched: [UInt32]
    /// What can change rows along, by the table whose rows it changes; triggers under nil, because
    /// nobody knows what they change.
    private let causes: [UInt32?: [String]]
    private let isCounting: Bool

    /// Asks what there is.
    ///
    /// - Parameters:
    ///   - tables: OIDs of a projection's tables.
    ///   - connection: Inside the transaction that holds locks on them.
    /// - Throws: ``ServerError``.
    init(of tables: [UInt32], on connection: PostgresConnection) async throws {
        let rows = try await connection.query(
            Self.query,
            [.ints(tables.map { Int64($0) }), .bool(true), .bool(true)]
        ).rows
        var causes: [UInt32?: [String]] = [:]
        for row in rows {
            causes[try row.optionalInt("changed").map { UInt32($0) }, default: []]
                .append(try row.string("subject"))
        }
        self.causes = causes
        guard !causes.isEmpty else {
            watched = []
            isCounting = true
            return
        }
        let others = try await connection.query(
            """
            SELECT DISTINCT t.table_oid FROM reprise.generation_table AS t
            JOIN reprise.generation AS g USING (projection, generation)
            WHERE g.state = 'live' AND t.table_oid <> ALL ($1::pg_catalog.oid[])
            """,
            [.ints(tables.map { Int64($0) })]
        ).rows
        watched = tables + (try others.map { UInt32(try $0.int("table_oid")) })
        isCounting =
            try await connection.query(
                "SELECT pg_catalog.current_setting('track_counts')::pg_catalog.bool AS is_on"
            ).first?.bool("is_on") ?? false
    }

    /// Runs statements that are known to change rows of one table, and asserts that nothing else
    /// changed.
    ///
    /// - Parameters:
    ///   - table: The OID of the one.
    ///   - projection: Its projection's name.
    ///   - connection: Inside a transaction.
    ///   - body: Returns how many rows it changed there; a row that was taken out and put in again
    ///     counts twice.
    /// - Returns: What `body` returns.
    /// - Throws: ``ReadModelError/refusedByPlan(projection:reasons:)``, which names what did it; what
    ///   `body` throws.
    func watch(
        writing table: UInt32,
        of projection: String,
        on connection: PostgresConnection,
        _ body: () async throws -> Int
    ) async throws -> Int {
        guard !causes.isEmpty else { return try await body() }
        guard isCounting else {
            throw refusal(
                of: projection,
                causes.values.flatMap(\.self).sorted().map {
                    "\($0): it can change rows along, and with 'track_counts = off' the server does "
                        + "not count which. Let a superuser set it on for the server, the database or "
                        + "the role, where it was switched off."
                }
            )
        }
        var expected = try await contents(on: connection)
        let changed = try await body()
        expected[table]?.changes += changed
        let found = try await contents(on: connection)
        guard let other = watched.first(where: { expected[$0] != found[$0] }) else {
            return changed
        }
        let rows = (found[other]?.changes ?? 0) - (expected[other]?.changes ?? 0)
        throw refusal(of: projection, try await reasons(other, rows: rows, on: connection))
    }

    /// What is known of a table's rows without a look at them.
    private struct Contents: Equatable {
        /// Rows that this session has inserted, updated and deleted.
        var changes: Int
        /// Where they are; TRUNCATE gives it other files and counts nothing.
        let file: Int64?
    }

    /// Whether something can wait for the end of the transaction and change rows then.
    var canWait: Bool { !causes.isEmpty }

    /// Runs what waits for the end of the transaction, and asserts that it changes nothing.
    ///
    /// - Parameters:
    ///   - table: The OID of one of the tables.
    ///   - projection: Its projection's name.
    ///   - connection: Inside a transaction.
    /// - Throws: As ``watch(writing:of:on:_:)``.
    func settle(
        _ table: UInt32,
        of projection: String,
        on connection: PostgresConnection
    ) async throws {
        _ = try await watch(writing: table, of: projection, on: connection) {
            try await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            return 0
        }
    }

    /// What is said of a statement that the server does not run beside a rule, which it names.
    func rulesInTheWay(of projection: String) -> ReadModelError {
        refusal(
            of: projection,
            causes[nil, default: []].filter { $0.hasPrefix("rule ") }.map {
                "\($0): rows of its table exchange a unique value, and the server does not do that beside "
                    + "a rule. Make it a trigger."
            }
        )
    }

    private func refusal(of projection: String, _ reasons: [String]) -> ReadModelError {
        .refusedByPlan(projection: projection, reasons: reasons)
    }

    private func reasons(
        _ table: UInt32,
        rows: Int,
        on connection: PostgresConnection
    ) async throws -> [String] {
        let name =
            try await connection.query(
                "SELECT $1::pg_catalog.oid::pg_catalog.regclass::pg_catalog.text AS name",
                [.int(Int64(table))]
            ).first?.string("name") ?? "a table"
        let keys = causes[table, default: []].map {
            "\($0) changed \(rows) rows of \(name) that the reducer keeps, and that a rebuild has. "
                + "Make the key NO ACTION DEFERRABLE, and let the reducer change these rows as well."
        }
        let code = causes[nil, default: []].map {
            "\($0) changed rows of \(name) along, and a rebuild loads them without it. Let the reducer do "
                + "that, and drop what changes a projection's table."
        }
        guard !keys.isEmpty, !code.isEmpty else { return keys + code }
        return ["one of these did it:"] + keys + code
    }

    private func contents(on connection: PostgresConnection) async throws -> [UInt32: Contents] {
        let rows = try await connection.query(
            """
            SELECT t.oid, pg_catalog.pg_stat_get_xact_tuples_inserted(t.oid)
                + pg_catalog.pg_stat_get_xact_tuples_updated(t.oid)
                + pg_catalog.pg_stat_get_xact_tuples_deleted(t.oid) AS changes,
                pg_catalog.pg_relation_filenode(t.oid)::pg_catalog.int8 AS file
            FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS t (oid)
            """,
            [.ints(watched.map { Int64($0) })]
        ).rows
        return Dictionary(
            uniqueKeysWithValues: try rows.map { row in
                let contents = Contents(
                    changes: Int(try row.int("changes")),
                    file: try row.optionalInt("file")
                )
                return (UInt32(try row.int("oid")), contents)
            }
        )
    }

    // A key's action on a row of a table fires that table's triggers, and the keys that refer to it.
    private static let query = """
        WITH RECURSIVE \(KeyActions.reached)
        SELECT o.conrelid::pg_catalog.int8 AS changed, pg_catalog.format(
            'foreign key %I on %s (%s)', o.conname, o.conrelid::pg_catalog.regclass,
            (SELECT pg_catalog.string_agg(a.text, ' ') FROM (VALUES
                (1, 'ON DELETE ' || CASE o.confdeltype WHEN 'c' THEN 'CASCADE'
                    WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET DEFAULT' END),
                (2, 'ON UPDATE ' || CASE o.confupdtype WHEN 'c' THEN 'CASCADE'
                    WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET DEFAULT' END)
            ) AS a (place, text))) AS subject
        FROM reached AS r
        JOIN pg_catalog.pg_constraint AS o ON o.conrelid = r.oid AND o.contype = 'f'
            AND o.confrelid IN (SELECT oid FROM reached)
            AND (o.confdeltype IN ('c', 'n', 'd') OR o.confupdtype IN ('c', 'n', 'd'))
        UNION ALL
        SELECT NULL, pg_catalog.format('trigger %I on %s', t.tgname, r.oid::pg_catalog.regclass)
        FROM reached AS r
        JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = r.oid AND NOT t.tgisinternal
            AND t.tgenabled IN ('O', 'A')
        UNION ALL
        SELECT NULL, pg_catalog.format('rule %I on %s', w.rulename, r.oid::pg_catalog.regclass)
        FROM reached AS r
        JOIN pg_catalog.pg_class AS c ON c.oid = r.oid AND c.relkind = 'r'
        JOIN pg_catalog.pg_rewrite AS w ON w.ev_class = r.oid AND w.ev_enabled <> 'D'
        ORDER BY subject
        """
}
