/// Who owns what and who may do what, by the catalogues alone.
enum Belongings {
    /// Everything of the schemas `$1`, of the database, and what belongs to no schema.
    static let query = """
        WITH thing (kind, name, owner, acl, schema) AS (\(things))
        SELECT t.kind || ' ' || t.name || ': ' || pg_catalog.pg_get_userbyid(t.owner) || ' ' ||
            coalesce((SELECT pg_catalog.string_agg(i::text, ' ' ORDER BY i::text COLLATE "C")
                FROM pg_catalog.unnest(t.acl) AS i), '') AS line
        FROM thing AS t WHERE t.schema IS NULL OR t.schema = ANY ($1::text[])
        UNION ALL
        SELECT 'policy ' || p.polname || ' on ' || p.polrelid::pg_catalog.regclass || ': '
            || p.polroles::pg_catalog.regrole[]::text
        FROM pg_catalog.pg_policy AS p JOIN pg_catalog.pg_class AS c ON c.oid = p.polrelid
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = ANY ($1::text[])
        UNION ALL
        SELECT 'member ' || m.member::pg_catalog.regrole || ' of ' || m.roleid::pg_catalog.regrole
            || ' by ' || m.grantor::pg_catalog.regrole || ' ' || m.admin_option
        FROM pg_catalog.pg_auth_members AS m
        WHERE m.member::pg_catalog.regrole::text LIKE pg_catalog.current_database() || '%'
        UNION ALL
        SELECT 'default privileges of ' || d.defaclrole::pg_catalog.regrole || ' '
            || d.defaclnamespace || ' ' || d.defaclobjtype::text || ' ' || d.defaclacl::text
        FROM pg_catalog.pg_default_acl AS d
        ORDER BY 1
        """

    /// What stands in other schemas than `$1` and belongs neither to the job `$2` nor to the owner of
    /// something of that kind that was there; every right of others on those schemas, without which none
    /// on what is in them is of use; and every right of others on the bookkeeping.
    static let strayQuery = """
        WITH thing (kind, name, owner, acl, schema) AS (\(things))
        SELECT t.kind || ' ' || t.name || ' belongs to ' || pg_catalog.pg_get_userbyid(t.owner) AS line
        FROM thing AS t
        WHERE t.schema <> ALL ($1::text[])
            AND pg_catalog.pg_get_userbyid(t.owner) <> $2
            AND NOT (t.kind IN ('relation', 'type', 'statistics', 'column') AND EXISTS (
                SELECT FROM thing AS k WHERE k.schema = ANY ($1::text[]) AND k.owner = t.owner
                    AND k.kind = t.kind))
        UNION ALL
        SELECT t.kind || ' ' || t.name || ': ' || a.grantee::pg_catalog.regrole || ' has '
            || a.privilege_type
        FROM thing AS t CROSS JOIN LATERAL pg_catalog.aclexplode(t.acl) AS a
        WHERE t.schema <> ALL ($1::text[]) AND a.grantee <> t.owner
            AND (t.kind = 'schema' OR t.schema = 'reprise' AND t.kind IN ('relation', 'column'))
        ORDER BY 1
        """

    private static let things = """
        SELECT 'relation', n.nspname || '.' || c.relname, c.relowner, coalesce(c.relacl,
            pg_catalog.acldefault(CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END, c.relowner)),
            n.nspname::text
        FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname !~ '^pg_(toast|temp)'
        UNION ALL
        SELECT 'column', n.nspname || '.' || c.relname || '.' || a.attname, c.relowner, a.attacl,
            n.nspname::text
        FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE a.attacl IS NOT NULL
        UNION ALL
        SELECT 'function', n.nspname || '.' || p.proname || '('
                || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')', p.proowner,
            coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner)), n.nspname::text
        FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
        WHERE n.nspname !~ '^pg_temp'
        UNION ALL
        SELECT 'type', n.nspname || '.' || t.typname, t.typowner,
            coalesce(t.typacl, pg_catalog.acldefault('T', t.typowner)), n.nspname::text
        FROM pg_catalog.pg_type AS t JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
        WHERE n.nspname !~ '^pg_(toast|temp)'
        UNION ALL
        SELECT 'operator', n.nspname || '.' || o.oprname || ' ' || o.oid, o.oprowner, NULL,
            n.nspname::text
        FROM pg_catalog.pg_operator AS o JOIN pg_catalog.pg_namespace AS n ON n.oid = o.oprnamespace
        UNION ALL
        SELECT 'statistics', n.nspname || '.' || s.stxname, s.stxowner, NULL, n.nspname::text
        FROM pg_catalog.pg_statistic_ext AS s
        JOIN pg_catalog.pg_namespace AS n ON n.oid = s.stxnamespace
        UNION ALL
        SELECT 'collation', n.nspname || '.' || c.collname || c.collencoding, c.collowner, NULL,
            n.nspname::text
        FROM pg_catalog.pg_collation AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.collnamespace
        UNION ALL
        SELECT 'schema', n.nspname::text, n.nspowner,
            coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner)), n.nspname::text
        FROM pg_catalog.pg_namespace AS n WHERE n.nspname !~ '^pg_(toast|temp)'
        UNION ALL
        SELECT 'database', d.datname::text, d.datdba,
            coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba)), NULL
        FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()
        UNION ALL
        SELECT 'publication', p.pubname::text, p.pubowner, NULL, NULL
        FROM pg_catalog.pg_publication AS p
        UNION ALL
        SELECT 'event trigger', e.evtname::text, e.evtowner, NULL, NULL
        FROM pg_catalog.pg_event_trigger AS e
        UNION ALL
        SELECT 'large object', l.oid::text, l.lomowner, l.lomacl, NULL
        FROM pg_catalog.pg_largeobject_metadata AS l
        """
}
