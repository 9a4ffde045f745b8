internal import ArgumentParser
internal import Foundation
internal import LedgerKit
internal import Ledgers
internal import Rebuilder
internal import Logging
internal import ProjectionKit
internal import Wording

/// `reprise ledger`: the embedded ledger.
struct LedgerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ledger",
        abstract: "Make, fill and examine the embedded ledger, an SQLite file.",
        discussion: """
            None of these commands touches the database. A ledger is only ever appended to.

            Exit status: 0 done, 1 'verify' found something or 'show' not, 2 usage, 4 the ledger \
            cannot be used, \
            6 an event or a line is rejected, 75 another process is writing.
            """,
        subcommands: [
            LedgerCreateCommand.self, LedgerImportCommand.self, LedgerAppendCommand.self,
            LedgerShowCommand.self, LedgerInfoCommand.self, LedgerVerifyCommand.self,
            LedgerExportCommand.self, LedgerBackupCommand.self, LedgerUpgradeCommand.self,
            LedgerGenerateCommand.self,
        ]
    )
}

/// `reprise ledger create`.
struct LedgerCreateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Make an empty ledger.",
        discussion: """
            The bucket width never changes afterwards. A bucket is the unit of reading, progress and \
            repair; up to 100,000 events in one are comfortable.

            Exit status: 0 made, 2 usage, 4 there is a file already or none can be made.
            """
    )

    @Argument(help: "Where, if --ledger does not say; there must be nothing.")
    var file: String?

    @Option(
        help: ArgumentHelp(
            "Length of a bucket: 15s, 500ms, 1m, 1h.",
            valueName: "duration"
        )
    )
    var bucketWidth = BucketWidth(milliseconds: 15_000)

    @OptionGroup var ledger: LedgerOptions
    @OptionGroup var general: GeneralOptions

    func validate() throws {
        guard file == nil || ledger.ledger == nil else {
            throw ValidationError("Name the ledger once: as an argument or by --ledger.")
        }
    }

    func run() async throws {
        let file = try LedgerAddress(file ?? ledger.path(general.settings())).writablePath()
        let width = bucketWidth.milliseconds
        try await onThread { _ in try EmbeddedLedger.create(path: file, bucketWidth: width) }
        try ResultStream.print(
            """
            Made the ledger \(TextForPeople.path(file)) with buckets of \(Figures.width(milliseconds: width)).
            Next: \(ProgramName.current) ledger import EVENTS.ndjson --ledger \(TextForPeople.pathArgument(file))
            """,
            done: "The ledger is made."
        )
    }
}

/// A length of time with its unit.
struct BucketWidth: ExpressibleByArgument {
    let milliseconds: Int64

    init(milliseconds: Int64) {
        self.milliseconds = milliseconds
    }

    init?(argument: String) {
        let digits = argument.prefix { $0.isASCII && $0.isNumber }
        let units: [String: Int64] = ["ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000]
        guard let number = Int64(digits), number > 0,
            let unit = units[String(argument.dropFirst(digits.count))],
            // A day is far more than any ledger needs, and keeps the arithmetic in range.
            number <= 86_400_000 / unit
        else { return nil }
        milliseconds = number * unit
    }

    var defaultValueDescription: String { "\(milliseconds / 1_000)s" }
}

/// `reprise ledger generate`.
struct LedgerGenerateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Append events of a made-up shop, for trying things out.",
        discussion: """
            The same numbers make the same events in an empty ledger, byte for byte. In one that \
            holds events new ones are added behind them, of orders of their own: it can be killed \
            and started again.

            With --rate it plays a shop at work: every twentieth of a second's events, or every \
            single one where there are fewer, are a transaction. Without --events it then goes on \
            until SIGINT or SIGTERM, which is its end and no failure.

            Exit status: 0 done, 2 usage, 4 ledger, 75 another process is writing, 130 or 143 \
            interrupted before --events were stored.
            """
    )

    @Option(
        help: ArgumentHelp("How many events; with --rate it may be left out.", valueName: "n")
    )
    var events: Int?

    @Option(
        help: ArgumentHelp(
            "Events to store in a second (default: as many as can be).",
            valueName: "n"
        )
    )
    var rate: Int?

    @Option(help: ArgumentHelp("What tells one workload from another.", valueName: "n"))
    var seed: UInt64

    @Option(
        help: ArgumentHelp(
            "Time of the first event, RFC 3339 (default: 2026-01-01T00:00:00Z).",
            valueName: "time"
        ),
        transform: timestamp
    )
    var start: Timestamp?

    @OptionGroup var ledger: LedgerOptions
    @OptionGroup var general: GeneralOptions

    func validate() throws {
        if let events, events < 0 {
            throw ValidationError("--events must be 0 or more; it is \(events).")
        }
        if let rate, !(1...1_000_000).contains(rate) {
            throw ValidationError("--rate must be 1 to 1000000; it is \(rate).")
        }
        guard events != nil || rate != nil else {
            throw ValidationError("Give --events, or --rate to go on until it is stopped.")
        }
    }

    func run() async throws {
        let path = try ledger.path(general.settings())
        let workload = ShopWorkload(
            events: events,
            seed: seed,
            start: start ?? ShopWorkload.defaultStart,
            rate: rate
        )
        let meter = LedgerMeter(doing: "generating")
        do {
            try await stoppable(meter, storingIn: path) {
                try await withProgress({ meter.line }) {
                    try await write(workload, to: path, meter)
                }
            }
        } catch is Interrupted where events == nil {
            // Being stopped is how it ends.
        }
        try ResultStream.print(
            "Stored \(Figures.count(meter.events, "event")) in \(TextForPeople.path(path)): "
                + "\(Figures.seconds(meter.seconds)), "
                + "\(Figures.rate(meter.events, in: meter.seconds)).",
            done: "What was to be stored is stored."
        )
    }

    private func write(
        _ workload: ShopWorkload,
        to path: String,
        _ meter: LedgerMeter
    ) async throws {
        try await onThread { checkCancellation in
            _ = try LedgerWriter.withWriter(path: path) { writer in
                try workload.write(to: writer) { stored in
                    let share = workload.events.map { Double(stored) / Double(max(1, $0)) }
                    meter.advance(to: stored, share: share)
                    try checkCancellation()
                }
            }
        }
    }
}

/// `reprise ledger append`.
struct LedgerAppendCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "append",
        abstract: "Append one event.",
        discussion: """
            The event is on the disk when the command returns, behind all others, whatever its time. \
            With an --id that is there already nothing is stored; where the event of that id has \
            other content, the command fails.

            Exit status: 0 stored or there already, 2 usage, 4 ledger, 6 it is not an event or its \
            id is another's, 75 another process is writing.
            """
    )

    @Option(help: ArgumentHelp("The event's type.", valueName: "type"))
    var type: String

    @Option(help: ArgumentHelp("The stream it belongs to.", valueName: "stream"))
    var stream: String

    @Option(help: ArgumentHelp("Its content, a JSON object.", valueName: "json"))
    var data: String

    @Option(help: ArgumentHelp("What is said about it besides, a JSON object.", valueName: "json"))
    var metadata: String?

    @Option(
        help: ArgumentHelp("When it happened, RFC 3339 (default: now).", valueName: "time"),
        transform: timestamp
    )
    var time: Timestamp?

    @Option(
        help: ArgumentHelp(
            "What names it in the whole ledger, any text up to 255 bytes (default: nothing).",
            valueName: "id"
        )
    )
    var id: String?

    @Flag(help: "Take a time that is more than a day ahead of the clock.")
    var allowFuture = false

    @OptionGroup var ledger: LedgerOptions
    @OptionGroup var general: GeneralOptions

    func run() async throws {
        let path = try ledger.path(general.settings())
        let event = NewEvent(
            id: id,
            time: time,
            stream: stream,
            type: type,
            data: data,
            metadata: metadata
        )
        let allowsFuture = allowFuture
        let appended: [AppendedEvent]
        do {
            appended = try await onThread { checkCancellation in
                try LedgerWriter.withWriter(path: path) { writer in
                    writer.allowsFuture = allowsFuture
                    writer.beforeBatch = checkCancellation
                    return try writer.append([event])
                }
            }
        } catch is CancellationError {
            throw Interrupted(
                state: "The event is not stored; nothing that readers see has changed.",
                next: "Run the same command again."
            )
        }
        for event in appended {
            let what = event.wasPresent ? "There already" : "Stored"
            try ResultStream.print(
                "\(what): event \(event.sequence) of \(event.time).",
                done: "What was to be stored is stored."
            )
        }
    }
}

/// Reads a time of the command line.
@Sendable func timestamp(_ text: String) throws -> Timestamp {
    guard let time = Timestamp(text) else {
        throw ValidationError(
            "\(TextForPeople.shown(text)) is not an RFC 3339 time of the years 0001 to 9999 in UTC, "
                + "such as 2026-03-01T09:30:00Z."
        )
    }
    return time
}

/// Says what an interruption leaves in the ledger.
func stoppable<Result>(
    _ meter: LedgerMeter,
    storingIn path: String,
    _ body: () async throws -> Result
) async throws -> Result {
    do {
        return try await body()
    } catch is CancellationError {
        throw Interrupted(
            state: "\(Figures.count(meter.events, "event")) are in \(TextForPeople.path(path)); "
                + "nothing that readers see has changed.",
            next:
                "Run '\(ProgramName.current) ledger info --ledger \(TextForPeople.pathArgument(path))' to see the whole."
        )
    }
}
