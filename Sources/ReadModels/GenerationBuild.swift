package import ProjectionKit
import Postgres

/// A generation that was loaded, indexed and analysed.
package struct BuiltGeneration: Sendable {
    /// Its number.
    package let number: Int
    /// The schema it is in.
    package let homeSchema: String
    /// Rows of each table, by name.
    package let rows: [String: Int]
    /// Bytes that went through COPY.
    package let bytes: Int
    /// What does not stop the rebuild.
    package let warnings: [String]
}

extension ReadModelDatabase {
    /// Runs the projection's `setup.sql` in the live schema.
    ///
    /// - Throws: ``ReadModelError/refusedByPlan(projection:reasons:)`` with the server's complaint.
    package func setUp(_ projection: ProjectionTables) async throws {
        guard let setup = projection.setup else { return }
        try await withConnection(as: "setup", doing: "running setup.sql") { connection in
            try await connection.withTransaction { connection in
                try await connection.execute("SET LOCAL lock_timeout = '2s'")
                try await connection.setSearchPath([liveSchema])
                try await SQLFile(name: "setup.sql", text: setup).run(
                    for: projection.name,
                    on: connection
                )
            }
        }
    }

    /// Builds a generation in its home schema from folded tables.
    ///
    /// One short transaction makes schema and tables and writes the bookkeeping, a second one
    /// copies the rows. So a death at any moment leaves either nothing, or a generation that the next
    /// run finds in state `building` and drops. Indexes, constraints and statistics follow, the
    /// largest table first.
    ///
    /// - Parameters:
    ///   - projection: What to build.
    ///   - fold: The folded tables.
    ///   - position: Where the rows stand in the ledger; nil for an empty ledger.
    ///   - events: Number of events that were folded.
    ///   - run: The run that holds the projection's lock.
    ///   - jobs: Connections that build indexes side by side, 1 or more.
    /// - Returns: The generation, in state `building`.
    /// - Throws: ``ReadModelError``. Live tables are never touched.
    package func build(
        _ projection: ProjectionTables,
        from fold: any Fold,
        position: Position?,
        events: Int,
        run: Run,
        jobs: Int
    ) async throws -> BuiltGeneration {
        let load = GenerationLoad(
            database: self,
            projection: projection,
            tables: fold.tables.filter(\.isForReaders),
            position: position.map { "\($0)" },
            events: events,
            run: run
        )
        let loaded = try await load.load()
        try await run.record(generation: loaded.number)
        try await load.index(loaded, jobs: jobs)
        return BuiltGeneration(
            number: loaded.number,
            homeSchema: loaded.created.homeSchema,
            rows: loaded.rows,
            bytes: loaded.bytes,
            warnings: loaded.created.findings.filter { $0.level == .warn }.map(\.text)
        )
    }
}

/// Loads one generation.
private struct GenerationLoad: Sendable {
    struct Loaded: Sendable {
        let number: Int
        let created: ShadowSchema.Created
        var rows: [String: Int] = [:]
        var bytes = 0
    }

    let database: ReadModelDatabase
    let projection: ProjectionTables
    let tables: [any LoadableTable]
    let position: String?
    let events: Int
    let run: Run

    func load() async throws -> Loaded {
        try await database.withConnection(as: "load", doing: "loading '\(projection.name)'") {
            connection in
            var loaded = try await patiently(on: connection) { try await create(on: $0) }
            try await connection.withTransaction { try await copy(into: &loaded, on: $0) }
            return loaded
        }
    }

    /// Makes schema and tables, in a transaction of its own: taking a foreign key off for the load
    /// locks the table it refers to until the end of the transaction, and that may be anybody's.
    private func create(on connection: PostgresConnection) async throws -> Loaded {
        try await connection.execute("SET LOCAL synchronous_commit = off")
        let live = try await LiveTables.find(
            of: projection.name,
            declared: projection.tables.map(\.name),
            schema: database.liveSchema,
            records: try await Bookkeeping.generations(of: projection.name, on: connection),
            on: connection
        )
        try await live.adopt(on: connection)
        let number = GenerationRecord.next(
            after: try await Bookkeeping.generations(of: projection.name, on: connection),
            live: live
        )
        // Before anything is read of them: what changes after this is noticed at the cut-over.
        let liveShape =
            live.oids.isEmpty ? nil : try await LiveShape.digest(of: live.oids, on: connection)
        let created = try await ShadowSchema(
            projection: projection,
            generation: number,
            liveSchema: database.liveSchema,
            live: live
        ).create(on: connection, isForLoading: true)
        try assertApart(created, from: live)
        try await record(number, created, liveShape: liveShape, on: connection)
        return Loaded(number: number, created: created)
    }

    /// Copies the rows.
    ///
    /// The TRUNCATE of the empty tables is what allows FREEZE.
    private func copy(into loaded: inout Loaded, on connection: PostgresConnection) async throws {
        // Losing the load in a server crash loses nothing: the swap's own commit, which is
        // synchronous, flushes everything before it.
        try await connection.execute("SET LOCAL synchronous_commit = off")
        let names = tables.map { QualifiedName(schema: loaded.created.homeSchema, name: $0.name) }
        try await connection.query(
            """
            UPDATE reprise.generation
            SET load_xid = pg_catalog.pg_current_xact_id()::pg_catalog.text::pg_catalog.int8
            WHERE projection = $1 AND generation = $2
            """,
            [.text(projection.name), .int(Int64(loaded.number))]
        )
        try await connection.execute("TRUNCATE \(names.map(\.sql).joined(separator: ", "))")
        for ((table, name), binding) in zip(zip(tables, names), loaded.created.bindings) {
            let copy = RowCopy(table: table, binding: binding, target: name)
            let (rows, bytes) = try await copy.run(on: connection)
            loaded.rows[table.name] = rows
            loaded.bytes += bytes
            try await connection.query(
                """
                UPDATE reprise.generation_table SET row_count = $4
                WHERE projection = $1 AND generation = $2 AND table_name = $3
                """,
                [
                    .text(projection.name), .int(Int64(loaded.number)), .text(table.name),
                    .int(Int64(rows)),
                ]
            )
        }
    }

    private func assertApart(_ created: ShadowSchema.Created, from live: LiveTables) throws {
        let shared = Set(created.tables.map(\.oid)).intersection(live.oids)
        guard shared.isEmpty else {
            throw ReadModelError.changedMeanwhile(
                projection: projection.name,
                reason: "a shadow table is a live table"
            )
        }
    }

    private func record(
        _ number: Int,
        _ created: ShadowSchema.Created,
        liveShape: String?,
        on connection: PostgresConnection
    ) async throws {
        var record = GenerationRecord(
            projection: projection.name,
            number: number,
            state: .building,
            liveSchema: database.liveSchema,
            homeSchemaOID: created.homeSchemaOID,
            runID: run.id,
            tables: created.tables.map { table in
                .init(
                    name: table.name.name,
                    oid: table.oid,
                    shape: created.shapes[table.name.name]?.mapValues(\.value)
                )
            }
        )
        record.position = position
        record.events = events
        record.liveShape = liveShape
        try await Bookkeeping.insert(record, on: connection)
    }

    /// Builds indexes and constraints of different tables side by side, then foreign keys.
    func index(_ loaded: Loaded, jobs: Int) async throws {
        let definitions = loaded.created.definitions
        let queue = definitions.tables.sorted {
            (loaded.rows[$0.table] ?? 0, $1.table) > (loaded.rows[$1.table] ?? 0, $0.table)
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            var waiting = queue[...]
            for table in waiting.prefix(max(1, jobs)) {
                group.addTask { try await finish(table, in: loaded.created.homeSchema) }
            }
            waiting = waiting.dropFirst(max(1, jobs))
            while try await group.next() != nil {
                guard let table = waiting.popFirst() else { continue }
                group.addTask { try await finish(table, in: loaded.created.homeSchema) }
            }
        }
        // One transaction each: adding a foreign key locks the table it refers to against writes,
        // validating it does not.
        try await database.withConnection(as: "index", doing: "adding foreign keys") {
            for statement in definitions.foreignKeys {
                try await patiently(on: $0) { connection in
                    try await run([statement], in: loaded.created.homeSchema, on: connection)
                }
            }
        }
    }

    /// Runs `body` in a transaction, again when a lock was not to be had at once: whoever waits for
    /// long on a table of others holds up those who come after.
    private func patiently<Result: Sendable>(
        on connection: PostgresConnection,
        _ body: (PostgresConnection) async throws -> Result
    ) async throws -> Result {
        let lastAttempt = 100
        var attempt = 1
        while true {
            do {
                return try await connection.withTransaction { connection in
                    try await connection.execute("SET LOCAL lock_timeout = '200ms'")
                    return try await body(connection)
                }
            } catch let error as ServerError where error.isLockFailure && attempt < lastAttempt {
                attempt += 1
                try await Task.sleep(for: .milliseconds(Int.random(in: 50...500)))
            }
        }
    }

    private func finish(_ table: DeferredDefinitions.OfTable, in homeSchema: String) async throws {
        let name = QualifiedName(schema: homeSchema, name: table.table)
        let doing = "building the indexes of '\(table.table)'"
        try await database.withConnection(as: "index", doing: doing) { connection in
            try await connection.withTransaction {
                try await run(table.indexes + ["ANALYZE \(name.sql)"], in: homeSchema, on: $0)
            }
        }
    }

    private func run(
        _ statements: [String],
        in homeSchema: String,
        on connection: PostgresConnection
    ) async throws {
        try await connection.execute("SET LOCAL synchronous_commit = off")
        try await connection.setSearchPath([homeSchema, database.liveSchema])
        for statement in statements { try await connection.execute(statement) }
    }
}
