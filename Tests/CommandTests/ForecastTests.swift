import Foundation
import Ledgers
import ProjectionKit
import TestSupport
import Testing

@Suite("What a plan expects")
struct ForecastTests {
    private struct Expected {
        let from: String
        let rows: [String: Int]
        let memory: Int
        let json: [String: Any]

        init(_ outline: [String: Any]) throws {
            json = try #require(outline["expected"] as? [String: Any])
            from = try #require(json["from"] as? String)
            rows = try #require(json["rows"] as? [String: Int])
            memory = try #require(json["peakMemoryBytes"] as? Int)
        }
    }

    private func object(_ outcome: ChildProcess.Outcome) throws -> [String: Any] {
        expect(outcome, exits: 0)
        let object = try JSONSerialization.jsonObject(with: Data(outcome.standardOutput.utf8))
        return try #require(object as? [String: Any])
    }

    @Test("is reckoned from a sample at first, then from the last rebuild, and comes true")
    func comesTrue() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 250_000, seed: 77)
            let reprise = RepriseProcess(scene)
            let first = try Expected(object(try await reprise.run("plan shop --json")))
            #expect(first.from == "sample")
            #expect(first.json["seconds"] == nil && first.json["foldSeconds"] is Double)
            let report = try object(try await reprise.run("rebuild shop --json"))
            let rows = try #require(report["rows"] as? [String: Int])
            let memory = try #require(report["peakMemoryBytes"] as? Int)
            #expect(Set(first.rows.keys) == Set(rows.keys))
            for (table, count) in rows {
                let share = Double(try #require(first.rows[table])) / Double(count)
                #expect((0.9...1.1).contains(share), "\(table): \(share)")
            }
            #expect((0.5...2).contains(Double(first.memory) / Double(memory)))

            try scene.appendShop(events: 250_000, seed: 78)
            let second = try Expected(object(try await reprise.run("plan shop --json")))
            #expect(second.from == "last rebuild")
            #expect(second.rows == rows.mapValues { $0 * 2 })
            #expect(second.memory > memory && second.memory < 2 * memory)
            let text = try await reprise.run("plan shop")
            #expect(text.standardOutput.contains("\n  expected    about "))
            #expect(text.standardOutput.contains("reckoned from the last rebuild"))
        }
    }

    @Test("is nothing for an empty ledger, and a warning where the sample is refused")
    func refused() async throws {
        try await withRebuildScene { scene in
            let reprise = RepriseProcess(scene)
            let empty = try object(try await reprise.run("plan shop --json"))
            #expect(empty["expected"] == nil)
            try scene.append([
                NewEvent(
                    stream: "order-none",
                    type: "OrderShipped",
                    data: #"{"orderId":"00000000-0000-0000-0000-000000000000","carrier":"PostNL"}"#
                )
            ])
            let plan = try await reprise.run("plan shop")
            expect(plan, exits: 0)
            #expect(
                plan.standardOutput.contains(
                    "a rebuild would stop at it: the order was never placed"
                )
            )
            #expect(!plan.standardOutput.contains("expected"))
        }
    }
}
