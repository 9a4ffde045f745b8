import Foundation
import Ledgers
import ProjectionKit
import ReadModels
import Rebuilder
import Synchronization
import TestSupport
import Testing

@Suite("Catch-up")
struct CatchUpTests {
    /// What both tables hold, the rows in order.
    private static func rows(_ scene: RebuildScene) async throws -> [String] {
        try await scene.rows(of: "public.seating") + scene.rows(of: "public.seat_note")
    }

    /// Appends while a generation is at `stage`, and says what is live then and after a rebuild from
    /// nothing.
    private func rows(
        of scene: RebuildScene,
        appending events: [NewEvent],
        at stage: RebuildStage = .checking
    ) async throws -> (report: RebuildReport, caughtUp: [String], fresh: [String]) {
        let report = try await scene.rebuild(Seating.self) { progress in
            guard case .stage(stage) = progress else { return }
            do { try scene.append(events) } catch { Issue.record(error) }
        }
        let caughtUp = try await Self.rows(scene)
        var options = RebuildOptions()
        options.guards = RowGuards(maxShrink: 1, allowsEmpty: true)
        _ = try await scene.rebuild(Seating.self, options: options)
        return (report, caughtUp, try await Self.rows(scene))
    }

    @Test(
        "What is appended after the load is in the generation that goes live",
        arguments: [RebuildStage.loading, .checking, .catchingUp, .cuttingOver]
    )
    func appended(stage: RebuildStage) async throws {
        try await withRebuildScene { scene in
            try scene.append((1...5).map { Seating.seated($0, on: $0) } + [Seating.noted(3)])
            let (report, caughtUp, fresh) = try await rows(
                of: scene,
                appending: [
                    Seating.seated(6, on: 6), Seating.noted(6), Seating.noted(3), Seating.left(4),
                ],
                at: stage
            )
            #expect(caughtUp == fresh)
            #expect(caughtUp.count == 8)
            #expect(report.events == 10)
            #expect(report.catchUpRounds == 1)
            #expect(report.caughtUpRows == 5)
            #expect(report.rows == ["seating": 5, "seat_note": 3])
            let status = try await scene.control(Seating.self).status()
            #expect(status.position == report.position)
        }
    }

    @Test("Rows that exchange unique values are caught up with")
    func exchange() async throws {
        try await withRebuildScene { scene in
            try scene.append((1...4).map { Seating.seated($0, on: $0) })
            // Not in a table that others refer to: there a row cannot go and come.
            let notes = [Seating.noted(1), Seating.noted(2)]
            let (_, caughtUp, fresh) = try await rows(of: scene, appending: notes)
            #expect(caughtUp == fresh)
        }
        try await withRebuildScene { scene in
            try scene.append((1...4).map { Slots.taken($0, $0) })
            let report = try await scene.rebuild(Slots.self) { progress in
                guard case .stage(.checking) = progress else { return }
                try? scene.append([Slots.taken(1, 9), Slots.taken(2, 1), Slots.taken(1, 2)])
            }
            #expect(report.caughtUpRows == 2)
            #expect(
                try await scene.rows(of: "public.slots") == ["(1,2)", "(2,1)", "(3,3)", "(4,4)"]
            )
        }
    }

    @Test("O11: rows that others refer to exchange a unique value")
    func referredExchange() async throws {
        try await withRebuildScene { scene in
            try scene.append((1...4).map { Seating.seated($0, on: $0) } + [Seating.noted(1)])
            let (_, caughtUp, fresh) = try await rows(
                of: scene,
                appending: [Seating.exchanged(1, 2), Seating.noted(2)]
            )
            #expect(caughtUp == fresh)
            #expect(caughtUp.contains("(1,2,1)") && caughtUp.contains("(2,1,1)"), "\(caughtUp)")
        }
    }

    @Test("A reducer that begins a table anew is caught up with")
    func replaced() async throws {
        try await withRebuildScene { scene in
            try scene.append((1...5).map { Seating.seated($0, on: $0) } + [Seating.noted(3)])
            let (report, caughtUp, fresh) = try await rows(
                of: scene,
                appending: [Seating.cleared, Seating.seated(9, on: 1), Seating.noted(9)]
            )
            #expect(caughtUp == fresh)
            #expect(caughtUp == ["(9,1,1)", "(9,0,hello)"])
            #expect(report.rows == ["seating": 1, "seat_note": 1])
        }
    }

    @Test("Rows of the shadow that somebody else has changed stop the rebuild")
    func otherRows() async throws {
        try await withRebuildScene { scene in
            try scene.append((1...5).map { Seating.seated($0, on: $0) })
            let error = await #expect(throws: ReadModelError.self) {
                _ = try await scene.rebuild(Seating.self) { progress in
                    guard case .stage(.catchingUp) = progress else { return }
                    do {
                        try scene.psql("DELETE FROM seating__g1.seating WHERE person = 2")
                        try scene.append([Seating.noted(2)])
                    } catch {
                        Issue.record(error)
                    }
                }
            }
            guard case .otherRows("seating", _, let reason) = error else {
                Issue.record("got \(error as Any)")
                return
            }
            #expect(reason == "of 1 rows to update there were 0 as they were written")
            #expect(try await scene.database.count("pg_tables WHERE schemaname = 'public'") == 0)
        }
    }

    @Test("A generation that appends outrun gives up with both rates, and stays ready")
    func outrun() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(1...10))
            _ = try await scene.rebuild(Tally.self)
            let before = try await scene.rows(of: "public.tally")
            var options = RebuildOptions()
            options.catchUpLimit = 0
            options.patience.outageBudget = 20
            let error = await #expect(throws: RebuildError.self) {
                _ = try await scene.rebuild(Tally.self, options: options) { progress in
                    switch progress {
                    case .stage(.catchingUp), .behind: try? scene.append(counted(1...20_000))
                    default: break
                    }
                }
            }
            guard case .outrun(let outrun) = error else {
                Issue.record("got \(error as Any)")
                return
            }
            #expect(outrun.generation == 2)
            #expect(outrun.lag.events == 20_000)
            #expect(outrun.appended > 0 && outrun.caughtUp > 0)
            #expect(try await scene.rows(of: "public.tally") == before)
            let status = try await scene.control(Tally.self).status()
            #expect(status.generations.first?.state == .ready)
        }
    }

    @Test("A sequence passes the ids that came in the catch-up")
    func sequence() async throws {
        let schema = "CREATE TABLE note (id bigserial PRIMARY KEY, words text)"
        try await GivenSQL.$schema.withValue(schema) {
            try await withRebuildScene { scene in
                try scene.append([Note.event(1)])
                _ = try await scene.rebuild(Notes.self)
                _ = try await scene.rebuild(Notes.self) { progress in
                    guard case .stage(.cuttingOver) = progress else { return }
                    try? scene.append([Note.event(77)])
                }
                try await scene.database.execute("INSERT INTO public.note (words) VALUES ('next')")
                #expect(try await scene.rows(of: "public.note").last == "(78,next)")
            }
        }
    }
}

/// One slot for each person, and nothing that refers to it.
private struct Slots: Projection {
    struct Row: TableRow {
        var person: Int64
        var slot: Int64
        var key: Int64 { person }

        static let table = TableDefinition<Row>("slots", key: "person") {
            Column("person", \.person)
            Column("slot", \.slot)
        }
    }

    static let name = "slots"
    static let schema: String? = """
        CREATE TABLE slots (person bigint PRIMARY KEY, slot bigint NOT NULL UNIQUE)
        """

    var rows = Table<Row>()

    mutating func reduce(_ event: borrowing Event) throws {
        let person = try event.payload.int64("person")
        rows[person] = Row(person: person, slot: try event.payload.int64("slot"))
    }

    static func taken(_ person: Int, _ slot: Int) -> NewEvent {
        NewEvent(
            stream: "slots",
            type: "Taken",
            data: #"{"person":\#(person),"slot":\#(slot)}"#
        )
    }
}
