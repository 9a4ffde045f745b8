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
        do {
            return try await body()
        } catch let error as RowEncodingError {
            throw ReadModelError.rowRejected(table: table.name, reason: "\(error)")
        } catch let error as ServerError where error.sqlState.hasPrefix("22") {
            throw ReadModelError.rowRejected(table: table.name, reason: "\(error)")
        } catch let error as ServerError where error.sqlState.hasPrefix("23") {
            throw ReadModelError.rowRejected(table: table.name, reason: "\(error)")
        }
    }

    private func forEachPiece(_ send: (UnsafeRawBufferPointer) throws -> Void) throws {
        var buffer = RowBuffer(capacity: 1 << 17)
        // Signature, flags and the length of an extension (manual, "COPY", "Binary Format").
        for byte in Array("PGCOPY\n".utf8) + [0xff, 0x0d, 0x0a, 0x00] { buffer.append(byte) }
        buffer.append(Int32(0))
        buffer.append(Int32(0))
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
///
/// `@unchecked Sendable`: the buffer is written before the value exists and only read afterwards.
final class EncodedRows: @unchecked Sendable {
    let copy: RowCopy
    private let buffer: RowBuffer

    init(copy: RowCopy, buffer: consuming RowBuffer) {
        self.copy = copy
        self.buffer = buffer
    }

    var byteCount: Int { buffer.count }

    /// Sends them.
    ///
    /// - Returns: Number of rows the server took.
    func send(on connection: PostgresConnection) async throws -> Int {
        try await copy.namingRows {
            try await connection.copyIn(copy.statement) { writer in
                let piece = 1 << 20
                var start = 0
                while start < buffer.count {
                    let end = min(start + piece, buffer.count)
                    try writer.write(UnsafeRawBufferPointer(rebasing: buffer.bytes[start..<end]))
                    start = end
                }
            }
        }
    }
}
