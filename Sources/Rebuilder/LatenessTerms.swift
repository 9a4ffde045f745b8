/// What is done about events that were committed behind the fold.
package enum LatenessPolicy: String, CaseIterable, Sendable {
    /// The rebuild stops before its cut-over and names the buckets.
    case fail
    /// The ledger is folded again from its beginning.
    case restart
    /// They are applied behind the others, and reported.
    case accept
}

/// How a rebuild treats events that are committed late: into a bucket that it has read already.
package struct LatenessTerms: Equatable, Sendable {
    /// What is done about them.
    package var policy = LatenessPolicy.fail
    /// How far back from the newest event buckets are counted again, in seconds; nil for the whole
    /// ledger.
    package var horizon: Double?
    /// How old an event must be to be folded in the first pass, in seconds: the newest are left for
    /// the rounds after it, by when they have got their company.
    package var settleTime = 2.0

    /// The defaults.
    package init() {}
}
