import LedgerKit
import Ledgers
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import Synchronization
import TestSupport
import Testing

@Suite("What is continued is replaced while a command works")
struct ReplacedTests {
    private func follow(
        in scene: RebuildScene,
        endsAtEnd: Bool = true,
        acceptsOtherProgram: Bool = false
    ) async throws {
        var options = FollowOptions()
        options.endsAtEnd = endsAtEnd
        options.acceptsOtherProgram = acceptsOtherProgram
        try await Follow(
            of: Tally.self,
            from: try scene.ledger(),
            into: scene.target,
            options: options
        ).run()
    }

    private func unswapped(resuming: Bool = false, acceptsOtherProgram: Bool = false)
        -> RebuildOptions
    {
        var options = RebuildOptions()
        options.swaps = false
        options.resumes = resuming
        options.acceptsOtherProgram = acceptsOtherProgram
        return options
    }

    /// A ledger of 90 events, and a copy of it with other events from the sixth on and the same at its
    /// end.
    private func fork(_ scene: RebuildScene) throws -> RebuildScene {
        let events = (1...10).map { number in
            var event = counted([number])[0]
            event.time = Timestamp(microseconds: Int64(number) * 20_000_000)
            return event
        }
        try scene.append(Array(events[..<4]))
        var other = scene
        other.ledgerPath = "\(scene.ledgerPath).other"
        _ = try LedgerBackup.make(of: scene.ledgerPath, at: other.ledgerPath)
        try scene.append(Array(events[4...]))
        var changed = events[4]
        changed.data = #"{"id":77}"#
        try other.append([changed] + events[5...])
        return other
    }

    @Test("O1: consent to another program's rows is not one to those that it swaps in later")
    func consentOnce() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted([1]))
            let (old, new) = (scene.of(program: "old"), scene.of(program: "new"))
            _ = try await new.rebuild(Tally.self)
            try scene.append(counted([1]))
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await follow(in: old, endsAtEnd: false, acceptsOtherProgram: true)
                }
                try await scene.database.waitUntil(
                    "the event is applied",
                    "SELECT FROM public.tally HAVING sum(events) = 2"
                )
                // It loses its sessions, and cannot come back before the other program has swapped.
                try await scene.database.withConnection { blocker in
                    try await blocker.execute(
                        "BEGIN; SELECT FROM reprise.session_lock WHERE name = 'follow tally' FOR UPDATE"
                    )
                    try await scene.database.execute(
                        """
                        SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
                        WHERE datname = current_database() AND application_name LIKE 'reprise follow%'
                        """
                    )
                    #expect(try await new.rebuild(Tally.self).generation == 2)
                    try await blocker.execute("COMMIT")
                }
                try scene.append(counted([1]))
                let ended = await #expect(throws: ReadModelError.self) { try await group.next() }
                let other = OtherProgram(projection: "tally", generation: 2, command: "follow")
                #expect(ended == .otherProgram(other))
            }
            let row = try await scene.database.query(
                "SELECT program, (SELECT sum(events)::bigint FROM public.tally) AS events FROM reprise.checkpoint"
            ).first
            #expect(row?["program"] == "new")
            #expect(try row?.int("events") == 2)
        }
    }

    @Test(
        "O1: a follower that is refused for its ledger leaves the rows to the program that has them"
    )
    func refusedConsent() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted([1]))
            let (old, new) = (scene.of(program: "old"), scene.of(program: "new"))
            _ = try await old.rebuild(Tally.self)
            var elsewhere = new
            elsewhere.ledgerPath = "\(scene.ledgerPath).elsewhere"
            try SQLiteLedger.create(path: elsewhere.ledgerPath)
            try elsewhere.append(counted([1, 2]))
            let difference = try await ledgerMismatch {
                try await follow(in: elsewhere, acceptsOtherProgram: true)
            }
            guard case .otherLedger = difference else {
                Issue.record("got \(difference as Any)")
                return
            }
            try scene.append(counted([1]))
            try await follow(in: old)
        }
    }

    @Test("O1: a generation that another program resumes with consent is that program's")
    func resumedConsent() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted([1]))
            let (old, new) = (scene.of(program: "old"), scene.of(program: "new"))
            _ = try await old.rebuild(Tally.self)
            _ = try await old.rebuild(Tally.self, options: unswapped())
            try scene.append(counted([1]))
            let resumed = try await new.rebuild(
                Tally.self,
                options: unswapped(resuming: true, acceptsOtherProgram: true)
            )
            #expect(resumed.generation == 2)
            let patience = CutOverPatience()
            let refused = await #expect(throws: ReadModelError.self) {
                _ = try await old.control(Tally.self).swap(patience: patience)
            }
            let other = OtherProgram(projection: "tally", generation: 2, command: "swap")
            #expect(refused == .otherProgram(other))
            _ = try await new.control(Tally.self).swap(patience: patience)
            try await follow(in: new)
        }
    }

    @Test("O4: a ledger that is replaced under a follower by one with another past ends it")
    func replacedUnderFollower() async throws {
        try await withRebuildScene { scene in
            let other = try fork(scene)
            let swapped = SwitchedLedger(try scene.ledger())
            _ = try await scene.rebuild(Tally.self)
            let before = try await recorded(scene)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await Follow(of: Tally.self, from: swapped, into: scene.target).run()
                }
                try await scene.database.waitUntil(
                    "it follows",
                    "SELECT FROM reprise.follower WHERE generation = 1 AND lag_events = 0"
                )
                swapped.change(to: try other.ledger())
                let ended = await #expect(throws: RebuildError.self) { try await group.next() }
                guard case .ledgerReplaced = ended else {
                    Issue.record("got \(ended as Any)")
                    return
                }
            }
            // What tells of it later is still there.
            #expect(try await recorded(scene) == before)
            let difference = try await ledgerMismatch { try await follow(in: other) }
            guard case .otherPast = difference else {
                Issue.record("got \(difference as Any)")
                return
            }
        }
    }

    @Test("O4: a ledger that is replaced during a rebuild by one with another past ends it")
    func replacedUnderRebuild() async throws {
        try await withRebuildScene { scene in
            let other = try fork(scene)
            _ = try await scene.rebuild(Tally.self)
            let swapped = SwitchedLedger(try scene.ledger())
            let later = try other.ledger()
            let error = await #expect(throws: RebuildError.self) {
                try await Rebuild(of: Tally.self, from: swapped, into: scene.target) { progress in
                    guard case .stage(.catchingUp) = progress else { return }
                    swapped.change(to: later)
                    try? other.append(counted([5]))
                }.run()
            }
            guard case .ledgerReplaced = error else {
                Issue.record("got \(error as Any)")
                return
            }
            #expect(try await scene.database.count("reprise.checkpoint WHERE generation = 1") == 1)
        }
    }

    @Test(
        "O4: what is live and not in the ledger is not swapped away",
        arguments: ["swap", "rebuild", "truncate"]
    )
    func diverged(command: String) async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(1...3))
            _ = try await scene.rebuild(Tally.self)
            var other = scene
            other.ledgerPath = "\(scene.ledgerPath).other"
            _ = try LedgerBackup.make(of: scene.ledgerPath, at: other.ledgerPath)
            try scene.append(counted([10, 11]))
            try other.append(counted(20...29))
            let end = try #require(try scene.ledger().safePosition())
            let difference = try await ledgerMismatch {
                if command == "swap" {
                    _ = try await other.rebuild(Tally.self, options: unswapped())
                    try await follow(in: scene)
                    _ = try await other.control(Tally.self).swap(patience: CutOverPatience())
                } else {
                    // A projector moves on between the plan and the cut-over.
                    var options = RebuildOptions()
                    options.strategy = command == "truncate" ? .truncate : .swap
                    _ = try await other.rebuild(Tally.self, options: options) { progress in
                        guard case .stage(.cuttingOver) = progress else { return }
                        try? scene.psql("UPDATE reprise.checkpoint SET position = '\(end)'")
                    }
                }
            }
            guard case .otherEvent = difference else {
                Issue.record("got \(difference as Any)")
                return
            }
            #expect(try await scene.database.count("public.tally WHERE id >= 20") == 0)
        }
    }

    @Test(
        "O4: positions of two ledgers do not compare, and a swap from one to the other asks first"
    )
    func otherLedgerAtSwap() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(1...3))
            _ = try await scene.rebuild(Tally.self)
            var other = scene
            other.ledgerPath = "\(scene.ledgerPath).other"
            try SQLiteLedger.create(path: other.ledgerPath)
            try other.append(counted(1...9))
            var options = unswapped()
            options.acceptsOtherLedger = true
            _ = try await other.rebuild(Tally.self, options: options)
            let difference = try await ledgerMismatch {
                _ = try await other.control(Tally.self).swap(patience: CutOverPatience())
            }
            guard case .otherLedger = difference else {
                Issue.record("got \(difference as Any)")
                return
            }
            var patience = CutOverPatience()
            patience.allowsOlder = true
            _ = try await other.control(Tally.self).swap(patience: patience)
            try await follow(in: other)
        }
    }

    @Test(
        "O4: a rebuild from a ledger with another past says so, and makes the rows of what it holds"
    )
    func warnsOfOtherPast() async throws {
        try await withRebuildScene { scene in
            let other = try fork(scene)
            _ = try await scene.rebuild(Tally.self)
            let warnings = Mutex<[String]>([])
            _ = try await other.rebuild(Tally.self) { progress in
                if case .warning(let text) = progress { warnings.withLock { $0.append(text) } }
            }
            #expect(
                warnings.withLock { $0 }.contains { $0.contains("The ledger holds others there") }
            )
            try await follow(in: other)
        }
    }

    /// What the checkpoint says of the ledger.
    private func recorded(_ scene: RebuildScene) async throws -> [String?] {
        let row = try await scene.database.query(
            "SELECT ledger, counted_position, counted_events, digest FROM reprise.checkpoint"
        ).first
        return ["ledger", "counted_position", "counted_events", "digest"].map { row?[$0] }
    }
}

/// A ledger in whose place another one can be put.
private final class SwitchedLedger: Ledger {
    private let current: Mutex<any Ledger>
    private var ledger: any Ledger { current.withLock { $0 } }

    init(_ ledger: any Ledger) { current = Mutex(ledger) }

    func change(to other: any Ledger) { current.withLock { $0 = other } }

    var place: String { ledger.place }
    var bucketWidth: Int64 { ledger.bucketWidth }
    var arrival: Arrival { ledger.arrival }
    func identity() throws -> String { try ledger.identity() }
    func safePosition() throws -> Position? { try ledger.safePosition() }
    func holds(_ position: Position) throws -> Bool { try ledger.holds(position) }
    func lastPosition(before time: Timestamp) throws -> Position? {
        try ledger.lastPosition(before: time)
    }
    func buckets(in span: PositionSpan) throws -> [BucketCount] { try ledger.buckets(in: span) }
    func extent(through position: Position) throws -> LedgerExtent {
        try ledger.extent(through: position)
    }
    func watch() throws -> any LedgerWatch { try ledger.watch() }

    func withReader<Result>(
        of span: PositionSpan,
        _ body: (any LedgerReader) throws -> Result
    ) throws -> Result { try ledger.withReader(of: span, body) }
}
