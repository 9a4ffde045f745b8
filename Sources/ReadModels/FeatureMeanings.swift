import Postgres

/// Expressions that new tables have in their indexes, constraints, defaults and statistics, held against
/// those of the live tables: where the text is the same, the meaning must be.
///
/// A definition that `schema.sql` changes has another text and is meant to differ.
struct FeatureMeanings: Sendable {
    /// What takes the places of what.
    let rehearsal: CarryRehearsal
    /// Whether the new tables are clones, so that no definition may have another text.
    let isClone: Bool

    private var pairs: [CarryRehearsal.Pair] { rehearsal.pairs }

    /// Feature and text of one expression.
    private struct Entry {
        let tree: StoredTree
        let subject: String
        let text: String
    }

    /// A refusal for each whose meaning differs.
    func refusals(on connection: PostgresConnection) async throws -> [String] {
        guard !pairs.isEmpty else { return [] }
        try await connection.setSearchPath([])
        let live = try await entries(of: pairs.map { ($0.live, $0.home) }, on: connection)
        let made = try await entries(of: pairs.map { ($0.home, $0.home) }, on: connection)
        let texts = Dictionary(made.map { ($0.tree, $0.text) }) { first, _ in first }
        let homes = Dictionary(pairs.map { ($0.live, $0.home) }) { first, _ in first }
        var refusals: [String] = []
        var twins: [(Entry, StoredTree)] = []
        for entry in live {
            guard let home = homes[entry.tree.host] else { continue }
            let twin = entry.tree.moved(to: home)
            guard let text = texts[twin].map({ rehearsal.homeText($0) }) else { continue }
            if text == rehearsal.text(entry.text) {
                twins.append((entry, twin))
            } else if isClone, entry.tree.kind != .columnDefault {
                refusals.append(
                    "\(entry.subject): its definition would read otherwise on the new table"
                )
            }
        }
        let successors = try await Successors(
            pairs.map { ($0.live, $0.home) },
            on: connection
        )
        let wanted = try await StoredTree.meanings(of: twins.map(\.0.tree), on: connection)
        let found = try await StoredTree.meanings(of: twins.map(\.1), on: connection)
        for (entry, twin) in twins {
            guard let here = wanted[entry.tree]?.mapped(by: successors), let there = found[twin],
                let difference = here.difference(from: there)
            else { continue }
            let words = try await difference.here.described(on: connection)
            let others = try await difference.there.described(on: connection)
            refusals.append(
                "\(entry.subject): on the new table it would mean something else: \(words) would become "
                    + "\(others), though its text is the same"
            )
        }
        return refusals
    }

    /// Those of tables, without those over columns that have another type in the table behind each.
    private func entries(
        of tables: [(UInt32, UInt32)],
        on connection: PostgresConnection
    ) async throws -> [Entry] {
        try await connection.query(
            Self.query,
            [.ints(tables.map { Int64($0.0) }), .ints(tables.map { Int64($0.1) })]
        ).rows.compactMap {
            guard let kind = StoredTree.Kind(rawValue: try $0.string("kind")) else { return nil }
            let name = try $0.string("name")
            return Entry(
                tree: StoredTree(kind: kind, host: UInt32(try $0.int("host")), name: name),
                subject: "\(kind.rawValue) \(name) on \(try $0.string("table_name"))",
                text: $0["text"] ?? ""
            )
        }
    }

    private static let query = """
        WITH pair (host, twin) AS (
            SELECT * FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.oid[]),
                pg_catalog.unnest($2::pg_catalog.oid[])) AS p
        ), feature AS (
            SELECT 'index' AS kind, 'pg_catalog.pg_class'::pg_catalog.regclass AS classid,
                i.indexrelid AS objid, i.indrelid AS host, c.relname AS name,
                pg_catalog.pg_get_indexdef(i.indexrelid) AS text
            FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
            WHERE i.indrelid = ANY ($1::pg_catalog.oid[])
                AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
            UNION ALL
            SELECT 'constraint', 'pg_catalog.pg_constraint'::pg_catalog.regclass, o.oid, o.conrelid,
                o.conname, pg_catalog.pg_get_constraintdef(o.oid)
            FROM pg_catalog.pg_constraint AS o
            WHERE o.conrelid = ANY ($1::pg_catalog.oid[]) AND o.contype IN ('c', 'x')
            UNION ALL
            SELECT 'default', 'pg_catalog.pg_attrdef'::pg_catalog.regclass, d.oid, d.adrelid,
                a.attname, pg_catalog.pg_get_expr(d.adbin,
                    CASE WHEN a.attgenerated <> '' THEN d.adrelid ELSE 0 END)
            FROM pg_catalog.pg_attrdef AS d JOIN pg_catalog.pg_attribute AS a
                ON a.attrelid = d.adrelid AND a.attnum = d.adnum
            WHERE d.adrelid = ANY ($1::pg_catalog.oid[])
            UNION ALL
            SELECT 'statistics', 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, s.oid,
                s.stxrelid, s.stxname, pg_catalog.array_to_string(
                    pg_catalog.pg_get_statisticsobjdef_expressions(s.oid), ', ')
            FROM pg_catalog.pg_statistic_ext AS s
            WHERE s.stxrelid = ANY ($1::pg_catalog.oid[]) AND s.stxexprs IS NOT NULL
        )
        SELECT f.kind, f.host, f.name, f.text,
            f.host::pg_catalog.regclass::pg_catalog.text AS table_name
        FROM feature AS f JOIN pair AS p ON p.host = f.host
        WHERE NOT EXISTS (
            SELECT FROM pg_catalog.pg_depend AS d
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = f.host AND a.attnum = d.refobjsubid
            JOIN pg_catalog.pg_attribute AS b ON b.attrelid = p.twin AND b.attname = a.attname
            WHERE d.classid = f.classid AND d.objid = f.objid AND d.refobjid = f.host
                AND (a.atttypid, a.atttypmod, a.attcollation)
                    IS DISTINCT FROM (b.atttypid, b.atttypmod, b.attcollation))
        ORDER BY f.kind, f.name
        """
}
