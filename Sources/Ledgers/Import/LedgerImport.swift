internal import LedgerKit
internal import ProjectionKit

/// Reads NDJSON into an SQLite ledger: one event a line with `time` (RFC 3339), `stream`, `type`,
/// `data` (an object) and, optionally, `id` (a UUID).
///
/// - Streaming: memory is a few batches, whatever the size of the file.
/// - Durable batch by batch: a run that was stopped, even by `kill -9`, has stored a beginning of
///   the file.
/// - Repeatable: importing the same file again stores nothing new. A line without an id gets one of
///   its time, its line number and a hash of its content, so in the same millisecond the order of
///   lines decides.
///   Lines may be added at the end of a file; a line that moved up or down counts as another event.
package struct LedgerImport: Sendable {
    /// A path, or `-` for standard input.
    ///
    /// Plain or gzip; the content tells.
    package let file: String
    /// The ledger's path.
    package let ledger: String
    /// How many bad lines to set aside before one stops the import.
    package let skipBad: Int

    /// Where bad lines are set aside: a JSON object a line with `file`, `line`, `reason`, `text`.
    package var badLinesPath: String { "\(ledger).bad.ndjson" }

    /// Describes an import; nothing is opened yet.
    package init(file: String, ledger: String, skipBad: Int = 0) {
        precondition(skipBad >= 0, "the number of lines to skip must not be negative: \(skipBad)")
        self.file = file
        self.ledger = ledger
        self.skipBad = skipBad
    }

    /// Imports the file.
    ///
    /// Blocks.
    ///
    /// - Parameter progress: Called after each batch, on the caller's thread. What it throws stops
    ///   the import; the batches before are stored.
    /// - Returns: The counts of the whole run.
    /// - Throws: ``ImportError`` when a line or the file cannot be read: what stands before it is
    ///   stored. ``LedgerError``; what `progress` throws.
    package func run(
        progress: (ImportProgress) throws -> Void = { _ in }
    ) throws -> ImportProgress {
        try LedgerWriter.withWriter(path: ledger) { writer in
            let lines = try open()
            var counts = ImportProgress(bytesTotal: lines.source.bytesTotal)
            try HandOff.run(
                buffers: [ImportChunk(), ImportChunk(), ImportChunk()],
                produce: { try $0.fillEach { try ImportLines.fill($0, from: lines) } },
                consume: { chunk in
                    let appended = try writer.append(
                        chunk.batch,
                        refusing: { _, _ in false }
                    )
                    counts.add(chunk, appended)
                    try progress(counts)
                    if let stop = chunk.stop { throw error(stop, counts) }
                }
            )
            return counts
        }
    }

    private var name: String { file == "-" ? "standard input" : file }

    private func open() throws -> ImportLines {
        do {
            let source = try ByteSource(path: file)
            return ImportLines(
                source: source,
                skipBad: skipBad,
                badLines: BadLineFile(path: badLinesPath, source: name)
            )
        } catch let error as ByteSourceError {
            throw ImportError(
                file: name,
                line: nil,
                reason: error.reason,
                ledger: ledger,
                counts: .init(),
                skipBad: nil
            )
        }
    }

    private func error(_ stop: ImportStop, _ counts: ImportProgress) -> ImportError {
        ImportError(
            file: name,
            line: stop.line,
            reason: stop.reason,
            ledger: ledger,
            counts: counts,
            skipBad: stop.isBadLine ? skipBad : nil
        )
    }
}

/// How far an import is.
package struct ImportProgress: Hashable, Sendable {
    /// Lines read, blank ones and those set aside among them.
    package var lines = 0
    /// Events that are new in the ledger.
    package var stored = 0
    /// Events whose id was there already.
    package var present = 0
    /// Bad lines set aside.
    package var setAside = 0
    /// Bytes of the file read so far, as it is stored (compressed, if it is).
    package var bytesRead = 0
    /// Bytes the file has; nil for a pipe.
    package var bytesTotal: Int?

    fileprivate mutating func add(_ chunk: ImportChunk, _ appended: AppendCounts) {
        stored += appended.stored
        present += appended.present
        lines = chunk.lines
        setAside = chunk.setAside
        bytesRead = chunk.bytesRead
    }
}

/// Why an import cannot go on.
private struct ImportStop {
    let line: Int
    let reason: String
    let isBadLine: Bool
}

/// Some lines' events on their way from the parsing thread to the writing one.
///
/// `@unchecked Sendable`: it has one owner at a time, handed over through a locked queue.
private final class ImportChunk: @unchecked Sendable {
    let batch = NewEventBatch()
    var lines = 0
    var setAside = 0
    var bytesRead = 0
    var stop: ImportStop?
}

/// The reading side of an import.
///
/// `@unchecked Sendable`: made by the caller's thread, then used by the parsing thread alone.
private final class ImportLines: @unchecked Sendable {
    /// Lines in a transaction: each ends with a wait for the disk of a few milliseconds, which
    /// this many events make small.
    private static let chunkLines = 20_000
    private static let chunkBytes = 8 << 20

    let source: ByteSource
    private let reader: LineReader
    private let parser = EventLineParser()
    private let skipBad: Int
    private let badLines: BadLineFile
    private var setAside = 0
    private var isDone = false

    init(source: ByteSource, skipBad: Int, badLines: BadLineFile) {
        self.source = source
        self.skipBad = skipBad
        self.badLines = badLines
        reader = LineReader(source)
    }

    /// Fills a chunk; gives false when the lines are at their end.
    static func fill(_ chunk: ImportChunk, from lines: ImportLines) throws -> Bool {
        guard !lines.isDone else { return false }
        chunk.batch.removeAll()
        chunk.stop = try lines.read(into: chunk.batch)
        chunk.lines = lines.reader.number
        chunk.setAside = lines.setAside
        chunk.bytesRead = lines.source.bytesRead
        lines.isDone = lines.isDone || chunk.stop != nil
        if lines.isDone { try lines.badLines.synchronize() }
        return true
    }

    private func read(into batch: NewEventBatch) throws -> ImportStop? {
        let last = reader.number + Self.chunkLines
        while reader.number < last, batch.byteCount < Self.chunkBytes {
            do {
                guard let line = try reader.next() else {
                    isDone = true
                    return nil
                }
                if let stop = try read(line, into: batch) { return stop }
            } catch let error as ByteSourceError {
                return ImportStop(line: reader.number, reason: error.reason, isBadLine: false)
            }
        }
        return nil
    }

    private func read(_ line: LineReader.Line, into batch: NewEventBatch) throws -> ImportStop? {
        switch line {
        case .text(let text):
            if text.allSatisfy({ $0 == 0x20 || $0 == 0x09 }) { return nil }
            guard let reason = parser.parse(text, number: reader.number, into: batch) else {
                return nil
            }
            return try setAside(text, reason)
        case .tooLong(let beginning):
            return try setAside(beginning, "it is longer than 64 MiB")
        }
    }

    private func setAside(_ text: UnsafeRawBufferPointer, _ reason: String) throws -> ImportStop? {
        guard setAside < skipBad else {
            return ImportStop(line: reader.number, reason: reason, isBadLine: true)
        }
        try badLines.append(line: reader.number, reason: reason, text: text)
        setAside += 1
        return nil
    }
}
