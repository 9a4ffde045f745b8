import Postgres
import ProjectionKit
import Synchronization

/// Writes the changed rows of a fold into tables that hold its earlier rows, on one session.
///
/// Rows travel by binary COPY into staging tables of the session, and from there by one DELETE,
/// UPDATE and INSERT a table. What a fold says it updates or deletes has to be there as the fold knows
/// it, and what it inserts must not: the numbers are compared, so that rows which somebody else has
/// changed are found here and not by a reader.
struct RowExchange: Sendable {
    /// The projection's name.
    let projection: String
    /// The tables, in the order in which the projection declares them.
    let tables: [ExchangedTable]
    /// The same, those that others refer to by foreign keys before those that refer to them.
    private let parentsFirst: [ExchangedTable]
    /// Whether a check of the tables can wait that does not do so by itself.
    private let isDeferrable: Bool
    /// Makes the session's staging tables, outside or inside a transaction.
    ///
    /// - Parameters:
    ///   - projection: Whose tables.
    ///   - schema: Where the tables are now.
    ///   - connection: The session that is going to write.
    /// - Throws: ``ReadModelError/refusedByPlan(projection:reasons:)`` when a table does not fit its
    ///   row type; what the server says.
    init(
        of projection: ProjectionTables,
        in schema: String,
        on connection: PostgresConnection
    ) async throws {
        var tables: [ExchangedTable] = []
        for (number, declared) in projection.tables.enumerated() {
            tables.append(
                try await ExchangedTable(
                    declared,
                    number: number,
                    name: QualifiedName(schema: schema, name: declared.name),
                    projection: projection.name,
                    on: connection
                )
            )
        }
        self.projection = projection.name
        self.tables = tables
        let order = try await ForeignKeyOrder.parentsFirst(tables.map(\.oid), on: connection)
        parentsFirst = order.compactMap { oid in tables.first { $0.oid == oid } }
        isDeferrable = try await !connection.query(
            """
            SELECT FROM pg_catalog.pg_constraint
            WHERE conrelid = ANY ($1::pg_catalog.oid[]) AND condeferrable AND NOT condeferred
            """,
            [.ints(tables.map { Int64($0.oid) })]
        ).rows.isEmpty
    }

    /// The OIDs of the tables.
    var oids: [UInt32] { tables.map(\.oid) }

    /// Writes what the fold's journal holds, in the open transaction.
    ///
    /// The journal is left as it is: whoever commits settles it.
    ///
    /// - Returns: What was done, by table name.
    /// - Throws: ``ReadModelError/rowRejected(_:)``,
    ///   ``ReadModelError/otherRows(projection:table:reason:)``,
    ///   ``ReadModelError/refusedByPlan(projection:reasons:)`` with what would run with this role's
    ///   rights, or changes other rows along.
    func write(
        _ fold: any Fold,
        on connection: PostgresConnection
    ) async throws -> [String: TableChanges] {
        let code = try await othersCode(on: connection)
        try await assertNone(of: Hazard.ofWriting(oids, on: connection))
        let effects = try await SideEffects(of: oids, on: connection)
        let writers = tables.map { table in
            RowWriter(
                table: table.oid,
                projection: projection,
                operation: code.operation(.writing, table.oid),
                effects: effects
            )
        }
        let writing = Dictionary(uniqueKeysWithValues: zip(oids, writers))
        var changes: [String: TableChanges] = [:]
        for table in tables {
            let rows = fold.table(named: table.name.name)
            changes[table.name.name] = try await table.stage(rows, on: connection)
        }
        try await assertNone(
            of: Hazard.ofCascades(
                from: oids,
                deleting: changes.values.contains { $0.deleted > 0 || $0.isReplaced },
                updating: changes.values.contains { $0.updated > 0 },
                on: connection
            )
        )
        let first = oids.first ?? 0
        try await withoutConflict(leaving: leaving(changes), on: connection) { last, isDeferred in
            try await apply(changes, of: fold, last: last, writing, on: connection)
            guard isDeferred || effects.canWait else { return }
            try await effects.settle(first, of: projection, on: connection)
        }
        return changes
    }

    /// Tables that others refer to, and of which rows go.
    private func leaving(_ changes: [String: TableChanges]) -> Set<UInt32> {
        guard !changes.values.contains(where: \.isReplaced) else { return [] }
        return Set(
            parentsFirst.filter { table in
                table.isReferredTo && (changes[table.name.name]?.deleted ?? 0) > 0
            }.map(\.oid)
        )
    }

    /// Writes in another order where rows are in the way of each other.
    ///
    /// A parent leaves after its children have found another one; but before one that takes over a
    /// unique value of it; and what can be deferred is where no order will do.
    ///
    /// - Parameters:
    ///   - leaving: Tables whose rows go when all others have come, if that can be.
    ///   - connection: Inside a transaction.
    ///   - write: Writes; it gets the tables whose rows go last, and whether checks wait until it ends
    ///     that.
    /// - Throws: What the last attempt throws that knows the row.
    private func withoutConflict(
        leaving: Set<UInt32>,
        on connection: PostgresConnection,
        _ write: (_ last: Set<UInt32>, _ isDeferred: Bool) async throws -> Void
    ) async throws {
        var orders: [(last: Set<UInt32>, isDeferred: Bool)] = [(leaving, false)]
        if !leaving.isEmpty { orders.append(([], false)) }
        if isDeferrable { orders.append(([], true)) }
        guard orders.count > 1 else { return try await write(leaving, false) }
        var rejection: (any Error)?
        for order in orders {
            try await connection.execute("SAVEPOINT reprise_write")
            do {
                if order.isDeferred {
                    try await connection.execute("SET CONSTRAINTS ALL DEFERRED")
                }
                try await write(order.last, order.isDeferred)
                try await connection.execute("RELEASE SAVEPOINT reprise_write")
                return
            } catch let error as ReadModelError {
                guard case .rowRejected = error else { throw error }
                rejection = error
            } catch let error as ServerError where order.isDeferred && error.isAboutRows {
                rejection = rejection ?? error
            }
            try await connection.execute(
                "ROLLBACK TO SAVEPOINT reprise_write; RELEASE SAVEPOINT reprise_write"
            )
        }
        if let rejection { throw rejection }
    }

    private func assertNone(of refusals: [Finding]) throws {
        guard !refusals.isEmpty else { return }
        throw ReadModelError.refusedByPlan(projection: projection, reasons: refusals.map(\.text))
    }

    /// Children go before their parents, and come after them.
    ///
    /// - Parameters:
    ///   - changes: What is staged, by table name.
    ///   - fold: What it came from.
    ///   - last: OIDs of tables whose rows go when all others have come.
    ///   - writers: Who writes, by the table's OID.
    ///   - connection: Where they are staged.
    /// - Throws: As ``write(_:on:)``.
    private func apply(
        _ changes: [String: TableChanges],
        of fold: any Fold,
        last: Set<UInt32> = [],
        _ writers: [UInt32: RowWriter],
        on connection: PostgresConnection
    ) async throws {
        for table in parentsFirst.reversed() where !last.contains(table.oid) {
            guard let change = changes[table.name.name], let writer = writers[table.oid] else {
                continue
            }
            try await table.delete(change, by: writer, on: connection)
        }
        for table in parentsFirst {
            guard let change = changes[table.name.name], let writer = writers[table.oid] else {
                continue
            }
            try await table.marking(fold.table(named: table.name.name)) {
                try await table.update(change, by: writer, on: connection)
                try await table.insert(change, by: writer, on: connection)
                try await table.assertUnchangedByTriggers(change, projection, on: connection)
            }
        }
        for table in parentsFirst.reversed() where last.contains(table.oid) {
            guard let change = changes[table.name.name], let writer = writers[table.oid] else {
                continue
            }
            try await table.delete(change, by: writer, on: connection)
        }
    }

    /// What others have put onto the tables, which the lock keeps as it is until the end of the
    /// transaction: CREATE INDEX CONCURRENTLY as well waits for it before its index is used.
    private func othersCode(on connection: PostgresConnection) async throws -> OthersCode {
        let names = tables.map(\.name.sql).joined(separator: ", ")
        try await connection.execute("LOCK TABLE \(names) IN ROW EXCLUSIVE MODE")
        let code = try await OthersCode(of: oids, on: connection)
        for table in tables {
            guard let writer = code.operation(.writing, table.oid) else { continue }
            try await table.admit(writer, on: connection)
        }
        return code
    }

    /// Why a fold cannot go on from the tables' rows, as a clause; nil when it can.
    func obstacleToReadingBack(_ fold: any Fold) -> String? {
        if let obstacle = fold.obstacleToReadingBack { return obstacle }
        for table in tables {
            if let obstacle = table.obstacleToReadingBack { return obstacle }
        }
        return nil
    }

    /// Gives the fold's tables the rows that they want, in the open transaction.
    ///
    /// - Throws: ``ReadModelError/rowRejected(_:)``.
    func fetch(for fold: any Fold, on connection: PostgresConnection) async throws {
        let code = try await othersCode(on: connection)
        for table in tables {
            try await table.fetch(
                fold.table(named: table.name.name),
                as: code.operation(.reading, table.oid),
                on: connection
            )
        }
    }
}

/// Changes rows of one table, as the role that may evaluate what is on it.
private struct RowWriter: Sendable {
    let table: UInt32
    let projection: String
    /// As whom; nil where that is this role.
    let operation: RestrictedOperation?
    let effects: SideEffects

    /// Runs an INSERT, UPDATE or DELETE.
    ///
    /// - Parameters:
    ///   - statement: Without RETURNING.
    ///   - expression: Takes the rows out that the statement puts in again, as `gone AS (…)`.
    ///   - connection: Inside a transaction.
    /// - Returns: How many rows it changed.
    /// - Throws: ``ServerError``; as ``SideEffects/watch(writing:of:on:_:)``.
    func change(
        _ statement: String,
        with expression: String? = nil,
        on connection: PostgresConnection
    ) async throws -> Int {
        let changesOfRow = expression == nil ? 1 : 2
        return try await effects.watch(writing: table, of: projection, on: connection) {
            if let operation {
                return try await operation.change(statement, with: expression, on: connection)
                    * changesOfRow
            }
            let statement = "\(expression.map { "WITH \($0) " } ?? "")\(statement)"
            return try await connection.execute(statement).affectedRows * changesOfRow
        } / changesOfRow
    }
}

/// One table, and the session's staging table for its changed rows.
///
/// Tables that inherit from it are left alone: what is on those is not what was asked about.
struct ExchangedTable: Sendable {
    let name: QualifiedName
    let oid: UInt32
    let binding: TableBinding
    /// PostgreSQL's MaxHeapAttributeNumber, less what a staged row has besides its own columns.
    static let mostColumns = 1_598

    /// The columns of the key.
    let key: [String]
    /// Why rows cannot be read back as they were written, as a clause; nil when they can.
    var obstacleToReadingBack: String? {
        hasKeyIndex
            ? lossyColumns.first.map {
                "the column \(name.name).\($0) does not keep every value as it was written"
            }
            : "no primary key or unique constraint of \(name.name) covers exactly its key"
    }

    private let lossyColumns: [String]
    /// Triggers that can change a row on its way into the table.
    private let triggers: [String]
    private let staging: StagingTable
    private let keyStaging: StagingTable
    private let rowStaging: StagingTable
    /// The staging table's column for what is to be done.
    private let changeColumn: String
    /// The staging table's column for what a row was before, a composite value.
    private let earlierColumn: String
    /// The temporary table whose row type that is, and the types of its columns.
    private let earlierRow: StagingTable
    private let earlierTypes: [UInt32]
    /// Columns that no UPDATE sets.
    private let fixedColumns: Set<String>
    /// Columns that the row type does not declare and that are not generated.
    private let otherColumns: [String]
    /// Columns of the key whose collation takes different texts for the same.
    private let looseKey: Set<String>
    /// Columns of the key that can be NULL.
    private let nullableKey: Set<String>
    private let hasKeyIndex: Bool
    /// By other tables, or by itself.
    fileprivate let isReferredTo: Bool
    /// By a foreign key that does something to the rows that refer to one which is deleted.
    private let isGuarded: Bool

    fileprivate init(
        _ declared: any LoadableTable,
        number: Int,
        name: QualifiedName,
        projection: String,
        on connection: PostgresConnection
    ) async throws {
        guard let real = try await Catalogue.table(name, on: connection) else {
            throw ReadModelError.changedMeanwhile(
                projection: projection,
                reason: "there is no table \(name.sql)"
            )
        }
        let uniqueKeys = try await connection.uniqueKeys(of: real.oid)
        let match = TableBinding.match(
            declared,
            with: real,
            labels: try await connection.enumLabels(of: real.oid),
            uniqueKeys: uniqueKeys
        )
        guard let binding = match.binding else {
            throw ReadModelError.refusedByPlan(projection: projection, reasons: match.refusals)
        }
        self.name = name
        oid = real.oid
        self.binding = binding
        key = declared.key
        nullableKey = Set(
            zip(declared.columnNames, declared.columnValues).filter(\.1.isNullable).map(\.0)
        ).intersection(declared.key)
        hasKeyIndex = uniqueKeys.contains { Set($0) == Set(declared.key) }
        lossyColumns = try await ColumnKeeping(table: real.oid, binding: binding)
            .lossyColumns(on: connection)
        triggers = try await connection.query(
            ColumnKeeping.triggersQuery,
            [.ints([Int64(real.oid)])]
        ).rows.map { try $0.string("subject") }
        // Numbers that are equal can be written in several ways: 1.0 and 1.00, 0 and -0.
        let exact = zip(binding.columns, binding.types)
            .filter { ![.float4, .float8, .numeric].contains($0.1) }.map(\.0)
        let facts = try await TableFacts(of: real.oid, on: connection)
        fixedColumns = facts.identities.union(Set(declared.key).intersection(exact))
        otherColumns = real.columns.filter { column in
            !column.isGenerated && !binding.columns.contains(column.name)
        }.map(\.name)
        looseKey = facts.looseColumns.intersection(declared.key)
        isReferredTo = facts.isReferredTo
        isGuarded = facts.isGuarded
        changeColumn = Self.freeName("change", among: binding.columns)
        earlierColumn = Self.freeName("earlier", among: binding.columns)
        staging = StagingTable("reprise_changes_\(number)")
        keyStaging = StagingTable("reprise_keys_\(number)")
        rowStaging = StagingTable("reprise_rows_\(number)")
        earlierRow = StagingTable("reprise_earlier_\(number)")
        try await connection.execute(
            "DROP TABLE IF EXISTS \(staging.name.sql), \(keyStaging.name.sql), \(earlierRow.name.sql)"
        )
        try await earlierRow.make(
            for: real.oid,
            binding.columns,
            passing: binding.casts,
            onCommit: "DELETE ROWS",
            on: connection
        )
        earlierTypes = try await earlierRow.columnTypes(on: connection)
        try await makeStaging(on: connection)
    }

    private func makeStaging(on connection: PostgresConnection) async throws {
        let ending = "DELETE ROWS"
        try await keyStaging.make(for: oid, key, onCommit: ending, on: connection)
        try await staging.make(
            for: oid,
            binding.columns,
            passing: binding.casts,
            behind: "\(SQLText.identifier(changeColumn)) pg_catalog.int2",
            before: "\(SQLText.identifier(earlierColumn)) \(earlierRow.name.sql)",
            onCommit: ending,
            on: connection
        )
    }

    /// Lets a role read what is staged.
    fileprivate func admit(
        _ operation: RestrictedOperation,
        on connection: PostgresConnection
    ) async throws {
        try await staging.grant("SELECT", to: operation, on: connection)
        try await keyStaging.grant("SELECT", to: operation, on: connection)
    }

    private static func freeName(_ name: String, among columns: [String]) -> String {
        columns.contains(name) ? freeName(name + "_", among: columns) : name
    }
}

extension ExchangedTable {
    private var columnList: String {
        binding.columns.map(SQLText.identifier).joined(separator: ", ")
    }

    /// The staged rows, with the alias `s`.
    private var staged: String {
        staging.rows([changeColumn] + binding.columns + [earlierColumn], casting: binding.casts)
    }

    private var keyList: String { key.map(SQLText.identifier).joined(separator: ", ") }

    /// Rows of the table that are staged with a change.
    private func isStaged(_ change: RowChange) -> String {
        "s.\(SQLText.identifier(changeColumn)) = \(change.rawValue) AND \(sameKey("t", "s"))"
    }

    /// Whether rows of two aliases have the same key.
    private func sameKey(_ one: String, _ other: String) -> String {
        key.map { column in
            let name = SQLText.identifier(column)
            var isEqual = "\(one).\(name) = \(other).\(name)"
            if looseKey.contains(column) {
                let bytes = "COLLATE pg_catalog.\"C\""
                isEqual += " AND \(one).\(name) \(bytes) = \(other).\(name) \(bytes)"
            }
            guard nullableKey.contains(column) else { return isEqual }
            // IS NOT DISTINCT FROM would use no index.
            return "(\(isEqual) OR \(one).\(name) IS NULL AND \(other).\(name) IS NULL)"
        }.joined(separator: " AND ")
    }

    /// Sends the changed rows of the fold's table.
    fileprivate func stage(
        _ rows: any LoadableTable,
        on connection: PostgresConnection
    ) async throws -> TableChanges {
        try await RowCopy.namingRows(of: name.name) {
            var buffer = RowBuffer(capacity: 1 << 16)
            buffer.appendCopyHeader()
            let changes = try rows.encodeChanges(
                as: binding.types,
                earlierAs: earlierTypes,
                into: &buffer
            )
            guard changes.rows > 0 else { return changes }
            buffer.append(Int16(-1))
            let columns = ([changeColumn] + binding.columns + [earlierColumn])
                .map(SQLText.identifier).joined(separator: ", ")
            let bytes = SentBytes(buffer: buffer)
            try await connection.copyIn(
                "COPY \(staging.name.sql) (\(columns)) FROM STDIN WITH (FORMAT binary)"
            ) { try bytes.send(by: $0) }
            if changes.rows > Self.fewRows {
                try await connection.execute("ANALYZE \(staging.name.sql)")
            }
            return changes
        }
    }

    /// Each of so few staged rows is looked up in the index; of more the planner is told how many
    /// there are.
    private static let fewRows = 5_000

    /// What the planner cannot know of staged rows, as statements in front of the one that joins them.
    private func joins(of rows: Int) -> String {
        let joins = rows > Self.fewRows || !hasKeyIndex ? "on" : "off"
        return "SET LOCAL enable_hashjoin = \(joins); SET LOCAL enable_mergejoin = \(joins);"
    }

    /// Reads the rows of the keys that the fold's table wants.
    fileprivate func fetch(
        _ rows: any LoadableTable,
        as reader: RestrictedOperation?,
        on connection: PostgresConnection
    ) async throws {
        guard rows.wantedKeys > 0 else { return }
        try await RowCopy.namingRows(of: name.name) {
            try await sendKeys(of: rows, on: connection)
            let received = Mutex<[UInt8]>([])
            let query = try await wantedRows(as: reader, on: connection)
            try await connection.copyOut("COPY (\(query)) TO STDOUT WITH (FORMAT binary)") {
                piece in
                received.withLock { $0.append(contentsOf: piece) }
            }
            let bytes = received.withLock { $0 }
            try rows.admitWantedRows(as: binding.types) { admit in
                var parser = BinaryRows(fieldCount: binding.columns.count)
                try bytes.withUnsafeBytes { try parser.take($0, admit) }
                try parser.finish()
            }
        }
    }

    /// A query of the rows whose keys were sent.
    private func wantedRows(
        as reader: RestrictedOperation?,
        on connection: PostgresConnection
    ) async throws -> String {
        let columns = binding.columns.map { column in
            "t.\(SQLText.identifier(column))"
                + (binding.casts[column] == nil ? "" : "::pg_catalog.text")
        }.joined(separator: ", ")
        let query = """
            SELECT \(columns) FROM \(keyStaging.name.sql) AS k JOIN ONLY \(name.sql) AS t
                ON \(sameKey("t", "k"))
            """
        guard let reader else { return query }
        try await connection.execute("DROP TABLE IF EXISTS \(rowStaging.name.sql)")
        try await rowStaging.make(
            for: oid,
            binding.columns,
            passing: binding.casts,
            onCommit: "DROP",
            on: connection
        )
        try await rowStaging.grant("INSERT", to: reader, on: connection)
        _ = try await reader.change("INSERT INTO \(rowStaging.name.sql) \(query)", on: connection)
        return "SELECT * FROM \(rowStaging.name.sql)"
    }

    private func sendKeys(
        of rows: any LoadableTable,
        on connection: PostgresConnection
    ) async throws {
        var buffer = RowBuffer(capacity: 1 << 12)
        buffer.appendCopyHeader()
        try rows.encodeWantedKeys(as: binding.types, into: &buffer)
        buffer.append(Int16(-1))
        let bytes = SentBytes(buffer: buffer)
        // Keys that were asked for before in this transaction.
        try await connection.execute("DELETE FROM \(keyStaging.name.sql)")
        try await connection.copyIn(
            "COPY \(keyStaging.name.sql) (\(keyList)) FROM STDIN WITH (FORMAT binary)"
        ) { try bytes.send(by: $0) }
        let analyze = rows.wantedKeys > Self.fewRows ? "ANALYZE \(keyStaging.name.sql);" : ""
        try await connection.execute("\(analyze) \(joins(of: rows.wantedKeys))")
    }

    /// Whether the row of the alias `t` is as the fold knew it, by the staged columns of `s`.
    ///
    /// Those of the key are the same by what joins the two.
    private func isAsKnown(_ staged: (_ column: String) -> String) -> String {
        zip(binding.columns, binding.types).filter { !key.contains($0.0) }
            .map { column, type in
                // There is no operator that compares two values of the type json or xml, nor of each type
                // that others bring.
                let cast =
                    [.json, .jsonArray, .xml, .passed].contains(type) ? "::pg_catalog.text" : ""
                return "t.\(SQLText.identifier(column))\(cast) IS NOT DISTINCT FROM "
                    + "\(staged(column))\(cast)"
            }.map { " AND \($0)" }.joined()
    }

    /// The staged value of a column.
    private func new(_ column: String) -> String { "s.\(SQLText.identifier(column))" }

    /// What a row to update had there before.
    private func earlier(_ column: String) -> String {
        let value = "(s.\(SQLText.identifier(earlierColumn))).\(SQLText.identifier(column))"
        return binding.casts[column].map { "(\(value)::\($0))" } ?? value
    }

    fileprivate func delete(
        _ changes: TableChanges,
        by writer: RowWriter,
        on connection: PostgresConnection
    ) async throws {
        try await RowCopy.namingRows(of: name.name) {
            if changes.isReplaced {
                _ = try await writer.change("DELETE FROM ONLY \(name.sql)", on: connection)
            }
            guard changes.deleted > 0 else { return }
            try await connection.execute(joins(of: changes.rows))
            let deleted = try await writer.change(
                "DELETE FROM ONLY \(name.sql) AS t USING \(staged) "
                    + "WHERE \(isStaged(.delete))\(isAsKnown(new))",
                on: connection
            )
            try assert(deleted, is: changes.deleted, "to delete", writer.projection)
        }
    }

    fileprivate func update(
        _ changes: TableChanges,
        by writer: RowWriter,
        on connection: PostgresConnection
    ) async throws {
        guard changes.updated > 0 else { return }
        let columns = binding.columns.filter { !fixedColumns.contains($0) }
        let settings = columns.map(SQLText.identifier).map { "\($0) = s.\($0)" }
        guard !settings.isEmpty else { return }
        let statement = """
            UPDATE ONLY \(name.sql) AS t SET \(settings.joined(separator: ", "))
            FROM \(staged)
            WHERE \(isStaged(.update))\(isAsKnown(earlier))
            """
        do {
            try await connection.execute("\(joins(of: changes.rows)) SAVEPOINT reprise_update")
            let updated = try await writer.change(statement, on: connection)
            try await connection.execute("RELEASE SAVEPOINT reprise_update")
            try assert(updated, is: changes.updated, "to update", writer.projection)
        } catch let error as ServerError where error.isAboutRows {
            try await connection.execute("ROLLBACK TO SAVEPOINT reprise_update")
            // Two rows that exchange a value cannot do so by UPDATE, which looks after each.
            if ["23505", "23P01"].contains(error.sqlState), !isGuarded {
                return try await exchange(changes, by: writer, on: connection)
            }
            throw try await rejection(error, of: .update, by: writer, on: connection) { further in
                _ = try await writer.change("\(statement) AND \(further)", on: connection)
            }
        }
    }

    /// Takes updated rows out and puts them in again in one statement, at whose end the server looks
    /// whether a row that others refer to is there.
    private func exchange(
        _ changes: TableChanges,
        by writer: RowWriter,
        on connection: PostgresConnection
    ) async throws {
        let others = otherColumns.map(SQLText.identifier)
        let kept = (key.map(SQLText.identifier) + others).map { "t.\($0)" }
        let target = (binding.columns.map(SQLText.identifier) + others).joined(separator: ", ")
        let source =
            binding.columns.map { "s.\(SQLText.identifier($0))" } + others.map { "t.\($0)" }
        let gone = """
            gone AS (
                DELETE FROM ONLY \(name.sql) AS t USING \(staged)
                WHERE \(isStaged(.update))\(isAsKnown(earlier))
                RETURNING \(kept.joined(separator: ", ")))
            """
        // All of them are gone before the first comes: the number is asked for first.
        let statement = """
            INSERT INTO \(name.sql) (\(target)) OVERRIDING SYSTEM VALUE
            SELECT \(source.joined(separator: ", ")) FROM \(staged)
            JOIN gone AS t ON \(isStaged(.update))
            WHERE (SELECT pg_catalog.count(*) FROM gone) >= 0
            """
        do {
            let rows = try await writer.change(statement, with: gone, on: connection)
            try await connection.execute("RELEASE SAVEPOINT reprise_update")
            try assert(rows, is: changes.updated, "to update", writer.projection)
        } catch let error as ServerError where error.isAboutRows {
            try await connection.execute("ROLLBACK TO SAVEPOINT reprise_update")
            throw ReadModelError.rowRejected(RejectedRow(table: name.name, reason: "\(error)"))
        } catch let error as ServerError where error.sqlState == "0A000" {
            throw writer.effects.rulesInTheWay(of: writer.projection)
        }
    }

    fileprivate func insert(
        _ changes: TableChanges,
        by writer: RowWriter,
        on connection: PostgresConnection
    ) async throws {
        guard changes.inserted > 0 else { return }
        let isInserted = "s.\(SQLText.identifier(changeColumn)) = \(RowChange.insert.rawValue)"
        let statement = """
            INSERT INTO \(name.sql) (\(columnList)) OVERRIDING SYSTEM VALUE
            SELECT \(columnList) FROM \(staged) WHERE \(isInserted)
            """
        do {
            try await connection.execute("SAVEPOINT reprise_insert")
            let rows = try await writer.change(statement, on: connection)
            try await connection.execute("RELEASE SAVEPOINT reprise_insert")
            // Nothing else can keep a row from being inserted without an error.
            if rows != changes.inserted, !triggers.isEmpty {
                throw changedByTriggers(writer.projection)
            }
            try assert(rows, is: changes.inserted, "to insert", writer.projection)
        } catch let error as ServerError where error.isAboutRows {
            try await connection.execute("ROLLBACK TO SAVEPOINT reprise_insert")
            let known = try await rowsThatAreThere(by: writer, on: connection)
            guard known == 0 else {
                throw ReadModelError.otherRows(
                    projection: writer.projection,
                    table: name.sql,
                    reason: "of \(changes.inserted) rows to insert \(known) were there already"
                )
            }
            throw try await rejection(error, of: .insert, by: writer, on: connection) { further in
                _ = try await writer.change("\(statement) AND \(further)", on: connection)
            }
        }
    }

    /// What triggers change is in no rebuild, so that rows would depend on how they came.
    fileprivate func assertUnchangedByTriggers(
        _ changes: TableChanges,
        _ projection: String,
        on connection: PostgresConnection
    ) async throws {
        let written = changes.inserted + changes.updated
        guard !triggers.isEmpty, written > 0 else { return }
        let rows = try await connection.query(
            """
            SELECT pg_catalog.count(*) AS rows FROM \(staged)
            JOIN ONLY \(name.sql) AS t ON \(sameKey("t", "s"))\(isAsKnown(new))
            WHERE s.\(SQLText.identifier(changeColumn)) <> \(RowChange.delete.rawValue)
            """
        ).first?.int("rows")
        guard rows != Int64(written) else { return }
        throw changedByTriggers(projection)
    }

    private func changedByTriggers(_ projection: String) -> ReadModelError {
        .refusedByPlan(
            projection: projection,
            reasons: triggers.map {
                "\($0): it changes rows on their way into the table, and a rebuild loads them without "
                    + "it. Let the reducer do that, or make it an AFTER trigger on another table."
            }
        )
    }

    /// Rows among those to be inserted whose key is in the table.
    private func rowsThatAreThere(
        by writer: RowWriter,
        on connection: PostgresConnection
    ) async throws -> Int {
        // Who writes need not be one who may read.
        guard writer.operation == nil else { return 0 }
        let row = try await connection.query(
            """
            SELECT pg_catalog.count(*) AS rows FROM \(staged)
            JOIN ONLY \(name.sql) AS t ON \(isStaged(.insert))
            """
        ).first
        return try Int(row?.int("rows") ?? 0)
    }

    /// What is said of a row that the server does not take, with the row.
    private func rejection(
        _ error: ServerError,
        of change: RowChange,
        by writer: RowWriter,
        on connection: PostgresConnection,
        _ write: @escaping @Sendable (_ further: String) async throws -> Void
    ) async throws -> StagedRejection {
        let search = StagedRowSearch(
            staging: staging.name,
            condition: "s.\(SQLText.identifier(changeColumn)) = \(change.rawValue)",
            write: write
        )
        return StagedRejection(
            reason: error.sqlState == "23503" ? Self.keyInTheWay(error, of: writer) : "\(error)",
            key: try await search.key(key, on: connection)
        )
    }

    private static func keyInTheWay(_ error: ServerError, of writer: RowWriter) -> String {
        let text = "\(error)"
        return text + (text.hasSuffix(".") ? "" : ".")
            + " Where a rebuild takes the row, rows on both ends of the foreign key change at once: make "
            + "the key DEFERRABLE"
            + (writer.operation.map {
                ", and let this role own the table, because what \($0.owner) owns is checked at once"
            } ?? "")
    }

    /// Adds the mark of the row to what is said of one that the server does not take.
    fileprivate func marking(
        _ rows: any LoadableTable,
        _ body: () async throws -> Void
    ) async throws {
        do {
            try await body()
        } catch let rejection as StagedRejection {
            let mark = rejection.key.flatMap { rows.mark(ofKey: $0, as: binding.types) }
            throw ReadModelError.rowRejected(
                RejectedRow(table: name.name, reason: rejection.reason, mark: mark)
            )
        }
    }

    private func assert(
        _ found: Int,
        is expected: Int,
        _ doing: String,
        _ projection: String
    ) throws {
        guard found != expected else { return }
        throw ReadModelError.otherRows(
            projection: projection,
            table: name.sql,
            reason: "of \(expected) rows \(doing) there were \(found) as they were written"
        )
    }
}

/// A staged row that the server does not take.
private struct StagedRejection: Error {
    let reason: String
    /// Its encoded key; nil where it is not known which one it is.
    let key: [UInt8]?
}

/// What an exchange of rows has to know of a table, besides its columns.
private struct TableFacts {
    /// Columns that are GENERATED ALWAYS AS IDENTITY.
    let identities: Set<String>
    /// Columns whose collation takes different texts for the same.
    let looseColumns: Set<String>
    /// Whether foreign keys refer to it.
    let isReferredTo: Bool
    /// Whether one of these does something to the rows that refer to one which is deleted.
    let isGuarded: Bool

    init(of oid: UInt32, on connection: PostgresConnection) async throws {
        let columns = try await connection.query(
            """
            SELECT a.attname, a.attidentity = 'a' AS identity, coalesce(NOT l.collisdeterministic,
                false) AS loose
            FROM pg_catalog.pg_attribute AS a
            LEFT JOIN pg_catalog.pg_collation AS l ON l.oid = a.attcollation
            WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
            """,
            [.int(Int64(oid))]
        ).rows
        identities = Set(
            try columns.filter { try $0.bool("identity") }.compactMap { $0["attname"] }
        )
        looseColumns = Set(try columns.filter { try $0.bool("loose") }.compactMap { $0["attname"] })
        let keys = try await connection.query(
            """
            SELECT pg_catalog.count(*) AS keys,
                pg_catalog.count(*) FILTER (WHERE f.confdeltype <> 'a') AS guards
            FROM pg_catalog.pg_depend AS d
            JOIN pg_catalog.pg_constraint AS f ON f.oid = d.objid
            WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = $1
                AND d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
                AND f.contype = 'f' AND f.confrelid = $1
            """,
            [.int(Int64(oid))]
        ).first
        isReferredTo = try keys?.int("keys") ?? 0 > 0
        isGuarded = try keys?.int("guards") ?? 0 > 0
    }
}

/// Encoded bytes on their way to the server.
///
/// `@unchecked Sendable`: the buffer is written before the value exists and only read afterwards.
final class SentBytes: @unchecked Sendable {
    private let buffer: RowBuffer

    init(buffer: consuming RowBuffer) {
        self.buffer = buffer
    }

    var count: Int { buffer.count }

    /// Hands them to the server in pieces.
    func send(by writer: borrowing CopyWriter) throws {
        let piece = 1 << 20
        var start = 0
        while start < buffer.count {
            let end = min(start + piece, buffer.count)
            try writer.write(UnsafeRawBufferPointer(rebasing: buffer.bytes[start..<end]))
            start = end
        }
    }
}
