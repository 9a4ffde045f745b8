import Postgres
import ProjectionKit
import Synchronization

/// Encodes the rows of a folded table and sends them with COPY BINARY … FREEZE.
///
/// FREEZE needs the table to have been made or truncated in the same transaction (manual, "COPY").
struct RowCopy: Sendable {
    let table: any LoadableTable
    let binding: TableBinding
    let target: QualifiedName

    private static let rowsPerPiece = 512

    /// Copies while encoding, in pieces, so that memory does not grow with the rows.
    ///
    /// - Returns: Rows and bytes sent.
    func run(on connection: PostgresConnection) async throws -> (rows: Int, bytes: Int) {
        try await namingRows {
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

    /// Encodes all rows, for sending them later without delay.
    func encoded() throws -> EncodedRows {
        do {
            var all = RowBuffer(capacity: 1 << 20)
            try forEachPiece { all.append($0) }
            return EncodedRows(copy: self, buffer: all)
        } catch let error as RowEncodingError {
            throw ReadModelError.rowRejected(table: table.name, reason: "\(error)")
        }
    }

    var statement: String {
        let columns = binding.columns.map(SQLText.identifier).joined(separator: ", ")
        return "COPY \(target.sql) (\(columns)) FROM STDIN WITH (FORMAT binary, FREEZE)"
    }

    func namingRows<Result>(_ body: () async throws -> Result) async throws -> Result {
        try await RowCopy.namingRows(of: table.name, body)
    }

    /// Turns what is wrong with a row into an error that names its table.
    static func namingRows<Result>(
        of table: String,
        _ body: () async throws -> Result
    ) async throws -> Result {
        do {
            return try await body()
        } catch let error as RowEncodingError {
            throw ReadModelError.rowRejected(table: table, reason: "\(error)")
        } catch let error as RowReadingError {
            throw ReadModelError.rowRejected(table: table, reason: "\(error)")
        } catch let error as RowObstacle {
            throw ReadModelError.rowRejected(table: table, reason: "\(error)")
        } catch let error as ServerError where error.isAboutRows {
            throw ReadModelError.rowRejected(table: table, reason: "\(error)")
        }
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
    /// - Returns: Number of rows the server took.
    func send(on connection: PostgresConnection) async throws -> Int {
        try await copy.namingRows {
            try await connection.copyIn(copy.statement) { try bytes.send(by: $0) }
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

extension ServerError {
    /// A value that its column does not take, or a constraint that does not hold.
    var isAboutRows: Bool { sqlState.hasPrefix("22") || sqlState.hasPrefix("23") }
}
