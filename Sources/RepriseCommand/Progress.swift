internal import Foundation
internal import Ledgers
internal import ProjectionKit
internal import Rebuilder
internal import Synchronization

/// Shows `text` on standard error again and again while `body` works: in place and five times a
/// second on a terminal, as a line every five seconds elsewhere.
///
/// - Parameter text: What to show now; nil shows nothing this time.
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
    }

    private let projection: String
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

    /// The line that says how far it is.
    var line: String {
        let state = state.withLock { $0 }
        let seconds = (ContinuousClock.now - state.since) / .seconds(1)
        let memory = Figures.mebibytes(Memory.resident)
        guard state.stage == .folding, let bucketStart = state.bucketStart, state.total > 0 else {
            return "\(projection): \(state.stage.rawValue), \(Figures.clock(seconds)), \(memory)"
        }
        let share = min(1, Double(state.events) / Double(state.total))
        let left = share > 0 ? seconds / share - seconds : 0
        return "\(projection): folding \(Self.bar(share))\(Int(share * 100)) %, "
            + "\(Figures.count(state.events, "event")), "
            + "\(Figures.rate(state.events, in: seconds)), "
            + "bucket \(Timestamp(milliseconds: bucketStart)), \(memory), "
            + "\(Figures.clock(left)) left"
    }

    /// A bar for a terminal; elsewhere nothing.
    static func bar(_ share: Double) -> String {
        guard Console.standardError.isTerminal else { return "" }
        let width = 20
        let filled = Int(Double(width) * share)
        return "[" + String(repeating: "#", count: filled)
            + String(repeating: "-", count: width - filled) + "] "
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
        let state = state.withLock { $0 }
        var line = "\(doing) "
        if let share = state.share {
            line += "\(RebuildMeter.bar(min(1, share)))\(Int(min(1, share) * 100)) %, "
        }
        line += "\(Figures.count(state.events, "event")), "
        line += "\(Figures.rate(state.events, in: seconds)), \(Figures.mebibytes(Memory.resident))"
        if let share = state.share, share > 0 {
            line += ", \(Figures.clock(seconds / share - seconds)) left"
        }
        return line
    }
}
