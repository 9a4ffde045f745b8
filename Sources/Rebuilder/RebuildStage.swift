import Wording

/// Where a rebuild stands.
///
/// The raw values are shown by `status` and stored in `reprise.run.stage`.
package enum RebuildStage: String, CaseIterable, Sendable {
    case planning
    case folding
    case foldingAgain = "folding again"
    case loading
    case checking
    case catchingUp = "catching up"
    case beforeSwap = "hooks before the swap"
    case cuttingOver = "cutting over"
    case afterSwap = "hooks after the swap"
    case pruning

    /// What is left when the process dies in this stage, as `status` says of a run that did.
    ///
    /// - Parameters:
    ///   - projection: The projection.
    ///   - live: The generation that the run has put live; nil for none.
    /// - Returns: What it left, in words that follow "left".
    package func leftBehind(of projection: String, live: Int?) -> String {
        if let live {
            let left = "generation \(live) live, whole"
            return switch self {
            case .afterSwap: left + ", and hooks that did not run to their end"
            case .pruning:
                left + ", and old ones that '\(ProgramName.current) prune \(projection)' drops"
            default: left
            }
        }
        return switch self {
        case .planning, .folding, .foldingAgain: "nothing"
        case .loading, .checking:
            "a shadow schema that the next run drops; the live tables are untouched"
        case .catchingUp:
            "the live tables as they were, and a built generation that '\(ProgramName.current) rebuild \(projection) --resume' "
                + "continues"
        case .beforeSwap:
            "the live tables as they were, and a built generation that '\(ProgramName.current) swap \(projection)' can put live"
        case .afterSwap: "the new generation live, and hooks that did not run to their end"
        case .cuttingOver:
            "either generation, whole, and a built one that '\(ProgramName.current) swap \(projection)' can put live"
        case .pruning:
            "the new generation live, and old ones that '\(ProgramName.current) prune \(projection)' drops"
        }
    }
}

/// What a rebuild tells while it works.
package enum RebuildProgress: Sendable {
    /// A stage begins.
    case stage(RebuildStage)
    /// Events were folded: so many of about `total`; the last one's bucket begins at that time, in
    /// milliseconds since 1970.
    case folded(events: Int, total: Int, bucketStart: Int64)
    /// The built generation is so far behind the ledger, and was caught up with at that rate; nil
    /// before the first round.
    case behind(Lag, eventsPerSecond: Double?)
    /// Something that does not stop the rebuild and should be known.
    case warning(String)
}
