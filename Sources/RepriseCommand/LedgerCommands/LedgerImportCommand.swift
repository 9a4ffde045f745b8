internal import ArgumentParser
internal import Foundation
internal import Ledgers
internal import Logging
internal import Rebuilder
internal import Wording

/// `reprise ledger import`.
struct LedgerImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Append events from NDJSON, a JSON array or CSV.",
        discussion: """
            The content tells the format: NDJSON (one event a line), one JSON array of objects, or CSV \
            with a header line; each plain, gzip or zstd. CloudEvents are recognised.

            An event has time, stream, type, data (an object) and, optionally, id (a text, unique in \
            the ledger) and metadata (an object). --field says where a part is that has another name. \
            Keys that no part is taken from are kept in the metadata. If CSV has no data column, the \
            columns that are left over are the data.

            Importing a file again never stores an event twice: an event with an id is recognised by \
            it, and a file of events without ids by its content. An interrupted import continues where \
            it stopped. A damaged compressed file stores nothing.

            All of it: docs/reference/import.md.

            Exit status: 0 done, 2 usage, 4 ledger, 6 a record is not an event, or the file cannot be \
            read or was imported before, 75 another process is writing, 129, 130 or 143 interrupted.
            """
    )

    @Argument(help: "A file, or - for standard input.")
    var file: String

    @Option(
        help: ArgumentHelp(
            "Where a part of an event is: time, stream, type, data, id or metadata, and a JSON pointer, "
                + "as in type=/event/name; or a text for all events, as in type==Imported. May be repeated.",
            valueName: "name=pointer"
        )
    )
    var field: [String] = []

    @Option(help: ArgumentHelp("Text to put before each stream.", valueName: "text"))
    var streamPrefix = ""

    @Option(
        help: ArgumentHelp(
            "Zone of times without an offset: an IANA name, such as Europe/Berlin, or +02:00.",
            valueName: "zone"
        )
    )
    var timeZone: String?

    @Option(
        help: ArgumentHelp(
            "What numbers count since 1970: s, ms, us or ns (default: the magnitude tells).",
            valueName: "unit"
        )
    )
    var timeUnit: String?

    @Option(
        help: ArgumentHelp(
            "What separates the fields of CSV, one ASCII character (default: comma or tab).",
            valueName: "character"
        )
    )
    var delimiter: String?

    @Option(
        help: ArgumentHelp(
            "Name of a file that grows: the ledger remembers how far it was read, and only what was "
                + "added is imported.",
            valueName: "name"
        )
    )
    var source: String?

    @Flag(help: "Import content once more that was imported before.")
    var again = false

    @Option(
        help: ArgumentHelp(
            "Bad records to set aside in LEDGER.bad.ndjson, or .csv, before one stops the import.",
            valueName: "n"
        )
    )
    var skipBad = 0

    @Flag(
        help:
            "Replace U+0000 and halves of surrogate pairs by U+FFFD, and JSON nested too deep by its text."
    )
    var replace = false

    @Flag(help: "Take times more than a day ahead of the clock.")
    var allowFuture = false

    @OptionGroup var ledger: LedgerOptions
    @OptionGroup var general: GeneralOptions

    func validate() throws {
        _ = try options()
    }

    private func importing(_ work: LedgerImport, _ meter: LedgerMeter) async throws
        -> ImportProgress
    {
        do {
            return try await stoppable(meter, storingIn: work.ledger) {
                try await withProgress({ meter.line }) {
                    try await onThread { checkCancellation in
                        try work.run(checking: checkCancellation) { counts in
                            let share = counts.bytesTotal.map {
                                Double(counts.bytesRead) / Double(max(1, $0))
                            }
                            meter.advance(to: counts.stored + counts.present, share: share)
                            try checkCancellation()
                        }
                    }
                }
            }
        } catch let error as LedgerError where meter.events > 0 {
            general.logger.warning(
                """
                \(Figures.count(meter.events, "event")) of the file are in \(TextForPeople.path(work.ledger)); the same \
                command continues behind them.
                """
            )
            throw error
        }
    }

    func run() async throws {
        let work = LedgerImport(
            file: file,
            ledger: try ledger.path(general.settings()),
            options: try options()
        )
        let meter = LedgerMeter(doing: "importing")
        let counts = try await importing(work, meter)
        if let path = counts.badRecordsPath {
            for reason in counts.firstReasons { general.logger.warning("\(reason)") }
            let records = Figures.count(counts.setAside, "bad record")
            general.logger.warning(
                "\(records) set aside in \(TextForPeople.path(path)), the reasons in \(TextForPeople.path("\(work.ledger).bad.txt"))."
            )
        }
        if counts.leavesUnfinished {
            general.logger.notice(
                "The last record has no line end yet; the next import with this '--source' reads it."
            )
        }
        try ResultStream.print(
            "Stored \(Figures.count(counts.stored, "event")) in \(TextForPeople.path(work.ledger))\(others(counts)): "
                + "\(Figures.seconds(meter.seconds)), "
                + "\(Figures.rate(counts.stored + counts.present, in: meter.seconds)).",
            done: "What was to be stored is stored."
        )
        try await onThread { _ in try work.confirm(counts) }
    }

    private func others(_ counts: ImportProgress) -> String {
        var text = ""
        if counts.present > 0 { text += ", \(Figures.count(counts.present)) were there already" }
        if counts.readBefore > 0 {
            text += ", behind \(Figures.count(counts.readBefore, "record")) imported before"
        }
        return text
    }

    private func options() throws -> ImportOptions {
        guard skipBad >= 0 else {
            throw ValidationError("--skip-bad must be 0 or more; it is \(skipBad).")
        }
        var options = ImportOptions()
        options.skipBad = skipBad
        options.streamPrefix = streamPrefix
        options.replacesBadText = replace
        options.allowsFuture = allowFuture
        options.again = again
        for text in field {
            if let reason = options.fields.add(text) {
                throw ValidationError("--field \(TextForPeople.shown(text)): \(reason).")
            }
        }
        if streamPrefix.utf8.contains(0) {
            throw ValidationError("--stream-prefix must not hold U+0000.")
        }
        if let timeZone {
            options.times.zone = TimeReading.zone(named: timeZone)
            guard options.times.zone != nil else {
                throw ValidationError(
                    "--time-zone must be an IANA name, such as Europe/London, or an offset, such as"
                        + " --time-zone=-05:30; it is \(TextForPeople.shown(timeZone))."
                )
            }
        }
        if let timeUnit {
            options.times.unit = TimeReading.Unit(rawValue: timeUnit)
            guard options.times.unit != nil else {
                throw ValidationError("--time-unit must be s, ms, us or ns.")
            }
        }
        options.delimiter = try delimiterByte()
        try setSource(&options)
        options.command = command
        return options
    }

    private var command: String {
        let values: [(String, [String])] = [
            ("ledger", ledger.ledger.map { [$0] } ?? []),
            ("config", general.config.map { [$0] } ?? []),
            ("field", field),
            ("stream-prefix", streamPrefix.isEmpty ? [] : [streamPrefix]),
            ("time-zone", timeZone.map { [$0] } ?? []),
            ("time-unit", timeUnit.map { [$0] } ?? []),
            ("delimiter", delimiter.map { [$0] } ?? []),
            ("source", source.map { [$0] } ?? []),
            ("skip-bad", skipBad > 0 ? ["\(skipBad)"] : []),
        ]
        let flags = [("again", again), ("replace", replace), ("allow-future", allowFuture)]
        // A value may begin with a hyphen, so it is joined to its option.
        return
            (["\(ProgramName.current) ledger import -"]
            + values.flatMap { name, values in
                values.map { "--\(name)=\(TextForPeople.argument($0))" }
            } + flags.filter(\.1).map { "--\($0.0)" }).joined(separator: " ")
    }

    private func delimiterByte() throws -> UInt8? {
        guard let delimiter else { return nil }
        if delimiter == "\\t" || delimiter == "tab" { return 9 }
        guard let byte = delimiter.utf8.first, delimiter.utf8.count == 1, byte >= 32 || byte == 9,
            byte < 127, byte != UInt8(ascii: "\"")
        else {
            throw ValidationError(
                "--delimiter must be one ASCII character other than a quote, or 'tab'."
            )
        }
        return byte
    }

    private func setSource(_ options: inout ImportOptions) throws {
        guard let source else { return }
        guard !source.isEmpty, source.utf8.count <= 255, !source.utf8.contains(0) else {
            throw ValidationError("--source must have 1 to 255 bytes.")
        }
        options.source = source
    }
}
