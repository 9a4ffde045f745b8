import LedgerKit
import Ledgers
import ProjectionKit
import ReadModels
import Rebuilder
import Synchronization
import TestSupport
import Testing

/// The order of the embedded ledger is that of appending, so that a time or an id, however early,
/// puts no event in front of another.
@Suite("Back-dated events of the embedded ledger")
struct BackdatedEventTests {
    /// Ids of UUIDv4, of which the second is the lower one.
    private static let ids = [
        "f47ac10b-58cc-4372-a567-0e02b2c3d479", "0b9ee2f4-6a1b-4a7e-8f43-3c1d2e4f5a6b",
    ]

    /// Events long before the others, each id with a number of its own.
    private func backdated(_ numbers: [Int]) -> [NewEvent] {
        numbers.map { number in
            NewEvent(
                id: number <= Self.ids.count ? Self.ids[number - 1] : nil,
                time: Timestamp(milliseconds: Int64(1_000 - number)),
                stream: "log",
                type: "Noted",
                data: #"{"id":\#(number)}"#
            )
        }
    }

    private func current(_ numbers: [Int]) -> [NewEvent] {
        numbers.map { NewEvent(stream: "log", type: "Noted", data: #"{"id":\#($0)}"#) }
    }

    private func live(_ scene: RebuildScene) async throws -> [String] {
        try await scene.rows(of: "public.arrival")
    }

    @Test(
        "L1: one that is appended during a rebuild is caught up with, in order, whatever the policy",
        arguments: [RebuildStage.loading, .checking, .catchingUp, .cuttingOver]
    )
    func duringRebuild(stage: RebuildStage) async throws {
        try await withRebuildScene { scene in
            try scene.append(current([10, 20]))
            _ = try await scene.rebuild(Arrivals.self)
            var options = RebuildOptions()
            options.lateness.policy = .fail
            let isDone = Atomic(false)
            let report = try await scene.rebuild(Arrivals.self, options: options) { progress in
                guard case .stage(stage) = progress,
                    !isDone.exchange(true, ordering: .relaxed)
                else { return }
                do { try scene.append(backdated([1, 2, 3])) } catch { Issue.record(error) }
            }
            let hasAppended = isDone.load(ordering: .relaxed)
            #expect(hasAppended)
            #expect(report.events == 5)
            #expect(report.lateEvents == 0 && report.restarts == 0)
            let expected = ["(1,3)", "(10,1)", "(2,4)", "(20,2)", "(3,5)"]
            #expect(try await live(scene) == expected)
            _ = try await scene.rebuild(Arrivals.self)
            #expect(try await live(scene) == expected)
        }
    }

    @Test(
        "L1: one that is appended behind the first pass is in the next one",
        arguments: [Strategy.swap, .truncate]
    )
    func duringFold(strategy: Strategy) async throws {
        try await withRebuildScene { scene in
            try scene.append(current([10, 20]))
            _ = try await scene.rebuild(Arrivals.self)
            var options = RebuildOptions()
            options.strategy = strategy
            let isDone = Atomic(false)
            let report = try await scene.rebuild(Arrivals.self, options: options) { progress in
                guard case .folded = progress, !isDone.exchange(true, ordering: .relaxed)
                else { return }
                do { try scene.append(backdated([1, 2])) } catch { Issue.record(error) }
            }
            #expect(report.events == 4 && report.lateEvents == 0)
            #expect(try await live(scene) == ["(1,3)", "(10,1)", "(2,4)", "(20,2)"])
        }
    }

    @Test(
        "L1: one that is appended is followed; after a pause, and in a new rebuild, rows are the same",
        arguments: [LatenessPolicy.accept, .fail]
    )
    func following(policy: LatenessPolicy) async throws {
        try await withRebuildScene { scene in
            try scene.append(current([10]))
            _ = try await scene.rebuild(Arrivals.self)
            var options = FollowOptions()
            options.endsAtEnd = true
            options.lateness.policy = policy
            let warnings = Mutex<[String]>([])
            func follow() async throws {
                try await Follow(
                    of: Arrivals.self,
                    from: try scene.ledger(),
                    into: scene.target,
                    options: options,
                    progress: { progress in
                        if case .warning(let text) = progress {
                            warnings.withLock { $0.append(text) }
                        }
                    }
                ).run()
            }
            try scene.append(backdated([1]))
            try await follow()
            #expect(try await live(scene) == ["(1,2)", "(10,1)"])
            // What was appended while nobody followed.
            try scene.append(current([20]) + backdated([2, 3]))
            try await follow()
            let followed = try await live(scene)
            #expect(followed == ["(1,2)", "(10,1)", "(2,4)", "(20,3)", "(3,5)"])
            _ = try await scene.rebuild(Arrivals.self)
            #expect(try await live(scene) == followed)
            #expect(!warnings.withLock { $0 }.contains { $0.contains("late") })
        }
    }

    @Test("L1: a rebuild that is resumed takes them in order as well")
    func resuming() async throws {
        try await withRebuildScene { scene in
            try scene.append(current([10, 20]))
            var options = RebuildOptions()
            options.swaps = false
            _ = try await scene.rebuild(Arrivals.self, options: options)
            try scene.append(backdated([1, 2]))
            options.swaps = true
            options.resumes = true
            let report = try await scene.rebuild(Arrivals.self, options: options)
            #expect(report.generation == 1 && report.restarts == 0)
            #expect(try await live(scene) == ["(1,3)", "(10,1)", "(2,4)", "(20,2)"])
        }
    }

    @Test("The first pass takes the newest events as well: nothing settles")
    func nothingSettles() async throws {
        try await withRebuildScene { scene in
            try scene.append(backdated([1]) + current([10, 20]))
            var options = RebuildOptions()
            options.lateness.settleTime = 3_600
            let passes = Mutex<[Int]>([])
            _ = try await scene.rebuild(Arrivals.self, options: options) { progress in
                if case .folded(let events, _, _) = progress {
                    passes.withLock { $0.append(events) }
                }
            }
            #expect(passes.withLock { $0 } == [3])
        }
    }

    @Test("A ledger that was restored and written again is not followed: its event is another")
    func writtenAgain() async throws {
        try await withRebuildScene { scene in
            try scene.append(current([10, 20]))
            _ = try await scene.rebuild(Arrivals.self)
            try await withScratchFolder { folder in
                var other = scene
                other.ledgerPath = "\(folder)/other.db"
                try SQLiteLedger.create(path: other.ledgerPath)
                try other.append(current([10, 30, 40]))
                let before = try await live(scene)
                let error = await #expect(throws: RebuildError.self) {
                    try await Follow(
                        of: Arrivals.self,
                        from: try other.ledger(),
                        into: scene.target
                    ).run()
                }
                guard case .ledgerMismatch(let mismatch) = error,
                    case .otherLedger = mismatch.difference
                else {
                    Issue.record("got \(error as Any)")
                    return
                }
                #expect(try await live(scene) == before)
            }
        }
    }
}

/// Notes for each id how many came before it: its rows depend on the order of all events, and each
/// needs a row that the event before has changed.
private struct Arrivals: Projection {
    struct Row: TableRow {
        var id: Int64
        var number: Int64
        var key: Int64 { id }

        static let table = TableDefinition<Row>("arrival", key: "id") {
            Column("id", \.id)
            Column("number", \.number)
        }
    }

    struct Count: TableRow {
        var id: Int64
        var events: Int64 = 0
        var key: Int64 { id }

        static let table = TableDefinition<Count>("arrival_count", key: "id") {
            Column("id", \.id)
            Column("events", \.events)
        }
    }

    static let name = "arrivals"
    static let schema: String? = """
        CREATE TABLE arrival (id bigint PRIMARY KEY, number bigint NOT NULL);
        CREATE TABLE arrival_count (id bigint PRIMARY KEY, events bigint NOT NULL)
        """

    var rows = Table<Row>()
    var counts = Table<Count>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("id")
        guard !rows.contains(id) else { throw EventError("the id came before") }
        counts[0, default: Count(id: 0)].events += 1
        rows[id] = Row(id: id, number: counts[0]?.events ?? 0)
    }
}
