import Postgres
import ProjectionKit
import Synchronization

/// Finds which of many staged rows the server does not take.
///
/// An error of the server names a constraint or an index, and seldom the row. So half of the rows are
/// tried, then half of those, until one is left.
struct StagedRowSearch: Sendable {
    /// The staging table.
    let staging: QualifiedName
    /// A condition on the alias `s` for the rows that were to be written.
    let condition: String
    /// Writes the rows for which a further condition on `s` holds.
    let write: @Sendable (_ further: String) async throws -> Void

    /// Finds the row, and leaves the transaction as it was.
    ///
    /// - Parameters:
    ///   - key: The columns of the key.
    ///   - connection: Inside the transaction, behind a savepoint to which it was rolled back.
    /// - Returns: The row's encoded key; nil where each row is taken by itself.
    /// - Throws: ``ServerError``.
    func key(_ key: [String], on connection: PostgresConnection) async throws -> [UInt8]? {
        try await connection.execute("SAVEPOINT reprise_search")
        // Of many rows the page first.
        var pages = 0..<(try await pages(on: connection))
        while pages.count > 1 {
            let middle = (pages.lowerBound + pages.upperBound) / 2
            if try await takes(Self.isIn(pages.lowerBound..<middle), on: connection) {
                pages = middle..<pages.upperBound
            } else {
                pages = pages.lowerBound..<middle
            }
        }
        let rows = try await connection.query(
            """
            SELECT s.ctid FROM \(staging.sql) AS s WHERE \(condition) AND \(Self.isIn(pages))
            ORDER BY s.ctid
            """
        ).rows.map { try $0.string("ctid") }
        var left = rows[...]
        while left.count > 1 {
            let half = left.prefix(left.count / 2)
            if try await takes(Self.isOne(of: half), on: connection) {
                left = left.dropFirst(half.count)
            } else {
                left = half
            }
        }
        let isFound = try await !takes(Self.isOne(of: left), on: connection)
        try await connection.execute("ROLLBACK TO SAVEPOINT reprise_search")
        guard isFound, let row = left.first else { return nil }
        return try await connection.keyFields(key, of: staging, at: row)
    }

    private func pages(on connection: PostgresConnection) async throws -> Int {
        let row = try await connection.query(
            """
            SELECT pg_catalog.pg_relation_size($1::pg_catalog.regclass)
                / pg_catalog.current_setting('block_size')::pg_catalog.int8 AS pages
            """,
            [.text(staging.sql)]
        ).first
        return Int(try row?.int("pages") ?? 0)
    }

    private static func isIn(_ pages: Range<Int>) -> String {
        "s.ctid >= '(\(pages.lowerBound),0)' AND s.ctid < '(\(pages.upperBound),0)'"
    }

    private static func isOne(of rows: ArraySlice<String>) -> String {
        let places = rows.map { "'\($0)'" }.joined(separator: ", ")
        return "s.ctid = ANY (ARRAY[\(places)]::pg_catalog.tid[])"
    }

    /// Writes rows, which stay: a later one may not fit beside them.
    private func takes(
        _ further: String,
        on connection: PostgresConnection
    ) async throws -> Bool {
        try await connection.execute("SAVEPOINT reprise_half")
        do {
            try await write(further)
            try await connection.execute("RELEASE SAVEPOINT reprise_half")
            return true
        } catch let error as ServerError where error.isAboutRows {
            try await connection.execute("ROLLBACK TO SAVEPOINT reprise_half")
            return false
        }
    }
}

extension PostgresConnection {
    /// The encoded fields of a row's key, each behind its length.
    ///
    /// - Parameters:
    ///   - key: The columns of the key.
    ///   - table: Its table.
    ///   - place: The row's `ctid`.
    /// - Returns: The fields; nil where no row stands there.
    /// - Throws: ``ServerError``, ``BinaryRowsError``.
    func keyFields(
        _ key: [String],
        of table: QualifiedName,
        at place: String
    ) async throws -> [UInt8]? {
        let received = Mutex<[UInt8]>([])
        let columns = key.map(SQLText.identifier).joined(separator: ", ")
        _ = try await copyOut(
            """
            COPY (SELECT \(columns) FROM \(table.sql) WHERE ctid = \(SQLText.literal(place)))
            TO STDOUT WITH (FORMAT binary)
            """
        ) { piece in received.withLock { $0.append(contentsOf: piece) } }
        var fields: [UInt8]?
        var parser = BinaryRows(fieldCount: key.count)
        try received.withLock { $0 }.withUnsafeBytes { bytes in
            try parser.take(bytes) { row in
                var buffer = RowBuffer(capacity: 256)
                for field in row { field.map { buffer.appendField($0) } ?? buffer.appendNull() }
                fields = Array(buffer.bytes)
            }
        }
        return fields
    }
}
