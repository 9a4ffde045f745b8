internal import ProjectionKit
internal import Wording

/// Where an import begins: what of its text was read before, and what is to be read now.
struct ImportStart {
    let reader: RecordReader
    /// The header of CSV.
    let rows: CSVRows?
    /// Of all bytes before the reader's place.
    let digest: StreamDigest
    /// The first bytes of the text, at most ``RecordReader/headLength``.
    let head: [UInt8]
    let ends: RecordEnds
    /// The row to write, with what was read before.
    let record: ImportRecord
    /// The row of the same number as the ledger has it; nil where it is new.
    let known: ImportRecord?
    /// Whether the file is CSV whose header has no end yet, so that nothing was read.
    let awaitsHeader: Bool
    /// The number of the newest import that the ledger knew.
    let newest: Int64
}

/// Finds out where an import begins.
struct ImportStartFinder {
    /// Why an import does not begin.
    struct Refusal: Error {
        let kind: ImportError.Kind
        let reason: String
        var advice: String?
    }

    let options: ImportOptions
    /// What the file is called in the ledger.
    let name: String
    /// The command's argument, for hints.
    let argument: String
    let ledger: String
    let history: [ImportRecord]
    let reader: RecordReader
    let progress: () throws -> Void

    private let form: RecordForm
    private let head: [UInt8]
    private let ends: RecordEnds
    private var rows: CSVRows?
    private var awaitsHeader = false
    private var digest = StreamDigest()
    /// An import of the same first bytes that is longer than this text.
    private var longer: ImportRecord?

    init(
        _ reader: RecordReader,
        options: ImportOptions,
        name: String,
        argument: String,
        ledger: String,
        history: [ImportRecord],
        progress: @escaping () throws -> Void
    ) throws {
        self.reader = reader
        self.options = options
        self.name = name
        self.argument = argument
        self.ledger = ledger
        self.history = history
        self.progress = progress
        let head = try reader.head()
        self.head = Array(head)
        let form: RecordForm
        let kind = FileKind(
            of: head,
            delimiter: options.delimiter,
            takesZeros: options.replacesBadText
        )
        switch kind {
        case .records(let found): form = found
        case .other("empty", _) where options.source != nil: form = .lines
        case .other(let kind, let advice):
            throw Refusal(
                kind: .otherFormat,
                reason: "it is \(kind)",
                advice: Self.filled(
                    advice,
                    file: argument == "-" ? "…" : TextForPeople.pathArgument(argument),
                    command: options.command
                )
            )
        }
        self.form = form
        ends = self.head.withUnsafeBytes { RecordEnds(of: $0, form: form) }
    }

    private static func filled(_ advice: String, file: String, command: String) -> String {
        // The file's name and the options may hold either word.
        let parts = advice.split(separator: "IMPORT", omittingEmptySubsequences: false)
        return parts.map { $0.replacing("FILE", with: file) }.joined(separator: command)
    }

    mutating func find() throws -> ImportStart {
        if let refusal = unsoundSource() { throw refusal }
        let candidates = head.withUnsafeBytes { self.candidates(for: $0) }
        if !candidates.isEmpty, !reader.source.canRewind {
            try reader.source.spool(in: folder, after: reader.unread)
            reader.forget()
            _ = try reader.head()
        }
        try begin()
        let match = try longestMatch(candidates)
        if options.source != nil { return try startOfSource(match) }
        return try startOfFile(match)
    }

    private var folder: String {
        guard let slash = ledger.lastIndex(of: "/") else { return "." }
        return slash == ledger.startIndex ? "/" : String(ledger[..<slash])
    }

    private func unsoundSource() -> Refusal? {
        guard let row = history.first(where: { $0.source == options.source && $0.source != nil }),
            !row.isSound
        else { return nil }
        return Refusal(
            kind: .otherContent,
            reason:
                "what the ledger knows of the source \(TextForPeople.shown(row.source ?? "")) is damaged",
            advice:
                "Run '\(ProgramName.current) ledger verify --ledger \(TextForPeople.pathArgument(ledger))' to see what else is."
        )
    }

    /// The imports whose beginning is that of this text.
    private func candidates(for head: UnsafeRawBufferPointer) -> [ImportRecord] {
        if let known = history.first(where: { $0.source == options.source && $0.source != nil }) {
            return [known]
        }
        // Content that is wanted once more is stored from its beginning, unless a copy of it was
        // interrupted.
        if options.again, options.source != nil { return [] }
        return history.filter {
            $0.records > 0 && !(options.again && $0.isComplete) && $0.matches(head: head)
        }
    }

    /// Reads what stands before the first record.
    private mutating func begin() throws {
        digest = StreamDigest()
        digest.add(reader.begin(form))
        guard case .rows(let delimiter) = form else { return }
        var header = try reader.next()
        while let blank = header, blank.text.allSatisfy({ JSONText.isSpace($0) }) {
            digest.add(blank.raw)
            header = try reader.next()
        }
        guard let header else {
            throw Refusal(kind: .otherFormat, reason: "it is empty")
        }
        awaitsHeader = options.source != nil && !header.hasEnd
        if awaitsHeader { return }
        digest.add(header.raw)
        do {
            let rows = try CSVRows(header: header.text, delimiter: delimiter)
            self.rows = rows
            if let refusal = refusal(ofColumns: rows) { throw refusal }
        } catch let error as CSVRows.HeaderError {
            throw Refusal(
                kind: .otherFormat,
                reason: "of its header, the first line, \(error.reason)"
            )
        }
    }

    private func refusal(ofColumns rows: CSVRows) -> Refusal? {
        let row = rows.emptyRow
        let padded = row + repeatElement(0, count: PayloadParser.padding)
        let complaint = padded.withUnsafeBytes {
            RecordParser(options, isCSV: true).complaint(
                aboutColumns: UnsafeRawBufferPointer(rebasing: $0[..<row.count])
            )
        }
        return complaint.map {
            Refusal(
                kind: .otherFormat,
                reason: "in its header, the first line, \($0)",
                advice: "If its first line is not a header, put one before it; if it is, name the"
                    + " columns with '--field'."
            )
        }
    }

    /// The import of the longest beginning that this text has, with the reader behind that.
    private mutating func longestMatch(_ candidates: [ImportRecord]) throws -> ImportRecord? {
        var match: ImportRecord?
        for candidate in candidates.sorted(by: { $0.bytes < $1.bytes }) {
            guard candidate.bytes >= reader.offset else { continue }
            guard try advance(to: candidate) else {
                longer = longer ?? candidate
                continue
            }
            guard digest.value == candidate.digest else { continue }
            // Of imports of the same beginning the newest counts, and one that is complete.
            let isBetter =
                match.map { $0.bytes < candidate.bytes || candidate.isComplete || !$0.isComplete }
                ?? true
            if isBetter { match = candidate }
        }
        guard reader.offset > (match?.bytes ?? 0) || match == nil else { return match }
        guard match != nil || !candidates.isEmpty else { return nil }
        try reader.restart()
        _ = try reader.head()
        try begin()
        if let match { _ = try advance(to: match) }
        return match
    }

    private func advance(to record: ImportRecord) throws -> Bool {
        var bytes = 0
        return try reader.advance(to: record.bytes, elements: record.records) {
            digest.add($0)
            bytes += $0.count
            if bytes > 64 << 20 {
                bytes = 0
                try progress()
            }
        }
    }

    private func start(_ record: ImportRecord) -> ImportStart {
        ImportStart(
            reader: reader,
            rows: rows,
            digest: digest,
            head: head,
            ends: ends,
            record: record,
            known: history.first { $0.number == record.number },
            awaitsHeader: awaitsHeader,
            newest: history.last?.number ?? 0
        )
    }

    /// A row of what stands before the first record.
    private var newRecord: ImportRecord {
        var record = ImportRecord(source: options.source, file: name, beganAt: LedgerClock.now())
        record.bytes = awaitsHeader ? 0 : reader.offset
        return record
    }

    private func startOfSource(_ match: ImportRecord?) throws -> ImportStart {
        let known = history.first { $0.source == options.source }
        if let known, match == nil, known.bytes > 0 {
            throw Refusal(
                kind: .otherContent,
                reason:
                    "the \(known.bytes) bytes of \(TextForPeople.shown(known.source ?? "")) that were"
                    + " read before are not its beginning: it was replaced, rotated, cut or changed",
                advice: "If its events are new, import it under another name, such as --source="
                    + TextForPeople.argument("\(known.source ?? "")-2")
            )
        }
        if let match, let other = match.source, other != options.source, match.unnamed > 0 {
            throw Refusal(
                kind: .importedBefore,
                reason:
                    "it begins with what was imported under the source \(TextForPeople.shown(other))",
                advice:
                    "Use that name. If it is another file that begins alike, add '--again' this once."
            )
        }
        let own = match.flatMap { $0.source == nil || $0.source == options.source ? $0 : nil }
        guard var record = own ?? known, record.bytes >= reader.offset else {
            var record = newRecord
            record.number = known?.number ?? 0
            return start(record)
        }
        record.source = options.source
        record.file = name
        return start(record)
    }

    private func startOfFile(_ match: ImportRecord?) throws -> ImportStart {
        guard var record = match else {
            if let refusal = lostEnd() { throw refusal }
            return start(newRecord)
        }
        // What was set aside before is not set aside again.
        guard record.isComplete, record.unnamed > 0 || record.setAside == 0 else {
            record.file = name
            return start(record)
        }
        // What has an id is recognised event by event.
        if record.unnamed == 0 {
            try reader.restart()
            _ = try reader.head()
            var finder = self
            try finder.begin()
            var new = newRecord
            if record.source == nil { new.number = record.number }
            return finder.start(new)
        }
        guard try hasMore() else {
            throw Refusal(
                kind: .importedBefore,
                reason: "its content was imported \(origin(of: record))"
            )
        }
        throw Refusal(
            kind: .importedBefore,
            reason: "it begins with the \(record.records) \(units) that were imported"
                + " \(origin(of: record))",
            advice: "To import only what is new, now and later, name the file with '--source NAME'."
                + " To store all its events, add '--again'."
        )
    }

    private var units: String { form == .array ? "elements" : "lines" }

    private func origin(of record: ImportRecord) -> String {
        let when = Timestamp(microseconds: record.beganAt)
        let events = "\(record.events) event\(record.events == 1 ? "" : "s")"
        return "on \(when), as \(TextForPeople.shown(record.file)), with \(events), of which"
            + " \(record.unnamed) have no id"
    }

    /// Refuses a copy of what was imported that lost its last line end or its last records.
    private func lostEnd() -> Refusal? {
        guard !options.again else { return nil }
        let advice = "If its events are other ones, add '--again' to store them."
        if let longer, longer.unnamed > 0, longer.headBytes == RecordReader.headLength {
            return Refusal(
                kind: .importedBefore,
                reason:
                    "it begins like what was imported \(origin(of: longer)), but ends earlier: it"
                    + " is a copy that was shortened or changed",
                advice: advice
            )
        }
        for record in history where record.isSound && record.unnamed > 0 {
            guard let count = ends.recordsThatBegin(record) else { continue }
            let isAll = record.isComplete && count == record.records
            return Refusal(
                kind: .importedBefore,
                reason: isAll
                    ? "its content was imported \(origin(of: record))"
                    : "it is only the first \(count) \(count == 1 ? String(units.dropLast()) : units) of what was imported \(origin(of: record))",
                advice: isAll ? nil : advice
            )
        }
        return nil
    }

    private func hasMore() throws -> Bool {
        while let record = try reader.next() {
            if !record.text.allSatisfy({ JSONText.isSpace($0) }) { return true }
        }
        return false
    }
}
