import Foundation
import Ledgers
import Postgres
import ProjectionKit
import TestSupport
import Testing

@Suite("Rebuild commands")
struct RebuildCommandTests {
    private func withShop(
        events: Int = 2_000,
        _ body: @Sendable (RepriseProcess, RebuildScene) async throws -> Void
    ) async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: events, seed: 11)
            try await body(RepriseProcess(scene), scene)
        }
    }

    @Test("plan, rebuild, rollback, swap, prune and status go their way in words")
    func wholeWay() async throws {
        try await withShop { reprise, scene in
            let plan = try await reprise.run("plan shop")
            expect(plan, exits: 0)
            #expect(plan.standardOutput.hasPrefix("shop: generation 1 would be built"))
            #expect(plan.standardOutput.contains("2,000 events in "))
            #expect(try await scene.database.count("pg_namespace WHERE nspname = 'reprise'") == 0)

            let first = try await reprise.run("rebuild shop")
            expect(
                first,
                exits: 0,
                saying: [
                    "shop: planning\n", "shop: folding\n", "shop: loading\n", "cutting over\n",
                ]
            )
            #expect(first.standardOutput.hasPrefix("shop: generation 1 is live.\n"))
            #expect(!first.standardOutput.contains("rollback"))
            try scene.appendShop(events: 100, seed: 12)
            let second = try await reprise.run("rebuild shop")
            expect(second, exits: 0)
            #expect(second.standardOutput.contains("generation 1, which was live before"))
            #expect(second.standardOutput.hasSuffix("reprise rollback shop\n"))

            let back = try await reprise.run("rollback shop")
            expect(back, exits: 0)
            #expect(
                back.standardOutput.contains(
                    "  projector   the checkpoint went back from 0000000000000834-"
                )
            )
            #expect(back.standardOutput.hasSuffix("reprise swap shop --allow-older\n"))
            #expect(try await scene.liveGeneration() == 1)
            let swapped = try await reprise.run("swap shop")
            expect(swapped, exits: 0)
            #expect(swapped.standardOutput.hasPrefix("shop: generation 2 is live.\n"))
            let status = try await reprise.run("status shop")
            #expect(status.standardOutput.hasPrefix("shop: generation 2 is live, since "))
            #expect(
                status.standardOutput.contains(
                    "  last swap   swap from generation 1 to generation 2"
                )
            )
            #expect(status.standardOutput.contains("  readers held up for "))
            try await scene.database.execute(
                "CREATE VIEW public.hand_made AS SELECT sku FROM shop__g1.order_line"
            )
            let kept = try await reprise.run("prune shop --keep 0")
            expect(kept, exits: 0)
            #expect(kept.standardOutput.hasPrefix("shop: nothing was dropped.\n  kept        gen"))
            #expect(kept.standardOutput.contains("view public.hand_made"))
            #expect(kept.standardOutput.hasSuffix(" have ended: reprise prune shop --keep 0\n"))
            try await scene.database.execute("DROP VIEW public.hand_made")
            let pruned = try await reprise.run("prune shop --keep 0")
            expect(pruned, exits: 0)
            #expect(
                pruned.standardOutput == "shop: dropped generation 1.\nNext: reprise status shop\n"
            )
            expect(
                try await reprise.run("rollback shop"),
                exits: 3,
                saying: [unchanged, "reprise status shop"]
            )
        }
    }

    @Test("a generation that was not swapped in is ready, and swap makes it live")
    func noSwap() async throws {
        try await withShop { reprise, scene in
            expect(try await reprise.run("rebuild shop"), exits: 0)
            let built = try await reprise.run("rebuild shop --no-swap")
            expect(built, exits: 0)
            #expect(built.standardOutput.hasPrefix("shop: generation 2 is ready and not live.\n"))
            #expect(built.standardOutput.hasSuffix("Next: reprise swap shop\n"))
            #expect(try await scene.liveGeneration() == 1)
            expect(try await reprise.run("swap shop"), exits: 0)
            #expect(try await scene.liveGeneration() == 2)
            expect(
                try await reprise.run("swap shop"),
                exits: 3,
                saying: [unchanged, "reprise status shop"]
            )
        }
    }

    @Test("the SQL of the cut-over is printed before it happens, and nothing else")
    func cutOverSQL() async throws {
        try await withShop { reprise, scene in
            let first = try await reprise.run("plan shop --sql --ledger not-read.db")
            expect(first, exits: 0)
            #expect(first.standardOutput.hasPrefix("-- The cut-over of 'shop' to generation 1.\n"))
            #expect(try await scene.database.count("pg_namespace WHERE nspname = 'reprise'") == 0)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            try await scene.database.execute(
                "CREATE VIEW public.paid AS SELECT order_id FROM public.order_summary"
            )
            let next = try await reprise.run("plan shop --sql --outage-budget 77")
            expect(next, exits: 0)
            #expect(next.standardError.isEmpty)
            for part in ["SET SCHEMA \"shop__g1\"", "VIEW \"public\".\"paid\"", "COMMIT;\n"] {
                #expect(next.standardOutput.contains(part), "\(part): \(next.standardOutput)")
            }
            #expect(try await scene.liveGeneration() == 1)
        }
    }

    @Test("a truncate says that nothing of the old rows is kept")
    func truncate() async throws {
        try await withShop { reprise, scene in
            expect(try await reprise.run("rebuild shop"), exits: 0)
            let outcome = try await reprise.run("rebuild shop --strategy truncate")
            expect(outcome, exits: 0)
            #expect(outcome.standardOutput.contains("nothing of generation 1"))
            #expect(try await scene.database.count("public.order_summary") > 0)
        }
    }

    @Test("JSON has stable names")
    func json() async throws {
        try await withShop { reprise, scene in
            let plan = try object(try await reprise.run("plan shop --json"))
            #expect(
                Set(plan.keys) == [
                    "adoptsLive", "bucketWidthMs", "buckets", "disk", "events", "expected",
                    "findings",
                    "from",
                    "generation", "homeSchema", "projection", "strategy", "tables", "to", "types",
                ]
            )
            _ = try object(try await reprise.run("rebuild shop --json"))
            let report = try object(try await reprise.run("rebuild shop --json"))
            #expect(
                Set(report.keys).isSuperset(of: [
                    "blockedMilliseconds", "copiedBytes", "droppedGenerations", "events",
                    "generation", "isLive", "lockWaitMilliseconds",
                    "outageBudgetMilliseconds", "signalled", "peakMemoryBytes", "position",
                    "previousGeneration",
                    "projection", "rows", "run", "seconds", "strategy", "warnings", "workingRows",
                ])
            )
            #expect(report["generation"] as? Int == 2)
            #expect(report["peakMemoryBytes"] as? Int ?? 0 > 1_000_000)
            #expect((report["seconds"] as? [String: Any])?["total"] is Double)
            let status = try object(try await reprise.run("status shop --json"))
            #expect(
                Set(status.keys) == [
                    "doubts", "generations", "isOfOtherProgram", "lastRun", "lastSwap",
                    "liveGeneration", "position", "projection",
                ]
            )
            let last = try #require(status["lastSwap"] as? [String: Any])
            #expect(last["kind"] as? String == "swap" && last["toGeneration"] as? Int == 2)
            let move = try object(try await reprise.run("rollback shop --json"))
            #expect(
                Set(move.keys) == [
                    "attempts", "blockedMilliseconds", "generation", "kind", "leavesOtherLedger",
                    "lockWaitMilliseconds", "longestFailedWaitMilliseconds",
                    "outageBudgetMilliseconds", "position", "positionBefore",
                    "previousGeneration", "projection", "signalled", "views", "warnings",
                ]
            )
            let kept = try await scene.database.query(
                "SELECT report::text AS report FROM reprise.run WHERE command = 'rollback'"
            ).first
            let stored = try JSONSerialization.jsonObject(
                with: Data((try kept?.string("report") ?? "").utf8)
            )
            #expect(stored as? NSDictionary == move as NSDictionary)
            let prune = try object(try await reprise.run("prune shop --json"))
            #expect(Set(prune.keys) == ["dropped", "kept", "postponed", "projection"])
            #expect(try array(try await reprise.run("plan --json")).count == 3)
            #expect(try array(try await reprise.run("status --json")).count == 3)
        }
    }

    @Test("--check-determinism folds twice and reports a digest of each table")
    func determinism() async throws {
        try await withShop { reprise, _ in
            let text = try await reprise.run("rebuild shop --check-determinism")
            expect(text, exits: 0, saying: ["shop: folding\n", "shop: folding again\n"])
            let line = try #require(
                text.standardOutput.split(separator: "\n").first { $0.hasPrefix("  digests ") }
            )
            #expect(line.hasPrefix("  digests     customer_totals "))
            #expect(line.hasSuffix(" in each of two folds"))
            #expect(text.standardOutput.contains(", fold again "))
            let report = try object(
                try await reprise.run("rebuild shop --check-determinism --json")
            )
            let digests = try #require(report["digests"] as? [String: String])
            #expect(digests.count >= 3)
            for (table, digest) in digests { #expect(line.contains("\(table) \(digest)")) }
        }
    }

    @Test("several projections are folded in one pass; what the plan refuses of one stops all")
    func several() async throws {
        try await withShop { reprise, scene in
            let text = try await reprise.run("rebuild shop fulfilment")
            expect(text, exits: 0)
            let stages = text.standardError.split(separator: "\n").map(String.init)
            let order = [
                "fulfilment: planning", "shop: planning", "shop: folding", "fulfilment: folding",
                "shop: loading", "shop: pruning", "fulfilment: loading", "fulfilment: pruning",
            ]
            #expect(stages.filter { order.contains($0) } == order)
            let all = try array(try await reprise.run("rebuild --all --json"))
            #expect(all.map { $0["projection"] as? String } == ["shop", "loans", "fulfilment"])
            try await scene.database.execute(
                """
                CREATE FUNCTION public.note(item public.work_item) RETURNS text LANGUAGE sql
                    AS 'SELECT ''noted'''
                """
            )
            let before = try await live(scene)
            let none = try await reprise.run("rebuild --all --json")
            expect(none, exits: 3, saying: ["work_item", unchanged])
            #expect(
                try outcomes(none) == [
                    "fulfilment not begun loans", "loans failed 3", "shop not begun loans",
                ]
            )
            #expect(try await live(scene) == before)
        }
    }

    /// Of each record in order: projection, outcome, exit status, and what stopped it.
    private func outcomes(_ outcome: ChildProcess.Outcome) throws -> [String] {
        try array(outcome).map { record in
            let words: [Any?] = [
                record["projection"], record["outcome"], record["exitStatus"], record["stoppedBy"],
            ]
            #expect((record["error"] == nil) == (record["exitStatus"] as? Int == 0))
            #expect(record["isLive"] as? Bool == (record["outcome"] as? String == "live"))
            return words.compactMap { $0.map { "\($0)" } }.joined(separator: " ")
        }.sorted()
    }

    /// Appends an event that loans pass over, and nobody else.
    private func appendRefused(to scene: RebuildScene) throws {
        try scene.append([
            NewEvent(
                stream: "order-none",
                type: "LineRemoved",
                data: #"{"orderId":"00000000-0000-0000-0000-000000000000","line":1}"#
            )
        ])
    }

    @Test("of several projections each has a record: live, failed or not begun (M2)")
    func severalFailing() async throws {
        try await withShop { reprise, scene in
            expect(try await reprise.run("rebuild --all"), exits: 0)
            try appendRefused(to: scene)
            let before = try await live(scene)
            let first = try await reprise.run("rebuild fulfilment loans --json")
            expect(first, exits: 6, saying: ["'fulfilment' refuses an event", unchanged])
            #expect(try outcomes(first) == ["fulfilment failed 6", "loans not begun fulfilment"])
            #expect(try await live(scene) == before)
            let second = try await reprise.run("rebuild loans fulfilment shop --json")
            expect(
                second,
                exits: 6,
                saying: [
                    "'fulfilment' refuses an event",
                    """
                    Of the 3 projections:
                      loans       generation 2 is live
                      fulfilment  failed (exit status 6); the live tables are unchanged
                      shop        not begun, because 'fulfilment' failed; the live tables are unchanged
                    Then run 'reprise rebuild fulfilment shop'; with --keep-going
                    """,
                ]
            )
            #expect(
                try outcomes(second) == [
                    "fulfilment failed 6", "loans live 0", "shop not begun fulfilment",
                ]
            )
            // A line for each, so that a command that is killed leaves those of what was done.
            let lines = second.standardOutput.split(separator: "\n")
            #expect(lines.count == 4 && lines[0].hasPrefix("[{") && lines[1].hasPrefix(",{"))
            #expect(try await live(scene) == ["fulfilment 1", "loans 2", "shop 1"])
            let alone = try await reprise.run("rebuild shop --json")
            #expect(try object(alone)["outcome"] as? String == "failed")
            let noLedger = try await reprise.run("rebuild shop loans --json --ledger nowhere.db")
            expect(noLedger, exits: 4, saying: ["nowhere.db"])
            #expect(try outcomes(noLedger) == ["loans not begun shop", "shop failed 4"])
        }
    }

    @Test("with --keep-going a failure stops no other; the worst status is reported (M3)")
    func keepGoing() async throws {
        try await withShop { reprise, scene in
            expect(try await reprise.run("rebuild --all"), exits: 0)
            try appendRefused(to: scene)
            // The one that leads the pass refuses an event, and so does the last.
            let refused = try await reprise.run(
                "rebuild fulfilment loans shop --keep-going --json"
            )
            expect(
                refused,
                exits: 6,
                saying: ["'fulfilment' refuses an event", "'shop' refuses an event"]
            )
            #expect(
                try outcomes(refused) == ["fulfilment failed 6", "loans live 0", "shop failed 6"]
            )
            #expect(try await live(scene) == ["fulfilment 1", "loans 2", "shop 1"])
            // What the plan refuses stops nobody either.
            try await scene.database.execute(
                """
                CREATE FUNCTION public.note(item public.fulfilment) RETURNS text LANGUAGE sql
                    AS 'SELECT ''noted'''
                """
            )
            let planned = try await reprise.run("rebuild --all --keep-going --json")
            expect(
                planned,
                exits: 6,
                saying: ["'shop' refuses an event", "The plan refuses 'fulfilment'"]
            )
            #expect(
                try outcomes(planned) == ["fulfilment failed 3", "loans live 0", "shop failed 6"]
            )
            #expect(try await live(scene) == ["fulfilment 1", "loans 3", "shop 1"])
            let runs = try await scene.database.query(
                "SELECT DISTINCT state FROM reprise.run WHERE projection = 'loans'"
            )
            #expect(try runs.rows.map { try $0.string("state") } == ["done"])
        }
    }

    private func live(_ scene: RebuildScene) async throws -> [String] {
        try await scene.database.query(
            "SELECT projection, generation FROM reprise.live ORDER BY projection"
        ).rows.map { "\(try $0.string("projection")) \(try $0.int("generation"))" }
    }

    @Test("what the plan refuses is listed, and a rebuild does not begin")
    func refused() async throws {
        try await withShop { reprise, scene in
            expect(try await reprise.run("rebuild shop"), exits: 0)
            try await scene.database.execute(
                "CREATE FUNCTION public.quiet(line public.order_line) RETURNS int LANGUAGE sql AS 'SELECT 1'"
            )
            let plan = try await reprise.run("plan shop")
            expect(plan, exits: 3, saying: ["The plan refuses 'shop'.", unchanged])
            #expect(plan.standardOutput.hasPrefix("shop: a rebuild is refused.\n"))
            #expect(plan.standardOutput.contains("\n  refuse      "))
            #expect(plan.standardOutput.contains("function public.quiet"))
            let outline = try object(try await reprise.run("plan shop --json"))
            let findings = try #require(outline["findings"] as? [[String: String]])
            #expect(
                findings.contains {
                    $0["level"] == "refuse"
                        && [$0["subject"], $0["note"]].contains {
                            $0?.contains("function public.quiet") == true
                        }
                }
            )
            let sql = try await reprise.run("plan shop --sql")
            expect(
                sql,
                exits: 3,
                saying: ["The plan refuses 'shop'", "function public.quiet", unchanged]
            )
            #expect(sql.standardOutput.isEmpty)
            expect(
                try await reprise.run("rebuild shop"),
                exits: 3,
                saying: [
                    "The plan refuses 'shop'", "function public.quiet", unchanged,
                    "reprise plan shop",
                ]
            )
            #expect(try await scene.liveGeneration() == 1)
        }
    }

    @Test("what others notice needs consent, by flag or setting, and then it is done")
    func consent() async throws {
        try await withShop { reprise, scene in
            expect(try await reprise.run("rebuild shop"), exits: 0)
            try await scene.database.execute(
                """
                CREATE PUBLICATION \(scene.database.name) FOR TABLE public.order_line;
                CREATE TABLE public.complaint (order_id uuid REFERENCES public.order_summary);
                """
            )
            let refused = try await reprise.run("plan shop")
            expect(refused, exits: 3)
            for part in ["'--republish'", "'--incoming-foreign-keys recreate'"] {
                #expect(refused.standardOutput.contains(part))
            }
            expect(try await reprise.run("rebuild shop --republish"), exits: 3)
            let flags = "shop --republish --incoming-foreign-keys recreate"
            let planned = try await reprise.run("plan \(flags)")
            expect(planned, exits: 0)
            #expect(planned.standardOutput.contains("\n  warn        publication"))
            expect(try await reprise.run("rebuild \(flags)"), exits: 0)
            try Data("republish: true\nincoming_foreign_keys: recreate\n".utf8).write(
                to: URL(fileURLWithPath: "\(reprise.folder)/reprise.yaml")
            )
            expect(try await reprise.run("rollback shop"), exits: 0)
            expect(try await reprise.run("swap shop --no-republish"), exits: 3, saying: [unchanged])
            expect(try await reprise.run("swap shop"), exits: 0)
            #expect(try await scene.liveGeneration() == 2)
        }
    }

    @Test("a table that would become empty is status 1, and another ledger status 3")
    func guards() async throws {
        try await withShop { reprise, scene in
            expect(try await reprise.run("rebuild shop"), exits: 0)
            expect(try await reprise.run("ledger create empty.db"), exits: 0)
            expect(
                try await reprise.run("rebuild shop --ledger empty.db --other-ledger"),
                exits: 1,
                saying: ["would become empty", "(--allow-empty)", unchanged]
            )
            expect(try await reprise.run("ledger create short.db"), exits: 0)
            expect(
                try await reprise.run("ledger generate --events 100 --seed 11 --ledger short.db"),
                exits: 0
            )
            let arguments = "rebuild shop --ledger short.db --max-shrink 100"
            expect(
                try await reprise.run(arguments),
                exits: 3,
                saying: ["was made of another ledger than 'short.db'", unchanged, "--other-ledger"]
            )
            #expect(try await scene.liveGeneration() == 1)
            expect(
                try await reprise.run("\(arguments) --other-ledger"),
                exits: 0
            )
        }
    }

    @Test("an event that the reducer rejects is named with every fact, and live is untouched")
    func rejectedEvent() async throws {
        try await withShop { reprise, scene in
            expect(try await reprise.run("rebuild shop"), exits: 0)
            let before = try await scene.rows(of: "public.order_summary")
            let id = "019b9a00-0000-7000-8000-000000000001"
            expect(
                try await reprise.run([
                    "ledger", "append", "--type", "OrderPaid", "--stream", "order-17", "--id", id,
                    "--time", "2026-02-01T10:00:07Z", "--data",
                    "{\"orderId\":\"0198c2a7-7c55-7000-8000-000000000001\",\"secret\":\"hush\"}",
                ]),
                exits: 0
            )
            let outcome = try await reprise.run("rebuild shop")
            expect(
                outcome,
                exits: 6,
                saying: [
                    "Error: Projection 'shop' refuses an event: ", "event     \(id)\n",
                    "position  ",
                    "bucket    [2026-02-01T10:00:00.000Z, 2026-02-01T10:00:15.000Z)\n",
                    "stream    order-17\n", "type      OrderPaid\n", "path      ", unchanged,
                    "reprise rebuild shop",
                ]
            )
            #expect(!outcome.standardError.contains("hush"))
            #expect(outcome.standardOutput.isEmpty)
            #expect(try await scene.rows(of: "public.order_summary") == before)
        }
    }

    @Test("nothing but plain text goes to a pipe; on a terminal NO_COLOR takes the colours away")
    func colours() async throws {
        try await withShop { reprise, _ in
            let escape = "\u{1B}"
            let piped = try await reprise.run("rebuild shop")
            #expect(!piped.standardOutput.contains(escape))
            #expect(!piped.standardError.contains(escape) && !piped.standardError.contains("\r"))
            let failed = try await reprise.run("rebuild shpo")
            #expect(!failed.standardError.contains(escape))
            let coloured = try await reprise.runOnTerminal("rebuild shpo")
            #expect(coloured.status == 2)
            #expect(coloured.standardOutput.contains("\(escape)[1;31mError:\(escape)[0m There"))
            let plain = try await reprise.runOnTerminal(
                "rebuild shpo",
                environment: ["NO_COLOR": "1"]
            )
            #expect(plain.status == 2)
            #expect(plain.standardOutput.contains("Error: There is no projection"))
            #expect(!plain.standardOutput.contains(escape))
        }
    }

    @Test("a projection whose bookkeeping is newer is left alone")
    func newerBookkeeping() async throws {
        try await withShop { reprise, scene in
            expect(try await reprise.run("rebuild shop"), exits: 0)
            try await scene.database.execute(
                "INSERT INTO reprise.migration (number, name) VALUES (99, 'of the future')"
            )
            expect(
                try await reprise.run("rebuild shop"),
                exits: 3,
                saying: ["is of version 99", unchanged, "newer version"]
            )
        }
    }
}
