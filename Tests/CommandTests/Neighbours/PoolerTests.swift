import Foundation
import Postgres
import TestSupport
import Testing

@Suite("Behind a connection pooler")
struct PoolerTests {
    /// Pools that hand sessions on, and what each does with those that are free.
    private static let pools: [(mode: PrivateServer.PoolMode, size: Int, settings: [String])] = [
        (.transaction, 1, []), (.transaction, 6, []),
        (.transaction, 6, ["server_round_robin = 1", "min_pool_size = 6"]),
        (.statement, 1, []), (.statement, 6, ["server_round_robin = 1", "min_pool_size = 6"]),
    ]

    private static let commands = [
        "status shop", "plan shop", "rebuild shop", "swap shop", "rollback shop", "prune shop",
        "follow shop --until-caught-up",
    ]

    @Test(
        "one that hands sessions on is refused by every command, and applications' sessions stay (S4)",
        arguments: pools.indices
    )
    func sharing(index: Int) async throws {
        let (mode, size, settings) = Self.pools[index]
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                try scene.appendShop(events: 200, seed: 4)
                expect(try await RepriseProcess(scene).run("rebuild shop"), exits: 0)
                try await server.withPooler(mode, size: size, settings: settings) { address in
                    var pooled = RepriseProcess(scene)
                    pooled.databaseURL = "\(address) dbname=scene"
                    for line in Self.commands {
                        expect(
                            try await pooled.run(line),
                            exits: 5,
                            saying: [
                                "A connection pooler", "a Unix socket of its machine, port 5432",
                                unchanged, "Set DATABASE_URL, or PGHOST and PGPORT",
                            ]
                        )
                        for _ in 0..<size {
                            let set = try await application(on: pooled.databaseURL)
                            #expect(set == "t\n", "\(line)")
                        }
                    }
                }
            }
        }
    }

    @Test(
        "S4: one that hands sessions on is known while applications use it"
    )
    func busy() async throws {
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                try scene.appendShop(events: 200, seed: 4)
                expect(try await RepriseProcess(scene).run("rebuild shop"), exits: 0)
                try await server.withPooler(.transaction, size: 5) { address in
                    var pooled = RepriseProcess(scene)
                    pooled.databaseURL = "\(address) dbname=scene"
                    let script = "\(pooled.folder)/pause.sql"
                    try Data("SELECT pg_sleep(random() / 500)".utf8).write(
                        to: URL(filePath: script)
                    )
                    _ = try await ChildProcess.withRunning(
                        "pgbench",
                        ["-n", "-c", "8", "-T", "300", "-f", script, pooled.databaseURL ?? ""]
                    ) { bench in
                        for _ in 0..<15 {
                            let outcome = try await pooled.run("status shop")
                            expect(outcome, exits: 5, saying: ["A connection pooler", unchanged])
                        }
                        bench.signal(SIGTERM)
                    }
                    #expect(try await application(on: pooled.databaseURL) == "t\n")
                }
            }
        }
    }

    @Test(
        "E2: in session mode every command works, and leaves nothing in a session of the pool",
        arguments: [[], ["server_reset_query ="]]
    )
    func sessions(settings: [String]) async throws {
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                try scene.appendShop(events: 2_000, seed: 4)
                try await server.withPooler(.session, size: 6, settings: settings) { address in
                    var pooled = RepriseProcess(scene)
                    pooled.databaseURL = "\(address) dbname=scene"
                    for line in [
                        "rebuild shop --jobs 2", "rebuild shop", "follow shop --until-caught-up",
                        "rebuild shop --strategy truncate", "rollback shop", "prune shop",
                        "status shop", "plan shop",
                    ] {
                        expect(try await pooled.run(line), exits: 0)
                        for _ in 0..<6 {
                            #expect(
                                try await application(on: pooled.databaseURL) == "t\n",
                                "\(line)"
                            )
                        }
                    }
                    // No lock of ours stays with a session that goes back to the pool.
                    let locks = try await scene.database.query(
                        "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory'"
                    )
                    #expect(try locks.first?.int("n") == 0)
                }
            }
        }
    }

    @Test(
        "E2: a pool that is too small ends a command with what to set, and does not stop it for long"
    )
    func small() async throws {
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                try scene.appendShop(events: 200, seed: 4)
                for size in 1...4 {
                    try await server.withPooler(.session, size: size) { address in
                        var pooled = RepriseProcess(scene)
                        pooled.databaseURL = "\(address) dbname=scene"
                        let outcome = try await pooled.run("rebuild shop")
                        guard size < 4 || outcome.status != 0 else { return }
                        expect(
                            outcome,
                            exits: 75,
                            saying: ["A connection pooler", "no further session", "pool_size=6"]
                        )
                    }
                }
            }
        }
    }

    /// What is set in the session that an application is given, and whether a query without a schema finds
    /// its table.
    private func application(on address: String?) async throws -> String {
        let outcome = try await ChildProcess.run(
            "psql",
            [
                "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", address ?? "", "-c",
                """
                SELECT name, setting FROM pg_settings
                WHERE source = 'session' AND name <> 'application_name' ORDER BY 1;
                SELECT count(*) > 0 FROM order_summary
                """,
            ]
        )
        try #require(outcome.status == 0, "\(outcome.standardError)")
        return outcome.standardOutput
    }
}
