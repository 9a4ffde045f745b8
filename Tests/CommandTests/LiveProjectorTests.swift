import Foundation
import LedgerKit
import Ledgers
import Postgres
import ProjectionKit
import TestSupport
import Testing

@Suite("The live projector of the examples")
struct LiveProjectorTests {
    private func withShop(
        _ body: @Sendable (RepriseProcess, RebuildScene) async throws -> Void
    ) async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 1_000, seed: 61)
            let reprise = RepriseProcess(scene)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            try await body(reprise, scene)
        }
    }

    @Test(
        "keeps up through rebuilds, rollbacks, a reload and prunes, and then equals a fresh fold",
        arguments: ShopProjector.allCases
    )
    func wholeLife(projector: ShopProjector) async throws {
        try await withShop { reprise, scene in
            let (_, outcome) = try await projector.withRunning(in: scene) { child in
                let moves = [
                    "rebuild shop --keep 9", "rollback shop", "swap shop --allow-older",
                    "rebuild shop --keep 9", "rollback shop", "prune shop --keep 1",
                    "rebuild shop --strategy truncate", "rebuild shop", "rollback shop",
                ]
                for (index, move) in moves.enumerated() {
                    try scene.appendShop(events: 300, seed: UInt64(index))
                    // Two moves in a row without a wait, then one at the end of the ledger.
                    if index % 3 == 2 { try await scene.waitUntilCaughtUp() }
                    expect(try await reprise.run(move), exits: 0)
                }
                try scene.appendShop(events: 300, seed: 99)
                try await scene.waitUntilCaughtUp()
                child.signal(SIGTERM)
            }
            expect(outcome, exits: 0)
            try await scene.expectFreshFold()
            guard projector == .python else { return }
            #expect(outcome.standardError == "")
            let noticed = outcome.standardOutput.components(separatedBy: " is live, at ").count - 1
            #expect(noticed >= 2, "it has noticed \(noticed) changes of generation")
        }
    }

    @Test(
        "killed in the middle of a transaction it loses no event and applies none twice",
        arguments: ShopProjector.allCases,
        // Its last table, and what stands behind all of them.
        ["public.customer_totals", "reprise.checkpoint"]
    )
    func killed(projector: ShopProjector, before table: String) async throws {
        try await withShop { reprise, scene in
            try await scene.database.execute(
                """
                CREATE FUNCTION public.stop_here() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    IF pg_catalog.current_setting('application_name') = '\(projector.session)' THEN
                        PERFORM pg_catalog.pg_advisory_xact_lock_shared(4711);
                    END IF;
                    RETURN NULL;
                END $$;
                CREATE TRIGGER stop_here BEFORE INSERT OR UPDATE ON \(table)
                    EXECUTE FUNCTION public.stop_here();
                """
            )
            for round in 1...2 as ClosedRange<UInt64> {
                try scene.appendShop(events: 300, seed: round)
                try await kill(projector, in: scene)
            }
            try await scene.database.execute("DROP FUNCTION public.stop_here CASCADE")
            var last = try await projector.run(in: scene, ["--until-caught-up"])
            for _ in 1...20 where last.status == 75 {
                // The server has not noticed yet that the killed one is gone.
                last = try await projector.run(in: scene, ["--until-caught-up"])
            }
            expect(last, exits: 0)
            try await scene.waitUntilCaughtUp()
            try await scene.expectFreshFold()
        }
    }

    /// Kills it where it waits for the test's lock.
    private func kill(_ projector: ShopProjector, in scene: RebuildScene) async throws {
        try await scene.database.withConnection { keeper in
            try await keeper.execute("SELECT pg_advisory_lock(4711)")
            let process = KeptProcess { begun in
                try await projector.withRunning(in: scene) { await begun($0) }.outcome
            }
            async let running: Void = process.run()
            try await scene.database.waitUntil(
                "the projector waits for the test's lock",
                """
                SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
                WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted
                """
            )
            await process.killForGood()
            try await running
            try await keeper.execute("SELECT pg_advisory_unlock_all()")
        }
    }

    @Test("a lost connection is made again, and said")
    func lostConnection() async throws {
        try await withShop { _, scene in
            let (_, outcome) = try await ShopProjector.python.withRunning(in: scene) { child in
                for seed in 1...3 as ClosedRange<UInt64> {
                    try scene.appendShop(events: 200, seed: seed)
                    try await scene.waitUntilCaughtUp()
                    try await scene.database.query(
                        """
                        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                        WHERE datname = current_database() AND application_name = $1
                        """,
                        [.text(ShopProjector.python.session)]
                    )
                }
                try scene.appendShop(events: 200, seed: 4)
                try await scene.waitUntilCaughtUp()
                child.signal(SIGTERM)
            }
            expect(outcome, exits: 0, saying: ["; again in 0.1 s"])
            try await scene.expectFreshFold()
        }
    }

    @Test("an event that the rules refuse stops it by name, and nothing of its batch is applied")
    func refused() async throws {
        try await withShop { _, scene in
            try scene.appendShop(events: 50, seed: 63)
            let paid = #"{"orderId":"00000000-0000-4000-8000-000000000001","amountCents":1}"#
            try scene.append([NewEvent(stream: "order-1", type: "OrderPaid", data: paid)])
            let before = try await scene.shopDigest()
            let outcome = try await ShopProjector.python.run(in: scene, ["--until-caught-up"])
            let end = try #require(try SQLiteLedger(path: scene.ledgerPath).safePosition())
            expect(
                outcome,
                exits: 1,
                saying: [
                    "An event is refused: the order was never placed.", "OrderPaid", "order-1",
                    "\(end)",
                ]
            )
            #expect(try await scene.shopDigest() == before)
        }
    }

    // The reducer and the projector take the same values; each event here is one that both refuse.
    @Test(
        "it refuses what the reducer refuses",
        arguments: [
            ("CustomerMoved", #"{"customerId":1.0,"country":"NL"}"#),
            ("CustomerMoved", #"{"customerId":9223372036854775808,"country":"NL"}"#),
            ("CustomerRegistered", #"{"customerId":1,"name":"Ada","country":null}"#),
            ("OrderPlaced", #"{"orderId":"00000000-0000-4000-8000-00000000001g","customerId":1}"#),
            ("OrderPlaced", #"{"orderId":"A","customerId":1}"#),
            ("LineAdded", #"{"orderId":"A","line":1,"sku":"s","quantity":0,"unitCents":1}"#),
            ("LineRemoved", #"{"orderId":"A","line":2147483648}"#),
            ("OrderPaid", #"{"orderId":"A","amountCents":100000000001}"#),
        ] as [(String, String)]
    )
    func refusals(type: String, data: String) async throws {
        try await withShop { reprise, scene in
            let order = "00000000-0000-4000-8000-00000000000a"
            let events = [
                ("OrderPlaced", #"{"orderId":"\#(order)","customerId":1}"#),
                (type, data.replacing(#""A""#, with: #""\#(order.uppercased())""#)),
            ]
            try scene.append(events.map { NewEvent(stream: "s", type: $0, data: $1) })
            let outcome = try await ShopProjector.python.run(in: scene, ["--until-caught-up"])
            expect(outcome, exits: 1, saying: ["An event is refused: ", type])
            expect(try await reprise.run("rebuild shop"), exits: 6, saying: [type])
        }
    }

    @Test("Reprise as the projector refuses tables of which nobody knows where they stand")
    func followsNoGuess() async throws {
        try await withShop { reprise, scene in
            let before = try await scene.shopDigest()
            try await scene.database.execute(
                "UPDATE reprise.checkpoint SET generation = 0, position = NULL"
            )
            expect(
                try await ShopProjector.follow.run(in: scene, ["--until-caught-up"]),
                exits: 3,
                saying: ["Nobody knows where generation 0 of 'shop' stands", unchanged]
            )
            #expect(try await scene.shopDigest() == before)
        }
    }

    @Test(
        "a position that the ledger does not hold stops it before it writes",
        arguments: [
            // Behind the end, another event's checksum, and what an older format wrote.
            "00000000000f4240-0000000000000000-0000000000000000",
            "0000000000000001-0000000000000000-0000000000000000",
            "8000019b76dec6b0-019b76dee8f37000-80013882838b2ab9",
        ]
    )
    func otherLedger(position: String) async throws {
        try await withShop { _, scene in
            try await scene.database.query(
                "UPDATE reprise.checkpoint SET position = $1",
                [.text(position)]
            )
            let before = try await scene.shopDigest()
            expect(
                try await ShopProjector.python.run(in: scene, ["--until-caught-up"]),
                exits: 1,
                saying: ["The ledger has no event at \(position)", "Nothing was written."]
            )
            #expect(try await scene.shopDigest() == before)
        }
    }

    @Test("without a checkpoint it writes nothing and says what makes one")
    func noCheckpoint() async throws {
        try await withShop { reprise, scene in
            try await scene.database.execute("DELETE FROM reprise.checkpoint")
            expect(
                try await ShopProjector.python.run(in: scene, []),
                exits: 1,
                saying: ["There is no checkpoint of 'shop': run 'reprise rebuild' first."]
            )
            try await scene.database.execute(
                "INSERT INTO reprise.checkpoint (projection, generation) VALUES ('shop', 0)"
            )
            expect(
                try await ShopProjector.python.run(in: scene, []),
                exits: 1,
                saying: ["generation 0, whose position is not known"]
            )
        }
    }

    @Test("with the rights of the page it works as a role that owns nothing")
    func rights() async throws {
        try await withShop { reprise, scene in
            let role = "\(scene.database.name)_p"
            try await scene.database.execute(
                """
                CREATE ROLE \(role);
                GRANT USAGE ON SCHEMA reprise TO \(role);
                GRANT SELECT, UPDATE (position, updated_at) ON reprise.checkpoint TO \(role);
                GRANT SELECT, INSERT, UPDATE, DELETE ON public.order_summary, public.order_line,
                    public.customer_totals TO \(role);
                """
            )
            let asRole = scene.connecting(to: scene.database.asRole(role))
            for seed in 1...2 as ClosedRange<UInt64> {
                try scene.appendShop(events: 300, seed: seed)
                let outcome = try await ShopProjector.python.run(in: asRole, ["--until-caught-up"])
                expect(outcome, exits: 0)
                try await scene.expectFreshFold()
            }
            try await scene.database.execute("DROP OWNED BY \(role); DROP ROLE \(role)")
        }
    }
}
