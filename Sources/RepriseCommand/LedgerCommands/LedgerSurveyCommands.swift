internal import ArgumentParser
internal import LedgerKit
internal import Ledgers
internal import Rebuilder
internal import Logging
internal import ProjectionKit
internal import Wording

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
        let ledger = try await ledger.open(general.settings())
        let meter = LedgerMeter(doing: "reading")
        let info = try await withProgress({ meter.line }) {
            try await onThread { checkCancellation in
                try LedgerInfo.read(ledger) { events in
                    meter.advance(to: events)
                    try checkCancellation()
                }
            }
        }
        let outline = InfoOutline(info)
        try ResultStream.print(json ? JSONOutput.text(outline) : outline.text)
        for warning in info.warnings { general.logger.warning("\(warning)") }
    }
}

/// `reprise ledger verify`.
struct LedgerVerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Check every event of a ledger, and the file itself.",
        discussion: """
            Reads every event and holds it against its checksum and its number, then the buckets, \
            the index of ids, what is known of imports, and SQLite's own structure of the file. Says \
            which events and buckets are damaged and how many are whole. Runs beside writers, and \
            changes nothing.

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
        let text = json ? try JSONOutput.text(outline) : outline.text
        guard result.isSound else {
            // That it is not sound counts for more than that the list cannot be written.
            try? ResultStream.print(text)
            throw CommandError.ledgerUnsound(
                path: path,
                findings: result.counts.values.reduce(0, +)
            )
        }
        try ResultStream.print(text)
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
    let identity: String
    let position: String?
    let events: Int
    let ids: Int
    let backdated: Int
    let streams: Int
    let buckets: Int
    let bucketWidthMs: Int64
    let from: String?
    let to: String?
    let fileBytes: Int?
    let busiestBucket: Busiest?
    let types: [TypeLine]
    let warnings: [String]

    init(_ info: LedgerInfo) {
        path = info.place
        identity = info.identity
        position = info.position.map { "\($0)" }
        ids = info.ids
        backdated = info.backdated
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
        warnings = info.warnings
    }

    private var shownPath: String { String(TextForPeople.path(path).dropFirst().dropLast()) }

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
        fields.add("ids", "\(Figures.count(ids)) of \(Figures.count(events, "event"))")
        if backdated > 0 {
            fields.add("backdated", "\(Figures.count(backdated, "event")) behind later ones")
        }
        if let fileBytes { fields.add("file", Figures.mebibytes(fileBytes)) }
        if let position { fields.add("position", position) }
        fields.add("identity", identity)
        fields.add(
            "types",
            Columns.lines(types.map { [Figures.count($0.events), $0.type] }, right: [0])
        )
        return "\(shownPath): \(Figures.count(events, "event")).\n\(fields.text.dropLast())"
    }
}

/// The findings as `verify --json` prints them; the names are stable.
private struct VerifyOutline: Encodable {
    struct Finding: Encodable {
        let check: String
        let firstEvent: Int64?
        let lastEvent: Int64?
        let bucket: String?
        let reason: String
    }

    let path: String
    /// Whole ones.
    let events: Int
    let expectedEvents: Int
    let isSound: Bool
    let counts: [String: Int]
    /// The first 20.
    let findings: [Finding]
    /// What is wrong with space that nothing is read from.
    let remarks: [String]
    private let lines: [String]

    private enum CodingKeys: String, CodingKey {
        case path, events, expectedEvents, isSound, counts, findings, remarks
    }

    init(_ result: LedgerVerify, path: String) {
        self.path = path
        events = result.events
        expectedEvents = result.expected
        remarks = result.remarks
        isSound = result.isSound
        counts = Dictionary(
            uniqueKeysWithValues: result.counts.map { ($0.key.rawValue, $0.value) }
        )
        findings = result.findings.map {
            Finding(
                check: $0.check.rawValue,
                firstEvent: $0.events?.lowerBound,
                lastEvent: $0.events?.upperBound,
                bucket: $0.bucket.map { "\($0)" },
                reason: $0.reason
            )
        }
        lines = result.findings.map { "\($0)" }
    }

    private var shownPath: String { String(TextForPeople.path(path).dropFirst().dropLast()) }

    var text: String {
        guard !isSound else {
            return
                (["\(shownPath): \(Figures.count(events, "event")), all sound."]
                + remarks.map { "  remark: \($0)" }).joined(separator: "\n")
        }
        var fields = FieldList()
        let rows = counts.sorted { $0.key < $1.key }.map { [Figures.count($0.value), $0.key] }
        fields.add("findings", Columns.lines(rows, right: [0]))
        return
            "\(shownPath): \(Figures.count(events)) of \(Figures.count(expectedEvents, "event")) are "
            + "whole.\n" + fields.text
            + lines.map { "  \($0)\n" }.joined()
    }
}
