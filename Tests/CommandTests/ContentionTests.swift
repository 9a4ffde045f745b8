import Foundation
import Postgres
import ProjectionKit
import TestSupport
import Testing

@Suite("Commands that meet others")
struct ContentionTests {
    private func withShop(
        events: Int = 2_000,
        _ body: @Sendable (RepriseProcess, RebuildScene) async throws -> Void
    ) async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: events, seed: 12)
            let reprise = RepriseProcess(scene)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            try await body(reprise, scene)
        }
    }

    private func expectGenerationOne(_ scene: RebuildScene) async throws {
        #expect(try await scene.liveGeneration() == 1)
    }

    @Test("a second run at the same time is told who is at work")
    func secondRun() async throws {
        try await withShop { reprise, scene in
            try await scene.database.withConnection { connection in
                try await connection.holdSessionLock("run shop")
                try await connection.query(
                    """
                    INSERT INTO reprise.run
                        (projection, command, strategy, state, stage, host, pid)
                    VALUES ('shop', 'rebuild', 'swap', 'running', 'folding', 'night-1', 4711)
                    """
                )
                for command in ["rebuild", "swap", "rollback", "prune"] {
                    expect(
                        try await reprise.run([command, "shop"]),
                        exits: 75,
                        saying: [
                            "Another run works on 'shop'", "process 4711 on night-1", "now folding",
                            unchanged, "reprise status shop",
                        ]
                    )
                }
                let status = try await reprise.run("status shop")
                expect(status, exits: 0)
                #expect(status.standardOutput.contains("rebuild, folding, process 4711 on night-1"))
                #expect(status.standardOutput.hasSuffix(" has ended: reprise status shop\n"))
            }
            try await expectGenerationOne(scene)
        }
    }

    @Test("status says what a run that died has left, and the next run records its end")
    func deadRun() async throws {
        try await withShop { reprise, scene in
            try await scene.database.execute(
                """
                INSERT INTO reprise.run (projection, command, strategy, state, stage, host, pid)
                VALUES ('shop', 'rebuild', 'swap', 'running', 'loading', 'night-1', 4711)
                """
            )
            let status = try await reprise.run("status shop")
            expect(status, exits: 0)
            #expect(
                status.standardOutput.contains(
                    "which died and left a shadow schema that the next run drops"
                )
            )
            expect(try await reprise.run("rebuild shop"), exits: 0)
            let dead = try await scene.database.query(
                "SELECT state FROM reprise.run WHERE host = 'night-1'"
            ).first
            #expect(try dead?.string("state") == "failed")
        }
    }

    @Test("a cut-over that others block is worth another try, and the built generation waits")
    func blockedCutOver() async throws {
        try await withShop { reprise, scene in
            try await scene.database.withConnection { connection in
                try await connection.execute(
                    "BEGIN; LOCK TABLE public.order_line IN ACCESS SHARE MODE"
                )
                expect(
                    try await reprise.run("rebuild shop --deadline 0.2 --outage-budget 50"),
                    exits: 75,
                    saying: [
                        "The cut-over of 'shop' gave up", "blocked by:\n  - pid ", unchanged,
                        "Generation 2 is ready", "reprise rebuild shop --resume",
                    ]
                )
                try await connection.execute("ROLLBACK")
            }
            try await expectGenerationOne(scene)
            expect(try await reprise.run("swap shop"), exits: 0)
        }
    }

    @Test("while the postpone file is there nothing is cut over, and the command says so")
    func postponed() async throws {
        try await withShop { reprise, scene in
            let file = "\(reprise.folder)/hold"
            for command in ["rebuild", "rollback", "swap"] {
                #expect(FileManager.default.createFile(atPath: file, contents: nil))
                let line = "\(command) shop --deadline 5 --postpone-file hold"
                let before = try await scene.liveGeneration()
                let (during, outcome) = try await reprise.withRunning(line) { child in
                    try await child.waitForText("as long as the file 'hold' is there")
                    let during = try await scene.liveGeneration()
                    try FileManager.default.removeItem(atPath: file)
                    return during
                }
                expect(outcome, exits: 0)
                #expect(during == before)
                #expect(try await scene.liveGeneration() != before)
            }
        }
    }

    // The lock keeps the run in its last stage until the signal has come.
    @Test(
        "a signal during the cut-over leaves the live tables and says so",
        arguments: [(SIGINT, Int32(130), "SIGINT"), (SIGTERM, 143, "SIGTERM")]
    )
    func signalled(signal: Int32, status: Int32, name: String) async throws {
        try await withShop { reprise, scene in
            try await scene.database.withConnection { connection in
                try await connection.execute(
                    "BEGIN; LOCK TABLE public.order_line IN ACCESS SHARE MODE"
                )
                let (_, outcome) = try await reprise.withRunning("rebuild shop --deadline 600") {
                    child in
                    try await child.waitForText("shop: cutting over\n")
                    child.signal(signal)
                }
                expect(
                    outcome,
                    exits: status,
                    saying: ["Interrupted by \(name).", unchanged, "reprise rebuild shop"]
                )
                try await connection.execute("ROLLBACK")
            }
            try await expectGenerationOne(scene)
            let state = try await scene.database.query(
                "SELECT count(*) AS n FROM reprise.run WHERE state = 'running'"
            ).first
            #expect(try state?.int("n") == 0)
            expect(try await reprise.run("rebuild shop"), exits: 0)
        }
    }

    @Test("a signal while events are folded leaves the live tables and says so")
    func signalledWhileFolding() async throws {
        try await withShop(events: 150_000) { reprise, scene in
            let (_, outcome) = try await reprise.withRunning("rebuild shop") { child in
                try await child.waitForText("shop: folding\n")
                child.signal(SIGINT)
            }
            expect(outcome, exits: 130, saying: ["Interrupted by SIGINT.", unchanged])
            try await expectGenerationOne(scene)
            var night = Operator(of: reprise, wokenBy: outcome, of: nil)
            expect(try await night.typeNext(), exits: 0)
            #expect(night.typed == ["reprise rebuild shop"])
        }
    }

    @Test("C1: what a blocked cut-over advises helps, also beside a follower")
    func adviceWhenBlocked() async throws {
        try await withShop { reprise, scene in
            let blocked = try await scene.database.withConnection { blocker in
                try await blocker.execute("BEGIN; SELECT count(*) FROM public.order_summary")
                return try await reprise.run("rebuild shop --deadline 1")
            }
            expect(
                blocked,
                exits: 75,
                saying: [
                    "gave up after", unchanged, "'reprise rebuild shop --resume --deadline 1'",
                ]
            )
            let status = try await reprise.run("status shop").standardOutput
            #expect(status.hasSuffix("Next: reprise rebuild shop --resume\n"))
            #expect(status.contains(", rebuild, failed at "))
            #expect(status.contains("gave up after"))
            try scene.appendShop(events: 100, seed: 77)
            expect(try await reprise.run("follow shop --until-caught-up"), exits: 0)
            // Readers would step back in time; and its advice is the same.
            expect(
                try await reprise.run("swap shop"),
                exits: 75,
                saying: [unchanged, "'reprise rebuild shop --resume'"]
            )
            expect(try await reprise.run("rebuild shop --resume"), exits: 0)
            #expect(try await scene.liveGeneration() == 2)
        }
    }

    @Test("C6: without the connections that a load needs nothing is folded")
    func noConnectionLeft() async throws {
        try await withShop { reprise, scene in
            let known = try await scene.database.query(
                "SELECT FROM pg_roles WHERE rolname = 'password_required'"
            )
            guard !known.rows.isEmpty else {
                print("NOT TESTED: this server has no role password_required, see scripts/sandbox")
                return
            }
            let role = "\(scene.database.name)_few"
            let name = scene.database.name
            try await scene.database.execute(
                "CREATE ROLE \(role) SUPERUSER LOGIN PASSWORD 'few' IN ROLE password_required; "
                    + "ALTER ROLE \(role) CONNECTION LIMIT 3"
            )
            // A limit holds for those who are no superusers.
            try await scene.database.execute("ALTER ROLE \(role) NOSUPERUSER")
            for object in ["DATABASE \(name)", "SCHEMA public", "SCHEMA reprise"] {
                try await scene.database.execute("ALTER \(object) OWNER TO \(role)")
            }
            try await scene.database.execute(
                """
                DO $$ DECLARE r record; BEGIN
                    FOR r IN SELECT c.oid::regclass AS name FROM pg_class AS c
                        WHERE relnamespace IN ('public'::regnamespace, 'reprise'::regnamespace)
                            AND relkind IN ('r', 'v') LOOP
                        EXECUTE format('ALTER TABLE %s OWNER TO \(role)', r.name);
                    END LOOP;
                END $$
                """
            )
            let url = scene.database.url + " user=\(role) password=few"
            let rebuild = ["rebuild", "shop", "--database", url]
            let refused = try await reprise.run(rebuild)
            try await scene.database.execute("ALTER ROLE \(role) CONNECTION LIMIT 4")
            // Somebody else of that role has one.
            let few = try await scene.database.asLogin(role, password: "few").withConnection { _ in
                try await reprise.run(rebuild)
            }
            try await scene.database.execute("ALTER ROLE \(role) SUPERUSER")
            try await scene.database.execute("REASSIGN OWNED BY \(role) TO CURRENT_USER")
            try await scene.database.execute("DROP OWNED BY \(role); DROP ROLE \(role)")
            expect(
                refused,
                exits: 5,
                saying: ["and this command alone needs 4.", unchanged, "CONNECTION LIMIT 4"]
            )
            #expect(!refused.standardError.contains("shop: folding"))
            expect(few, exits: 75, saying: ["and this command needs 3 more at once", unchanged])
            #expect(!few.standardError.contains("shop: folding"))
            try await expectGenerationOne(scene)
        }
    }

    @Test("C6: a server that stops or starts is worth another try")
    func restart() async throws {
        try await withShop { reprise, scene in
            for command in [
                "plan shop", "rebuild shop", "rebuild shop --strategy truncate", "swap shop",
                "rollback shop", "prune shop", "status",
            ] {
                let outcome = try await reprise.run(
                    command,
                    environment: ["DATABASE_URL": "host=/nowhere/at/all dbname=shop"]
                )
                expect(outcome, exits: 75, saying: [unchanged])
            }
        }
    }

    @Test("a server that does not answer is named")
    func unreachable() async throws {
        try await withShop { reprise, _ in
            let closed = "postgresql://app:hush-hush@127.0.0.1:1/shop"
            let refused = try await reprise.run(
                "rebuild shop",
                environment: ["DATABASE_URL": closed]
            )
            expect(refused, exits: 75, saying: ["127.0.0.1", unchanged, "DATABASE_URL or PGHOST"])
            #expect(!refused.standardError.contains("hush-hush"))
            let missing = try await reprise.run([
                "status", "--database", "host=/nowhere/at/all dbname=shop",
            ])
            expect(missing, exits: 75, saying: ["/nowhere/at/all", unchanged])
        }
    }

    @Test("a database that is not there is named")
    func missingDatabase() async throws {
        try await withShop { reprise, scene in
            let outcome = try await reprise.run([
                "status", "--database", scene.database.url + " dbname=reprise_not_there",
            ])
            expect(outcome, exits: 5, saying: ["reprise_not_there", unchanged])
        }
    }

    @Test("a wrong password is refused, and printed nowhere")
    func wrongPassword() async throws {
        try await withShop { reprise, scene in
            let known = try await scene.database.query(
                "SELECT FROM pg_roles WHERE rolname = 'password_required'"
            )
            guard !known.rows.isEmpty else {
                // Only the sandbox's servers ask for passwords over the socket.
                print("NOT TESTED: this server has no role password_required, see scripts/sandbox")
                return
            }
            let role = "\(scene.database.name)_app"
            try await scene.database.execute(
                "CREATE ROLE \(role) LOGIN PASSWORD 'right-8341' IN ROLE password_required"
            )
            let url = scene.database.url + " user=\(role) password=wrong-2297"
            let outcome = try await reprise.run(["rebuild", "shop", "--database", url])
            try await scene.database.execute("DROP ROLE \(role)")
            expect(outcome, exits: 5, saying: [role, unchanged, "PGPASSWORD"])
            #expect(!outcome.standardError.contains("wrong-2297"))
            #expect(!outcome.standardOutput.contains("wrong-2297"))
        }
    }
}
