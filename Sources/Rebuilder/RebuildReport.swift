import FoundationEssentials

/// What a rebuild did.
///
/// Encoded as JSON it is stored with the run and printed by `--json`; the names are stable.
package struct RebuildReport: Codable, Equatable, Sendable {
    /// Seconds of each stage.
    package struct Seconds: Codable, Equatable, Sendable {
        package var plan = 0.0
        package var fold = 0.0
        package var foldAgain = 0.0
        package var load = 0.0
        package var check = 0.0
        package var catchUp = 0.0
        package var cutOver = 0.0
        package var hooks = 0.0
        package var prune = 0.0
        package var total = 0.0
    }

    package let projection: String
    package let run: Int64
    package let strategy: String
    package let generation: Int
    /// The generation that was live before; nil when there was none.
    package var previousGeneration: Int?
    /// Whether the new generation is live.
    package var isLive = false
    /// Where the new generation stands in the ledger.
    package var position: String?
    package var events: Int
    /// Rows by table.
    package var rows: [String: Int]
    /// Rows of working state by table: in memory like the others, but not for readers.
    package var workingRows: [String: Int] = [:]
    /// Types of events that have changed no row; nil where the ledger was not folded as a whole.
    package var ignoredTypes: [String]?
    /// A digest of each table's rows, also of working state, when two folds were compared.
    package var digests: [String: String]?
    /// Bytes that went through COPY.
    package var copiedBytes: Int
    package var seconds = Seconds()
    /// Rounds in which the generation took up what was appended since it was loaded.
    package var catchUpRounds = 0
    /// Rows that were written in them.
    package var caughtUpRows = 0
    /// Events that were applied behind events of a later position, because they were committed late.
    package var lateEvents = 0
    /// How often the ledger was folded from its beginning again.
    package var restarts = 0
    /// The largest resident memory of the process so far.
    package var peakMemoryBytes = 0
    /// From asking for the first exclusive lock to the answer to COMMIT: the longest that a reader
    /// can have been held up by the attempt that went well.
    package var blockedMilliseconds: Double?
    /// What the attempt that went well waited for its locks.
    package var lockWaitMilliseconds: Double?
    /// The longest that a failed attempt queued for a lock.
    package var longestFailedWaitMilliseconds: Double?
    package var attempts: Int?
    /// The longest that one attempt was allowed to hold up a reader.
    package var outageBudgetMilliseconds: Int?
    /// Sessions that were cancelled or ended.
    package var signalled: [String] = []
    /// Whether the follower of another program cannot go on, and this program's is to take its place;
    /// nil otherwise.
    package var endsFollower: Bool?
    /// Views that were pointed at the new tables.
    package var views: [String] = []
    package var droppedGenerations: [Int] = []
    package var warnings: [String] = []

    /// The report as one JSON object with sorted keys.
    package var json: String {
        get throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            return String(decoding: try encoder.encode(self), as: UTF8.self)
        }
    }
}
