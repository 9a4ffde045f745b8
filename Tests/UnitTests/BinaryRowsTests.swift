import ReadModels
import TestSupport
import Testing

@Suite("Binary rows")
struct BinaryRowsTests {
    private static let header: [UInt8] =
        Array("PGCOPY\n".utf8) + [0xff, 0x0d, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    private static let rows: [[[UInt8]?]] = [
        [[1, 2, 3], nil], [[], [255]], [nil, nil],
        [Array(repeating: 7, count: 300), Array(repeating: 9, count: 1_000)],
    ]
    private static let stream =
        header + rows.flatMap { row in [0, 2] + row.flatMap(encoded) } + [255, 255]

    private static func encoded(_ field: [UInt8]?) -> [UInt8] {
        guard let field else { return [255, 255, 255, 255] }
        return [0, 0, UInt8(field.count >> 8), UInt8(field.count & 255)] + field
    }

    @Test("rows come out whole, wherever the bytes are cut", arguments: [1, 2, 3, 11, 64, 5_000])
    func pieces(size: Int) throws {
        #expect(try rows(of: BinaryRowsTests.stream, pieceSize: { size }) == BinaryRowsTests.rows)
    }

    @Test("rows come out whole under random cuts")
    func randomPieces() throws {
        let seed: UInt64 = 0xb14a
        print("pieces of binary rows: seed \(seed)")
        var random = SeededRandom(seed: seed)
        for _ in 0..<200 {
            let rows = try rows(of: BinaryRowsTests.stream) { .random(in: 1...90, using: &random) }
            #expect(rows == BinaryRowsTests.rows)
        }
    }

    @Test("an extension of the header is passed over")
    func headerExtension() throws {
        var stream = BinaryRowsTests.stream
        stream.replaceSubrange(15..<19, with: [0, 0, 0, 3, 8, 8, 8])
        #expect(try rows(of: stream) { 4 } == BinaryRowsTests.rows)
    }

    @Test("an end that comes too early is told", arguments: [0, 5, 19, 20, 30, 1_300])
    func truncated(count: Int) {
        let error = #expect(throws: BinaryRowsError.self) {
            try rows(of: Array(BinaryRowsTests.stream.prefix(count))) { 7 }
        }
        #expect(error?.offset == count)
        #expect(error?.reason == "they end too early")
    }

    @Test("damage is told with its place")
    func damage() {
        func error(_ change: (inout [UInt8]) -> Void) -> String? {
            var stream = BinaryRowsTests.stream
            change(&stream)
            let error = #expect(throws: BinaryRowsError.self) { try rows(of: stream) { 50 } }
            return error?.description
        }
        let start = "rows that the server sent are damaged at byte"
        #expect(error { $0[3] = 0 } == "\(start) 0: they do not begin as binary rows do")
        #expect(error { $0[12] = 1 } == "\(start) 0: their header asks for what is not known")
        #expect(error { $0[20] = 3 } == "\(start) 19: a row has 3 fields in place of 2")
        #expect(error { $0[21] = 0x80 } == "\(start) 19: a field has -2147483645 bytes")
        #expect(
            error { $0.append(0) }
                == "\(start) \(BinaryRowsTests.stream.count): something follows their end"
        )
    }

    @Test("no damage traps")
    func randomDamage() {
        let seed: UInt64 = 0xda3a
        print("damaged binary rows: seed \(seed)")
        var random = SeededRandom(seed: seed)
        var refused = 0
        for _ in 0..<2_000 {
            var stream = BinaryRowsTests.stream
            let index = Int.random(in: 0..<stream.count, using: &random)
            stream[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            do {
                _ = try rows(of: stream) { .random(in: 1...400, using: &random) }
            } catch {
                #expect(error is BinaryRowsError)
                refused += 1
            }
        }
        #expect(refused > 0)
    }

    private func rows(
        of stream: [UInt8],
        pieceSize: () -> Int
    ) throws -> [[[UInt8]?]] {
        var parser = BinaryRows(fieldCount: 2)
        var result: [[[UInt8]?]] = []
        var rest = stream[...]
        while !rest.isEmpty {
            let piece = Array(rest.prefix(pieceSize()))
            rest = rest.dropFirst(piece.count)
            try piece.withUnsafeBytes { bytes in
                try parser.take(bytes) { fields in result.append(fields.map { $0.map(Array.init) })
                }
            }
        }
        try parser.finish()
        return result
    }
}
