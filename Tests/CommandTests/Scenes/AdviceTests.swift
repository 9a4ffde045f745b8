import Foundation
import Postgres
import TestSupport
import Testing

@Suite("What a message advises, typed in the state in which it comes")
struct AdviceTests {
    private func withShop(
        _ body: @Sendable (RepriseProcess, RebuildScene) async throws -> Void
    ) async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 500, seed: 95)
            let reprise = RepriseProcess(scene)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            try await body(reprise, scene)
        }
    }

    /// Writes hooks that say no until the file `allowed` is there.
    private func setHook(_ moment: String, _ reprise: RepriseProcess) throws {
        try Data("hooks: {\(moment): 'test -e allowed'}\n".utf8)
            .write(to: URL(fileURLWithPath: "\(reprise.folder)/reprise.yaml"))
    }

    private func allow(_ reprise: RepriseProcess) throws {
        try Data().write(to: URL(fileURLWithPath: "\(reprise.folder)/allowed"))
    }

    @Test(
        "C1: a generation that waits for its swap goes live, also where a follower went on",
        arguments: ["rebuild shop --no-swap", "rebuild shop"]
    )
    func waiting(command: String) async throws {
        try await withShop { reprise, scene in
            let isHeld = command == "rebuild shop"
            if isHeld { try setHook("before_swap", reprise) }
            let alarm = try await reprise.run(command)
            expect(alarm, exits: isHeld ? 1 : 0)
            try allow(reprise)
            try scene.appendShop(events: 100, seed: 96)
            expect(try await reprise.run("follow shop --until-caught-up"), exits: 0)
            var night = Operator(of: reprise, wokenBy: alarm, of: "reprise \(command)")
            // Readers would step back behind the follower.
            expect(try await night.typeNext(), exits: 75, saying: [unchanged])
            expect(try await night.typeNext(), exits: 0)
            #expect(
                night.typed == [
                    "reprise swap shop\(isHeld ? " --generation 2" : "")",
                    "reprise rebuild shop --resume",
                ]
            )
            #expect(try await scene.liveGeneration() == 2)
            #expect(try await scene.isRight())
        }
    }

    @Test(
        "C1: a move to a retired generation that a session blocks goes through",
        arguments: ["rollback shop", "swap shop"]
    )
    func blockedMove(command: String) async throws {
        try await withShop { reprise, scene in
            expect(try await reprise.run("rebuild shop"), exits: 0)
            if command == "swap shop" { expect(try await reprise.run("rollback shop"), exits: 0) }
            var patient = reprise
            patient.settings = ["REPRISE_DEADLINE_SECONDS": "3"]
            let shop = patient
            let before = try await scene.liveGeneration()
            try await scene.database.withConnection { idle in
                try await idle.execute("BEGIN; SELECT count(*) FROM public.order_summary")
                let alarm = try await shop.run(command)
                expect(alarm, exits: 75, saying: ["gave up after", unchanged])
                #expect(!alarm.standardError.contains("--resume"))
                var night = Operator(of: shop, wokenBy: alarm, of: "reprise \(command)")
                let ending = try await night.typeNext()
                expect(ending, exits: 0)
                #expect(ending.standardOutput.contains("  signalled   "))
                #expect(
                    night.typed
                        == ["reprise \(command) --blockers terminate --blockers-after 1"]
                )
            }
            #expect(try await scene.liveGeneration() != before)
        }
    }

    /// A command whose hook says no, and what is advised then.
    struct Hooked: Sendable {
        let moment: String
        let command: String
        let status: Int32
        let advised: String
        let live: Int64
    }

    @Test(
        "C1: what the message about a hook advises works once the hook agrees",
        arguments: [
            Hooked(
                moment: "before_swap",
                command: "rollback shop",
                status: 1,
                advised: "reprise rollback shop",
                live: 1
            ),
            Hooked(
                moment: "before_swap",
                command: "rebuild shop --strategy truncate",
                status: 1,
                advised: "reprise rebuild shop --strategy truncate",
                live: 3
            ),
            Hooked(
                moment: "after_swap",
                command: "rebuild shop",
                status: 7,
                advised: "reprise rollback shop",
                live: 2
            ),
            Hooked(
                moment: "after_swap",
                command: "rollback shop",
                status: 7,
                advised: "reprise swap shop --allow-older",
                live: 2
            ),
            Hooked(
                moment: "after_swap",
                command: "rebuild shop --strategy truncate",
                status: 7,
                advised: "reprise status shop",
                live: 3
            ),
        ]
    )
    func hooks(_ hooked: Hooked) async throws {
        try await withShop { reprise, scene in
            expect(try await reprise.run("rebuild shop"), exits: 0)
            try setHook(hooked.moment, reprise)
            let alarm = try await reprise.run(hooked.command)
            expect(alarm, exits: hooked.status)
            try allow(reprise)
            var night = Operator(of: reprise, wokenBy: alarm, of: nil)
            expect(try await night.typeNext(), exits: 0)
            #expect(night.typed == [hooked.advised])
            #expect(try await scene.liveGeneration() == hooked.live)
        }
    }

    /// What is done, the command that is typed then, and what its message advises.
    struct State: Sendable {
        var commands: [String] = []
        var sql: String?
        let command: String
        let status: Int32
        let advised: [String]
        var statuses: [Int32] = [0]
        /// SQL that fixes what the message names.
        var fix: String?
    }

    /// What makes a swap slow, as a trigger of the schema's owner can.
    private static let slowness = """
        CREATE FUNCTION public.delay() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(1); RETURN NEW; END $$;
        CREATE TRIGGER delay BEFORE INSERT ON reprise.swap
            FOR EACH ROW EXECUTE FUNCTION public.delay()
        """

    private static let view = "CREATE VIEW public.hung AS SELECT sku FROM shop__g1.order_line"

    @Test(
        "C1: what is advised can be typed as it stands, and ends as it should",
        arguments: [
            State(command: "swap shop", status: 3, advised: ["reprise status shop"]),
            State(command: "rollback shop", status: 3, advised: ["reprise status shop"]),
            State(command: "remove shop", status: 2, advised: ["reprise remove shop --yes"]),
            State(command: "reset", status: 2, advised: ["reprise reset --yes"]),
            State(
                command: "plan shop",
                status: 0,
                advised: ["reprise rebuild shop", "reprise rollback shop"],
                statuses: [0, 0]
            ),
            State(
                command: "rebuild shop --strategy truncate",
                status: 0,
                advised: ["reprise status shop", "reprise rebuild shop"],
                statuses: [0, 0]
            ),
            State(
                sql: "DROP TABLE public.order_line; CREATE TABLE public.order_line (id int)",
                command: "rebuild shop",
                status: 3,
                advised: ["reprise plan shop", "reprise plan shop"],
                statuses: [3, 3]
            ),
            State(
                commands: ["rebuild shop --no-swap"],
                sql: "CREATE INDEX by_hand ON public.order_line (quantity)",
                command: "swap shop",
                status: 3,
                advised: ["reprise rebuild shop"]
            ),
            State(
                sql: slowness,
                command: "rebuild shop --deadline 2 --outage-budget 300",
                status: 75,
                advised: ["reprise rebuild shop --resume --deadline 2 --outage-budget 300"],
                fix: "DROP FUNCTION public.delay() CASCADE"
            ),
            State(
                sql: EightScenesTests.Harm.foreign.rawValue,
                command: "rebuild shop --strategy truncate",
                status: 1,
                advised: [
                    "reprise rebuild shop --no-swap",
                    "reprise rebuild shop --max-shrink 100 --no-swap", "reprise swap shop",
                ],
                statuses: [1, 0, 0]
            ),
            State(
                commands: ["rebuild shop"],
                sql: view,
                command: "prune shop --keep 0",
                status: 0,
                advised: ["reprise prune shop --keep 0", "reprise status shop"],
                statuses: [0, 0],
                fix: "DROP VIEW public.hung"
            ),
            State(
                commands: ["rebuild shop"],
                command: "prune shop --keep 0",
                status: 0,
                advised: ["reprise status shop"]
            ),
            State(
                commands: ["rebuild shop --no-swap"],
                command: "status shop",
                status: 0,
                advised: ["reprise rebuild shop --resume"]
            ),
            State(
                commands: ["rebuild shop --no-swap"],
                command: "swap shop",
                status: 0,
                advised: ["reprise status shop", "reprise rollback shop"],
                statuses: [0, 0]
            ),
        ]
    )
    func typed(_ state: State) async throws {
        try await withShop { reprise, scene in
            for command in state.commands { expect(try await reprise.run(command), exits: 0) }
            if let sql = state.sql { try await scene.database.execute(sql) }
            let alarm = try await reprise.run(state.command)
            expect(alarm, exits: state.status)
            var night = Operator(of: reprise, wokenBy: alarm, of: "reprise \(state.command)")
            if let fix = state.fix {
                night.before[1] = { try await scene.database.execute(fix) }
            }
            for status in state.statuses { expect(try await night.typeNext(), exits: status) }
            #expect(night.typed == state.advised)
        }
    }

    @Test(
        "C1: of several projections those that failed are rebuilt by the command of the last line"
    )
    func several() async throws {
        try await withShop { reprise, scene in
            try await scene.database.execute(EightScenesTests.Harm.foreign.rawValue)
            let alarm = try await reprise.run("rebuild shop loans")
            expect(alarm, exits: 1)
            let advised = Operator.advised(by: alarm, programs: ["reprise"])
            #expect(advised.last == "reprise rebuild shop loans")
            try await scene.database.execute(
                "DELETE FROM public.customer_totals WHERE customer_id > 1000000000"
            )
            expect(try await reprise.run("rebuild shop loans"), exits: 0)
            #expect(try await scene.isRight())
        }
    }

    @Test("C1: a second follower names the command that shows the first one, and it does")
    func secondFollower() async throws {
        try await withShop { reprise, scene in
            let (_, outcome) = try await reprise.withRunning("follow shop") { follower in
                try await scene.database.waitUntil(
                    "it follows",
                    "SELECT FROM reprise.follower WHERE generation = 1"
                )
                let alarm = try await reprise.run("follow shop")
                expect(alarm, exits: 75)
                var night = Operator(of: reprise, wokenBy: alarm, of: "reprise follow shop")
                let status = try await night.typeNext()
                #expect(status.standardOutput.contains("  follower    process \(follower.pid) "))
                follower.signal(SIGTERM)
            }
            expect(outcome, exits: 0)
            #expect(outcome.standardOutput.contains("'reprise follow shop' continues"))
            expect(try await reprise.run("follow shop --until-caught-up"), exits: 0)
        }
    }

    @Test("C1: a program that did not build a generation rebuilds, as its message says")
    func otherProgram() async throws {
        try await withShop { reprise, scene in
            expect(try await reprise.run("rebuild shop --no-swap"), exits: 0)
            var other = reprise
            other.program = try ChangedReducerTests.newProgram(in: reprise.folder)
            let alarm = try await other.run("swap shop")
            expect(alarm, exits: 3)
            var night = Operator(of: other, wokenBy: alarm, of: nil)
            night.programs = ["reprise-new": other.program]
            expect(try await night.typeNext(), exits: 0)
            #expect(night.typed == ["reprise-new rebuild shop"])
            #expect(try await scene.liveGeneration() == 3)
        }
    }
}
