import Foundation
import Postgres
import Synchronization

/// How patient a cut-over is, and what it does about those who stand in its way.
package struct CutOverPatience: Sendable {
    /// What is done about sessions that block the cut-over.
    package enum BlockerPolicy: String, CaseIterable, Sendable {
        /// They are named, and waited for until the deadline.
        case wait
        /// Their statements are cancelled.
        case cancel
        /// Their sessions are ended.
        case terminate
    }

    /// What is done about snapshots that are older than the new rows.
    package enum SnapshotPolicy: String, CaseIterable, Sendable {
        /// They are waited for until the deadline.
        case wait
        /// The cut-over goes on, and says who may see rows that its snapshot should not know.
        case proceed
    }

    /// The longest that one attempt may hold up a reader, in milliseconds: waiting for locks and
    /// the swap itself.
    package var outageBudget: Int
    /// How long to go on trying, in seconds, before giving up.
    package var deadline: Double
    /// Whether readers may step back in time: to a generation that stands before the live one.
    package var allowsOlder: Bool
    /// What is done about sessions that block the cut-over.
    package var blockers: BlockerPolicy = .wait
    /// Seconds that one session must have blocked before the policy is applied to it.
    package var blockersAfter: Double = 10
    /// What is done about snapshots that are older than the new rows.
    package var oldSnapshots: SnapshotPolicy = .wait
    /// While a file is at this path the cut-over waits; the deadline does not count that time.
    package var postponeFile: String?

    /// Makes the limits.
    package init(outageBudget: Int = 200, deadline: Double = 30, allowsOlder: Bool = false) {
        self.outageBudget = outageBudget
        self.deadline = deadline
        self.allowsOlder = allowsOlder
    }
}

extension CutOverPatience {
    /// Fails when readers would step back in time.
    ///
    /// - Throws: ``ReadModelError/behindLive(projection:generation:position:livePosition:)``.
    func guardPosition(
        _ position: String?,
        of generation: Int,
        of projection: String,
        against checkpoint: CheckpointRecord?
    ) throws {
        guard !allowsOlder, let livePosition = checkpoint?.position else { return }
        // Positions are written so that their texts compare as they do.
        if let position, position >= livePosition { return }
        throw ReadModelError.behindLive(
            projection: projection,
            generation: generation,
            position: position ?? "the beginning",
            livePosition: livePosition
        )
    }
}

/// What a cut-over did.
package struct CutOverResult: Sendable {
    /// The generation that is live now.
    package let generation: Int
    /// The one that was live before; nil when there was none.
    package let previous: Int?
    /// Where the live tables stand in the ledger now.
    package let position: String?
    /// Milliseconds from asking for the first exclusive lock to the answer to COMMIT.
    package let blockedMilliseconds: Double
    /// The longest time that a failed attempt queued for a lock, in milliseconds.
    package let longestFailedWait: Double
    /// Attempts, the last one included.
    package let attempts: Int
    /// Views that were pointed at the new tables.
    package let views: [String]
    /// Milliseconds that the attempt that went well waited for its exclusive locks.
    package var lockWaitMilliseconds = 0.0
    /// Where the live tables stood before.
    package var positionBefore: String?
    /// Sessions that were cancelled or ended, as people look for them.
    package var signalled: [String] = []
    /// Rows of the generation that is live now, by table, where they are known.
    package var rows: [String: Int] = [:]
    /// What does not undo the cut-over, and should be known.
    package var warnings: [String] = []
    /// Whether the ledger is not what the generation that was live before was made of; nil where it was
    /// not compared.
    package var leavesOtherLedger: Bool?
}

/// Why a cut-over moves tables.
///
/// The raw values stand in `reprise.swap.kind`.
package enum CutOverKind: String, Sendable {
    case swap
    case rollback
    case truncate
}

extension ReadModelDatabase {
    /// Makes another generation the live one: all its tables, the views over them and the
    /// checkpoint, in one transaction.
    ///
    /// Readers see the old generation until COMMIT and the new one from then on. While locks are
    /// held only catalogue statements run. An attempt that does not get its locks in time leaves no
    /// trace, and the next one follows after a pause.
    ///
    /// - Parameters:
    ///   - projection: What to cut over.
    ///   - kind: `.swap` puts the newest built generation live, or one that was rolled back;
    ///     `.rollback` the older one that was live last.
    ///   - generation: Which one; nil for the one that `kind` names.
    ///   - run: The run that holds the projection's lock.
    ///   - patience: How long to wait for locks.
    ///   - consent: What the swap may do that others notice.
    ///   - feed: What keeps the generation up with the ledger until it goes live.
    ///   - confirm: Makes sure that the ledger holds what the generation was made of, and what is live;
    ///     called in each attempt, while the live projector stands still and readers go on.
    ///   - notice: Told what the cut-over waits for before its first attempt.
    /// - Returns: What is live now, and how long readers were held up.
    /// - Throws: ``ReadModelError/nothingToMove(projection:reason:)``,
    ///   ``ReadModelError/behindLive(projection:generation:position:livePosition:)``,
    ///   ``ReadModelError/refusedByPlan(projection:reasons:)``,
    ///   ``ReadModelError/cutOverBlocked(projection:attempts:blockers:haveSessions:readyGeneration:)``,
    ///   ``ReadModelError/overBudget(projection:attempts:milliseconds:budget:readyGeneration:)``,
    ///   ``ReadModelError/outcomeUnknown(projection:runID:)``. Cancellation is noticed until the
    ///   last message is sent.
    package func cutOver(
        _ projection: ProjectionTables,
        kind: CutOverKind,
        generation: Int? = nil,
        run: Run,
        patience: CutOverPatience,
        consent: CarryOverConsent = CarryOverConsent(),
        feed: ShadowFeed? = nil,
        confirm: @escaping @Sendable (LiveStanding?) async throws -> Void = { _ in },
        notice: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws -> CutOverResult {
        let notice = onlyNew(notice)
        let swap = Swap(
            database: self,
            projection: projection,
            kind: kind,
            run: run,
            patience: patience,
            consent: consent,
            readied: try await readySwap(
                of: projection,
                kind: kind,
                wanted: generation,
                patience: patience,
                consent: consent,
                isFinal: feed == nil
            ),
            feed: feed,
            confirm: confirm,
            notice: notice
        )
        let ladder = LockLadder(database: self, run: run, patience: patience, notice: notice)
        let ready = { _ = try await feed?.approach() }
        var result = try await ladder.climb(ready: ready) { rung, watch in
            try await withConnection(
                as: kind.rawValue,
                doing: "cutting over '\(projection.name)'",
                outlivesRun: true
            ) {
                try await swap.attempt(rung, watch: watch, on: $0)
            }
        }
        result.warnings += await awaitStandbys(notice: notice)
        result.warnings += await FollowUps(projection: projection.name, database: self).perform()
        return result
    }
}

/// Tells each text once: attempts wait for the same.
func onlyNew(
    _ notice: @escaping @Sendable (String) -> Void
) -> @Sendable (String) -> Void {
    let told = Mutex<Set<String>>([])
    return { text in
        if told.withLock({ $0.insert(text).inserted }) { notice(text) }
    }
}

extension Duration {
    var milliseconds: Double {
        Double(components.seconds) * 1_000 + Double(components.attoseconds) / 1e15
    }
}
