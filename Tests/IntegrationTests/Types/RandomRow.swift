internal import Foundation
internal import ProjectionKit

/// A row whose values follow from its index and the seed.
struct RandomRow: TableRow {
    static let seed: UInt64 = 0x5eed_0042

    let index: Int64
    let whole: Int64
    let decimal: Decimal
    /// The same decimal number as SQL reads it.
    let decimalText: String
    let time: Timestamp
    let words: String

    var half: Int32 { Int32(truncatingIfNeeded: whole >> 32) }
    var quarter: Int16 { Int16(truncatingIfNeeded: whole >> 48) }
    var pair: [String] { [words, words] }
    var key: Int64 { index }

    init(index: Int64) {
        self.index = index
        var random = Sequence64(state: RandomRow.seed &+ UInt64(index) &* 0x9e37_79b9)
        // Shifted, so that numbers of every magnitude come.
        whole = Int64(bitPattern: random.next()) >> Int64.random(in: 0..<64, using: &random)
        let digits = (0..<Int.random(in: 1...36, using: &random)).map { _ in
            String(Int.random(in: 0...9, using: &random))
        }.joined()
        let exponent = Int.random(in: -100...80, using: &random)
        decimalText = (Bool.random(using: &random) ? "-" : "") + digits + "e\(exponent)"
        decimal = Decimal(string: decimalText) ?? .nan
        time = Timestamp(
            microseconds: Int64.random(
                in: -210_866_803_200_000_000...Int64.max,
                using: &random
            )
        )
        var words = ""
        for _ in 0..<Int.random(in: 0...40, using: &random) {
            let bits = UInt32.random(in: 0..<21, using: &random)
            let value = UInt32.random(in: 1...max(1, min(0x10_ffff, 1 << bits)), using: &random)
            words.unicodeScalars.append(Unicode.Scalar(value) ?? "\\")
        }
        self.words = words
    }

    static let table = TableDefinition<RandomRow>("random_row", key: "id") {
        Column("id", \.index)
        Column("i8", \.whole)
        Column("i4", \.half)
        Column("i2", \.quarter)
        Column("n", \.decimal)
        Column("tz", \.time)
        Column("ts", \.time)
        Column("t", \.words)
        Column("ta", \.pair)
    }
}

struct RandomRows: Projection {
    static let name = "random_rows"
    static let schema: String? = """
        CREATE TABLE random_row (
            id bigint PRIMARY KEY, i8 bigint NOT NULL, i4 integer NOT NULL, i2 smallint NOT NULL,
            n numeric NOT NULL, tz timestamptz NOT NULL, ts timestamp NOT NULL, t text NOT NULL,
            ta text[] NOT NULL
        )
        """
    var rows = Table<RandomRow>()

    mutating func reduce(_ event: borrowing Event) throws {
        let index = try event.payload.int64("index")
        rows[index] = RandomRow(index: index)
    }
}

/// Knuth's linear congruential generator (MMIX), its high bits mixed down.
private struct Sequence64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (state ^ (state >> 29)) &* 0xbf58_476d_1ce4_e5b9
    }
}
