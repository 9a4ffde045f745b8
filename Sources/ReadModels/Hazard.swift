import Postgres

/// What on or around the live tables a strategy would lose or break.
enum Hazard {
    /// What would stay behind on the old tables, or must not happen without a consent.
    ///
    /// - Returns: A refusal each, with what works instead.
    static func ofSwap(
        _ tables: [UInt32],
        consent: CarryOverConsent,
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        var queries = [
            shapeQuery, boundShapeQuery, rowSecurityQuery, dependantsQuery, keysQuery,
            constraintTriggersQuery,
        ]
        if !consent.recreatesIncomingForeignKeys { queries.append(incomingQuery) }
        if !consent.republishes { queries.append(publicationsQuery) }
        return try await findings(from: queries, tables, on: connection)
            + MaterializedView.mixed(over: tables, on: connection)
    }

    /// Views that read tables of the live generation and of the one that comes, as those do that people
    /// make to compare them.
    ///
    /// - Returns: A refusal each.
    static func ofBoth(
        _ live: [UInt32],
        _ target: [Int64],
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        try await connection.setSearchPath([])
        return try await connection.query(
            bothQuery,
            [.ints(live.map { Int64($0) }), .ints(target)]
        ).rows.map { Finding(.refuse, try $0.string("subject"), try $0.string("note")) }
    }

    private static let bothQuery = """
        SELECT DISTINCT pg_catalog.pg_describe_object('pg_catalog.pg_class'::pg_catalog.regclass,
                r.ev_class, 0) AS subject,
            'it reads the generation that comes as well as the live tables, and its names would stand for '
            || 'other tables afterwards: DROP it, and make it again behind the swap' AS note
        FROM pg_catalog.pg_depend AS d
        JOIN pg_catalog.pg_rewrite AS r ON r.oid = d.objid
            AND r.ev_class <> ALL ($2::pg_catalog.oid[])
        JOIN pg_catalog.pg_depend AS e ON e.objid = r.oid AND e.classid = d.classid
            AND e.refclassid = d.refclassid AND e.refobjid = ANY ($1::pg_catalog.oid[])
        WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
            AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
            AND d.refobjid = ANY ($2::pg_catalog.oid[])
        ORDER BY 1
        """

    /// What a truncate-and-reload cannot do.
    ///
    /// - Returns: A refusal each.
    static func ofTruncate(
        _ tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        try await findings(
            from: [shapeQuery, rowSecurityQuery, truncateQuery],
            tables,
            on: connection
        )
    }

    /// What keeps `follow` from reading and writing every row.
    ///
    /// - Returns: A refusal each.
    static func ofFollowing(
        _ tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        try await findings(
            from: [rowSecurityQuery, rulesQuery, triggersQuery, unloggedQuery],
            tables,
            on: connection
        )
    }

    /// What keeps this role from changing single rows of tables.
    ///
    /// - Returns: A refusal each.
    static func ofWriting(
        _ tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        try await findings(from: [rulesQuery], tables, on: connection)
    }

    /// What others would have run with this role's rights by foreign keys that change their tables along.
    ///
    /// Before PostgreSQL 18 a trigger that fires afterwards has the rights of the role that is current then,
    /// and not of the owner in whose name the key changes the row.
    ///
    /// - Returns: A refusal each.
    static func ofCascades(
        from tables: [UInt32],
        deleting: Bool,
        updating: Bool,
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        try await connection.query(
            cascadesQuery,
            [.ints(tables.map { Int64($0) }), .bool(deleting), .bool(updating)]
        ).rows.map { Finding(.refuse, try $0.string("subject"), try $0.string("note")) }
    }

    private static let cascadesQuery = """
        WITH RECURSIVE \(KeyActions.reached)
        SELECT pg_catalog.format('trigger %I on %s', t.tgname, c.oid::pg_catalog.regclass) AS subject,
            pg_catalog.format('a foreign key changes rows of this table along, and the trigger would run '
                || 'with the rights of %I. A BEFORE trigger runs with those of %I: make it one, or drop '
                || 'it', current_user, o.rolname) AS note
        FROM reached AS r
        JOIN pg_catalog.pg_class AS c ON c.oid = r.oid AND c.oid <> ALL ($1::pg_catalog.oid[])
        JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
        JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = c.oid AND NOT t.tgisinternal
            AND t.tgenabled <> 'D' AND t.tgtype & 66 = 0
        WHERE o.rolname <> current_user AND NOT o.rolsuper
            AND pg_catalog.current_setting('server_version_num')::pg_catalog.int4 < 180000
        ORDER BY 1
        """

    private static func findings(
        from queries: [String],
        _ tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        guard !tables.isEmpty else { return [] }
        try await connection.setSearchPath([])
        var findings: [Finding] = []
        for query in queries {
            let result = try await connection.query(query, [.ints(tables.map { Int64($0) })])
            findings += try result.rows.map {
                Finding(.refuse, try $0.string("subject"), try $0.string("note"))
            }
        }
        return findings
    }

    // TRUNCATE and COPY of a parent leave its children's rows, or take them along.
    private static let shapeQuery = """
        SELECT c.oid::pg_catalog.regclass::pg_catalog.text AS subject, CASE
            WHEN c.relkind = 'p' THEN 'it is partitioned, and no strategy fills its leaves. Let the '
                || 'projection own a plain table, and name the partitions by a view'
            WHEN c.relkind <> 'r' THEN 'it is not a plain table'
            ELSE 'it is part of an inheritance tree, and no strategy keeps that whole'
            END AS note
        FROM pg_catalog.pg_class AS c
        WHERE c.oid = ANY ($1::pg_catalog.oid[])
            AND (c.relkind <> 'r' OR NOT c.relispartition AND EXISTS (
                SELECT FROM pg_catalog.pg_inherits AS h
                WHERE h.inhparent = c.oid OR h.inhrelid = c.oid))
        """

    // What is true of the table itself and cannot become true of another one.
    private static let boundShapeQuery = """
        SELECT c.oid::pg_catalog.regclass::pg_catalog.text AS subject, CASE
            WHEN c.relispartition THEN 'it is a partition of another table, and another table cannot '
                || 'take its place there. ''--strategy truncate'' works'
            WHEN c.relpersistence <> 'p' THEN 'it is unlogged: a crash of the server empties it and '
                || 'leaves its position. ALTER TABLE … SET LOGGED, or ''--strategy truncate'''
            ELSE 'it is made by CREATE TABLE … OF a type. ''--strategy truncate'' works'
            END AS note
        FROM pg_catalog.pg_class AS c
        WHERE c.oid = ANY ($1::pg_catalog.oid[])
            AND (c.relispartition OR c.relpersistence <> 'p' OR c.reloftype <> 0)
        UNION ALL
        SELECT c.oid::pg_catalog.regclass::pg_catalog.text, 'it belongs to the extension '
            || pg_catalog.quote_ident(e.extname) || ', and membership cannot be handed on by a swap. '
            || '''--strategy truncate'' works'
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
            AND d.objid = c.oid AND d.deptype = 'e'
        JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid
        WHERE c.oid = ANY ($1::pg_catalog.oid[])
        UNION ALL
        SELECT pg_catalog.format('security label of %s', l.objoid::pg_catalog.regclass),
            'only its provider may set it. ''--strategy truncate'' keeps it'
        FROM pg_catalog.pg_seclabel AS l
        WHERE l.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
            AND l.objoid = ANY ($1::pg_catalog.oid[])
        UNION ALL
        SELECT pg_catalog.format('subscription to %s', r.srrelid::pg_catalog.regclass),
            'a publisher elsewhere writes its rows, so they are not this projection''s'
        FROM pg_catalog.pg_subscription_rel AS r WHERE r.srrelid = ANY ($1::pg_catalog.oid[])
        """

    // Rows that a policy hides are missing where rows are counted, compared, or read for a sequence.
    private static let rowSecurityQuery = """
        SELECT pg_catalog.format('row-level security of %s', c.oid::pg_catalog.regclass) AS subject,
            pg_catalog.format('the role %I is subject to it and does not see every row. Let a superuser '
                || 'type ALTER ROLE %I BYPASSRLS', current_user, current_user)
                || CASE WHEN c.relforcerowsecurity THEN pg_catalog.format('; its owner may type '
                    || 'ALTER TABLE %s NO FORCE ROW LEVEL SECURITY instead',
                    c.oid::pg_catalog.regclass) ELSE '' END AS note
        FROM pg_catalog.pg_class AS c
        WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND pg_catalog.row_security_active(c.oid)
        ORDER BY 1
        """

    // A rule's functions have the rights of the role whose statement it rewrites, and no statement that it
    // rewrites into several can be run as another one (RestrictedOperation).
    private static let rulesQuery = """
        SELECT pg_catalog.format('rule %I on %s', r.rulename, c.oid::pg_catalog.regclass) AS subject,
            pg_catalog.format('%I has put it there, and it would run with the rights of %I. A trigger '
                || 'does the same with the rights of its owner: make one, and DROP RULE %I ON %s',
                o.rolname, current_user, r.rulename, c.oid::pg_catalog.regclass) AS note
        FROM pg_catalog.pg_rewrite AS r
        JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class
        JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
        WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND c.relkind = 'r' AND r.ev_type <> '1'
            AND r.ev_enabled <> 'D' AND o.rolname <> current_user AND NOT o.rolsuper
            AND NOT (r.ev_qual::pg_catalog.text = '<>'
                AND pg_catalog.pg_get_ruledef(r.oid) LIKE '% DO INSTEAD NOTHING;')
        ORDER BY 1
        """

    private static let triggersQuery = """
        SELECT pg_catalog.format('trigger %I on %s', t.tgname, c.oid::pg_catalog.regclass) AS subject,
            pg_catalog.format('its function belongs to %I, and it would run with the rights of %I: '
                || 'ALTER FUNCTION %s OWNER TO %I, or let %I own the table', f.rolname, current_user,
                t.tgfoid::pg_catalog.regprocedure, current_user, f.rolname) AS note
        FROM pg_catalog.pg_trigger AS t
        JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
        JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
            AND (o.rolsuper OR o.rolname = current_user)
        JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
        JOIN pg_catalog.pg_roles AS f ON f.oid = p.proowner
            AND NOT f.rolsuper AND f.rolname <> current_user
        WHERE t.tgrelid = ANY ($1::pg_catalog.oid[]) AND NOT t.tgisinternal AND t.tgenabled <> 'D'
        ORDER BY 1
        """

    private static let unloggedQuery = """
        SELECT c.oid::pg_catalog.regclass::pg_catalog.text AS subject, pg_catalog.format(
            'it is unlogged: a crash of the server empties it and leaves its position, and nobody would '
            || 'notice that the rows are gone. ALTER TABLE %s SET LOGGED, and rebuild',
            c.oid::pg_catalog.regclass) AS note
        FROM pg_catalog.pg_class AS c
        WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND c.relpersistence = 'u'
        ORDER BY 1
        """

    private static let keysQuery = """
        SELECT pg_catalog.format('foreign key %I of %s', o.conname, o.conrelid::pg_catalog.regclass)
            AS subject, 'that table is partitioned, and there a foreign key cannot be made without '
            || 'checking every row. No strategy keeps it' AS note
        FROM pg_catalog.pg_constraint AS o
        JOIN pg_catalog.pg_class AS c ON c.oid = o.conrelid AND c.relkind = 'p'
        WHERE o.oid IN (\(References.constraints)) AND o.contype = 'f'
            AND o.confrelid = ANY ($1::pg_catalog.oid[]) AND o.conparentid = 0
        ORDER BY 1
        """

    private static let constraintTriggersQuery = """
        SELECT DISTINCT pg_catalog.format('triggers of constraint %I on %s', o.conname,
                o.conrelid::pg_catalog.regclass) AS subject,
            'somebody has switched them off or otherwise, and only a superuser may do that on the new '
            || 'table. Let one type ALTER TABLE … ENABLE TRIGGER ALL. ''--strategy truncate'' '
            || 'keeps them' AS note
        \(TableAttachments.constraintTriggers)
            AND NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user)
        ORDER BY 1
        """

    private static let incomingQuery = """
        SELECT pg_catalog.format('foreign key %I of %s', o.conname, o.conrelid::pg_catalog.regclass)
            AS subject, pg_catalog.format('it refers to %s. ''--incoming-foreign-keys recreate'' '
            || 'makes it again: %s is locked for the moment of the swap, and checked after it',
            o.confrelid::pg_catalog.regclass, o.conrelid::pg_catalog.regclass) AS note
        FROM pg_catalog.pg_constraint AS o
        JOIN pg_catalog.pg_class AS c ON c.oid = o.conrelid AND c.relkind <> 'p'
        WHERE o.oid IN (\(References.constraints)) AND o.contype = 'f'
            AND o.confrelid = ANY ($1::pg_catalog.oid[])
            AND o.conrelid <> ALL ($1::pg_catalog.oid[]) AND o.conparentid = 0
        ORDER BY 1
        """

    private static let truncateQuery = """
        SELECT pg_catalog.format('foreign key %I of %s', o.conname, o.conrelid::pg_catalog.regclass)
            AS subject, pg_catalog.format('it refers to %s, and the server does not truncate a table '
            || 'that others refer to', o.confrelid::pg_catalog.regclass) AS note
        FROM pg_catalog.pg_constraint AS o
        WHERE o.oid IN (\(References.constraints)) AND o.contype = 'f'
            AND o.confrelid = ANY ($1::pg_catalog.oid[])
            AND o.conrelid <> ALL ($1::pg_catalog.oid[]) AND o.conparentid = 0
        UNION ALL
        SELECT pg_catalog.format('publication %I of %s', p.pubname, c.oid::pg_catalog.regclass),
            pg_catalog.format('it does not publish %s, so that subscribers would have other rows: '
                || 'ALTER PUBLICATION %I SET (publish = ''insert, update, delete, truncate'')',
                CASE WHEN p.pubtruncate THEN 'INSERT' WHEN p.pubinsert THEN 'TRUNCATE'
                    ELSE 'TRUNCATE and INSERT' END, p.pubname)
        FROM pg_catalog.pg_publication AS p
        JOIN pg_catalog.pg_class AS c ON c.oid = ANY ($1::pg_catalog.oid[])
        WHERE NOT (p.pubtruncate AND p.pubinsert) AND \(isPublished)
        UNION ALL
        SELECT 'table ' || c.oid::pg_catalog.regclass, pg_catalog.format(
            'the role %I may not empty and fill it, because its owner %I has no right to: GRANT ALL ON '
                || '%s TO %I', current_user, r.rolname, c.oid::pg_catalog.regclass, r.rolname)
        FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_roles AS r ON r.oid = c.relowner
        WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND NOT (
            pg_catalog.has_table_privilege(c.oid, 'TRUNCATE')
            AND pg_catalog.has_table_privilege(c.oid, 'INSERT')
            AND pg_catalog.has_table_privilege(c.oid, 'SELECT'))
        ORDER BY 1
        """

    private static let isPublished = """
        (p.puballtables
            OR EXISTS (SELECT FROM pg_catalog.pg_publication_rel AS r
                WHERE r.prpubid = p.oid AND r.prrelid = c.oid)
            OR EXISTS (SELECT FROM pg_catalog.pg_publication_namespace AS s
                WHERE s.pnpubid = p.oid AND s.pnnspid = c.relnamespace))
        """

    private static let publicationsQuery = """
        SELECT pg_catalog.format('publication %I of %s', p.pubname, c.oid::pg_catalog.regclass)
            AS subject, 'subscribers do not get the rebuilt rows and keep the old ones. One stops for all '
            || 'its tables at the first new row whose key it has already. '
            || 'docs/guide/your-server/subscribers.md says how it copies the table anew; '
            || '''--republish'' then puts the new table into the publication' || CASE WHEN p.pubtruncate AND p.pubinsert
                THEN '. ''--strategy truncate'' sends them the rows' ELSE '' END AS note
        FROM pg_catalog.pg_publication AS p
        JOIN pg_catalog.pg_class AS c ON c.oid = ANY ($1::pg_catalog.oid[])
        WHERE \(isPublished)
        ORDER BY 1
        """

    // Whatever else depends on a table, an index of it, its row type, or the sequence of an identity column: every
    // class that is not known to follow is named, whatever classes there will be. What is temporary is
    // one session's, which nobody else can wait for or drop: anybody could stop every swap by it.
    private static let dependantsQuery = """
        WITH target (classid, objid) AS (
            SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, c.oid
            FROM pg_catalog.pg_class AS c WHERE c.oid = ANY ($1::pg_catalog.oid[])
            UNION ALL
            SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, i.indexrelid
            FROM pg_catalog.pg_index AS i WHERE i.indrelid = ANY ($1::pg_catalog.oid[])
            UNION ALL
            SELECT o.classid, o.objid FROM pg_catalog.pg_depend AS o
            WHERE o.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                AND o.refobjid = ANY ($1::pg_catalog.oid[]) AND o.refobjsubid > 0
                AND o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND o.deptype = 'i'
            UNION ALL
            SELECT 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid, v.oid
            FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_type AS t ON t.oid = c.reltype
            CROSS JOIN LATERAL (VALUES (t.oid), (t.typarray)) AS v (oid)
            WHERE c.oid = ANY ($1::pg_catalog.oid[])
        )
        SELECT DISTINCT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) AS subject,
            'it depends on ' || pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0)
                || ' and cannot be pointed at another. ''--strategy truncate'' keeps it' AS note
        FROM target AS g
        JOIN pg_catalog.pg_depend AS d ON d.refclassid = g.classid AND d.refobjid = g.objid
        WHERE d.deptype IN ('n', 'x', 'e')
            AND NOT (d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND (
                d.classid IN ('pg_catalog.pg_rewrite'::pg_catalog.regclass,
                        'pg_catalog.pg_policy'::pg_catalog.regclass,
                        'pg_catalog.pg_publication_rel'::pg_catalog.regclass)
                    AND d.refobjid = ANY ($1::pg_catalog.oid[])
                OR d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                    AND d.refobjid = ANY ($1::pg_catalog.oid[])
                OR d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND EXISTS (
                    SELECT FROM pg_catalog.pg_trigger AS t
                    WHERE t.oid = d.objid AND t.tgrelid = ANY ($1::pg_catalog.oid[]))
                OR d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                    AND d.objid = ANY ($1::pg_catalog.oid[])))
            AND NOT (d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND EXISTS (
                SELECT FROM pg_catalog.pg_constraint AS o
                WHERE o.oid = d.objid
                    AND (o.contype = 'f' OR o.conrelid = ANY ($1::pg_catalog.oid[]))))
            AND NOT (d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND EXISTS (
                SELECT FROM pg_catalog.pg_attrdef AS f
                WHERE f.oid = d.objid AND f.adrelid = ANY ($1::pg_catalog.oid[])))
            AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_namespace AS n
                LEFT JOIN pg_catalog.pg_proc AS f ON f.oid = d.objid
                    AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                LEFT JOIN pg_catalog.pg_class AS c ON c.oid = d.objid
                    AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                WHERE n.oid IN (f.pronamespace, c.relnamespace) AND n.nspname LIKE 'pg\\_temp\\_%')
        ORDER BY 1
        """
}
