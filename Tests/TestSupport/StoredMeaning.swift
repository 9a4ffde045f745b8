import Postgres

/// What every stored expression of a database resolves to: operators, functions, types, constants.
///
/// The oracle for "and they mean the same", which `pg_dump` cannot see.
/// Object identifiers are written as names, so that a table that was replaced by another of the same
/// name compares equal. Generations that are not live are left out.
package enum StoredMeaning {
    /// The lines.
    package static func lines(in database: ScratchDatabase) async throws -> [String] {
        try await database.withConnection { connection in
            try await connection.execute("SET search_path = ''")
            var names: [String: String] = [:]
            for row in try await connection.query(namesQuery).rows {
                names[try row.string("oid")] = try row.string("name")
            }
            return try await connection.query(treesQuery).rows.map { row in
                try "\(row.string("what")) means \(text(of: row.string("tree"), names))"
            }.sorted()
        }
    }

    // Places in the source, names that the FROM list alone has, the look of a call, and columns by
    // number, of which a table may have dropped some: their names stand in the dump, and so do those of
    // result columns.
    private static let passed: Set<String> = [
        ":location", ":stmt_location", ":stmt_len", ":list_start", ":list_end", ":funcformat",
        ":coercionformat", ":relabelformat", ":resulttype_format", ":convertformat",
        ":coerceformat", ":rowformat", ":row_format", ":aliasname", ":colnames", ":varattno",
        ":varattnosyn", ":varnosyn", ":resorigcol", ":joinleftcols", ":joinrightcols",
        ":operName", ":selectedCols", ":insertedCols", ":updatedCols", ":extraUpdatedCols",
        ":resname",
    ]

    // A FROM list's names, which are told where they matter; what closes them is passed as well.
    private static let aliases: Set<Substring> = [":alias", ":eref", ":aliasname", ":colnames"]

    private static func text(of tree: String, _ names: [String: String]) -> String {
        var words: [Substring] = []
        var isPassing = false
        var isAlias = false
        // Names with a space in them have it escaped.
        for word in tree.split(whereSeparator: { $0 == " " || $0 == "\n" }) {
            if word.hasPrefix(":") {
                isPassing = passed.contains(String(word))
                isAlias = aliases.contains(word)
                if !isPassing, !isAlias { words.append(word) }
                continue
            }
            let closing = word.reversed().prefix { $0 == "}" }.count
            if isPassing || isAlias {
                if !isAlias, closing > 0, !word.hasSuffix("\\}") {
                    words += [Substring(String(repeating: "}", count: closing))]
                }
                continue
            }
            words.append(named(word, names))
        }
        return words.joined(separator: " ").replacing(" } ", with: "} ")
    }

    private static func named(_ word: Substring, _ names: [String: String]) -> Substring {
        let digits = word.drop { $0 == "(" }.prefix { $0.isASCII && $0.isWholeNumber }
        guard digits.count >= 5, let name = names[String(digits)] else { return word }
        return word.replacing(digits, with: "{\(name)}")
    }

    private static let namesQuery = """
        SELECT c.oid, 'relation ' || c.oid::pg_catalog.regclass AS name FROM pg_catalog.pg_class AS c
        UNION ALL SELECT t.oid, 'type ' || n.nspname || '.' || t.typname
        FROM pg_catalog.pg_type AS t JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
        UNION ALL SELECT p.oid, 'function ' || p.oid::pg_catalog.regprocedure
        FROM pg_catalog.pg_proc AS p
        UNION ALL SELECT o.oid, 'operator ' || o.oid::pg_catalog.regoperator
        FROM pg_catalog.pg_operator AS o
        UNION ALL SELECT l.oid, 'collation ' || l.oid::pg_catalog.regcollation
        FROM pg_catalog.pg_collation AS l
        UNION ALL SELECT k.oid, 'constraint ' || k.conname FROM pg_catalog.pg_constraint AS k
        """

    private static let treesQuery = """
        SELECT t.what, t.tree FROM (
            SELECT c.relnamespace AS schema, 'policy ' || p.polname || ' on ' || c.relname AS what,
                pg_catalog.concat(p.polqual, ' check ', p.polwithcheck) AS tree
            FROM pg_catalog.pg_policy AS p JOIN pg_catalog.pg_class AS c ON c.oid = p.polrelid
            UNION ALL
            SELECT c.relnamespace, 'rule ' || r.rulename || ' on ' || c.relname,
                pg_catalog.concat(r.ev_qual, ' action ', r.ev_action)
            FROM pg_catalog.pg_rewrite AS r JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class
            UNION ALL
            SELECT c.relnamespace, 'trigger ' || t.tgname || ' on ' || c.relname, t.tgqual::text
            FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
            UNION ALL
            SELECT p.pronamespace, 'function ' || p.oid::pg_catalog.regprocedure,
                pg_catalog.concat(p.prosqlbody, ' defaults ', p.proargdefaults)
            FROM pg_catalog.pg_proc AS p WHERE p.prosqlbody IS NOT NULL
            UNION ALL
            SELECT c.relnamespace, 'constraint ' || k.conname || ' on ' || c.relname, k.conbin::text
            FROM pg_catalog.pg_constraint AS k JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
            UNION ALL
            SELECT c.relnamespace, 'default ' || a.attname || ' of ' || c.relname, d.adbin::text
            FROM pg_catalog.pg_attrdef AS d JOIN pg_catalog.pg_class AS c ON c.oid = d.adrelid
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
            UNION ALL
            SELECT c.relnamespace, 'index ' || c.relname, pg_catalog.concat(i.indexprs, ' where ',
                i.indpred, ' classes ', i.indclass, ' collations ', i.indcollation)
            FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
            WHERE i.indisvalid
            UNION ALL
            SELECT s.stxnamespace, 'statistics ' || s.stxname, s.stxexprs::text
            FROM pg_catalog.pg_statistic_ext AS s
            UNION ALL
            SELECT c.relnamespace, 'publication ' || p.pubname || ' of ' || c.relname, r.prqual::text
            FROM pg_catalog.pg_publication_rel AS r
            JOIN pg_catalog.pg_publication AS p ON p.oid = r.prpubid
            JOIN pg_catalog.pg_class AS c ON c.oid = r.prrelid
        ) AS t
        JOIN pg_catalog.pg_namespace AS n ON n.oid = t.schema
        WHERE t.tree IS NOT NULL
            AND n.nspname !~ '^(pg_|information_schema$|reprise$)|__g[0-9]+'
        """
}
