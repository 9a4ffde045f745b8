/// Questions about memberships of this role, as SQL.
///
/// Since PostgreSQL 16 a membership says whether it lends its rights and whether its member may take the
/// role; `pg_has_role` answers each on its own.
enum Membership {
    /// Whether this role may take another, as `SET ROLE` and `ALTER … OWNER TO` need it.
    ///
    /// - Parameter role: The other's OID, as SQL.
    /// - Returns: The condition.
    static func maySet(_ role: String) -> String {
        """
        CASE WHEN \(isGraded) THEN pg_catalog.pg_has_role(\(role), 'SET')
            ELSE pg_catalog.pg_has_role(\(role), 'MEMBER') END
        """
    }

    /// What a person types so that this role may do both, which nobody should for a superuser.
    ///
    /// - Parameter name: The other role's name, as SQL.
    /// - Returns: An expression for the statements, or for what to do instead.
    static func grant(_ name: String) -> String {
        """
        CASE WHEN (SELECT asked.rolsuper FROM pg_catalog.pg_roles AS asked
                WHERE asked.rolname = \(name))
                THEN 'that is a superuser, so let another role own it (ALTER … OWNER TO), '
                    || 'or give what was passed on'
            WHEN \(name) = 'pg_database_owner'
                THEN 'the owner of the database is that, so let another role own it '
                    || '(ALTER … OWNER TO)'
            WHEN \(isGraded) THEN pg_catalog.format(
                'GRANT %I TO %I WITH INHERIT TRUE, SET TRUE', \(name), current_user)
            WHEN (SELECT NOT r.rolinherit FROM pg_catalog.pg_roles AS r
                WHERE r.rolname = current_user) THEN pg_catalog.format(
                'GRANT %I TO %I; ALTER ROLE %I INHERIT', \(name), current_user, current_user)
            ELSE pg_catalog.format('GRANT %I TO %I', \(name), current_user) END
        """
    }

    private static let isGraded =
        "pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 160000"
}
