import FoundationEssentials
package import ReadModels

/// What a swap or a rollback did.
///
/// Encoded as JSON it is stored with the run and printed by `--json`; the names are stable.
package struct MoveReport: Codable, Equatable, Sendable {
    package let projection: String
    /// `swap` or `rollback`.
    package let kind: String
    package let generation: Int
    package let previousGeneration: Int?
    /// Where the live tables stand in the ledger now.
    package let position: String?
    /// Where they stood before.
    package let positionBefore: String?
    /// From asking for the first exclusive lock to the answer to COMMIT: the longest that a reader
    /// can have been held up by the attempt that went well.
    package let blockedMilliseconds: Double
    /// What the attempt that went well waited for its locks.
    package let lockWaitMilliseconds: Double
    /// The longest that a failed attempt queued for a lock.
    package let longestFailedWaitMilliseconds: Double
    package let attempts: Int
    /// The longest that one attempt was allowed to hold up a reader.
    package let outageBudgetMilliseconds: Int
    /// Sessions that were cancelled or ended.
    package let signalled: [String]
    /// Views that were pointed at the new tables.
    package let views: [String]
    package let warnings: [String]
    /// Whether the ledger is not what the generation that was live before was made of; nil where it was
    /// not compared.
    package let leavesOtherLedger: Bool?

    /// Makes the report of a cut-over.
    package init(
        projection: String,
        kind: CutOverKind,
        _ result: CutOverResult,
        patience: CutOverPatience
    ) {
        self.projection = projection
        self.kind = kind.rawValue
        generation = result.generation
        previousGeneration = result.previous
        position = result.position
        positionBefore = result.positionBefore
        blockedMilliseconds = result.blockedMilliseconds
        lockWaitMilliseconds = result.lockWaitMilliseconds
        longestFailedWaitMilliseconds = result.longestFailedWait
        attempts = result.attempts
        outageBudgetMilliseconds = patience.outageBudget
        signalled = result.signalled
        views = result.views
        warnings = result.warnings
        leavesOtherLedger = result.leavesOtherLedger
    }

    /// The report as one JSON object with sorted keys.
    package var json: String {
        get throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            return String(decoding: try encoder.encode(self), as: UTF8.self)
        }
    }
}
