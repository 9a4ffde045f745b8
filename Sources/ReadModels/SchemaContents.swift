/// What is in a schema, by the index that `pg_depend` has: `pg_class` has none by schema alone, and a
/// database can have a hundred thousand relations in others.
enum SchemaContents {
    /// A query for the OIDs of all relations but indexes, which stand in no schema of their own, and the
    /// tables behind long values.
    ///
    /// - Parameter schema: An expression for the schema's OID.
    /// - Returns: The query.
    static func relations(of schema: String) -> String {
        """
        SELECT i.objid FROM pg_catalog.pg_depend AS i
        WHERE i.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
            AND i.refobjid = \(schema)
            AND i.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
        """
    }

    /// The same, of the schema whose name is the first parameter.
    static let relationsOfNamed = relations(
        of: "(SELECT s.oid FROM pg_catalog.pg_namespace AS s WHERE s.nspname = $1)"
    )
}

/// What refers to tables without being part of them, by the same index.
enum References {
    /// A query for the OIDs of constraints that depend on tables, which are the first parameter; foreign
    /// keys that refer to them are among these.
    static let constraints = objects(of: "pg_constraint")

    /// The same for triggers; those of other tables that name one of these are among them.
    static let triggers = objects(of: "pg_trigger")

    private static func objects(of catalogue: String) -> String {
        """
        SELECT i.objid FROM pg_catalog.pg_depend AS i
        WHERE i.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
            AND i.refobjid = ANY ($1::pg_catalog.oid[])
            AND i.classid = 'pg_catalog.\(catalogue)'::pg_catalog.regclass
        """
    }
}
