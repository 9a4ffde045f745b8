import Postgres
import Rebuilder
import Synchronization
import TestSupport
import Testing

@testable import ReadModels

@Suite("A cut-over with standbys")
struct StandbyTests {
    @Test("H64: a reader on a hot standby does not hold up the primary, and the plan warns of it")
    func reader() async throws {
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                try await makeBuiltTally(in: scene)
                try await server.withStandby(settings: ["max_standby_streaming_delay = 2s"]) {
                    standby in
                    let replica = ConnectionSettings(
                        conninfo: standby.conninfo + " dbname=scene",
                        applicationName: "reprise tests"
                    )
                    try await PostgresConnection.withConnection(replica) { reader in
                        try await reader.execute(
                            "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM public.tally"
                        )
                        // It answers readers before it asks for more.
                        try await scene.database.waitUntil(
                            "the standby is connected",
                            "SELECT FROM pg_stat_replication WHERE state = 'streaming'"
                        )
                        let warnings = try await scene.database.withConnection {
                            try await Gates.findings(of: [], on: $0)
                        }.filter { $0.level == .warn }.map(\.text)
                        #expect(warnings.contains { $0.hasPrefix("standby 'walreceiver', pid ") })
                        let result = try await scene.control(Tally.self).swap(
                            patience: CutOverPatience(outageBudget: 20_000)
                        )
                        #expect(result.generation == 2 && result.attempts == 1)
                        // The reader there is asked to go only after two seconds.
                        let row = try await scene.database.query(
                            "SELECT held_ms FROM reprise.swap ORDER BY swap_id DESC LIMIT 1"
                        ).first
                        #expect(try row?.double("held_ms") ?? 9_999 < 1_000)
                    }
                    try await PostgresConnection.withConnection(replica) { reader in
                        let begin = ContinuousClock.now
                        while try await reader.query("SELECT FROM public.tally").rows.count != 4 {
                            try #require(ContinuousClock.now - begin < .seconds(60))
                            await Task.yield()
                        }
                    }
                }
            }
        }
    }

    @Test(
        "O2: a reader on a standby that is older than the load keeps the cut-over waiting, by feedback"
    )
    func feedback() async throws {
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                try await makeTally(in: scene)
                try await server.withStandby(
                    settings: ["hot_standby_feedback = on", "wal_receiver_status_interval = 1s"]
                ) { standby in
                    let replica = ConnectionSettings(
                        conninfo: standby.conninfo + " dbname=scene",
                        applicationName: "reprise tests"
                    )
                    try await PostgresConnection.withConnection(replica) { reader in
                        try await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
                        for strategy in Strategy.allCases {
                            var options = RebuildOptions()
                            options.strategy = strategy
                            options.patience = CutOverPatience(deadline: 2)
                            let error = await #expect(throws: ReadModelError.self) {
                                _ = try await scene.rebuild(Tally.self, options: options)
                            }
                            guard case .cutOverBlocked(_, _, let blockers, false, _) = error else {
                                Issue.record("expected cutOverBlocked, got \(error as Any)")
                                return
                            }
                            #expect(
                                blockers.contains {
                                    $0.contains("a reader on standby 'walreceiver'")
                                }
                            )
                        }
                        // What it reads is of one moment still.
                        let rows = try await reader.query("SELECT FROM public.tally").rows
                        #expect(rows.count == 3)
                        try await reader.execute("COMMIT")
                    }
                    _ = try await scene.rebuild(Tally.self)
                }
            }
        }
    }

    @Test(
        "a synchronous standby that does not answer is waited for before the locks, not with them"
    )
    func flushBarrier() async throws {
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                try await makeBuiltTally(in: scene)
                try await withScratchFolder { folder in
                    // Absent from the first attempt on: a run that begins commits as well.
                    let file = "\(folder)/wait"
                    _ = try await ChildProcess.run("touch", [file])
                    var patience = CutOverPatience(deadline: 600)
                    patience.postponeFile = file
                    let (waits, hasBegun) = AsyncStream.makeStream(of: Void.self)
                    async let swapping = scene.control(Tally.self).swap(patience: patience) { _ in
                        hasBegun.finish()
                    }
                    for await _ in waits {}
                    try await scene.setSynchronousStandbys("absent")
                    _ = try await ChildProcess.run("rm", [file])
                    do {
                        try await expectBarrier(in: scene)
                    } catch {
                        // Nothing of the run could be committed otherwise, not even its failure.
                        try await scene.setSynchronousStandbys("")
                        throw error
                    }
                    try await scene.setSynchronousStandbys("")
                    let result = try await swapping
                    #expect(result.generation == 2 && result.longestFailedWait == 0)
                }
            }
        }
    }

    /// Two attempts in turn wait for the standby, and neither of them holds a lock.
    private func expectBarrier(in scene: RebuildScene) async throws {
        let first = try await scene.waitForBarrier(otherThan: 0)
        let second = try await scene.waitForBarrier(otherThan: first)
        let locks = try await scene.database.query(
            """
            SELECT FROM pg_locks WHERE pid = $1 AND relation = 'public.tally'::regclass
            """,
            [.int(second)]
        )
        #expect(locks.rows.isEmpty)
    }
}

extension RebuildScene {
    fileprivate func setSynchronousStandbys(_ names: String) async throws {
        try await database.execute("ALTER SYSTEM SET synchronous_standby_names = '\(names)'")
        try await database.execute("SELECT pg_reload_conf()")
        try await database.waitUntil(
            "the setting has reached the sessions",
            "SELECT WHERE current_setting('synchronous_standby_names') = $1",
            [.text(names)]
        )
    }

    /// Waits until an attempt waits for a standby.
    fileprivate func waitForBarrier(otherThan pid: Int64) async throws -> Int64 {
        try await database.waitUntil(
            "an attempt waits for a standby",
            """
            SELECT pid FROM pg_stat_activity WHERE application_name = 'reprise swap'
                AND wait_event = 'SyncRep' AND pid <> $1
            """,
            [.int(pid)]
        ).int("pid")
    }
}
