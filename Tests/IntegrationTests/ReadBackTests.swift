internal import Foundation
internal import Postgres
internal import ProjectionKit
internal import ReadModels
internal import TestSupport
internal import Testing

@Suite("Rows read back")
struct ReadBackTests {
    @Test("every type that was written comes back through COPY, in pieces of any size")
    func everyType() async throws {
        let seed: UInt64 = 0xc0b1
        print("pieces of rows read back: seed \(seed)")
        try await withRebuildScene { scene in
            try scene.append(EveryType.samples.indices.map { EveryType.event($0) })
            _ = try await scene.rebuild(EveryTypes.self)
            let columns = EveryType.table.columns.map { SQLText.identifier($0.name) }
            let reader = try RowReader<EveryType>(types: EveryType.types)
            let rows = ReadRows(seed: seed, columns: columns.count)
            try await scene.database.withConnection { connection in
                try await connection.copyOut(
                    """
                    COPY (SELECT \(columns.joined(separator: ", ")) FROM public.every_type ORDER BY id)
                    TO STDOUT (FORMAT binary)
                    """
                ) { piece in
                    try rows.take(piece) { try reader.row($0) }
                }
            }
            try rows.parser.finish()
            #expect(rows.all.count == EveryType.samples.count)
            for (found, sample) in zip(rows.all, EveryType.samples) {
                var wanted = sample
                wanted.id = found.id
                // What the server itself makes another value of.
                wanted.bpchar = sample.bpchar.map {
                    $0.padding(toLength: 6, withPad: " ", startingAt: 0)
                }
                wanted.jsonb = try await scene.database.query(
                    "SELECT jb::text AS json FROM public.every_type WHERE id = \(found.id)"
                ).first?["json"].map { JSONText($0) }
                // By their bytes: NaN and -0 are told apart.
                #expect(try found.encoded() == wanted.encoded(), "\(found.id)")
            }
        }
    }
}

extension EveryType {
    /// The real types of its columns.
    static let types: [ColumnType] = [
        .int8, .bool, .int2, .int4, .int8, .int8, .float4, .float8, .numeric, .text, .varchar,
        .bpchar,
        .bytea, .bytea, .uuid, .uuid, .date, .timestamp, .timestamptz, .json, .jsonb, .enumeration,
        .text, .textArray, .int8Array, .uuidArray,
    ]

    fileprivate func encoded() throws -> [UInt8] {
        var table = Table<EveryType>()
        table[id] = self
        var buffer = RowBuffer()
        _ = try table.encodeRows(0..<1, as: EveryType.types, into: &buffer)
        return Array(buffer.bytes)
    }
}

/// The rows that a COPY has handed out, its pieces cut further.
///
/// `@unchecked Sendable`: written on the connection's queue, read after the COPY has returned.
private final class ReadRows: @unchecked Sendable {
    private(set) var all: [EveryType] = []
    private(set) var parser: BinaryRows
    private var random: SeededRandom

    init(seed: UInt64, columns: Int) {
        random = SeededRandom(seed: seed)
        parser = BinaryRows(fieldCount: columns)
    }

    func take(
        _ piece: UnsafeRawBufferPointer,
        _ row: ([UnsafeRawBufferPointer?]) throws -> EveryType
    ) throws {
        var rest = piece[...]
        while !rest.isEmpty {
            let part = rest.prefix(.random(in: 1...60_000, using: &random))
            rest = rest.dropFirst(part.count)
            try parser.take(UnsafeRawBufferPointer(rebasing: part)) { all.append(try row($0)) }
        }
    }
}
