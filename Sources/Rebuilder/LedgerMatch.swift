import LedgerKit
package import ProjectionKit
import ReadModels
import Wording

/// Whether a ledger still holds what a generation's rows were made of.
///
/// Asked by everyone who continues from a generation, or puts one live that exists already.
struct LedgerMatch: Sendable {
    let projection: String
    let generation: Int
    let ledger: any Ledger
    /// Who asks.
    let command: LedgerMismatch.Command

    /// Compares the ledger with what is recorded.
    ///
    /// That is its identity, the event of the position, number and digest of the events up to there;
    /// what nobody recorded is not compared.
    ///
    /// - Parameters:
    ///   - provenance: What is recorded.
    ///   - position: Where the rows stand; nil before the first event.
    /// - Throws: ``RebuildError/ledgerMismatch(_:)``; what the ledger throws.
    func assert(_ provenance: Provenance?, at position: Position?) async throws {
        try await assert(provenance?.ledger)
        if let position { try await assert(position) }
        guard let count = provenance?.count else { return }
        let ledger = ledger
        let found = try await onThread { _ in try ledger.extent(through: count.position) }
        if found.events > count.events, ledger.arrival == .late {
            throw mismatch(.lacksEvents(found.events - count.events, through: count.position))
        }
        let isSame = found.digest == nil || count.digest == nil || found.digest == count.digest
        guard found.events == count.events, isSame else {
            throw mismatch(.otherPast(through: count.position, count.events, found: found.events))
        }
    }

    /// The identity alone.
    func assert(_ identity: String?) async throws {
        let ledger = ledger
        guard let identity, try await onThread({ _ in try ledger.identity() }) != identity else {
            return
        }
        throw mismatch(.otherLedger(place: ledger.place))
    }

    /// The event of a position alone: where the ledger ends before it, what is appended up to there
    /// would be skipped.
    func assert(_ position: Position) async throws {
        let ledger = ledger
        let (end, holds) = try await onThread { _ in
            (try ledger.safePosition(), try ledger.holds(position))
        }
        if holds { return }
        // A checksum is part of a position: of two events with one number either may be the greater.
        if let end, end.words.0 >= position.words.0 { throw mismatch(.otherEvent(position)) }
        throw mismatch(.endsEarly(position, end: end))
    }

    /// The event of a position alone, in a cut-over: where the ledger ends before it, the cut-over itself
    /// finds the generation behind the live tables.
    func assertShared(_ position: Position) async throws {
        do {
            try await assert(position)
        } catch RebuildError.ledgerMismatch(let mismatch) {
            guard case .endsEarly = mismatch.difference else {
                throw RebuildError.ledgerMismatch(mismatch)
            }
        }
    }

    private func mismatch(_ difference: LedgerMismatch.Difference) -> RebuildError {
        .ledgerMismatch(
            LedgerMismatch(
                projection: projection,
                generation: generation,
                command: command,
                difference: difference
            )
        )
    }
}

/// How a ledger differs from what a generation was made of.
package struct LedgerMismatch: Equatable, Sendable {
    /// Who compares.
    package enum Command: String, CaseIterable, Sendable {
        case rebuild, follow, swap, rollback
        /// A swap, of the generation that is live and is to be replaced.
        case overtake
    }

    /// The difference.
    package enum Difference: Equatable, Sendable {
        /// It has another identity.
        case otherLedger(place: String)
        /// It ends before the position.
        case endsEarly(Position, end: Position?)
        /// It has another event there.
        case otherEvent(Position)
        /// It holds others up to a position, or another number of them, than the rows were made of.
        case otherPast(through: Position, Int, found: Int)
        /// It holds more events up to a position: they were committed late.
        case lacksEvents(Int, through: Position)
    }

    /// The projection.
    package let projection: String
    /// The generation.
    package let generation: Int
    /// Who compares.
    package let command: Command
    /// The difference.
    package let difference: Difference

    /// Makes one.
    package init(
        projection: String,
        generation: Int,
        command: Command,
        difference: Difference
    ) {
        self.projection = projection
        self.generation = generation
        self.command = command
        self.difference = difference
    }

    /// Whether events came late, and nothing else is wrong.
    package var isLateness: Bool {
        if case .lacksEvents = difference { true } else { false }
    }

    /// What is the case, a sentence.
    package var fact: String {
        let subject = "generation \(generation) of '\(projection)'"
        return switch difference {
        case .otherLedger(let place):
            "\(subject.capitalizedFirst) was made of another ledger than \(TextForPeople.path(place))."
        case .endsEarly(let position, let end):
            "The ledger ends \(end.map { "at \($0)" } ?? "before its first event"), before \(subject), "
                + "which stands at \(position)."
        case .otherEvent(let position):
            "\(subject.capitalizedFirst) stands at \(position), where the ledger has another event: it "
                + "is another ledger, or one that was restored and written again."
        case .otherPast(let through, let events, let found):
            "\(subject.capitalizedFirst) was made of \(events) events up to \(through). The ledger holds "
                + (found == events ? "others" : "\(found)")
                + " there: it was changed, or restored and "
                + "written again."
        case .lacksEvents(let events, let through):
            "The ledger holds \(events) events up to \(through) that \(subject) does not have: they "
                + "were committed late."
        }
    }

    /// What to type next, a sentence.
    package var advice: String {
        let rebuild = "\(ProgramName.current) rebuild \(projection)"
        return switch (command, difference) {
        case (.rebuild, .otherLedger):
            "Name the ledger that they were made of (--ledger); if this one is to replace it, run "
                + "'\(rebuild) --other-ledger'."
        case (.rebuild, _), (.follow, .endsEarly), (.follow, .otherEvent):
            "Name the ledger that they were made of (--ledger); if this is the one that counts, run "
                + "'\(rebuild) --allow-older'."
        case (.overtake, _):
            "Name the ledger that they were made of (--ledger); if this is the one that counts, run "
                + "'\(ProgramName.current) swap \(projection) --allow-older'."
        case (.follow, .otherLedger):
            "Name the ledger that they were made of (--ledger); if this one is to replace it, run "
                + "'\(rebuild) --other-ledger'."
        case (.follow, _):
            "Run '\(rebuild)': it makes rows that agree with the ledger."
        case (.swap, _), (.rollback, _):
            "Run '\(rebuild)' for rows that agree with the ledger; or add --without-ledger to put "
                + "generation \(generation) live as it is."
        }
    }
}

extension String {
    fileprivate var capitalizedFirst: String { prefix(1).uppercased() + dropFirst() }
}
