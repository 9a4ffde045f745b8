import Postgres
import ProjectionKit

/// Creates the home schema of a generation with its tables, in the caller's transaction.
struct ShadowSchema: Sendable {
    let projection: ProjectionTables
    let generation: Int
    let liveSchema: String
    let live: LiveTables

    /// What was created.
    struct Created: Sendable {
        let homeSchema: String
        let homeSchemaOID: UInt32
        /// The tables, in the order the projection declares them.
        let tables: [TableDescription]
        let bindings: [TableBinding]
        let definitions: DeferredDefinitions
        let warnings: [String]
    }

    /// The home schema's name.
    var homeSchema: String {
        GenerationRecord.homeSchema(of: projection.name, generation: generation)
    }

    /// Creates the schema and the tables, and matches them with the row types.
    ///
    /// - Parameters:
    ///   - connection: Inside a transaction, which it leaves with a search path of its own.
    ///   - isForLoading: Whether indexes and constraints are taken off again. Without that no
    ///     table that a foreign key refers to is locked against readers.
    /// - Returns: What was created, and the definitions of indexes and constraints.
    /// - Throws: ``ReadModelError/refusedByPlan(projection:reasons:)`` when the name is taken, the
    ///   file holds anything but tables, or a row type does not fit.
    func create(on connection: PostgresConnection, isForLoading: Bool) async throws -> Created {
        let schemaOID = try await createSchema(on: connection)
        if let schema = projection.schema {
            try await SchemaFile(
                text: schema,
                projection: projection.name,
                homeSchema: homeSchema,
                liveSchema: liveSchema,
                liveOIDs: live.oids
            ).run(on: connection)
        } else {
            try await cloneLiveTables(on: connection)
        }
        let tables = try await describeTables(on: connection)
        let (bindings, warnings) = try await bind(tables, on: connection)
        let definitions = try await captureDefinitions(on: connection)
        // A clone has none yet, and these would be the live tables'.
        if isForLoading && projection.schema != nil {
            for statement in definitions.removal { try await connection.execute(statement) }
        }
        return Created(
            homeSchema: homeSchema,
            homeSchemaOID: schemaOID,
            tables: tables,
            bindings: bindings,
            definitions: definitions,
            warnings: warnings
        )
    }

    private func createSchema(on connection: PostgresConnection) async throws -> UInt32 {
        let taken = try await connection.query(
            "SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1",
            [.text(homeSchema)]
        )
        guard taken.rows.isEmpty else {
            throw refusal([
                "The schema '\(homeSchema)' exists already and is not in the bookkeeping. "
                    + "Rename or drop it by hand: Reprise does not touch what it did not make."
            ])
        }
        try await connection.execute("CREATE SCHEMA \(SQLText.identifier(homeSchema))")
        let row = try await connection.query(
            "SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1",
            [.text(homeSchema)]
        ).first
        guard let oid = try row?.int("oid") else {
            throw refusal(["The schema '\(homeSchema)' vanished while it was made."])
        }
        return UInt32(oid)
    }

    private func cloneLiveTables(on connection: PostgresConnection) async throws {
        for table in projection.tables {
            let live = QualifiedName(schema: liveSchema, name: table.name)
            guard let real = try await Catalogue.table(live, on: connection) else {
                throw refusal([
                    "There is no schema.sql and no live table \(live.sql) to clone."
                ])
            }
            guard real.kind == "r" else {
                throw refusal(["\(live.sql) is not a plain table, so it cannot be cloned."])
            }
            let options = try await connection.query(
                """
                SELECT option_name || '=' || pg_catalog.quote_literal(option_value) AS option
                FROM pg_catalog.pg_class,
                    LATERAL pg_catalog.pg_options_to_table(reloptions)
                WHERE oid = $1::pg_catalog.oid
                """,
                [.int(Int64(real.oid))]
            )
            let list = try options.rows.map { try $0.string("option") }.joined(separator: ", ")
            let home = QualifiedName(schema: homeSchema, name: table.name)
            try await connection.execute(
                """
                CREATE TABLE \(home.sql) (LIKE \(live.sql) INCLUDING DEFAULTS \
                INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING STORAGE \
                INCLUDING COMPRESSION INCLUDING COMMENTS)\(list.isEmpty ? "" : " WITH (\(list))")
                """
            )
            let comment = try await connection.query(
                "SELECT pg_catalog.obj_description($1::pg_catalog.oid, 'pg_class') AS comment",
                [.int(Int64(real.oid))]
            ).first?["comment"]
            if let comment {
                try await connection.execute(
                    "COMMENT ON TABLE \(home.sql) IS \(SQLText.literal(comment))"
                )
            }
            let marks = try await CloneMarks.statements(of: real, for: home, on: connection)
            try await connection.setSearchPath([homeSchema, liveSchema])
            for statement in marks { try await connection.execute(statement) }
        }
    }

    private func describeTables(
        on connection: PostgresConnection
    ) async throws -> [TableDescription] {
        var tables: [TableDescription] = []
        var missing: [String] = []
        for table in projection.tables {
            let name = QualifiedName(schema: homeSchema, name: table.name)
            if let description = try await Catalogue.table(name, on: connection) {
                tables.append(description)
            } else {
                missing.append("schema.sql does not make the table '\(table.name)'.")
            }
        }
        guard missing.isEmpty else { throw refusal(missing) }
        let undeclared = try await connection.query(
            """
            SELECT c.relname FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')
                AND c.relname <> ALL ($2::pg_catalog.text[])
            """,
            [.text(homeSchema), .texts(projection.tables.map(\.name))]
        )
        let reasons = try undeclared.rows.map {
            "schema.sql makes the table '\(try $0.string("relname"))', which no row type declares."
        }
        if !reasons.isEmpty { throw refusal(reasons) }
        return tables
    }

    private func bind(
        _ tables: [TableDescription],
        on connection: PostgresConnection
    ) async throws -> ([TableBinding], [String]) {
        var bindings: [TableBinding] = []
        var refusals: [String] = []
        var warnings: [String] = []
        for (declared, real) in zip(projection.tables, tables) {
            let result = TableBinding.match(
                declared,
                with: real,
                labels: try await connection.enumLabels(of: real.oid),
                uniqueKeys: try await connection.uniqueKeys(of: real.oid)
            )
            if let binding = result.binding { bindings.append(binding) }
            refusals += result.refusals
            warnings += result.warnings
        }
        guard refusals.isEmpty else { throw refusal(refusals) }
        return (bindings, warnings)
    }

    private func captureDefinitions(
        on connection: PostgresConnection
    ) async throws -> DeferredDefinitions {
        let names = projection.tables.map(\.name)
        guard projection.schema != nil else {
            return try await .capture(
                of: names,
                in: liveSchema,
                searchPath: [liveSchema],
                on: connection
            )
        }
        return try await .capture(
            of: names,
            in: homeSchema,
            searchPath: [homeSchema, liveSchema],
            on: connection
        )
    }

    private func refusal(_ reasons: [String]) -> ReadModelError {
        .refusedByPlan(projection: projection.name, reasons: reasons)
    }
}

extension PostgresConnection {
    /// The labels of each column of an enum type, by column name.
    func enumLabels(of table: UInt32) async throws -> [String: [String]] {
        let result = try await query(
            """
            SELECT a.attname, e.enumlabel
            FROM pg_catalog.pg_attribute AS a
            JOIN pg_catalog.pg_enum AS e ON e.enumtypid = a.atttypid
            WHERE a.attrelid = $1::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
            """,
            [.int(Int64(table))]
        )
        var labels: [String: [String]] = [:]
        for row in result.rows {
            labels[try row.string("attname"), default: []].append(try row.string("enumlabel"))
        }
        return labels
    }

    /// The columns of each unique index over plain columns and all rows.
    func uniqueKeys(of table: UInt32) async throws -> [[String]] {
        let result = try await query(
            """
            SELECT i.indexrelid, a.attname
            FROM pg_catalog.pg_index AS i
            CROSS JOIN LATERAL pg_catalog.unnest(i.indkey) WITH ORDINALITY AS k(number, place)
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number
            WHERE i.indrelid = $1::pg_catalog.oid AND i.indisunique AND i.indpred IS NULL
                AND i.indexprs IS NULL AND k.place <= i.indnkeyatts
            """,
            [.int(Int64(table))]
        )
        let keys = try Dictionary(grouping: result.rows) { try $0.int("indexrelid") }
        return try keys.values.map { try $0.map { try $0.string("attname") } }
    }
}
