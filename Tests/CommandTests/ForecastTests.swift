import Foundation
import Ledgers
import Postgres
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
            #expect(text.standardOutput.contains("reckoned from the last rebuild by swap"))
        }
    }

    @Test(
        "E5: each strategy has its own forecast, which the next rebuild of it meets within a quarter"
    )
    func strategies() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 120_000, seed: 80)
            let reprise = RepriseProcess(scene)
            let first = try object(try await reprise.run("plan shop --json"))
            let disk = try #require(first["disk"] as? [String: Any])
            let bytes = try #require(disk["expectedBytes"] as? Int)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            let row = try await scene.database.query(
                """
                SELECT sum(pg_total_relation_size(oid)) AS bytes FROM pg_class
                WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
                """
            ).first
            let real = Double(try #require(try row?.int("bytes")))
            #expect((0.6...1.4).contains(Double(bytes) / real), "\(bytes) for \(real)")
            // What a swap took says nothing of a truncate.
            let sample = try Expected(
                object(try await reprise.run("plan shop --strategy truncate --json"))
            )
            #expect(sample.from == "sample" && sample.json["readersWaitSeconds"] == nil)
            let text = try await reprise.run("plan shop --strategy truncate").standardOutput
            #expect(text.contains("readers wait while these rows are loaded and indexed"))
            for strategy in ["truncate", "swap"] {
                let rebuild = "rebuild shop --strategy \(strategy) --outage-budget 60000 --json"
                _ = try object(try await reprise.run(rebuild))
                try scene.appendShop(events: 20_000, seed: 81)
                let plan = "plan shop --strategy \(strategy) --json"
                let expected = try Expected(object(try await reprise.run(plan)))
                #expect(expected.from == "last rebuild")
                let report = try object(try await reprise.run(rebuild))
                let memory = try #require(report["peakMemoryBytes"] as? Int)
                let share = Double(expected.memory) / Double(memory)
                #expect((0.75...1.25).contains(share), "memory of \(strategy): \(share)")
                // How long a machine takes is not asserted: that it says so for this strategy is.
                let wait = try #require(expected.json["readersWaitSeconds"] as? Double)
                #expect(wait > 0)
                print("E5 \(strategy): expected \(expected.json), took \(report["seconds"] ?? "")")
            }
        }
    }

    @Test(
        "C2: a truncate needs room for the new rows beside the old ones until COMMIT, as the plan says"
    )
    func truncate() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 20_000, seed: 79)
            let reprise = RepriseProcess(scene)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            let plan = try object(try await reprise.run("plan shop --strategy truncate --json"))
            let disk = try #require(plan["disk"] as? [String: Any])
            let wanted = try #require(disk["expectedBytes"] as? Int)
            #expect(disk["keepsOld"] as? Bool == false)
            let text = try await reprise.run("plan shop --strategy truncate").standardOutput
            #expect(text.contains("for the new rows, beside the old ones until COMMIT"))
            #expect(
                try await reprise.run("plan shop").standardOutput.contains("until it is dropped")
            )
            let before = try await size(of: scene)
            try await scene.database.withConnection { keeper in
                try await keeper.query(
                    "SELECT pg_advisory_lock(hashtextextended('reprise stop recorded', 0))"
                )
                _ = try await reprise.withRunning(
                    "rebuild shop --strategy truncate --outage-budget 60000",
                    environment: ["REPRISE_STOP_AT": "recorded"]
                ) { _ in
                    try await scene.database.waitUntil(
                        "the rows are loaded",
                        """
                        SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
                        WHERE d.datname = current_database() AND l.locktype = 'advisory'
                            AND NOT l.granted
                        """
                    )
                    let more = try await size(of: scene) - before
                    #expect(Double(more) > 0.8 * Double(wanted), "\(more) of \(wanted) bytes")
                    try await keeper.query(
                        "SELECT pg_advisory_unlock(hashtextextended('reprise stop recorded', 0))"
                    )
                }
            }
            #expect(try await size(of: scene) - before < wanted / 2)
        }
    }

    /// Bytes of the database's files, those of open transactions too.
    private func size(of scene: RebuildScene) async throws -> Int {
        let row = try await scene.database.query(
            "SELECT pg_database_size(current_database()) AS bytes"
        ).first
        return Int(try #require(try row?.int("bytes")))
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
