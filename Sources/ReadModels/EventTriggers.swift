import Postgres

/// What event triggers do to tables that are made in a home schema: it is not of `schema.sql`, and
/// no table keeps it there.
struct EventTriggers: Sendable {
    let homeSchema: String

    /// What they put onto new tables.
    struct Marks: Sendable {
        /// As ``SchemaFile`` names what stands on tables.
        var objects: Set<String> = []
        /// Names of tables that they gave another replica identity.
        var identified: [String] = []
        /// What they make on tables or set for them, by the tables' names.
        var features: [String: [TableFeature]] = [:]
        /// Columns that they add, by the tables' names.
        var columns: [String: [Column]] = [:]
    }

    struct Column: Sendable {
        let name: String
        /// As features of the table call it.
        let key: String
    }

    /// Whether the event trigger `t` fires in this session, as SQL.
    static let fires = """
        CASE pg_catalog.current_setting('session_replication_role')
            WHEN 'replica' THEN t.evtenabled IN ('R', 'A') ELSE t.evtenabled IN ('O', 'A') END
        """

    /// The names of those that are switched on.
    static func names(on connection: PostgresConnection) async throws -> [String] {
        try await connection.query(
            """
            SELECT t.evtname FROM pg_catalog.pg_event_trigger AS t
            WHERE \(fires) ORDER BY t.evtname
            """
        ).rows.map { try $0.string("evtname") }
    }

    /// Runs `body` while a table is there that nobody wanted, and undoes both.
    ///
    /// - Parameters:
    ///   - connection: Inside a transaction.
    ///   - body: Looks at what the event triggers did.
    /// - Returns: What `body` returns; nil when the server refuses the table.
    /// - Throws: Lock failures, and what is no error of the server.
    func whileProbing<Found: Sendable>(
        on connection: PostgresConnection,
        _ body: () async throws -> Found
    ) async throws -> Found? {
        let name = QualifiedName(schema: homeSchema, name: "reprise_probe").sql
        return try await undoing(on: connection) {
            try await connection.execute(
                """
                CREATE TABLE \(name) (id pg_catalog.int4 PRIMARY KEY);
                CREATE INDEX ON \(name) (id);
                ALTER TABLE \(name) ADD COLUMN text pg_catalog.text;
                COMMENT ON TABLE \(name) IS ''
                """
            )
            return try await body()
        }
    }

    /// Makes the like of each table in its place, and looks at what it has got.
    ///
    /// - Parameters:
    ///   - tables: Names of tables in the home schema.
    ///   - query: Of what stands on tables: its parameter is the schema's name, its column `object`.
    ///   - searchPath: Under which features are read.
    ///   - connection: Inside a transaction.
    /// - Returns: What the event triggers put onto the tables.
    /// - Throws: Lock failures, and what is no error of the server.
    func marks(
        on tables: [String],
        by query: String,
        searchPath: [String],
        on connection: PostgresConnection
    ) async throws -> Marks {
        try await undoing(on: connection) {
            var marks = Marks()
            // Indexes and statistics that a trigger makes by name must not be there yet.
            let away = "reprise_original_\(UInt32.random(in: .min ... .max))"
            let home = SQLText.identifier(homeSchema)
            try await connection.execute("ALTER SCHEMA \(home) RENAME TO \(away)")
            try await HomeSchema.make(homeSchema, on: connection)
            for table in tables {
                let original = QualifiedName(schema: away, name: table)
                let name = QualifiedName(schema: homeSchema, name: table)
                marks.columns[table] = try await addColumns(of: original, to: name, on: connection)
                try await Self.makeLike(of: original, as: name, on: connection)
            }
            let objects = try await connection.query(query, [.text(homeSchema)]).rows
            marks.objects = Set(try objects.map { try $0.string("object") })
            marks.identified = try await connection.query(
                """
                SELECT c.relname FROM pg_catalog.pg_class AS c
                WHERE c.oid IN (\(SchemaContents.relationsOfNamed)) AND c.relkind = 'r'
                    AND c.relreplident IN ('f', 'n') AND c.relname = ANY ($2::pg_catalog.text[])
                """,
                [.text(homeSchema), .texts(tables)]
            ).rows.map { try $0.string("relname") }
            let likes = try await Catalogue.tables(
                tables.map { QualifiedName(schema: homeSchema, name: $0) },
                on: connection
            )
            let shapes = try await TableShape.capture(
                of: likes.map(\.oid),
                for: homeSchema,
                searchPath: searchPath,
                on: connection
            )
            marks.features = shapes.mapValues { $0.inOrder.filter { !Self.isOfLike($0) } }
            return marks
        } ?? Marks()
    }

    /// Finds columns that are added to any table of that name, and takes them off the original: its like
    /// gets them anyway.
    private func addColumns(
        of original: QualifiedName,
        to name: QualifiedName,
        on connection: PostgresConnection
    ) async throws -> [Column] {
        let columns = try await undoing(on: connection) {
            try await connection.execute(
                "CREATE TABLE \(name.sql) (reprise_probe pg_catalog.int4 PRIMARY KEY)"
            )
            return try await connection.query(
                """
                SELECT a.attname, 'column ' || pg_catalog.quote_ident(a.attname) AS key
                FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid = $1::pg_catalog.regclass AND a.attnum > 1 AND NOT a.attisdropped
                """,
                [.text(name.sql)]
            ).rows.map { Column(name: try $0.string("attname"), key: try $0.string("key")) }
        }
        for column in columns ?? [] {
            let quoted = SQLText.identifier(column.name)
            try await connection.execute(
                "ALTER TABLE \(original.sql) DROP COLUMN IF EXISTS \(quoted) CASCADE"
            )
        }
        return columns ?? []
    }

    /// Whether a table that ``makeLike(of:as:on:)`` makes has it without any event trigger.
    static func isOfLike(_ feature: TableFeature) -> Bool {
        ["column", "not", "sequence", "access", "tablespace"].contains(feature.kind)
            || feature.isPrimaryKey || feature.value.hasSuffix(" AS IDENTITY")
            || feature.value.hasPrefix("GENERATED ALWAYS AS (")
    }

    /// Makes a table with the columns and the key of another, in one command: what a person would type.
    static func makeLike(
        of original: QualifiedName,
        as name: QualifiedName,
        on connection: PostgresConnection
    ) async throws {
        let key = try await connection.query(
            """
            SELECT ', ' || pg_catalog.pg_get_constraintdef(o.oid) AS clause
            FROM pg_catalog.pg_constraint AS o
            WHERE o.conrelid = $1::pg_catalog.regclass AND o.contype = 'p'
            """,
            [.text(original.sql)]
        ).first?["clause"]
        try await connection.execute(
            "CREATE TABLE \(name.sql) (LIKE \(original.sql) INCLUDING IDENTITY\(key ?? ""))"
        )
    }

    /// Takes off the tables what event triggers have put there; grants go with those of default
    /// privileges.
    func strip(
        _ tables: [TableDescription],
        identified: [String],
        on connection: PostgresConnection
    ) async throws {
        try await TableAttachments.remove(from: tables.map(\.oid), on: connection)
        for table in tables where identified.contains(table.name.name) {
            try await connection.execute("ALTER TABLE \(table.name.sql) REPLICA IDENTITY DEFAULT")
        }
    }

    private func undoing<Found: Sendable>(
        on connection: PostgresConnection,
        _ body: () async throws -> Found
    ) async throws -> Found? {
        try await connection.execute("SAVEPOINT reprise_probe")
        var found: Found?
        do {
            found = try await body()
        } catch let error as ServerError where !error.isLockFailure {
            // What refuses it says so of the real tables as well, or lets them be.
        }
        try await connection.execute(
            "ROLLBACK TO SAVEPOINT reprise_probe; RELEASE SAVEPOINT reprise_probe"
        )
        return found
    }
}
