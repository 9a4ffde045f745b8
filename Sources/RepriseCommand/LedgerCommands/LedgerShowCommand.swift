internal import ArgumentParser
internal import LedgerKit
internal import Ledgers
internal import ProjectionKit
internal import Rebuilder

/// `reprise ledger show`.
struct LedgerShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show events, the newest first.",
        discussion: """
            Without filters the newest 20. What is read is what has to be: the newest events are \
            found without reading the others, and so is an --id.

            With --follow the order is the ledger's, and what is appended from then on is shown as \
            it comes, until SIGINT or SIGTERM.

            Exit status: 0 done, 1 no event has that --id, 2 usage, 4 ledger, 129, 130 or 143 interrupted.
            """
    )

    @Flag(help: "Begin with the oldest event of the range.")
    var oldest = false

    @Option(
        help: ArgumentHelp(
            "Events to show at most (default: 20; with --follow behind --after or --oldest: all).",
            valueName: "n"
        )
    )
    var limit: Int?

    @Option(help: ArgumentHelp("Only the event of this id.", valueName: "id"))
    var id: String?

    @Flag(name: .shortAndLong, help: "Go on with what is appended.")
    var follow = false

    @Flag(help: "Print NDJSON: the lines of 'export' with position and sequence.")
    var json = false

    @OptionGroup var range: RangeOptions
    @OptionGroup var filter: FilterOptions
    @OptionGroup var ledger: LedgerOptions
    @OptionGroup var general: GeneralOptions

    func validate() throws {
        if let limit, limit < 0 {
            throw ValidationError("--limit must be 0 or more; it is \(limit).")
        }
        if follow, id != nil || range.to != nil {
            throw ValidationError("--follow goes with neither --id nor --to.")
        }
        if follow, limit != nil, oldest || range.after != nil {
            throw ValidationError(
                "With --follow, --limit counts back from the newest event: give it without --oldest "
                    + "and --after."
            )
        }
    }

    func run() async throws {
        let ledger = try await ledger.open(general.settings())
        let columns = ResultStream.columns
        let asJSON = json
        let work = EventSearch(
            ledger: ledger,
            replay: try range.replay(of: ledger),
            filter: filter.filter,
            id: id
        )
        let order: ShowOrder =
            oldest || (follow && range.after != nil) ? .oldestFirst : .newestFirst
        // More than any ledger has, and far from the end of the numbers.
        let all = 1 << 48
        let most = min(limit ?? (follow && order == .oldestFirst ? all : 20), all)
        let follows = follow
        let isFound = try await uninterrupted {
            try await onThread { check in
                var isFound = true
                _ = try ResultStream.write(checking: check) { sink in
                    let list = EventList(ledger, to: sink, asJSON: asJSON, columns: columns)
                    if follows {
                        try work.follow(list, order, most: most)
                    } else {
                        isFound = try work.show(list, order, most: most, check)
                    }
                }
                return isFound
            }
        }
        if !isFound, let id { throw CommandError.noSuchEvent(id: id, ledger: ledger.place) }
    }
}

/// Says what an interruption leaves: nothing.
private func uninterrupted<Result>(_ body: () async throws -> Result) async throws -> Result {
    do {
        return try await body()
    } catch is CancellationError {
        throw Interrupted(
            state: "Nothing was changed.",
            next: "Run the same command again to see more."
        )
    }
}

/// In which order events are shown.
private enum ShowOrder {
    case newestFirst
    case oldestFirst
}

/// Finds the events that are wanted.
private struct EventSearch: Sendable {
    let ledger: any Ledger
    let replay: Replay
    let filter: EventFilter
    let id: String?

    /// Shows what the ledger has now.
    ///
    /// - Returns: False when an id was asked for that no event has.
    func show(
        _ list: EventList,
        _ order: ShowOrder,
        most: Int,
        _ check: () throws -> Void
    ) throws -> Bool {
        if let id, let lookup = ledger as? any IDLookup {
            guard let span = try lookup.span(ofID: id) else { return false }
            try forEach(in: span, check) { event in
                list.add(event)
                return true
            }
            try list.finish()
            return true
        }
        guard let span = try replay.span() else { return id == nil }
        let shown =
            switch order {
            case .oldestFirst: try showOldest(of: span, list, most: most, check)
            case .newestFirst: try showNewest(of: span, list, most: most, isReversed: true, check)
            }
        try list.finish()
        return shown > 0 || id == nil
    }

    /// Shows the newest events in ledger order, or all of a range, then what is appended.
    func follow(_ list: EventList, _ order: ShowOrder, most: Int) throws {
        // From before the first look, so that nothing falls between the two.
        let watch = try ledger.watch()
        var end = try ledger.safePosition()
        if let span = try replay.span() {
            switch order {
            case .oldestFirst: _ = try showOldest(of: span, list, most: most, list.check)
            case .newestFirst:
                _ = try showNewest(of: span, list, most: most, isReversed: false, list.check)
            }
            end = span.through
        }
        while true {
            try list.finish()
            try list.pause(milliseconds: 200)
            guard try watch.hasChanged(), let newest = try ledger.safePosition(),
                end.map({ $0 < newest }) ?? true
            else { continue }
            if let end, try !ledger.holds(end) {
                throw CommandError.ledgerReplaced(ledger: ledger.place, position: "\(end)")
            }
            let span = PositionSpan(after: end, through: newest)
            _ = try showOldest(of: span, list, most: 1 << 48, list.check)
            end = newest
        }
    }

    private func showOldest(
        of span: PositionSpan,
        _ list: EventList,
        most: Int,
        _ check: () throws -> Void
    ) throws -> Int {
        guard most > 0 else { return 0 }
        var shown = 0
        try forEach(in: span, check) { event in
            list.add(event)
            try list.finishPage()
            shown += 1
            return shown < most
        }
        return shown
    }

    /// Goes backwards, part by part.
    private func showNewest(
        of span: PositionSpan,
        _ list: EventList,
        most: Int,
        isReversed: Bool,
        _ check: () throws -> Void
    ) throws -> Int {
        var found: [EventList.Row] = []
        var shown = 0
        try forEachPart(of: span) { part in
            var rows: [EventList.Row] = []
            let wanted = most - shown - found.count
            try forEach(in: part, check) { event in
                rows.append(list.row(event))
                if rows.count >= wanted &* 2 &+ 1_024 { rows.removeFirst(rows.count - wanted) }
                return true
            }
            let part = rows.suffix(wanted)
            if isReversed {
                for row in part.reversed() {
                    list.add(row)
                    try list.finishPage()
                }
                shown += part.count
            } else {
                found.insert(contentsOf: part, at: 0)
            }
            return shown + found.count < most
        }
        for row in found { list.add(row) }
        return shown + found.count
    }

    /// Calls `body` with parts of a span, the newest first, until it wants no more.
    private func forEachPart(
        of span: PositionSpan,
        _ body: (PositionSpan) throws -> Bool
    ) throws {
        guard let numbered = ledger as? any NumberedLedger else {
            var end = span.through
            for count in try ledger.buckets(in: span).dropLast().reversed() {
                guard try body(PositionSpan(after: count.last, through: end)) else { return }
                end = count.last
            }
            _ = try body(PositionSpan(after: span.after, through: end))
            return
        }
        let first = span.after.map { numbered.number(of: $0) } ?? 0
        var last = numbered.number(of: span.through)
        var size: Int64 = 256
        while last > first {
            let before = max(first, last - size)
            guard try body(numbered.span(ofNumbers: (before + 1)...last)) else { return }
            last = before
            size = min(size * 2, 65_536)
        }
    }

    /// Calls `body` with the events that are wanted, in ledger order, until it wants no more.
    private func forEach(
        in span: PositionSpan,
        _ check: () throws -> Void,
        _ body: (borrowing Event) throws -> Bool
    ) throws {
        try ledger.withReader(of: span) { reader in
            let batch = EventBatch()
            var isOver = false
            while try !isOver && reader.fill(batch) {
                try check()
                try batch.forEach { event in
                    guard !isOver, filter.takes(event), id == nil || event.id == id else { return }
                    isOver = try !body(event)
                }
            }
        }
    }
}
