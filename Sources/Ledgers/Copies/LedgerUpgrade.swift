internal import LedgerKit
internal import ProjectionKit
internal import Wording

/// A copy of a ledger of format 1 in the newest format: its events in the order in which they were
/// read until now, by bucket and id.
package struct LedgerUpgrade: Hashable, Sendable {
    /// What it is doing, for progress.
    package enum Step: Hashable, Sendable {
        /// Events are copied: so many so far.
        case copying(Int)
        /// The copy is verified: events so far.
        case verifying(Int)
    }

    /// Events that were copied.
    package private(set) var events = 0
    /// Those of them whose id stood at an earlier event, too.
    ///
    /// They have it in their metadata, as `format1_id`, and no id of their own.
    package private(set) var repeatedIDs = 0
    /// Milliseconds.
    package private(set) var bucketWidth: Int64 = 0

    /// Copies a ledger.
    ///
    /// Blocks. The old file is only read.
    ///
    /// - Parameters:
    ///   - old: A ledger of format 1.
    ///   - new: Where the new one is to be; there must be nothing.
    ///   - progress: Called now and then; what it throws ends the copying.
    /// - Returns: What was copied.
    /// - Throws: ``CopyError``, ``LedgerError``; what `progress` throws. Then there is nothing at
    ///   `new`.
    package static func run(
        from old: String,
        to new: String,
        progress: (Step) throws -> Void = { _ in }
    ) throws -> LedgerUpgrade {
        let source = try FormatOneFile(path: old)
        try LedgerFile.assertNoLog(beside: new)
        return try StagedFile.make(new) { staged in
            try CopyError.naming(new, insteadOf: staged) {
                var upgrade = LedgerUpgrade()
                upgrade.bucketWidth = source.bucketWidth
                try LedgerFile.make(staged, .init(bucketWidth: source.bucketWidth))
                try LedgerWriter.withWriter(path: staged) { writer in
                    writer.allowsFuture = true
                    try writer.leaveSyncToCaller()
                    try HandOff.run(
                        buffers: [NewEventBatch(), NewEventBatch(), NewEventBatch()],
                        produce: { try source.read(into: $0) },
                        consume: { batch in
                            try upgrade.store(batch, by: writer)
                            try progress(.copying(upgrade.events))
                        }
                    )
                }
                guard !SQLiteDatabase.hasLog(staged) else {
                    throw CopyError.differs(path: new, reason: "its log could not be merged")
                }
                let result = try LedgerVerify.run(path: staged) { try progress(.verifying($0)) }
                guard result.isSound, result.events == upgrade.events else {
                    throw CopyError.differs(path: new, reason: result.firstReason)
                }
                return upgrade
            }
        }
    }

    /// Stores a batch, with the ids that are taken already in the metadata.
    private mutating func store(_ batch: NewEventBatch, by writer: LedgerWriter) throws {
        do {
            try append(batch, by: writer)
        } catch let error as RepeatedIDs {
            repeatedIDs += error.indices.count
            try append(batch.movingIDs(of: error.indices), by: writer)
        }
        events += batch.records.count
    }

    /// Events of a batch whose ids are taken; nothing of it was stored.
    private struct RepeatedIDs: Error {
        let indices: Set<Int>
    }

    private func append(_ batch: NewEventBatch, by writer: LedgerWriter) throws {
        var repeated: Set<Int> = []
        var next = 0
        try writer.append(
            batch,
            refusing: { index, _ in
                repeated.insert(index)
                next = index + 1
                return true
            },
            done: { event in
                if event.wasPresent { repeated.insert(next) }
                next += 1
            },
            together: { _ in
                guard repeated.isEmpty else { throw RepeatedIDs(indices: repeated) }
            }
        )
    }
}

extension NewEventBatch {
    /// The same events; those of the indices have their id in the metadata.
    fileprivate func movingIDs(of indices: Set<Int>) -> NewEventBatch {
        let moved = NewEventBatch()
        for (index, record) in records.enumerated() {
            let texts = texts(of: record)
            let moves = indices.contains(index)
            var metadata: [UInt8] = []
            if moves { metadata = Array("{\"format1_id\":\"".utf8) + texts.id + Array("\"}".utf8) }
            metadata.withUnsafeBytes { bytes in
                moved.append(
                    id: moves || !record.hasID ? nil : texts.id,
                    time: record.time,
                    stream: texts.stream,
                    type: type(of: record),
                    data: texts.payload,
                    metadata: moves ? bytes : nil
                )
            }
        }
        return moved
    }
}

/// A ledger file of format 1 (`migrations/ledger/0001_events.sql`), to be read once.
private struct FormatOneFile: Sendable {
    private static let batchEvents = 65_536
    private static let batchBytes = 16 << 20

    let path: String
    /// Milliseconds.
    let bucketWidth: Int64

    init(path: String) throws {
        self.path = path
        bucketWidth = try SQLiteDatabase.withDatabase(
            path: path,
            mode: .read,
            patience: LedgerFile.patience
        ) { database in
            let format = try LedgerFile.format(of: database)
            guard format <= LedgerFile.formatVersion else {
                throw LedgerError.newerFormat(
                    path: path,
                    found: format,
                    supported: LedgerFile.formatVersion
                )
            }
            guard format > 0 else {
                throw LedgerError.notALedger(path: path, reason: "it says that its format is 0")
            }
            guard format == 1 else { throw CopyError.newestFormat(path: path, found: format) }
            let tables = try database.integer(
                """
                SELECT count(*) FROM main.sqlite_schema
                WHERE type = 'table' AND name IN ('events', 'settings')
                """
            )
            guard tables == 2 else {
                throw LedgerError.notALedger(path: path, reason: "its tables are missing")
            }
            let width = try database.integer(
                "SELECT value FROM main.settings WHERE name = 'bucket_width_ms'"
            )
            guard let width, (1...86_400_000).contains(width) else {
                throw LedgerError.damaged(path: path, reason: "it has no bucket width")
            }
            return width
        }
    }

    /// Reads all events of one snapshot.
    func read(into exchange: HandOffExchange<NewEventBatch>) throws {
        let signature = FileSignature(of: path)
        try SQLiteDatabase.withDatabase(path: path, mode: .read, patience: LedgerFile.patience) {
            database in
            _ = try database.integer("SELECT 1 FROM main.sqlite_schema")
            let version = try database.integer("PRAGMA main.data_version")
            let rows = try FormatOneRows(database)
            try exchange.fillEach { batch in
                batch.removeAll()
                while batch.records.count < Self.batchEvents, batch.byteCount < Self.batchBytes,
                    try rows.appendNext(to: batch)
                {}
                return !batch.records.isEmpty
            }
            rows.end()
            _ = try database.integer("SELECT 1 FROM main.sqlite_schema")
            // A reader that may not share the log's index reads the log anew each time, and has another
            // version then, although nobody wrote.
            let isWritten =
                try database.isImmutable
                || database.integer("PRAGMA main.data_version") != version
            if isWritten, signature != FileSignature(of: path) {
                throw CopyError.written(path: path)
            }
        }
    }
}

/// The rows of a file of format 1 in their order.
///
/// Used by one thread.
private final class FormatOneRows {
    private let database: SQLiteDatabase
    private let statement: SQLiteStatement
    private let json = JSONObjectReader()
    private var padded = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
    private var id: [UInt8] = []
    private var isAtEnd = false

    init(_ database: SQLiteDatabase) throws {
        self.database = database
        statement = try database.prepare(
            """
            SELECT time_bucket, event_id, ts, stream, type, message FROM main.events
            ORDER BY time_bucket, event_id
            """
        )
    }

    deinit { padded.deallocate() }

    /// Ends the snapshot.
    func end() { statement.reset() }

    /// - Returns: False when there is none left.
    func appendNext(to batch: NewEventBatch) throws -> Bool {
        // Behind its last row a statement would begin anew.
        guard !isAtEnd else { return false }
        isAtEnd = try !statement.step()
        guard !isAtEnd else { return false }
        writeID(statement.blob(1))
        let (time, isTooFar) = statement.integer(2).multipliedReportingOverflow(by: 1_000)
        let (stream, type, data) = (statement.text(3), statement.text(4), statement.text(5))
        let complaint =
            (id.count == 36 ? nil : "its id is not one of 16 bytes")
            ?? (isTooFar
                ? "its time is outside the years 0001 to 9999"
                : NewEventChecker.complaint(aboutTime: time))
            ?? NewEventChecker.complaint(about: stream, named: "stream")
            ?? NewEventChecker.complaint(about: type, named: "type")
            ?? self.complaint(aboutJSON: data)
        if let complaint {
            throw CopyError.rejected(
                path: database.path,
                event: "the row of time_bucket \(statement.integer(0)) and event_id "
                    + TextForPeople.shown(String(decoding: id, as: UTF8.self)),
                reason: complaint
            )
        }
        id.withUnsafeBytes {
            batch.append(id: $0, time: time, stream: stream, type: type, data: data)
        }
        return true
    }

    /// As text: 8-4-4-4-12 digits.
    private func writeID(_ bytes: UnsafeRawBufferPointer) {
        let digits: StaticString = "0123456789abcdef"
        id.removeAll(keepingCapacity: true)
        for (index, byte) in bytes.enumerated() {
            if bytes.count == 16, [4, 6, 8, 10].contains(index) { id.append(UInt8(ascii: "-")) }
            id.append(digits.utf8Start[Int(byte >> 4)])
            id.append(digits.utf8Start[Int(byte & 15)])
        }
    }

    private func complaint(aboutJSON text: UnsafeRawBufferPointer) -> String? {
        // The parser looks further than the text goes.
        let needed = text.count + PayloadParser.padding
        if needed > padded.count {
            padded.deallocate()
            padded = .allocate(byteCount: needed * 2, alignment: 16)
        }
        padded.copyMemory(from: text)
        for offset in text.count..<needed { padded[offset] = 0 }
        return json.open(UnsafeRawBufferPointer(rebasing: padded[..<text.count]))
            .map { "its message \($0)" }
    }
}
