internal import ArgumentParser
internal import Ledgers
internal import Rebuilder
internal import Logging
internal import ProjectionKit

/// `reprise ledger info`.
struct LedgerInfoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "info",
        abstract: "Show what a ledger holds.",
        discussion: """
            Reads the whole ledger once, beside whoever writes it.

            Exit status: 0 done, 2 usage, 4 ledger.
            """
    )

    @Flag(help: "Print JSON.")
    var json = false

    @OptionGroup var ledger: LedgerOptions
    @OptionGroup var general: GeneralOptions

    func run() async throws {
        let path = try ledger.path(general.settings())
        let meter = LedgerMeter(doing: "reading")
        let info = try await withProgress({ meter.line }) {
            try await onThread { checkCancellation in
                try LedgerInfo.read(path: path) { events in
                    meter.advance(to: events)
                    try checkCancellation()
                }
            }
        }
        let outline = InfoOutline(info)
        print(json ? try JSONOutput.text(outline) : outline.text)
        if let warning = info.warning { general.logger.warning("\(warning)") }
    }
}

/// `reprise ledger verify`.
struct LedgerVerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Check every event of a ledger, and the file itself.",
        discussion: """
            Checks SQLite's own integrity, the order, that ids are unique, that each event is filed \
            in the bucket of its time, and that each payload is a JSON object. Changes nothing.

            Exit status: 0 sound, 1 not sound, 2 usage, 4 the ledger cannot be read.
            """
    )

    @Flag(help: "Print JSON.")
    var json = false

    @OptionGroup var ledger: LedgerOptions
    @OptionGroup var general: GeneralOptions

    func run() async throws {
        let path = try ledger.path(general.settings())
        let meter = LedgerMeter(doing: "verifying")
        let result = try await withProgress({ meter.line }) {
            try await onThread { checkCancellation in
                try LedgerVerify.run(path: path) { events in
                    meter.advance(to: events)
                    try checkCancellation()
                }
            }
        }
        let outline = VerifyOutline(result, path: path)
        print(json ? try JSONOutput.text(outline) : outline.text)
        guard result.isSound else {
            throw CommandError.ledgerUnsound(
                path: path,
                findings: result.counts.values.reduce(0, +)
            )
        }
    }
}

/// What a ledger holds, as `info --json` prints it; the names are stable.
private struct InfoOutline: Encodable {
    struct TypeLine: Encodable {
        let type: String
        let events: Int
    }

    struct Busiest: Encodable {
        let from: String
        let to: String
        let events: Int
    }

    let path: String
    let events: Int
    let streams: Int
    let buckets: Int
    let bucketWidthMs: Int64
    let from: String?
    let to: String?
    let fileBytes: Int
    let busiestBucket: Busiest?
    let types: [TypeLine]
    let warning: String?

    init(_ info: LedgerInfo) {
        path = info.path
        events = info.events
        streams = info.streams
        buckets = info.buckets
        bucketWidthMs = info.bucketWidth
        from = info.times.map { "\($0.lowerBound)" }
        to = info.times.map { "\($0.upperBound)" }
        fileBytes = info.fileBytes
        busiestBucket = info.busiest.map {
            Busiest(
                from: "\(Timestamp(milliseconds: $0.bucket.start))",
                to: "\(Timestamp(milliseconds: $0.bucket.end))",
                events: $0.events
            )
        }
        types = info.types.map { TypeLine(type: $0.type, events: $0.events) }
        warning = info.warning
    }

    var text: String {
        var fields = FieldList()
        if let from, let to { fields.add("time", "\(from) to \(to)") }
        fields.add("streams", Figures.count(streams))
        fields.add(
            "buckets",
            "\(Figures.count(buckets)) of \(Figures.width(milliseconds: bucketWidthMs))"
        )
        if let busiestBucket {
            fields.add(
                "busiest",
                "\(Figures.count(busiestBucket.events, "event")) in the bucket of \(busiestBucket.from)"
            )
        }
        fields.add("file", Figures.mebibytes(fileBytes))
        fields.add(
            "types",
            Columns.lines(types.map { [Figures.count($0.events), $0.type] }, right: [0])
        )
        return "\(path): \(Figures.count(events, "event")).\n\(fields.text.dropLast())"
    }
}

/// The findings as `verify --json` prints them; the names are stable.
private struct VerifyOutline: Encodable {
    struct Finding: Encodable {
        let check: String
        let eventID: String?
        let bucket: String?
        let reason: String
    }

    let path: String
    let events: Int
    let isSound: Bool
    let counts: [String: Int]
    /// The first 20.
    let findings: [Finding]
    private let lines: [String]

    private enum CodingKeys: String, CodingKey {
        case path, events, isSound, counts, findings
    }

    init(_ result: LedgerVerify, path: String) {
        self.path = path
        events = result.events
        isSound = result.isSound
        counts = Dictionary(
            uniqueKeysWithValues: result.counts.map { ($0.key.rawValue, $0.value) }
        )
        findings = result.findings.map {
            Finding(
                check: $0.check.rawValue,
                eventID: $0.id.map { "\($0)" },
                bucket: $0.bucket.map { "\($0)" },
                reason: $0.reason
            )
        }
        lines = result.findings.map { "\($0)" }
    }

    var text: String {
        guard !isSound else { return "\(path): \(Figures.count(events, "event")), all sound." }
        var fields = FieldList()
        let rows = counts.sorted { $0.key < $1.key }.map { [Figures.count($0.value), $0.key] }
        fields.add("findings", Columns.lines(rows, right: [0]))
        return "\(path): \(Figures.count(events, "event")) looked at, not sound.\n" + fields.text
            + lines.map { "  \($0)\n" }.joined()
    }
}
