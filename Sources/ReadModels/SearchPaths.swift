import Postgres

/// Search paths under which a text may have been written.
enum SearchPaths {
    /// They are tried in this order: the schemas of what the trees depend on, together and one by one;
    /// then what database and roles have set.
    static func candidates(
        for trees: [StoredTree],
        on connection: PostgresConnection
    ) async throws -> [String] {
        guard !trees.isEmpty else { return [] }
        try await connection.setSearchPath([])
        let schemas = try await connection.query(
            schemasQuery,
            [
                .texts(trees.map(\.kind.rawValue)), .ints(trees.map { Int64($0.host) }),
                .texts(trees.map(\.name)),
            ]
        ).rows.map { SQLText.identifier(try $0.string("nspname")) }
        let settings = try await connection.query(settingsQuery).rows.map { row in
            try row.string("path").replacing(
                "\"$user\"",
                with: SQLText.identifier(try row.string("role"))
            )
        }
        var paths = [schemas.joined(separator: ", ")] + (schemas.count > 1 ? schemas : [])
        for path in settings where !paths.contains(path) { paths.append(path) }
        return paths.filter { !$0.isEmpty }
    }

    /// For definitions of new tables: their home, the live schema, and the schemas of what the live
    /// tables' own definitions depend on.
    ///
    /// Behind them is what database and role have set, where nobody else can make anything.
    static func ofTables(
        in homeSchema: String,
        _ liveSchema: String,
        like live: [UInt32],
        on connection: PostgresConnection
    ) async throws -> String {
        try await connection.setSearchPath([])
        let schemas = try await connection.query(
            featuresQuery,
            [.ints(live.map { Int64($0) })]
        ).rows.map { SQLText.identifier(try $0.string("nspname")) }
        let known = [homeSchema, liveSchema].map(SQLText.identifier) + schemas
        let usual = try await usual(on: connection).filter { !known.contains($0) }
        return (known + usual).joined(separator: ", ")
    }

    /// The schemas that database and role have on their search path, but for those in which others can
    /// make functions and operators that would be taken for the usual ones.
    private static func usual(on connection: PostgresConnection) async throws -> [String] {
        var usual: [String] = []
        for row in try await connection.query(usualQuery).rows {
            let schema = try row.string("nspname")
            guard try await makers(in: schema, besides: [], on: connection).isEmpty else {
                continue
            }
            usual.append(SQLText.identifier(schema))
        }
        return usual
    }

    // A role's setting in this database comes before its other one, and that before the database's.
    private static let usualQuery = """
        SELECT n.nspname
        FROM (
            SELECT pg_catalog.substr(c.setting, pg_catalog.length('search_path=') + 1) AS path
            FROM pg_catalog.pg_db_role_setting AS s
            CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS c (setting)
            WHERE c.setting LIKE 'search\\_path=%' AND s.setdatabase IN (0, (
                    SELECT d.oid FROM pg_catalog.pg_database AS d
                    WHERE d.datname = pg_catalog.current_database()))
                AND s.setrole IN (0, (SELECT r.oid FROM pg_catalog.pg_roles AS r
                    WHERE r.rolname = current_user))
            ORDER BY s.setrole <> 0 DESC, s.setdatabase <> 0 DESC LIMIT 1
        ) AS p
        CROSS JOIN LATERAL pg_catalog.regexp_split_to_table(p.path, '\\s*,\\s*') WITH ORDINALITY
            AS e (element, place)
        JOIN pg_catalog.pg_namespace AS n ON n.nspname = CASE
            WHEN e.element LIKE '"%"' THEN pg_catalog.replace(
                pg_catalog.substr(e.element, 2, pg_catalog.length(e.element) - 2), '""', '"')
            ELSE pg_catalog.lower(e.element) END
        WHERE n.nspname !~ '^pg_'
        ORDER BY e.place
        """

    /// For `checks.sql`: the tables' schema, and the live one where nobody can make operators or
    /// functions there that would be taken for the usual ones and run with this role's rights.
    static func ofChecks(
        in homeSchema: String,
        _ liveSchema: String,
        on connection: PostgresConnection
    ) async throws -> [String] {
        let makers = try await makers(in: liveSchema, besides: [], on: connection)
        return makers.isEmpty ? [homeSchema, liveSchema] : [homeSchema]
    }

    /// Why `checks.sql` cannot run in the live schema itself, as it does in a truncate.
    static func obstacleToChecks(
        in liveSchema: String,
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        let makers = try await makers(in: liveSchema, besides: [], on: connection)
        guard !makers.isEmpty else { return [] }
        return [
            Finding(
                .refuse,
                "checks.sql",
                "\(makers.joined(separator: ", ")) may make functions and operators in the schema "
                    + "'\(liveSchema)', where a truncate runs it. '--strategy swap' looks names up "
                    + "among the new tables; for a truncate let this role own the schema, or take "
                    + "CREATE on it from them"
            )
        ]
    }

    /// Why names of `schema.sql` and `setup.sql` are not looked up in the live schema, as a clause; nil
    /// where they are.
    ///
    /// The schema's owner is passed over: whatever is in it is at this role's mercy.
    static func distrust(
        of schema: String,
        on connection: PostgresConnection
    ) async throws -> String? {
        let owners = try await connection.query(
            """
            SELECT r.rolname AS owner FROM pg_catalog.pg_namespace AS n
            JOIN pg_catalog.pg_roles AS o ON o.oid = n.nspowner
            JOIN pg_catalog.pg_roles AS r ON r.oid = CASE o.rolname
                WHEN 'pg_database_owner' THEN (SELECT d.datdba FROM pg_catalog.pg_database AS d
                    WHERE d.datname = pg_catalog.current_database())
                ELSE o.oid END
            WHERE n.nspname = $1
            """,
            [.text(schema)]
        ).rows.map { try $0.string("owner") }
        let makers = try await makers(in: schema, besides: owners, on: connection)
        guard !makers.isEmpty else { return nil }
        let roles = makers.map { $0 == "PUBLIC" ? $0 : SQLText.identifier($0) }
            .joined(separator: ", ")
        return "\(makers.joined(separator: ", ")) may make functions and operators that would be "
            + "taken for the usual ones, and would run with this role's rights. REVOKE CREATE ON "
            + "SCHEMA \(SQLText.identifier(schema)) FROM \(roles)"
    }

    /// Roles that may make something in a schema, and that this one does not trust: they are neither
    /// superusers nor the role itself.
    ///
    /// - Parameters:
    ///   - schema: Its name.
    ///   - known: Names of roles that are passed over.
    ///   - connection: Where to ask.
    /// - Returns: Their names, `PUBLIC` for everybody.
    /// - Throws: The server's error.
    static func makers(
        in schema: String,
        besides known: [String],
        on connection: PostgresConnection
    ) async throws -> [String] {
        try await connection.query(makersQuery, [.text(schema), .texts(known)]).rows
            .map { try $0.string("maker") }
    }

    // The owner of the database is the only member of pg_database_owner.
    private static let makersQuery = """
        SELECT DISTINCT coalesce(r.rolname, 'PUBLIC') AS maker
        FROM pg_catalog.pg_namespace AS n
        CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(n.nspacl,
            pg_catalog.acldefault('n', n.nspowner))) AS a
        LEFT JOIN pg_catalog.pg_roles AS g ON g.oid = a.grantee
        LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = CASE g.rolname
            WHEN 'pg_database_owner' THEN (SELECT d.datdba FROM pg_catalog.pg_database AS d
                WHERE d.datname = pg_catalog.current_database())
            ELSE a.grantee END
        WHERE n.nspname = $1 AND a.privilege_type = 'CREATE' AND NOT coalesce(r.rolsuper, false)
            AND coalesce(r.rolname, '') <> current_user
            AND coalesce(r.rolname, '') <> ALL ($2::pg_catalog.text[])
        ORDER BY 1
        """

    private static let featuresQuery = """
        SELECT DISTINCT n.nspname
        FROM (
            SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, i.indexrelid
            FROM pg_catalog.pg_index AS i WHERE i.indrelid = ANY ($1::pg_catalog.oid[])
            UNION ALL
            SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, o.oid
            FROM pg_catalog.pg_constraint AS o WHERE o.conrelid = ANY ($1::pg_catalog.oid[])
            UNION ALL
            SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, a.oid
            FROM pg_catalog.pg_attrdef AS a WHERE a.adrelid = ANY ($1::pg_catalog.oid[])
            UNION ALL
            SELECT 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, s.oid
            FROM pg_catalog.pg_statistic_ext AS s WHERE s.stxrelid = ANY ($1::pg_catalog.oid[])
        ) AS o (classid, objid)
        \(dependencies)
        """

    private static let dependencies = """
        JOIN pg_catalog.pg_depend AS d ON d.classid = o.classid AND d.objid = o.objid
        LEFT JOIN pg_catalog.pg_operator AS op ON op.oid = d.refobjid
            AND d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass
        LEFT JOIN pg_catalog.pg_proc AS f ON f.oid = d.refobjid
            AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
        LEFT JOIN pg_catalog.pg_type AS t ON t.oid = d.refobjid
            AND d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass
        LEFT JOIN pg_catalog.pg_collation AS l ON l.oid = d.refobjid
            AND d.refclassid = 'pg_catalog.pg_collation'::pg_catalog.regclass
        JOIN pg_catalog.pg_namespace AS n
            ON n.oid IN (op.oprnamespace, f.pronamespace, t.typnamespace, l.collnamespace)
        WHERE n.nspname <> 'pg_catalog'
        ORDER BY 1
        """

    private static let schemasQuery = """
        SELECT DISTINCT n.nspname
        FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]),
            pg_catalog.unnest($2::pg_catalog.oid[]), pg_catalog.unnest($3::pg_catalog.text[]))
            AS w (kind, host, name)
        CROSS JOIN LATERAL (
            SELECT 'pg_catalog.pg_policy'::pg_catalog.regclass::pg_catalog.oid, p.oid
            FROM pg_catalog.pg_policy AS p
            WHERE w.kind = 'policy' AND p.polrelid = w.host AND p.polname = w.name::pg_catalog.name
            UNION ALL
            SELECT 'pg_catalog.pg_trigger'::pg_catalog.regclass, t.oid
            FROM pg_catalog.pg_trigger AS t
            WHERE w.kind = 'trigger' AND t.tgrelid = w.host AND t.tgname = w.name::pg_catalog.name
            UNION ALL
            SELECT 'pg_catalog.pg_rewrite'::pg_catalog.regclass, r.oid
            FROM pg_catalog.pg_rewrite AS r
            WHERE w.kind = 'rule' AND r.ev_class = w.host AND r.rulename = w.name::pg_catalog.name
            UNION ALL
            SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, w.host WHERE w.kind = 'function'
            UNION ALL
            SELECT 'pg_catalog.pg_publication_rel'::pg_catalog.regclass, r.oid
            FROM pg_catalog.pg_publication_rel AS r
            WHERE w.kind = 'publication' AND r.prrelid = w.host
        ) AS o (classid, objid)
        \(dependencies)
        """

    private static let settingsQuery = """
        SELECT DISTINCT pg_catalog.substr(c.setting, pg_catalog.length('search_path=') + 1) AS path,
            coalesce(r.rolname, current_user) AS role
        FROM pg_catalog.pg_db_role_setting AS s
        CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS c (setting)
        LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
        WHERE c.setting LIKE 'search\\_path=%' AND s.setdatabase IN (0, (
            SELECT d.oid FROM pg_catalog.pg_database AS d
            WHERE d.datname = pg_catalog.current_database()))
        ORDER BY 1, 2
        """
}

extension PostgresConnection {
    /// Sets the search path for the rest of the transaction to a list as `search_path` has it, and
    /// `pg_temp` behind it.
    func setSearchPath(list: String) async throws {
        try await query(
            "SELECT pg_catalog.set_config('search_path', $1, true)",
            [.text(list.isEmpty ? "pg_temp" : "\(list), pg_temp")]
        )
    }
}
