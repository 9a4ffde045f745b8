import Postgres

/// Objects outside the projection whose stored text is bound to the live tables' OIDs: rules on
/// other relations, policies of other tables, constraint triggers that refer to them, functions with
/// a `BEGIN ATOMIC` body or with a default of an argument that names a table.
///
/// They keep OID, owner and grants, and their text is read again when the names in it stand for the
/// new tables. A policy that stayed with the old tables would be a hole in authorisation.
enum OutsideDependants {
    /// Captures them.
    static func capture(
        on tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [CarriedObject] {
        var objects: [CarriedObject] = []
        let queries: [(String, StoredTree.Kind)] = [
            (rulesQuery, .rule), (functionsQuery, .function), (policiesQuery, .policy),
            (triggersQuery, .trigger),
        ]
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

    // What is temporary is one session's, and nobody else can look into it.
    //
    // The state of a rule (ENABLE ALWAYS and its like) stays when it is replaced.
    private static let rulesQuery = """
        SELECT DISTINCT pg_catalog.format('rule %I on %s', r.rulename,
                r.ev_class::pg_catalog.regclass) AS subject,
            'reads or writes the new table' AS note,
            CASE WHEN c.relkind <> 'v' THEN r.ev_class::pg_catalog.regclass::pg_catalog.text END
                AS locked,
            r.ev_class::pg_catalog.regclass::pg_catalog.text AS host,
            NULL AS release,
            'CREATE OR REPLACE RULE ' || pg_catalog.substr(
                pg_catalog.pg_get_ruledef(r.oid),
                pg_catalog.length('CREATE RULE ') + 1) AS restore_1,
            NULL AS restore_2, NULL AS restore_3, r.ev_class AS tree_host, r.rulename AS tree_name
        FROM pg_catalog.pg_depend AS d
        JOIN pg_catalog.pg_rewrite AS r ON r.oid = d.objid AND r.rulename <> '_RETURN'
        JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class AND c.relpersistence <> 't'
        WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
            AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
            AND d.refobjid = ANY ($1::pg_catalog.oid[])
            AND r.ev_class <> ALL ($1::pg_catalog.oid[])
        ORDER BY 1
        """

    // A constraint trigger goes with the table that it refers to (CREATE CONSTRAINT TRIGGER … FROM).
    private static let triggersQuery = """
        SELECT pg_catalog.format('trigger %I on %s', t.tgname, t.tgrelid::pg_catalog.regclass)
                AS subject,
            'refers to the new table' AS note,
            t.tgrelid::pg_catalog.regclass::pg_catalog.text AS locked,
            t.tgrelid::pg_catalog.regclass::pg_catalog.text AS host,
            pg_catalog.format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::pg_catalog.regclass)
                AS release,
        \(TableAttachments.triggerRestoration)
        WHERE t.oid IN (\(References.triggers)) AND NOT t.tgisinternal
            AND t.tgconstrrelid = ANY ($1::pg_catalog.oid[])
            AND t.tgrelid <> ALL ($1::pg_catalog.oid[])
        ORDER BY 1
        """

    private static let functionsQuery = """
        SELECT DISTINCT pg_catalog.pg_describe_object('pg_catalog.pg_proc'::pg_catalog.regclass,
                f.oid, 0) AS subject,
            CASE WHEN f.prosqlbody IS NULL THEN 'a default of its arguments names the new table'
                ELSE 'its BEGIN ATOMIC body reads the new table' END AS note, NULL AS locked, NULL AS release,
            pg_catalog.pg_get_functiondef(f.oid) AS restore_1,
            \(TableAttachments.extensions(of: "pg_proc", "f.oid",
                "'ROUTINE ' || f.oid::pg_catalog.regprocedure")) AS restore_2,
            NULL AS restore_3, f.oid AS tree_host, f.proname AS tree_name
        FROM pg_catalog.pg_depend AS d
        JOIN pg_catalog.pg_proc AS f ON f.oid = d.objid AND f.prokind <> 'a'
            AND (f.prosqlbody IS NOT NULL OR f.proargdefaults IS NOT NULL)
        JOIN pg_catalog.pg_namespace AS n ON n.oid = f.pronamespace
            AND n.nspname NOT LIKE 'pg\\_temp\\_%'
        WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.deptype = 'n'
            AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
            AND d.refobjid = ANY ($1::pg_catalog.oid[])
        ORDER BY 1
        """

    private static let policiesQuery = """
        SELECT DISTINCT pg_catalog.format('policy %I on %s', p.polname,
                p.polrelid::pg_catalog.regclass) AS subject,
            'looks into the new table' AS note,
            p.polrelid::pg_catalog.regclass::pg_catalog.text AS locked,
            p.polrelid::pg_catalog.regclass::pg_catalog.text AS host, NULL AS release,
            pg_catalog.format('ALTER POLICY %I ON %s%s%s', p.polname,
                p.polrelid::pg_catalog.regclass,
                ' USING (' || pg_catalog.pg_get_expr(p.polqual, p.polrelid)
                    || ')',
                ' WITH CHECK (' || pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) || ')')
                AS restore_1,
            NULL AS restore_2, NULL AS restore_3, p.polrelid AS tree_host, p.polname AS tree_name
        FROM pg_catalog.pg_depend AS d
        JOIN pg_catalog.pg_policy AS p ON p.oid = d.objid
        JOIN pg_catalog.pg_class AS c ON c.oid = p.polrelid AND c.relpersistence <> 't'
        WHERE d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass
            AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
            AND d.refobjid = ANY ($1::pg_catalog.oid[])
            AND p.polrelid <> ALL ($1::pg_catalog.oid[])
        ORDER BY 1
        """
}
