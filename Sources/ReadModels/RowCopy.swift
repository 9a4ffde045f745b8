import Postgres
package import ProjectionKit
import Synchronization

/// Encodes the rows of a folded table and sends them with COPY BINARY … FREEZE.
///
/// FREEZE needs the table to have been made or truncated in the same transaction (manual, "COPY"). Values
/// that travel as text, and tables of others, go by way of a staging table.
struct RowCopy: Sendable {
    let table: any LoadableTable
    let binding: TableBinding
    let target: QualifiedName

    private static let rowsPerPiece = 512

    /// Copies while encoding, in pieces, so that memory does not grow with the rows.
    ///
    /// - Parameters:
    ///   - operation: As whom the rows go into the table; nil where this role does no harm by it.
    ///   - connection: Inside the transaction that has made or truncated the table.
    /// - Returns: Rows and bytes sent.
    /// - Throws: ``ReadModelError/rowRejected(_:)``, the server's error.
    func run(
        as operation: RestrictedOperation?,
        on connection: PostgresConnection
    ) async throws -> (rows: Int, bytes: Int) {
        try await namingRows {
            try await passing(operation, on: connection) { statement in
                // Atomic only because the closure runs on the connection's executor.
                let bytes = Atomic(0)
                let rows = try await connection.copyIn(statement) { writer in
                    try forEachPiece { piece in
                        try writer.write(piece)
                        bytes.add(piece.count, ordering: .relaxed)
                    }
                }
                return (rows, bytes.load(ordering: .relaxed))
            }
        }
    }

    /// Hands `copy` the statement that takes the rows: into the table, or by way of a staging table,
    /// from which an operation of the owner takes them.
    fileprivate func passing<Result>(
        _ operation: RestrictedOperation?,
        on connection: PostgresConnection,
        _ copy: (_ statement: String) async throws -> Result
    ) async throws -> Result {
        guard operation != nil || !binding.casts.isEmpty else {
            return try await copy(statement(into: target, "binary, FREEZE"))
        }
        let staging = StagingTable("reprise_rows")
        guard let real = try await Catalogue.table(target, on: connection) else {
            preconditionFailure("there is no table \(target.sql) to copy rows into")
        }
        try await staging.make(
            for: real.oid,
            binding.columns,
            passing: binding.casts,
            onCommit: "DROP",
            on: connection
        )
        let result = try await copy(statement(into: staging.name, "binary"))
        let insert = """
            INSERT INTO \(target.sql) (\(columnList)) OVERRIDING SYSTEM VALUE
            SELECT \(columnList) FROM \(staging.rows(binding.columns, casting: binding.casts))
            """
        if let operation { try await staging.grant("SELECT", to: operation, on: connection) }
        @Sendable func write(_ statement: String) async throws {
            if let operation {
                _ = try await operation.change(statement, on: connection)
            } else {
                try await connection.execute(statement)
            }
        }
        try await connection.execute("SAVEPOINT reprise_rows")
        do {
            try await write(insert)
        } catch let error as ServerError where error.isAboutRows {
            try await connection.execute("ROLLBACK TO SAVEPOINT reprise_rows")
            let search = StagedRowSearch(staging: staging.name, condition: "true") {
                try await write("\(insert) WHERE \($0)")
            }
            let key = try await search.key(table.key, on: connection)
            throw ReadModelError.rowRejected(
                RejectedRow(
                    table: table.name,
                    reason: "\(error)",
                    mark: key.flatMap { table.mark(ofKey: $0, as: binding.types) }
                )
            )
        }
        try await connection.execute(
            "RELEASE SAVEPOINT reprise_rows; DROP TABLE \(staging.name.sql)"
        )
        return result
    }

    /// Encodes all rows, for sending them later without delay.
    func encoded() throws -> EncodedRows {
        do {
            var all = RowBuffer(capacity: 1 << 20)
            try forEachPiece { all.append($0) }
            return EncodedRows(copy: self, buffer: all)
        } catch let error as RowEncodingError {
            throw ReadModelError.rowRejected(
                RejectedRow(table: table.name, reason: "\(error)", mark: mark(of: error))
            )
        }
    }

    private var columnList: String {
        binding.columns.map(SQLText.identifier).joined(separator: ", ")
    }

    private func statement(into table: QualifiedName, _ format: String) -> String {
        "COPY \(table.sql) (\(columnList)) FROM STDIN WITH (FORMAT \(format))"
    }

    func namingRows<Result>(_ body: () async throws -> Result) async throws -> Result {
        try await RowCopy.namingRows(of: table.name, marking: mark(of:), body)
    }

    /// Turns what is wrong with a row into an error that names its table.
    ///
    /// `mark` tells the row that an error is about; nil where that is not known.
    static func namingRows<Result>(
        of table: String,
        marking mark: (any Error) -> RowMark? = { _ in nil },
        _ body: () async throws -> Result
    ) async throws -> Result {
        do {
            return try await body()
        } catch let error where RejectedRow.isMeant(by: error) {
            throw ReadModelError.rowRejected(
                RejectedRow(table: table, reason: "\(error)", mark: mark(error))
            )
        }
    }

    private func mark(of error: any Error) -> RowMark? {
        switch error {
        case is RowEncodingError: firstUnencodable().flatMap { table.mark(ofRow: $0) }
        case let error as ServerError:
            error.copiedRow(of: target.name).flatMap { table.mark(ofRow: $0) }
        default: nil
        }
    }

    /// The first row that cannot be encoded, from 0.
    private func firstUnencodable() -> Int? {
        var buffer = RowBuffer(capacity: 1 << 10)
        var rows = 0
        for index in 0..<table.endIndex {
            buffer.removeAll()
            let range = index..<index + 1
            guard let count = try? table.encodeRows(range, as: binding.types, into: &buffer) else {
                return rows
            }
            rows += count
        }
        return nil
    }

    private func forEachPiece(_ send: (UnsafeRawBufferPointer) throws -> Void) throws {
        var buffer = RowBuffer(capacity: 1 << 17)
        buffer.appendCopyHeader()
        var index = 0
        while index < table.endIndex {
            let end = min(index + RowCopy.rowsPerPiece, table.endIndex)
            _ = try table.encodeRows(index..<end, as: binding.types, into: &buffer)
            index = end
            if buffer.count >= 1 << 16 {
                try send(buffer.bytes)
                buffer.removeAll()
            }
        }
        buffer.append(Int16(-1))
        try send(buffer.bytes)
    }
}

/// Rows in PostgreSQL's binary COPY format, complete with header and trailer.
struct EncodedRows: Sendable {
    let copy: RowCopy
    private let bytes: SentBytes

    init(copy: RowCopy, buffer: consuming RowBuffer) {
        self.copy = copy
        bytes = SentBytes(buffer: buffer)
    }

    var byteCount: Int { bytes.count }

    /// Sends them.
    ///
    /// - Parameters:
    ///   - operation: As whom the rows go into the table; nil where this role does no harm by it.
    ///   - connection: Inside the transaction that has truncated the table.
    /// - Returns: Number of rows the server took.
    /// - Throws: ``ReadModelError/rowRejected(_:)``, the server's error.
    func send(
        as operation: RestrictedOperation?,
        on connection: PostgresConnection
    ) async throws -> Int {
        try await copy.namingRows {
            try await copy.passing(operation, on: connection) { statement in
                try await connection.copyIn(statement) { try bytes.send(by: $0) }
            }
        }
    }
}

extension RowBuffer {
    /// Signature, flags and the length of an extension (manual, "COPY", "Binary Format").
    mutating func appendCopyHeader() {
        for byte in Array("PGCOPY\n".utf8) + [0xff, 0x0d, 0x0a, 0x00] { append(byte) }
        append(Int32(0))
        append(Int32(0))
    }
}

/// A row that cannot be stored.
package struct RejectedRow: Equatable, Sendable {
    /// The table's name, unqualified.
    package let table: String
    /// What is wrong, without values.
    package let reason: String
    /// Which row it is; nil where that is not known.
    package var mark: RowMark?
    /// The event that changed it last; nil where that is not known.
    package var event: EventPlace?

    /// Describes one.
    package init(table: String, reason: String, mark: RowMark? = nil) {
        self.table = table
        self.reason = reason
        self.mark = mark
    }

    /// Whether an error is about a row.
    static func isMeant(by error: any Error) -> Bool {
        error is RowEncodingError || error is RowReadingError || error is RowObstacle
            || (error as? ServerError)?.isAboutRows == true
    }
}

extension ServerError {
    /// The row of a COPY that the error is about, from 0; nil where it names none.
    func copiedRow(of table: String) -> Int? {
        let place = "COPY \(table), line "
        let line = context?.split(separator: "\n").last { $0.hasPrefix(place) }
        let number = line.flatMap { Int($0.dropFirst(place.count).prefix { $0.isWholeNumber }) }
        return number.map { $0 - 1 }
    }

    /// A value that its column does not take, or a constraint that does not hold.
    ///
    /// 54000 is a row that is too large for its page, or for the page of an index.
    var isAboutRows: Bool {
        sqlState.hasPrefix("22") || sqlState.hasPrefix("23") || sqlState == "54000"
    }
}
