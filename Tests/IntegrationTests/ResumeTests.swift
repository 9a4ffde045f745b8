import Ledgers
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import Synchronization
import TestSupport
import Testing

@Suite("Resuming a rebuild")
struct ResumeTests {
    /// Leaves a generation that was built and did not go live, behind a ledger that went on.
    private func leaveGeneration(
        of projection: any Projection.Type,
        in scene: RebuildScene
    ) async throws {
        var options = RebuildOptions()
        options.swaps = false
        _ = try await scene.rebuild(projection, options: options)
    }

    /// Rebuilds with `--resume`.
    private func resume(
        _ projection: any Projection.Type,
        in scene: RebuildScene,
        lateness: LatenessPolicy = .fail,
        horizon: Double? = nil,
        atCutOver append: @escaping @Sendable () -> Void = {}
    ) async throws -> (report: RebuildReport, log: [RebuildProgress]) {
        var options = RebuildOptions()
        options.resumes = true
        options.lateness.policy = lateness
        options.lateness.horizon = horizon
        options.guards = RowGuards(maxShrink: 1, allowsEmpty: true)
        let log = Mutex<[RebuildProgress]>([])
        let report = try await scene.rebuild(projection, options: options) { step in
            log.withLock { $0.append(step) }
            if case .stage(.cuttingOver) = step { append() }
        }
        return (report, log.withLock { $0 })
    }

    private func rows(_ tables: [String], in scene: RebuildScene) async throws -> [String] {
        var rows: [String] = []
        for table in tables { rows += try await scene.rows(of: "public.\(table)") }
        return rows
    }

    private func stages(_ log: [RebuildProgress]) -> [RebuildStage] {
        log.compactMap { if case .stage(let stage) = $0 { stage } else { nil } }
    }

    private func warnings(_ log: [RebuildProgress]) -> [String] {
        log.compactMap { if case .warning(let text) = $0 { text } else { nil } }
    }

    @Test("A built generation is gone on with: nothing is folded or loaded again")
    func readingBack() async throws {
        try await withRebuildScene { scene in
            try scene.append((1...5).map { Seating.seated($0, on: $0) } + [Seating.noted(3)])
            try await leaveGeneration(of: Seating.self, in: scene)
            try scene.append(
                [Seating.noted(3), Seating.left(4), Seating.seated(6, on: 4), Seating.noted(6)]
            )
            let (report, log) = try await resume(Seating.self, in: scene)
            #expect(report.generation == 1)
            #expect(report.isLive)
            #expect(report.events == 10)
            #expect(report.rows == ["seating": 5, "seat_note": 3])
            #expect(!stages(log).contains(.folding) && !stages(log).contains(.loading))
            #expect(warnings(log).first?.hasPrefix("Going on with generation 1") == true)
            let resumed = try await rows(["seating", "seat_note"], in: scene)
            _ = try await scene.rebuild(Seating.self)
            #expect(try await rows(["seating", "seat_note"], in: scene) == resumed)
        }
    }

    @Test("Events that come before the cut-over are read back for, too: nothing is folded again")
    func appendedBeforeCutOver() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(1...5))
            try await leaveGeneration(of: Tally.self, in: scene)
            try scene.append(counted(1...2))
            let (report, log) = try await resume(Tally.self, in: scene) {
                do { try scene.append(counted(1...1)) } catch { Issue.record(error) }
            }
            #expect(report.events == 8)
            #expect(!stages(log).contains(.folding))
            #expect(try await scene.rows(of: "public.tally").first == "(1,3,new)")
        }
    }

    @Test("A lateness horizon does not make late what an earlier process has folded")
    func horizon() async throws {
        try await withLateScene { scene, _ in
            try scene.append([late(1), late(2, number: 2)] + counted(1...3))
            try await leaveGeneration(of: Tally.self, in: scene)
            try scene.append(counted(1...2))
            let (report, _) = try await resume(Tally.self, in: scene, horizon: 60)
            #expect(report.events == 7)
            #expect(try await scene.rows(of: "public.tally").first == "(1,3,new)")
        }
    }

    /// An event that is filed in front of all others.
    private func late(_ id: Int, number: UInt64 = 1) -> NewEvent {
        NewEvent(
            id: "\(number)",
            time: Timestamp(milliseconds: 1),
            stream: "tally-\(id)",
            type: "Counted",
            data: #"{"id":\#(id)}"#
        )
    }

    @Test(
        "Of a reducer that asks for whole tables the events are folded again, and nothing is loaded"
    )
    func wholeTables() async throws {
        try await withRebuildScene { scene in
            try scene.append((1...5).map { Seating.seated($0, on: $0) } + [Seating.noted(3)])
            try await leaveGeneration(of: Seating.self, in: scene)
            try scene.append([Seating.noted(2), Seating.cleared, Seating.seated(9, on: 1)])
            let (report, log) = try await resume(Seating.self, in: scene)
            #expect(report.generation == 1)
            #expect(stages(log).contains(.folding) && !stages(log).contains(.loading))
            #expect(try await rows(["seating", "seat_note"], in: scene) == ["(9,1,0)"])
        }
    }

    @Test(
        "Where there is nothing to go on with, the rebuild begins from the beginning and says why"
    )
    func nothing() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(1...5))
            let (report, log) = try await resume(Tally.self, in: scene)
            #expect(report.generation == 1)
            #expect(
                warnings(log) == [
                    "No earlier rebuild has left anything. The rebuild begins from the beginning."
                ]
            )
        }
    }

    @Test("A generation that another program has built is not gone on with")
    func anotherProgram() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(1...5))
            try await leaveGeneration(of: Tally.self, in: scene)
            try await scene.database.execute("UPDATE reprise.generation SET built_by = 'another'")
            let (report, log) = try await resume(Tally.self, in: scene)
            #expect(report.generation == 2)
            #expect(warnings(log).first?.contains("another version of this program") == true)
        }
    }

    @Test(
        "Events that came late between the two stop it, or make it begin again",
        arguments: [LatenessPolicy.fail, .accept, .restart],
        [0, 2]
    )
    func late(policy: LatenessPolicy, behindThem appended: Int) async throws {
        try await withLateScene { scene, _ in
            try scene.append(counted(1...5))
            try await leaveGeneration(of: Tally.self, in: scene)
            try scene.append([late(1)] + counted(Array(repeating: 2, count: appended)))
            if policy == .restart {
                let (report, _) = try await resume(Tally.self, in: scene, lateness: policy)
                #expect(report.restarts == 1)
                #expect(report.events == 6 + appended)
                #expect(try await scene.rows(of: "public.tally").first == "(1,2,new)")
            } else {
                await #expect(throws: RebuildError.self) {
                    _ = try await resume(Tally.self, in: scene, lateness: policy)
                }
            }
        }
    }
}
