internal import ProjectionKit
internal import Rebuilder
internal import Synchronization
internal import Wording

/// What came of one of the projections that a command rebuilds: a report, or why there is none.
///
/// As JSON it is the report's object, if there is one, with what is said here beside it; the names are
/// stable.
struct RebuildRecord: Encodable {
    /// How it ended.
    enum Outcome: String, Encodable {
        /// Readers see the new generation.
        case live
        /// The new generation is complete, and waits for `swap`.
        case ready
        /// It is not live.
        case failed
        /// Another one failed first.
        case notBegun = "not begun"
    }

    let projection: String
    let outcome: Outcome
    /// What it says when it failed, also when what follows the swap did.
    let error: (any Error)?
    /// The one that failed first.
    private(set) var stoppedBy: String?
    let report: RebuildReport?

    /// The record of a rebuild that came to its end.
    init(_ report: RebuildReport) {
        projection = report.projection
        outcome = report.isLive ? .live : .ready
        error = nil
        self.report = report
    }

    /// The record of one that did not.
    ///
    /// - Parameters:
    ///   - projection: Its projection.
    ///   - error: Why.
    ///   - isLive: Whether its new generation is live nevertheless.
    init(of projection: String, failed error: any Error, isLive: Bool) {
        self.projection = projection
        self.error = error
        report = nil
        if case RebuildError.stoppedByAnother(_, let failed) = error {
            outcome = .notBegun
            stoppedBy = failed
        } else {
            outcome = isLive ? .live : .failed
        }
    }

    /// The status that a command ends with that rebuilds this projection alone; nil for an interruption,
    /// and where nothing was begun.
    var status: ExitStatus? {
        guard let error else { return .done }
        if outcome == .notBegun { return nil }
        if interruption != nil { return nil }
        return ExitStatus(of: error) ?? .unexpected
    }

    /// The same as a number, that of an interruption too; nil where nothing was begun.
    private var exitStatus: Int32? {
        if outcome == .notBegun { return nil }
        guard let signal = ReceivedSignal.first, interruption != nil else {
            return status?.rawValue
        }
        return 128 + signal
    }

    /// What it says of the signal that ended it; nil when none did.
    var interruption: String? {
        guard let error, let signal = ReceivedSignal.first else { return nil }
        return Interrupted.message(of: error, signal: signal)
    }

    /// What it says on standard error.
    var message: String? {
        guard let error else { return nil }
        if let interruption { return AdvisedCommands.complete(interruption) }
        if ExitStatus(of: error) == nil { return ExitStatus.unexpectedMessage(of: error) }
        return AdvisedCommands.complete((error as? EventRejection)?.message ?? "\(error)")
    }

    /// What readers see of it, and why, as a line.
    var line: String {
        let unchanged = "the live tables are unchanged"
        return switch outcome {
        case .live where error == nil: "generation \(report?.generation ?? 0) is live"
        case .live: "the new generation is live, and what follows failed (\(cause))"
        case .ready: "generation \(report?.generation ?? 0) is ready; \(unchanged)"
        case .failed: "failed (\(cause)); \(unchanged)"
        case .notBegun: "not begun, because '\(stoppedBy ?? "")' failed; \(unchanged)"
        }
    }

    private var cause: String {
        exitStatus.map { interruption == nil ? "exit status \($0)" : "interrupted" }
            ?? "interrupted"
    }

    private enum CodingKeys: String, CodingKey {
        case projection, outcome, isLive, error, exitStatus, stoppedBy
    }

    func encode(to encoder: any Encoder) throws {
        try report?.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(projection, forKey: .projection)
        try container.encode(outcome, forKey: .outcome)
        try container.encode(outcome == .live, forKey: .isLive)
        try container.encodeIfPresent(message, forKey: .error)
        try container.encodeIfPresent(exitStatus, forKey: .exitStatus)
        try container.encodeIfPresent(stoppedBy, forKey: .stoppedBy)
    }
}

/// Some of the projections that a command was to rebuild are not what was wanted.
struct RebuildsFailed: Error, CustomStringConvertible {
    /// All of them, in the order in which they were named.
    let records: [RebuildRecord]

    /// That of the worst; nil when a signal ended it.
    var status: ExitStatus? {
        let own = records.filter { $0.outcome != .notBegun }
        guard own.allSatisfy({ $0.status != nil }) else { return nil }
        return own.compactMap(\.status).max { $0.severity < $1.severity }
    }

    var description: String {
        let failed = records.filter { $0.outcome != .notBegun }.compactMap(\.message)
        return (failed + [overview]).joined(separator: "\n\n") + "\n" + next
    }

    /// What readers see of each.
    var overview: String {
        let lines = Columns.lines(records.map { [$0.projection, $0.line] })
        return "Of the \(records.count) projections:\n"
            + lines.map { "  \($0)" }.joined(separator: "\n")
    }

    private var next: String {
        let missing = records.filter { [.failed, .notBegun].contains($0.outcome) }
        guard !missing.isEmpty else {
            return "Run '\(ProgramName.current) status' to see how things stand."
        }
        let names = missing.map(\.projection).joined(separator: " ")
        return "Then run '\(ProgramName.current) rebuild \(names)'; with --keep-going "
            + "a failure stops only the projection that fails."
    }
}

/// Keeps the records of a command and writes what is for standard output, each as soon as it is known.
///
/// JSON of one projection is an object. Of several it is an array that has a line for each: of a command
/// that is killed there are the lines of what was done.
final class RebuildRecords: Sendable {
    private struct State {
        var records: [RebuildRecord?]
        var written = 0
        /// Why standard output takes no more: what is lost there must not stop the others.
        var lost: (any Error)?
    }

    private let text: @Sendable (RebuildReport) -> String
    private let json: Bool
    private let isArray: Bool
    private let state: Mutex<State>

    /// Records of so many projections.
    ///
    /// - Parameters:
    ///   - count: Their number.
    ///   - json: Whether JSON is wanted.
    ///   - isArray: Whether that is an array.
    ///   - text: A report for people.
    init(
        _ count: Int,
        json: Bool,
        isArray: Bool,
        text: @escaping @Sendable (RebuildReport) -> String
    ) {
        self.json = json
        self.isArray = isArray
        self.text = text
        state = Mutex(State(records: Array(repeating: nil, count: count)))
    }

    /// Takes what came of a projection, by its number.
    func take(_ record: RebuildRecord, at index: Int) {
        state.withLock { state in
            state.records[index] = record
            guard state.lost == nil else { return }
            do { try write(record, &state) } catch { state.lost = error }
        }
    }

    private func write(_ record: RebuildRecord, _ state: inout State) throws {
        let done = record.error == nil ? "The rebuild of '\(record.projection)' is done." : nil
        guard json else {
            guard let report = record.report else { return }
            Console.standardError.clearProgress()
            return try ResultStream.print(text(report), done: done)
        }
        let object = try JSONOutput.text(record)
        let mark = !isArray ? "" : state.written == 0 ? "[" : ","
        try ResultStream.print(mark + object, done: done)
        state.written += 1
    }

    /// Ends the array.
    ///
    /// - Throws: What ends the command, if something is not as it was wanted: the failure of the only
    ///   projection, ``RebuildsFailed``, ``Interrupted``, ``CommandError``.
    func finish() throws {
        let state = state.withLock { state in
            if json, isArray, state.lost == nil {
                do { try ResultStream.print("]") } catch { state.lost = error }
            }
            return state
        }
        let records = state.records.compactMap(\.self)
        let failures = records.compactMap(\.error)
        if records.count == 1, let failure = failures.first { throw failure }
        if let interruption = failures.compactMap({ $0 as? Interrupted }).first {
            throw Interrupted(
                state: interruption.state + "\n" + RebuildsFailed(records: records).overview,
                next: interruption.next
            )
        }
        if !failures.isEmpty { throw RebuildsFailed(records: records) }
        if let lost = state.lost { throw lost }
    }
}
