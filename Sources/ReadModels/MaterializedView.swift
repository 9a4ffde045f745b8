import Postgres

/// A materialized view that reads live tables, or another such view, without a plain view between.
///
/// Its stored query is bound to their OIDs and cannot be replaced. So a generation has a twin of it,
/// filled from its own tables before the cut-over, and the two change places with the tables.
struct MaterializedView: Equatable, Sendable {
    let oid: UInt32
    let name: QualifiedName
    let owner: String
    /// The query with every name qualified.
    let query: String
    let isPopulated: Bool

    /// Takes ACCESS EXCLUSIVE, as a statement of PL/pgSQL: LOCK TABLE is not for materialized views.
    var lock: String {
        """
        EXECUTE pg_catalog.format(\(SQLText.literal("ALTER MATERIALIZED VIEW %s OWNER TO %I")),
            \(SQLText.literal(name.sql)), (SELECT pg_catalog.pg_get_userbyid(c.relowner)
                FROM pg_catalog.pg_class AS c WHERE c.oid = \(oid)));
        """
    }

    /// Those over the given tables, the innermost first.
    ///
    /// - Parameters:
    ///   - tables: OIDs.
    ///   - connection: Inside a transaction.
    /// - Returns: The views.
    /// - Throws: The server's error.
    static func over(
        _ tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [MaterializedView] {
        guard !tables.isEmpty else { return [] }
        try await connection.setSearchPath([])
        let result = try await connection.query(overQuery, [.ints(tables.map { Int64($0) })])
        return try result.rows.map { row in
            var query = try row.string("definition")
            while let last = query.last, last == ";" || last.isWhitespace { query.removeLast() }
            return MaterializedView(
                oid: UInt32(try row.int("oid")),
                name: QualifiedName(
                    schema: try row.string("schema"),
                    name: try row.string("name")
                ),
                owner: try row.string("owner"),
                query: query,
                isPopulated: try row.bool("is_populated")
            )
        }
    }

    /// One that holds rows of the tables as they were until it is refreshed.
    struct Stale: Sendable {
        let oid: UInt32
        /// Qualified and quoted.
        let sql: String
        let name: QualifiedName
        /// Whether it reads a table without a view or a function between.
        let isDirect: Bool
        /// Whether it reads them through a plain view, or calls functions whose text may read them.
        let isBehind: Bool
        /// Whether it can be refreshed while it is read.
        let isQuiet: Bool

        /// What is to be done after the new rows are live; nil where its readers would have to wait.
        func followUp(on relation: UInt32) -> FollowUp? {
            isQuiet ? FollowUp(kind: .refresh, relation: relation, objectName: sql) : nil
        }
    }

    /// All that read the tables, the innermost first.
    static func stale(
        over tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [Stale] {
        guard !tables.isEmpty else { return [] }
        try await connection.setSearchPath([])
        let result = try await connection.query(staleQuery, [.ints(tables.map { Int64($0) })])
        return try result.rows.map { row in
            Stale(
                oid: UInt32(try row.int("oid")),
                sql: try row.string("sql"),
                name: QualifiedName(
                    schema: try row.string("schema"),
                    name: try row.string("name")
                ),
                isDirect: try row.bool("is_direct"),
                isBehind: try row.bool("is_behind"),
                isQuiet: try row.bool("is_quiet")
            )
        }
    }

    /// Those whose rows a swap leaves as they were, or mixed: they read the tables through a plain
    /// view or a function, and what these find are the old tables until the swap.
    ///
    /// - Parameters:
    ///   - tables: OIDs of the live tables.
    ///   - twins: The materialized views that take the places of live ones, by name.
    ///   - connection: Inside a transaction.
    /// - Returns: What is done about each.
    /// - Throws: The server's error.
    static func behindViews(
        over tables: [UInt32],
        twins: [GenerationRecord.TableRecord] = [],
        on connection: PostgresConnection
    ) async throws -> [CarriedObject] {
        try await stale(over: tables, on: connection).filter(\.isBehind).map { view in
            let twin = view.isDirect ? twins.first { $0.name == view.name.name }?.oid : nil
            return CarriedObject(
                subject: "materialized view \(view.sql)",
                note: view.isQuiet
                    ? "refreshed after the swap, CONCURRENTLY"
                    : "reads the tables through a view and keeps its rows: REFRESH MATERIALIZED "
                        + "VIEW \(view.sql) when its readers can wait",
                followUp: view.followUp(on: twin ?? view.oid)
            )
        }
    }

    /// Those over tables whose rows are replaced in place: a truncate, too, leaves them as they were.
    static func afterTruncate(
        of tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [CarriedObject] {
        try await stale(over: tables, on: connection).map { view in
            CarriedObject(
                subject: "materialized view \(view.sql)",
                note: view.isQuiet
                    ? "refreshed after the truncate, CONCURRENTLY"
                    : "keeps its rows: REFRESH MATERIALIZED VIEW \(view.sql) when its readers can wait",
                followUp: view.followUp(on: view.oid)
            )
        }
    }

    /// Those that a swap would leave with rows of both generations: filled from the new tables, and
    /// from the old ones that views and functions still find.
    static func mixed(
        over tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        try await stale(over: tables, on: connection)
            .filter { $0.isDirect && $0.isBehind && !$0.isQuiet }
            .map { view in
                Finding(
                    .refuse,
                    "materialized view \(view.sql)",
                    "it reads the tables, and reads them through a view or a function as well, so it "
                        + "would hold rows of both generations. With a unique index over columns it "
                        + "is refreshed CONCURRENTLY after the swap; or drop it"
                )
            }
    }

    /// Statements that make its twin at home.
    struct Twin: Equatable, Sendable {
        let name: QualifiedName
        /// Makes it, empty.
        let creation: String
        /// Comments and the like.
        let marks: [String]
        /// For when it is filled; every name that an empty search path does not find is qualified.
        let indexes: [String]
    }

    /// The statements for its twin in another schema.
    func twin(
        for rehearsal: CarryRehearsal,
        on connection: PostgresConnection
    ) async throws -> Twin {
        let home = QualifiedName(schema: rehearsal.homeSchema, name: name.name)
        try await connection.setSearchPath([])
        let marks = try await connection.query(
            Self.marksQuery,
            [.int(Int64(oid)), .text(home.sql)]
        ).rows
        let clauses = try marks.filter { try $0.string("kind") == "clause" }
            .map { try $0.string("statement") }.joined(separator: " ")
        let shape = try await TableShape.capture(
            of: [oid],
            for: rehearsal.homeSchema,
            searchPath: [],
            on: connection
        )[name.name, default: [:]].filter {
            $0.value.phase == .rows
                || $0.key.contains("statistics ")
                    && !$0.key.hasPrefix("statistics target of column")
        }.mapValues { feature in
            var late = feature
            late.phase = .rows
            return late
        }
        let definitions = DeferredDefinitions([(name.name, shape)], present: [])
        return Twin(
            name: home,
            creation: "CREATE MATERIALIZED VIEW \(home.sql) \(clauses) AS "
                + "\(rehearsal.text(query)) WITH NO DATA",
            marks: try marks.filter { try $0.string("kind") == "mark" }
                .map { try $0.string("statement") },
            indexes: definitions.tables.flatMap(\.statements)
        )
    }

    /// Makes the twin, empty and without indexes.
    ///
    /// - Parameters:
    ///   - twin: The statements.
    ///   - path: The search path under which its query means the same.
    ///   - rehearsal: Hears of it.
    ///   - connection: Inside a transaction.
    /// - Throws: The server's error.
    func make(
        _ twin: Twin,
        under path: String?,
        in rehearsal: inout CarryRehearsal,
        on connection: PostgresConnection
    ) async throws {
        try await connection.setSearchPath(list: path ?? "")
        try await connection.execute(twin.creation)
        try await connection.setSearchPath([])
        for mark in twin.marks { try await connection.execute(mark) }
        let made = try await Catalogue.table(twin.name, on: connection)
        if let made { rehearsal.add(.init(live: oid, name: name, home: made.oid)) }
    }
}

extension MaterializedView {
    // `depth` counts the materialized views below: an outer one is built from an inner one's twin.
    private static let overQuery = """
        WITH RECURSIVE \(ViewGraph.usesOfMaterializedViews), found (oid, depth) AS (
            SELECT upper, 1 FROM uses WHERE lower = ANY ($1::pg_catalog.oid[])
            UNION
            SELECT u.upper, f.depth + 1 FROM uses AS u JOIN found AS f ON f.oid = u.lower
        )
        SELECT c.oid, n.nspname AS schema, c.relname AS name,
            pg_catalog.pg_get_userbyid(c.relowner) AS owner,
            pg_catalog.pg_get_viewdef(c.oid) AS definition, c.relispopulated AS is_populated
        FROM (SELECT oid, pg_catalog.max(depth) AS depth FROM found GROUP BY oid) AS f
        JOIN pg_catalog.pg_class AS c ON c.oid = f.oid
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        ORDER BY f.depth, n.nspname, c.relname
        """

    // REFRESH … CONCURRENTLY needs a unique index over plain columns and all rows. What a function with
    // a text for its body reads is known to nobody; one that is immutable says that it reads nothing.
    private static let staleQuery = """
        WITH RECURSIVE found (oid, is_behind, depth) AS (
            SELECT t.oid, false, 0 FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS t (oid)
            UNION
            SELECT e.upper, f.is_behind OR e.is_behind, f.depth + 1
            FROM found AS f
            CROSS JOIN LATERAL (
                SELECT r.ev_class AS upper, c.relkind = 'v' AS is_behind
                FROM pg_catalog.pg_depend AS d
                JOIN pg_catalog.pg_rewrite AS r ON r.oid = d.objid AND r.ev_class <> f.oid
                JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class AND c.relpersistence <> 't'
                WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
                    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                    AND d.refobjid = f.oid
                UNION ALL
                SELECT r.ev_class, true
                FROM pg_catalog.pg_depend AS d
                JOIN pg_catalog.pg_depend AS u ON u.refobjid = d.objid
                    AND u.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                    AND u.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
                JOIN pg_catalog.pg_rewrite AS r ON r.oid = u.objid
                WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                    AND d.refobjid = f.oid
                OFFSET 0
            ) AS e
            WHERE f.depth < 100
        )
        SELECT c.oid, c.oid::pg_catalog.regclass AS sql, c.schema, c.name, f.is_direct,
            f.is_behind OR EXISTS (
                SELECT FROM pg_catalog.pg_rewrite AS r
                JOIN pg_catalog.pg_depend AS d ON d.objid = r.oid
                    AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
                    AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                JOIN pg_catalog.pg_proc AS p ON p.oid = d.refobjid AND p.prosqlbody IS NULL
                    AND p.provolatile <> 'i'
                JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
                    AND l.lanname NOT IN ('internal', 'c')
                WHERE r.ev_class = c.oid) AS is_behind, EXISTS (
            SELECT FROM pg_catalog.pg_index AS i
            WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
                AND i.indexprs IS NULL) AS is_quiet
        FROM (
            SELECT oid, pg_catalog.max(depth) AS depth, pg_catalog.bool_or(is_behind) AS is_behind,
                pg_catalog.bool_or(NOT is_behind) AS is_direct
            FROM found WHERE depth > 0 GROUP BY oid
        ) AS f
        CROSS JOIN LATERAL (
            SELECT c.oid, c.relname AS name, n.nspname AS schema
            FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE c.oid = f.oid AND c.relkind = 'm' AND c.relispopulated
            OFFSET 0
        ) AS c
        ORDER BY f.depth, 2
        """

    // The server's own stamp on a column is none of its options (see ShapeQuery).
    private static let marksQuery = """
        SELECT 'clause' AS kind, 'USING ' || pg_catalog.quote_ident(a.amname) AS statement, 1 AS place
        FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_am AS a ON a.oid = c.relam
        WHERE c.oid = $1::pg_catalog.oid
        UNION ALL
        SELECT 'clause', 'WITH (' || pg_catalog.string_agg(o.text, ', ') || ')', 2
        FROM pg_catalog.pg_class AS c
        LEFT JOIN pg_catalog.pg_class AS t ON t.oid = c.reltoastrelid
        CROSS JOIN LATERAL (
            SELECT pg_catalog.format('%I = %L', option_name, option_value) AS text
            FROM pg_catalog.pg_options_to_table(c.reloptions)
            UNION ALL
            SELECT pg_catalog.format('toast.%I = %L', option_name, option_value)
            FROM pg_catalog.pg_options_to_table(t.reloptions)) AS o
        WHERE c.oid = $1::pg_catalog.oid GROUP BY c.oid
        UNION ALL
        SELECT 'clause', 'TABLESPACE ' || pg_catalog.quote_ident(t.spcname), 3
        FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_tablespace AS t ON t.oid = c.reltablespace
        WHERE c.oid = $1::pg_catalog.oid
        UNION ALL
        SELECT 'mark', pg_catalog.format('COMMENT ON %s %s%s IS %L',
            CASE d.objsubid WHEN 0 THEN 'MATERIALIZED VIEW' ELSE 'COLUMN' END, $2::pg_catalog.text,
            '.' || pg_catalog.quote_ident(a.attname), d.description), 4
        FROM pg_catalog.pg_description AS d
        LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.objoid AND a.attnum = d.objsubid
            AND d.objsubid > 0
        WHERE d.objoid = $1::pg_catalog.oid
            AND d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
        UNION ALL
        SELECT 'mark', pg_catalog.format('ALTER MATERIALIZED VIEW %s ALTER %I SET STATISTICS %s',
            $2, attname, attstattarget), 5
        FROM pg_catalog.pg_attribute
        WHERE attrelid = $1::pg_catalog.oid AND attnum > 0 AND attstattarget >= 0
        UNION ALL
        SELECT 'mark', pg_catalog.format('ALTER MATERIALIZED VIEW %s ALTER %I SET (%I = %L)', $2,
            a.attname, o.option_name, o.option_value), 5
        FROM pg_catalog.pg_attribute AS a, pg_catalog.pg_options_to_table(a.attoptions) AS o
        WHERE a.attrelid = $1::pg_catalog.oid AND a.attnum > 0 AND o.option_name <> 'pg_attver'
        UNION ALL
        SELECT 'mark', pg_catalog.format('ALTER MATERIALIZED VIEW %s ALTER %I SET COMPRESSION %s', $2,
            attname, CASE attcompression WHEN 'l' THEN 'lz4' ELSE 'pglz' END), 5
        FROM pg_catalog.pg_attribute
        WHERE attrelid = $1::pg_catalog.oid AND attnum > 0 AND attcompression <> ''
        UNION ALL
        SELECT 'mark', pg_catalog.format('ALTER MATERIALIZED VIEW %s ALTER %I SET STORAGE %s', $2,
            a.attname, CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL'
                WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END), 5
        FROM pg_catalog.pg_attribute AS a
        JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid AND t.typstorage <> a.attstorage
        WHERE a.attrelid = $1::pg_catalog.oid AND a.attnum > 0
        UNION ALL
        SELECT 'mark', s.statement, 6
        FROM (SELECT \(TableAttachments.extensions(
            of: "pg_class", "$1::pg_catalog.oid", "'MATERIALIZED VIEW ' || $2")) AS statement) AS s
        WHERE s.statement IS NOT NULL
        ORDER BY place
        """
}
