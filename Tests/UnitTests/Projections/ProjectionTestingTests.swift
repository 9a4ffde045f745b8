import ProjectionKit
import ProjectionTesting
import Testing

@Suite("ProjectionTesting")
struct ProjectionTestingTests {
    @Test("events get ascending times and ids unless they bring their own")
    func defaults() throws {
        let own = EventID(high: 1, low: 2)
        let folded = try given(
            EventLog.self,
            GivenEvent("One"),
            GivenEvent("Two"),
            GivenEvent("Three", at: "2026-02-01T00:00:00.1234Z"),
            GivenEvent("Four", id: own),
            GivenEvent("Five")
        )
        let rows = folded.events.rows
        #expect(
            rows.map(\.time.description) == [
                "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:01.000Z",
                "2026-02-01T00:00:00.123Z", "2026-02-01T00:00:01.123Z", "2026-02-01T00:00:02.123Z",
            ]
        )
        #expect(rows[3].id == own)
        let ids = rows.map(\.id).filter { $0 != own }
        #expect(ids == ids.sorted() && Set(ids).count == 4)
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
                GivenEvent("A", stream: "s-9", data: #"{"refuse":"because"}"#)
            )
        }
        #expect(rejected.number == 2)
        #expect(rejected.stream == "s-9")
        #expect(rejected.type == "A")
        #expect(rejected.path == "$.refuse")
        #expect(rejected.reason == "is a text, not true or false")
        #expect(rejected.bucket == Bucket(containing: 1_767_225_601_000, width: 15_000))
        #expect(rejected.description.contains("projection 'event_log' refuses event"))
        #expect(rejected.description.contains(rejected.eventID.description))
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
        events[event.id] = EventRow(id: event.id, time: event.time, type: event.type.name)
    }
}

private struct EventRow: TableRow {
    let id: EventID
    let time: Timestamp
    let type: String
    var key: EventID { id }

    static let table = TableDefinition<EventRow>("event", key: "id") {
        Column("id", \.id)
        Column("time", \.time)
        Column("type", \.type)
    }
}
