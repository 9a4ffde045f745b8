internal import Foundation
internal import LedgerKit
internal import Ledgers
internal import ProjectionKit
internal import Rebuilder
internal import Synchronization

/// Shows `text` on standard error again and again while `body` works: in place and five times a
/// second on a terminal, as a line every five seconds elsewhere.
///
/// - Parameters:
///   - text: What to show now; nil shows nothing this time.
///   - body: The work.
/// - Returns: What `body` returns.
/// - Throws: What `body` throws.
func withProgress<Result: Sendable>(
    _ text: @escaping @Sendable () -> String?,
    _ body: () async throws -> Result
) async throws -> Result {
    let console = Console.standardError
    let pause: Duration = console.isTerminal ? .milliseconds(200) : .seconds(5)
    return try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
            while (try? await Task.sleep(for: pause)) != nil {
                if let text = text() { console.show(progress: text) }
            }
        }
        defer {
            group.cancelAll()
            console.clearProgress()
        }
        return try await body()
    }
}

/// What a rebuild has told so far.
final class RebuildMeter: Sendable {
    private struct State {
        var stage = RebuildStage.planning
        var since = ContinuousClock.now
        var events = 0
        var total = 0
        var bucketStart: Int64?
        var lag: Lag?
        var rate: Double?
    }

    /// Its projection.
    let projection: String

    private let state = Mutex(State())

    /// A rebuild that has not begun.
    init(projection: String) {
        self.projection = projection
    }

    /// The stage it is in.
    var stage: RebuildStage { state.withLock(\.stage) }

    /// A stage begins.
    func enter(_ stage: RebuildStage) {
        state.withLock { state in
            state.stage = stage
            state.since = .now
            state.bucketStart = nil
        }
    }

    /// Events were folded.
    func fold(events: Int, total: Int, bucketStart: Int64) {
        state.withLock { state in
            state.events = events
            state.total = total
            state.bucketStart = bucketStart
        }
    }

    /// The generation is behind the ledger.
    func behind(_ lag: Lag, eventsPerSecond: Double?) {
        state.withLock { state in
            state.lag = lag
            state.rate = eventsPerSecond
        }
    }

    /// When that stage began.
    var since: ContinuousClock.Instant { state.withLock(\.since) }

    /// The line that says how far it is; none on a terminal while hooks write there.
    ///
    /// - Parameter projections: Whose rebuilds it is about.
    /// - Returns: The line; nil for none.
    func line(of projections: [String]) -> String? {
        let projection = projections.joined(separator: ", ")
        let state = state.withLock { $0 }
        if Console.standardError.isTerminal, [.beforeSwap, .afterSwap].contains(state.stage) {
            return nil
        }
        let seconds = (ContinuousClock.now - state.since) / .seconds(1)
        let memory = Figures.mebibytes(Memory.resident)
        if [.catchingUp, .cuttingOver].contains(state.stage), let lag = state.lag, lag.events > 0 {
            let rate = state.rate.map { ", \(Figures.count(Int($0), "event"))/s" } ?? ""
            return
                "\(projection): \(state.stage.rawValue), \(Figures.count(lag.events, "event")) and "
                + "\(Figures.clock(lag.seconds)) behind\(rate), \(memory)"
        }
        guard [.folding, .foldingAgain].contains(state.stage), let bucketStart = state.bucketStart,
            state.total > 0
        else {
            return "\(projection): \(state.stage.rawValue), \(Figures.clock(seconds)), \(memory)"
        }
        let share = min(1, Double(state.events) / Double(state.total))
        let bucket = String("\(Timestamp(milliseconds: bucketStart))".prefix(16))
        return ProgressText.line(
            "\(projection): \(state.stage.rawValue)",
            share: share,
            left: share > 0 ? seconds / share - seconds : nil,
            facts: [
                Figures.count(state.events, "event"), Figures.rate(state.events, in: seconds),
                memory, "bucket \(bucket)",
            ]
        )
    }
}

/// How far a pass over a ledger is.
final class LedgerMeter: Sendable {
    private struct State {
        var events = 0
        var share: Double?
    }

    private let doing: String
    private let since = ContinuousClock.now
    private let state = Mutex(State())

    /// A pass that begins now; `doing` is a word such as `importing`.
    init(doing: String) {
        self.doing = doing
    }

    /// The pass is at so many events, and at this share of the whole if that is known.
    func advance(to events: Int, share: Double? = nil) {
        state.withLock { state in
            state.events = events
            state.share = share
        }
    }

    /// Events so far.
    var events: Int { state.withLock(\.events) }

    /// Seconds so far.
    var seconds: Double { (ContinuousClock.now - since) / .seconds(1) }

    /// The line that says how far it is.
    var line: String {
        let (state, seconds) = (state.withLock { $0 }, seconds)
        let share = state.share.map { min(1, $0) }
        return ProgressText.line(
            doing,
            share: share,
            left: share.flatMap { $0 > 0 ? seconds / $0 - seconds : nil },
            facts: [
                Figures.count(state.events, "event"), Figures.rate(state.events, in: seconds),
                Figures.mebibytes(Memory.resident),
            ]
        )
    }
}

/// Puts a line of progress together, what matters most first: a narrow terminal cuts the end off.
enum ProgressText {
    /// A line, with a bar where a terminal has room for it.
    static func line(
        _ doing: String,
        share: Double?,
        left: Double?,
        facts: [String],
        columns: Int? = Console.standardError.isTerminal ? Console.columns : nil
    ) -> String {
        var parts = facts
        if let left { parts.insert("\(Figures.clock(left)) left", at: 0) }
        guard let share else { return "\(doing) \(parts.joined(separator: ", "))" }
        parts.insert("\(Int(share * 100)) %", at: 0)
        let text = parts.joined(separator: ", ")
        // One column stays free, so that the cursor does not wrap; brackets and blanks take four.
        let room = (columns ?? 0) - 1 - doing.count - text.count - 4
        guard room >= 8 else { return "\(doing) \(text)" }
        let width = min(room, 24)
        let filled = Int(Double(width) * share)
        return "\(doing) [" + String(repeating: "#", count: filled)
            + String(repeating: "-", count: width - filled) + "] \(text)"
    }
}
