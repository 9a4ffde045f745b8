import Postgres

/// An expression that the server keeps as a tree of object identifiers, by where it stands: what a
/// swap makes again from its text has to become the same tree.
///
/// Text alone does not prove it. `IS DISTINCT FROM`, `NULLIF`, `CASE x WHEN`, `USING` and row
/// comparisons have no form with a schema, so that the operator that they mean depends on the search
/// path under which they are read.
struct StoredTree: Hashable, Sendable {
    /// What it belongs to.
    enum Kind: String, Sendable {
        case policy
        case trigger
        /// A view's query is a rule as well, named `_RETURN`.
        case rule
        case function
        case publication
        case index
        case constraint
        case columnDefault = "default"
        case statistics
        /// Not a tree: who owns a relation, and what it is called; its name there is empty.
        case relation
    }

    let kind: Kind
    /// The relation that it stands on; a function's own OID.
    let host: UInt32
    /// Its name there.
    let name: String

    /// The same on another host.
    func moved(to host: UInt32) -> StoredTree { StoredTree(kind: kind, host: host, name: name) }

    /// What the trees of the wanted places mean; a place without a tree is left out.
    static func meanings(
        of trees: [StoredTree],
        on connection: PostgresConnection
    ) async throws -> [StoredTree: Meaning] {
        guard !trees.isEmpty else { return [:] }
        let rows = try await connection.query(
            """
            SELECT w.place, \(canonical("t.tree")) AS meaning
            FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]),
                pg_catalog.unnest($2::pg_catalog.oid[]), pg_catalog.unnest($3::pg_catalog.text[]))
                WITH ORDINALITY AS w (kind, host, name, place)
            CROSS JOIN LATERAL (\(lookUp)) AS t (tree)
            """,
            [
                .texts(trees.map(\.kind.rawValue)), .ints(trees.map { Int64($0.host) }),
                .texts(trees.map(\.name)),
            ]
        ).rows
        var meanings: [StoredTree: Meaning] = [:]
        for row in rows {
            meanings[trees[Int(try row.int("place")) - 1]] = Meaning(
                text: try row.string("meaning")
            )
        }
        return meanings
    }

    /// A statement that raises `sqlState` unless every place has the meaning that is expected.
    ///
    /// - Parameters:
    ///   - expected: What each place has to mean, and what to call it.
    ///   - sqlState: Its detail lists what does not, a line each.
    /// - Returns: The statement.
    static func assertion(
        _ expected: [(tree: StoredTree, digest: String, subject: String)],
        raising sqlState: String
    ) -> String {
        let rows = expected.map { tree, digest, subject in
            "(\(SQLText.literal(tree.kind.rawValue)), \(tree.host)::pg_catalog.oid, "
                + "\(SQLText.literal(tree.name)), '\(digest)', \(SQLText.literal(subject)))"
        }.joined(separator: ",\n")
        let body = """
            DECLARE
                others pg_catalog.text;
            BEGIN
            SELECT pg_catalog.string_agg(w.subject, E'\\n' ORDER BY w.subject) INTO others
            FROM (VALUES \(rows)) AS w (kind, host, name, digest, subject)
            WHERE NOT EXISTS (SELECT FROM (\(lookUp)) AS t (tree)
                WHERE pg_catalog.md5(\(canonical("t.tree"))) = w.digest);
            IF others IS NOT NULL THEN
                RAISE EXCEPTION 'what was carried over has another meaning'
                    USING ERRCODE = '\(sqlState)', DETAIL = others;
            END IF;
            END
            """
        return "DO \(SQLText.literal(body))"
    }
}

extension StoredTree {
    // The owner belongs to what a function means: its rights are the owner's.
    private static let lookUp = """
        SELECT pg_catalog.concat(p.polqual::pg_catalog.text, ' :check ',
            p.polwithcheck::pg_catalog.text)
        FROM pg_catalog.pg_policy AS p
        WHERE w.kind = 'policy' AND p.polrelid = w.host AND p.polname = w.name::pg_catalog.name
        UNION ALL
        SELECT pg_catalog.concat(t.tgqual::pg_catalog.text, ' :function ', t.tgfoid)
        FROM pg_catalog.pg_trigger AS t
        WHERE w.kind = 'trigger' AND t.tgrelid = w.host AND t.tgname = w.name::pg_catalog.name
        UNION ALL
        SELECT pg_catalog.concat(r.ev_qual::pg_catalog.text, ' :action ',
            r.ev_action::pg_catalog.text)
        FROM pg_catalog.pg_rewrite AS r
        WHERE w.kind = 'rule' AND r.ev_class = w.host AND r.rulename = w.name::pg_catalog.name
        UNION ALL
        SELECT pg_catalog.concat(f.prosqlbody::pg_catalog.text, ' :defaults ',
            f.proargdefaults::pg_catalog.text, ' :owner ', f.proowner, ' :definer ', f.prosecdef)
        FROM pg_catalog.pg_proc AS f WHERE w.kind = 'function' AND f.oid = w.host
        UNION ALL
        SELECT coalesce(r.prqual::pg_catalog.text, '')
        FROM pg_catalog.pg_publication_rel AS r
        JOIN pg_catalog.pg_publication AS p ON p.oid = r.prpubid
        WHERE w.kind = 'publication' AND r.prrelid = w.host AND p.pubname = w.name::pg_catalog.name
        UNION ALL
        SELECT pg_catalog.concat(i.indexprs::pg_catalog.text, ' :where ',
            i.indpred::pg_catalog.text, ' :classes ', i.indclass, ' :collations ', i.indcollation)
        FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
        WHERE w.kind = 'index' AND i.indrelid = w.host AND c.relname = w.name::pg_catalog.name
        UNION ALL
        SELECT pg_catalog.concat(o.conbin::pg_catalog.text, ' :operators ', o.conexclop, ' ',
            o.conpfeqop, ' ', o.conppeqop, ' ', o.conffeqop)
        FROM pg_catalog.pg_constraint AS o
        WHERE w.kind = 'constraint' AND o.conrelid = w.host
            AND o.conname = w.name::pg_catalog.name
        UNION ALL
        SELECT d.adbin::pg_catalog.text
        FROM pg_catalog.pg_attrdef AS d JOIN pg_catalog.pg_attribute AS a
            ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        WHERE w.kind = 'default' AND d.adrelid = w.host AND a.attname = w.name::pg_catalog.name
        UNION ALL
        SELECT pg_catalog.concat('relation :owner ', c.relowner, ' :schema ', c.relnamespace,
            ' :name ', c.relname)
        FROM pg_catalog.pg_class AS c WHERE w.kind = 'relation' AND c.oid = w.host
        UNION ALL
        SELECT coalesce(s.stxexprs::pg_catalog.text, '') FROM pg_catalog.pg_statistic_ext AS s
        WHERE w.kind = 'statistics' AND s.stxrelid = w.host
            AND s.stxname = w.name::pg_catalog.name
        """

    /// A tree without what the way in which a text was written leaves in it: places, aliases, the
    /// look of casts, and columns by number, which differ where one table has dropped some.
    ///
    /// Which column is meant stands by name in the text that the tree is made of. Nodes are lists of
    /// fields, each with a space and a colon in front (`outfuncs.c`); texts have their spaces escaped.
    private static func canonical(_ tree: String) -> String {
        """
        (SELECT coalesce(pg_catalog.string_agg(s.part, ':' ORDER BY s.place), '') FROM (
            SELECT c.place, CASE
                WHEN f.field IN (\(list(names))) THEN NULL
                WHEN f.field IN (\(list(numbers)))
                    THEN nullif(pg_catalog.split_part(c.field, '{', 2), 'VAR')
                ELSE pg_catalog.rtrim(pg_catalog.translate(
                    pg_catalog.replace(c.field, '{VAR', ''), '{}()', '')) END AS part
            FROM pg_catalog.string_to_table(\(tree), ' :') WITH ORDINALITY AS c (field, place)
            CROSS JOIN LATERAL (SELECT pg_catalog.split_part(c.field, ' ', 1) AS field) AS f
        ) AS s WHERE s.part <> '')
        """
    }

    private static func list(_ fields: [String]) -> String {
        fields.map { "'\($0)'" }.joined(separator: ", ")
    }

    // `operName` is what an IN was written with; its operators stand beside it.
    private static let names = ["alias", "eref", "aliasname", "colnames", "operName", "resname"]
    private static let numbers = [
        "location", "stmt_location", "stmt_len", "list_start", "list_end", "varno", "varattno",
        "vartype", "vartypmod", "varcollid", "varlevelsup", "varnosyn", "varattnosyn",
        "varnullingrels", "varreturningtype", "resorigcol", "joinmergedcols", "joinleftcols",
        "joinrightcols", "selectedCols", "insertedCols", "updatedCols", "extraUpdatedCols",
        "funcformat", "coercionformat", "relabelformat", "resulttype_format", "convertformat",
        "coerceformat", "rowformat", "row_format",
    ]
}

/// What a stored tree means: its operators, functions, types, collations and constants, in order.
struct Meaning: Equatable, Sendable {
    let text: String

    /// The same where other relations have taken the places of those that it speaks of.
    func mapped(by successors: Successors) -> Meaning {
        var isRelation = false
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map { part in
            let field = part.prefix { $0 != " " }
            if field == "consttype" { isRelation = part.hasSuffix(" 2205") }
            if field == "constvalue" { return isRelation ? successors.constant(part) : part[...] }
            return field.hasSuffix("typmod") ? part : successors.numbers(in: part)
        }
        return Meaning(text: parts.joined(separator: ":"))
    }

    /// What the server's `md5` gives for each.
    static func digests(
        of meanings: [Meaning],
        on connection: PostgresConnection
    ) async throws -> [String] {
        try await connection.query(
            """
            SELECT pg_catalog.md5(t.text) AS digest
            FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS t (text, place)
            ORDER BY t.place
            """,
            [.texts(meanings.map(\.text))]
        ).rows.map { try $0.string("digest") }
    }

    /// The first field in which another one differs, as it stands in both.
    func difference(from other: Meaning) -> (here: Substring, there: Substring)? {
        let (left, right) = (text.split(separator: ":"), other.text.split(separator: ":"))
        for (here, there) in zip(left, right) where here != there { return (here, there) }
        return left.count == right.count ? nil : (left.last ?? "", right.last ?? "")
    }
}

/// Which OIDs take the places of which: of relations, their row types and constraints.
struct Successors: Sendable {
    private var oids: [Substring: String] = [:]
    private var constants: [Substring: String] = [:]

    /// Looks them up; `pairs` are a relation and the one that takes its place, each.
    init(_ pairs: [(UInt32, UInt32)], on connection: PostgresConnection) async throws {
        let rows = try await connection.query(
            """
            WITH pair (old, new) AS (
                SELECT * FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.oid[]),
                    pg_catalog.unnest($2::pg_catalog.oid[])) AS p
            )
            SELECT old, new FROM pair
            UNION ALL
            SELECT a.reltype, b.reltype FROM pair
            JOIN pg_catalog.pg_class AS a ON a.oid = old JOIN pg_catalog.pg_class AS b ON b.oid = new
            WHERE a.reltype <> 0 AND b.reltype <> 0
            UNION ALL
            SELECT a.typarray, b.typarray FROM pair
            JOIN pg_catalog.pg_class AS r ON r.oid = old JOIN pg_catalog.pg_class AS s ON s.oid = new
            JOIN pg_catalog.pg_type AS a ON a.oid = r.reltype
            JOIN pg_catalog.pg_type AS b ON b.oid = s.reltype
            WHERE a.typarray <> 0 AND b.typarray <> 0
            UNION ALL
            SELECT a.oid, b.oid FROM pair
            JOIN pg_catalog.pg_constraint AS a ON a.conrelid = old
            JOIN pg_catalog.pg_constraint AS b ON b.conrelid = new AND b.conname = a.conname
            """,
            [.ints(pairs.map { Int64($0.0) }), .ints(pairs.map { Int64($0.1) })]
        ).rows
        self.init(try rows.map { (UInt32(try $0.int("old")), UInt32(try $0.int("new"))) })
    }

    /// Takes what was looked up.
    init(_ pairs: [(old: UInt32, new: UInt32)]) {
        for (old, new) in pairs {
            oids["\(old)"] = "\(new)"
            constants[Self.constant(of: old)[...]] = Self.constant(of: new)
        }
    }

    /// A constant of the type `regclass`, as a datum of eight bytes, each a signed number.
    private static func constant(of oid: UInt32) -> String {
        let bytes = (0..<4).map { Int8(truncatingIfNeeded: oid >> (8 * $0)) }
        return "constvalue 4 [ \(bytes.map { "\($0)" }.joined(separator: " ")) 0 0 0 0 ]"
    }

    fileprivate func constant(_ part: Substring) -> Substring {
        (constants[part] ?? "\(part)")[...]
    }

    fileprivate func numbers(in part: Substring) -> Substring {
        guard part.utf8.contains(where: { (48...57).contains($0) }) else { return part }
        return part.split(separator: " ", omittingEmptySubsequences: false)
            .map { oids[$0].map { $0[...] } ?? $0 }.joined(separator: " ")[...]
    }
}
