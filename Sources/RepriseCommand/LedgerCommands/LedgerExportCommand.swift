internal import ArgumentParser
internal import Foundation
internal import LedgerKit
internal import Ledgers
internal import ProjectionKit
internal import Rebuilder
internal import Wording

/// `reprise ledger export`.
struct LedgerExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write events as NDJSON, in the form that 'import' takes.",
        discussion: """
            One event a line, in ledger order: id, time, stream, type, data and metadata, the last \
            two byte for byte as they were appended. Events that are appended meanwhile are not in \
            it.

            A file comes into being whole or not at all, and only its owner can read it. When the \
            reader of standard output ends first ('| head'), the command ends with 0.

            Exit status: 0 done, 2 usage, 4 the ledger cannot be read or the output not written, \
            129, 130 or 143 interrupted.
            """
    )

    @Option(
        name: [.customShort("o"), .long],
        help: ArgumentHelp("Where to write; - is standard output (default).", valueName: "file")
    )
    var output = "-"

    @Flag(help: "Replace the file if it is there.")
    var force = false

    @Option(help: ArgumentHelp("Compress: gzip or zstd.", valueName: "method"))
    var compress: ByteSink.Compression?

    @OptionGroup var range: RangeOptions
    @OptionGroup var ledger: LedgerOptions
    @OptionGroup var general: GeneralOptions

    func validate() throws {
        if output.isEmpty { throw ValidationError("--output needs a path; it is empty.") }
    }

    func run() async throws {
        let replay = try range.replay(of: try await ledger.open(general.settings()))
        let meter = LedgerMeter(doing: "exporting")
        let export = LedgerExport(replay: replay, compression: compress)
        do {
            if output == "-" {
                try await writeToStandardOutput(export, meter)
            } else {
                try await write(export, meter)
            }
        } catch is CancellationError {
            throw Interrupted(
                state: output == "-"
                    ? "\(Figures.count(meter.events, "event")) were written to standard output."
                    : "Nothing was written to \(TextForPeople.path(output)).",
                next: "Run the same command again."
            )
        }
    }

    private func write(_ export: LedgerExport, _ meter: LedgerMeter) async throws {
        let (path, replaces, compression) = (output, force, compress)
        try await withProgress({ meter.line }) {
            try await onThread { check in
                try StagedFile.make(path, replacing: replaces) { staged in
                    let file = open(staged, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
                    guard file >= 0 else {
                        throw CopyError.failed(path: path, reason: String(cString: strerror(errno)))
                    }
                    defer { close(file) }
                    do {
                        let sink = try ByteSink(
                            to: file,
                            compression: compression,
                            checking: check
                        )
                        try export.write(to: sink, meter)
                        try sink.finish()
                    } catch let failure as ByteSink.Failure {
                        throw CopyError.failed(path: path, reason: failure.reason)
                    }
                }
            }
        }
        try ResultStream.print(
            "Exported \(Figures.count(meter.events, "event")) to \(TextForPeople.path(path)): "
                + "\(Figures.seconds(meter.seconds)), \(Figures.rate(meter.events, in: meter.seconds)).",
            done: "The events are exported."
        )
    }

    private func writeToStandardOutput(_ export: LedgerExport, _ meter: LedgerMeter) async throws {
        let compression = compress
        // Lines of events would write over it on a terminal.
        let isQuiet = ResultStream.isTerminal
        let isWhole = try await withProgress({ isQuiet ? nil : meter.line }) {
            try await onThread { check in
                try ResultStream.write(compression: compression, checking: check) { sink in
                    try export.write(to: sink, meter)
                }
            }
        }
        Console.standardError.write(
            line: "Exported \(Figures.count(meter.events, "event"))"
                + (isWhole ? "." : "; the reader of standard output wanted no more.")
        )
    }
}

/// Writes the events of a range as lines.
private struct LedgerExport: Sendable {
    let replay: Replay
    let compression: ByteSink.Compression?

    func write(to sink: ByteSink, _ meter: LedgerMeter) throws {
        guard let span = try replay.span() else { return }
        try replay.ledger.withReader(of: span) { reader in
            let (batch, lines) = (EventBatch(), EventLines())
            var events = 0
            while try reader.fill(batch) {
                batch.forEach { lines.append($0) }
                do {
                    try sink.write(lines.bytes)
                } catch {
                    // What a compressor holds back is not known to be taken.
                    let taken = compression == nil ? lines.lines(inFirst: sink.taken) : 0
                    meter.advance(to: events + taken)
                    throw error
                }
                lines.removeAll()
                events += batch.count
                meter.advance(to: events, share: batch.share)
            }
        }
    }
}

extension ByteSink.Compression: ExpressibleByArgument {}
