import Foundation
import Ledgers
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import TestSupport
import Testing

@Suite("A projector that keeps its position itself")
struct HandOverTests {
    @Test(
        "finds it in its framework's table where each swap and rollback leads",
        arguments: PresetCase.all
    )
    func presets(preset: PresetCase) async throws {
        try await withHandOver(template: try preset.template()) { shop in
            try await shop.database.execute(preset.table)
            let table = preset.table.split(separator: " ")[2].description
            let others = "\(table) EXCEPT \(preset.row(of: table))"
            let before = try await shop.scene.rows(of: "(SELECT * FROM \(others))")

            try await shop.rebuild(from: preset.ledger(events: 3))
            #expect(try await shop.value(preset.column) == preset.text(3))
            #expect(try await shop.live() == ["1", "3"])

            // The projector goes on alone, and a rebuild takes over from there.
            try await shop.database.execute(preset.moving(to: 4))
            try await shop.rebuild(from: preset.ledger(events: 5))
            #expect(try await shop.value(preset.column) == preset.text(5))

            // The rows of generation 1 were those of the fourth event when it left.
            let result = try await shop.control.rollback(patience: CutOverPatience())
            #expect(result.generation == 1)
            #expect(try await shop.value(preset.column) == preset.text(4))
            #expect(try await shop.scene.rows(of: "(SELECT * FROM \(others))") == before)

            try await shop.database.execute(preset.moving(to: 9))
            await #expect(throws: ReadModelError.self) {
                _ = try await shop.rebuild(from: preset.ledger(events: 8))
            }
            #expect(try await shop.live() == ["1", "3"])
            #expect(try await shop.value(preset.column) == preset.text(9))
            try await shop.rebuild(from: preset.ledger(events: 9))
            #expect(try await shop.live() == ["4", "9"])
        }
    }

    @Test("keeps a cut-over out while it holds its row, and is named")
    func blocked() async throws {
        try await withHandOver { shop in
            try await shop.rebuild()
            try shop.scene.append(counted([4]))
            try await shop.rebuild { $0.swaps = false }
            try await shop.database.withConnection { projector in
                try await projector.execute(
                    """
                    SET application_name = 'the projector'; BEGIN;
                    SELECT FROM public.my_positions WHERE name = 'tally' FOR UPDATE
                    """
                )
                let plan = try await shop.plan()
                #expect(plan.refusals == [])
                #expect(plan.warnings.contains { $0.contains("somebody holds it now") })
                let error = await #expect(throws: ReadModelError.self) {
                    _ = try await shop.control.swap(patience: CutOverPatience(deadline: 0))
                }
                let text = String(describing: error)
                #expect(text.contains("pid \(projector.backendPID), "), "\(text)")
                #expect(text.contains("application 'the projector'"))
                #expect(try await shop.live() == ["1", "3"])
                try await projector.execute("COMMIT")
            }
            _ = try await shop.control.swap(patience: CutOverPatience())
            #expect(try await shop.live() == ["2", "4"])
        }
    }

    @Test("as Reprise writes it goes on behind each swap, rollback and truncate")
    func text() async throws {
        try await withHandOver { shop in
            let first = try await shop.rebuild().position
            #expect(try await shop.position() == first)
            #expect(try await shop.value("SELECT position FROM reprise.checkpoint") == first)

            try shop.scene.append(counted([1, 2]))
            let second = try await shop.rebuild { $0.strategy = .truncate }
            #expect(second.strategy == "truncate" && second.position != first)
            #expect(try await shop.position() == second.position)

            try shop.scene.append(counted([1]))
            let third = try await shop.rebuild().position
            #expect(try await shop.position() == third)
            _ = try await shop.control.rollback(patience: CutOverPatience())
            #expect(try await shop.position() == second.position)
            #expect(try await shop.live() == ["2", "5"])
        }
    }

    @Test("that is ahead of the ledger stops a swap and a truncate, whatever the checkpoint says")
    func ahead() async throws {
        try await withHandOver { shop in
            try await shop.rebuild()
            let ahead = Position(.max)
            try await shop.database.execute(
                "UPDATE public.my_positions SET position = '\(ahead)' WHERE name = 'tally'"
            )
            #expect(try await shop.plan().livePosition == "\(ahead)")
            for strategy in Strategy.allCases {
                let error = await #expect(throws: ReadModelError.self) {
                    _ = try await shop.rebuild { $0.strategy = strategy }
                }
                guard case .behindLive(_, _, _, let live) = error else {
                    Issue.record("\(String(describing: error))")
                    continue
                }
                #expect(live == "\(ahead)")
            }
            #expect(try await shop.live() == ["1", "3"])
            try await shop.rebuild { $0.patience.allowsOlder = true }
            #expect(
                try await shop.position()
                    != "\(ahead)"
            )
        }
    }

    @Test("stands in the plan, and its statements in the plan's SQL")
    func plan() async throws {
        try await withHandOver { shop in
            let empty = try await shop.plan()
            let line = try #require(
                empty.findings.first { $0.subject == "position of the projector" }
            )
            #expect(line.level == .ok && line.note.contains("at the beginning; "))
            let position = try #require(try await shop.rebuild().position)
            let plan = try await shop.plan()
            #expect(plan.livePosition == position)
            #expect(plan.findings.contains { $0.note.contains("at \(position); ") })
            let sql = try #require(plan.cutOverSQL)
            let fence = try #require(sql.range(of: "WHERE name = 'tally' FOR UPDATE;"))
            let batch = try #require(sql.range(of: "EXECUTE ''UPDATE public.my_positions"))
            let commit = try #require(sql.range(of: "COMMIT;", options: .backwards))
            #expect(fence.upperBound < batch.lowerBound && batch.upperBound < commit.lowerBound)
            #expect(
                try await shop.position()
                    == position,
                "a plan changes nothing"
            )
        }
    }
}

extension PresetCase {
    func ledger(events: Int) -> NumberedLedger {
        NumberedLedger(counted(1...events), isPaired: isPaired)
    }

    func moving(to number: Int) -> String { move.replacing("%", with: text(number)) }

    /// A query of the projector's own row.
    func row(of table: String) -> String {
        let condition = column.split(separator: "WHERE")[1]
        return "SELECT * FROM \(table) WHERE \(condition)"
    }
}
