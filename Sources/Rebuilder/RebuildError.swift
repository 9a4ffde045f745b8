package import LedgerKit
package import ProjectionKit
import Wording

/// Why a rebuild stopped that could be folded, loaded and checked.
package enum RebuildError: Error, Equatable, Sendable {
    /// The ledger holds other events in the part that was folded than were folded: some were
    /// committed behind the fold, or taken away.
    case ledgerChangedBehind(projection: String, differences: [BucketDifference])
    /// The ledger does not hold what a generation was made of: it is another one, or was restored or
    /// changed.
    case ledgerMismatch(LedgerMismatch)
    /// The event up to which a projection was folded is not in the ledger any more: the ledger was
    /// replaced while it was read.
    case ledgerReplaced(projection: String, position: Position)
    /// Events are appended faster than they are caught up with.
    case outrun(Outrun)
    /// Two copies of a projection, folded side by side, made a row with the same key.
    case copiesOverlap(projection: String, table: String)
    /// It was to be rebuilt together with another projection, which failed before its turn.
    case stoppedByAnother(projection: String, failed: String)
}

extension RebuildError: CustomStringConvertible {
    /// The message for people.
    ///
    /// Wording may change in any release. Match on the case, never on the text.
    package var description: String {
        switch self {
        case .ledgerChangedBehind(let projection, let differences):
            """
            The ledger changed behind the fold of '\(projection)':
            \(Self.list(differences))
            The live tables are unchanged.
            Run '\(ProgramName.current) rebuild \(projection)' again, or say what is to be done about late events \
            (--late-events restart or accept); '\(ProgramName.current) ledger verify' looks for the cause.
            """
        case .ledgerMismatch(let mismatch):
            """
            \(mismatch.fact)
            The live tables are unchanged.
            \(mismatch.advice)
            """
        case .ledgerReplaced(let projection, let position):
            """
            The ledger of '\(projection)' was replaced while it was read: the event at \(position), up \
            to which was folded, is not there any more.
            Of the events behind it nothing has reached the live tables.
            Name the ledger that counts (--ledger); if it is this one, run \
            '\(ProgramName.current) rebuild \(projection) --allow-older'.
            """
        case .outrun(let outrun):
            """
            Events are appended faster than generation \(outrun.generation) of \
            '\(outrun.projection)' catches up: \(Self.rate(outrun.appended)) against \
            \(Self.rate(outrun.caughtUp)), and \(outrun.lag.events) events are left.
            The live tables are unchanged.
            At a quieter time run '\(ProgramName.current) rebuild \(outrun.projection) --resume', or allow a longer \
            outage budget (--outage-budget) or more time (--catch-up-limit).
            """
        case .copiesOverlap(let projection, let table):
            """
            Two copies of '\(projection)' made a row of '\(table)' with the same key, so its \
            partition key does not keep apart what belongs together.
            The live tables are unchanged.
            Fix partitionKey(of:), or run '\(ProgramName.current) rebuild \(projection) --fold-copies 1'.
            """
        case .stoppedByAnother(let projection, let failed):
            """
            '\(projection)' was not rebuilt, because '\(failed)' failed before it.
            The live tables are unchanged.
            Fix that, or run '\(ProgramName.current) rebuild \(projection)' alone.
            """
        }
    }

    private static func list(_ differences: [BucketDifference]) -> String {
        let shown = 5
        var lines = differences.prefix(shown).map { difference in
            "  - bucket \(difference.bucket): \(difference.read) events were folded, and there are "
                + "\(difference.found) by now"
        }
        if differences.count > shown {
            lines.append("  - and \(differences.count - shown) buckets more")
        }
        return lines.joined(separator: "\n")
    }

    private static func rate(_ eventsPerSecond: Double) -> String {
        "\(Int(eventsPerSecond.rounded())) events/s"
    }
}
