import Foundation
import LedgerConformance
import LedgerKit
import ProjectionKit
import TestSupport
import Testing

@testable import Ledgers

@Suite("SQLite ledger")
struct SQLiteLedgerTests {
    @Test("it passes the conformance suite of ledgers")
    func conformance() throws {
        try withLedgerFolder { folder in
            for bucketWidth: Int64 in [1, 15_000, 86_400_000] {
                let conformance = LedgerConformance {
                    let path = folder.file(UUID().uuidString)
                    try SQLiteLedger.create(path: path, bucketWidth: bucketWidth)
                    return LedgerSubject(
                        open: { try SQLiteLedger(path: path) },
                        append: { events in
                            try LedgerWriter.withWriter(path: path) {
                                _ = try $0.append(events.map(NewEvent.init))
                            }
                        }
                    )
                }
                #expect(conformance.violations() == [], "buckets of \(bucketWidth) ms")
            }
        }
    }

    @Test("a new ledger has its bucket width and no events, and is never overwritten")
    func create() throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path, bucketWidth: 1_000)
            #expect(try SQLiteLedger(path: path).bucketWidth == 1_000)
            #expect(try SQLiteLedger(path: path).safePosition() == nil)
            #expect(throws: LedgerError.exists(path: path)) {
                try SQLiteLedger.create(path: path, bucketWidth: 15_000)
            }
            #expect(try SQLiteLedger(path: path).bucketWidth == 1_000)
        }
    }

    @Test("a ledger that cannot be made leaves nothing behind")
    func createInMissingFolder() throws {
        try withLedgerFolder { folder in
            let path = folder.file("missing/a.ledger")
            #expect(throws: LedgerError.self) { try SQLiteLedger.create(path: path) }
            #expect(!FileManager.default.fileExists(atPath: path))
        }
    }

    @Test(
        "a missing file, a folder, an empty file, another file and another database are told apart"
    )
    func notALedger() throws {
        try withLedgerFolder { folder in
            let missing = folder.file("missing.ledger")
            #expect(throws: LedgerError.missing(path: missing)) { try SQLiteLedger(path: missing) }
            expectNotALedger(folder.path, "regular file")
            expectNotALedger(try folder.write("", to: "empty"), "empty")
            let text = String(repeating: "not a database ", count: 1_000)
            expectNotALedger(try folder.write(text, to: "text"), "not an SQLite database")
            let other = try folder.write("", to: "other.sqlite")
            try SQLiteDatabase.withDatabase(path: other, mode: .write, patience: 0) {
                try $0.execute("CREATE TABLE events (id)")
            }
            expectNotALedger(other, "something else")
        }
    }

    private func expectNotALedger(_ path: String, _ reason: String) {
        let error = #expect(throws: LedgerError.self) { try SQLiteLedger(path: path) }
        guard case .notALedger(path, let found) = error else {
            Issue.record("expected notALedger for \(path), got \(String(describing: error))")
            return
        }
        #expect(found.contains(reason))
        #expect(throws: LedgerError.self, "it was opened for writing") {
            try LedgerWriter.withWriter(path: path) { _ in }
        }
    }

    @Test("a ledger of a newer format is refused, to read and to write, with both versions named")
    func newerFormat() throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            try SQLiteDatabase.withDatabase(path: path, mode: .write, patience: 0) {
                try $0.execute("PRAGMA user_version = 7")
            }
            let expected = LedgerError.newerFormat(path: path, found: 7, supported: 2)
            #expect(throws: expected) { try SQLiteLedger(path: path) }
            #expect(throws: expected) { try LedgerWriter.withWriter(path: path) { _ in } }
        }
    }

    @Test("a ledger of the older format is refused, and the way to copy it is named")
    func olderFormat() throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            try SQLiteDatabase.withDatabase(path: path, mode: .write, patience: 0) {
                try $0.execute("PRAGMA user_version = 1")
            }
            let expected = LedgerError.olderFormat(path: path)
            #expect(throws: expected) { try SQLiteLedger(path: path) }
            #expect(throws: expected) { try LedgerWriter.withWriter(path: path) { _ in } }
            #expect(expected.description.contains("ledger upgrade \(path)"))
        }
    }

    @Test("a ledger whose writer was killed is read to the last batch it stored")
    func killedWriter() throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            // A copy of the file and its log, taken before the log is folded in, is what a kill
            // leaves on the disk.
            try LedgerWriter.withWriter(path: path) { writer in
                try writer.append([NewEvent(stream: "s", type: "A", data: "{}")])
                for suffix in ["", "-wal"] {
                    try FileManager.default.copyItem(
                        atPath: path + suffix,
                        toPath: folder.file("copy.ledger") + suffix
                    )
                }
            }
            #expect(try contents(of: folder.file("copy.ledger")) == contents(of: path))
            #expect(try contents(of: path).count == 1)
        }
    }

    @Test("it is read while a writer holds an open transaction, without that transaction's events")
    func readWhileWriting() throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            let ledger = try SQLiteLedger.create(path: path)
            try LedgerWriter.withWriter(path: path) {
                try $0.append([NewEvent(stream: "s", type: "A", data: "{}")])
            }
            let before = try ledger.safePosition()
            try SQLiteDatabase.withDatabase(path: path, mode: .write, patience: 0) { database in
                try database.transaction {
                    try database.execute(
                        """
                        INSERT INTO events VALUES (2, 99999990000, 's', 't', '{}', NULL, NULL, 7)
                        """
                    )
                    #expect(try ledger.safePosition() == before)
                    #expect(try contents(of: path).count == 1)
                    #expect(throws: LedgerError.locked(path: path)) {
                        try LedgerWriter.withWriter(path: path, patience: .zero) {
                            try $0.append([NewEvent(stream: "s", type: "B", data: "{}")])
                        }
                    }
                }
            }
            #expect(try contents(of: path).count == 2)
        }
    }

    @Test("between two batches a reader holds no transaction, so the log can be folded in")
    func readerHoldsNothing() throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            let ledger = try SQLiteLedger.create(path: path)
            let events = (0..<10_000).map { _ in NewEvent(stream: "s", type: "A", data: "{}") }
            try LedgerWriter.withWriter(path: path) { _ = try $0.append(events) }
            let span = PositionSpan(through: try #require(try ledger.safePosition()))
            try ledger.withReader(of: span) { reader in
                let batch = EventBatch()
                #expect(try reader.fill(batch))
                try SQLiteDatabase.withDatabase(path: path, mode: .write, patience: 0) {
                    let busy = try $0.integer("PRAGMA wal_checkpoint(TRUNCATE)")
                    #expect(busy == 0)
                }
                #expect(try reader.fill(batch))
            }
        }
    }
}

extension NewEvent {
    /// The same event, as the suite of ledgers has it.
    fileprivate init(_ event: AppendableEvent) {
        self.init(
            id: event.id,
            time: event.time,
            stream: event.stream,
            type: event.type,
            data: event.payload,
            metadata: event.metadata
        )
    }
}
