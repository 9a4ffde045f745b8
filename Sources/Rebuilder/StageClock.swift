import Synchronization

/// Measures the stages of one rebuild one after another.
final class StageClock: Sendable {
    private struct State {
        var seconds = RebuildReport.Seconds()
        var last = ContinuousClock.now
    }

    private let state = Mutex(State())

    /// Seconds of each stage so far.
    var seconds: RebuildReport.Seconds { state.withLock(\.seconds) }

    /// Counts the time since the last call as that of a stage.
    func lap(_ stage: WritableKeyPath<RebuildReport.Seconds, Double>) {
        state.withLock { state in
            let now = ContinuousClock.now
            let elapsed = (now - state.last) / .seconds(1)
            state.seconds[keyPath: stage] += elapsed
            state.seconds.total += elapsed
            state.last = now
        }
    }

    /// Leaves out the time since the last call, which belongs to others.
    func skip() { state.withLock { $0.last = .now } }
}
