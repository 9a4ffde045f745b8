import Postgres
import ProjectionKit

/// Loads one generation.
struct GenerationLoad: Sendable {
    let database: ReadModelDatabase
    let projection: ProjectionTables
    let tables: [any LoadableTable]
    let origin: RowOrigin
    let run: Run

    private struct Created: Sendable {
        let number: Int
        let schema: ShadowSchema.Created
    }

    /// Makes the tables, then shares the work on them among connections.
    ///
    /// - Throws: As ``ReadModelDatabase/build(_:from:origin:run:jobs:)``.
    func perform(jobs: Int) async throws -> BuiltGeneration {
        let (created, loaded) = try await database.withConnection(
            as: "load",
            doing: "loading '\(projection.name)'"
        ) { connection in
            let created = try await patiently(on: connection) { try await create(on: $0) }
            try await run.record(generation: created.number)
            return (created, try await load(created, jobs: jobs, beginningOn: connection))
        }
        try await addForeignKeys(of: created)
        try await findOrphans(of: created)
        return BuiltGeneration(
            number: created.number,
            homeSchema: created.schema.homeSchema,
            rows: loaded.mapValues(\.rows),
            bytes: loaded.values.map(\.bytes).reduce(0, +),
            warnings: created.schema.findings.filter { $0.level == .warn }.map(\.text)
        )
    }

    /// Works on the tables until nothing is left to do, one task on the connection that is open
    /// already, the others on one of their own.
    private func load(
        _ created: Created,
        jobs: Int,
        beginningOn connection: PostgresConnection
    ) async throws -> [String: LoadedTable] {
        let queue = LoadQueue(
            zip(tables, created.schema.definitions.tables).map { table, definitions in
                LoadQueue.Table(name: table.name, rows: table.count, definitions: definitions)
            }
        )
        return try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 1..<max(1, min(jobs, queue.items)) {
                group.addTask {
                    try await queue.stoppingOnFailure {
                        try await database.withConnection(
                            as: "load \(number + 1)",
                            doing: "loading '\(projection.name)'"
                        ) { try await drain(queue, created, on: $0) }
                    }
                }
            }
            group.addTask {
                try await queue.stoppingOnFailure {
                    try await drain(queue, created, on: connection)
                }
            }
            // One by one: the first failure cancels what the others are at, which may take long.
            while try await group.next() != nil {}
            return await queue.loaded
        }
    }

    private func drain(
        _ queue: LoadQueue,
        _ created: Created,
        on connection: PostgresConnection
    ) async throws {
        while let item = await queue.next() {
            let name = tables[item.table].name
            let home = QualifiedName(schema: created.schema.homeSchema, name: name)
            switch item.work {
            case .copy:
                let loaded = try await translatingErrors(doing: "loading '\(name)'") {
                    try await connection.withTransaction {
                        try await copy(item.table, of: created, on: $0)
                    }
                }
                await queue.finish(item, loaded)
            case .build(let statements):
                try await build(statements, on: item.table, of: created, on: connection)
                await queue.finish(item)
            case .finish(let statements):
                try await build(
                    statements
                        + (isAnalyzedLate(item.table, of: created) ? ["ANALYZE \(home.sql)"] : []),
                    on: item.table,
                    of: created,
                    on: connection
                )
                await queue.finish(item)
            }
        }
    }

    // ANALYZE wants the lock that each CREATE INDEX keeps out. So it comes right behind the rows, where
    // another connection has other tables to work on, and behind the indexes only if it has to.
    private func isAnalyzedLate(_ table: Int, of created: Created) -> Bool {
        created.schema.definitions.tables[table].mayHaveExpressions
    }

    private func build(
        _ statements: [String],
        on index: Int,
        of created: Created,
        on connection: PostgresConnection
    ) async throws {
        guard !statements.isEmpty else { return }
        let table = tables[index]
        try await translatingErrors(doing: "building the indexes of '\(table.name)'") {
            do {
                try await connection.withTransaction {
                    try await run(statements, of: created, on: $0)
                }
            } catch let error as ServerError where error.isAboutRows {
                var row = RejectedRow(table: table.name, reason: "\(error)")
                row.mark = try? await mark(of: error, in: index, of: created, on: connection)
                throw ReadModelError.rowRejected(row)
            }
        }
    }

    /// The row that an error is about: the one whose place it says, or the first one whose key is too long
    /// for an index.
    private func mark(
        of error: ServerError,
        in index: Int,
        of created: Created,
        on connection: PostgresConnection
    ) async throws -> RowMark? {
        let (table, binding) = (tables[index], created.schema.bindings[index])
        let home = QualifiedName(schema: created.schema.homeSchema, name: table.name)
        var place = error.detail?.firstMatch(of: /\(\d+,\d+\)/).map { String($0.output) }
        if place == nil, error.sqlState == "54000" {
            // As the server has compressed them, which an index does as well. A third of a page is 2,704.
            let size = table.key.map { "pg_catalog.pg_column_size(\(SQLText.identifier($0)))" }
            place = try await connection.query(
                """
                SELECT ctid FROM \(home.sql) WHERE \(size.joined(separator: " + ")) > 2600
                ORDER BY ctid LIMIT 1
                """
            ).first?["ctid"]
        }
        guard let place else { return nil }
        let key = try await connection.keyFields(table.key, of: home, at: place)
        return key.flatMap { table.mark(ofKey: $0, as: binding.types) }
    }

    /// Makes schema and tables, in a transaction of its own: taking a foreign key off for the load
    /// locks the table it refers to until the end of the transaction, and that may be anybody's.
    private func create(on connection: PostgresConnection) async throws -> Created {
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
            homeSchema: try await HomeSchema.makeable(
                for: projection.name,
                generation: number,
                on: connection
            ),
            liveSchema: database.liveSchema,
            live: live
        ).create(on: connection, isForLoading: true)
        try assertApart(created, from: live)
        try await record(number, created, liveShape: liveShape, on: connection)
        return Created(number: number, schema: created)
    }

    /// Copies the rows of a table.
    ///
    /// The TRUNCATE of the empty table is what allows FREEZE.
    private func copy(
        _ index: Int,
        of created: Created,
        on connection: PostgresConnection
    ) async throws -> LoadedTable {
        // Losing the load in a server crash loses nothing: the swap's own commit, which is
        // synchronous, flushes everything before it.
        try await connection.execute("SET LOCAL synchronous_commit = off")
        let (table, description) = (tables[index], created.schema.tables[index])
        let name = QualifiedName(schema: created.schema.homeSchema, name: table.name)
        let found = try await Catalogue.table(name, on: connection)
        guard found?.oid == description.oid else {
            throw ReadModelError.changedMeanwhile(
                projection: projection.name,
                reason: "\(name.sql) is no longer the table that was made for the load"
            )
        }
        try await connection.execute("TRUNCATE \(name.sql)")
        let code = try await OthersCode(of: [description.oid], on: connection)
        let operation = code.operation(.writing, description.oid)
        let (rows, bytes) = try await RowCopy(
            table: table,
            binding: created.schema.bindings[index],
            target: name
        ).run(as: operation, on: connection)
        if !isAnalyzedLate(index, of: created) {
            try await connection.execute("ANALYZE \(name.sql)")
        }
        try await record(rows: rows, of: table.name, in: created.number, on: connection)
        return LoadedTable(rows: rows, bytes: bytes)
    }

    /// The generation's row is the last that is locked: other tables are being copied.
    private func record(
        rows: Int,
        of table: String,
        in generation: Int,
        on connection: PostgresConnection
    ) async throws {
        try await connection.query(
            """
            UPDATE reprise.generation_table SET row_count = $4
            WHERE projection = $1 AND generation = $2 AND table_name = $3
            """,
            [
                .text(projection.name), .int(Int64(generation)), .text(table), .int(Int64(rows)),
            ]
        )
        // The latest of the transactions whose rows are frozen: a snapshot that is younger than this
        // one is younger than all.
        try await connection.query(
            """
            UPDATE reprise.generation SET load_xid = GREATEST(load_xid,
                pg_catalog.pg_current_xact_id()::pg_catalog.text::pg_catalog.int8)
            WHERE projection = $1 AND generation = $2
            """,
            [.text(projection.name), .int(Int64(generation))]
        )
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
            homeSchema: created.homeSchema,
            homeSchemaOID: created.homeSchemaOID,
            runID: run.id,
            tables: created.tables.map { table in
                .init(
                    name: table.name.name,
                    oid: table.oid,
                    shape: created.shapes[table.name.name]?.mapValues(\.value),
                    foreignKeys: created.foreignKeys.filter { $0.table == table.name.name }
                )
            }
        )
        record.position = origin.position.map { "\($0)" }
        record.events = origin.events
        record.liveShape = liveShape
        record.builtBy = database.identity(of: projection)
        record.origin = origin
        try await Bookkeeping.insert(record, on: connection)
    }

    /// One transaction each: adding a foreign key locks the table it refers to against writes,
    /// validating it does not.
    private func addForeignKeys(of created: Created) async throws {
        let statements = created.schema.definitions.foreignKeys
        guard !statements.isEmpty else { return }
        try await database.withConnection(as: "index", doing: "adding foreign keys") {
            for statement in statements {
                try await patiently(on: $0) { connection in
                    guard let owner = try await keyReader(of: created, on: connection) else {
                        return try await run([statement], of: created, on: connection)
                    }
                    let home = created.schema.homeSchema
                    try await owner.define([statement], in: home, on: connection)
                }
            }
        }
    }

    /// As whom keys between the tables are validated, which plans queries of them; nil where this role
    /// does no harm by it.
    private func keyReader(
        of created: Created,
        on connection: PostgresConnection
    ) async throws -> RestrictedOperation? {
        let oids = created.schema.tables.map(\.oid)
        let code = try await OthersCode(of: oids, on: connection)
        guard let owner = code.readingOwners.first else { return nil }
        guard oids.allSatisfy({ code.owner(of: $0)?.owner == owner }) else {
            throw ReadModelError.checkFailed(
                projection: projection.name,
                generation: created.number,
                reasons: [
                    "foreign keys between the tables would run code that \(owner) has put onto one with "
                        + "the rights of the owner of another: give the tables one owner"
                ]
            )
        }
        return RestrictedOperation(owner: owner)
    }

    /// Fails when rows have no parent in a table of others: the key itself is made when the tables go
    /// live.
    private func findOrphans(of created: Created) async throws {
        let keys = created.schema.foreignKeys
        guard !keys.isEmpty else { return }
        let orphans = try await database.withConnection(as: "index", doing: "looking for parents") {
            try await $0.withTransaction {
                try await OutgoingForeignKey.orphans(
                    of: keys,
                    in: created.schema.homeSchema,
                    on: $0
                )
            }
        }
        guard orphans.isEmpty else {
            throw ReadModelError.checkFailed(
                projection: projection.name,
                generation: created.number,
                reasons: orphans
            )
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

    private func run(
        _ statements: [String],
        of created: Created,
        on connection: PostgresConnection
    ) async throws {
        try await connection.execute("SET LOCAL synchronous_commit = off")
        try await connection.setSearchPath(list: created.schema.searchPath)
        for statement in statements { try await connection.execute(statement) }
    }
}
