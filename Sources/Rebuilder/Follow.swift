import Foundation
package import LedgerKit
package import ProjectionKit
package import ReadModels
import Wording

/// What a user can set about following.
package struct FollowOptions: Sendable {
    /// What is done about events that are committed late, and how far back they are looked for.
    ///
    /// `restart` is not possible here and stands for `fail`.
    package var lateness = LatenessTerms()
    /// Seconds between two looks at the ledger while nothing is new.
    package var pause = 0.05
    /// Whether to end at the end of the ledger.
    package var endsAtEnd = false
    /// Whether rows that another program made are continued.
    package var acceptsOtherProgram = false

    /// The defaults.
    package init() {
        lateness.policy = .accept
        lateness.horizon = 60
    }
}

/// What a follower tells while it works.
package enum FollowProgress: Sendable {
    /// It begins to write a generation, from a position on; all rows are held in memory where there is
    /// an obstacle to reading them back, a clause.
    case attached(LiveCheckpoint, obstacle: String?)
    /// How far it is.
    case report(FollowReport)
    /// Types of events that came since it began and have changed no row, by name.
    case ignored([String])
    /// Something that does not stop it and should be known.
    case warning(String)
}

/// Keeps the live tables of a projection current: the same reducer as a rebuild's, the same
/// checkpoint, rows and position in one transaction.
///
/// Rows are read back by key when events need them, and those that recent events needed are kept. A
/// reducer that knows more than its rows - working state, a table as a whole - is folded from the
/// ledger's beginning when following begins, and holds all its rows in memory.
package struct Follow: Sendable {
    private let projection: any Projection.Type
    private let tables: ProjectionTables
    private let ledger: any Ledger
    private let database: ReadModelDatabase
    private let options: FollowOptions
    private let progress: @Sendable (FollowProgress) -> Void

    /// Prepares to follow; nothing is opened yet.
    ///
    /// - Parameters:
    ///   - projection: Whose tables to keep current.
    ///   - ledger: Where its events are.
    ///   - database: Where its tables are.
    ///   - options: What can be set.
    ///   - progress: Called from any thread, about once a second.
    package init(
        of projection: any Projection.Type,
        from ledger: any Ledger,
        into database: ReadModelDatabase,
        options: FollowOptions = FollowOptions(),
        progress: @escaping @Sendable (FollowProgress) -> Void = { _ in }
    ) {
        self.projection = projection
        tables = ProjectionTables(projection)
        self.ledger = ledger
        self.database = database
        self.options = options
        self.progress = progress
    }

    /// Follows until the task is cancelled, or to the end of the ledger where that is asked for.
    ///
    /// Cancellation undoes the transaction of the moment; rows and position are then those of the
    /// one before. A lost connection is made again, for as long as it takes.
    ///
    /// - Throws: ``EventRejection``, What the ledger throws, ``ReadModelError``; never `CancellationError`.
    package func run() async throws {
        var patience = 0.1
        var hasFollowed = false
        // Meant for the rows that are live now, and not for those that somebody swaps in later.
        var acceptsOtherProgram = options.acceptsOtherProgram
        while !Task.isCancelled {
            do {
                try await database.withFollower(of: tables) { follower in
                    try await follow(by: follower, accepting: acceptsOtherProgram) {
                        patience = 0.1
                        hasFollowed = true
                        acceptsOtherProgram = false
                    }
                }
                return
            } catch is CancellationError {
                return
            } catch let error as ReadModelError {
                let reason: String
                switch error {
                case .unreachable(let what): reason = TextForPeople.oneLine(what)
                case .followerBusy where hasFollowed:
                    // The server may not have missed the session yet that this process has lost.
                    reason =
                        "'\(tables.name)' is followed already, perhaps by the session that was lost."
                default: throw error
                }
                progress(.warning("\(reason) Trying again."))
                try? await Task.sleep(for: .seconds(patience))
                patience = min(patience * 2, 5)
            }
        }
    }

    /// Follows one generation after the other.
    private func follow(
        by follower: Follower,
        accepting acceptsOtherProgram: Bool,
        _ succeeded: () -> Void
    ) async throws {
        var holdsAllRows = false
        var events: Int?
        while true {
            guard
                let attachment = try await attach(
                    follower,
                    accepting: acceptsOtherProgram && events == nil,
                    after: events,
                    holdsAllRows: holdsAllRows
                )
            else { continue }
            try await warn(of: attachment, isFirst: events == nil)
            succeeded()
            do {
                guard try await attachment.follow(progress) else { return }
            } catch is WholeTablesWanted {
                holdsAllRows = true
            } catch ReadModelError.rowRejected(var row) {
                if let mark = row.mark, let end = await attachment.position {
                    progress(.warning(Self.readingAgain))
                    row.event = try? await history.lastEvent(of: mark, through: end)
                }
                throw ReadModelError.rowRejected(row)
            } catch let rejection as EventRejection where attachment.readsBack {
                progress(.warning(Self.readingAgain))
                let end = rejection.event.position
                guard (try? await history.isTaken(through: end)) == true else { throw rejection }
                throw ReadModelError.otherRows(
                    projection: tables.name,
                    table: "A table of '\(tables.name)'",
                    reason: "with its rows the reducer refuses \(rejection.event), which it takes "
                        + "with those of a fold from the beginning"
                )
            }
            events = await attachment.events
        }
    }

    private static let readingAgain = """
        A batch of events cannot be applied. The ledger is read again to find out why.
        """

    private var history: RowHistory { RowHistory(projection: projection, ledger: ledger) }

    /// - Returns: Nil when somebody moved the live tables meanwhile.
    private func attach(
        _ follower: Follower,
        accepting acceptsOtherProgram: Bool,
        after events: Int?,
        holdsAllRows: Bool
    ) async throws -> Attachment? {
        let fold = LedgerFold(
            of: projection.makeFold(),
            from: ledger,
            lateness: options.lateness
        )
        let report: @Sendable () async throws -> [String] = {
            let lag = try await fold.lag(of: follower.standing())
            return try await follower.reportLag(events: lag.events, seconds: lag.seconds)
        }
        let live = try await HeldUp.reporting(tables.name, progress, report) {
            try await follower.attach(acceptingOtherProgram: acceptsOtherProgram)
        }
        let (base, lateness) = try await compare(live)
        guard let checkpoint = try await follower.claim(live) else {
            try Task.checkCancellation()
            return nil
        }
        let obstacle =
            holdsAllRows
            ? LedgerFold.wantsWholeTables : live.obstacleToReadingBack(fold.fold)
        if obstacle == nil {
            await fold.resume(at: checkpoint.position, events: nil) {
                try await live.fetch(for: $0)
            }
        } else {
            try await HeldUp.reporting(tables.name, progress, report) {
                try await fold.refold(to: checkpoint.position)
            }
        }
        if let past = live.provenance?.past { await fold.expect(past) }
        try await fold.rememberNewestBuckets()
        progress(.attached(checkpoint, obstacle: obstacle))
        return Attachment(
            lateness: lateness,
            projection: tables.name,
            follower: follower,
            tables: live,
            fold: fold,
            checkpoint: checkpoint,
            baseEvents: base,
            events: events ?? 0,
            options: options
        )
    }

    /// Of events that were committed late nobody knows any more which they are, at most their bucket.
    private func warn(of attachment: Attachment, isFirst: Bool) async throws {
        if isFirst, try await attachment.warnOfMissedEvents(progress) { return }
        guard let lateness = attachment.lateness else { return }
        progress(.warning("\(lateness.fact) \(lateness.advice)"))
    }

    /// Fails when the ledger is not what the rows were made of.
    ///
    /// - Returns: Events in the rows, and what came late, where following goes on without it.
    private func compare(_ live: FollowedTables) async throws -> (Int, LedgerMismatch?) {
        let checkpoint = live.checkpoint
        var lateness: LedgerMismatch?
        do {
            try await LedgerMatch(
                projection: tables.name,
                generation: checkpoint.generation,
                ledger: ledger,
                command: .follow
            ).assert(live.provenance, at: checkpoint.position)
        } catch RebuildError.ledgerMismatch(let mismatch)
            where mismatch.isLateness && options.lateness.policy == .accept
        {
            lateness = mismatch
        }
        guard let position = checkpoint.position else { return (0, lateness) }
        let (ledger, count) = (ledger, live.provenance?.count)
        let events = try await onThread { _ in
            guard let count else { return try ledger.extent(through: position).events }
            // A projector of another kind has moved the position alone.
            guard count.position < position else { return count.events }
            let span = PositionSpan(after: count.position, through: position)
            return try count.events + ledger.buckets(in: span).map(\.events).reduce(0, +)
        }
        return (events, lateness)
    }
}

/// Work that another session can keep waiting as long as it likes.
private enum HeldUp {
    /// Runs `work`, and `report` every two seconds that it takes.
    ///
    /// - Parameters:
    ///   - projection: Its name.
    ///   - progress: Gets one warning that names whom the work waits for.
    ///   - report: Returns whom it waits for now. When it fails, the reports end; the work notices by
    ///     itself what is wrong.
    ///   - isolation: The caller's; `work` runs there.
    ///   - work: The work.
    /// - Returns: What `work` returns.
    /// - Throws: What `work` throws.
    static func reporting<Result: Sendable>(
        _ projection: String,
        _ progress: @escaping @Sendable (FollowProgress) -> Void,
        _ report: @escaping @Sendable () async throws -> [String],
        isolation: isolated (any Actor)? = #isolation,
        while work: () async throws -> Result
    ) async throws -> Result {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                var isNamed = false
                while true {
                    try await Task.sleep(for: .seconds(2))
                    let blockers = try await report()
                    guard !isNamed, !blockers.isEmpty else { continue }
                    isNamed = true
                    let names = blockers.joined(separator: "; ")
                    progress(.warning("'\(projection)' waits for a lock of \(names)."))
                }
            }
            defer { group.cancelAll() }
            return try await work()
        }
    }
}

/// A follower at work on one generation.
private actor Attachment {
    /// What came late before it attached, and is in no row.
    let lateness: LedgerMismatch?
    private let projection: String
    private let follower: Follower
    private let tables: FollowedTables
    private let fold: LedgerFold
    private let options: FollowOptions
    private var checkpoint: LiveCheckpoint
    /// Events that the rows were made of when it attached, and those that this process had applied
    /// by then.
    private let base: (rows: Int, applied: Int)
    /// Events applied since following began.
    private(set) var events: Int
    private var ignoredTypes: Set<String> = []
    private var lastReport: FollowReport?
    private var nextReport = ContinuousClock.now
    private var nextRecount = ContinuousClock.now + .seconds(5)

    init(
        lateness: LedgerMismatch?,
        projection: String,
        follower: Follower,
        tables: FollowedTables,
        fold: LedgerFold,
        checkpoint: LiveCheckpoint,
        baseEvents: Int,
        events: Int,
        options: FollowOptions
    ) {
        self.lateness = lateness
        self.projection = projection
        self.follower = follower
        self.tables = tables
        self.fold = fold
        self.checkpoint = checkpoint
        base = (baseEvents, events)
        self.events = events
        self.options = options
    }

    /// Where the fold stands, which is ahead of the tables where its rows could not be written.
    var position: Position? { get async { await fold.position } }

    /// Whether the fold goes on from the tables' rows.
    nonisolated var readsBack: Bool { fold.fold.wants != nil }

    /// Applies what is appended.
    ///
    /// - Returns: Whether there is more to follow: false at the end of the ledger, where that is the
    ///   end; true when another generation is live by now.
    func follow(_ progress: @escaping @Sendable (FollowProgress) -> Void) async throws -> Bool {
        do {
            return try await applyAll(progress)
        } catch let error where !Task.isCancelled {
            // `status` shows it as long as nobody follows; what ended the command is more than this.
            if let lag = try? await fold.lag(of: checkpoint.position) {
                _ = try? await follower.reportLag(events: lag.events, seconds: lag.seconds)
            }
            throw error
        }
    }

    private func applyAll(
        _ progress: @escaping @Sendable (FollowProgress) -> Void
    ) async throws -> Bool {
        while true {
            try Task.checkCancellation()
            if let end = try await fold.end() {
                guard try await applyBatch(to: end, progress) else { return true }
            } else if options.endsAtEnd {
                try await report(progress)
                return false
            } else {
                guard try await wait() else { return true }
            }
            guard try await settleLateEvents(progress) else { return true }
            if ContinuousClock.now >= nextReport { try await report(progress) }
        }
    }

    private func applyBatch(
        to end: Position,
        _ progress: @escaping @Sendable (FollowProgress) -> Void
    ) async throws -> Bool {
        try await apply(progress) { _ = try await $0.advanceOneBatch(to: end) }
    }

    /// - Returns: False when the tables stood elsewhere.
    private func apply(
        _ progress: @escaping @Sendable (FollowProgress) -> Void,
        _ step: @escaping @Sendable (LedgerFold) async throws -> Void
    ) async throws -> Bool {
        let fold = fold
        let before = await fold.events
        let written = checkpoint.position
        let next = try await HeldUp.reporting(projection, progress) {
            let lag = try await fold.lag(of: written)
            if let report = await self.lastReport { progress(.report(report.behind(by: lag))) }
            return try await self.follower.reportLag(events: lag.events, seconds: lag.seconds)
        } while: {
            try await follower.apply(to: tables, at: checkpoint, fold.fold) {
                try await step(fold)
                return await fold.position
            }
        }
        guard let next else { return false }
        checkpoint = next
        events += await fold.events - before
        return true
    }

    /// Waits for something new in the ledger.
    ///
    /// - Returns: False when another generation is live, or the position went back.
    private func wait() async throws -> Bool {
        let looks = max(1, Int(1 / options.pause))
        for _ in 1...looks {
            if try await fold.hasNews() { return true }
            try await Task.sleep(for: .seconds(options.pause))
        }
        return try await follower.checkpoint() == checkpoint
    }

    private func settleLateEvents(
        _ progress: @escaping @Sendable (FollowProgress) -> Void
    ) async throws -> Bool {
        guard ContinuousClock.now >= nextRecount else { return true }
        nextRecount = .now + .seconds(5)
        await fold.forgetOldBuckets()
        let differences = try await fold.differences()
        guard !differences.isEmpty else { return true }
        let failure = RebuildError.ledgerChangedBehind(
            projection: projection,
            differences: differences
        )
        guard options.lateness.policy == .accept else { throw failure }
        let before = await fold.lateEvents
        guard try await apply(progress, { _ = try await $0.accept(differences) }) else {
            return false
        }
        let late = await fold.lateEvents - before
        guard late > 0 else { throw failure }
        progress(
            .warning(
                "\(late) events were committed late, into the bucket \(differences[0].bucket)"
                    + "\(differences.count > 1 ? " and others" : ""): they were applied behind the "
                    + "others."
            )
        )
        return true
    }

    private func report(_ progress: @escaping @Sendable (FollowProgress) -> Void) async throws {
        let began = ContinuousClock.now
        let lag = try await fold.lag(to: try await fold.end())
        let report = FollowReport(
            generation: checkpoint.generation,
            events: events,
            lateEvents: await fold.lateEvents,
            lagEvents: lag.events,
            lagSeconds: lag.seconds,
            buckets: try BucketRecord(await fold.bucketCounts).json
        )
        lastReport = report
        try await follower.report(report)
        try await follower.record(try await origin(), at: checkpoint)
        progress(.report(report))
        let ignored = (fold.fold.ignoredTypes ?? []).filter { !ignoredTypes.contains($0) }
        if !ignored.isEmpty {
            progress(.ignored(ignored))
            ignoredTypes.formUnion(ignored)
        }
        // What is left is counted, which takes long where much is left.
        nextReport = .now + max(.seconds(1), (.now - began) * 10)
    }

    /// What the rows are made of now.
    private func origin() async throws -> RowOrigin {
        try await fold.origin(events: base.rows + events - base.applied)
    }

    /// Says when events were committed behind the position while nobody followed: they are in no
    /// row, and it cannot be told any more which they are.
    ///
    /// - Returns: Whether there are such events.
    func warnOfMissedEvents(
        _ progress: @escaping @Sendable (FollowProgress) -> Void
    ) async throws -> Bool {
        let generation = checkpoint.generation
        guard let text = try await follower.recordedBuckets(of: generation),
            let record = try? BucketRecord(json: text)
        else { return false }
        let counts = await fold.bucketCounts
        // The newest one may have got events in their order since then.
        let newest = record.counts.keys.max()
        let missed = record.counts.filter { start, events in
            start != newest && (counts[start] ?? events) > events
        }
        guard let bucket = missed.keys.min() else { return false }
        progress(
            .warning(
                "Events were committed late, into the bucket that begins at "
                    + "\(Timestamp(milliseconds: bucket)), while nobody followed: the live tables of "
                    + "'\(projection)' do not have them. '\(ProgramName.current) rebuild \(projection)' makes that "
                    + "right."
            )
        )
        return true
    }
}

extension FollowReport {
    /// The same when the rows are further behind.
    fileprivate func behind(by lag: Lag) -> FollowReport {
        FollowReport(
            generation: generation,
            events: events,
            lateEvents: lateEvents,
            lagEvents: lag.events,
            lagSeconds: lag.seconds,
            buckets: buckets
        )
    }
}

/// Events by bucket, as they are kept with the follower.
private struct BucketRecord {
    let counts: [Int64: Int]

    init(_ counts: [Int64: Int]) {
        self.counts = counts
    }

    init(json: String) throws {
        let read = try JSONDecoder().decode([String: Int].self, from: Data(json.utf8))
        counts = Dictionary(
            read.compactMap { key, value in Int64(key).map { ($0, value) } },
            uniquingKeysWith: { $1 }
        )
    }

    var json: String {
        get throws {
            let text = Dictionary(uniqueKeysWithValues: counts.map { ("\($0)", $1) })
            return String(decoding: try JSONEncoder().encode(text), as: UTF8.self)
        }
    }
}
