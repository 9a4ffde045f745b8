import Foundation
import ProjectionKit
import Testing

@testable import Ledgers

@Suite("Appending to a ledger")
struct LedgerWriterTests {
    @Test("events without id and time keep the order in which they were appended")
    func appendOrder() throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            // A clock that stands still, then goes back: the worst an append can meet.
            for time: Int64 in [1_000_000, 1_000_000, 999_000, 10] {
                try LedgerWriter.withWriter(path: path, clock: { time }) { writer in
                    try writer.append((0..<500).map { _ in event("A") })
                    try writer.append([event("B")])
                }
            }
            try LedgerWriter.withWriter(path: path) { writer in
                let appended = try writer.append([event("C"), event("D")])
                #expect(appended.map(\.position) == appended.map(\.position).sorted())
            }
            let types = try contents(of: path).map { $0.split(separator: " ")[3] }
            let batch = Array(repeating: "A", count: 500) + ["B"]
            let expected = batch + batch + batch + batch + ["C", "D"]
            #expect(types.map(String.init) == expected)
        }
    }

    @Test(
        "an appended event stands behind an imported id, however great that is",
        arguments: [
            "00000000-0000-4000-8000-000000000000", "ffffffff-ffff-4fff-bfff-ffffffffffff",
            "ffffffff-ffff-ffff-ffff-ffffffffffff", "000000f4-2400-7fff-bfff-ffffffffffff",
        ]
    )
    func appendBehindForeignID(_ id: String) throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            let uuid = try #require(UUID(uuidString: id))
            try LedgerWriter.withWriter(path: path, clock: { 16_000_000 }) { writer in
                let foreign = NewEvent(
                    id: EventID(uuid),
                    time: Timestamp(milliseconds: 16_000_000),
                    stream: "s",
                    type: "Foreign",
                    data: "{}"
                )
                try writer.append([foreign])
                for _ in 0..<3 { try writer.append([event("A")]) }
            }
            let types = try contents(of: path).map { $0.split(separator: " ")[3] }
            #expect(types == ["Foreign", "A", "A", "A"])
            #expect(try LedgerVerify.run(path: path).isSound)
        }
    }

    @Test("events with a time and no id follow those of their millisecond")
    func explicitTime() throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            try LedgerWriter.withWriter(path: path) { writer in
                for type in ["A", "B", "C"] {
                    var new = event(type)
                    new.time = Timestamp("2026-01-01T00:00:00.123Z")
                    try writer.append([new, new])
                }
            }
            let types = try contents(of: path).map { $0.split(separator: " ")[3] }
            #expect(types == ["A", "A", "B", "B", "C", "C"])
        }
    }

    @Test("an id is stored once, whatever comes later under it")
    func idempotent() throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            let time = try #require(Timestamp("2026-01-01T00:00:00Z"))
            let id = EventID.version7(milliseconds: time.milliseconds, number: 1, hash: 1)
            let first = NewEvent(id: id, time: time, stream: "s", type: "A", data: "{}")
            try LedgerWriter.withWriter(path: path) { writer in
                var other = first
                other.data = #"{"other":true}"#
                var elsewhere = first
                elsewhere.time = Timestamp("2026-06-01T00:00:00Z")
                let appended = try writer.append([first, first, other, elsewhere])
                #expect(appended.map(\.wasPresent) == [false, true, true, true])
            }
            let events = try contents(of: path)
            #expect(events.count == 1)
            #expect(events.first?.hasSuffix("{}") == true)
        }
    }

    @Test(
        "an event a ledger cannot take is refused, and its whole batch with it",
        arguments: [
            (NewEvent(stream: "", type: "A", data: "{}"), "its stream is empty"),
            (NewEvent(stream: "s", type: "", data: "{}"), "its type is empty"),
            (NewEvent(stream: "s\0", type: "A", data: "{}"), "its stream holds U+0000"),
            (NewEvent(stream: "s", type: "A", data: "[]"), "its data is an array, not an object"),
            (NewEvent(stream: "s", type: "A", data: "{"), "its data is not valid JSON"),
            (NewEvent(stream: "s", type: "A", data: ""), "its data is not valid JSON"),
            (NewEvent(stream: "s", type: "A", data: #"{"a":"\u0000"}"#), "its data is not valid"),
            (
                NewEvent(
                    time: Timestamp(microseconds: .max),
                    stream: "s",
                    type: "A",
                    data: "{}"
                ),
                "its time is outside the years 0001 to 9999"
            ),
        ]
    )
    func refused(_ bad: NewEvent, _ reason: String) throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            let error = #expect(throws: LedgerError.self) {
                try LedgerWriter.withWriter(path: path) { try $0.append([event("A"), bad]) }
            }
            guard case .refused(path, let found) = error else {
                Issue.record("expected refused, got \(String(describing: error))")
                return
            }
            #expect(found.hasPrefix(reason))
            #expect(try contents(of: path).isEmpty)
        }
    }

    private func event(_ type: String) -> NewEvent {
        NewEvent(stream: "s", type: type, data: "{}")
    }
}
