import Foundation
import Postgres
import TestSupport
import Testing

/// Stops the processes of a server, so that nothing answers, and signals a command once.
@Suite("A server that stands still", .serialized)
struct FrozenServerTests {
    /// What stands still.
    enum Extent: CaseIterable {
        /// The processes that serve the command; requests to cancel are taken.
        case sessions
        /// The process that takes connections as well: requests to cancel are not answered.
        case server
    }

    @Test(
        "C7: one SIGTERM or SIGHUP ends a command that waits for a statement, and the rows stay",
        arguments: Extent.allCases,
        [(SIGTERM, "SIGTERM"), (SIGHUP, "SIGHUP")]
    )
    func statement(extent: Extent, signal: (number: Int32, name: String)) async throws {
        try await FrozenScene.with { frozen in
            let outcome = try await frozen.interrupt(extent, at: "prepared", by: signal.number)
            let status = 128 + signal.number
            expect(outcome, exits: status, saying: ["Interrupted by \(signal.name).", unchanged])
            #expect(try object(outcome)["exitStatus"] as? Int == Int(status))
        }
    }

    @Test("C7: one SIGTERM ends a command in the last message of its cut-over, and nobody guesses")
    func lastMessage() async throws {
        try await FrozenScene.with { frozen in
            let outcome = try await frozen.interrupt(.sessions, at: "moved")
            expect(
                outcome,
                exits: 143,
                saying: [
                    "Interrupted by SIGTERM.\n", "while 'shop' was being committed",
                    "The live tables are one generation or the other, whole.\n",
                    "'reprise status shop'",
                ]
            )
        }
    }

    @Test("C7: one SIGTERM ends a command that has nothing to ask of the server but to clean up")
    func hook() async throws {
        try await FrozenScene.with { frozen in
            let hook = "hooks: {before_swap: 'echo ready; sleep 600'}"
            let path = "\(frozen.reprise.folder)/reprise.yaml"
            try Data(hook.utf8).write(to: URL(fileURLWithPath: path))
            let outcome = try await frozen.interrupt(.sessions)
            expect(outcome, exits: 143, saying: ["Interrupted by SIGTERM.", unchanged])
            try FileManager.default.removeItem(atPath: path)
        }
    }
}

/// A shop with one generation on a server of its own.
private struct FrozenScene: Sendable {
    let scene: RebuildScene
    let reprise: RepriseProcess

    static func with(_ body: (FrozenScene) async throws -> Void) async throws {
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                try scene.appendShop(events: 500, seed: 7)
                var reprise = RepriseProcess(scene)
                expect(try await reprise.run("rebuild shop"), exits: 0)
                let before = try await scene.shopDigest()
                // timeout(1) passes the signal on, once and to the command alone, and kills what has not
                // ended a minute after it.
                reprise.launcher = ["timeout", "--foreground", "-k", "60", "600"]
                let frozen = FrozenScene(scene: scene, reprise: reprise)
                try await body(frozen)
                #expect(try await scene.shopDigest() == before)
                try await scene.database.waitUntil(
                    "the sessions are gone",
                    "SELECT WHERE NOT EXISTS (\(Self.sessions))"
                )
                expect(try await reprise.run("rebuild shop"), exits: 0)
            }
        }
    }

    private static let sessions = """
        SELECT pid FROM pg_stat_activity
        WHERE application_name LIKE 'reprise %' AND application_name <> 'reprise tests'
        """

    /// Freezes a rebuild's sessions at a step, or where it says that it is ready, signals it, and lets
    /// them go on when it has ended.
    func interrupt(
        _ extent: FrozenServerTests.Extent,
        at step: String? = nil,
        by signal: Int32 = SIGTERM
    ) async throws -> ChildProcess.Outcome {
        try await scene.database.withConnection { keeper in
            if let step {
                try await keeper.query(
                    "SELECT pg_advisory_lock(hashtextextended('reprise stop ' || $1, 0))",
                    [.text(step)]
                )
            }
            var frozen: [Int32] = []
            defer { for pid in frozen { kill(pid, SIGCONT) } }
            return try await reprise.withRunning(
                "rebuild shop --json --outage-budget 60000",
                environment: step.map { ["REPRISE_STOP_AT": $0] } ?? [:]
            ) { child in
                try await untilThere(step, child)
                frozen = try await keeper.query(Self.sessions).rows.map { Int32(try $0.int("pid")) }
                #expect(!frozen.isEmpty)
                if extent == .server {
                    let file = "split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"
                    let row = try await keeper.query("SELECT \(file)::int AS pid").first
                    frozen.append(Int32(try #require(try row?.int("pid"))))
                }
                for pid in frozen { kill(pid, SIGSTOP) }
                child.signal(signal)
            }.outcome
        }
    }

    private func untilThere(_ step: String?, _ child: ChildProcess) async throws {
        guard let step else { return try await child.waitForText("ready\n") }
        try await scene.database.waitUntil(
            "the rebuild is at '\(step)'",
            """
            SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
            WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted
            """
        )
    }
}
