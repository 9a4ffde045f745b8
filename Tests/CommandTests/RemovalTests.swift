internal import Foundation
internal import Glibc
internal import Ledgers
internal import Postgres
internal import ProjectionKit
internal import TestSupport
internal import Testing

/// Copies that pile up, and how to be rid of what is not wanted any more.
@Suite("Generations that nobody needs", .serialized)
struct RemovalTests {
    private func withShop(
        events: Int = 2_000,
        _ body: (RepriseProcess, RebuildScene) async throws -> Void
    ) async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: events, seed: 5)
            let reprise = RepriseProcess(scene)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            try await body(reprise, scene)
        }
    }

    /// Home schemas that have tables.
    private func homes(_ scene: RebuildScene) async throws -> [String] {
        try await scene.database.query(
            """
            SELECT nspname FROM pg_catalog.pg_namespace AS n WHERE nspname LIKE '%\\_\\_g%'
                AND EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.relnamespace = n.oid)
            ORDER BY 1
            """
        ).rows.map { try $0.string("nspname") }
    }

    private func states(_ scene: RebuildScene) async throws -> [String] {
        try await scene.database.query(
            """
            SELECT generation || ' ' || state AS line FROM reprise.generation
            WHERE state <> 'dropped' ORDER BY generation
            """
        ).rows.map { try $0.string("line") }
    }

    @Test("C2: rebuilds that are blocked leave one copy however often, and plan and status show it")
    func blockedAgainAndAgain() async throws {
        try await withShop { reprise, scene in
            try await scene.database.withConnection { reader in
                try await reader.execute("BEGIN; SELECT FROM public.order_line LIMIT 1")
                for attempt in 1...3 {
                    let outcome = try await reprise.run("rebuild shop --deadline 0.3")
                    expect(outcome, exits: 75, saying: ["blocked by", unchanged, "is ready"])
                    let said = outcome.standardError.contains("which was ready and never went live")
                    #expect(said == (attempt > 1))
                    #expect(try await homes(scene) == ["shop__g\(attempt + 1)"])
                }
                try await reader.execute("ROLLBACK")
            }
            #expect(try await states(scene) == ["1 live", "4 ready"])
            let bytes = try await scene.database.query(
                """
                SELECT sum(pg_catalog.pg_total_relation_size(c.oid))::bigint AS n
                FROM pg_catalog.pg_class AS c WHERE c.relkind = 'r'
                    AND c.relnamespace = 'shop__g4'::regnamespace
                """
            ).first?.int("n")
            let plan = try object(try await reprise.run("plan shop --json"))
            let disk = try #require(plan["disk"] as? [String: Any])
            #expect(disk["heldBytes"] as? Int == bytes.map { Int($0) })
            #expect(disk["heldBy"] as? [Int] == [4])
            #expect(disk["expectedBytes"] as? Int ?? 0 > 100_000)
            let status = try object(try await reprise.run("status shop --json"))
            let generations = try #require(status["generations"] as? [[String: Any]])
            #expect(generations.first?["bytes"] as? Int == bytes.map { Int($0) })
            let text = try await reprise.run("plan shop")
            #expect(text.standardOutput.contains(" MiB are held by generation 4\n"))
            // What waits is continued, and nothing is loaded again.
            let resumed = try await reprise.run("rebuild shop --resume")
            expect(resumed, exits: 0)
            #expect(!resumed.standardError.contains("shop: loading"))
            #expect(try await states(scene) == ["1 retired", "4 live"])
        }
    }

    @Test("C2: a signal after the load says what is true: the generation stays, and is continued")
    func signalAfterLoad() async throws {
        try await withShop { reprise, scene in
            try await scene.database.withConnection { reader in
                try await reader.execute("BEGIN; SELECT FROM public.order_line LIMIT 1")
                let (_, outcome) = try await reprise.withRunning("rebuild shop --deadline 600") {
                    child in
                    try await child.waitForText("shop: cutting over\n")
                    child.signal(SIGTERM)
                }
                expect(outcome, exits: 143, saying: [unchanged, "is built", "--resume"])
                try await reader.execute("ROLLBACK")
            }
            #expect(try await states(scene) == ["1 live", "2 ready"])
            let resumed = try await reprise.run("rebuild shop --resume")
            expect(resumed, exits: 0)
            #expect(!resumed.standardError.contains("shop: loading"))
            #expect(try await states(scene) == ["1 retired", "2 live"])
        }
    }

    @Test("C3: prune says what holds what, and drops any generation by its number but the live one")
    func pruneByNumber() async throws {
        try await withShop { reprise, scene in
            expect(try await reprise.run("rebuild shop"), exits: 0)
            expect(try await reprise.run("rollback shop"), exits: 0)
            #expect(try await states(scene) == ["1 live", "2 retired"])
            let live = try await scene.rows(of: "public.order_summary")
            let nothing = try await reprise.run("prune shop --keep 0")
            expect(nothing, exits: 0)
            let lines = nothing.standardOutput.split(separator: "\n").map(String.init)
            #expect(lines.first == "shop: nothing was dropped.")
            #expect(lines.contains { $0.hasPrefix("  kept        generation 2 (retired, ") })
            #expect(lines.contains { $0.hasSuffix(" MiB): it is newer than the live one") })
            let advice = "Next, to drop one by its number: reprise "
            let next = try #require(lines.last)
            #expect(next == advice + "prune shop --generation 2")
            for (number, reason) in [(1, "is live"), (7, "is not there")] {
                expect(
                    try await reprise.run("prune shop --generation \(number) --generation 2"),
                    exits: 3,
                    saying: ["Generation \(number) of 'shop' \(reason)", unchanged]
                )
            }
            #expect(try await states(scene) == ["1 live", "2 retired"])
            // Something of others keeps it, and is named.
            try await scene.database.execute(
                "CREATE VIEW public.compared AS SELECT sku FROM shop__g2.order_line"
            )
            let held = try await reprise.run(String(next.dropFirst(advice.count)))
            expect(held, exits: 0)
            #expect(held.standardOutput.contains("view public.compared"))
            try await scene.database.execute("DROP VIEW public.compared")
            let dropped = try await reprise.run(String(next.dropFirst(advice.count)))
            expect(dropped, exits: 0)
            #expect(dropped.standardOutput.hasPrefix("shop: dropped generation 2.\n  went        "))
            #expect(dropped.standardOutput.contains("shop__g2.order_line"))
            #expect(try await homes(scene) == [])
            #expect(try await scene.rows(of: "public.order_summary") == live)
        }
    }

    @Test(
        "C10: remove forgets a projection that the program does not know, and lists first what goes"
    )
    func remove() async throws {
        try await withShop { reprise, scene in
            // The program has no such projection.
            for _ in 1...2 { _ = try await scene.rebuild(Left.self) }
            let list = try await reprise.run("remove left_over")
            expect(list, exits: 2, saying: [unchanged, "reprise remove left_over --yes"])
            #expect(
                list.standardOutput == """
                    left_over:
                      stays       public.left_row, generation 2, live
                      goes        left_over__g1.left_row, generation 1, retired

                    """
            )
            #expect(try await homes(scene) == ["left_over__g1"])
            try await scene.database.execute(
                "CREATE VIEW public.compared AS SELECT id FROM left_over__g1.left_row"
            )
            expect(
                try await reprise.run("remove left_over --yes"),
                exits: 3,
                saying: ["view public.compared", "not forgotten"]
            )
            try await scene.database.execute("DROP VIEW public.compared")
            expect(try await reprise.run("remove left_over --yes"), exits: 0)
            #expect(try await homes(scene) == [])
            #expect(try await scene.database.count("public.left_row") == 1)
            for table in ["generation", "generation_table", "checkpoint", "swap"] {
                let count = try await scene.database.count(
                    "reprise.\(table) WHERE projection = 'left_over'"
                )
                #expect(count == 0, "\(table)")
            }
            expect(
                try await reprise.run("remove left_over --yes"),
                exits: 3,
                saying: ["No generation of 'left_over' is recorded", "shop"]
            )
            // It can come back, and then with its live tables.
            _ = try await scene.rebuild(Left.self)
            expect(try await reprise.run("remove left_over --live --yes"), exits: 0)
            #expect(try await homes(scene) == [])
            #expect(
                try await scene.database.count("pg_class WHERE relname = 'left_row'") == 0
            )
            expect(try await reprise.run("rebuild shop"), exits: 0)
        }
    }

    @Test("C10: reset drops what Reprise made and nothing else, and lists it first")
    func reset() async throws {
        try await withShop { reprise, scene in
            _ = try await scene.rebuild(Left.self)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            try await scene.database.execute(
                "CREATE TABLE public.mine (id bigint); CREATE SCHEMA mine__g1"
            )
            let list = try await reprise.run("reset")
            expect(list, exits: 2, saying: [unchanged, "reprise reset --yes"])
            for line in [
                "  goes        public.order_line, generation 2, live\n",
                "  goes        shop__g1.order_line, generation 1, retired\n",
                "  stays       public.left_row, generation 1, live\n",
                "  goes        reprise.generation\n",
            ] {
                #expect(list.standardOutput.contains(line), "\(list.standardOutput)")
            }
            #expect(try await scene.database.count("public.order_line") > 0)
            try await scene.database.execute(
                "CREATE VIEW public.reading AS SELECT sku FROM public.order_line"
            )
            expect(
                try await reprise.run("reset --yes"),
                exits: 3,
                saying: ["view public.reading", "not forgotten"]
            )
            #expect(try await scene.database.count("public.order_line") > 0)
            try await scene.database.execute("DROP VIEW public.reading")
            expect(try await reprise.run("reset --yes"), exits: 0)
            let left = try await scene.database.query(
                """
                SELECT n.nspname || '.' || c.relname AS name FROM pg_catalog.pg_class AS c
                JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
                ORDER BY 1
                """
            ).rows.map { try $0.string("name") }
            #expect(left == ["public.left_row", "public.mine"])
            #expect(try await scene.database.count("pg_namespace WHERE nspname = 'reprise'") == 0)
            #expect(try await scene.database.count("pg_namespace WHERE nspname = 'mine__g1'") == 1)
            expect(try await reprise.run("reset --yes"), exits: 0)
            let again = try await reprise.run("rebuild shop")
            expect(again, exits: 0)
            #expect(again.standardOutput.hasPrefix("shop: generation 1 is live.\n"))
        }
    }
}

/// One row, from whatever event comes.
private struct Left: Projection {
    static let name = "left_over"
    static let schema: String? = "CREATE TABLE left_row (id bigint PRIMARY KEY)"
    var rows = Table<LeftRow>()

    mutating func reduce(_ event: borrowing Event) throws {
        rows[1] = LeftRow(key: 1)
    }
}

private struct LeftRow: TableRow {
    var key: Int64

    static let table = TableDefinition<LeftRow>("left_row", key: "id") { Column("id", \.key) }
}
