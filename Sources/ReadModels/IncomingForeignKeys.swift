import Postgres

/// Foreign keys of tables outside the projection that refer to live tables.
///
/// A constraint is bound to the OID of the table it refers to, so it is dropped and made again in
/// the swap: NOT VALID, because checking takes as long as the table is large, and validated
/// afterwards while readers and writers go on.
enum IncomingForeignKeys {
    /// Captures them, with the validation that follows.
    static func capture(
        to tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [CarriedObject] {
        guard !tables.isEmpty else { return [] }
        try await connection.setSearchPath([])
        let result = try await connection.query(query, [.ints(tables.map { Int64($0) })])
        return try result.rows.map { row in
            let table = try row.string("child")
            let name = try row.string("name")
            let constraint = SQLText.identifier(name)
            var definition = try row.string("definition")
            let isValid = try row.bool("is_valid")
            if isValid { definition += " NOT VALID" }
            let comment = row["comment"].map {
                "COMMENT ON CONSTRAINT \(constraint) ON \(table) IS \(SQLText.literal($0))"
            }
            return CarriedObject(
                subject: try row.string("subject"),
                note: "made again and validated after the swap; \(table) is locked with the live "
                    + "tables",
                locked: table,
                release: ["ALTER TABLE \(table) DROP CONSTRAINT \(constraint)"],
                restore: ["ALTER TABLE \(table) ADD CONSTRAINT \(constraint) \(definition)"]
                    + [comment].compactMap { $0 },
                followUp: isValid
                    ? FollowUp(
                        kind: .validate,
                        relation: UInt32(try row.int("oid")),
                        objectName: name
                    ) : nil
            )
        }
    }

    /// Rows of other tables whose parent the new generation does not have, counted by foreign key.
    ///
    /// - Parameters:
    ///   - tables: The live tables.
    ///   - homeSchema: Where the tables of the same names are that will take their place.
    ///   - connection: Where to ask, inside a transaction.
    /// - Returns: A sentence for each foreign key that would not hold; none where no one role may be
    ///   asked for it.
    /// - Throws: The server's error.
    static func orphans(
        of tables: [UInt32],
        in homeSchema: String,
        on connection: PostgresConnection
    ) async throws -> [String] {
        guard !tables.isEmpty else { return [] }
        try await connection.setSearchPath([])
        let keys = try await connection.query(
            orphansQuery,
            [.ints(tables.map { Int64($0) }), .text(homeSchema)]
        )
        var sentences: [String] = []
        for key in keys.rows {
            let subject = try key.string("subject")
            guard let query = key["query"] else {
                sentences.append("\(subject): the new generation has no such table or column.")
                continue
            }
            // A query has the rights of one role, and what is on these tables may be of two. Where it is,
            // validating the key is what tells.
            let tables = [UInt32(try key.int("child")), UInt32(try key.int("parent"))]
            guard try await OthersCode(of: tables, on: connection).readingOwners.isEmpty else {
                continue
            }
            let found = try await connection.query(query)
            let count = try found.first?.int("orphans") ?? 0
            if count > 0 {
                sentences.append(
                    "\(subject): \(count) rows refer to rows that the new generation does not have."
                )
            }
        }
        return sentences
    }

    private static let query = """
        SELECT o.conrelid AS oid, o.conrelid::pg_catalog.regclass AS child, o.conname AS name,
            pg_catalog.format('foreign key %I of %s', o.conname, o.conrelid::pg_catalog.regclass)
                AS subject,
            pg_catalog.pg_get_constraintdef(o.oid) AS definition, o.convalidated AS is_valid,
            pg_catalog.obj_description(o.oid, 'pg_constraint') AS comment
        FROM pg_catalog.pg_constraint AS o
        WHERE o.oid IN (\(References.constraints)) AND o.contype = 'f'
            AND o.confrelid = ANY ($1::pg_catalog.oid[])
            AND o.conrelid <> ALL ($1::pg_catalog.oid[]) AND o.conparentid = 0
        ORDER BY 2, 3
        """

    // The columns of a row that has a null among them refer to nothing (MATCH SIMPLE).
    private static let orphansQuery = """
        SELECT pg_catalog.format('foreign key %I of %s', o.conname,
                o.conrelid::pg_catalog.regclass) AS subject, o.conrelid AS child, s.oid AS parent,
            CASE WHEN pg_catalog.bool_and(h.attname IS NOT NULL) THEN pg_catalog.format(
                'SELECT pg_catalog.count(*) AS orphans FROM %s AS c WHERE %s AND NOT EXISTS ('
                    || 'SELECT FROM %I.%I AS p WHERE %s)',
                o.conrelid::pg_catalog.regclass,
                pg_catalog.string_agg(pg_catalog.format('c.%I IS NOT NULL', a.attname), ' AND '),
                $2::pg_catalog.text, t.relname,
                pg_catalog.string_agg(pg_catalog.format('p.%I OPERATOR(%I.%s) c.%I', r.attname,
                    q.nspname, e.oprname, a.attname), ' AND ')) END AS query
        FROM pg_catalog.pg_constraint AS o
        JOIN pg_catalog.pg_class AS t ON t.oid = o.confrelid
        CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(o.conkey), pg_catalog.unnest(o.confkey),
            pg_catalog.unnest(o.conpfeqop)) AS k (child, parent, operator)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = o.conrelid AND a.attnum = k.child
        JOIN pg_catalog.pg_attribute AS r ON r.attrelid = o.confrelid AND r.attnum = k.parent
        JOIN pg_catalog.pg_operator AS e ON e.oid = k.operator
        JOIN pg_catalog.pg_namespace AS q ON q.oid = e.oprnamespace
        LEFT JOIN pg_catalog.pg_class AS s ON s.relname = t.relname AND s.relnamespace = (
            SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $2)
        LEFT JOIN pg_catalog.pg_attribute AS h ON h.attrelid = s.oid AND h.attname = r.attname
            AND h.attnum > 0
        WHERE o.oid IN (\(References.constraints)) AND o.contype = 'f'
            AND o.confrelid = ANY ($1::pg_catalog.oid[])
            AND o.conrelid <> ALL ($1::pg_catalog.oid[]) AND o.conparentid = 0 AND o.convalidated
        GROUP BY o.oid, o.conname, o.conrelid, t.relname, s.oid
        ORDER BY 1
        """
}
