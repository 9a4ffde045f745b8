import Postgres

/// What would make the batch of a swap fail for want of a right, found out while planning: whoever
/// learns it at the cut-over has folded and loaded for nothing.
struct SwapPreflight: Sendable {
    let live: LiveTables
    let liveSchema: String
    let homeSchema: String

    /// A refusal for each missing right, naming the object; one line that all is well otherwise.
    ///
    /// - Precondition: The shadow tables are in the home schema.
    func findings(on connection: PostgresConnection) async throws -> [Finding] {
        let missing = try await missingRights(on: connection)
        let refusals = try await missing + ask(Self.columnGrantsQuery, on: connection)
        guard refusals.isEmpty else { return refusals }
        let role = try await connection.query("SELECT current_user AS role").first
        return [
            Finding(
                .ok,
                "rights",
                "the role \(try role?.string("role") ?? "") may do everything that the swap does"
            )
        ]
    }

    /// A refusal for each missing right, naming the object.
    func missingRights(on connection: PostgresConnection) async throws -> [Finding] {
        try await ask(Self.rightsQuery, on: connection)
    }

    private func ask(_ query: String, on connection: PostgresConnection) async throws -> [Finding] {
        try await connection.setSearchPath([])
        let found = try await connection.query(
            query,
            [
                .ints(live.oids.map { Int64($0) }), .text(homeSchema), .text(liveSchema),
            ]
        )
        return try found.rows.map {
            Finding(.refuse, try $0.string("subject"), try $0.string("note"))
        }
    }

    // Who has to be what for each statement of the batch (manual, reference pages of the
    // statements): owners for ALTER and CREATE OR REPLACE, CREATE on a schema for what comes or is
    // replaced there, the grantor's role for a grant that an owner did not give.
    private static let rightsQuery = """
        WITH RECURSIVE \(ViewGraph.uses), moving (oid) AS (
            SELECT pg_catalog.unnest($1::pg_catalog.oid[])
            UNION
            SELECT u.upper FROM uses AS u JOIN moving AS m ON m.oid = u.lower
            JOIN pg_catalog.pg_class AS c ON c.oid = u.upper AND c.relkind = 'm'
        ), dependant (classid, objid) AS (
            SELECT DISTINCT d.classid, d.objid FROM pg_catalog.pg_depend AS d
            JOIN moving AS m ON m.oid = d.refobjid
            WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        ), needed (owner, schema, subject) AS (
            SELECT c.relowner, c.relnamespace, c.oid::pg_catalog.regclass::pg_catalog.text
            FROM pg_catalog.pg_class AS c JOIN moving AS m ON m.oid = c.oid
            UNION
            SELECT c.relowner, CASE c.relkind WHEN 'v' THEN c.relnamespace END,
                c.oid::pg_catalog.regclass::pg_catalog.text
            FROM dependant AS d
            JOIN pg_catalog.pg_rewrite AS r ON r.oid = d.objid
            JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class AND c.relpersistence <> 't'
            WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
            UNION
            SELECT c.relowner, NULL, c.oid::pg_catalog.regclass::pg_catalog.text
            FROM dependant AS d
            JOIN pg_catalog.pg_policy AS p ON p.oid = d.objid
            JOIN pg_catalog.pg_class AS c ON c.oid = p.polrelid
            WHERE d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass
            UNION
            SELECT p.proowner, p.pronamespace,
                pg_catalog.pg_describe_object(d.classid, d.objid, 0)
            FROM dependant AS d
            JOIN pg_catalog.pg_proc AS p ON p.oid = d.objid
            WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
            UNION
            SELECT c.relowner, NULL, c.oid::pg_catalog.regclass::pg_catalog.text
            FROM pg_catalog.pg_constraint AS o
            JOIN pg_catalog.pg_class AS c ON c.oid = o.conrelid
            WHERE o.oid IN (\(References.constraints)) AND o.contype = 'f'
                AND o.confrelid = ANY ($1::pg_catalog.oid[])
            UNION
            SELECT c.relowner, NULL, c.oid::pg_catalog.regclass::pg_catalog.text
            FROM pg_catalog.pg_trigger AS t
            JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
            WHERE t.oid IN (\(References.triggers)) AND NOT t.tgisinternal
                AND t.tgconstrrelid = ANY ($1::pg_catalog.oid[])
            UNION
            SELECT s.stxowner, s.stxnamespace, 'statistics ' || s.stxnamespace::pg_catalog.regnamespace
                || '.' || pg_catalog.quote_ident(s.stxname)
            FROM pg_catalog.pg_statistic_ext AS s WHERE s.stxrelid = ANY ($1::pg_catalog.oid[])
            UNION
            SELECT p.pubowner, NULL, 'publication ' || pg_catalog.quote_ident(p.pubname)
            FROM pg_catalog.pg_publication_rel AS r
            JOIN pg_catalog.pg_publication AS p ON p.oid = r.prpubid
            WHERE r.prrelid = ANY ($1::pg_catalog.oid[])
        ), grantor (role, subject) AS (
            SELECT DISTINCT a.grantor, c.oid::pg_catalog.regclass::pg_catalog.text
            FROM pg_catalog.pg_class AS c JOIN moving AS m ON m.oid = c.oid
            CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
            WHERE a.grantor <> c.relowner
            UNION
            SELECT DISTINCT a.grantor, c.oid::pg_catalog.regclass::pg_catalog.text
            FROM pg_catalog.pg_class AS c JOIN moving AS m ON m.oid = c.oid
            JOIN pg_catalog.pg_attribute AS t ON t.attrelid = c.oid AND NOT t.attisdropped
            CROSS JOIN LATERAL pg_catalog.aclexplode(t.attacl) AS a
            WHERE a.grantor <> c.relowner
            UNION
            SELECT DISTINCT a.grantor, 'the row type of ' || c.oid::pg_catalog.regclass
            FROM pg_catalog.pg_class AS c JOIN moving AS m ON m.oid = c.oid
            JOIN pg_catalog.pg_type AS t ON t.oid = c.reltype
            CROSS JOIN LATERAL pg_catalog.aclexplode(t.typacl) AS a
            WHERE a.grantor <> c.relowner
        )
        SELECT DISTINCT n.subject, pg_catalog.format('the role %I is not a member of %I, who '
            || 'owns it: %s', current_user, r.rolname, \(Membership.grant("r.rolname"))) AS note
        FROM needed AS n JOIN pg_catalog.pg_roles AS r ON r.oid = n.owner
        WHERE NOT (pg_catalog.pg_has_role(n.owner, 'USAGE') AND \(Membership.maySet("n.owner")))
            AND $2 <> $3
        UNION ALL
        SELECT DISTINCT 'schema ' || s.oid::pg_catalog.regnamespace, pg_catalog.format(
            'the role %I may not create anything in it: GRANT CREATE ON SCHEMA %s TO %I',
            current_user, s.oid::pg_catalog.regnamespace, current_user)
        FROM pg_catalog.pg_namespace AS s
        WHERE (s.nspname = $3 OR s.oid IN (SELECT schema FROM needed))
            AND NOT pg_catalog.has_schema_privilege(s.oid, 'CREATE')
        UNION ALL
        SELECT DISTINCT 'schema ' || s.oid::pg_catalog.regnamespace, pg_catalog.format(
            'the role %I may not look anything up in it: GRANT USAGE ON SCHEMA %s TO %I',
            current_user, s.oid::pg_catalog.regnamespace, current_user)
        FROM pg_catalog.pg_namespace AS s
        WHERE (s.nspname = $3 OR s.oid IN (SELECT schema FROM needed))
            AND NOT pg_catalog.has_schema_privilege(s.oid, 'USAGE')
        UNION ALL
        SELECT 'table ' || c.oid::pg_catalog.regclass, pg_catalog.format(
            'the role %I may not read and lock it, because its owner %I has no right to: '
                || 'GRANT ALL ON %s TO %I', current_user, r.rolname, c.oid::pg_catalog.regclass,
            r.rolname)
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_roles AS r ON r.oid = c.relowner AND pg_catalog.pg_has_role(r.oid, 'USAGE')
        WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND NOT (
            (pg_catalog.has_table_privilege(r.oid, c.oid, 'SELECT') OR (SELECT me.rolsuper
                FROM pg_catalog.pg_roles AS me WHERE me.rolname = current_user))
            AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
            AND pg_catalog.has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE'))
        UNION ALL
        SELECT 'grants on ' || g.subject, pg_catalog.format('%I passed some on, and the role %I '
            || 'cannot act as it: %s', r.rolname, current_user, \(Membership.grant("r.rolname")))
        FROM grantor AS g JOIN pg_catalog.pg_roles AS r ON r.oid = g.role
        WHERE NOT (\(Membership.maySet("g.role")))
        UNION ALL
        SELECT 'grants on ' || g.subject, pg_catalog.format('%I passed some on, and may not look the '
            || 'table up any more: GRANT USAGE ON SCHEMA %I TO %I', r.rolname, $3, r.rolname)
        FROM grantor AS g JOIN pg_catalog.pg_roles AS r ON r.oid = g.role
        WHERE NOT pg_catalog.has_schema_privilege(g.role, $3, 'USAGE')
        ORDER BY 1, 2
        """

    private static let columnGrantsQuery = """
        SELECT pg_catalog.format('grant on the column %I of %s', a.attname,
            c.oid::pg_catalog.regclass) AS subject, 'the new table has no such column' AS note
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND NOT a.attisdropped
        JOIN pg_catalog.pg_class AS s ON s.relname = c.relname
            AND s.relnamespace = pg_catalog.quote_ident($2)::pg_catalog.regnamespace
        WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND a.attacl IS NOT NULL
            AND $3 <> $2 AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_attribute AS t
                WHERE t.attrelid = s.oid AND t.attname = a.attname AND t.attnum > 0)
        ORDER BY 1
        """
}
