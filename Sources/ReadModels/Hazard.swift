import Postgres

/// Something on or around a live table that a strategy would lose or break.
struct Hazard: Equatable, Sendable {
    /// The object, as `pg_describe_object` names it, and what it has to do with the table.
    let description: String

    /// What a swap would leave behind on the old tables.
    ///
    /// A truncate keeps all of it.
    static func ofSwap(
        _ tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [Hazard] {
        try await hazards(from: [swapQuery, dependantsQuery, shapeQuery], tables, on: connection)
    }

    /// What a truncate-and-reload cannot do.
    static func ofTruncate(
        _ tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [Hazard] {
        try await hazards(from: [incomingQuery, shapeQuery], tables, on: connection)
    }

    private static func hazards(
        from queries: [String],
        _ tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [Hazard] {
        try await connection.setSearchPath([])
        var hazards: [Hazard] = []
        for query in queries {
            let result = try await connection.query(query, [.ints(tables.map { Int64($0) })])
            for row in result.rows {
                hazards.append(Hazard(description: try row.string("hazard")))
            }
        }
        return hazards
    }

    private static let shapeQuery = """
        SELECT c.oid::pg_catalog.regclass || ' is '
            || CASE
                WHEN c.relkind = 'p' THEN 'partitioned'
                WHEN c.relkind <> 'r' THEN 'not a plain table'
                WHEN c.relispartition THEN 'a partition of another table'
                WHEN c.relpersistence <> 'p' THEN 'unlogged'
                ELSE 'part of an inheritance tree'
            END AS hazard
        FROM pg_catalog.pg_class AS c
        WHERE c.oid = ANY ($1::pg_catalog.oid[])
            AND (c.relkind <> 'r' OR c.relispartition OR c.relpersistence <> 'p'
                OR EXISTS (
                    SELECT FROM pg_catalog.pg_inherits AS h
                    WHERE h.inhparent = c.oid OR h.inhrelid = c.oid))
        UNION ALL
        SELECT c.oid::pg_catalog.regclass || ' belongs to the extension ' || e.extname
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_depend AS d
            ON d.classid = 'pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e'
        JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid
        WHERE c.oid = ANY ($1::pg_catalog.oid[])
        """

    private static let incomingQuery = """
        SELECT 'foreign key ' || o.conname || ' of ' || o.conrelid::pg_catalog.regclass
            || ' refers to ' || o.confrelid::pg_catalog.regclass AS hazard
        FROM pg_catalog.pg_constraint AS o
        WHERE o.contype = 'f' AND o.confrelid = ANY ($1::pg_catalog.oid[])
            AND o.conrelid <> ALL ($1::pg_catalog.oid[])
        ORDER BY 1
        """

    // What stands on the table itself and is not part of its definition as columns, constraints,
    // indexes, statistics, grants and comments.
    private static let swapQuery = """
        SELECT 'trigger ' || t.tgname || ' on ' || t.tgrelid::pg_catalog.regclass AS hazard
        FROM pg_catalog.pg_trigger AS t
        WHERE t.tgrelid = ANY ($1::pg_catalog.oid[]) AND NOT t.tgisinternal
        UNION ALL
        SELECT 'rule ' || r.rulename || ' on ' || r.ev_class::pg_catalog.regclass
        FROM pg_catalog.pg_rewrite AS r WHERE r.ev_class = ANY ($1::pg_catalog.oid[])
        UNION ALL
        SELECT 'row-level security on ' || c.oid::pg_catalog.regclass
        FROM pg_catalog.pg_class AS c
        WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND (c.relrowsecurity OR c.relforcerowsecurity)
        UNION ALL
        SELECT 'policy ' || p.polname || ' on ' || p.polrelid::pg_catalog.regclass
        FROM pg_catalog.pg_policy AS p WHERE p.polrelid = ANY ($1::pg_catalog.oid[])
        UNION ALL
        SELECT 'publication ' || p.pubname || ' of ' || r.prrelid::pg_catalog.regclass
        FROM pg_catalog.pg_publication_rel AS r
        JOIN pg_catalog.pg_publication AS p ON p.oid = r.prpubid
        WHERE r.prrelid = ANY ($1::pg_catalog.oid[])
        UNION ALL
        SELECT 'publication ' || p.pubname || ' of all tables, among them '
            || c.oid::pg_catalog.regclass
        FROM pg_catalog.pg_publication AS p, pg_catalog.pg_class AS c
        WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND (p.puballtables OR EXISTS (
            SELECT FROM pg_catalog.pg_publication_namespace AS s
            WHERE s.pnpubid = p.oid AND s.pnnspid = c.relnamespace))
        UNION ALL
        SELECT 'sequence ' || d.objid::pg_catalog.regclass || ' of '
            || d.refobjid::pg_catalog.regclass
        FROM pg_catalog.pg_depend AS d
        JOIN pg_catalog.pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
        WHERE d.classid = 'pg_class'::pg_catalog.regclass
            AND d.refclassid = 'pg_class'::pg_catalog.regclass
            AND d.refobjid = ANY ($1::pg_catalog.oid[]) AND d.deptype IN ('a', 'i')
        UNION ALL
        SELECT 'a grant on ' || c.oid::pg_catalog.regclass || ' given by '
            || pg_catalog.pg_get_userbyid(a.grantor) || ', who does not own it'
        FROM pg_catalog.pg_class AS c, LATERAL pg_catalog.aclexplode(c.relacl) AS a
        WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND a.grantor <> c.relowner
        UNION ALL
        SELECT 'a grant on the column ' || t.attname || ' of ' || c.oid::pg_catalog.regclass
            || ' given by ' || pg_catalog.pg_get_userbyid(a.grantor) || ', who does not own it'
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_attribute AS t ON t.attrelid = c.oid AND NOT t.attisdropped,
            LATERAL pg_catalog.aclexplode(t.attacl) AS a
        WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND a.grantor <> c.relowner
        UNION ALL
        SELECT 'tablespace ' || t.spcname || ' of ' || c.oid::pg_catalog.regclass
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_tablespace AS t ON t.oid = c.reltablespace
        WHERE c.oid = ANY ($1::pg_catalog.oid[])
        """

    // Whatever else depends on the table, its row type or its constraints: every class that is not
    // known to follow is named.
    private static let dependantsQuery = """
        SELECT DISTINCT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid)
            || ' depends on ' || pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0) AS hazard
        FROM pg_catalog.pg_depend AS d
        WHERE d.deptype IN ('n', 'x', 'e') AND (
            d.refclassid = 'pg_class'::pg_catalog.regclass
                AND d.refobjid = ANY ($1::pg_catalog.oid[])
            OR d.refclassid = 'pg_type'::pg_catalog.regclass AND d.refobjid IN (
                SELECT t.oid FROM pg_catalog.pg_type AS t
                LEFT JOIN pg_catalog.pg_type AS e ON e.oid = t.typelem
                WHERE t.typrelid = ANY ($1::pg_catalog.oid[])
                    OR t.typcategory = 'A' AND e.typrelid = ANY ($1::pg_catalog.oid[])))
            AND NOT (d.classid = 'pg_constraint'::pg_catalog.regclass AND EXISTS (
                SELECT FROM pg_catalog.pg_constraint AS o
                WHERE o.oid = d.objid AND o.conrelid = ANY ($1::pg_catalog.oid[])))
            AND NOT (d.classid = 'pg_rewrite'::pg_catalog.regclass AND EXISTS (
                SELECT FROM pg_catalog.pg_rewrite AS r
                JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class
                WHERE r.oid = d.objid AND (c.relkind = 'v' AND r.rulename = '_RETURN'
                    OR c.oid = ANY ($1::pg_catalog.oid[]))))
            AND NOT (d.classid = 'pg_class'::pg_catalog.regclass
                AND d.objid = ANY ($1::pg_catalog.oid[]))
            AND NOT (d.classid = 'pg_attrdef'::pg_catalog.regclass AND EXISTS (
                SELECT FROM pg_catalog.pg_attrdef AS f
                WHERE f.oid = d.objid AND f.adrelid = ANY ($1::pg_catalog.oid[])))
        ORDER BY 1
        """
}
