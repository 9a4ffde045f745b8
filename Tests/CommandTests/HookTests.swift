import Foundation
import Postgres
import TestSupport
import Testing

@Suite("Hooks")
struct HookTests {
    /// The command beside a shop of one live generation, and the settings file it reads from now on.
    private func withShop(
        hooks: String,
        _ body: @Sendable (RepriseProcess, RebuildScene) async throws -> Void
    ) async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 500, seed: 21)
            let reprise = RepriseProcess(scene)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            try Data(hooks.utf8).write(
                to: URL(fileURLWithPath: "\(reprise.folder)/reprise.yaml")
            )
            try await body(reprise, scene)
        }
    }

    private func lines(of file: String, _ reprise: RepriseProcess) -> [String] {
        let text = try? String(contentsOfFile: "\(reprise.folder)/\(file)", encoding: .utf8)
        return (text ?? "").split(separator: "\n").map(String.init)
    }

    private static let telling = """
        hooks:
          before_swap: 'echo "before $REPRISE_KIND $REPRISE_PREVIOUS_GENERATION \
        $REPRISE_GENERATION" >>told; echo spoken'
          after_swap:
            - 'echo "after $REPRISE_PROJECTION $REPRISE_RUN" >>told'
            - '[ -z "$REPRISE_POSITION" ] || echo "at $REPRISE_POSITION" >>told'
        """

    @Test("X5: an event trigger of another role's function that is made before the swap stops it")
    func lateEventTrigger() async throws {
        let role = "late_\(UInt32.random(in: .min ... .max))"
        let sql = """
            CREATE ROLE \(role); CREATE FUNCTION public.et() RETURNS event_trigger LANGUAGE plpgsql \
            AS $f$BEGIN END$f$; ALTER FUNCTION public.et() OWNER TO \(role); \
            CREATE EVENT TRIGGER et ON ddl_command_end EXECUTE FUNCTION public.et()
            """
        try await withShop(hooks: "hooks: {before_swap: 'sh late.sh'}\n") { reprise, scene in
            try Data(sql.utf8).write(to: URL(fileURLWithPath: "\(reprise.folder)/late.sql"))
            try Data("psql -X -q -v ON_ERROR_STOP=1 -d \"\(scene.database.url)\" -f late.sql".utf8)
                .write(to: URL(fileURLWithPath: "\(reprise.folder)/late.sh"))
            let refused = try await reprise.run("rebuild shop")
            try await scene.database.execute(
                "DROP EVENT TRIGGER et; DROP FUNCTION public.et(); DROP ROLE \(role)"
            )
            expect(refused, exits: 3, saying: ["et: its function public.et() belongs", unchanged])
            #expect(try await scene.liveGeneration() == 1)
        }
    }

    @Test(
        "M7: a hook before the swap that changes new rows stops it, by swap, rollback and rebuild",
        arguments: [
            ("DELETE FROM %.order_line WHERE line = 1", "are left"),
            ("UPDATE %.order_line SET sku = sku WHERE line = 1", "were written"),
            (
                "INSERT INTO %.customer_totals (customer_id, orders, cancelled_orders, paid_cents) "
                    + "VALUES (-1, 1, 1, 1)", "were written"
            ),
            ("TRUNCATE %.order_line CASCADE", "are left"),
            ("ALTER TABLE %.order_line ALTER sku TYPE text USING sku || line", "were written"),
            ("ALTER TABLE %.order_line ADD seen text DEFAULT 1", "its columns"),
            ("ALTER TABLE %.order_line DROP CONSTRAINT order_line_pkey", "indexes or"),
            ("ALTER TABLE %.order_line RENAME TO order_lines", "it was renamed"),
        ]
    )
    func changingHook(statement: String, said: String) async throws {
        try await withShop(hooks: "hooks: {before_swap: 'sh change.sh'}\n") { reprise, scene in
            func setHook(_ generation: Int) throws {
                let sql = statement.replacing("%", with: "shop__g\(generation)")
                let script =
                    "psql -X -q -v ON_ERROR_STOP=1 -d \"\(scene.database.url)\" -c '\(sql)'"
                try Data((generation == 0 ? "true" : script).utf8)
                    .write(to: URL(fileURLWithPath: "\(reprise.folder)/change.sh"))
            }
            let before = try await scene.rows(of: "public.order_line")
            try setHook(2)
            let rebuilt = try await reprise.run("rebuild shop")
            expect(rebuilt, exits: 1, saying: ["was changed while hooks ran", said, unchanged])
            // It is rejected, so nobody swaps it in by mistake.
            expect(try await reprise.run("swap shop"), exits: 3)
            try setHook(0)
            expect(try await reprise.run("rebuild shop --no-swap"), exits: 0)
            try setHook(3)
            expect(try await reprise.run("swap shop"), exits: 1, saying: [said, unchanged])
            try setHook(0)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            try setHook(1)
            expect(try await reprise.run("rollback shop"), exits: 1, saying: [said, unchanged])
            #expect(try await scene.liveGeneration() == 4)
            #expect(try await scene.rows(of: "public.order_line") == before)
        }
    }

    @Test("hooks run before and after swap, rollback and truncate, and are told about each")
    func told() async throws {
        try await withShop(hooks: Self.telling) { reprise, scene in
            let outcome = try await reprise.run("rebuild shop --json")
            let steps = ["shop: hooks before the swap\n", "spoken\n", "shop: cutting over\n"]
            expect(outcome, exits: 0, saying: steps)
            let report = try object(outcome)
            let run = try #require(report["run"] as? Int)
            let position = try #require(report["position"] as? String)
            expect(try await reprise.run("rollback shop"), exits: 0, saying: ["spoken\n"])
            expect(try await reprise.run("swap shop"), exits: 0, saying: ["spoken\n"])
            expect(try await reprise.run("rebuild shop --strategy truncate"), exits: 0)
            #expect(
                lines(of: "told", reprise) == [
                    "before swap 1 2", "after shop \(run)", "at \(position)",
                    "before rollback 2 1", "after shop \(run + 1)", "at \(position)",
                    "before swap 1 2", "after shop \(run + 2)", "at \(position)",
                    "before truncate 2 3", "after shop \(run + 3)", "at \(position)",
                ]
            )
            expect(try await reprise.run("rebuild shop --no-swap"), exits: 0)
            #expect(lines(of: "told", reprise).count == 12)
        }
    }

    @Test("a hook before sees the old generation without a lock in its way, one after the new one")
    func moments() async throws {
        let ask = "psql -X -At \"$DATABASE_URL\" -c"
        let hooks = """
            hooks:
              before_swap: |
                \(ask) "SELECT generation FROM reprise.live" >>seen
                \(ask) "BEGIN; LOCK TABLE public.order_line IN ACCESS EXCLUSIVE MODE NOWAIT" >>seen
              after_swap: |
                \(ask) "SELECT generation FROM reprise.live" >>seen
                \(ask) "BEGIN; LOCK TABLE public.order_line IN ACCESS EXCLUSIVE MODE NOWAIT" >>seen
            """
        try await withShop(hooks: hooks) { reprise, _ in
            expect(try await reprise.run("rebuild shop"), exits: 0)
            #expect(
                lines(of: "seen", reprise) == [
                    "1", "BEGIN", "LOCK TABLE", "2", "BEGIN", "LOCK TABLE",
                ]
            )
        }
    }

    @Test("a hook that says no stops the swap; the generation stays ready")
    func refusal() async throws {
        let hooks = "hooks: {before_swap: ['true', 'test -e allowed', 'touch later']}"
        try await withShop(hooks: hooks) { reprise, scene in
            let no = "The hook before_swap 2 of 3 of 'shop' ended with status 1."
            expect(
                try await reprise.run("rebuild shop"),
                exits: 1,
                saying: [
                    no, unchanged, "Generation 2 is ready", "reprise swap shop --generation 2",
                ]
            )
            #expect(try await scene.liveGeneration() == 1)
            let swap = "swap shop --generation 2"
            expect(try await reprise.run(swap), exits: 1, saying: [no, unchanged])
            #expect(!FileManager.default.fileExists(atPath: "\(reprise.folder)/later"))
            #expect(
                FileManager.default.createFile(atPath: "\(reprise.folder)/allowed", contents: nil)
            )
            expect(try await reprise.run(swap), exits: 0)
            #expect(try await scene.liveGeneration() == 2)
            try FileManager.default.removeItem(atPath: "\(reprise.folder)/allowed")
            expect(
                try await reprise.run("rollback shop"),
                exits: 1,
                saying: [no, unchanged, "reprise rollback shop"]
            )
            expect(
                try await reprise.run("rebuild shop --strategy truncate"),
                exits: 1,
                saying: [no, unchanged, "--strategy truncate"]
            )
            #expect(try await scene.liveGeneration() == 2)
            // There is nothing to move, so that nobody is asked.
            expect(try await reprise.run("swap shop --generation 9"), exits: 3, saying: [unchanged])
        }
    }

    @Test(
        "a hook that a signal ends, that cannot do what it is told, or that takes too long, says no",
        arguments: [
            ("kill -9 $$", "was ended by signal 9."), ("no-such-program", "ended with status 127."),
            ("sleep 600 & wait", "took longer than 0.2 s and was ended."),
        ]
    )
    func badEndings(command: String, how: String) async throws {
        let hooks = "hook_timeout_seconds: 0.2\nhooks: {before_swap: '\(command)'}"
        try await withShop(hooks: hooks) { reprise, scene in
            let outcome = try await reprise.run("rebuild shop")
            expect(outcome, exits: 1, saying: ["The hook before_swap of 'shop' \(how)", unchanged])
            #expect(try await scene.liveGeneration() == 1)
        }
    }

    @Test("a hook after the swap that fails undoes nothing, has its own status and stops the rest")
    func failureAfterwards() async throws {
        let hooks = "hooks: {after_swap: ['exit 3', 'touch later']}"
        try await withShop(hooks: hooks) { reprise, scene in
            let what = [
                "The hook after_swap 1 of 2 of 'shop' ended with status 3. The hooks after it did"
            ]
            expect(
                try await reprise.run("rebuild shop"),
                exits: 7,
                saying: what + ["Readers see generation 2, whole.", "reprise rollback shop"]
            )
            #expect(try await scene.liveGeneration() == 2)
            let run = try await scene.database.query(
                "SELECT report ->> 'isLive' AS live FROM reprise.run ORDER BY run_id DESC LIMIT 1"
            ).first
            #expect(try run?.string("live") == "true")
            expect(
                try await reprise.run("rollback shop"),
                exits: 7,
                saying: what + ["Readers see generation 1, whole.", "reprise swap shop"]
            )
            #expect(try await scene.liveGeneration() == 1)
            #expect(!FileManager.default.fileExists(atPath: "\(reprise.folder)/later"))
        }
    }

    @Test(
        "a signal ends the hook with everything it has started (C7)",
        arguments: [(SIGINT, Int32(130)), (SIGTERM, Int32(143)), (SIGHUP, Int32(129))]
    )
    func signalled(signal: Int32, status: Int32) async throws {
        // The child ignores SIGTERM and holds the terminal's end of a pipe: as long as it lives,
        // the command's standard error has not ended.
        let hooks =
            #"hooks: {before_swap: "sh -c 'trap : TERM; echo ready; sleep 600; sleep 600' & wait"}"#
        try await withShop(hooks: hooks) { reprise, scene in
            let (_, outcome) = try await reprise.withRunning("rebuild shop") { child in
                try await child.waitForText("ready\n")
                child.signal(signal)
            }
            expect(outcome, exits: status, saying: ["Interrupted by ", unchanged])
            #expect(try await scene.liveGeneration() == 1)
        }
    }

    @Test("C7: a hook ends with everything it has started when the command is killed")
    func killed() async throws {
        // As above: standard error ends when the last process of the hook does, and not when the two
        // sleeps are over.
        let hooks =
            #"hooks: {before_swap: "sh -c 'trap : TERM; echo ready; sleep 600; sleep 600' & wait"}"#
        try await withShop(hooks: hooks) { reprise, scene in
            let began = ContinuousClock.now
            let (_, outcome) = try await reprise.withRunning("rebuild shop") { child in
                try await child.waitForText("ready\n")
                child.signal(SIGKILL)
            }
            #expect(outcome.wasKilled)
            #expect(ContinuousClock.now - began < .seconds(300))
            #expect(try await scene.liveGeneration() == 1)
        }
    }

    @Test("a signal while a hook runs after the swap says that the new generation is live")
    func signalledAfterwards() async throws {
        let hooks = "hooks: {after_swap: 'echo ready; sleep 600'}"
        try await withShop(hooks: hooks) { reprise, scene in
            let (_, outcome) = try await reprise.withRunning("rebuild shop") { child in
                try await child.waitForText("ready\n")
                child.signal(SIGINT)
            }
            expect(
                outcome,
                exits: 130,
                saying: ["Interrupted by SIGINT.", "Readers see the new generation", "The hooks"]
            )
            #expect(try await scene.liveGeneration() == 2)
        }
    }
}
