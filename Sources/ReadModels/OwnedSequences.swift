import Postgres

/// Sequences of serial and identity columns.
///
/// The sequence of a serial column stays the same object, with its grants and with whatever else
/// calls it: the new column becomes its owner. An identity column has a sequence that cannot
/// change hands; the new one goes on where the old one stands.
struct OwnedSequences: Sendable {
    /// Statements for the tables at home, before anybody is held up.
    var preparation: [String] = []
    /// What moves and is set in the cut-over.
    var objects: [CarriedObject] = []
    /// Identity sequences whose grants are to be copied: the live one and its twin.
    var twins: [(live: UInt32, target: UInt32, name: String)] = []

    /// A sequence and the column that owns it.
    private struct Sequence {
        let oid: UInt32
        let name: QualifiedName
        let table: String
        let column: String
        let isIdentity: Bool
        /// What the column's default says, for a serial one.
        let defaultText: String?
    }

    /// Captures them.
    ///
    /// - Parameters:
    ///   - live: OIDs of the live tables.
    ///   - target: OIDs of the tables that take their place.
    ///   - names: Home and live schema of the latter.
    ///   - maxima: The largest value in each column, by sequence; nil for an empty table.
    ///   - connection: Inside a transaction.
    /// - Returns: What is to be done.
    /// - Throws: The server's error.
    static func capture(
        of live: [UInt32],
        for target: [UInt32],
        in names: (home: String, live: String),
        maxima: [UInt32: Int64],
        on connection: PostgresConnection
    ) async throws -> OwnedSequences {
        let leaving = try await find(live, on: connection)
        let arriving = try await find(target, on: connection)
        let adopters = try await columns(of: target, thatUse: leaving.map(\.oid), on: connection)
        let users = try await columns(of: live, thatUse: leaving.map(\.oid), on: connection)
        var sequences = OwnedSequences()
        var adopted: Set<UInt32> = []
        for old in leaving where !old.isIdentity {
            guard users.contains("\(old.oid) \(old.table) \(old.column)") else {
                // Others draw numbers from it; it belongs to the column only to go with it.
                sequences.objects.append(takeOver(old, in: names.live, upTo: nil))
                continue
            }
            let own = arriving.first {
                $0.table == old.table && $0.column == old.column && !$0.isIdentity
            }
            let takesOver = own.map { $0.name.name == old.name.name }
            let uses = adopters.contains("\(old.oid) \(old.table) \(old.column)")
            guard takesOver ?? uses else { continue }
            if let own, let text = old.defaultText {
                adopted.insert(own.oid)
                let table = QualifiedName(schema: names.home, name: old.table)
                sequences.preparation += [
                    "ALTER TABLE \(table.sql) ALTER \(SQLText.identifier(old.column)) "
                        + "SET DEFAULT \(text)", "DROP SEQUENCE \(own.name.sql) RESTRICT",
                ]
            }
            sequences.objects.append(
                takeOver(old, in: names.live, upTo: maxima[own?.oid ?? old.oid])
            )
        }
        for new in arriving where !adopted.contains(new.oid) {
            let old = leaving.first {
                $0.table == new.table && $0.column == new.column && $0.isIdentity == new.isIdentity
            }
            sequences.objects.append(
                goOn(new, after: old, in: names.live, upTo: maxima[new.oid])
            )
            if let old, new.isIdentity {
                sequences.twins.append((old.oid, new.oid, new.name.name))
            }
        }
        return sequences
    }

    private static func takeOver(
        _ old: Sequence,
        in liveSchema: String,
        upTo maximum: Int64?
    ) -> CarriedObject {
        let column = [liveSchema, old.table, old.column].map(SQLText.identifier)
            .joined(separator: ".")
        return CarriedObject(
            subject: "sequence \(old.name.sql)",
            note: "stays, and belongs to the new table's column; never set back",
            release: ["ALTER SEQUENCE \(old.name.sql) OWNED BY NONE"],
            restore: [
                "ALTER SEQUENCE \(old.name.sql) OWNED BY \(column)",
                advance(old.name, past: [], maximum: maximum),
            ]
        )
    }

    private static func goOn(
        _ new: Sequence,
        after old: Sequence?,
        in liveSchema: String,
        upTo maximum: Int64?
    ) -> CarriedObject {
        let name = QualifiedName(schema: liveSchema, name: new.name.name)
        return CarriedObject(
            subject: "sequence \(name.sql)",
            note: old == nil
                ? "goes on after the largest value in its column"
                : "goes on where the old one stands, or after the largest value in its column",
            restore: [advance(name, past: old.map { [$0.oid] } ?? [], maximum: maximum)]
        )
    }

    /// Sets a sequence to the furthest of its own value, another one's, and a column's; only
    /// forwards, because `setval` is not undone by a rollback.
    private static func advance(
        _ name: QualifiedName,
        past others: [UInt32],
        maximum: Int64?
    ) -> String {
        let sequence = "\(SQLText.literal(name.sql))::pg_catalog.regclass"
        let others = others.map {
            " UNION ALL SELECT pg_catalog.pg_sequence_last_value('\($0)'::pg_catalog.regclass)"
        }
        return """
            SELECT pg_catalog.setval(\(sequence), v.value, true)
            FROM pg_catalog.pg_sequence AS q
            CROSS JOIN LATERAL (
                SELECT CASE WHEN q.seqincrement > 0 THEN pg_catalog.max(x.value)
                    ELSE pg_catalog.min(x.value) END AS value
                FROM (SELECT pg_catalog.pg_sequence_last_value(q.seqrelid) AS value
                    UNION ALL SELECT \(maximum.map { "\($0)::pg_catalog.int8" } ?? "NULL")\
            \(others.joined())) AS x) AS v
            WHERE q.seqrelid = \(sequence) AND v.value BETWEEN q.seqmin AND q.seqmax
            """
    }

    /// The largest value of each column that has a sequence, by the sequence's OID; for a column
    /// that uses a live table's sequence by that one's.
    ///
    /// It may have to read a whole table, so it is asked before anybody stands still.
    static func maxima(
        of target: [UInt32],
        besides live: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [UInt32: Int64] {
        let result = try await connection.query(
            maximaQuery,
            [.ints(target.map { Int64($0) }), .ints(live.map { Int64($0) })]
        )
        let code = try await OthersCode(of: target, on: connection)
        var maxima: [UInt32: Int64] = [:]
        for row in result.rows {
            maxima[UInt32(try row.int("sequence"))] = try await connection.number(
                try row.string("query"),
                as: code.owner(of: UInt32(try row.int("relation")))
            )
        }
        return maxima
    }

    private static func find(
        _ tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [Sequence] {
        try await connection.setSearchPath([])
        let result = try await connection.query(
            sequencesQuery,
            [.ints(tables.map { Int64($0) })]
        )
        return try result.rows.map { row in
            Sequence(
                oid: UInt32(try row.int("oid")),
                name: QualifiedName(
                    schema: try row.string("schema"),
                    name: try row.string("name")
                ),
                table: try row.string("table_name"),
                column: try row.string("column_name"),
                isIdentity: try row.bool("is_identity"),
                defaultText: row["default_text"]
            )
        }
    }

    /// `sequence table column` of each column whose default calls one of the sequences.
    private static func columns(
        of tables: [UInt32],
        thatUse sequences: [UInt32],
        on connection: PostgresConnection
    ) async throws -> Set<String> {
        let result = try await connection.query(
            """
            SELECT d.refobjid || ' ' || c.relname || ' ' || a.attname AS use
            FROM pg_catalog.pg_attrdef AS f
            JOIN pg_catalog.pg_depend AS d ON d.objid = f.oid
                AND d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
            JOIN pg_catalog.pg_class AS c ON c.oid = f.adrelid
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
            WHERE f.adrelid = ANY ($1::pg_catalog.oid[])
                AND d.refobjid = ANY ($2::pg_catalog.oid[])
            """,
            [.ints(tables.map { Int64($0) }), .ints(sequences.map { Int64($0) })]
        )
        return Set(try result.rows.map { try $0.string("use") })
    }

    private static let sequencesQuery = """
        SELECT s.oid, n.nspname AS schema, s.relname AS name, c.relname AS table_name,
            a.attname AS column_name, d.deptype = 'i' AS is_identity,
            (SELECT pg_catalog.pg_get_expr(f.adbin, 0) FROM pg_catalog.pg_attrdef AS f
             WHERE f.adrelid = c.oid AND f.adnum = a.attnum) AS default_text
        FROM pg_catalog.pg_depend AS d
        JOIN pg_catalog.pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
        JOIN pg_catalog.pg_namespace AS n ON n.oid = s.relnamespace
        JOIN pg_catalog.pg_class AS c ON c.oid = d.refobjid
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
            AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
            AND d.deptype IN ('a', 'i') AND d.refobjid = ANY ($1::pg_catalog.oid[])
        ORDER BY c.relname, a.attname, s.relname
        """

    private static let maximaQuery = """
        SELECT u.sequence, u.relation, pg_catalog.format(
            'SELECT pg_catalog.max(%I)::pg_catalog.int8 FROM %I.%I', a.attname,
            n.nspname, c.relname) AS query
        FROM (
            SELECT d.objid AS sequence, d.refobjid AS relation, d.refobjsubid AS number
            FROM pg_catalog.pg_depend AS d
            JOIN pg_catalog.pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
            WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                AND d.deptype IN ('a', 'i') AND d.refobjid = ANY ($1::pg_catalog.oid[])
            UNION
            SELECT o.objid, f.adrelid, f.adnum
            FROM pg_catalog.pg_depend AS o
            JOIN pg_catalog.pg_class AS s ON s.oid = o.objid AND s.relkind = 'S'
            JOIN pg_catalog.pg_depend AS d ON d.refobjid = o.objid
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                AND d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
            JOIN pg_catalog.pg_attrdef AS f ON f.oid = d.objid
                AND f.adrelid = ANY ($1::pg_catalog.oid[])
            WHERE o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND o.deptype = 'a'
                AND o.refobjid = ANY ($2::pg_catalog.oid[])
        ) AS u
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = u.relation AND a.attnum = u.number
            AND a.atttypid IN ('pg_catalog.int2'::pg_catalog.regtype,
                'pg_catalog.int4'::pg_catalog.regtype, 'pg_catalog.int8'::pg_catalog.regtype)
            AND EXISTS (SELECT FROM pg_catalog.pg_depend AS o
                WHERE o.refobjid = u.sequence AND o.classid =
                        'pg_catalog.pg_attrdef'::pg_catalog.regclass
                OR o.objid = u.sequence AND o.deptype = 'i')
        JOIN pg_catalog.pg_class AS c ON c.oid = u.relation
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        """
}
