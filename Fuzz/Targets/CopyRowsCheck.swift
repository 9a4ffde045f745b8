@testable import ReadModels

/// Rows of COPY in the binary format: whole, in pieces, and written again.
enum CopyRowsCheck {
    private typealias Row = [[UInt8]?]

    private static let signature: [UInt8] = Array("PGCOPY\n".utf8) + [0xff, 0x0d, 0x0a, 0]

    /// The number of fields, the length of a piece, then the bytes; of odd lengths behind a header
    /// that is right.
    static func run(_ input: [UInt8]) throws {
        guard input.count >= 2 else { return }
        let fieldCount = Int(input[0] & 7)
        let pieceLength = Int(input[1] & 0x7f) + 1
        var bytes = Array(input.dropFirst(2))
        if input[1] & 0x80 != 0 { bytes = signature + Array(repeating: 0, count: 8) + bytes }
        let whole = read(bytes, fieldCount, by: max(bytes.count, 1))
        let pieces = read(bytes, fieldCount, by: pieceLength)
        try require(whole.rows == pieces.rows, "rows do not depend on where the bytes are cut")
        try require(whole.error == pieces.error, "errors do not depend on where the bytes are cut")
        try require(whole.rows == plainRows(bytes, fieldCount), "the rows are those of the bytes")
        guard whole.error == nil, bytes[15..<19].elementsEqual([0, 0, 0, 0]) else { return }
        let written = bytes.prefix(19) + whole.rows.flatMap(encoded) + [255, 255]
        try require(Array(written) == bytes, "rows written again are the same bytes")
    }

    private static func read(
        _ bytes: [UInt8],
        _ fieldCount: Int,
        by length: Int
    ) -> (rows: [Row], error: BinaryRowsError?) {
        var parser = BinaryRows(fieldCount: fieldCount)
        var rows: [Row] = []
        do {
            for start in stride(from: 0, to: bytes.count, by: length) {
                // A copy of the piece alone, so that the sanitizer sees its end.
                try Array(bytes[start..<min(start + length, bytes.count)]).withUnsafeBytes {
                    try parser.take($0) { rows.append($0.map { $0.map(Array.init) }) }
                }
            }
            try parser.finish()
            return (rows, nil)
        } catch let error as BinaryRowsError {
            return (rows, error)
        } catch {
            return (rows, BinaryRowsError(offset: -1, reason: "\(error)"))
        }
    }

    /// The rows up to the first that is not whole or not right, read in one go.
    private static func plainRows(_ bytes: [UInt8], _ fieldCount: Int) -> [Row] {
        func number(_ index: Int, _ size: Int) -> Int? {
            guard index + size <= bytes.count else { return nil }
            let value = bytes[index..<(index + size)].reduce(0) { $0 << 8 | Int($1) }
            return value >= 1 << (8 * size - 1) ? value - 1 << (8 * size) : value
        }
        guard bytes.starts(with: signature), number(11, 2) == 0, let more = number(15, 4), more >= 0
        else { return [] }
        var rows: [Row] = []
        var index = 19 + more
        while number(index, 2) == fieldCount {
            index += 2
            var row: Row = []
            for _ in 0..<fieldCount {
                guard let length = number(index, 4), length >= -1 else { return rows }
                index += 4
                guard length >= 0 else {
                    row.append(nil)
                    continue
                }
                guard index + length <= bytes.count else { return rows }
                row.append(Array(bytes[index..<(index + length)]))
                index += length
            }
            rows.append(row)
        }
        return rows
    }

    private static func encoded(_ row: Row) -> [UInt8] {
        func bytes(_ number: Int, _ size: Int) -> [UInt8] {
            (0..<size).map { UInt8(truncatingIfNeeded: number >> (8 * (size - 1 - $0))) }
        }
        return bytes(row.count, 2)
            + row.flatMap { field in
                field.map { bytes($0.count, 4) + $0 } ?? [255, 255, 255, 255]
            }
    }
}
