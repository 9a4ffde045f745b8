import ProjectionKit
import Testing

@testable import Ledgers

@Suite("Order of a ledger")
struct LedgerOrderTests {
    @Test("positions, and their texts by byte, sort as bucket and id do", arguments: [1, 2, 3])
    func positionsSortLikeKeys(seed: UInt64) throws {
        print("seed \(seed)")
        var random = SplitMix64(seed: seed)
        let keys = (0..<500).map { _ in
            EventKey(
                bucketStart: Int64(random.below(9)) * 15_000 - 60_000,
                id: EventID(high: random.next() >> UInt64(random.below(64)), low: random.next())
            )
        }
        let sorted = keys.sorted()
        let positions = sorted.map(\.position)
        #expect(positions == positions.sorted())
        let texts = positions.map { Array($0.description.utf8) }
        #expect(texts == texts.sorted { $0.lexicographicallyPrecedes($1) })
        #expect(positions.map { EventKey($0) } == sorted, "a position does not give its key back")
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

    @Test("ids of a later millisecond, or of a later line, are greater", arguments: [6, 7])
    func idsFollowTimeThenNumber(seed: UInt64) {
        print("seed \(seed)")
        var random = SplitMix64(seed: seed)
        for sign: Int64 in [1, -1] {
            let places = (0..<500).map { _ in
                (time: sign * Int64(1 + random.below(5)), number: UInt64(random.below(1 << 40)))
            }
            let ids = places.sorted { $0 < $1 }.map {
                EventID.version7(milliseconds: $0.time, number: $0.number, hash: random.next())
            }
            #expect(ids == ids.sorted())
            #expect(ids.allSatisfy { $0.isVersion7 })
        }
    }

    @Test("an id carries its time")
    func idCarriesTime() {
        let id = EventID.version7(milliseconds: 1_767_225_600_123, number: 7, hash: 9)
        #expect(id.milliseconds == 1_767_225_600_123)
        #expect(id.description.hasPrefix("019b76da-a87b-7000-8000-"))
    }

    @Test(
        "the next UUIDv7 is greater than any id, of whatever version, and the least one",
        arguments: [
            ("019b7700-0000-7000-8000-000000000000", "019b7700-0000-7000-8000-000000000001"),
            ("019b7700-0000-7000-bfff-ffffffffffff", "019b7700-0000-7001-8000-000000000000"),
            ("019b7700-0000-7fff-bfff-ffffffffffff", "019b7700-0001-7000-8000-000000000000"),
            ("019b7700-0000-4abc-9000-000000000000", "019b7700-0000-7000-8000-000000000000"),
            ("019b7700-0000-7abc-1000-000000000000", "019b7700-0000-7abc-8000-000000000000"),
            ("019b7700-0000-7abc-f000-000000000000", "019b7700-0000-7abd-8000-000000000000"),
            ("019b7700-0000-8abc-9000-000000000000", "019b7700-0001-7000-8000-000000000000"),
        ]
    )
    func nextID(_ text: String, _ expected: String) throws {
        let next = try #require(try eventID(text).nextVersion7)
        #expect(next.description == expected)
        #expect(next.isVersion7)
    }

    @Test("behind the greatest id there is none")
    func noIDBehindTheGreatest() throws {
        #expect(EventID(high: .max, low: .max).nextVersion7 == nil)
    }

    @Test("the generator's random numbers are those of the published algorithm")
    func splitMix() {
        var random = SplitMix64(seed: 1_234_567)
        #expect(random.next() == 6_457_827_717_110_365_317)
        #expect(random.next() == 3_203_168_211_198_807_973)
    }
}

private func eventID(_ text: String) throws -> EventID {
    let bytes = Array("\"\(text)\"".utf8)
    let uuid = bytes.withUnsafeBytes { JSONValue.uuid($0) }
    return EventID(try #require(uuid))
}
