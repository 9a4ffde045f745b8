import Postgres

/// What event triggers can change on relations and functions, as the catalogue has it, a line each.
///
/// It holds no name of a schema and no OID of the relation itself, so that a table is compared with
/// another one, or with itself after a move.
enum RelationState {
    /// A relation or a function, and what counts of it.
    struct Subject: Sendable {
        /// What people call it.
        let label: String
        let oid: UInt32
        /// Of the relation that is compared with it: a grant counts on columns that both have.
        var twin: UInt32?
        var isRoutine = false
        /// Columns, constraints, indexes, settings, comments: what a swap brings along.
        var hasFeatures = true
        /// Owner, grants, row-level security, policies, triggers, rules, publications: what a swap carries over.
        var hasAttachments = true
    }

    struct Line: Hashable, Sendable {
        let label: String
        /// Such as `trigger audit`.
        let item: String
        let value: String
    }

    /// Asks for the lines of subjects.
    static func lines(
        of subjects: [Subject],
        on connection: PostgresConnection
    ) async throws -> Set<Line> {
        guard !subjects.isEmpty else { return [] }
        let rows = try await connection.query(query(of: subjects)).rows
        return Set(
            try rows.map { row in
                Line(
                    label: try row.string("label"),
                    item: try row.string("item"),
                    value: try row.string("value")
                )
            }
        )
    }

    /// Notes the state of subjects until the transaction ends, as a statement.
    static func note(of subjects: [Subject]) -> String {
        """
        SELECT pg_catalog.set_config('reprise.state', (
            SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(l.label, l.item, l.value)),
                '[]')::pg_catalog.text
            FROM (\(query(of: subjects))) AS l), true)
        """
    }

    /// Raises unless the state of subjects is what ``note(of:)`` has noted under their labels.
    ///
    /// - Parameters:
    ///   - subjects: What to look at.
    ///   - sqlState: Its detail lists what is not the same, a line each.
    /// - Returns: The statement.
    static func assertion(_ subjects: [Subject], raising sqlState: String) -> String {
        let body = """
            DECLARE
                others pg_catalog.text;
            BEGIN
            WITH noted AS (
                SELECT e ->> 0 AS label, e ->> 1 AS item, e ->> 2 AS value
                FROM pg_catalog.jsonb_array_elements(
                    pg_catalog.current_setting('reprise.state')::pg_catalog.jsonb) AS e
            ), found AS (\(query(of: subjects)))
            SELECT pg_catalog.string_agg(DISTINCT d.item || ' of ' || d.label, E'\\n') INTO others
            FROM ((TABLE noted EXCEPT TABLE found) UNION ALL (TABLE found EXCEPT TABLE noted)) AS d;
            IF others IS NOT NULL THEN
                RAISE EXCEPTION 'event triggers changed what the cut-over moved'
                    USING ERRCODE = '\(sqlState)', DETAIL = others;
            END IF;
            END
            """
        return "DO \(SQLText.literal(body))"
    }

    /// A query whose columns are label, item and value.
    private static func query(of subjects: [Subject]) -> String {
        let rows = subjects.map { subject in
            "(\(SQLText.literal(subject.label)), \(subject.oid)::pg_catalog.oid, "
                + "\(subject.twin ?? subject.oid)::pg_catalog.oid, \(subject.isRoutine), "
                + "\(subject.hasFeatures), \(subject.hasAttachments))"
        }.joined(separator: ", ")
        return """
            WITH subject (label, oid, twin, is_routine, features, attachments) AS (VALUES \(rows)),
            w AS (SELECT * FROM subject WHERE NOT is_routine)
            SELECT l.label::pg_catalog.text, l.item::pg_catalog.text,
                coalesce(l.value, '')::pg_catalog.text AS value
            FROM (\((features + attachments).joined(separator: "\nUNION ALL\n"))) AS l
            """
    }

    private static let features = [
        """
        SELECT w.label, v.item, v.value FROM w
        JOIN pg_catalog.pg_class AS c ON c.oid = w.oid
        CROSS JOIN LATERAL (VALUES
            ('UNLOGGED', nullif(c.relpersistence, 'p')::pg_catalog.text),
            ('replica identity', c.relreplident::pg_catalog.text),
            ('options', ARRAY(SELECT o.o FROM pg_catalog.unnest(c.reloptions) AS o (o)
                ORDER BY o.o)::pg_catalog.text)) AS v (item, value)
        WHERE w.features AND v.value IS NOT NULL AND v.value <> '{}'
        """,
        """
        SELECT w.label, 'column ' || pg_catalog.quote_ident(a.attname), pg_catalog.concat_ws(' ',
            a.atttypid, a.atttypmod, a.attcollation, a.attnotnull, a.attidentity, a.attgenerated,
            a.attstorage, a.attcompression, a.attstattarget, a.attoptions)
        FROM w JOIN pg_catalog.pg_attribute AS a ON a.attrelid = w.oid AND a.attnum > 0
            AND NOT a.attisdropped
        WHERE w.features
        """,
        """
        SELECT w.label, 'default of column ' || pg_catalog.quote_ident(a.attname),
            pg_catalog.md5(f.adbin::pg_catalog.text)
        FROM w JOIN pg_catalog.pg_attrdef AS f ON f.adrelid = w.oid
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = w.oid AND a.attnum = f.adnum
        WHERE w.features
        """,
        """
        SELECT w.label, 'constraint ' || pg_catalog.quote_ident(o.conname), pg_catalog.concat_ws(' ',
            o.contype, o.convalidated, o.condeferrable, o.condeferred,
            pg_catalog.md5(o.conbin::pg_catalog.text),
            pg_catalog.obj_description(o.oid, 'pg_constraint'))
        FROM w JOIN pg_catalog.pg_constraint AS o ON o.conrelid = w.oid AND o.contype NOT IN ('f', 't')
        WHERE w.features
        """,
        """
        SELECT w.label, 'index ' || pg_catalog.quote_ident(c.relname), pg_catalog.concat_ws(' ',
            i.indisunique, i.indisvalid, i.indisclustered, i.indisreplident, c.reloptions,
            pg_catalog.obj_description(c.oid, 'pg_class'))
        FROM w JOIN pg_catalog.pg_index AS i ON i.indrelid = w.oid
        JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
        WHERE w.features
        """,
        """
        SELECT w.label, 'statistics ' || pg_catalog.quote_ident(s.stxname),
            s.stxstattarget::pg_catalog.text
        FROM w JOIN pg_catalog.pg_statistic_ext AS s ON s.stxrelid = w.oid
        WHERE w.features
        """,
        """
        SELECT w.label, coalesce('comment of column ' || pg_catalog.quote_ident(a.attname), 'comment'),
            d.description
        FROM w JOIN pg_catalog.pg_description AS d ON d.objoid = w.oid
            AND d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
        LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = w.oid AND a.attnum = d.objsubid
            AND d.objsubid > 0
        WHERE w.features
        """,
    ]

    private static let attachments = [
        """
        SELECT w.label, v.item, v.value FROM w
        JOIN pg_catalog.pg_class AS c ON c.oid = w.oid
        CROSS JOIN LATERAL (VALUES
            ('owner', pg_catalog.pg_get_userbyid(c.relowner)::pg_catalog.text),
            ('row-level security', pg_catalog.concat(c.relrowsecurity, c.relforcerowsecurity)))
            AS v (item, value)
        WHERE w.attachments
        """,
        """
        SELECT w.label, 'grants', g.item::pg_catalog.text FROM w
        JOIN pg_catalog.pg_class AS c ON c.oid = w.oid
        CROSS JOIN LATERAL pg_catalog.unnest(coalesce(c.relacl,
            pg_catalog.acldefault('r', c.relowner))) AS g (item)
        WHERE w.attachments
        """,
        """
        SELECT w.label, 'grants on column ' || pg_catalog.quote_ident(a.attname),
            g.item::pg_catalog.text
        FROM w JOIN pg_catalog.pg_attribute AS a ON a.attrelid = w.oid AND a.attnum > 0
            AND NOT a.attisdropped
        CROSS JOIN LATERAL pg_catalog.unnest(a.attacl) AS g (item)
        WHERE w.attachments AND EXISTS (SELECT FROM pg_catalog.pg_attribute AS b
            WHERE b.attrelid = w.twin AND b.attname = a.attname AND NOT b.attisdropped)
        """,
        """
        SELECT w.label, 'policy ' || pg_catalog.quote_ident(p.polname),
            pg_catalog.obj_description(p.oid, 'pg_policy')
        FROM w JOIN pg_catalog.pg_policy AS p ON p.polrelid = w.oid
        WHERE w.attachments
        """,
        """
        SELECT w.label, 'trigger ' || pg_catalog.quote_ident(t.tgname), pg_catalog.concat_ws(' ',
            t.tgenabled, pg_catalog.obj_description(t.oid, 'pg_trigger'))
        FROM w JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = w.oid AND NOT t.tgisinternal
        WHERE w.attachments
        """,
        """
        SELECT w.label, 'rule ' || pg_catalog.quote_ident(r.rulename), pg_catalog.concat_ws(' ',
            r.ev_enabled, pg_catalog.obj_description(r.oid, 'pg_rewrite'))
        FROM w JOIN pg_catalog.pg_rewrite AS r ON r.ev_class = w.oid AND r.rulename <> '_RETURN'
        WHERE w.attachments
        """,
        """
        SELECT w.label, 'publication ' || pg_catalog.quote_ident(p.pubname), ''
        FROM w JOIN pg_catalog.pg_publication_rel AS r ON r.prrelid = w.oid
        JOIN pg_catalog.pg_publication AS p ON p.oid = r.prpubid
        WHERE w.attachments
        """,
        """
        SELECT s.label, v.item, v.value FROM subject AS s
        JOIN pg_catalog.pg_proc AS f ON s.is_routine AND f.oid = s.oid
        CROSS JOIN LATERAL (
            SELECT 'owner', pg_catalog.pg_get_userbyid(f.proowner)::pg_catalog.text
            UNION ALL
            SELECT 'settings', f.proconfig::pg_catalog.text WHERE f.proconfig IS NOT NULL
            UNION ALL
            SELECT 'comment', pg_catalog.obj_description(f.oid, 'pg_proc')
            UNION ALL
            SELECT 'grants', g.item::pg_catalog.text
            FROM pg_catalog.unnest(coalesce(f.proacl,
                pg_catalog.acldefault('f', f.proowner))) AS g (item)) AS v (item, value)
        """,
    ]
}
