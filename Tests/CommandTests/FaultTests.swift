import Foundation
import Postgres
import TestSupport
import Testing

/// Stops a cut-over at each of its steps, does something bad to it there, and looks at what is left.
@Suite("A fault in the middle of a cut-over", .serialized)
struct FaultTests {
    @Test(
        "H50, H66: leaves one generation whole and no lock, and the next command says what happened",
        arguments: Fault.allCases
    )
    func moves(fault: Fault) async throws {
        try await withRebuildScene { scene in
            let shop = try await FaultScene.twoGenerations(in: scene)
            for step in FaultScene.steps {
                try await shop.strike(fault, at: step)
            }
            try await shop.expectFreeToMove()
        }
    }

    @Test(
        "of a reload leaves the old rows or the new ones, and no lock",
        arguments: [
            (Fault.killed, ["guarded", "prepared", "locked", "moved", "recorded"]),
            (.stopped, ["fenced", "locked", "recorded"]),
            (.terminated, ["locked", "moved", "recorded"]),
        ]
    )
    func reloads(fault: Fault, steps: [String]) async throws {
        try await withRebuildScene { scene in
            let shop = try await FaultScene.twoGenerations(in: scene)
            for step in steps {
                try await shop.strike(
                    fault,
                    at: step,
                    of: "rebuild shop --strategy truncate",
                    session: "reprise reload"
                )
            }
            try await shop.expectFreeToMove()
        }
    }

    @Test(
        "of a process that stood still is made good by another attempt",
        arguments: ["swap", "rebuild"]
    )
    func goesOn(command: String) async throws {
        try await withRebuildScene { scene in
            let shop = try await FaultScene.twoGenerations(in: scene)
            try await shop.standStill(
                at: "prepared",
                of: command == "swap" ? "swap shop" : "rebuild shop --strategy truncate",
                session: command == "swap" ? "reprise swap" : "reprise reload"
            )
        }
    }

    @Test(
        "H52: that is the server's crash during the load leaves the old rows, and a rebuild follows"
    )
    func crashInLoad() async throws {
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                let shop = try await FaultScene.twoGenerations(in: scene)
                try await shop.crashInLoad(server)
            }
        }
    }

    @Test("that is the server's crash leaves one generation whole, as the bookkeeping says")
    func crash() async throws {
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                let shop = try await FaultScene.twoGenerations(in: scene)
                for step in FaultScene.steps {
                    try await shop.crash(server, at: step)
                }
                try await shop.expectFreeToMove()
            }
        }
    }
}

/// What happens to a cut-over.
enum Fault: CaseIterable {
    /// Its process is killed.
    case killed
    /// Its process is stopped, and goes on no more.
    case stopped
    /// Its session is ended.
    case terminated
}

/// A shop with two generations, of which swap and rollback make one or the other live.
struct FaultScene: Sendable {
    let scene: RebuildScene
    /// The rows of each generation, as one number.
    let digests: [Int64: String]

    static let steps = ["guarded", "fenced", "prepared"] + sentSteps
    /// The steps of the last message to the server.
    private static let sentSteps = ["locked", "moved", "carried", "recorded"]

    private var reprise: RepriseProcess { RepriseProcess(scene) }

    static func twoGenerations(in scene: RebuildScene) async throws -> FaultScene {
        let reprise = RepriseProcess(scene)
        try scene.appendShop(events: 1_000, seed: 51)
        expect(try await reprise.run("rebuild shop"), exits: 0)
        let first = try await scene.shopDigest()
        try scene.appendShop(events: 500, seed: 52)
        expect(try await reprise.run("rebuild shop"), exits: 0)
        let second = try await scene.shopDigest()
        expect(try await reprise.run("rollback shop"), exits: 0)
        try await scene.database.execute(
            "CREATE VIEW public.open_orders AS SELECT order_id FROM public.order_summary"
        )
        return FaultScene(scene: scene, digests: [1: first, 2: second])
    }

    /// Runs a cut-over up to a step, does it harm there, and looks.
    func strike(
        _ fault: Fault,
        at step: String,
        of command: String? = nil,
        session: String? = nil
    ) async throws {
        print("\(fault) at '\(step)' of \(command ?? "a move")")
        let live = try await liveGeneration()
        let move = live == 1 ? "swap" : "rollback"
        let session = session ?? "reprise \(move)"
        let outcome = try await stopped(at: step, of: command ?? "\(move) shop") { child, keeper in
            switch fault {
            case .killed:
                child.signal(SIGKILL)
                try await expectLocksGone(from: session)
            case .stopped:
                await child.stop()
                try await keeper.execute("SELECT pg_advisory_unlock_all()")
                try await expectLocksGone(from: session)
                child.signal(SIGKILL)
            case .terminated:
                try await scene.database.query(
                    """
                    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name = $1
                    """,
                    [.text(session)]
                )
                try await expectLocksGone(from: session)
            }
        }
        let isNew = try await liveGeneration() != live
        // The last message of a move is with the server, which brings it to its end when nobody ends
        // the session and the lock is let go.
        let isSent = Self.sentSteps.contains(step)
        #expect(isNew == (fault == .stopped && command == nil && isSent))
        if fault == .terminated { expect(outcome, exits: 75, saying: [unchanged]) }
        try await expectWhole()
        try await expectNextCommand(saysDied: fault != .terminated, isNew: isNew)
    }

    /// The same with the server's crash.
    func crash(_ server: PrivateServer, at step: String) async throws {
        print("crash at '\(step)'")
        let live = try await liveGeneration()
        let outcome = try await stopped(at: step, of: live == 1 ? "swap shop" : "rollback shop") {
            _,
            _ in
            try await server.stop(.immediate)
        }
        // Nobody knows what became of a move whose last message was sent; before that, nothing was
        // done, and the same command can be given again.
        expect(outcome, exits: Self.sentSteps.contains(step) ? 5 : 75)
        try await server.start()
        #expect(try await liveGeneration() == live)
        try await expectWhole()
        if Self.sentSteps.contains(step) {
            var night = Operator(of: reprise, wokenBy: outcome, of: nil)
            expect(try await night.typeNext(), exits: 0)
            #expect(night.typed == ["reprise status shop"])
        }
        try await expectNextCommand(saysDied: true, isNew: false)
    }

    /// Stops a process for longer than its locks last, and lets it go on.
    func standStill(at step: String, of command: String, session: String) async throws {
        let outcome = try await stopped(at: step, of: command) { child, keeper in
            await child.stop()
            try await keeper.execute("SELECT pg_advisory_unlock_all()")
            try await expectLocksGone(from: session)
            child.signal(SIGCONT)
        }
        expect(outcome, exits: 0)
        let swap = try await scene.database.query(
            "SELECT attempts FROM reprise.swap ORDER BY swap_id DESC LIMIT 1"
        ).first
        #expect(try swap?.int("attempts") ?? 0 > 1)
        #expect(try await scene.shopDigest() == digests[2])
    }

    /// Crashes the server while rows are copied.
    func crashInLoad(_ server: PrivateServer) async throws {
        let live = try await liveGeneration()
        try await scene.holdLoads()
        let outcome = try await scene.database.withConnection { keeper in
            try await keeper.execute("SELECT pg_advisory_lock(4711)")
            return try await reprise.withRunning("rebuild shop") { _ in
                try await waitUntilStopped("COPY")
                try await server.stop(.immediate)
            }.outcome
        }
        expect(outcome, exits: 75, saying: [unchanged])
        try await server.start()
        #expect(try await liveGeneration() == live)
        try await expectWhole()
        let next = try await reprise.run("rebuild shop")
        expect(next, exits: 0, saying: ["; it had put no generation live."])
        #expect(try await scene.shopDigest() == digests[2])
    }

    private func waitUntilStopped(_ what: String) async throws {
        try await scene.database.waitUntil(
            "\(what) waits for the test's lock",
            """
            SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
            WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted
            """
        )
    }

    /// Runs a command that waits at a step for as long as `body` lasts.
    private func stopped(
        at step: String,
        of command: String,
        body: (ChildProcess, PostgresConnection) async throws -> Void
    ) async throws -> ChildProcess.Outcome {
        try await scene.database.withConnection { keeper in
            try await keeper.query(
                "SELECT pg_advisory_lock(hashtextextended('reprise stop ' || $1, 0))",
                [.text(step)]
            )
            return try await reprise.withRunning(
                // A busy machine must not undo what the test lets go on.
                "\(command) --outage-budget 20000",
                environment: ["REPRISE_STOP_AT": step]
            ) { child in
                try await waitUntilStopped("'\(command)' at '\(step)'")
                try await body(child, keeper)
            }.outcome
        }
    }
}

// MARK: - Looking

extension FaultScene {
    private func liveGeneration() async throws -> Int64 {
        let row = try await scene.database.query("SELECT generation FROM reprise.live").first
        return try #require(try row?.int("generation"))
    }

    /// Nothing that a session holds may keep readers out for longer than 5 s.
    private func expectLocksGone(from session: String) async throws {
        try await scene.database.waitUntil(
            "no lock of '\(session)'",
            within: .seconds(5),
            """
            SELECT WHERE NOT EXISTS (
                SELECT FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
                WHERE a.datname = current_database() AND a.application_name = $1
                    AND l.locktype = 'relation')
            """,
            [.text(session)]
        )
    }

    /// The live tables are those of the generation that the bookkeeping names, all of them.
    private func expectWhole() async throws {
        let live = try await liveGeneration()
        let rows = try await scene.shopDigest()
        #expect(rows == digests[live])
        let last = try await scene.database.query(
            "SELECT to_generation FROM reprise.swap ORDER BY swap_id DESC LIMIT 1"
        ).first
        #expect(try last?.int("to_generation") == live)
        #expect(
            try await scene.database.count("public.open_orders")
                == scene.database.count("public.order_summary")
        )
    }

    private func expectNextCommand(saysDied: Bool, isNew: Bool) async throws {
        let next = try await reprise.run("prune shop --keep 9")
        let death =
            isNew ? "died: it was last heard of at " : "; it had put no generation live."
        expect(next, exits: 0, saying: saysDied ? [death] : [])
        if isNew && saysDied {
            #expect(next.standardError.contains("; it had put generation "))
        }
        #expect(saysDied || !next.standardError.contains("died"))
        let running = try await scene.database.query(
            "SELECT FROM reprise.run WHERE state = 'running'"
        )
        #expect(running.rows.isEmpty)
    }

    func expectFreeToMove() async throws {
        let live = try await liveGeneration()
        let there = live == 1 ? ["swap", "rollback"] : ["rollback", "swap"]
        for move in there {
            expect(try await reprise.run("\(move) shop"), exits: 0)
            try await expectWhole()
        }
        #expect(try await liveGeneration() == live)
    }
}
