import ProjectionKit

/// Where a ledger ended, and when that was seen: so that it can be told how old the rows of a
/// position are.
///
/// The times that events carry do not tell it: they are what their writers say.
struct LedgerEnds: Sendable {
    private struct Sight: Sendable {
        let end: Position
        let at: ContinuousClock.Instant
    }

    /// Ends that are not reached yet, the oldest first.
    private var sights: [Sight] = []
    /// The least time between two that are kept.
    private var spacing = Duration.zero
    /// When the ledger ended where the rows stand now, or before.
    private var currentAt: ContinuousClock.Instant

    /// Nothing older than now is known.
    init(now: ContinuousClock.Instant = .now) {
        currentAt = now
    }

    /// The ledger ends there now.
    mutating func see(_ end: Position?, now: ContinuousClock.Instant = .now) {
        guard let end else { return }
        guard let last = sights.last else {
            spacing = .zero
            return sights.append(Sight(end: end, at: now))
        }
        guard last.end < end, now - last.at >= spacing else { return }
        sights.append(Sight(end: end, at: now))
        // Far behind there is no need to know it to the tenth of a second.
        let most = 4_096
        guard sights.count > most else { return }
        spacing = (now - sights[0].at) / (most / 2)
        sights = sights.enumerated().filter { $0.offset.isMultiple(of: 2) }.map(\.element)
    }

    /// The rows stand there now.
    mutating func reach(_ position: Position?) {
        guard let position else { return }
        let reached = sights.prefix { $0.end <= position }
        guard let last = reached.last else { return }
        currentAt = last.at
        sights.removeFirst(reached.count)
    }

    /// How long ago the ledger ended where the rows stand, in seconds.
    func age(now: ContinuousClock.Instant = .now) -> Double {
        max(0, (now - currentAt) / .seconds(1))
    }
}
