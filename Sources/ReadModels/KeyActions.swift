/// The tables whose rows the server changes along when rows of others are deleted or updated: those
/// with a foreign key that does something to rows that refer, and those that refer to these.
enum KeyActions {
    /// A recursive query for `WITH RECURSIVE`, of OIDs: the tables `$1` and what they reach, by keys
    /// that act on DELETE if `$2`, on UPDATE if `$3`.
    ///
    /// It goes by way of pg_depend, because nothing indexes a key by the table to which it refers.
    static let reached = """
        reached (oid) AS (
            SELECT t.oid FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS t (oid)
            UNION
            SELECT o.conrelid FROM reached AS r
            JOIN pg_catalog.pg_depend AS d ON d.refobjid = r.oid
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                AND d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
            JOIN pg_catalog.pg_constraint AS o ON o.oid = d.objid AND o.confrelid = r.oid
                AND o.contype = 'f' AND ($2 AND o.confdeltype IN ('c', 'n', 'd')
                    OR $3 AND o.confupdtype IN ('c', 'n', 'd'))
        )
        """
}
