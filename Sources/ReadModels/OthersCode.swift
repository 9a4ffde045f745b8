import Postgres

/// Tables whose owner wrote something that the server evaluates for everybody who reads or changes their
/// rows: index expressions, checks, defaults, generated columns, triggers.
///
/// Expressions of the server's own immutable functions, and of immutable functions of roles that are
/// trusted, do no harm under any role, and are not counted.
struct OthersCode: Sendable {
    /// What evaluates it.
    enum Use: Sendable {
        /// Planning a query: the server computes constants of index and statistics expressions.
        case reading
        /// Writing, which includes that.
        case writing
    }

    /// Owners of tables, by the tables' OIDs.
    private let readers: [UInt32: String]
    private let writers: [UInt32: String]
    private let owners: [UInt32: String]

    /// Asks about tables.
    ///
    /// - Parameters:
    ///   - tables: OIDs.
    ///   - connection: Inside or outside a transaction.
    /// - Throws: ``ServerError``.
    init(of tables: [UInt32], on connection: PostgresConnection) async throws {
        // Nearly always there are none, and the question about their code takes the planner long.
        let others = try await connection.query(
            Self.othersQuery,
            [.ints(tables.map { Int64($0) })]
        ).rows.map { try $0.int("oid") }
        let rows =
            others.isEmpty
            ? []
            : try await connection.query(Self.query, [.ints(others), .texts(Self.harmless)]).rows
        var readers: [UInt32: String] = [:]
        var writers: [UInt32: String] = [:]
        var owners: [UInt32: String] = [:]
        for row in rows {
            let table = UInt32(try row.int("oid"))
            let owner = try row.string("owner")
            owners[table] = owner
            if try row.bool("is_written") { writers[table] = owner }
            if try row.bool("is_read") { readers[table] = owner }
        }
        (self.readers, self.writers, self.owners) = (readers, writers, owners)
    }

    /// As whom a table is to be used; nil where this role can do no harm to itself by it.
    func operation(_ use: Use, _ table: UInt32) -> RestrictedOperation? {
        let owners = use == .reading ? readers : writers
        return owners[table].map { RestrictedOperation(owner: $0) }
    }

    /// As whom a table is read that is not locked: its owner may be putting something onto it.
    func owner(of table: UInt32) -> RestrictedOperation? {
        owners[table].map { RestrictedOperation(owner: $0) }
    }

    /// As whom a query of several tables is run; nil where this role does no harm by it.
    ///
    /// - Returns: The owners in question: a query can have the rights of one only.
    var readingOwners: Set<String> { Set(readers.values) }

    /// Looks for a table of somebody else that a query must not read, because a planner would run what
    /// is on its indexes.
    ///
    /// - Parameters:
    ///   - own: OIDs of tables whose owner may run the query.
    ///   - connection: Where to ask for the table's name.
    /// - Returns: What is said of it, as a clause; nil when there is none.
    /// - Throws: ``ServerError``.
    func stranger(
        besides own: [UInt32],
        on connection: PostgresConnection
    ) async throws -> String? {
        let others = readers.filter { !own.contains($0.key) }
        guard let table = others.keys.min(), let owner = others[table] else { return nil }
        let name = try await connection.query(
            "SELECT $1::pg_catalog.oid::pg_catalog.regclass AS name",
            [.int(Int64(table))]
        ).first?["name"]
        return "checks.sql reads \(name ?? "a table"), and a function of \(owner) on an index or "
            + "statistics of it would run with the rights of another role: leave that table out, or "
            + "have the function taken off"
    }

    /// Looks for functions of others that the server runs for tables of this role, or of a superuser.
    ///
    /// Nobody but the owner of such a table, or those to whom they gave the right, can have put them there.
    ///
    /// - Parameters:
    ///   - tables: OIDs.
    ///   - connection: Inside or outside a transaction.
    /// - Returns: A warning each.
    /// - Throws: ``ServerError``.
    static func borrowed(
        by tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        try await connection.query(borrowedQuery, [.ints(tables.map { Int64($0) })]).rows.map {
            Finding(.warn, try $0.string("subject"), try $0.string("note"))
        }
    }

    private static let borrowedQuery = """
        \(called(on: "(r.rolname = current_user OR r.rolsuper)"))
        SELECT DISTINCT r.oid::pg_catalog.regclass::pg_catalog.text AS subject, pg_catalog.format(
            'the function %s of %I runs with the rights of %I when rows are written: '
                || 'ALTER FUNCTION %s OWNER TO %I, or let %I own the table',
            f.oid::pg_catalog.regprocedure, o.rolname, r.rolname, f.oid::pg_catalog.regprocedure,
            r.rolname, o.rolname) AS note
        FROM relation AS r JOIN called AS c ON c.rel = r.oid
        JOIN pg_catalog.pg_proc AS f ON f.oid = c.oid
        JOIN pg_catalog.pg_roles AS o ON o.oid = f.proowner
        WHERE NOT o.rolsuper AND o.rolname <> current_user
        ORDER BY 1, 2
        """

    // Functions of the server that are not immutable, and tell or do nothing of other people's.
    private static let harmless = [
        "age", "array_to_json", "array_to_string", "clock_timestamp", "concat", "concat_ws", "date",
        "date_part", "date_trunc", "extract", "format", "gen_random_uuid", "interval",
        "json_build_array", "json_build_object", "jsonb_build_array", "jsonb_build_object",
        "nextval",
        "now", "random", "row_to_json", "statement_timestamp", "text", "time", "timestamp",
        "timestamptz", "timetz", "timezone", "to_char", "to_date", "to_json", "to_jsonb",
        "regclass", "to_timestamp", "to_tsvector", "transaction_timestamp", "uuidv4", "uuidv7",
        "xml",
    ]

    // The server records on which functions, operators and types an expression depends, but for its
    // own, whose numbers are in the stored tree.
    private static func called(on owners: String) -> String {
        """
        WITH RECURSIVE relation AS (
            SELECT c.oid, r.rolname FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_roles AS r ON r.oid = c.relowner
            WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND \(owners)
        ), expression (rel, classid, objid, tree, is_read) AS (
            SELECT i.indrelid, 'pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid,
                pg_catalog.concat(i.indexprs, i.indpred), true
            FROM pg_catalog.pg_index AS i JOIN relation AS r ON r.oid = i.indrelid
            WHERE i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
            UNION ALL
            SELECT s.stxrelid, 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, s.oid,
                s.stxexprs::pg_catalog.text, true
            FROM pg_catalog.pg_statistic_ext AS s JOIN relation AS r ON r.oid = s.stxrelid
            WHERE s.stxexprs IS NOT NULL
            UNION ALL
            SELECT o.conrelid, 'pg_catalog.pg_constraint'::pg_catalog.regclass, o.oid,
                o.conbin::pg_catalog.text, false
            FROM pg_catalog.pg_constraint AS o JOIN relation AS r ON r.oid = o.conrelid
            WHERE o.conbin IS NOT NULL
            UNION ALL
            SELECT d.adrelid, 'pg_catalog.pg_attrdef'::pg_catalog.regclass, d.oid,
                d.adbin::pg_catalog.text, false
            FROM pg_catalog.pg_attrdef AS d JOIN relation AS r ON r.oid = d.adrelid
        ), \(valueTypes), evaluated AS (
            SELECT * FROM expression
            UNION ALL
            SELECT v.rel, 'pg_catalog.pg_constraint'::pg_catalog.regclass, o.oid,
                o.conbin::pg_catalog.text, v.is_read
            FROM value_type AS v JOIN pg_catalog.pg_constraint AS o ON o.contypid = v.oid
        ), called (rel, oid, is_read) AS (
            SELECT e.rel, coalesce(p.oprcode::pg_catalog.oid, d.refobjid), e.is_read
            FROM evaluated AS e
            JOIN pg_catalog.pg_depend AS d ON d.classid = e.classid AND d.objid = e.objid
            LEFT JOIN pg_catalog.pg_operator AS p ON p.oid = d.refobjid
                AND d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass
            WHERE d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass,
                'pg_catalog.pg_operator'::pg_catalog.regclass)
            UNION ALL
            SELECT e.rel, m.number[1]::pg_catalog.oid, e.is_read FROM evaluated AS e
            CROSS JOIN LATERAL pg_catalog.regexp_matches(e.tree, ':funcid ([0-9]+)', 'g')
                AS m (number)
            UNION ALL
            SELECT v.rel, f.oid, v.is_read FROM value_type AS v
            JOIN pg_catalog.pg_range AS g ON g.rngtypid = v.oid
            CROSS JOIN LATERAL (
                SELECT g.rngcanonical::pg_catalog.oid AS oid UNION ALL
                SELECT g.rngsubdiff::pg_catalog.oid) AS f
            UNION ALL
            -- The server's functions that make JSON of a value call a cast that its type has to it.
            SELECT v.rel, k.castfunc, v.is_read FROM value_type AS v
            JOIN pg_catalog.pg_cast AS k ON k.castsource = v.oid
            WHERE k.castfunc <> 0 AND k.casttarget IN ('pg_catalog.json'::pg_catalog.regtype,
                'pg_catalog.jsonb'::pg_catalog.regtype)
            UNION ALL
            -- What travels as text is cast to its type.
            SELECT v.rel, k.castfunc, false FROM value_type AS v
            JOIN pg_catalog.pg_cast AS k ON k.casttarget = v.oid
            WHERE k.castfunc <> 0 AND k.castsource = 'pg_catalog.text'::pg_catalog.regtype
            UNION ALL
            SELECT r.oid, t.tgfoid, false FROM relation AS r
            JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = r.oid AND NOT t.tgisinternal
        )
        """
    }

    // The types whose values are made or checked, and those inside them.
    private static let valueTypes = """
        value_type (rel, oid, is_read) AS (
            SELECT r.oid, a.atttypid, false FROM relation AS r
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0
                AND NOT a.attisdropped
            UNION
            SELECT r.oid, c.reltype, false FROM relation AS r
            JOIN pg_catalog.pg_class AS c ON c.oid = r.oid
            UNION
            SELECT e.rel, d.refobjid, e.is_read FROM expression AS e
            JOIN pg_catalog.pg_depend AS d ON d.classid = e.classid AND d.objid = e.objid
                AND d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass
            UNION
            -- What JSON_VALUE and its like return is recorded nowhere else.
            SELECT e.rel, m.number[1]::pg_catalog.oid, e.is_read FROM expression AS e
            CROSS JOIN LATERAL pg_catalog.regexp_matches(e.tree, ':typid ([0-9]+)', 'g')
                AS m (number)
            UNION
            SELECT v.rel, inner_type.oid, v.is_read FROM value_type AS v
            JOIN pg_catalog.pg_type AS t ON t.oid = v.oid
            CROSS JOIN LATERAL (
                SELECT t.typbasetype AS oid UNION ALL SELECT t.typelem UNION ALL
                SELECT a.atttypid FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped UNION ALL
                SELECT g.rngsubtype FROM pg_catalog.pg_range AS g WHERE g.rngtypid = t.oid UNION ALL
                SELECT g.rngtypid FROM pg_catalog.pg_range AS g WHERE g.rngmultitypid = t.oid UNION ALL
                SELECT d.refobjid FROM pg_catalog.pg_constraint AS o
                JOIN pg_catalog.pg_depend AS d ON d.objid = o.oid
                    AND d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
                    AND d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass
                WHERE o.contypid = t.oid
            ) AS inner_type
            WHERE inner_type.oid <> 0
        )
        """

    private static let areOthers = "r.rolname <> current_user AND NOT r.rolsuper"

    private static let othersQuery = """
        SELECT c.oid FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_roles AS r ON r.oid = c.relowner
        WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND \(areOthers)
        """

    private static let query = """
        \(called(on: areOthers)), counted (rel, is_read) AS (
            SELECT c.rel, c.is_read FROM called AS c
            JOIN pg_catalog.pg_proc AS f ON f.oid = c.oid
            JOIN pg_catalog.pg_roles AS o ON o.oid = f.proowner
            WHERE NOT (f.provolatile = 'i' AND (o.rolsuper OR o.rolname = current_user))
                AND NOT (f.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND o.rolsuper
                    AND f.proname = ANY ($2::pg_catalog.text[]))
            UNION ALL
            -- No lock on a table keeps its owner from giving a domain a check, or a type a cast.
            SELECT v.rel, v.is_read FROM value_type AS v
            JOIN pg_catalog.pg_type AS t ON t.oid = v.oid
            JOIN pg_catalog.pg_roles AS o ON o.oid = t.typowner
            WHERE NOT o.rolsuper AND o.rolname <> current_user AND (t.typtype = 'd'
                OR t.typtype = 'e' AND EXISTS (SELECT FROM expression AS e WHERE e.rel = v.rel))
        )
        SELECT r.oid, r.rolname AS owner, c.rel IS NOT NULL AS is_written,
            coalesce(c.is_read, false) AS is_read
        FROM relation AS r
        LEFT JOIN (
            SELECT c.rel, pg_catalog.bool_or(c.is_read) AS is_read FROM counted AS c GROUP BY c.rel
        ) AS c ON c.rel = r.oid
        """
}
