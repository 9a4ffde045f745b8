import Foundation
import Postgres
import TestSupport
import Testing

@Suite("Beside standbys")
struct StandbyCommandTests {
    @Test(
        "E4: while a synchronous standby is gone no command stands still, and one signal ends a wait"
    )
    func gone() async throws {
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                try scene.appendShop(events: 200, seed: 3)
                let reprise = RepriseProcess(scene)
                expect(try await reprise.run("rebuild shop"), exits: 0)
                try await scene.demandStandbys("gone")
                let plan = try await reprise.run("plan shop")
                #expect(plan.standardOutput.contains("synchronous_standby_names 'gone'"))
                expect(plan, exits: 0)
                try scene.appendShop(events: 100, seed: 4)
                expect(try await reprise.run("follow shop --until-caught-up"), exits: 0)
                expect(try await reprise.run("status shop"), exits: 0)
                let blocked = try await reprise.run("rebuild shop --deadline 1")
                expect(
                    blocked,
                    exits: 75,
                    saying: [
                        "a synchronous standby", "synchronous_standby_names 'gone'", unchanged,
                    ]
                )
                let stopped = try await reprise.withRunning("rebuild shop --deadline 600") {
                    child in
                    try await scene.database.waitUntil(
                        "a commit waits for the standby",
                        "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
                    )
                    child.signal(SIGTERM)
                }.outcome
                expect(stopped, exits: 143, saying: [unchanged])
                expect(try await reprise.run("prune shop"), exits: 0)
                try await scene.demandStandbys("")
                expect(try await reprise.run("rebuild shop"), exits: 0)
            }
        }
    }

    @Test(
        "E4: a standby that goes when the locks are held holds up no reader, and the command says so"
    )
    func goesMeanwhile() async throws {
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                try scene.appendShop(events: 200, seed: 3)
                let reprise = RepriseProcess(scene)
                expect(try await reprise.run("rebuild shop"), exits: 0)
                for signals in [false, true] {
                    let outcome = try await rebuild(reprise, scene, interrupting: signals)
                    expect(
                        outcome,
                        exits: signals ? 130 : 0,
                        saying: [
                            "committed here",
                            signals ? "was interrupted" : "did not answer within 30 s",
                        ]
                    )
                    #expect(!outcome.standardError.contains("CancellationError"))
                    let status = try await reprise.run("status shop")
                    #expect(
                        !status.standardOutput.contains("when what ended run"),
                        "\(status.standardOutput)"
                    )
                    try await scene.demandStandbys("")
                }
            }
        }
    }

    @Test(
        "E4: a signal behind the COMMIT ends every command with its status, and what is live is said",
        arguments: ["rollback shop", "swap shop", "rebuild shop --strategy truncate"]
    )
    func signalBehindCommit(command: String) async throws {
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                try scene.appendShop(events: 200, seed: 3)
                let reprise = RepriseProcess(scene)
                expect(try await reprise.run("rebuild shop"), exits: 0)
                expect(
                    try await reprise.run(
                        "rebuild shop\(command == "swap shop" ? " --no-swap" : "")"
                    ),
                    exits: 0
                )
                let outcome = try await cutOver(by: command, reprise, scene, interrupting: true)
                expect(outcome, exits: 130, saying: ["committed here", "Readers see"])
                #expect(!outcome.standardError.contains("CancellationError"))
                #expect(!outcome.standardError.contains("left to be done"))
                try await scene.demandStandbys("")
                let runs = try await scene.database.query(
                    """
                    SELECT stage, report IS NULL AS lost FROM reprise.run
                    ORDER BY run_id DESC LIMIT 1
                    """
                ).rows
                #expect(runs.first?["lost"] == "f" || runs.first?["stage"] == "pruning")
            }
        }
    }

    /// A rebuild that holds its exclusive locks when the standby goes.
    private func rebuild(
        _ reprise: RepriseProcess,
        _ scene: RebuildScene,
        interrupting: Bool
    ) async throws -> ChildProcess.Outcome {
        let outcome = try await cutOver(
            by: "rebuild shop",
            reprise,
            scene,
            interrupting: interrupting
        )
        // Readers have the new tables.
        #expect(try await scene.liveGeneration() == (interrupting ? 3 : 2))
        return outcome
    }

    /// A command that holds its exclusive locks when the standby goes.
    private func cutOver(
        by command: String,
        _ reprise: RepriseProcess,
        _ scene: RebuildScene,
        interrupting: Bool
    ) async throws -> ChildProcess.Outcome {
        try await scene.database.withConnection { keeper in
            try await keeper.query(
                "SELECT pg_advisory_lock(hashtextextended('reprise stop locked', 0))"
            )
            return try await reprise.withRunning(
                command,
                environment: ["REPRISE_STOP_AT": "locked"]
            ) { child in
                try await scene.database.waitUntil(
                    "the cut-over waits for the test's lock",
                    "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                )
                try await scene.demandStandbys("gone")
                try await keeper.execute("SELECT pg_advisory_unlock_all()")
                try await child.waitForText("Waiting up to 30 s for a standby")
                if interrupting { child.signal(SIGINT) }
            }.outcome
        }
    }

    @Test("E4: rebuilds go on beside a synchronous standby with readers, which has every swap")
    func present() async throws {
        for level in ["on", "remote_apply"] {
            try await PrivateServer.with(settings: ["synchronous_commit = \(level)"]) { server in
                try await server.withScene { scene in
                    try scene.appendShop(events: 200, seed: 3)
                    let reprise = RepriseProcess(scene)
                    expect(try await reprise.run("rebuild shop"), exits: 0)
                    let settings = [
                        "hot_standby_feedback = on", "wal_receiver_status_interval = 1s",
                    ]
                    try await server.withStandby(settings: settings) { standby in
                        try await scene.demandStandbys("*")
                        var there = reprise
                        there.databaseURL = "\(standby.conninfo) dbname=scene"
                        for strategy in ["swap", "truncate", "swap"] {
                            let command = "rebuild shop --strategy \(strategy)"
                            expect(try await reprise.run(command), exits: 0)
                            guard level == "remote_apply" else { continue }
                            // It has been applied there when the command ends.
                            let here = try await reprise.run("status shop --json")
                            let seen = try await there.run("status shop --json")
                            let live = try #require(try object(here)["liveGeneration"] as? Int)
                            #expect(try object(seen)["liveGeneration"] as? Int == live)
                        }
                        try await scene.demandStandbys("")
                    }
                }
            }
        }
    }

    @Test(
        "E4: a delayed standby of a standby holds up nobody, and has every swap as late as all else"
    )
    func cascaded() async throws {
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                try scene.appendShop(events: 200, seed: 3)
                let reprise = RepriseProcess(scene)
                expect(try await reprise.run("rebuild shop"), exits: 0)
                let feedback = [
                    "hot_standby_feedback = on", "wal_receiver_status_interval = 1s",
                ]
                try await server.withStandby(settings: feedback) { standby in
                    let delay = ["recovery_min_apply_delay = 2s"]
                    try await standby.withStandby(settings: feedback + delay) { cascaded in
                        try await scene.demandStandbys("*")
                        var there = reprise
                        there.databaseURL = "\(cascaded.conninfo) dbname=scene"
                        for (command, live) in [
                            ("rebuild shop", 2), ("rollback shop", 1),
                            ("rebuild shop --strategy truncate", 3),
                        ] {
                            expect(try await reprise.run(command), exits: 0)
                            var seen: Int?
                            let begin = ContinuousClock.now
                            while seen != live {
                                try #require(
                                    ContinuousClock.now - begin < .seconds(60),
                                    "\(command)"
                                )
                                let status = try await there.run("status shop --json")
                                seen = try object(status)["liveGeneration"] as? Int
                            }
                        }
                        try await scene.demandStandbys("")
                    }
                }
            }
        }
    }

    @Test("E11: on a standby status works, and every other command names what to connect to")
    func onStandby() async throws {
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                try scene.appendShop(events: 200, seed: 3)
                let reprise = RepriseProcess(scene)
                expect(try await reprise.run("rebuild shop"), exits: 0)
                try await server.withStandby { standby in
                    var there = reprise
                    there.databaseURL = "\(standby.conninfo) dbname=scene"
                    for line in [
                        "plan shop", "rebuild shop", "swap shop", "rollback shop", "prune shop",
                        "follow shop", "remove shop --yes", "reset --yes",
                    ] {
                        expect(
                            try await there.run(line),
                            exits: 5,
                            saying: ["is a standby", unchanged, "Name the primary"]
                        )
                    }
                    expect(try await there.run("status shop"), exits: 0)
                    // As the message says: of several hosts the primary is found.
                    let hosts = [server, standby].map { host in
                        host.conninfo.split(separator: " ")[0].dropFirst(5)
                    }.joined(separator: ",")
                    there.databaseURL =
                        "host=\(hosts) port=5432 user=reprise dbname=scene "
                        + "target_session_attrs=read-write"
                    expect(try await there.run("plan shop"), exits: 0)
                }
            }
        }
    }
}

extension RebuildScene {
    /// Sets which standbys a commit waits for, and waits until that holds.
    func demandStandbys(_ names: String) async throws {
        try await database.execute("ALTER SYSTEM SET synchronous_standby_names = '\(names)'")
        try await database.execute("SELECT pg_reload_conf()")
        try await database.waitUntil(
            "the setting has reached the sessions",
            "SELECT WHERE current_setting('synchronous_standby_names') = $1",
            [.text(names)]
        )
    }
}
