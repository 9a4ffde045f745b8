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
            for time: Int64 in [1_000_000_000, 1_000_000_000, 999_000_000, 10] {
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

    @Test("a writer that ends beside another leaves it the log to merge and the file of turns")
    func endingBesideAnother() throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            try LedgerWriter.withWriter(path: path) { lasting in
                try lasting.append([event("A")])
                let turns = try inode(of: path + "-turn")
                let merged = try MergedFile(in: lasting.database).lastEvent()
                for _ in 0..<3 {
                    try LedgerWriter.withWriter(path: path) { try $0.append([event("B")]) }
                }
                #expect(try inode(of: path + "-turn") == turns)
                #expect(try MergedFile(in: lasting.database).lastEvent() == merged)
                try lasting.append([event("C")])
            }
            #expect(!FileManager.default.fileExists(atPath: path + "-turn"))
            #expect(!FileManager.default.fileExists(atPath: path + "-wal"), "the last one merges")
            let types = try contents(of: path).map { $0.split(separator: " ")[3] }
            #expect(types == ["A", "B", "B", "B", "C"])
        }
    }

    private func inode(of path: String) throws -> UInt64 {
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        return try #require(attributes[.systemFileNumber] as? UInt64)
    }

    @Test(
        "an appended event stands behind one with an id of its own, however great that is",
        arguments: [
            "00000000-0000-4000-8000-000000000000", "ffffffff-ffff-4fff-bfff-ffffffffffff",
            "ffffffff-ffff-ffff-ffff-ffffffffffff", "000000f4-2400-7fff-bfff-ffffffffffff",
            "zzz", "order/1",
        ]
    )
    func appendBehindForeignID(_ id: String) throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            try LedgerWriter.withWriter(path: path, clock: { 16_000_000_000 }) { writer in
                let foreign = NewEvent(
                    id: id,
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

    @Test("L2: an id is stored once; the same id with other content is refused")
    func idempotent() throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            let time = try #require(Timestamp("2026-01-01T00:00:00Z"))
            let first = NewEvent(id: "a 1", time: time, stream: "s", type: "A", data: "{}")
            var timeless = first
            timeless.time = nil
            try LedgerWriter.withWriter(path: path) { writer in
                let appended = try writer.append([first, event("B"), first, timeless])
                #expect(appended.map(\.wasPresent) == [false, false, true, true])
                #expect(appended.map(\.sequence) == [1, 2, 1, 1])
                #expect(appended.map(\.time).last == time)
            }
            let before = try contents(of: path)
            #expect(before.count == 2)
            let changes: [(String, (inout NewEvent) -> Void)] = [
                ("time is", { $0.time = Timestamp("2026-06-01T00:00:00Z") }),
                ("stream is", { $0.stream = "t" }), ("type is", { $0.type = "B" }),
                ("data is", { $0.data = "{ }" }), ("metadata is", { $0.metadata = "{}" }),
                (
                    "stream, type are",
                    {
                        $0.stream = "t"
                        $0.type = "B"
                    }
                ),
            ]
            for (clause, change) in changes {
                var other = first
                change(&other)
                let error = #expect(throws: LedgerError.self) {
                    try LedgerWriter.withWriter(path: path) { try $0.append([event("C"), other]) }
                }
                guard case .refused(path, let reason) = error else {
                    Issue.record("expected refused, got \(String(describing: error))")
                    return
                }
                #expect(reason.contains("is that of event 1") && reason.contains(clause))
                #expect(try contents(of: path) == before)
            }
        }
    }

    @Test(
        "an event a ledger cannot take is refused, and its whole batch with it",
        arguments: [
            (NewEvent(stream: "", type: "A", data: "{}"), "its stream is empty"),
            (NewEvent(stream: "s", type: "", data: "{}"), "its type is empty"),
            (NewEvent(stream: "s\0", type: "A", data: "{}"), "its stream holds U+0000"),
            (NewEvent(id: "", stream: "s", type: "A", data: "{}"), "its id is empty"),
            (
                NewEvent(
                    id: String(repeating: "i", count: 256),
                    stream: "s",
                    type: "A",
                    data: "{}"
                ),
                "its id is longer than 255 bytes"
            ),
            (
                NewEvent(stream: "s", type: "A", data: "{}", metadata: "[]"),
                "its metadata is an array, not an object"
            ),
            (
                NewEvent(
                    time: Timestamp("9999-01-01T00:00:00Z"),
                    stream: "s",
                    type: "A",
                    data: "{}"
                ),
                "its time, 9999-01-01T00:00:00.000Z, is more than a day ahead of the clock"
            ),
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
