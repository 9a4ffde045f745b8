import Postgres

/// Whether the schema `reprise` is what Reprise made, and only those can change it who may act as its
/// owner.
///
/// A role that can put a trigger, a rule or a view there has its code run with the rights of every command.
enum BookkeepingTrust {
    /// Makes sure of it, before anything of the schema is read.
    ///
    /// - Throws: ``ReadModelError/untrustedBookkeeping(reasons:)``.
    static func assert(on connection: PostgresConnection) async throws {
        let reasons = try await connection.query(query).rows.map { try $0.string("reason") }
        guard reasons.isEmpty else { throw ReadModelError.untrustedBookkeeping(reasons: reasons) }
    }

    /// Makes sure that this role may do what a command does there.
    ///
    /// - Parameters:
    ///   - isReader: Whether the command only looks: the right to look is then enough.
    ///   - connection: Its session.
    /// - Throws: ``ReadModelError/bookkeepingOfAnother(owner:role:)``.
    static func assertUsable(
        byReader isReader: Bool,
        on connection: PostgresConnection
    ) async throws {
        let right =
            isReader ? "has_schema_privilege(oid, 'USAGE')" : "pg_has_role(nspowner, 'USAGE')"
        let row = try await connection.query(
            """
            SELECT pg_catalog.pg_get_userbyid(nspowner) AS owner, current_user::text AS role
            FROM pg_catalog.pg_namespace WHERE nspname = 'reprise' AND NOT pg_catalog.\(right)
            """
        ).first
        guard let row else { return }
        throw ReadModelError.bookkeepingOfAnother(
            owner: try row.string("owner"),
            role: try row.string("role")
        )
    }

    // A superuser may act as anybody, and must not: so its own name and other superusers' count alone.
    // The checkpoint is written by projectors. A trigger of a trusted role, for an audit, may be there.
    private static let query = """
        WITH me AS (
            SELECT oid, rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user
        ), trusted AS (
            SELECT r.oid FROM pg_catalog.pg_roles AS r, me
            WHERE r.rolsuper OR r.oid = me.oid
                OR NOT me.rolsuper AND pg_catalog.pg_has_role(me.oid, r.oid, 'USAGE')
        ), schema AS (
            SELECT oid, nspowner, nspacl FROM pg_catalog.pg_namespace WHERE nspname = 'reprise'
        ), relation AS (
            SELECT c.* FROM pg_catalog.pg_class AS c
            WHERE c.oid IN (\(SchemaContents.relations(of: "(SELECT oid FROM schema)")))
        )
        SELECT pg_catalog.format('the schema belongs to %I', pg_catalog.pg_get_userbyid(nspowner))
            AS reason
        FROM schema WHERE nspowner NOT IN (SELECT oid FROM trusted)
        UNION ALL
        SELECT pg_catalog.format('%s may create objects in it', CASE a.grantee WHEN 0 THEN 'everybody'
            ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END)
        FROM schema AS s, pg_catalog.aclexplode(s.nspacl) AS a
        WHERE a.privilege_type = 'CREATE' AND a.grantee NOT IN (SELECT oid FROM trusted)
        UNION ALL
        SELECT pg_catalog.format('%I belongs to %I', c.relname,
            pg_catalog.pg_get_userbyid(c.relowner))
        FROM relation AS c WHERE c.relowner NOT IN (SELECT oid FROM trusted)
        UNION ALL
        SELECT pg_catalog.format('%I is not a table', c.relname)
        FROM relation AS c
        WHERE c.relkind <> 'r' AND c.relname IN ('migration', 'run', 'generation',
            'generation_table', 'checkpoint', 'swap', 'follow_up', 'follower', 'session_lock',
            'session_mark')
        UNION ALL
        SELECT pg_catalog.format('%I has the trigger %I', c.relname, t.tgname)
        FROM relation AS c JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = c.oid AND NOT t.tgisinternal
        JOIN pg_catalog.pg_proc AS f ON f.oid = t.tgfoid
            AND f.proowner NOT IN (SELECT oid FROM trusted)
        UNION ALL
        SELECT pg_catalog.format('%I has the rule %I', c.relname, r.rulename)
        FROM relation AS c JOIN pg_catalog.pg_rewrite AS r ON r.ev_class = c.oid
        WHERE c.relkind = 'r'
        UNION ALL
        SELECT pg_catalog.format('%I has row-level security', c.relname)
        FROM relation AS c WHERE c.relrowsecurity
        UNION ALL
        SELECT DISTINCT pg_catalog.format('a default of %I calls the function %s', c.relname,
            d.refobjid::pg_catalog.regprocedure)
        FROM relation AS c JOIN pg_catalog.pg_attrdef AS e ON e.adrelid = c.oid
        JOIN pg_catalog.pg_depend AS d ON d.objid = e.oid
            AND d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
            AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
        JOIN pg_catalog.pg_proc AS f ON f.oid = d.refobjid
            AND f.proowner NOT IN (SELECT oid FROM trusted)
        UNION ALL
        SELECT DISTINCT pg_catalog.format('%s may change %I (%s)', CASE a.grantee
                WHEN 0 THEN 'everybody'
                ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END,
            c.relname, a.privilege_type)
        FROM relation AS c, pg_catalog.aclexplode(c.relacl) AS a
        WHERE c.relkind = 'r' AND a.grantee NOT IN (SELECT oid FROM trusted)
            AND a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER')
            AND NOT (c.relname = 'checkpoint' AND a.privilege_type = 'UPDATE')
        ORDER BY 1
        """
}
