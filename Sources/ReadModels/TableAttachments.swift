import Postgres

/// What stands on the live tables themselves and guards or watches their rows: row-level security,
/// triggers, rules.
///
/// It is not part of `schema.sql`, so the live table is the truth about it: a swap makes it again
/// on the new table, in the transaction in which readers begin to see that.
enum TableAttachments {
    /// Captures what stands on the tables.
    ///
    /// Row-level security comes first: whoever has rights on a table must never have them without
    /// its policies.
    static func capture(
        on tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [CarriedObject] {
        let rest: [(String, StoredTree.Kind?)] = [(triggersQuery, .trigger), (rulesQuery, .rule)]
        return try await captureSecurity(on: tables, on: connection)
            + objects(of: rest, on: tables, on: connection)
    }

    /// Captures row-level security and policies alone.
    static func captureSecurity(
        on tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [CarriedObject] {
        try await objects(
            of: [(securityQuery, nil), (policiesQuery, .policy)],
            on: tables,
            on: connection
        )
    }

    private static func objects(
        of queries: [(String, StoredTree.Kind?)],
        on tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [CarriedObject] {
        var objects: [CarriedObject] = []
        for (query, kind) in queries {
            objects += try await CarriedObject.ask(
                query,
                for: kind,
                of: tables,
                on: connection
            )
        }
        return objects
    }

    /// Takes everything of the kind off tables that are not live: they get what stands on the live
    /// tables when they take their place.
    ///
    /// - Parameters:
    ///   - tables: OIDs of them.
    ///   - connection: Inside a transaction; its search path is changed.
    /// - Throws: The server's error.
    static func remove(from tables: [UInt32], on connection: PostgresConnection) async throws {
        try await connection.setSearchPath([])
        let result = try await connection.query(
            removalQuery,
            [.ints(tables.map { Int64($0) })]
        )
        for row in result.rows { try await connection.execute(try row.string("statement")) }
    }

    private static let securityQuery = """
        SELECT pg_catalog.format('row-level security of %s', c.oid::pg_catalog.regclass) AS subject,
            'switched on for the new table before anybody sees it' AS note,
            NULL AS locked, NULL AS release,
            CASE WHEN c.relrowsecurity THEN pg_catalog.format(
                'ALTER TABLE %s ENABLE ROW LEVEL SECURITY', c.oid::pg_catalog.regclass) END
                AS restore_1,
            CASE WHEN c.relforcerowsecurity THEN pg_catalog.format(
                'ALTER TABLE %s FORCE ROW LEVEL SECURITY', c.oid::pg_catalog.regclass) END
                AS restore_2,
            NULL AS restore_3
        FROM pg_catalog.pg_class AS c
        WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND (c.relrowsecurity OR c.relforcerowsecurity)
        ORDER BY c.relname
        """

    private static let policiesQuery = """
        SELECT pg_catalog.format('policy %I on %s', p.polname, p.polrelid::pg_catalog.regclass)
                AS subject,
            'made again on the new table' AS note, NULL AS locked, NULL AS release,
            pg_catalog.format('CREATE POLICY %I ON %s AS %s FOR %s TO %s%s%s',
                p.polname, p.polrelid::pg_catalog.regclass,
                CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
                CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                    WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
                (SELECT pg_catalog.string_agg(CASE WHEN o.role = 0 THEN 'PUBLIC'
                        ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(o.role)) END, ', ')
                 FROM pg_catalog.unnest(p.polroles) AS o (role)),
                ' USING (' || pg_catalog.pg_get_expr(p.polqual, p.polrelid)
                    || ')',
                ' WITH CHECK (' || pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) || ')')
                AS restore_1,
            CASE WHEN d.description IS NOT NULL THEN pg_catalog.format(
                'COMMENT ON POLICY %I ON %s IS %L', p.polname, p.polrelid::pg_catalog.regclass,
                d.description) END AS restore_2,
            NULL AS restore_3, p.polrelid AS tree_host, p.polname AS tree_name
        FROM pg_catalog.pg_policy AS p
        LEFT JOIN pg_catalog.pg_description AS d ON d.objoid = p.oid
            AND d.classoid = 'pg_catalog.pg_policy'::pg_catalog.regclass
        WHERE p.polrelid = ANY ($1::pg_catalog.oid[])
        ORDER BY p.polrelid::pg_catalog.regclass::pg_catalog.text, p.polname
        """

    /// The end of a query for triggers `t`: how each is made again, and from where.
    ///
    /// `tgenabled` is O for a trigger as CREATE TRIGGER makes it.
    static let triggerRestoration = """
            pg_catalog.pg_get_triggerdef(t.oid) AS restore_1,
            CASE WHEN t.tgenabled <> 'O' THEN pg_catalog.format('ALTER TABLE %s %s TRIGGER %I',
                t.tgrelid::pg_catalog.regclass,
                CASE t.tgenabled WHEN 'A' THEN 'ENABLE ALWAYS' WHEN 'R' THEN 'ENABLE REPLICA'
                    ELSE 'DISABLE' END, t.tgname) END AS restore_2,
            CASE WHEN d.description IS NOT NULL THEN pg_catalog.format(
                'COMMENT ON TRIGGER %I ON %s IS %L', t.tgname, t.tgrelid::pg_catalog.regclass,
                d.description) END AS restore_3,
            \(extensions(of: "pg_trigger", "t.oid",
                "pg_catalog.format('TRIGGER %I ON %s', t.tgname, t.tgrelid::pg_catalog.regclass)"))
                AS restore_4, t.tgrelid AS tree_host, t.tgname AS tree_name
        FROM pg_catalog.pg_trigger AS t
        LEFT JOIN pg_catalog.pg_description AS d ON d.objoid = t.oid
            AND d.classoid = 'pg_catalog.pg_trigger'::pg_catalog.regclass
        """

    /// The extensions that take an object along when they are dropped, as statements.
    ///
    /// - Parameters:
    ///   - catalogue: Of the object.
    ///   - oid: Its OID, as an expression.
    ///   - object: Kind and name of it, as an expression.
    /// - Returns: The statements, in one text.
    static func extensions(of catalogue: String, _ oid: String, _ object: String) -> String {
        """
        (SELECT pg_catalog.string_agg(pg_catalog.format('ALTER %s DEPENDS ON EXTENSION %I', \(object),
                e.extname), '; ' ORDER BY e.extname)
            FROM pg_catalog.pg_depend AS x
            JOIN pg_catalog.pg_extension AS e ON e.oid = x.refobjid
            WHERE x.classid = 'pg_catalog.\(catalogue)'::pg_catalog.regclass AND x.objid = \(oid)
                AND x.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
                AND x.deptype = 'x')
        """
    }

    /// Captures which triggers of keys and constraints somebody has switched off or otherwise, as
    /// `ALTER TABLE … DISABLE TRIGGER ALL` does: they are made anew with each constraint, switched on.
    ///
    /// It is restored when all constraints are there, and by a superuser alone.
    static func captureConstraintTriggers(
        on tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [CarriedObject] {
        try await objects(of: [(constraintTriggersQuery, nil)], on: tables, on: connection)
    }

    /// The rest of a query for triggers `t` of constraints `o`: those of tables, and of others' keys to
    /// them, that are not as a constraint makes them.
    static let constraintTriggers = """
        FROM pg_catalog.pg_constraint AS o
        JOIN pg_catalog.pg_trigger AS t ON t.tgconstraint = o.oid AND t.tgisinternal
            AND t.tgenabled <> 'O'
        WHERE o.oid IN (SELECT k.oid FROM pg_catalog.pg_constraint AS k
                WHERE k.conrelid = ANY ($1::pg_catalog.oid[])
                UNION ALL \(References.constraints))
            AND o.conparentid = 0
        """

    // The triggers' names have their constraint's OID in them, so each is found by what it calls.
    private static let constraintTriggersQuery = """
        SELECT pg_catalog.format('triggers of constraint %I on %s', o.conname,
                o.conrelid::pg_catalog.regclass) AS subject,
            'switched on or off as they are now' AS note, NULL AS locked, NULL AS release,
            pg_catalog.string_agg(pg_catalog.format('DO %L', pg_catalog.format(
                $text$DECLARE statement pg_catalog.text; BEGIN
                FOR statement IN
                    SELECT pg_catalog.format('ALTER TABLE %%s %s TRIGGER %%I',
                        t.tgrelid::pg_catalog.regclass, t.tgname)
                    FROM pg_catalog.pg_trigger AS t
                    JOIN pg_catalog.pg_constraint AS o ON o.oid = t.tgconstraint
                    WHERE o.conrelid = %L::pg_catalog.regclass AND o.conname = %L
                        AND t.tgfoid = %s AND t.tgisinternal
                LOOP EXECUTE statement; END LOOP; END$text$,
                CASE t.tgenabled WHEN 'A' THEN 'ENABLE ALWAYS' WHEN 'R' THEN 'ENABLE REPLICA'
                    ELSE 'DISABLE' END,
                o.conrelid::pg_catalog.regclass, o.conname, t.tgfoid::pg_catalog.oid)), '; '
                ORDER BY t.tgfoid::pg_catalog.oid) AS restore_1
        \(constraintTriggers)
        GROUP BY o.oid, o.conrelid, o.conname
        ORDER BY 1
        """

    private static let triggersQuery = """
        SELECT pg_catalog.format('trigger %I on %s', t.tgname, t.tgrelid::pg_catalog.regclass)
                AS subject,
            'made again on the new table; it does not fire for the rebuilt rows' AS note,
            NULL AS locked, NULL AS release,
        \(triggerRestoration)
        WHERE t.tgrelid = ANY ($1::pg_catalog.oid[]) AND NOT t.tgisinternal
        ORDER BY t.tgrelid::pg_catalog.regclass::pg_catalog.text, t.tgname
        """

    private static let rulesQuery = """
        SELECT pg_catalog.format('rule %I on %s', r.rulename, r.ev_class::pg_catalog.regclass)
                AS subject,
            'made again on the new table' AS note, NULL AS locked, NULL AS release,
            pg_catalog.pg_get_ruledef(r.oid) AS restore_1,
            CASE WHEN r.ev_enabled <> 'O' THEN pg_catalog.format('ALTER TABLE %s %s RULE %I',
                r.ev_class::pg_catalog.regclass,
                CASE r.ev_enabled WHEN 'A' THEN 'ENABLE ALWAYS' WHEN 'R' THEN 'ENABLE REPLICA'
                    ELSE 'DISABLE' END, r.rulename) END AS restore_2,
            CASE WHEN d.description IS NOT NULL THEN pg_catalog.format(
                'COMMENT ON RULE %I ON %s IS %L', r.rulename, r.ev_class::pg_catalog.regclass,
                d.description) END AS restore_3, r.ev_class AS tree_host, r.rulename AS tree_name
        FROM pg_catalog.pg_rewrite AS r
        JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class AND c.relkind = 'r'
        LEFT JOIN pg_catalog.pg_description AS d ON d.objoid = r.oid
            AND d.classoid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        WHERE r.ev_class = ANY ($1::pg_catalog.oid[])
        ORDER BY r.ev_class::pg_catalog.regclass::pg_catalog.text, r.rulename
        """

    private static let removalQuery = """
        SELECT pg_catalog.format('DROP TRIGGER %I ON %s', t.tgname,
            t.tgrelid::pg_catalog.regclass) AS statement
        FROM pg_catalog.pg_trigger AS t
        WHERE t.tgrelid = ANY ($1::pg_catalog.oid[]) AND NOT t.tgisinternal
        UNION ALL
        SELECT pg_catalog.format('ALTER TABLE %s ENABLE TRIGGER %I', t.tgrelid::pg_catalog.regclass,
            t.tgname)
        \(constraintTriggers)
        UNION ALL
        SELECT pg_catalog.format('DROP RULE %I ON %s', r.rulename,
            r.ev_class::pg_catalog.regclass)
        FROM pg_catalog.pg_rewrite AS r
        JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class AND c.relkind = 'r'
        WHERE r.ev_class = ANY ($1::pg_catalog.oid[])
        UNION ALL
        SELECT pg_catalog.format('DROP POLICY %I ON %s', p.polname,
            p.polrelid::pg_catalog.regclass)
        FROM pg_catalog.pg_policy AS p WHERE p.polrelid = ANY ($1::pg_catalog.oid[])
        UNION ALL
        SELECT pg_catalog.format(
            'ALTER TABLE %s DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY',
            c.oid::pg_catalog.regclass)
        FROM pg_catalog.pg_class AS c
        WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND (c.relrowsecurity OR c.relforcerowsecurity)
        """
}
