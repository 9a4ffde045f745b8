import LedgerKit
import Ledgers
import ProjectionKit
import ReadModels
import Rebuilder
import Synchronization
import TestSupport
import Testing

@Suite("Late events")
struct LateEventTests {
    /// An event that is filed in front of all others, and has its place among those of its time in
    /// its id.
    private static func late(_ id: Int, number: UInt64 = 1, at time: Int64 = 1) -> NewEvent {
        NewEvent(
            id: "\(number)",
            time: Timestamp(milliseconds: time),
            stream: "order",
            type: "Appended",
            data: #"{"id":\#(id)}"#
        )
    }

    private static func event(_ id: Int) -> NewEvent {
        NewEvent(stream: "order", type: "Appended", data: #"{"id":\#(id)}"#)
    }

    /// Rebuilds, and appends late events once when the rebuild reaches a stage.
    private func rebuild(
        _ scene: RebuildScene,
        _ policy: LatenessPolicy,
        late events: [NewEvent],
        at stage: RebuildStage = .checking,
        horizon: Double? = nil
    ) async throws -> RebuildReport {
        var options = RebuildOptions()
        options.lateness.policy = policy
        options.lateness.horizon = horizon
        let isDone = Atomic(false)
        return try await scene.rebuild(Sequencing.self, options: options) { progress in
            guard case .stage(stage) = progress,
                !isDone.exchange(true, ordering: .relaxed)
            else { return }
            do { try scene.append(events) } catch { Issue.record(error) }
        }
    }

    private func live(_ scene: RebuildScene) async throws -> [String] {
        try await scene.rows(of: "public.sequencing")
    }

    @Test(
        "fail: the rebuild names the buckets, and readers see what they saw",
        arguments: [RebuildStage.loading, .checking, .catchingUp, .cuttingOver]
    )
    func fail(stage: RebuildStage) async throws {
        try await withLateScene { scene, _ in
            try scene.append([Self.event(10), Self.event(20)])
            _ = try await scene.rebuild(Sequencing.self)
            let before = try await live(scene)
            let error = await #expect(throws: RebuildError.self) {
                _ = try await rebuild(
                    scene,
                    .fail,
                    late: [Self.late(1), Self.late(2, number: 2), Self.late(3, at: 20_000)],
                    at: stage
                )
            }
            let width: Int64 = 15_000
            #expect(
                error
                    == .ledgerChangedBehind(
                        projection: "sequencing",
                        differences: [
                            BucketDifference(
                                bucket: Bucket(start: 0, width: width),
                                read: 0,
                                found: 2
                            ),
                            BucketDifference(
                                bucket: Bucket(start: width, width: width),
                                read: 0,
                                found: 1
                            ),
                        ]
                    )
            )
            #expect(try await live(scene) == before)
        }
    }

    @Test("restart: the ledger is folded again, and late events take their place in its order")
    func restart() async throws {
        try await withLateScene { scene, _ in
            try scene.append([Self.event(10), Self.event(20)])
            let report = try await rebuild(scene, .restart, late: [Self.late(1)])
            #expect(report.restarts == 1)
            #expect(report.lateEvents == 0)
            #expect(report.events == 3)
            #expect(try await live(scene) == ["(1,1)", "(10,2)", "(20,3)"])
            // What was built first is dropped.
            let status = try await scene.control(Sequencing.self).status()
            #expect(status.generations.map(\.number) == [2])
        }
    }

    @Test("accept: late events are applied behind the others, and reported")
    func accept() async throws {
        try await withLateScene { scene, _ in
            try scene.append([Self.event(10), Self.event(20), Self.late(5, number: 5)])
            let late = [Self.late(1), Self.late(2, number: 9), Self.late(3, at: 20_000)]
            let report = try await rebuild(scene, .accept, late: late)
            #expect(report.lateEvents == 3)
            #expect(report.events == 6)
            #expect(
                try await live(scene)
                    == ["(1,4)", "(10,2)", "(2,5)", "(20,3)", "(3,6)", "(5,1)"]
            )
            #expect(report.warnings == [])
            #expect(try await scene.rebuild(Sequencing.self).events == 6)
            #expect(
                try await live(scene)
                    == ["(1,1)", "(10,5)", "(2,3)", "(20,6)", "(3,4)", "(5,2)"]
            )
        }
    }

    @Test(
        "Late events that come just before the cut-over are acted upon as well",
        arguments: [LatenessPolicy.restart, .accept]
    )
    func beforeCutOver(policy: LatenessPolicy) async throws {
        try await withLateScene { scene, _ in
            try scene.append([Self.event(10), Self.event(20)])
            let report = try await rebuild(scene, policy, late: [Self.late(1)], at: .cuttingOver)
            #expect(report.events == 3)
            #expect(report.lateEvents == (policy == .accept ? 1 : 0))
            #expect(report.rows == ["sequencing": 3])
            #expect(
                try await live(scene)
                    == (policy == .accept
                        ? ["(1,3)", "(10,1)", "(20,2)"] : ["(1,1)", "(10,2)", "(20,3)"])
            )
        }
    }

    @Test("Events behind the lateness horizon are not looked for, those inside are")
    func horizon() async throws {
        try await withLateScene { scene, _ in
            try scene.append([Self.late(10, at: 10_000_000), Self.late(20, at: 20_000_000)])
            let report = try await rebuild(
                scene,
                .fail,
                late: [Self.late(1, at: 1_000)],
                horizon: 60
            )
            #expect(report.events == 2)
            await #expect(throws: RebuildError.self) {
                _ = try await rebuild(
                    scene,
                    .fail,
                    late: [Self.late(2, at: 19_950_000)],
                    horizon: 60
                )
            }
        }
    }

    @Test(
        "Events that were taken away behind the fold stop the rebuild, whatever the policy accepts"
    )
    func gone() async throws {
        try await withLateScene { scene, ledger in
            try scene.append([Self.late(10, at: 10_000_000), Self.late(20, at: 20_000_000)])
            var options = RebuildOptions()
            options.lateness.policy = .accept
            await #expect(throws: RebuildError.self) {
                _ = try await scene.rebuild(Sequencing.self, options: options) { progress in
                    guard case .stage(.checking) = progress else { return }
                    ledger.remove { $0.time == Timestamp(milliseconds: 10_000_000) }
                }
            }
        }
    }

    @Test("A writer whose clock goes back appends in order: nothing is late")
    func clockGoesBack() async throws {
        try await withRebuildScene { scene in
            let clock = Mutex(Int64(1_767_225_600_000_000))
            @Sendable func append(_ id: Int, after milliseconds: Int64) throws {
                clock.withLock { $0 += milliseconds * 1_000 }
                try LedgerWriter.withWriter(
                    path: scene.ledgerPath,
                    clock: { clock.withLock { $0 } }
                ) { _ = try $0.append([Self.event(id)]) }
            }
            try append(1, after: 0)
            try append(2, after: -60_000)
            let report = try await scene.rebuild(Sequencing.self) { progress in
                guard case .stage(.checking) = progress else { return }
                try? append(3, after: -3_600_000)
                try? append(4, after: 1)
            }
            #expect(report.events == 4)
            #expect(report.lateEvents == 0)
            #expect(try await live(scene) == ["(1,1)", "(2,2)", "(3,3)", "(4,4)"])
        }
    }

    @Test("Two events of one millisecond are two, in the order of their ids; one id twice is one")
    func sameMillisecond() async throws {
        try await withLateScene { scene, _ in
            let first = Self.late(1, number: 1, at: 5_000)
            let second = Self.late(2, number: 2, at: 5_000)
            try scene.append([second])
            let report = try await rebuild(scene, .accept, late: [first, second, first])
            #expect(report.lateEvents == 1)
            #expect(report.events == 2)
            #expect(try await live(scene) == ["(1,2)", "(2,1)"])
            #expect(try await scene.rebuild(Sequencing.self).events == 2)
            #expect(try await live(scene) == ["(1,1)", "(2,2)"])
        }
    }

    @Test("The newest events are left for the rounds after the first pass, and are not lost")
    func settleTime() async throws {
        try await withLateScene { scene, _ in
            try scene.append([Self.late(1, at: 5_000), Self.event(2), Self.event(3)])
            var options = RebuildOptions()
            options.lateness.settleTime = 3_600
            let passes = Mutex<[Int]>([])
            let report = try await scene.rebuild(Sequencing.self, options: options) { progress in
                if case .folded(let events, _, _) = progress {
                    passes.withLock { $0.append(events) }
                }
            }
            #expect(passes.withLock { $0 } == [1, 3])
            #expect(report.events == 3)
        }
    }

    @Test("A ledger that nobody wrote to is not counted again")
    func quietLedger() throws {
        try withLedgerFolder { folder in
            let path = folder.file("ledger.db")
            let ledger = try SQLiteLedger.create(path: path)
            let watch = try ledger.watch()
            #expect(try watch.hasChanged() == false)
            _ = try LedgerWriter.withWriter(path: path) { try $0.append([Self.event(1)]) }
            #expect(try watch.hasChanged())
            #expect(try watch.hasChanged() == false)
        }
    }
}

/// Notes for each id when it came: its row depends on the order of all events.
private struct Sequencing: Projection {
    struct Row: TableRow {
        var id: Int64
        var number: Int64
        var key: Int64 { id }

        static let table = TableDefinition<Row>("sequencing", key: "id") {
            Column("id", \.id)
            Column("number", \.number)
        }
    }

    static let name = "sequencing"
    static let schema: String? = """
        CREATE TABLE sequencing (id bigint PRIMARY KEY, number bigint NOT NULL)
        """

    var rows = Table<Row>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("id")
        guard !rows.contains(id) else { throw EventError("the id came before") }
        rows[id] = Row(id: id, number: Int64(rows.count) + 1)
    }
}
