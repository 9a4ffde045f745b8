internal import ProjectionKit
internal import Synchronization

/// Why the reading of records ended early.
struct ImportStop {
    let place: String
    let reason: String
}

/// A record that is no event.
struct BadRecord {
    let number: Int
    let reason: String
    /// Where it stands in the chunk's text.
    let span: Range<Int>
    /// Where its bytes begin, with what stands before it.
    let start: Int
    /// How many records of the chunk stand before it.
    let records: Int
    /// How many events of the chunk stand before it.
    let index: Int
}

/// Some records' events on their way from the parsing thread to the writing one, with the text they
/// were read from.
///
/// `@unchecked Sendable`: it has one owner at a time, handed over through a locked queue.
final class ImportChunk: @unchecked Sendable {
    let batch = NewEventBatch()
    /// All bytes of the file that the chunk stands for.
    private(set) var text: [UInt8] = []
    /// Where each event's record begins, with what stands before it, where its text is, and how many
    /// records stand before it.
    private(set) var places: [(start: Int, text: Range<Int>, records: Int)] = []
    private(set) var bad: [BadRecord] = []
    private(set) var records = 0
    fileprivate(set) var isLast = false
    /// Whether a last record that has no end was left for the next import.
    fileprivate(set) var isUnfinished = false
    /// Why the file cannot be read beyond the chunk.
    fileprivate(set) var stop: ImportStop?
    fileprivate(set) var bytesRead = 0
    fileprivate(set) var bytesTotal: Int?

    func removeAll() {
        batch.removeAll()
        text.removeAll(keepingCapacity: true)
        places.removeAll(keepingCapacity: true)
        bad.removeAll()
        records = 0
        isLast = false
        isUnfinished = false
        stop = nil
    }

    /// Takes the bytes of a record.
    func add(_ record: RecordReader.Record, _ outcome: RecordOutcome) {
        let start = text.count
        text.append(contentsOf: record.raw)
        let before = record.text.baseAddress.flatMap { text in
            record.raw.baseAddress.map { text - $0 }
        }
        let span = (start + (before ?? 0))..<(start + (before ?? 0) + record.text.count)
        switch outcome {
        case .blank: return
        case .event:
            places.append((start, span, records))
        case .bad(let reason):
            let index = places.count
            bad.append(
                BadRecord(
                    number: record.number,
                    reason: reason,
                    span: span,
                    start: start,
                    records: records,
                    index: index
                )
            )
        }
        records += 1
    }

    /// Ends the chunk before a bad record.
    func end(before entry: Int) {
        let record = bad[entry]
        batch.removeAll(from: record.index)
        places.removeSubrange(record.index...)
        text.removeSubrange(record.start...)
        records = record.records
        bad.removeSubrange(entry...)
        stop = nil
    }

    /// How much of the file stands before an event; of the whole chunk where there is none.
    func length(through event: Int?) -> (bytes: Int, records: Int) {
        event.map { (places[$0].start, places[$0].records) } ?? (text.count, records)
    }
}

/// What became of one record's text.
enum RecordOutcome {
    case blank
    case event
    case bad(String)
}

/// How much to store in one transaction, so that others who write wait a moment only.
final class ImportPace: Sendable {
    /// Each transaction ends with a wait for the disk of a few milliseconds, which this makes small;
    /// and others wait for two of them at most.
    static let wanted = Duration.milliseconds(20)

    private let state = Mutex((records: 4_000, bytes: 2 << 20))

    /// At most so many records, and about so many bytes.
    var size: (records: Int, bytes: Int) { state.withLock { $0 } }

    /// Hears how long the transaction of a full chunk took.
    func adapt(to time: Duration, records: Int, bytes: Int) {
        guard records > 0 else { return }
        let factor = min(1.5, max(0.25, Self.wanted / max(time, .microseconds(1))))
        state.withLock { state in
            // Several chunks of the size before are on their way, so it counts from this one's.
            state.records = min(100_000, max(200, Int(Double(records) * factor)))
            state.bytes = min(64 << 20, max(256 << 10, Int(Double(bytes) * factor)))
        }
    }
}

/// The reading side of an import.
///
/// `@unchecked Sendable`: made by the caller's thread, then used by the parsing thread alone.
final class ImportReading: @unchecked Sendable {
    private let reader: RecordReader
    private let parser: RecordParser
    private let options: ImportOptions
    private let pace: ImportPace
    private var rows: CSVRows?
    private var padded: [UInt8] = []
    private var bad = 0
    private var isDone = false

    init(_ reader: RecordReader, rows: CSVRows?, options: ImportOptions, pace: ImportPace) {
        self.reader = reader
        self.rows = rows
        self.options = options
        self.pace = pace
        parser = RecordParser(options, isCSV: rows != nil)
    }

    /// Fills a chunk; gives false when the records are at their end.
    func fill(_ chunk: ImportChunk) throws -> Bool {
        guard !isDone else { return false }
        chunk.removeAll()
        let size = pace.size
        while chunk.records < size.records, chunk.text.count < size.bytes, !isDone {
            do {
                try read(into: chunk)
            } catch let error as ByteSourceError {
                stop(chunk, error.reason)
            } catch let error as RecordSplitError {
                stop(chunk, error.reason)
            }
        }
        chunk.bytesRead = reader.source.bytesRead
        chunk.bytesTotal = reader.source.bytesTotal
        return true
    }

    private func stop(_ chunk: ImportChunk, _ reason: String) {
        chunk.stop = ImportStop(place: "\(reader.form.unit) \(reader.number)", reason: reason)
        isDone = true
    }

    private func read(into chunk: ImportChunk) throws {
        guard let record = try reader.next() else {
            chunk.isLast = true
            isDone = true
            return
        }
        let outcome = outcome(of: record, chunk)
        if isUnfinished(record, outcome) {
            if case .event = outcome { chunk.batch.removeAll(from: chunk.batch.records.count - 1) }
            chunk.isLast = true
            chunk.isUnfinished = true
            isDone = true
            return
        }
        chunk.add(record, outcome)
        if case .bad = outcome {
            bad += 1
            isDone = bad > options.skipBad
        }
    }

    /// Whether the writer of a growing file may still be at this record: a row of CSV has no end of
    /// its own, as an object has.
    private func isUnfinished(_ record: RecordReader.Record, _ outcome: RecordOutcome) -> Bool {
        guard options.source != nil, !record.hasEnd else { return false }
        switch outcome {
        case .blank: return false
        case .event: return rows != nil
        case .bad: return true
        }
    }

    private func outcome(of record: RecordReader.Record, _ chunk: ImportChunk) -> RecordOutcome {
        let text = record.text
        if text.first.map({ $0 <= 0x20 }) ?? true, text.allSatisfy({ JSONText.isSpace($0) }) {
            return .blank
        }
        guard rows != nil else {
            return parser.parse(text, number: record.number, into: chunk.batch).map { .bad($0) }
                ?? .event
        }
        if let reason = rows?.read(text) { return .bad(reason) }
        padded.removeAll(keepingCapacity: true)
        padded.append(contentsOf: rows?.json ?? [])
        let count = padded.count
        padded.append(contentsOf: repeatElement(0, count: PayloadParser.padding))
        let reason = padded.withUnsafeBytes {
            parser.parse(
                UnsafeRawBufferPointer(rebasing: $0[..<count]),
                number: record.number,
                into: chunk.batch
            )
        }
        return reason.map { .bad($0) } ?? .event
    }
}
