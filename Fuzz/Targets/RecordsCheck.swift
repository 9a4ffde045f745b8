import Foundation
import LedgerKit

@testable import Ledgers
@testable import ProjectionKit

/// An import's way from the bytes of a file to events.
enum RecordsCheck {
    /// The first byte chooses how the others are read, and whether they are compressed before.
    static func run(_ input: [UInt8]) throws {
        let choice = input.first ?? 0
        let content = Array(input.dropFirst())
        let compression: ByteSink.Compression? =
            switch choice & 3 {
            case 1: .gzip
            case 2: .zstd
            default: nil
            }
        let file = try MemoryFile(content, compression)
        let text = try decompressed(file, content, wasCompressed: compression != nil)
        guard let text else { return }
        var options = ImportOptions()
        options.replacesBadText = choice & 4 != 0
        options.delimiter = choice & 8 != 0 ? UInt8(ascii: ";") : nil
        options.streamPrefix = choice & 16 != 0 ? "p-" : ""
        options.times = TimeReading(zone: choice & 32 != 0 ? .gmt : nil)
        options.skipBad = 1_000
        if choice & 64 != 0 {
            for field in ["type=/a/b", "stream==s", "data=", "id=/id/0"] {
                _ = options.fields.add(field)
            }
        }
        if choice & 128 != 0 { options.source = "a source" }
        try read(file, text, options)
    }

    /// What the file holds; nil where it is damaged.
    private static func decompressed(
        _ file: MemoryFile,
        _ content: [UInt8],
        wasCompressed: Bool
    ) throws -> [UInt8]? {
        var text: [UInt8] = []
        do {
            let source = try ByteSource(path: file.path)
            let target = UnsafeMutableRawBufferPointer.allocate(byteCount: 4_096, alignment: 1)
            defer { target.deallocate() }
            while case let count = try source.read(into: target), count > 0 {
                text += target[..<count]
                // A few bytes can stand for gigabytes.
                if text.count > 1 << 20 { return nil }
            }
            if source.compression == nil { try require(text == content, "plain bytes come as is") }
        } catch let error as ByteSourceError {
            try require(!wasCompressed, "what we compressed is read (\(error.reason))")
            return nil
        }
        if wasCompressed { try require(text == content, "what was compressed comes out again") }
        return text
    }

    private static func read(_ file: MemoryFile, _ text: [UInt8], _ options: ImportOptions) throws {
        let reader = RecordReader(try ByteSource(path: file.path))
        let head = Array(try reader.head())
        try require(head == Array(text.prefix(RecordReader.headLength)), "the head comes first")
        let kind = head.withUnsafeBytes {
            FileKind(of: $0, delimiter: options.delimiter, takesZeros: options.replacesBadText)
        }
        guard case .records(let form) = kind else { return }
        _ = head.withUnsafeBytes { RecordEnds(of: $0, form: form) }
        try split(text, form, reader)
        try parse(file, form, options)
    }

    /// The records and what stands between them are the text again, and pieces of it give the same.
    private static func split(_ text: [UInt8], _ form: RecordForm, _ reader: RecordReader) throws {
        var joined = Array(reader.begin(form))
        var records: [[UInt8]] = []
        let start = joined.count
        var isWhole = true
        do {
            while let record = try reader.next() {
                joined += record.raw
                records.append(Array(record.text))
            }
        } catch is RecordSplitError {
            isWhole = false
        }
        try require(text.starts(with: joined), "what was read is the beginning of the text")
        let rest = text[joined.count...]
        let isRestClosing = form == .array && (rest.isEmpty || rest.contains(UInt8(ascii: "]")))
        try require(!isWhole || rest.isEmpty || isRestClosing, "all of the text was read")
        var (inPieces, isPieceWhole) = try pieces(text, form, from: start)
        if !isWhole, inPieces.count > records.count { inPieces.removeLast() }
        try require(inPieces == records, "records do not depend on where the bytes are cut")
        try require(isPieceWhole == isWhole, "errors do not depend on where the bytes are cut")
    }

    /// The same by a splitter that sees one byte more at a time.
    private static func pieces(
        _ text: [UInt8],
        _ form: RecordForm,
        from start: Int
    ) throws -> (records: [[UInt8]], isWhole: Bool) {
        var splitter = RecordSplitter(form)
        if form == .array { _ = text.withUnsafeBytes { splitter.enterArray($0) } }
        var records: [[UInt8]] = []
        var begin = start
        var end = start
        return try text.withUnsafeBytes { bytes in
            while true {
                let piece = UnsafeRawBufferPointer(rebasing: bytes[begin..<end])
                do {
                    if let span = try splitter.next(in: piece, isAtEnd: end == text.count) {
                        try require(span.next > 0, "each record takes a byte")
                        records.append(Array(piece[span.text]))
                        begin += span.next
                        end = max(begin, min(end, text.count))
                        continue
                    }
                } catch {
                    guard error is RecordSplitError else { throw error }
                    return (records, false)
                }
                if end == text.count { return (records, true) }
                end += 1
            }
        }
    }

    /// Every event that comes out can be stored and read.
    private static func parse(
        _ file: MemoryFile,
        _ form: RecordForm,
        _ options: ImportOptions
    ) throws {
        let reader = RecordReader(try ByteSource(path: file.path))
        _ = try reader.head()
        _ = reader.begin(form)
        var rows: CSVRows?
        if case .rows(let delimiter) = form {
            do {
                guard let header = try reader.next() else { return }
                rows = try CSVRows(header: header.text, delimiter: delimiter)
            } catch is RecordSplitError {
                return
            } catch is CSVRows.HeaderError {
                return
            }
        }
        let reading = ImportReading(reader, rows: rows, options: options, pace: ImportPace())
        let chunk = ImportChunk()
        while try reading.fill(chunk) {
            try require(chunk.places.count == chunk.batch.records.count, "events have places")
            for record in chunk.batch.records { try check(record, of: chunk.batch) }
            for bad in chunk.bad {
                try require(!bad.reason.isEmpty, "a bad record has a reason")
                try require(bad.span.upperBound <= chunk.text.count, "it lies in the text")
            }
            if chunk.isLast || chunk.stop != nil { break }
        }
    }

    private static func check(_ record: NewEventBatch.Record, of batch: NewEventBatch) throws {
        let texts = batch.texts(of: record)
        let id = texts.id.baseAddress == nil ? nil : texts.id
        let reasons = [
            NewEventChecker.complaint(about: texts.stream, named: "stream"),
            NewEventChecker.complaint(about: batch.type(of: record), named: "type"),
            NewEventChecker.complaint(aboutTime: record.time ?? 0),
            id.flatMap { NewEventChecker.complaint(aboutID: $0) },
        ].compactMap { $0 }
        try require(reasons.isEmpty, "an event can be stored: \(reasons)")
        for text in [texts.stream, batch.type(of: record), id ?? texts.stream] {
            try require(
                String(validating: Array(text), as: UTF8.self) != nil,
                "an event's texts are UTF-8"
            )
        }
        for json in [texts.payload, texts.metadata] where json.baseAddress != nil {
            let found = JSONFindings(of: json)
            try require(
                found.isValid && !found.hasNull && !found.hasLoneSurrogate,
                "an event's JSON can be stored"
            )
            try Array(json).withPadding(PayloadParser.padding) {
                let complaint = JSONObjectReader().open($0)
                try require(complaint == nil, "an event's JSON can be read (\(complaint ?? ""))")
            }
        }
    }
}

/// A file without a name, in memory.
final class MemoryFile {
    private let file: Int32

    /// Makes one with that content.
    init(_ content: [UInt8], _ compression: ByteSink.Compression? = nil) throws {
        var name = Array("/dev/shm/reprise-fuzz-XXXXXX".utf8CString)
        file = mkstemp(&name)
        guard file >= 0 else { throw FuzzFailure(description: "a file in memory can be made") }
        unlink(name)
        let sink = try ByteSink(to: file, compression: compression, checking: {})
        try content.withUnsafeBytes { try sink.write($0) }
        try sink.finish()
    }

    deinit { close(file) }

    /// A path that opens it at its beginning.
    var path: String { "/proc/self/fd/\(file)" }
}
