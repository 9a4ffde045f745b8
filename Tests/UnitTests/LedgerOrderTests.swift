import ProjectionKit
import Testing

@testable import Ledgers

@Suite("Order of a ledger")
struct LedgerOrderTests {
    @Test("positions, and their texts by byte, sort as sequences do", arguments: [1, 2, 3])
    func positionsSortLikeSequences(seed: UInt64) throws {
        print("seed \(seed)")
        var random = SplitMix64(seed: seed)
        let sequences = (0..<500).map { _ in
            Int64(bitPattern: random.next() >> 1) >> Int64(random.below(63))
        }
        let sorted = Set(sequences).sorted()
        let positions = sorted.map {
            Position(UInt64(bitPattern: $0), UInt64(bitPattern: Int64(bitPattern: random.next())))
        }
        #expect(positions == positions.sorted())
        let texts = positions.map { Array($0.description.utf8) }
        #expect(texts == texts.sorted { $0.lexicographicallyPrecedes($1) })
        #expect(positions.map(\.sequence) == sorted, "a position does not give its sequence back")
        #expect(Position(.max, .max, .max).sequence == .max)
    }

    @Test("a bucket holds its time, is aligned, and touches the next", arguments: [4, 5])
    func bucketArithmetic(seed: UInt64) {
        print("seed \(seed)")
        var random = SplitMix64(seed: seed)
        for _ in 0..<2_000 {
            let width = Int64(1 + random.below(100_000))
            let time = Int64(random.below(1 << 50)) - 1 << 49
            let bucket = Bucket(containing: time, width: width)
            #expect(bucket.start <= time && time < bucket.end)
            #expect(bucket.start % width == 0)
            #expect(Bucket(containing: bucket.end, width: width).start == bucket.end)
            #expect(Bucket(containing: bucket.start - 1, width: width).end == bucket.start)
        }
    }

    @Test(
        "an event is filed in the bucket of its time, or in the newest one where that is later",
        arguments: [6, 7]
    )
    func filing(seed: UInt64) {
        print("seed \(seed)")
        var random = SplitMix64(seed: seed)
        let width = Int64(1 + random.below(20_000))
        let filing = Filing(width: width)
        var newest: Int64?
        var latest = Int64.min
        for _ in 0..<2_000 {
            // Around 1970, so that buckets before it are met as well.
            let time = Int64(random.below(1 << 37)) - 1 << 36
            latest = max(latest, time)
            let start = filing.bucketStart(of: time, after: newest)
            // Floor division of the latest time, by another way than the product's.
            let milliseconds = (Double(latest) / 1_000).rounded(.down)
            let expected = (milliseconds / Double(width)).rounded(.down) * Double(width)
            #expect(Double(start) == expected)
            newest = start
        }
    }

    @Test("the generator's random numbers are those of the published algorithm")
    func splitMix() {
        var random = SplitMix64(seed: 1_234_567)
        #expect(random.next() == 6_457_827_717_110_365_317)
        #expect(random.next() == 3_203_168_211_198_807_973)
    }
}
