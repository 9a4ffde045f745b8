import Postgres

/// A view that reads a live table directly.
///
/// It follows the table's OID, so a swap has to point it at the new table.
struct DependentView: Equatable, Sendable {
    let oid: UInt32
    let name: QualifiedName
    let owner: String
    /// `security_barrier=true` and its like; CREATE OR REPLACE VIEW loses what is not restated.
    let options: [String]
    /// The query with every name qualified.
    let query: String

    /// Makes the view read what its query's names now stand for.
    ///
    /// OID, owner, grants and comment stay.
    var replacement: String {
        let with = options.isEmpty ? "" : " WITH (\(options.joined(separator: ", ")))"
        return "CREATE OR REPLACE VIEW \(name.sql)\(with) AS \(query)"
    }

    /// Takes ACCESS EXCLUSIVE on the view alone, as a statement of PL/pgSQL: LOCK TABLE would lock
    /// every table below it and check their rights as the view's owner.
    ///
    /// The owner is read again: one who became it a moment ago stays it.
    var lock: String {
        """
        EXECUTE pg_catalog.format(\(SQLText.literal("ALTER VIEW %s OWNER TO %I")),
            \(SQLText.literal(name.sql)), (SELECT pg_catalog.pg_get_userbyid(c.relowner)
                FROM pg_catalog.pg_class AS c WHERE c.oid = \(oid)));
        """
    }

    /// What a swap does with it.
    var carried: CarriedObject {
        CarriedObject(
            subject: "view \(name.sql)",
            note: "pointed at the new tables; keeps its OID, owner and grants",
            restore: [replacement],
            trees: [StoredTree(kind: .rule, host: oid, name: "_RETURN")]
        )
    }

    /// The views over the given tables, outermost first: readers lock a view before what is below
    /// it, and whoever locks in another order deadlocks with them.
    static func over(
        _ tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [DependentView] {
        try await connection.setSearchPath([])
        let result = try await connection.query(
            viewsQuery,
            [.ints(tables.map { Int64($0) })]
        )
        return try result.rows.map { row in
            let options = row["options"]?.split(separator: "\n").map(String.init) ?? []
            var query = try row.string("definition")
            while let last = query.last, last == ";" || last.isWhitespace { query.removeLast() }
            return DependentView(
                oid: UInt32(try row.int("oid")),
                name: QualifiedName(
                    schema: try row.string("schema"),
                    name: try row.string("name")
                ),
                owner: try row.string("owner"),
                options: options,
                query: query
            )
        }
    }

    // `reach` counts the direct dependents that a view leads down to, through any other view: an
    // outer view reaches all that an inner one does and the inner one itself.
    private static let viewsQuery = """
        WITH RECURSIVE \(ViewGraph.uses), direct AS (
            SELECT DISTINCT u.upper AS oid FROM uses AS u
            JOIN pg_catalog.pg_class AS c ON c.oid = u.upper
            WHERE u.lower = ANY ($1::pg_catalog.oid[]) AND c.relkind = 'v' AND c.relpersistence <> 't'
        ), reachable (upper, lower) AS (
            SELECT u.upper, u.lower FROM uses AS u JOIN direct AS v ON v.oid = u.upper
            UNION
            SELECT r.upper, u.lower FROM reachable AS r JOIN uses AS u ON u.upper = r.lower
        )
        SELECT c.oid, n.nspname AS schema, c.relname AS name,
            pg_catalog.pg_get_userbyid(c.relowner) AS owner,
            pg_catalog.pg_get_viewdef(c.oid) AS definition,
            (SELECT pg_catalog.string_agg(
                pg_catalog.quote_ident(o.option_name) || '='
                    || pg_catalog.quote_literal(o.option_value), E'\\n')
             FROM pg_catalog.pg_options_to_table(c.reloptions) AS o) AS options,
            (SELECT pg_catalog.count(*) FROM reachable AS r JOIN direct AS v ON v.oid = r.lower
             WHERE r.upper = c.oid) AS reach
        FROM direct JOIN pg_catalog.pg_class AS c USING (oid)
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        ORDER BY reach DESC, n.nspname, c.relname
        """
}
