import Foundation
import Postgres

/// A foreign key of a projection's table to a table that is not the projection's.
///
/// Only the live generation has it: on one that waits or is kept, deletes in the other table would fail
/// because of rows that nobody sees, or would cascade into them. So it is dropped when a generation
/// leaves, and made when one arrives: NOT VALID, since checking takes as long as the table is large, and
/// validated afterwards while readers and writers go on.
struct OutgoingForeignKey: Codable, Equatable, Sendable {
    /// The table that has it, unqualified.
    let table: String
    let name: String
    /// Its key among the features of its table.
    let feature: String
    /// What comes after ADD CONSTRAINT, with every name qualified.
    let definition: String
    /// The table it refers to, qualified and quoted.
    let parent: String
    var comment: String?
    /// Whether a row `c` of the table has no parent, as a condition.
    let isOrphan: String

    /// Finds those of tables.
    ///
    /// - Parameters:
    ///   - tables: OIDs.
    ///   - inside: OIDs of the tables of the same generation, to which keys move along.
    ///   - connection: Inside a transaction; its search path is changed.
    /// - Returns: The keys, by table and name.
    /// - Throws: ``ServerError``.
    static func find(
        of tables: [UInt32],
        besides inside: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [OutgoingForeignKey] {
        guard !tables.isEmpty else { return [] }
        try await connection.setSearchPath([])
        return try await connection.query(
            query,
            [.ints(tables.map { Int64($0) }), .ints(inside.map { Int64($0) })]
        ).rows.map { row in
            OutgoingForeignKey(
                table: try row.string("table_name"),
                name: try row.string("name"),
                feature: try row.string("feature"),
                definition: try row.string("definition"),
                parent: try row.string("parent"),
                comment: row["comment"],
                isOrphan: try row.string("is_orphan")
            )
        }
    }

    /// What a swap does with those that leave and those that arrive.
    ///
    /// - Parameters:
    ///   - leaving: Those of the live tables.
    ///   - target: The generation that comes.
    ///   - liveSchema: Where its tables are then.
    ///   - connection: Inside a transaction; its search path is changed.
    /// - Returns: Both, as objects that are carried over.
    /// - Throws: ``ServerError``.
    static func carried(
        _ leaving: [OutgoingForeignKey],
        to target: GenerationRecord,
        in liveSchema: String,
        on connection: PostgresConnection
    ) async throws -> [CarriedObject] {
        let arriving = target.tables.flatMap(\.foreignKeys)
        let lockable = try await lockable(leaving + arriving, on: connection)
        let departures = leaving.map { key in
            CarriedObject(
                subject: key.subject(in: liveSchema),
                note: "dropped from the table that leaves",
                locked: lockable.contains(key.parent) ? key.parent : nil,
                release: [
                    "ALTER TABLE \(key.tableName(in: liveSchema)) DROP CONSTRAINT "
                        + SQLText.identifier(key.name)
                ]
            )
        }
        let arrivals = target.tables.flatMap { table in
            table.foreignKeys.map { key in
                CarriedObject(
                    subject: key.subject(in: liveSchema),
                    note: "made on the new table and validated after the swap; \(key.parent) is "
                        + "locked for the moment of the swap",
                    locked: lockable.contains(key.parent) ? key.parent : nil,
                    restore: key.creation(in: liveSchema),
                    followUp: key.isValid
                        ? FollowUp(kind: .validate, relation: table.oid, objectName: key.name) : nil
                )
            }
        }
        return departures + arrivals
    }

    /// Counts rows of tables that wait in their home whose parent is missing.
    ///
    /// - Parameters:
    ///   - keys: The keys that the tables are going to have.
    ///   - homeSchema: Where the tables are.
    ///   - connection: Inside a transaction.
    /// - Returns: A sentence for each key that would not hold.
    /// - Throws: ``ServerError``.
    static func orphans(
        of keys: [OutgoingForeignKey],
        in homeSchema: String,
        on connection: PostgresConnection
    ) async throws -> [String] {
        var sentences: [String] = []
        for key in keys where key.isValid {
            let count = try await key.orphans(in: homeSchema, on: connection)
            guard let count, count > 0 else { continue }
            sentences.append(
                "foreign key \(key.name) of \(key.table): \(count) rows refer to rows that "
                    + "\(key.parent) does not have"
            )
        }
        return sentences
    }

    private var isValid: Bool { !definition.hasSuffix(" NOT VALID") }

    private func subject(in schema: String) -> String {
        "foreign key \(SQLText.identifier(name)) of \(tableName(in: schema))"
    }

    private func tableName(in schema: String) -> String {
        QualifiedName(schema: schema, name: table).sql
    }

    private func creation(in schema: String) -> [String] {
        let constraint = SQLText.identifier(name)
        let table = tableName(in: schema)
        let isNew = isValid ? " NOT VALID" : ""
        return ["ALTER TABLE \(table) ADD CONSTRAINT \(constraint) \(definition)\(isNew)"]
            + [
                comment.map {
                    "COMMENT ON CONSTRAINT \(constraint) ON \(table) IS \(SQLText.literal($0))"
                }
            ].compactMap { $0 }
    }

    /// Tables that this role may lock before the live ones: the others are locked by ALTER TABLE.
    private static func lockable(
        _ keys: [OutgoingForeignKey],
        on connection: PostgresConnection
    ) async throws -> Set<String> {
        let rows = try await connection.query(
            """
            SELECT p.name FROM pg_catalog.unnest($1::pg_catalog.text[]) AS p (name)
            WHERE pg_catalog.has_table_privilege(pg_catalog.to_regclass(p.name),
                'UPDATE, DELETE, TRUNCATE')
            """,
            [.texts(Set(keys.map(\.parent)).sorted())]
        ).rows
        return Set(try rows.map { try $0.string("name") })
    }
}

extension [OutgoingForeignKey] {
    /// As the bookkeeping keeps them.
    var json: String {
        get throws { String(decoding: try JSONEncoder().encode(self), as: UTF8.self) }
    }
}

extension OutgoingForeignKey {
    /// How many rows have no parent; nil where no one role may be asked for it, and validating the key
    /// is what tells.
    private func orphans(
        in homeSchema: String,
        on connection: PostgresConnection
    ) async throws -> Int64? {
        let child = QualifiedName(schema: homeSchema, name: table)
        let relations = try await connection.query(
            """
            SELECT pg_catalog.to_regclass($1)::pg_catalog.oid AS child,
                pg_catalog.to_regclass($2)::pg_catalog.oid AS parent,
                pg_catalog.has_table_privilege(pg_catalog.to_regclass($2), 'SELECT') AS may
            """,
            [.text(child.sql), .text(parent)]
        ).first
        guard let childOID = try relations?.optionalInt("child").map({ UInt32($0) }),
            let parentOID = try relations?.optionalInt("parent").map({ UInt32($0) }),
            try relations?.bool("may") == true
        else { return nil }
        let code = try await OthersCode(of: [childOID, parentOID], on: connection)
        // A query has the rights of one role, and what is on these tables may be of two.
        guard code.readingOwners.isEmpty else { return nil }
        return try await connection.number(
            "SELECT pg_catalog.count(*) FROM \(child.sql) AS c WHERE \(isOrphan)",
            as: nil
        )
    }

    // A row that has a null among its columns refers to nothing (MATCH SIMPLE); of MATCH FULL all are
    // to be null. From 18 on a key may be NOT ENFORCED, and several parents may cover one PERIOD: that the
    // server finds out when it validates the key.
    private static let query = """
        SELECT c.relname AS table_name, o.conname AS name,
            'constraint ' || pg_catalog.quote_ident(o.conname) AS feature,
            pg_catalog.pg_get_constraintdef(o.oid) AS definition,
            o.confrelid::pg_catalog.regclass AS parent,
            pg_catalog.obj_description(o.oid, 'pg_constraint') AS comment,
            CASE WHEN j.row ->> 'conenforced' = 'false' OR j.row ->> 'conperiod' = 'true' THEN 'false'
            ELSE pg_catalog.format('(%s) AND NOT EXISTS (SELECT FROM %s AS p WHERE %s)',
                pg_catalog.string_agg(pg_catalog.format('c.%I IS NOT NULL', a.attname),
                    CASE o.confmatchtype WHEN 'f' THEN ' OR ' ELSE ' AND ' END),
                o.confrelid::pg_catalog.regclass,
                pg_catalog.string_agg(pg_catalog.format('p.%I OPERATOR(%I.%s) c.%I', r.attname,
                    q.nspname, e.oprname, a.attname), ' AND ')) END AS is_orphan
        FROM pg_catalog.pg_constraint AS o
        JOIN pg_catalog.pg_class AS c ON c.oid = o.conrelid
        CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(o.conkey), pg_catalog.unnest(o.confkey),
            pg_catalog.unnest(o.conpfeqop)) AS k (child, parent, operator)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = o.conrelid AND a.attnum = k.child
        JOIN pg_catalog.pg_attribute AS r ON r.attrelid = o.confrelid AND r.attnum = k.parent
        JOIN pg_catalog.pg_operator AS e ON e.oid = k.operator
        JOIN pg_catalog.pg_namespace AS q ON q.oid = e.oprnamespace
        CROSS JOIN LATERAL (SELECT pg_catalog.to_jsonb(o) AS row) AS j
        WHERE o.contype = 'f' AND o.conrelid = ANY ($1::pg_catalog.oid[])
            AND o.confrelid <> ALL ($2::pg_catalog.oid[]) AND o.conparentid = 0
        GROUP BY o.oid, o.conname, c.relname, o.confrelid, o.confmatchtype, j.row
        ORDER BY 1, 2
        """
}
