internal import ProjectionKit
internal import Wording

/// The writing side of an import.
///
/// Used by one thread.
final class ImportWriting {
    private(set) var counts: ImportProgress

    private let work: LedgerImport
    private let writer: LedgerWriter
    private let pace: ImportPace
    private let start: ImportStart
    private let badRecords: BadRecordFiles
    private let unit: String
    /// The row of the import as it is to be, and as the ledger has it.
    private var row: ImportRecord
    private var known: ImportRecord?

    /// Where a chunk ends early.
    private struct End {
        let place: String
        let reason: String
    }

    /// More records are bad than may be: the chunk must end before this one.
    private struct TooManyBad: Error {
        let entry: Int
    }

    /// Another import of the same content got ahead.
    private struct Overtaken: Error {}

    init(
        _ work: LedgerImport,
        _ start: ImportStart,
        _ writer: LedgerWriter,
        _ pace: ImportPace
    ) {
        self.work = work
        self.writer = writer
        self.pace = pace
        self.start = start
        row = start.record
        known = start.known
        unit = start.reader.form.unit
        counts = ImportProgress()
        counts.readBefore = start.record.records
        badRecords = BadRecordFiles(
            ledger: work.ledger,
            source: work.file == "-"
                ? "standard input" : TextForPeople.shown(work.file, most: 1_000),
            header: start.rows?.header,
            marks: {
                try ImportRecord.all(in: writer.database).filter(\.isSound).map(\.badFiles)
            }
        )
    }

    /// Stores a chunk in one transaction.
    ///
    /// - Throws: ``ImportError`` at a record that stops the import, with all before it stored.
    func store(_ chunk: ImportChunk, _ progress: (ImportProgress) throws -> Void) throws {
        let since = ContinuousClock.now
        do {
            let end = try storeWhatMay(chunk)
            counts.bytesRead = chunk.bytesRead
            counts.bytesTotal = chunk.bytesTotal
            counts.leavesUnfinished = chunk.isUnfinished || start.awaitsHeader
            if !chunk.isLast {
                pace.adapt(to: .now - since, records: chunk.records, bytes: chunk.text.count)
            }
            try progress(counts)
            if let end {
                throw work.error(.badRecord, end.reason, place: end.place, counts: counts)
            }
        } catch is Overtaken {
            throw work.error(
                .importedBefore,
                "another process is importing the same content at this moment",
                advice: "Wait for its end, then run the same command again.",
                counts: counts
            )
        }
        if let stop = chunk.stop {
            throw work.error(.unreadable, stop.reason, place: stop.place, counts: counts)
        }
    }

    private func storeWhatMay(_ chunk: ImportChunk) throws -> End? {
        var end: End?
        let allowed = work.options.skipBad - counts.setAside
        if chunk.bad.count > allowed { end = cut(chunk, before: allowed) }
        while true {
            guard isWorthWriting(chunk, end) else { return end }
            do {
                return try append(chunk, end, allowed)
            } catch let error as TooManyBad {
                end = cut(chunk, before: error.entry)
            }
        }
    }

    private func cut(_ chunk: ImportChunk, before entry: Int) -> End {
        let bad = chunk.bad[entry]
        chunk.end(before: entry)
        return End(place: "\(unit) \(bad.number)", reason: bad.reason)
    }

    private func isWorthWriting(_ chunk: ImportChunk, _ end: End?) -> Bool {
        if chunk.records > 0 { return true }
        guard chunk.isLast, end == nil else { return false }
        return row.number == 0 ? row.source != nil : row != known || !row.isComplete
    }

    private func append(_ chunk: ImportChunk, _ end: End?, _ allowed: Int) throws -> End? {
        var end = end
        var refused: [(index: Int, reason: String)] = []
        let appended = try writer.append(
            chunk.batch,
            refusing: { index, reason in
                let before = chunk.bad.prefix { $0.index <= index }.count + refused.count
                guard before < allowed else {
                    let number = chunk.batch.records[index].number
                    end = End(place: "\(unit) \(number)", reason: reason)
                    return false
                }
                refused.append((index, reason))
                return true
            },
            together: { appended in
                try finish(chunk, appended, refused, isCut: end != nil, allowed)
            }
        )
        counts.stored += appended.stored
        counts.present += appended.present
        return end
    }

    /// Writes what belongs to the chunk besides its events.
    private func finish(
        _ chunk: ImportChunk,
        _ appended: AppendCounts,
        _ refused: [(index: Int, reason: String)],
        isCut: Bool,
        _ allowed: Int
    ) throws {
        let limit = appended.stoppedAt ?? chunk.places.count
        let bad = chunk.bad.filter { appended.stoppedAt == nil || $0.index <= limit }
        let setAside = merged(bad, refused, chunk)
        if setAside.count > allowed, let entry = setAside[allowed].entry {
            throw TooManyBad(entry: entry)
        }
        try assertNotOvertaken()
        for record in setAside {
            try chunk.text.withUnsafeBytes {
                try badRecords.append(
                    UnsafeRawBufferPointer(rebasing: $0[record.span]),
                    place: "\(unit) \(record.number)",
                    reason: record.reason
                )
            }
        }
        if !setAside.isEmpty, let marks = try badRecords.synchronize() { row.badFiles = marks }
        row.setAside += setAside.count
        let passed = chunk.length(through: appended.stoppedAt)
        chunk.text.withUnsafeBytes {
            start.digest.add(UnsafeRawBufferPointer(rebasing: $0[..<passed.bytes]))
        }
        row.bytes += passed.bytes
        row.records += passed.records
        row.events += appended.stored + appended.present
        let skipped = Set(refused.map(\.index))
        for index in 0..<limit where !chunk.batch.records[index].hasID && !skipped.contains(index) {
            row.unnamed += 1
        }
        let isRead = chunk.isLast && !isCut && appended.stoppedAt == nil && chunk.stop == nil
        row.isComplete = isRead && !work.isConfirmedLater
        try writeRow()
        counts.unconfirmed = isRead && work.isConfirmedLater && row.number > 0 ? row : nil
        count(setAside, passed.records)
    }

    /// A record that is set aside, and which of the chunk's bad ones it is.
    private struct SetAside {
        let number: Int
        let reason: String
        let span: Range<Int>
        let entry: Int?
    }

    private func merged(
        _ bad: [BadRecord],
        _ refused: [(index: Int, reason: String)],
        _ chunk: ImportChunk
    ) -> [SetAside] {
        var all: [SetAside] = []
        var next = 0
        func addBad(through index: Int) {
            while next < bad.count, bad[next].index <= index {
                let record = bad[next]
                all.append(
                    SetAside(
                        number: record.number,
                        reason: record.reason,
                        span: record.span,
                        entry: next
                    )
                )
                next += 1
            }
        }
        for (index, reason) in refused {
            addBad(through: index)
            let number = chunk.batch.records[index].number
            all.append(
                SetAside(number: number, reason: reason, span: chunk.places[index].text, entry: nil)
            )
        }
        addBad(through: .max)
        return all
    }

    private func count(_ setAside: [SetAside], _ records: Int) {
        counts.records += records
        counts.setAside += setAside.count
        guard !setAside.isEmpty else { return }
        counts.badRecordsPath = BadRecordFiles.recordsPath(
            of: work.ledger,
            isCSV: start.rows != nil
        )
        for record in setAside.prefix(max(0, 5 - counts.firstReasons.count)) {
            counts.firstReasons.append("\(work.name), \(unit) \(record.number): \(record.reason).")
        }
    }

    /// Makes sure that what was known when the import began is still so.
    private func assertNotOvertaken() throws {
        if row.number == 0 {
            let newer = try ImportRecord.all(in: writer.database, after: start.newest)
            guard !newer.isEmpty else { return }
            let digest = StreamDigest()
            let head = start.head
            head.withUnsafeBytes { digest.add($0) }
            let isOvertaken = newer.contains {
                if let source = row.source, $0.source == source { return true }
                return $0.headBytes == head.count && $0.headDigest == digest.value && $0.unnamed > 0
                    && !work.options.again
            }
            if isOvertaken { throw Overtaken() }
        } else if try ImportRecord.all(in: writer.database, after: row.number - 1, most: 1).first
            != known
        {
            guard row.unnamed == 0, row.source == nil else { throw Overtaken() }
            // What has ids cannot be doubled by another import of the same.
            row.number = 0
        }
    }

    private func writeRow() throws {
        guard row.records > 0 || row.source != nil else { return }
        let headBytes = min(start.head.count, row.bytes)
        if headBytes != row.headBytes {
            let digest = StreamDigest()
            start.head.withUnsafeBytes {
                digest.add(UnsafeRawBufferPointer(rebasing: $0[..<headBytes]))
            }
            row.headBytes = headBytes
            row.headDigest = digest.value
            row.headEnds = start.ends.known(through: row.bytes)
        }
        row.digest = start.digest.value
        row.endedAt = LedgerClock.now()
        try row.write(to: writer.database)
        known = row
    }
}
