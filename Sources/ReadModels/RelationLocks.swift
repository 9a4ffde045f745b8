import Postgres

/// What statements of the open transaction have changed, by the locks that they leave.
struct RelationLocks: Sendable {
    /// The schema whose relations do not count.
    let besides: String
    /// The modes that count.
    let modes: [String]

    init(besides: String, modes: [String] = RelationLocks.making) {
        self.besides = besides
        self.modes = modes
    }

    /// What is taken by a change of rows or of a definition.
    ///
    /// SHARE ROW EXCLUSIVE is not among them: a foreign key takes it on the other table.
    private static let making = [
        "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock", "ExclusiveLock",
        "AccessExclusiveLock",
    ]

    /// The same for tables that are only to be looked at: a trigger or a key on them counts.
    ///
    /// SHARE is not among them: a constraint of a domain takes it on every table that has a column of the
    /// domain, and what an index is made of is seen by the index's own lock.
    static let changing = [
        "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareRowExclusiveLock", "ExclusiveLock",
        "AccessExclusiveLock",
    ]

    struct Lock: Hashable {
        let relation: Int64
        let mode: String
        /// The relation's name when it exists, outside the schema that does not count.
        let newcomer: String?
    }

    /// A cursor that knows the names of what has been dropped since, or moved into that schema.
    ///
    /// It sees the catalogue as it was when it was declared; which names are asked for is said when rows are
    /// fetched from it. So it costs nothing where there are many relations.
    var declarationOfOutside: String {
        """
        DECLARE "reprise outside" NO SCROLL CURSOR FOR
        SELECT c.oid, n.nspname || '.' || c.relname AS name
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.oid = ANY (nullif(
            pg_catalog.current_setting('reprise.locked', true), '')::pg_catalog.oid[])
            AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_'
            AND n.nspname NOT IN (\(SQLText.literal(besides)), 'information_schema')
        """
    }

    /// The names of those relations that were there when the cursor was declared, which is closed.
    func relationsOutside(
        among locks: Set<Lock>,
        on connection: PostgresConnection
    ) async throws -> [Int64: String] {
        try await connection.query(
            "SELECT pg_catalog.set_config('reprise.locked', $1::pg_catalog.oid[]::pg_catalog.text, true)",
            [.ints(Set(locks.map(\.relation)).sorted())]
        )
        let result = try await connection.query("FETCH ALL FROM \"reprise outside\"")
        try await connection.execute("CLOSE \"reprise outside\"")
        return try Dictionary(
            uniqueKeysWithValues: result.rows.map { (try $0.int("oid"), try $0.string("name")) }
        )
    }

    /// Locks of this session that a change of rows or of a definition leaves until the transaction
    /// ends.
    func strong(on connection: PostgresConnection) async throws -> Set<Lock> {
        let result = try await connection.query(
            """
            SELECT l.relation, l.mode, CASE
                WHEN n.nspname <> $1 AND n.nspname !~ '^pg_' THEN n.nspname || '.' || c.relname
                END AS newcomer
            FROM pg_catalog.pg_locks AS l
            LEFT JOIN pg_catalog.pg_class AS c ON c.oid = l.relation
            LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation'
                AND l.mode = ANY ($2::pg_catalog.text[])
            """,
            [.text(besides), .texts(modes)]
        )
        return Set(
            try result.rows.map {
                Lock(
                    relation: try $0.int("relation"),
                    mode: try $0.string("mode"),
                    newcomer: $0["newcomer"]
                )
            }
        )
    }
}
