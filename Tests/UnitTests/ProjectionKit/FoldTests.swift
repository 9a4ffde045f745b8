import ProjectionKit
import TestSupport
import Testing

@Suite("Fold and EventBatch")
struct FoldTests {
    @Test("a batch lends what was put into it, however much it grows", arguments: [41] as [UInt64])
    func batchGrowth(seed: UInt64) throws {
        print("batch: seed \(seed)")
        var random = SeededRandom(seed: seed)
        let batch = EventBatch(capacity: 1, bytes: 0)
        for round in 0..<3 {
            batch.removeAll()
            #expect(batch.count == 0 && batch.lastBucketStart == nil)
            var expected: [(stream: String, text: String)] = []
            for index in 0..<3_000 {
                let stream = String(repeating: "s", count: Int.random(in: 0...40, using: &random))
                let text = String(repeating: "é", count: Int.random(in: 0...200, using: &random))
                expected.append((stream, text))
                put(stream, "{\"t\":\"\(text)\",\"n\":\(index)}", at: index, into: batch)
            }
            var index = 0
            try batch.forEach { event throws in
                #expect(event.stream == expected[index].stream)
                #expect(try event.payload.string("t") == expected[index].text)
                #expect(try event.payload.int64("n") == Int64(index))
                #expect(event.id == (index % 3 > 0 ? "event-\(index)" : nil))
                #expect(event.hasMetadata == (index % 3 > 0))
                #expect(
                    try event.metadata.int64IfPresent("by") == (index % 3 > 0 ? Int64(index) : nil)
                )
                #expect(event.position == Position(UInt64(index)))
                #expect(event.time == Timestamp(milliseconds: Int64(index)))
                #expect(event.bucket == Bucket(start: 0, width: 15_000))
                index += 1
            }
            #expect(index == 3_000, "round \(round)")
            #expect(batch.lastBucketStart == 0)
        }
    }

    @Test("an event at the place of an earlier one is not mistaken for it")
    func reuse() throws {
        let batch = EventBatch(capacity: 1, bytes: 64)
        for number in 0..<10 {
            batch.removeAll()
            put("", "{\"n\":\(number)}", at: number, into: batch)
            try batch.forEach { event throws in
                #expect(try event.payload.int64("n") == Int64(number))
            }
            try batch.forEach { event throws in
                #expect(try event.payload.int64("n") == Int64(number))
            }
        }
    }

    @Test("a fold shows the projection's tables in their order")
    func tables() throws {
        let fold = Numbers.makeFold()
        let batch = EventBatch()
        for number in 0..<5 { put("s", "{\"n\":\(number)}", at: number, into: batch) }
        try fold.apply(batch)
        #expect(fold.projectionName == "numbers")
        #expect(fold.declaredTables.map(\.property) == ["numbers", "last"])
        #expect(fold.tables.map(\.count) == [5])
        #expect(fold.workingTables.map(\.count) == [1])
    }

    @Test("a refused event is named with its place and the JSON path")
    func rejection() throws {
        let fold = Numbers.makeFold()
        let batch = EventBatch()
        put("s-1", "{\"n\":1}", at: 20_000, into: batch)
        put("s-2", "{\"n\":\"x\"}", at: 30_001, into: batch)
        let rejection = try #require(throws: EventRejection.self) { try fold.apply(batch) }
        #expect(rejection.projection == "numbers")
        #expect(rejection.event.eventID == "event-30001")
        #expect(rejection.event.position == Position(30_001))
        #expect(rejection.event.bucket == Bucket(start: 30_000, width: 15_000))
        #expect(rejection.event.stream == "s-2")
        #expect(rejection.event.type == "Numbered")
        #expect(rejection.path == "$.n")
        #expect(rejection.reason == "is a text, not a whole number of 64 bits")
        #expect(
            rejection.description == """
                projection 'numbers' refuses the event at position \
                0000000000007531-0000000000000000-0000000000000000: type Numbered, stream s-2, \
                id event-30001, bucket [1970-01-01T00:00:30.000Z, 1970-01-01T00:00:45.000Z): \
                $.n is a text, not a whole number of 64 bits
                """
        )
    }

    private func put(_ stream: String, _ payload: String, at number: Int, into batch: EventBatch) {
        // Every third event has neither an id nor metadata.
        let isNamed = number % 3 > 0
        batch.append(
            LedgerEvent(
                position: Position(UInt64(number)),
                time: Timestamp(milliseconds: Int64(number)),
                bucketStart: Bucket(containing: Int64(number), width: 15_000).start,
                type: "Numbered",
                stream: stream,
                payload: payload,
                id: isNamed ? "event-\(number)" : nil,
                metadata: isNamed ? "{\"by\":\(number)}" : nil
            )
        )
    }
}

private struct Numbers: Projection {
    static let name = "numbers"
    static let schema: String? = nil

    var numbers = Table<NumberRow>()
    private var last = WorkingTable<NumberRow>()

    init() {}

    mutating func reduce(_ event: borrowing Event) throws {
        let number = try event.payload.int64("n")
        numbers[number] = NumberRow(id: number)
        last[0, default: NumberRow(id: 0)].times += 1
    }
}

private struct NumberRow: TableRow {
    let id: Int64
    var times: Int64 = 0
    var key: Int64 { id }

    static let table = TableDefinition<NumberRow>("number", key: "id") {
        Column("id", \.id)
        Column("times", \.times)
    }
}
