import FoundationEssentials
import ProjectionKit
import ProjectionTesting
import Testing

@Suite("ProjectionTesting")
struct ProjectionTestingTests {
    @Test("events get ascending times unless they bring their own, and only the ids they bring")
    func defaults() throws {
        let own = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
        let folded = try given(
            EventLog.self,
            GivenEvent("One"),
            GivenEvent("Two"),
            GivenEvent("Three", at: "2026-02-01T00:00:00.1234Z"),
            GivenEvent("Four", id: own, metadata: #"{"by":"me"}"#),
            GivenEvent("Five")
        )
        let rows = folded.events.rows
        #expect(
            rows.map(\.time.description) == [
                "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:01.000Z",
                "2026-02-01T00:00:00.123400Z", "2026-02-01T00:00:01.123Z",
                "2026-02-01T00:00:02.123Z",
            ]
        )
        #expect(rows.map(\.eventID) == [nil, nil, nil, own, nil])
        #expect(rows.map(\.uuid) == [nil, nil, nil, UUID(uuidString: own), nil])
        #expect(rows.map(\.by) == [nil, nil, nil, "me", nil])
        #expect(rows.map(\.type) == ["One", "Two", "Three", "Four", "Five"])
    }

    @Test("no events give an empty projection")
    func nothing() throws {
        #expect(try given(EventLog.self).events.isEmpty)
    }

    @Test(
        "an event that no ledger would hold is named",
        arguments: [
            (GivenEvent("A", at: "yesterday"), "its time is not RFC 3339"),
            (GivenEvent("A", data: "[1]"), "its data is not a JSON object"),
            (GivenEvent("A", data: "5"), "its data is not a JSON object"),
            (GivenEvent("A", metadata: "[]"), "its metadata is not a JSON object"),
        ]
    )
    func unfit(event: GivenEvent, reason: String) {
        let unfit = #expect(throws: UnfitGivenEvent.self) {
            try given(EventLog.self, GivenEvent("A"), event)
        }
        #expect(unfit?.number == 2)
        #expect(unfit?.reason == reason)
    }

    @Test(
        "data that is not JSON is refused",
        arguments: ["", "{", "{\"a\":tru}", "{\"a\":\"\\u0000\"}"]
    )
    func notJSON(data: String) throws {
        let unfit = try #require(throws: UnfitGivenEvent.self) {
            try given(EventLog.self, GivenEvent("A", data: data))
        }
        #expect(unfit.description.hasPrefix("event 1: its data is not JSON: "))
    }

    @Test("a refused event comes with the facts that a rebuild prints")
    func rejection() throws {
        let rejected = try #require(throws: RejectedEvent.self) {
            try given(
                EventLog.self,
                GivenEvent("A"),
                GivenEvent("A", stream: "s-9", id: "event 2", data: #"{"refuse":"because"}"#)
            )
        }
        #expect(rejected.number == 2)
        #expect(rejected.stream == "s-9")
        #expect(rejected.type == "A")
        #expect(rejected.path == "$.refuse")
        #expect(rejected.reason == "is a text, not true or false")
        #expect(rejected.bucket == Bucket(containing: 1_767_225_601_000, width: 15_000))
        #expect(rejected.description.contains("projection 'event_log' refuses the event at"))
        #expect(rejected.eventID == "event 2")
        #expect(rejected.description.contains("id event 2"))
    }
}

/// Remembers what it saw of each event.
private struct EventLog: Projection {
    static let name = "event_log"
    static let schema: String? = nil

    var events = Table<EventRow>()

    init() {}

    mutating func reduce(_ event: borrowing Event) throws {
        _ = try event.payload.boolIfPresent("refuse")
        let metadata = event.metadata
        let row = EventRow(
            number: Int64(event.position.words.0),
            eventID: event.id,
            uuid: event.uuid,
            by: try metadata.stringIfPresent("by"),
            time: event.time,
            type: event.type.name
        )
        events[row.number] = row
    }
}

private struct EventRow: TableRow {
    let number: Int64
    let eventID: String?
    let uuid: UUID?
    let by: String?
    let time: Timestamp
    let type: String
    var key: Int64 { number }

    static let table = TableDefinition<EventRow>("event", key: "number") {
        Column("number", \.number)
        Column("event_id", \.eventID)
        Column("uuid", \.uuid)
        Column("by", \.by)
        Column("time", \.time)
        Column("type", \.type)
    }
}
