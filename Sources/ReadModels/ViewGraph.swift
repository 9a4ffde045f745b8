/// Which relation reads which other one by its rules, as a common table expression with the columns
/// `upper` and `lower`.
///
/// Views, materialized views and rules all stand in `pg_rewrite`; a relation's use of itself is left
/// out. A pair can come more than once. It is not materialized, so that a query walks from its tables by
/// the index of `pg_depend` and does not read all views of the database.
enum ViewGraph {
    /// Of every relation with a rule.
    static let uses = uses(of: "")

    /// Of materialized views alone: what is reached by them moves with the tables.
    static let usesOfMaterializedViews = uses(
        of: "JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class AND c.relkind = 'm'"
    )

    private static func uses(of upper: String) -> String {
        """
        uses (upper, lower) AS NOT MATERIALIZED (
            SELECT r.ev_class, d.refobjid
            FROM pg_catalog.pg_depend AS d
            JOIN pg_catalog.pg_rewrite AS r ON r.oid = d.objid
            \(upper)
            WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                AND d.refobjid <> r.ev_class
        )
        """
    }
}
