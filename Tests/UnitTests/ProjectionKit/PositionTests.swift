import FoundationEssentials
import ProjectionKit
import TestSupport
import Testing

@Suite("Position, UUIDWords, Bucket and EventType")
struct PositionTests {
    @Test("position texts compare as positions do", arguments: [31] as [UInt64])
    func positionOrder(seed: UInt64) {
        print("positions: seed \(seed)")
        var random = SeededRandom(seed: seed)
        func word() -> UInt64 {
            // Words that are often equal, so that the later ones decide.
            [0, 1, .max, 1 << 63, random.next()].randomElement(using: &random) ?? 0
        }
        for _ in 0..<3_000 {
            let left = Position(word(), word(), word())
            let right = Position(word(), word(), word())
            #expect((left < right) == (bytes(left) < bytes(right)))
            #expect((left == right) == (left.description == right.description))
            #expect(Position(left.description) == left)
        }
    }

    private func bytes(_ position: Position) -> String {
        // ASCII only, where Swift's order of strings is the order of bytes.
        position.description
    }

    @Test(
        "refuses a position text it did not write",
        arguments: [
            "", "0", "0000000000000000-0000000000000000", "x",
            "000000000000000G-0000000000000000-0000000000000000",
            "000000000000000A-0000000000000000-0000000000000000",
            "+000000000000001-0000000000000000-0000000000000000",
            "0000000000000000-0000000000000000-0000000000000000-",
            "0000000000000000-0000000000000000-0000000000000000 ",
        ]
    )
    func badPosition(text: String) {
        #expect(Position(text) == nil)
    }

    @Test("the words of a UUID keep its bytes and compare as bytes", arguments: [32] as [UInt64])
    func uuidWords(seed: UInt64) {
        print("uuids: seed \(seed)")
        var random = SeededRandom(seed: seed)
        for _ in 0..<1_000 {
            let left = UUIDWords(high: random.next() & 3, low: random.next())
            let right = UUIDWords(high: random.next() & 3, low: random.next())
            #expect(UUIDWords(left.uuid) == left)
            #expect((left < right) == (left.description < right.description))
        }
        let text = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
        #expect(UUID(uuidString: text).map { UUIDWords($0).description } == text)
        #expect(
            UUID(uuidString: text).map { UUIDWords($0) }
                == UUIDWords(high: 0x7d44_4840_9dc0_11d1, low: 0xb245_5ffd_ce74_fad2)
        )
    }

    @Test("a time lies in exactly one bucket, before 1970 too", arguments: [33] as [UInt64])
    func buckets(seed: UInt64) {
        print("buckets: seed \(seed)")
        var random = SeededRandom(seed: seed)
        for _ in 0..<5_000 {
            let time = Int64.random(in: -10_000_000_000_000...10_000_000_000_000, using: &random)
            let width = Int64.random(in: 1...100_000, using: &random)
            let bucket = Bucket(containing: time, width: width)
            #expect(bucket.start % width == 0)
            #expect(bucket.start <= time && time < bucket.end)
            #expect(Bucket(containing: bucket.end, width: width).start == bucket.end)
            #expect(Bucket(containing: bucket.end - 1, width: width) == bucket)
        }
        #expect(
            Bucket(containing: -1, width: 15_000).description
                == "[1969-12-31T23:59:45.000Z, 1970-01-01T00:00:00.000Z)"
        )
    }

    @Test("one name is one type, from whichever thread it is asked for")
    func eventTypes() async {
        let types = await withTaskGroup(of: [EventType].self) { group in
            for _ in 0..<8 {
                group.addTask { (0..<200).map { EventType("PositionTests.\($0)") } }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(Set(types.flatMap(\.self)).count == 200)
        #expect(types.allSatisfy { $0 == types[0] })
        #expect(types[0][7].name == "PositionTests.7")
        #expect(EventType("PositionTests.1") != EventType("PositionTests.2"))
    }

    @Test("a cache of types gives the same types as names do")
    func eventTypeCache() {
        var cache = EventTypeCache()
        for _ in 0..<2 {
            for name in ["OrderPlaced", "", "é", "OrderPlaced2"] {
                let found = Array(name.utf8).withUnsafeBytes { cache.type(named: $0) }
                #expect(found == EventType(name))
            }
        }
    }
}
