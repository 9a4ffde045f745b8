import LedgerKit
import ProjectionKit
import ReadModels

/// Brings a loaded generation up to the end of a ledger that goes on growing.
///
/// In rounds: what was appended during one is folded in the next, and only the rows that it touched
/// are written. When what is left can be done within the outage budget, the rest is left to the
/// moment in which the live projector stands still.
actor CatchUp {
    private let projection: String
    private let fold: LedgerFold
    private let shadow: ShadowSession
    private let terms: CatchUpTerms
    private let progress: @Sendable (RebuildProgress) -> Void
    /// Where the shadow tables stand.
    private var written: Position?
    private var lateEventsWritten = 0
    /// Rounds so far that had something to do.
    private(set) var rounds = 0
    /// Rows that were written after the load.
    private(set) var rows = 0
    /// Attempts of the cut-over that were begun.
    private var attempts = 0
    /// Events a second, folded and written; nil before the first round.
    private var rate: Double?

    /// Prepares it; the fold's tables and the shadow's hold the same rows now.
    init(
        of projection: String,
        _ fold: LedgerFold,
        into shadow: ShadowSession,
        terms: CatchUpTerms,
        progress: @escaping @Sendable (RebuildProgress) -> Void
    ) async {
        self.projection = projection
        self.fold = fold
        self.shadow = shadow
        self.terms = terms
        self.progress = progress
        written = await fold.position
        lateEventsWritten = await fold.lateEvents
    }

    /// Goes on in rounds before an attempt of the cut-over.
    ///
    /// Before a second one there is no round for what fits already: the snapshots that are older than
    /// the last round would be others each time.
    ///
    /// - Throws: As ``approach(isFirst:)``.
    func approachAttempt() async throws {
        attempts += 1
        try await approach(isFirst: attempts == 1)
    }

    /// Goes on in rounds until the rest fits the outage budget.
    ///
    /// - Parameter isFirst: Whether there is a round in any case.
    /// - Throws: ``RebuildError/outrun(_:)`` when that is not reached in the time that is allowed.
    func approach(isFirst: Bool = true) async throws {
        let began = ContinuousClock.now
        var isFirst = isFirst
        while let end = try await fold.end() {
            let lag = try await fold.lag(to: end)
            progress(.behind(lag, eventsPerSecond: rate))
            if !isFirst && fits(lag) { return }
            let seconds = try await round(to: end)
            isFirst = false
            guard (ContinuousClock.now - began) / .seconds(1) > terms.limit else { continue }
            try await assertNear(after: seconds)
        }
    }

    /// Folds and writes up to a position: while the live projector stands still there.
    ///
    /// - Parameter position: The projector's, as text.
    /// - Throws: What the ledger throws, ``EventRejection``, ``ReadModelError``.
    func reach(_ position: String) async throws {
        // What is no position of this ledger is left to the guard of the cut-over, which names both.
        guard let position = Position(position), await fold.isAhead(position),
            let end = try await fold.end(), position <= end, try await fold.ledgerHolds(position)
        else { return }
        while await fold.isAhead(position) { _ = try await round(to: position, isHurried: true) }
    }

    /// Writes what was applied behind the others.
    func writeLateEvents() async throws {
        guard await fold.lateEvents != lateEventsWritten else { return }
        try await write(origin: try await fold.origin())
    }

    /// - Parameters:
    ///   - end: Where to.
    ///   - isHurried: Whether somebody waits for it: the ledger's digest is left to others then,
    ///     which takes a look at each bucket.
    /// - Returns: Seconds that it took.
    /// - Throws: What the ledger throws, ``EventRejection``, ``ReadModelError``.
    private func round(to end: Position, isHurried: Bool = false) async throws -> Double {
        let began = ContinuousClock.now
        let events = try await fold.advance(to: end)
        try await write(origin: isHurried ? nil : try await fold.origin())
        rounds += 1
        let seconds = (ContinuousClock.now - began) / .seconds(1)
        if events > 0 { rate = Double(events) / max(seconds, 0.000_001) }
        return seconds
    }

    private func write(origin: RowOrigin?) async throws {
        guard let position = await fold.position else { return }
        let late = await fold.lateEvents
        let changes = try await shadow.write(
            fold.fold,
            from: written,
            to: position,
            events: await fold.events,
            origin: origin
        )
        written = position
        lateEventsWritten = late
        rows += changes.rows
    }

    private func fits(_ lag: Lag) -> Bool {
        guard let rate, rate > 0 else { return lag.events == 0 }
        return Double(lag.events) / rate * 1_000 <= terms.budget
    }

    private func assertNear(after seconds: Double) async throws {
        guard let end = try await fold.end() else { return }
        let lag = try await fold.lag(to: end)
        guard !fits(lag) else { return }
        throw RebuildError.outrun(
            Outrun(
                projection: projection,
                generation: shadow.generation,
                appended: Double(lag.events) / max(seconds, 0.000_001),
                caughtUp: rate ?? 0,
                lag: lag
            )
        )
    }
}

/// When a catch-up is near enough, and when it gives up.
struct CatchUpTerms: Sendable {
    /// What is left must take no longer than that, in milliseconds.
    let budget: Double
    /// Seconds to go on trying.
    let limit: Double
}

/// Appends that are faster than a catch-up.
package struct Outrun: Equatable, Sendable {
    /// The projection.
    package let projection: String
    /// The generation that waits.
    package let generation: Int
    /// Events a second that were appended during the last round.
    package let appended: Double
    /// Events a second that it folded and wrote.
    package let caughtUp: Double
    /// How far it is behind.
    package let lag: Lag
}
