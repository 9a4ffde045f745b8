internal import ArgumentParser
internal import Foundation
internal import LedgerKit
internal import Ledgers
internal import ProjectionKit
internal import Wording

/// A time of the command line, as it was typed.
struct TimeArgument: Sendable {
    let text: String
    let time: Timestamp

    /// - Throws: `ValidationError`, with what a time looks like.
    @Sendable init(_ argument: String) throws {
        guard let time = Timestamp(argument) else {
            throw ValidationError(
                "it must be an RFC 3339 time of the years 0001 to 9999, such as 2026-03-01T09:30:00Z."
            )
        }
        text = argument
        self.time = time
    }
}

/// Which part of a ledger.
struct RangeOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "First time that belongs to it, RFC 3339 to the microsecond (default: the beginning).",
            valueName: "time"
        ),
        transform: TimeArgument.init
    )
    var from: TimeArgument?

    @Option(
        help: ArgumentHelp(
            "First time that does not belong to it any more (default: all events there are).",
            valueName: "time"
        ),
        transform: TimeArgument.init
    )
    var to: TimeArgument?

    @Option(
        help: ArgumentHelp(
            "Begin behind this event instead: its number, or its position.",
            valueName: "position"
        )
    )
    var after: String?

    func validate() throws {
        if from != nil, after != nil {
            throw ValidationError("--from and --after both say where to begin: give one of them.")
        }
        if let from, let to, from.time > to.time {
            throw ValidationError("--from must not be later than --to.")
        }
    }

    /// The range in a ledger.
    func replay(of ledger: any Ledger) throws -> Replay {
        Replay(of: ledger, start: try start(in: ledger), to: to?.time)
    }

    private func start(in ledger: any Ledger) throws -> Replay.Start {
        if let from { return .time(from.time) }
        guard let after else { return .beginning }
        if let position = Position(after) {
            guard try ledger.holds(position) else {
                throw CommandError.badSetting(
                    source: "--after",
                    reason:
                        "names no event of \(TextForPeople.path(ledger.place)): the position \(position) is another "
                        + "ledger's"
                )
            }
            return .after(position)
        }
        guard let number = Int64(after), number >= 0 else {
            throw CommandError.badSetting(
                source: "--after",
                reason: "must be an event's number or its position; it is "
                    + TextForPeople.shown(after)
            )
        }
        guard let numbered = ledger as? any NumberedLedger else {
            throw CommandError.badSetting(
                source: "--after",
                reason:
                    "must be a position: the events of \(TextForPeople.path(ledger.place)) have no numbers"
            )
        }
        guard number > 0 else { return .beginning }
        let last = try ledger.safePosition()?.words.0 ?? 0
        guard UInt64(number) <= last else {
            throw CommandError.badSetting(
                source: "--after",
                reason:
                    "must be an event that is there; \(TextForPeople.path(ledger.place)) ends with event \(last)"
            )
        }
        return .after(numbered.span(ofNumbers: 1...number).through)
    }
}

/// Which events of it.
struct FilterOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("Only events of this stream; may be repeated.", valueName: "stream")
    )
    var stream: [String] = []

    @Option(help: ArgumentHelp("Only events of this type; may be repeated.", valueName: "type"))
    var type: [String] = []

    var filter: EventFilter { EventFilter(streams: stream, types: type) }
}

/// Tells events that are wanted from others.
struct EventFilter: Sendable {
    private let streams: [[UInt8]]
    private let types: Set<EventType>

    /// Wants the events of any of the streams and any of the types; none named are all.
    init(streams: [String], types: [String]) {
        self.streams = streams.map { Array($0.utf8) }
        self.types = Set(types.map { EventType($0) })
    }

    /// Whether it wants every event.
    var takesAll: Bool { streams.isEmpty && types.isEmpty }

    func takes(_ event: borrowing Event) -> Bool {
        guard types.isEmpty || types.contains(event.type) else { return false }
        guard !streams.isEmpty else { return true }
        let stream = event.bytes.stream
        return streams.contains { name in
            guard name.count == stream.count else { return false }
            return name.withUnsafeBytes { name in
                guard let name = name.baseAddress, let start = stream.baseAddress else {
                    return true
                }
                return memcmp(name, start, stream.count) == 0
            }
        }
    }
}
