import Postgres
import ProjectionKit

/// Creates the home schema of a generation with its tables, in the caller's transaction.
struct ShadowSchema: Sendable {
    let projection: ProjectionTables
    /// A name that no schema has.
    let homeSchema: String
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
        /// Under which definitions are read.
        let searchPath: String
        /// What `schema.sql` gave each table, by the table's name; none when they are clones.
        let shapes: [String: TableShape]
        /// What the tables get when they go live.
        let foreignKeys: [OutgoingForeignKey]
        /// What became of what is on the live tables, and other remarks.
        let findings: [Finding]
    }

    /// Creates the schema and the tables, and matches them with the row types.
    ///
    /// Everything that the tables are to have is made on them while they are empty, so that what
    /// does not fit is found now. Foreign keys of live tables are only tried.
    ///
    /// - Parameters:
    ///   - connection: Inside a transaction, which it leaves with a search path of its own.
    ///   - isForLoading: Whether indexes and constraints are taken off again. Without that no
    ///     table that a foreign key refers to is locked against readers.
    /// - Returns: What was created, and the definitions of indexes and constraints.
    /// - Throws: ``ReadModelError/refusedByPlan(projection:reasons:)`` when the
    ///   file holds anything but tables, something on a live table does not fit the new one, or a
    ///   row type does not.
    func create(on connection: PostgresConnection, isForLoading: Bool) async throws -> Created {
        let schemaOID = try await createSchema(on: connection)
        let path = try await SearchPaths.ofTables(
            in: homeSchema,
            liveSchema,
            like: live.oids,
            on: connection
        )
        let owners = try await OthersTables(live: live, homeSchema: homeSchema)
            .admit(for: projection.name, on: connection)
        var marks = EventTriggers.Marks()
        if let schema = projection.schema {
            marks = try await SchemaFile(
                text: schema,
                projection: projection.name,
                homeSchema: homeSchema,
                liveSchema: liveSchema,
                searchPath: path,
                liveOIDs: live.oids
            ).run(on: connection)
        } else {
            try await cloneLiveTables(owners, under: path, on: connection)
        }
        try await OthersTables(live: live, homeSchema: homeSchema).give(owners, on: connection)
        let tables = try await describeTables(on: connection)
        let found = try await TableShape.capture(
            of: tables.map(\.oid),
            for: homeSchema,
            searchPath: [homeSchema, liveSchema],
            on: connection
        )
        let merges = try await merge(found, on: connection)
        try await connection.setSearchPath(list: path)
        let refusals = try await CarriedFeatures(
            merges: merges,
            isClone: projection.schema == nil,
            owners: Dictionary(
                uniqueKeysWithValues: owners.map {
                    (QualifiedName(schema: liveSchema, name: $0.key).description, $0.value)
                }
            ),
            path: path
        ).make(on: connection)
        guard refusals.isEmpty else { throw refusal(refusals) }
        let changes = try await changes(of: tables, found, merges, by: marks, on: connection)
        guard changes.isEmpty else { throw refusal(changes) }
        try await connection.revokeAll(inHome: homeSchema)
        let others = try await otherMeanings(of: tables, on: connection)
        guard others.isEmpty else { throw refusal(others) }
        try await connection.setSearchPath(list: path)
        let (bindings, warnings) = try await bind(tables, on: connection)
        let foreignKeys = try await foreignKeys(of: tables, merges, on: connection)
        let definitions = definitions(of: merges, on: found, without: foreignKeys)
        if isForLoading {
            try await connection.setSearchPath(list: path)
            for statement in definitions.removal { try await connection.execute(statement) }
        }
        return Created(
            homeSchema: homeSchema,
            homeSchemaOID: schemaOID,
            tables: tables,
            bindings: bindings,
            definitions: definitions,
            searchPath: path,
            shapes: projection.schema == nil ? [:] : found,
            foreignKeys: foreignKeys,
            findings: try await merges.flatMap(\.findings) + invalidIndexes(on: connection)
                + warnings.map { Finding(.warn, nil, $0) }
        )
    }

    /// What is on the new tables by the same text as on the live ones, and means something else.
    private func otherMeanings(
        of tables: [TableDescription],
        on connection: PostgresConnection
    ) async throws -> [String] {
        let rehearsal = CarryRehearsal(
            live: live,
            homeSchema: homeSchema,
            tables: Dictionary(uniqueKeysWithValues: tables.map { ($0.name.name, $0.oid) })
        )
        return try await FeatureMeanings(
            rehearsal: rehearsal,
            isClone: projection.schema == nil
        ).refusals(on: connection)
    }

    /// What event triggers would change on live tables, a sentence for each.
    private func changes(
        of tables: [TableDescription],
        _ found: [String: TableShape],
        _ merges: [ShapeMerge],
        by marks: EventTriggers.Marks,
        on connection: PostgresConnection
    ) async throws -> [String] {
        let triggers = try await EventTriggers.names(on: connection)
        guard !triggers.isEmpty else { return [] }
        let shapes = try await liveShapes(on: connection)
        var pairs: [EventTriggerChanges.Table] = []
        for (index, table) in tables.enumerated() {
            let name = table.name.name
            guard let real = live.tables.first(where: { $0.name.name == name }) else { continue }
            let liveShape = shapes[name] ?? [:]
            let declared = projection.tables[index].columnNames
            // A clone has nothing but what is its live twin's.
            let others = (found[name] ?? [:]).inOrder.filter { liveShape[$0.key] == nil }
            pairs.append(
                EventTriggerChanges.Table(
                    oid: table.oid,
                    live: real.oid,
                    merge: merges[index],
                    liveShape: liveShape,
                    marks: projection.schema == nil ? others : marks.features[name] ?? [],
                    columns: (marks.columns[name] ?? []).filter { !declared.contains($0.name) }
                )
            )
        }
        return try await EventTriggerChanges(
            homeSchema: homeSchema,
            triggers: triggers,
            tables: pairs
        ).reasons(searchPath: [homeSchema, liveSchema], on: connection)
    }

    private func liveShapes(on connection: PostgresConnection) async throws -> [String: TableShape]
    {
        try await TableShape.capture(
            of: live.oids,
            for: homeSchema,
            searchPath: [liveSchema],
            on: connection
        )
    }

    /// What each table is to have, in the order the projection declares them.
    private func merge(
        _ found: [String: TableShape],
        on connection: PostgresConnection
    ) async throws -> [ShapeMerge] {
        let shapes = try await liveShapes(on: connection)
        return projection.tables.map { table in
            let name = QualifiedName(schema: liveSchema, name: table.name).description
            let made = found[table.name] ?? [:]
            guard let shape = shapes[table.name] else {
                return ShapeMerge(table: name, file: made)
            }
            guard projection.schema != nil else {
                return ShapeMerge(table: name, clone: made, live: shape)
            }
            let record = live.generation?.tables.first { $0.name == table.name }?.shape
            return ShapeMerge(table: name, file: made, live: shape, record: record)
        }
    }

    /// Those to tables outside the projection: of the file, and of the live tables where they are
    /// carried over.
    private func foreignKeys(
        of tables: [TableDescription],
        _ merges: [ShapeMerge],
        on connection: PostgresConnection
    ) async throws -> [OutgoingForeignKey] {
        let oids = tables.map(\.oid)
        let made = try await OutgoingForeignKey.find(of: oids, besides: oids, on: connection)
        let live = try await OutgoingForeignKey.find(
            of: live.oids,
            besides: live.oids,
            on: connection
        )
        let wanted = Set(
            zip(projection.tables, merges).flatMap { table, merge in
                merge.shape.values.filter { $0.phase == .keys }.map { [table.name, $0.key] }
            }
        )
        let names = Set(made.map { [$0.table, $0.name] })
        let shapes = Dictionary(
            uniqueKeysWithValues: zip(projection.tables.map(\.name), merges.map(\.shape))
        )
        return
            (made + live.filter { !names.contains([$0.table, $0.name]) })
            .filter { wanted.contains([$0.table, $0.feature]) }
            .map { key in
                var key = key
                key.comment = shapes[key.table]?["comment of \(key.feature)"]?.value ?? key.comment
                return key
            }
    }

    private func definitions(
        of merges: [ShapeMerge],
        on found: [String: TableShape],
        without outgoing: [OutgoingForeignKey]
    ) -> DeferredDefinitions {
        let names = projection.tables.map(\.name)
        let left = Set(outgoing.map { [$0.table, $0.feature] })
        let kept = zip(names, merges).map { name, merge in
            let shape = merge.shape.filter { key, feature in
                !left.contains([name, key]) && !left.contains([name, feature.partOf ?? ""])
            }
            return (name, shape)
        }
        let present = zip(names, merges).map { name, merge in
            // Foreign keys of live tables were undone at once.
            merge.shape.filter { $0.value.phase != .keys }
                .merging((found[name] ?? [:]).filter { $0.value.phase == .keys }) { $1 }
        }
        return DeferredDefinitions(kept, present: present)
    }

    /// Says which indexes of live tables nothing can use: they are not carried over.
    private func invalidIndexes(on connection: PostgresConnection) async throws -> [Finding] {
        let result = try await connection.query(
            ShapeQuery.invalidIndexes,
            [.ints(live.oids.map { Int64($0) })]
        )
        return try result.rows.map {
            let table = QualifiedName(schema: liveSchema, name: try $0.string("table_name"))
            return Finding(
                .warn,
                "index \(try $0.string("name")) on \(table)",
                "it is invalid, as a failed CREATE INDEX CONCURRENTLY leaves it, so it is not "
                    + "carried over. DROP it, or REINDEX it first if it is wanted."
            )
        }
    }

    private func createSchema(on connection: PostgresConnection) async throws -> UInt32 {
        try await HomeSchema.make(homeSchema, on: connection)
        let row = try await connection.query(
            "SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1",
            [.text(homeSchema)]
        ).first
        guard let oid = try row?.int("oid") else {
            throw refusal(["The schema '\(homeSchema)' vanished while it was made."])
        }
        return UInt32(oid)
    }

    /// Makes tables with the columns of the live ones and nothing else.
    ///
    /// Where others own these, defaults and generated columns are theirs as well: the server may
    /// compute their constants.
    private func cloneLiveTables(
        _ owners: [String: String],
        under path: String,
        on connection: PostgresConnection
    ) async throws {
        // The role or the database may have another default than the live tables were made with.
        try await connection.execute("SET LOCAL default_tablespace = ''")
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
            let home = QualifiedName(schema: homeSchema, name: table.name)
            let method = try await connection.query(
                """
                SELECT m.amname FROM pg_catalog.pg_class AS c
                JOIN pg_catalog.pg_am AS m ON m.oid = c.relam
                WHERE c.oid = $1::pg_catalog.oid
                """,
                [.int(Int64(real.oid))]
            ).first?.string("amname")
            let statement = """
                CREATE TABLE \(home.sql) (LIKE \(live.sql) INCLUDING DEFAULTS \
                INCLUDING GENERATED INCLUDING IDENTITY) USING \(SQLText.identifier(method ?? "heap"))
                """
            if let owner = owners[table.name] {
                try await RestrictedOperation(owner: owner).define(
                    [statement],
                    under: path,
                    on: connection
                )
            } else {
                try await connection.execute(statement)
            }
        }
        // Columns alone are copied, so the rest is of event triggers.
        try await EventTriggers(homeSchema: homeSchema).strip(
            try await describeTables(on: connection),
            identified: projection.tables.map(\.name),
            on: connection
        )
    }

    private func describeTables(
        on connection: PostgresConnection
    ) async throws -> [TableDescription] {
        let tables = try await Catalogue.tables(
            projection.tables.map { QualifiedName(schema: homeSchema, name: $0.name) },
            on: connection
        )
        let made = Set(tables.map(\.name.name))
        let missing = projection.tables.filter { !made.contains($0.name) }
            .map { "schema.sql does not make the table '\($0.name)'." }
        guard missing.isEmpty else { throw refusal(missing) }
        let undeclared = try await connection.query(
            """
            SELECT c.relname FROM pg_catalog.pg_class AS c
            WHERE c.oid IN (\(SchemaContents.relationsOfNamed)) AND c.relkind IN ('r', 'p')
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

    /// Takes from everybody but the owners what default privileges gave them on a home schema and
    /// on what is in it.
    ///
    /// They would read rows that row-level security is to hide, before it is there. Tables that
    /// were live and come back have grants that others have passed on: CASCADE takes them along, of
    /// this object alone.
    ///
    /// - Parameters:
    ///   - homeSchema: The schema.
    ///   - relations: OIDs of those in it that keep what they have; with one of them the schema
    ///     keeps it as well.
    /// - Throws: What the server says.
    func revokeAll(inHome homeSchema: String, sparing relations: [Int64] = []) async throws {
        let statements = try await query(
            """
            SELECT DISTINCT pg_catalog.format('REVOKE ALL ON %s FROM %s CASCADE', g.object,
                CASE g.grantee WHEN 0 THEN 'PUBLIC'
                    ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) END)
                AS statement
            FROM (
                SELECT pg_catalog.format('SCHEMA %I', n.nspname) AS object, a.grantee
                FROM pg_catalog.pg_namespace AS n, pg_catalog.aclexplode(n.nspacl) AS a
                WHERE n.nspname = $1 AND a.grantee <> n.nspowner AND a.grantor = n.nspowner
                    AND pg_catalog.cardinality($2::pg_catalog.oid[]) = 0
                UNION ALL
                SELECT pg_catalog.format('TABLE %I.%I', n.nspname, c.relname), a.grantee
                FROM pg_catalog.pg_class AS c
                JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = $1
                CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
                WHERE c.oid IN (\(SchemaContents.relationsOfNamed))
                    AND a.grantee <> c.relowner AND a.grantor = c.relowner
                    AND c.oid <> ALL ($2::pg_catalog.oid[])
            ) AS g
            """,
            [.text(homeSchema), .ints(relations)]
        )
        for row in statements.rows { try await execute(try row.string("statement")) }
    }
}
