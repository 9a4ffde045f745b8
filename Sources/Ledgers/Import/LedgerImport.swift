internal import LedgerKit
internal import ProjectionKit
internal import Wording

/// Reads NDJSON, a JSON array or CSV, plain or compressed, into an SQLite ledger.
///
/// - Streaming: memory is a few batches, whatever the size of the file.
/// - Durable batch by batch: a run that was stopped, even by `kill -9`, has stored a beginning of the
///   file, and importing the file again continues behind that.
/// - Repeatable: an event with an id is stored once. What has none is recognised by the content of
///   the file, or of its beginning.
/// - A compressed file is checked as a whole before anything of it is stored.
package struct LedgerImport: Sendable {
    /// A path, or `-` for standard input.
    package let file: String
    /// The ledger's path.
    package let ledger: String
    /// How records are read.
    package let options: ImportOptions

    /// Describes an import; nothing is opened yet.
    package init(file: String, ledger: String, options: ImportOptions = ImportOptions()) {
        precondition(options.skipBad >= 0, "the number of records to skip must not be negative")
        self.file = file
        self.ledger = ledger
        self.options = options
    }

    /// Imports the file.
    ///
    /// Blocks.
    ///
    /// - Parameters:
    ///   - check: Called again and again while a pipe delivers nothing, on any thread. What it throws
    ///     stops the import.
    ///   - progress: Called after each batch, on the caller's thread. What it throws stops the import;
    ///     the batches before are stored.
    /// - Returns: The counts of the whole run.
    /// - Throws: ``ImportError`` when a record or the file cannot be read: what stands before it is
    ///   stored. ``LedgerError``; what `progress` throws.
    package func run(
        checking check: @escaping @Sendable () throws -> Void = {},
        progress: (ImportProgress) throws -> Void = { _ in }
    ) throws -> ImportProgress {
        try LedgerWriter.withWriter(path: ledger) { writer in
            writer.allowsFuture = options.allowsFuture
            let source = try open(checking: check, progress)
            return try withoutActuallyEscaping(progress) { progress in
                let start = try start(source, writer, progress)
                try checkBadRows(of: start)
                let pace = ImportPace()
                let reading = ImportReading(
                    start.reader,
                    rows: start.rows,
                    options: options,
                    pace: pace
                )
                let writing = ImportWriting(self, start, writer, pace)
                try HandOff.run(
                    buffers: [ImportChunk(), ImportChunk(), ImportChunk()],
                    produce: { try $0.fillEach { try reading.fill($0) } },
                    consume: { try writing.store($0, progress) }
                )
                return writing.counts
            }
        }
    }

    /// Notes that the user knows of the end of an import, after ``run(progress:)`` and its report.
    ///
    /// With `--again` the same command means the copy that was interrupted or one more, and only
    /// what the user has seen tells which. So a copy is complete when its end was reported: until
    /// then the same command continues it, and stores nothing twice. Does nothing for other imports.
    ///
    /// Blocks.
    ///
    /// - Throws: ``LedgerError``.
    package func confirm(_ counts: ImportProgress) throws {
        guard var row = counts.unconfirmed else { return }
        try LedgerWriter.withWriter(path: ledger) { writer in
            try writer.append(
                NewEventBatch(),
                refusing: { _, _ in false },
                together: { _ in
                    let stored = try ImportRecord.all(
                        in: writer.database,
                        after: row.number - 1,
                        most: 1
                    )
                    // Another import of the same content may have got on with it.
                    guard stored.first == row else { return }
                    row.isComplete = true
                    try row.write(to: writer.database)
                }
            )
        }
    }

    /// Whether ``confirm(_:)`` completes the import.
    var isConfirmedLater: Bool { options.again && options.source == nil }

    /// The file's name in messages, within a sentence.
    var name: String { file == "-" ? "standard input" : file }

    func error(
        _ kind: ImportError.Kind,
        _ reason: String,
        place: String? = nil,
        advice: String? = nil,
        counts: ImportProgress = .init()
    ) -> ImportError {
        ImportError(
            kind: kind,
            file: file == "-" ? "Standard input" : TextForPeople.shown(file, most: 1_000),
            place: place,
            reason: reason,
            advice: advice,
            ledger: ledger,
            counts: counts,
            skipBad: options.skipBad
        )
    }

    private func checkBadRows(of start: ImportStart) throws {
        guard options.skipBad > 0, let header = start.rows?.header,
            BadRecordFiles.hasOtherHeader(of: ledger, than: header)
        else { return }
        let path = BadRecordFiles.recordsPath(of: ledger, isCSV: true)
        throw error(
            .otherContent,
            "its bad rows would be added to \(TextForPeople.path(path)), which has another header",
            advice: "Move that file away, then run the same command again: mv "
                + "\(TextForPeople.pathArgument(path)) \(TextForPeople.pathArgument("\(path).old"))"
        )
    }

    private func open(
        checking check: @escaping @Sendable () throws -> Void,
        _ progress: (ImportProgress) throws -> Void
    ) throws -> ByteSource {
        let source: ByteSource
        do {
            source = try ByteSource(path: file, checking: check)
        } catch let failure as ByteSourceError {
            throw error(.unopened, failure.reason)
        }
        let isBadFile = [true, false].contains {
            source.isFile(at: BadRecordFiles.recordsPath(of: ledger, isCSV: $0))
        }
        if options.skipBad > 0, isBadFile {
            throw error(
                .otherContent,
                "it is the file to which bad records are added",
                advice:
                    "Give it another name with 'mv' and import that, or leave '--skip-bad' away."
            )
        }
        guard source.compression != nil else { return source }
        do {
            if !source.canRewind {
                try source.spool(in: folder, after: UnsafeRawBufferPointer(start: nil, count: 0))
            }
            try source.check { try progress(ImportProgress()) }
            return source
        } catch let failure as ByteSourceError {
            throw error(.damaged, failure.reason)
        }
    }

    private var folder: String {
        guard let slash = ledger.lastIndex(of: "/") else { return "." }
        return slash == ledger.startIndex ? "/" : String(ledger[..<slash])
    }

    private func start(
        _ source: ByteSource,
        _ writer: LedgerWriter,
        _ progress: @escaping (ImportProgress) throws -> Void
    ) throws -> ImportStart {
        do {
            var finder = try ImportStartFinder(
                RecordReader(source),
                options: options,
                name: name,
                argument: file,
                ledger: ledger,
                history: try ImportRecord.all(in: writer.database),
                progress: { try progress(ImportProgress()) }
            )
            return try finder.find()
        } catch let refusal as ImportStartFinder.Refusal {
            throw error(refusal.kind, refusal.reason, advice: refusal.advice)
        } catch let failure as ByteSourceError {
            throw error(.unreadable, failure.reason)
        } catch let failure as RecordSplitError {
            throw error(.unreadable, failure.reason)
        }
    }
}

/// How far an import is.
package struct ImportProgress: Hashable, Sendable {
    /// Records that an earlier import of the same content had read.
    package var readBefore = 0
    /// Records read by this one, those set aside among them.
    package var records = 0
    /// Events that are new in the ledger.
    package var stored = 0
    /// Events whose id was there already, with the same content.
    package var present = 0
    /// Bad records set aside.
    package var setAside = 0
    /// The file with the records set aside; nil for none.
    package var badRecordsPath: String?
    /// Why the first few of them are bad, a sentence each.
    package var firstReasons: [String] = []
    /// Whether the last record of a growing file has no end yet, and was left for the next import.
    package var leavesUnfinished = false
    /// Bytes of the file read so far, as it is stored (compressed, if it is).
    package var bytesRead = 0
    /// Bytes the file has; nil for a pipe.
    package var bytesTotal: Int?
    /// The row of an import whose end is still to be confirmed; nil for others.
    var unconfirmed: ImportRecord?

    /// An import at its beginning.
    package init() {}
}
