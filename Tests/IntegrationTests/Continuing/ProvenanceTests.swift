import LedgerKit
import Ledgers
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import Synchronization
import TestSupport
import Testing

@Suite("What is continued is what it was")
struct ProvenanceTests {
    private func follow(
        _ projection: any Projection.Type,
        in scene: RebuildScene,
        acceptsOtherProgram: Bool = false,
        policy: LatenessPolicy = .accept,
        log: FollowLog = FollowLog()
    ) async throws {
        var options = FollowOptions()
        options.endsAtEnd = true
        options.acceptsOtherProgram = acceptsOtherProgram
        options.lateness.policy = policy
        try await Follow(
            of: projection,
            from: try scene.ledger(),
            into: scene.target,
            options: options
        ) { log.take($0) }.run()
    }

    private func sum(_ scene: RebuildScene) async throws -> Int64 {
        try await scene.database.query("SELECT sum(events)::bigint AS n FROM public.tally").first?
            .int("n") ?? -1
    }

    @Test(
        "O1: a follower ends when the generation of another program goes live, and writes nothing"
    )
    func runningFollower() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted([1, 1, 2]))
            let (old, new) = (scene.of(program: "old"), scene.of(program: "new"))
            _ = try await old.rebuild(Tally.self)
            let ended = try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await Follow(
                        of: Tally.self,
                        from: try old.ledger(),
                        into: old.target
                    ).run()
                }
                try scene.append(counted([2]))
                try await scene.database.waitUntil(
                    "the event is applied",
                    "SELECT FROM public.tally HAVING sum(events) = 4"
                )
                let report = try await new.rebuild(Doubled.self)
                #expect(report.generation == 2)
                try scene.append(counted([1, 1]))
                return await #expect(throws: ReadModelError.self) { try await group.next() }
            }
            #expect(
                ended
                    == .otherProgram(
                        OtherProgram(projection: "tally", generation: 2, command: "follow")
                    )
            )
            #expect(try await sum(scene) == 8)
            try await follow(Doubled.self, in: new)
            #expect(try await sum(scene) == 12)
            // The way back: each program continues its own generation, and never the other's.
            _ = try await new.control(Doubled.self).rollback(patience: CutOverPatience())
            #expect(try await sum(scene) == 4)
            await #expect(throws: ReadModelError.self) { try await follow(Doubled.self, in: new) }
            #expect(try await sum(scene) == 4)
            try await follow(Tally.self, in: old)
            #expect(try await sum(scene) == 6)
        }
    }

    @Test("O1: with consent a program continues what another one made, and the other one is out")
    func consent() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted([1]))
            let (old, new) = (scene.of(program: "old"), scene.of(program: "new"))
            _ = try await old.rebuild(Tally.self)
            try scene.append(counted([1]))
            #expect(try await new.control(Tally.self).status().isOfOtherProgram)
            #expect(try await !old.control(Tally.self).status().isOfOtherProgram)
            try await follow(Tally.self, in: new, acceptsOtherProgram: true)
            #expect(try await sum(scene) == 2)
            #expect(try await old.control(Tally.self).status().isOfOtherProgram)
            await #expect(throws: ReadModelError.self) { try await follow(Tally.self, in: old) }
            // A generation that left keeps the program that wrote its rows last.
            _ = try await old.rebuild(Tally.self)
            _ = try await old.control(Tally.self).rollback(patience: CutOverPatience())
            await #expect(throws: ReadModelError.self) { try await follow(Tally.self, in: old) }
            try await follow(Tally.self, in: new)
        }
    }

    @Test("O1: a version that a projection declares stands for the program")
    func version() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted([1]))
            let (old, new) = (scene.of(program: "old"), scene.of(program: "new"))
            _ = try await old.rebuild(Versioned<Seven>.self)
            try scene.append(counted([1]))
            try await follow(Versioned<Seven>.self, in: new)
            #expect(try await sum(scene) == 2)
            await #expect(throws: ReadModelError.self) {
                try await follow(Versioned<Eight>.self, in: old)
            }
        }
    }

    @Test("O1: a generation that another program built is swapped in with consent only")
    func swapped() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted([1]))
            let (old, new) = (scene.of(program: "old"), scene.of(program: "new"))
            var options = RebuildOptions()
            options.swaps = false
            _ = try await old.rebuild(Tally.self, options: options)
            let error = await #expect(throws: ReadModelError.self) {
                _ = try await new.control(Tally.self).swap(patience: CutOverPatience())
            }
            #expect(
                error
                    == .otherProgram(
                        OtherProgram(projection: "tally", generation: 1, command: "swap")
                    )
            )
            _ = try await new.control(Tally.self).swap(
                patience: CutOverPatience(),
                acceptingOtherProgram: true
            )
            #expect(try await new.control(Tally.self).status().isOfOtherProgram)
            _ = try await new.rebuild(Tally.self)
            // Going back is always possible, and says what follows from it.
            let notices = Mutex<[String]>([])
            _ = try await new.control(Tally.self).rollback(
                patience: CutOverPatience(),
                notice: { notice in notices.withLock { $0.append(notice) } }
            )
            #expect(notices.withLock { $0 }.contains { $0.contains("Another program made") })
        }
    }

    @Test(
        "O3: a generation without a late event that live has is not swapped in, nor rolled back to"
    )
    func lateBehindGeneration() async throws {
        try await withLateScene { scene, _ in
            try scene.append(counted([1, 2]))
            _ = try await scene.rebuild(Tally.self)
            var options = RebuildOptions()
            options.swaps = false
            _ = try await scene.rebuild(Tally.self, options: options)
            try scene.append([late(1)])
            try await follow(Tally.self, in: scene)
            let lacking = try await ledgerMismatch {
                _ = try await scene.control(Tally.self).swap(
                    patience: CutOverPatience(allowsOlder: true)
                )
            }
            guard case .lacksEvents(1, _) = lacking else {
                Issue.record("got \(lacking as Any)")
                return
            }
            _ = try await scene.rebuild(Tally.self)
            #expect(try await sum(scene) == 3)
            let back = try await ledgerMismatch {
                _ = try await scene.control(Tally.self).rollback(patience: CutOverPatience())
            }
            guard case .lacksEvents(1, _) = back else {
                Issue.record("got \(back as Any)")
                return
            }
            // Who knows what they do goes ahead without the ledger.
            let control = GenerationControl(of: Tally.self, in: scene.target)
            _ = try await control.rollback(patience: CutOverPatience())
        }
    }

    @Test("O3: what is committed late while the cut-over waits is in the generation that goes live")
    func lateBehindLastCount() async throws {
        try await withLateScene { scene, ledger in
            try scene.append(counted([1, 2]))
            var options = RebuildOptions()
            options.lateness.policy = .accept
            let isCuttingOver = Atomic(false)
            let tardy = TardyLedger(ledger) {
                isCuttingOver.exchange(false, ordering: .relaxed) ? [late(1)] : []
            }
            let report = try await Rebuild(
                of: Tally.self,
                from: tardy,
                into: scene.target,
                options: options
            ) { progress in
                guard case .stage(.cuttingOver) = progress else { return }
                // The recount before the first attempt needs a reason.
                ledger.append([])
                isCuttingOver.store(true, ordering: .relaxed)
            }.run()
            #expect(report.lateEvents == 1)
            #expect(try await sum(scene) == 3)
        }
    }

    @Test("O3: an event that came late unseen is reported by each command that continues")
    func lateBehindCommit() async throws {
        try await withLateScene { scene, _ in
            try scene.append(counted([1, 2]))
            _ = try await scene.rebuild(Tally.self)
            try scene.append([late(1)])
            for _ in 1...2 {
                let log = FollowLog()
                try await follow(Tally.self, in: scene, log: log)
                #expect(log.warnings.contains { $0.contains("holds 1 events up to") })
            }
            let strict = try await ledgerMismatch {
                try await follow(Tally.self, in: scene, policy: .fail)
            }
            guard case .lacksEvents(1, _) = strict else {
                Issue.record("got \(strict as Any)")
                return
            }
            _ = try await scene.rebuild(Tally.self)
            let log = FollowLog()
            try await follow(Tally.self, in: scene, log: log)
            #expect(log.warnings == [])
            #expect(try await sum(scene) == 3)
        }
    }

    @Test(
        "O4: a ledger that was restored from a backup is not followed, whatever was appended to it"
    )
    func restored() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(1...10))
            let backup = "\(scene.ledgerPath).backup"
            _ = try LedgerBackup.make(of: scene.ledgerPath, at: backup)
            try scene.append(counted(11...15))
            _ = try await scene.rebuild(Tally.self)
            var other = scene
            other.ledgerPath = backup
            for (appended, isLonger) in [([], false), ([11], false), (Array(12...20), true)] {
                try other.append(counted(appended))
                let difference = try await ledgerMismatch {
                    try await follow(Tally.self, in: other)
                }
                switch (difference, isLonger) {
                case (.endsEarly, false), (.otherEvent, true): break
                default: Issue.record("got \(difference as Any)")
                }
            }
            #expect(try await sum(scene) == 15)
        }
    }

    @Test(
        "O4: another event far behind the position is found, although that of the position is the same"
    )
    func otherPast() async throws {
        try await withRebuildScene { scene in
            let events = (1...10).map { number in
                var event = counted([number])[0]
                event.time = Timestamp(microseconds: Int64(number) * 20_000_000)
                return event
            }
            try scene.append(Array(events[..<4]))
            let backup = "\(scene.ledgerPath).backup"
            _ = try LedgerBackup.make(of: scene.ledgerPath, at: backup)
            try scene.append(Array(events[4...]))
            _ = try await scene.rebuild(Tally.self)
            var ready = RebuildOptions()
            ready.swaps = false
            _ = try await scene.rebuild(Tally.self, options: ready)
            var other = scene
            other.ledgerPath = backup
            var changed = events[4]
            changed.data = #"{"id":77}"#
            try other.append([changed] + events[5...])
            let end = try scene.ledger().safePosition()
            #expect(try other.ledger().safePosition() == end)
            for command in [LedgerMismatch.Command.follow, .swap, .rollback] {
                let difference = try await ledgerMismatch {
                    switch command {
                    case .follow: try await follow(Tally.self, in: other)
                    case .swap:
                        _ = try await other.control(Tally.self).swap(patience: CutOverPatience())
                    default:
                        _ = try await other.control(Tally.self).rollback(
                            to: 2,
                            patience: CutOverPatience()
                        )
                    }
                }
                guard case .otherPast(_, 10, 10) = difference else {
                    Issue.record("\(command): got \(difference as Any)")
                    return
                }
            }
            // A rebuild makes it right, and what was ready is not resumed.
            var options = RebuildOptions()
            options.resumes = true
            let log = Mutex<[String]>([])
            _ = try await other.rebuild(Tally.self, options: options) { progress in
                if case .warning(let text) = progress { log.withLock { $0.append(text) } }
            }
            #expect(log.withLock { $0 }.contains { $0.contains("begins from the beginning") })
            #expect(try await scene.rows(of: "public.tally").contains("(77,1,new)"))
            try await follow(Tally.self, in: other)
        }
    }

    @Test("O4: another ledger with the same events is another ledger", arguments: [true, false])
    func otherLedger(isConsented: Bool) async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(1...3))
            _ = try await scene.rebuild(Tally.self)
            var other = scene
            other.ledgerPath = "\(scene.ledgerPath).other"
            try SQLiteLedger.create(path: other.ledgerPath)
            try other.append(counted([1, 2]))
            let difference = try await ledgerMismatch { try await follow(Tally.self, in: other) }
            guard case .otherLedger = difference else {
                Issue.record("got \(difference as Any)")
                return
            }
            var options = RebuildOptions()
            options.acceptsOtherLedger = isConsented
            guard isConsented else {
                let planned = try await ledgerMismatch {
                    _ = try await other.rebuild(Tally.self, options: options) { progress in
                        if case .stage(.folding) = progress { Issue.record("it folds") }
                    }
                }
                guard case .otherLedger = planned else {
                    Issue.record("got \(planned as Any)")
                    return
                }
                return
            }
            _ = try await other.rebuild(Tally.self, options: options)
            try other.append(counted([1]))
            try await follow(Tally.self, in: other)
            #expect(try await sum(scene) == 3)
            _ = try await ledgerMismatch { try await follow(Tally.self, in: scene) }
        }
    }

    @Test("O8: a rebuild from an older ledger is refused before it folds")
    func olderLedger() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(1...3))
            let backup = "\(scene.ledgerPath).backup"
            _ = try LedgerBackup.make(of: scene.ledgerPath, at: backup)
            try scene.append(counted(4...6))
            _ = try await scene.rebuild(Tally.self)
            var other = scene
            other.ledgerPath = backup
            let difference = try await ledgerMismatch {
                _ = try await other.rebuild(Tally.self) { progress in
                    if case .stage(.folding) = progress { Issue.record("it folds") }
                }
            }
            guard case .endsEarly = difference else {
                Issue.record("got \(difference as Any)")
                return
            }
            var options = RebuildOptions()
            options.patience.allowsOlder = true
            #expect(try await other.rebuild(Tally.self, options: options).events == 3)
        }
    }
}

/// An event that is filed in front of all others.
private func late(_ id: Int) -> NewEvent {
    NewEvent(
        id: "1",
        time: Timestamp(milliseconds: 1),
        stream: "tally-\(id)",
        type: "Counted",
        data: #"{"id":\#(id)}"#
    )
}

/// The same projection with another reducer: each event counts twice.
private struct Doubled: Projection {
    static let name = Tally.name
    static let schema = Tally.schema
    var tallies = Table<TallyRow>()
    var days = Table<TallyDayRow>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("id")
        tallies[id, default: TallyRow(id: id)].events += 2
        let day = event.time.day
        days[day, default: TallyDayRow(day: day)].events += 2
    }
}

/// A version of a projection.
private protocol DeclaredVersion: Sendable {
    static var number: Int { get }
}

private enum Seven: DeclaredVersion { static let number = 7 }
private enum Eight: DeclaredVersion { static let number = 8 }

private struct Versioned<Declared: DeclaredVersion>: Projection {
    static var name: String { Tally.name }
    static var schema: String? { Tally.schema }
    static var version: Int? { Declared.number }
    var tallies = Table<TallyRow>()
    var days = Table<TallyDayRow>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("id")
        tallies[id, default: TallyRow(id: id)].events += 1
    }
}

/// A ledger to which something is committed right after it was counted.
private struct TardyLedger: Ledger {
    let ledger: MemoryLedger
    let behindCount: @Sendable () -> [NewEvent]

    init(_ ledger: MemoryLedger, behindCount: @escaping @Sendable () -> [NewEvent]) {
        self.ledger = ledger
        self.behindCount = behindCount
    }

    var place: String { ledger.place }
    var bucketWidth: Int64 { ledger.bucketWidth }
    var arrival: Arrival { ledger.arrival }
    func identity() throws -> String { ledger.identity() }
    func safePosition() throws -> Position? { ledger.safePosition() }
    func holds(_ position: Position) throws -> Bool { ledger.holds(position) }
    func lastPosition(before time: Timestamp) throws -> Position? {
        ledger.lastPosition(before: time)
    }
    func watch() throws -> any LedgerWatch { ledger.watch() }

    func buckets(in span: PositionSpan) throws -> [BucketCount] {
        let counts = ledger.buckets(in: span)
        let events = behindCount()
        if !events.isEmpty { ledger.append(events) }
        return counts
    }

    func withReader<Result>(
        of span: PositionSpan,
        _ body: (any LedgerReader) throws -> Result
    ) throws -> Result { try ledger.withReader(of: span, body) }
}
