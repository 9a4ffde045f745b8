import Foundation
import LedgerKit
import ProjectionKit
import TestSupport
import Testing

@testable import Ledgers

@Suite("Looking at a ledger")
struct LedgerVerifyTests {
    private func withLedger(_ body: (_ path: String) throws -> Void) throws {
        try withLedgerFolder { folder in
            var events = LedgerBuilder()
            events.add("A", to: "s1", at: "2026-01-01T00:00:01Z")
            events.add("B", to: "s1", at: "2026-01-01T00:00:02Z", id: "b")
            events.add("A", to: "s2", at: "2026-01-01T00:01:00Z")
            try events.write(to: folder.file("a.ledger"))
            try body(folder.file("a.ledger"))
        }
    }

    private func change(_ path: String, _ sql: String) throws {
        try SQLiteDatabase.withDatabase(path: path, mode: .write, patience: 0) {
            try $0.execute(sql)
        }
    }

    @Test("info counts types, streams and buckets, and gives the range of times")
    func info() throws {
        try withLedger { path in
            let info = try LedgerInfo.read(try SQLiteLedger(path: path))
            #expect(info.events == 3)
            #expect(info.types.map(\.type) == ["A", "B"])
            #expect(info.types.map(\.events) == [2, 1])
            #expect(info.streams == 2)
            #expect(info.buckets == 2)
            #expect(info.busiest?.events == 2)
            #expect(info.times?.lowerBound == Timestamp("2026-01-01T00:00:01Z"))
            #expect(info.times?.upperBound == Timestamp("2026-01-01T00:01:00Z"))
            #expect(try #require(info.fileBytes) > 0)
            #expect(info.ids == 1 && info.backdated == 0)
            #expect(info.identity.count == 36)
            #expect(info.position == (try SQLiteLedger(path: path).safePosition()))
            #expect(info.warnings == [])
        }
    }

    @Test("info of an empty ledger is zero everywhere")
    func emptyInfo() throws {
        try withLedgerFolder { folder in
            try SQLiteLedger.create(path: folder.file("a.ledger"))
            let info = try LedgerInfo.read(try SQLiteLedger(path: folder.file("a.ledger")))
            #expect(info.events == 0 && info.streams == 0 && info.buckets == 0)
            #expect(info.busiest == nil && info.times == nil && info.types.isEmpty)
        }
    }

    @Test("info warns of a bucket with more than 100,000 events")
    func busyBucket() throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path, bucketWidth: 86_400_000)
            try LedgerWriter.withWriter(path: path) {
                _ = try ShopWorkload(events: 100_001, seed: 1).write(to: $0)
            }
            let info = try LedgerInfo.read(try SQLiteLedger(path: path))
            #expect(info.busiest?.events == 100_001)
            #expect(info.warnings.count == 1)
            #expect(info.warnings.first?.contains("100001 events") == true)
        }
    }

    @Test("a sound ledger has no findings")
    func sound() throws {
        try withLedger { path in
            let result = try LedgerVerify.run(path: path)
            #expect(result.events == 3)
            #expect(result.expected == 3)
            #expect(result.isSound)
        }
    }

    @Test(
        "each kind of damage is found, and the event named",
        arguments: [
            ("UPDATE events SET payload = '[1]' WHERE type = 'B'", LedgerVerify.Check.content),
            ("UPDATE events SET payload = '{' WHERE type = 'B'", .content),
            ("UPDATE events SET metadata = '{}' WHERE type = 'B'", .content),
            ("UPDATE events SET time = time + 1 WHERE type = 'B'", .content),
            ("UPDATE events SET stream = '' WHERE type = 'B'", .content),
            ("UPDATE events SET checksum = checksum + 1 WHERE type = 'B'", .content),
            ("DELETE FROM events WHERE type = 'B'", .order),
            ("UPDATE events SET sequence = sequence + 7 WHERE sequence = 3", .order),
            ("UPDATE buckets SET events = events + 1 WHERE first_sequence = 1", .buckets),
            ("UPDATE buckets SET start_ms = start_ms - 15000 WHERE first_sequence = 1", .buckets),
            ("DELETE FROM buckets WHERE first_sequence = 3", .buckets),
            ("DELETE FROM recent_ids", .ids),
            ("UPDATE recent_ids SET sequence = 1", .ids),
            ("UPDATE ledger SET bucket_width_ms = 30000", .header),
        ]
    )
    func damage(_ sql: String, _ check: LedgerVerify.Check) throws {
        try withLedger { path in
            try change(path, sql)
            let result = try LedgerVerify.run(path: path)
            #expect(result.counts[check, default: 0] > 0)
            #expect(result.findings.first?.check == check)
            #expect(!result.isSound)
        }
    }

    @Test("all findings are counted and the first twenty listed")
    func manyFindings() throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            try LedgerWriter.withWriter(path: path) {
                _ = try ShopWorkload(events: 500, seed: 1).write(to: $0)
            }
            try change(path, "UPDATE events SET payload = 'x'")
            let result = try LedgerVerify.run(path: path)
            #expect(result.counts == [.content: 500])
            #expect(result.findings.count == LedgerVerify.listed)
        }
    }

    @Test("a damaged page is a finding of SQLite's own check")
    func damagedPage() throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            try LedgerWriter.withWriter(path: path) {
                _ = try ShopWorkload(events: 5_000, seed: 1).write(to: $0)
            }
            try change(path, "PRAGMA wal_checkpoint(TRUNCATE)")
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
            try file.seek(toOffset: 10 * 16_384)
            try file.write(contentsOf: Data(repeating: 0xa5, count: 8_192))
            try file.close()
            let result = try LedgerVerify.run(path: path)
            #expect(result.counts[.file, default: 0] > 0)
            #expect(result.expected == 5_000)
        }
    }
}
