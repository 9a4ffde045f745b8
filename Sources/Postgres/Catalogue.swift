/// What the system catalogue says about tables.
package enum Catalogue {
    /// Describes a table, view, materialized view, partitioned or foreign table.
    ///
    /// - Returns: The description; nil when there is no relation of that name.
    /// - Throws: What ``PostgresConnection/query(_:_:)`` throws.
    package static func table(
        _ name: QualifiedName,
        on connection: PostgresConnection
    ) async throws -> TableDescription? {
        try await tables([name], on: connection).first
    }

    /// Describes the relations of these names, all of one moment.
    ///
    /// - Returns: A description for each that there is, in the order of the names.
    /// - Throws: What ``PostgresConnection/query(_:_:)`` throws.
    package static func tables(
        _ names: [QualifiedName],
        on connection: PostgresConnection
    ) async throws -> [TableDescription] {
        try await tables(
            wanted: """
                SELECT w.place, c.oid
                FROM ROWS FROM (
                    pg_catalog.unnest($1::pg_catalog.text[]),
                    pg_catalog.unnest($2::pg_catalog.text[])
                ) WITH ORDINALITY AS w (schema, name, place)
                JOIN pg_catalog.pg_namespace AS n
                    ON n.nspname = w.schema COLLATE pg_catalog."C"
                JOIN pg_catalog.pg_class AS c
                    ON c.relnamespace = n.oid AND c.relname = w.name COLLATE pg_catalog."C"
                """,
            [.texts(names.map(\.schema)), .texts(names.map(\.name))],
            on: connection
        )
    }

    /// Describes the relations with these OIDs, whatever they are called by now.
    ///
    /// - Returns: A description for each that there is, in the order of the OIDs.
    /// - Throws: What ``PostgresConnection/query(_:_:)`` throws.
    package static func tables(
        oids: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [TableDescription] {
        try await tables(
            wanted: """
                SELECT place, oid
                FROM pg_catalog.unnest($1::pg_catalog.oid[]) WITH ORDINALITY AS w (oid, place)
                """,
            [.ints(oids.map(Int64.init))],
            on: connection
        )
    }

    private static func tables(
        wanted: String,
        _ parameters: [PostgresValue],
        on connection: PostgresConnection
    ) async throws -> [TableDescription] {
        let rows = try await connection.query(statement(wanted: wanted), parameters).rows
        var tables: [TableDescription] = []
        var rest = rows[...]
        while let first = rest.first {
            let place = try first.int("place")
            let ofTable = try rest.prefix(while: { try $0.int("place") == place })
            rest = rest.dropFirst(ofTable.count)
            // A table without columns gives one row without a column.
            let columns = try ofTable.filter { $0["number"] != nil }.map(ColumnDescription.init)
            tables.append(try TableDescription(first, columns: columns))
        }
        return tables
    }

    /// One statement, so that tables and columns are of one moment.
    private static func statement(wanted: String) -> String {
        """
        WITH RECURSIVE wanted (place, oid) AS (
            \(wanted)
        ),
        relation AS (
            SELECT w.place, c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.reltuples,
                   pg_catalog.pg_get_userbyid(c.relowner) AS owner,
                   pg_catalog.pg_total_relation_size(c.oid) AS bytes
            FROM wanted w
            JOIN pg_catalog.pg_class c ON c.oid = w.oid
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
        ),
        column_of AS (
            SELECT a.*, r.oid AS relation
            FROM relation r
            JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid
            WHERE a.attnum > 0 AND NOT a.attisdropped
        ),
        -- From a domain down to what it is made of, for the columns and for arrays' elements.
        step AS (
            SELECT t.oid AS declared, t.oid, t.typtype, t.typbasetype, t.typnotnull
            FROM pg_catalog.pg_type t
            WHERE t.oid IN (SELECT atttypid FROM column_of)
            UNION ALL
            SELECT s.declared, t.oid, t.typtype, t.typbasetype, s.typnotnull OR t.typnotnull
            FROM step s
            JOIN pg_catalog.pg_type t ON t.oid = s.typbasetype
            WHERE s.typtype = 'd'
        )
        SELECT r.place, r.oid, r.nspname, r.relname, r.relkind, r.relpersistence, r.owner,
               r.reltuples, r.bytes,
               a.attname, a.attnum AS number, a.atttypid,
               pg_catalog.format_type(a.atttypid, a.atttypmod) AS type_name,
               base.typname AS base_type,
               base.typnamespace = 'pg_catalog'::pg_catalog.regnamespace AS is_built_in,
               CASE WHEN base.typnamespace = 'pg_catalog'::pg_catalog.regnamespace
                   THEN pg_catalog.format_type(base.oid, -1)
                   ELSE base.typnamespace::pg_catalog.regnamespace::pg_catalog.text || '.'
                       || pg_catalog.quote_ident(base.typname) END AS base_name,
               (SELECT e.extname FROM pg_catalog.pg_depend x
                JOIN pg_catalog.pg_extension e ON e.oid = x.refobjid
                WHERE x.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND x.objid = base.oid
                    AND x.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
                    AND x.deptype = 'e') AS extension,
               declared.typtype AS kind,
               element.typname AS element_type,
               a.attnotnull OR s.typnotnull AS is_not_null,
               a.atthasdef AND a.attgenerated = '' OR declared.typdefault IS NOT NULL AS has_default,
               a.attidentity <> '' AS is_identity, a.attgenerated <> '' AS is_generated
        FROM relation r
        LEFT JOIN column_of a ON a.relation = r.oid
        LEFT JOIN pg_catalog.pg_type declared ON declared.oid = a.atttypid
        LEFT JOIN step s ON s.declared = a.atttypid AND s.typtype <> 'd'
        LEFT JOIN pg_catalog.pg_type base ON base.oid = s.oid
        LEFT JOIN pg_catalog.pg_type element
               ON element.oid = base.typelem AND element.typarray = base.oid
        ORDER BY r.place, a.attnum
        """
    }
}

/// A table as the catalogue describes it.
package struct TableDescription: Hashable, Sendable {
    /// What stays the same when the table is renamed or moved.
    package let oid: UInt32
    /// Schema and name.
    package let name: QualifiedName
    /// `r` table, `p` partitioned table, `v` view, `m` materialized view, `f` foreign table.
    package let kind: Character
    /// `p` permanent, `u` unlogged, `t` temporary.
    package let persistence: Character
    /// The owner's name.
    package let owner: String
    /// The columns that are not dropped, by number.
    package let columns: [ColumnDescription]
    /// Rows as of the last VACUUM or ANALYZE; -1 when there was none.
    package let estimatedRows: Double
    /// Bytes on disk with indexes and TOAST.
    package let totalBytes: Int64

    fileprivate init(_ row: QueryRow, columns: [ColumnDescription]) throws {
        oid = UInt32(truncatingIfNeeded: try row.int("oid"))
        name = QualifiedName(schema: try row.string("nspname"), name: try row.string("relname"))
        kind = try row.character("relkind")
        persistence = try row.character("relpersistence")
        owner = try row.string("owner")
        estimatedRows = try row.double("reltuples")
        totalBytes = try row.optionalInt("bytes") ?? 0
        self.columns = columns
    }
}

/// A column as the catalogue describes it.
package struct ColumnDescription: Hashable, Sendable {
    /// The column's name.
    package let name: String
    /// The declared type.
    package let typeOID: UInt32
    /// The declared type as `format_type` writes it, such as `character varying(20)`; types outside
    /// `pg_catalog` with their schema.
    package let typeName: String
    /// The name in `pg_type` of what the type is made of, such as `int8` or `_text`: for a domain
    /// the type at its bottom, for anything else the type itself.
    package let baseType: String
    /// The same as SQL names it under any search path, without a length, so that nothing is cut off:
    /// `inet`, `public.vector`.
    package let baseName: String
    /// The extension that ``baseType`` belongs to.
    package let typeExtension: String?
    /// Whether ``baseType`` is one of PostgreSQL's own types: anybody can name a type `text`.
    package let isBuiltIn: Bool
    /// Of the declared type: `b` base, `e` enum, `d` domain, `c` composite, `r` range, `m` multirange.
    package let typeKind: Character
    /// The name in `pg_type` of an array's elements; nil when ``baseType`` is no array.
    package let elementType: String?
    /// Whether the column, or its domain, refuses NULL.
    package let isNotNull: Bool
    /// Whether an INSERT that leaves the column out gets a value from a DEFAULT expression.
    package let hasDefault: Bool
    /// Whether the column is an identity column.
    package let isIdentity: Bool
    /// Whether the column is computed from others; it cannot be written, nor named in a COPY.
    package let isGenerated: Bool
    /// The column's number; numbers have gaps where columns were dropped.
    package let number: Int

    fileprivate init(_ row: QueryRow) throws {
        name = try row.string("attname")
        typeOID = UInt32(truncatingIfNeeded: try row.int("atttypid"))
        typeName = try row.string("type_name")
        baseType = try row.string("base_type")
        baseName = try row.string("base_name")
        typeExtension = row["extension"]
        isBuiltIn = try row.bool("is_built_in")
        typeKind = try row.character("kind")
        elementType = row["element_type"]
        isNotNull = try row.bool("is_not_null")
        hasDefault = try row.bool("has_default")
        isIdentity = try row.bool("is_identity")
        isGenerated = try row.bool("is_generated")
        number = Int(try row.int("number"))
    }
}

extension QueryRow {
    fileprivate func character(_ column: String) throws -> Character {
        guard let character = self[column]?.first else {
            throw ColumnError(column: column, expected: "a character", isNull: true)
        }
        return character
    }
}
