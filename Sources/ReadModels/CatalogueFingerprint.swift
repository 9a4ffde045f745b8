import Postgres

/// A digest of everything that a swap captures: grants on the live tables, and whatever depends on
/// them, by the versions of its catalogue rows.
///
/// It is taken before the capture and asked for again under the lock; DDL in between makes it
/// another. Writes, VACUUM and ANALYZE do not.
enum CatalogueFingerprint {
    /// Takes it.
    static func take(
        of tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> String {
        let row = try await connection.query(
            "SELECT (\(query(of: tables))) AS fingerprint"
        ).first
        return try row?.string("fingerprint") ?? ""
    }

    /// A query that returns it.
    static func query(of tables: [UInt32]) -> String {
        let oids = "'{\(tables.map(String.init).joined(separator: ","))}'::pg_catalog.oid[]"
        // Of pg_class and pg_attribute single columns are taken, because other commands update
        // their rows as well; a row of the other catalogues is written by DDL alone.
        return """
            WITH RECURSIVE \(ViewGraph.usesOfMaterializedViews), moving (oid) AS (
                SELECT pg_catalog.unnest(\(oids))
                UNION
                SELECT u.upper FROM uses AS u JOIN moving AS m ON m.oid = u.lower
            ), dependant AS (
                SELECT d.classid, d.objid, d.deptype FROM pg_catalog.pg_depend AS d
                JOIN moving AS m ON m.oid = d.refobjid
                WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
            )
            SELECT pg_catalog.md5(coalesce(pg_catalog.string_agg(f.line, ' ' ORDER BY f.line), ''))
            FROM (
                SELECT pg_catalog.format('%s %s %s %s %s %s %s', c.oid, c.relowner, c.relacl, a.attacl,
                    c.relrowsecurity, c.relforcerowsecurity, t.typacl) AS line
                FROM moving AS m
                JOIN pg_catalog.pg_class AS c ON c.oid = m.oid
                LEFT JOIN pg_catalog.pg_type AS t ON t.oid = c.reltype
                JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
                UNION ALL
                SELECT pg_catalog.format('%s %s %s', d.classid, d.objid, d.deptype) FROM dependant AS d
                UNION ALL
                SELECT pg_catalog.format('rule %s %s %s %s', r.oid, r.xmin, v.relowner, v.reloptions)
                FROM dependant AS d
                JOIN pg_catalog.pg_rewrite AS r ON r.oid = d.objid
                JOIN pg_catalog.pg_class AS v ON v.oid = r.ev_class
                WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
                UNION ALL
                SELECT pg_catalog.format('function %s %s', p.oid, p.xmin)
                FROM dependant AS d
                JOIN pg_catalog.pg_proc AS p ON p.oid = d.objid
                WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                UNION ALL
                SELECT pg_catalog.format('policy %s %s', p.oid, p.xmin)
                FROM pg_catalog.pg_policy AS p
                WHERE p.polrelid IN (SELECT oid FROM moving) OR p.oid IN (
                    SELECT objid FROM dependant
                    WHERE classid = 'pg_catalog.pg_policy'::pg_catalog.regclass)
                UNION ALL
                SELECT pg_catalog.format('trigger %s %s', t.oid, t.xmin)
                FROM pg_catalog.pg_trigger AS t
                WHERE t.tgrelid IN (SELECT oid FROM moving)
                    AND (NOT t.tgisinternal OR t.tgenabled <> 'O')
                UNION ALL
                SELECT pg_catalog.format('publication %s %s', p.oid, p.xmin)
                FROM pg_catalog.pg_publication_rel AS p WHERE p.prrelid IN (SELECT oid FROM moving)
                UNION ALL
                SELECT pg_catalog.format('key %s %s', o.oid, o.xmin)
                FROM (SELECT DISTINCT objid FROM dependant
                    WHERE classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass) AS d
                JOIN pg_catalog.pg_constraint AS o ON o.oid = d.objid
                WHERE o.confrelid IN (SELECT oid FROM moving)
                UNION ALL
                SELECT pg_catalog.format('sequence %s %s', s.oid, s.relacl)
                FROM dependant AS d
                JOIN pg_catalog.pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
                WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass) AS f
            """
    }
}
