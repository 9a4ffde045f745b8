import Postgres
import ProjectionKit
import Synchronization

/// Writes the changed rows of a fold into tables that hold its earlier rows, on one session.
///
/// Rows travel by binary COPY into staging tables of the session, and from there by one DELETE,
/// UPDATE and INSERT a table. What a fold says it updates or deletes has to be there, and what it
/// inserts must not: the numbers are compared, so that rows which somebody else has changed are
/// found here and not by a reader.
struct RowExchange: Sendable {
    /// The projection's name.
    let projection: String
    /// The tables, in the order in which the projection declares them.
    let tables: [ExchangedTable]
    /// The same, those that others refer to by foreign keys before those that refer to them.
    private let parentsFirst: [ExchangedTable]
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
    }

    /// The OIDs of the tables.
    var oids: [UInt32] { tables.map(\.oid) }

    /// Writes what the fold's journal holds, in the open transaction.
    ///
    /// The journal is left as it is: whoever commits settles it.
    ///
    /// - Returns: What was done, by table name.
    /// - Throws: ``ReadModelError/rowRejected(_:)``,
    ///   ``ReadModelError/otherRows(projection:table:reason:)``.
    func write(
        _ fold: any Fold,
        on connection: PostgresConnection
    ) async throws -> [String: TableChanges] {
        let code = try await othersCode(on: connection)
        try await assertNone(of: Hazard.ofWriting(oids, on: connection))
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
        // A parent leaves after its children have found another one; but before one that takes over
        // a unique value of it.
        let leaving = Set(
            parentsFirst.filter { table in
                table.isReferredTo && (changes[table.name.name]?.deleted ?? 0) > 0
            }.map(\.oid)
        )
        guard !leaving.isEmpty, !changes.values.contains(where: \.isReplaced) else {
            try await apply(changes, code, on: connection)
            return changes
        }
        try await connection.execute("SAVEPOINT reprise_write")
        do {
            try await apply(changes, last: leaving, code, on: connection)
        } catch ReadModelError.rowRejected {
            try await connection.execute("ROLLBACK TO SAVEPOINT reprise_write")
            try await apply(changes, code, on: connection)
        }
        try await connection.execute("RELEASE SAVEPOINT reprise_write")
        return changes
    }

    private func assertNone(of refusals: [Finding]) throws {
        guard !refusals.isEmpty else { return }
        throw ReadModelError.refusedByPlan(projection: projection, reasons: refusals.map(\.text))
    }

    /// Children go before their parents, and come after them.
    ///
    /// - Parameters:
    ///   - changes: What is staged, by table name.
    ///   - last: OIDs of tables whose rows go when all others have come.
    ///   - code: What others have put onto the tables.
    ///   - connection: Where they are staged.
    /// - Throws: As ``write(_:on:)``.
    private func apply(
        _ changes: [String: TableChanges],
        last: Set<UInt32> = [],
        _ code: OthersCode,
        on connection: PostgresConnection
    ) async throws {
        for table in parentsFirst.reversed() where !last.contains(table.oid) {
            guard let change = changes[table.name.name] else { continue }
            let writer = code.operation(.writing, table.oid)
            try await table.delete(change, as: writer, projection: projection, on: connection)
        }
        for table in parentsFirst {
            guard let change = changes[table.name.name] else { continue }
            let writer = code.operation(.writing, table.oid)
            try await table.update(change, as: writer, projection: projection, on: connection)
            try await table.insert(change, as: writer, projection: projection, on: connection)
        }
        for table in parentsFirst.reversed() where last.contains(table.oid) {
            guard let change = changes[table.name.name] else { continue }
            let writer = code.operation(.writing, table.oid)
            try await table.delete(change, as: writer, projection: projection, on: connection)
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

/// One table, and the session's staging table for its changed rows.
///
/// Tables that inherit from it are left alone: what is on those is not what was asked about.
struct ExchangedTable: Sendable {
    let name: QualifiedName
    let oid: UInt32
    let binding: TableBinding
    /// The columns of the key.
    let key: [String]
    /// Why rows cannot be read back as they were written, as a clause; nil when they can.
    var obstacleToReadingBack: String? {
        hasKeyIndex
            ? lossyColumn
            : "no primary key or unique constraint of \(name.name) covers exactly its key"
    }

    private let lossyColumn: String?
    private let staging: StagingTable
    private let keyStaging: StagingTable
    private let rowStaging: StagingTable
    /// The staging table's column for what is to be done.
    private let changeColumn: String
    /// Columns that no UPDATE may set.
    private let fixedColumns: Set<String>
    /// Columns of the key that can be NULL.
    private let nullableKey: Set<String>
    private let hasKeyIndex: Bool
    /// By other tables, or by itself.
    fileprivate let isReferredTo: Bool

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
        lossyColumn = Self.lossyColumn(of: real, among: binding.columns)
        let facts = try await Self.facts(of: real.oid, on: connection)
        fixedColumns = facts.fixedColumns.union(declared.key)
        isReferredTo = facts.isReferredTo
        var changeColumn = "change"
        while binding.columns.contains(changeColumn) { changeColumn += "_" }
        self.changeColumn = changeColumn
        staging = StagingTable("reprise_changes_\(number)")
        keyStaging = StagingTable("reprise_keys_\(number)")
        rowStaging = StagingTable("reprise_rows_\(number)")
        try await makeStaging(on: connection)
    }

    private func makeStaging(on connection: PostgresConnection) async throws {
        try await connection.execute(
            "DROP TABLE IF EXISTS \(staging.name.sql), \(keyStaging.name.sql)"
        )
        let ending = "DELETE ROWS"
        try await keyStaging.make(for: oid, key, onCommit: ending, on: connection)
        try await staging.make(
            for: oid,
            binding.columns,
            behind: "\(SQLText.identifier(changeColumn)) pg_catalog.int2",
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

    /// Changes rows of the table, as the role that may evaluate what is on it.
    private func change(
        _ statement: String,
        as writer: RestrictedOperation?,
        on connection: PostgresConnection
    ) async throws -> Int {
        guard let writer else { return try await connection.execute(statement).affectedRows }
        return try await writer.change(statement, on: connection)
    }

    private static func facts(
        of oid: UInt32,
        on connection: PostgresConnection
    ) async throws -> (fixedColumns: Set<String>, isReferredTo: Bool) {
        let found = try await connection.query(
            """
            SELECT a.attname, EXISTS (
                SELECT FROM pg_catalog.pg_depend AS d
                JOIN pg_catalog.pg_constraint AS f ON f.oid = d.objid
                WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                    AND d.refobjid = c.oid
                    AND d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
                    AND f.contype = 'f' AND f.confrelid = c.oid) AS referred
            FROM pg_catalog.pg_class AS c
            LEFT JOIN pg_catalog.pg_attribute AS a
                ON a.attrelid = c.oid AND a.attidentity = 'a' AND NOT a.attisdropped
            WHERE c.oid = $1
            """,
            [.int(Int64(oid))]
        )
        return (
            Set(found.rows.compactMap { $0["attname"] }),
            try found.first?.bool("referred") ?? false
        )
    }

    /// PostgreSQL rounds, cuts or pads what goes into some types; a fold that goes on from the
    /// stored value is not the fold that went on from its own.
    private static func lossyColumn(
        of table: TableDescription,
        among columns: [String]
    ) -> String? {
        let lossy = table.columns.first { column in
            guard columns.contains(column.name) else { return false }
            if column.baseType == "bpchar" { return true }
            if column.typeKind == "d" { return column.baseType != "text" }
            return ["numeric", "timestamp", "timestamptz"].contains(column.baseType)
                && column.typeName.contains("(") && !column.typeName.contains("(6)")
        }
        return lossy.map {
            "the column \(table.name.name).\($0.name) is \($0.typeName), which does not keep every "
                + "value as it was written"
        }
    }
}

extension ExchangedTable {
    private var columnList: String {
        binding.columns.map(SQLText.identifier).joined(separator: ", ")
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
            let isEqual = "\(one).\(name) = \(other).\(name)"
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
            let changes = try rows.encodeChanges(as: binding.types, into: &buffer)
            guard changes.rows > 0 else { return changes }
            buffer.append(Int16(-1))
            let columns = "\(SQLText.identifier(changeColumn)), \(columnList)"
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
        let columns = binding.columns.map { "t.\(SQLText.identifier($0))" }
            .joined(separator: ", ")
        let query = """
            SELECT \(columns) FROM \(keyStaging.name.sql) AS k JOIN ONLY \(name.sql) AS t
                ON \(sameKey("t", "k"))
            """
        guard let reader else { return query }
        try await connection.execute("DROP TABLE IF EXISTS \(rowStaging.name.sql)")
        try await rowStaging.make(for: oid, binding.columns, onCommit: "DROP", on: connection)
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

    fileprivate func delete(
        _ changes: TableChanges,
        as writer: RestrictedOperation?,
        projection: String,
        on connection: PostgresConnection
    ) async throws {
        try await RowCopy.namingRows(of: name.name) {
            if changes.isReplaced {
                _ = try await change("DELETE FROM ONLY \(name.sql)", as: writer, on: connection)
            }
            guard changes.deleted > 0 else { return }
            try await connection.execute(joins(of: changes.rows))
            let deleted = try await change(
                "DELETE FROM ONLY \(name.sql) AS t USING \(staging.name.sql) AS s "
                    + "WHERE \(isStaged(.delete))",
                as: writer,
                on: connection
            )
            try assert(deleted, is: changes.deleted, "to delete", projection)
        }
    }

    fileprivate func update(
        _ changes: TableChanges,
        as writer: RestrictedOperation?,
        projection: String,
        on connection: PostgresConnection
    ) async throws {
        guard changes.updated > 0 else { return }
        let columns = binding.columns.filter { !fixedColumns.contains($0) }
        let settings = columns.map(SQLText.identifier).map { "\($0) = s.\($0)" }
        guard !settings.isEmpty else { return }
        do {
            try await connection.execute("\(joins(of: changes.rows)) SAVEPOINT reprise_update")
            let updated = try await change(
                """
                UPDATE ONLY \(name.sql) AS t SET \(settings.joined(separator: ", "))
                FROM \(staging.name.sql) AS s WHERE \(isStaged(.update))
                """,
                as: writer,
                on: connection
            )
            try await connection.execute("RELEASE SAVEPOINT reprise_update")
            try assert(updated, is: changes.updated, "to update", projection)
        } catch let error as ServerError where error.sqlState == "23505" && !isReferredTo {
            // Two rows that exchange a unique value cannot do so by UPDATE, which looks after each.
            try await connection.execute("ROLLBACK TO SAVEPOINT reprise_update")
            let gone = try await change(
                "DELETE FROM ONLY \(name.sql) AS t USING \(staging.name.sql) AS s "
                    + "WHERE \(isStaged(.update))",
                as: writer,
                on: connection
            )
            try assert(gone, is: changes.updated, "to update", projection)
            try await insert(.update, as: writer, on: connection)
        } catch let error as ServerError where error.isAboutRows {
            throw ReadModelError.rowRejected(RejectedRow(table: name.name, reason: "\(error)"))
        }
    }

    fileprivate func insert(
        _ changes: TableChanges,
        as writer: RestrictedOperation?,
        projection: String,
        on connection: PostgresConnection
    ) async throws {
        guard changes.inserted > 0 else { return }
        let rows = try await insert(.insert, as: writer, on: connection)
        try assert(rows, is: changes.inserted, "to insert", projection)
    }

    @discardableResult
    private func insert(
        _ change: RowChange,
        as writer: RestrictedOperation?,
        on connection: PostgresConnection
    ) async throws -> Int {
        try await RowCopy.namingRows(of: name.name) {
            try await self.change(
                """
                INSERT INTO \(name.sql) (\(columnList)) OVERRIDING SYSTEM VALUE
                SELECT \(columnList) FROM \(staging.name.sql)
                WHERE \(SQLText.identifier(changeColumn)) = \(change.rawValue)
                """,
                as: writer,
                on: connection
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
            reason: "of \(expected) rows \(doing) there were \(found)"
        )
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
