import Foundation
import Ledgers
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import Synchronization
import TestSupport
import Testing

/// `Tally` counts each event once, so that the sum over its rows is the number of the last event that
/// they stand for: that is the oracle here, and the position says the number as well.
@Suite("Rows and position agree in each snapshot", .serialized)
struct SnapshotTests {
    /// What a snapshot sees.
    private struct Sight: Equatable, CustomStringConvertible {
        let generation: Int64
        let rows: Int64
        let position: Int64
        var description: String {
            "generation \(generation), \(rows) events in the rows, position \(position)"
        }
    }

    private static let look = """
        SELECT l.generation, (SELECT coalesce(sum(t.events), 0) FROM public.tally AS t)::bigint AS rows,
            coalesce(('x' || left(l.position, 16))::bit(64)::bigint, 0) AS position
        FROM reprise.live AS l WHERE l.projection = 'tally'
        """

    private static func sight(_ connection: PostgresConnection) async throws -> Sight {
        let row = try #require(try await connection.query(look).first)
        return Sight(
            generation: try row.int("generation"),
            rows: try row.int("rows"),
            position: try row.int("position")
        )
    }

    private func resume(
        _ scene: RebuildScene,
        deadline: Double = 2,
        progress: @escaping @Sendable (RebuildProgress) -> Void = { _ in }
    ) async throws -> RebuildReport {
        var options = RebuildOptions()
        options.resumes = true
        options.patience.deadline = deadline
        return try await scene.rebuild(Tally.self, options: options, progress: progress)
    }

    private func follow(_ scene: RebuildScene) async throws {
        var options = FollowOptions()
        options.endsAtEnd = true
        try await Follow(
            of: Tally.self,
            from: try scene.ledger(),
            into: scene.target,
            options: options
        ).run()
    }

    @Test(
        "O2: a snapshot that is older than a round of the catch-up is waited for",
        arguments: [0, 5]
    )
    func olderThanRound(built: Int) async throws {
        try await withRebuildScene { scene in
            var options = RebuildOptions()
            _ = try await scene.rebuild(Tally.self, options: options)
            try scene.append(counted(0..<built))
            try await follow(scene)
            options.swaps = false
            options.guards = RowGuards(maxShrink: 1, allowsEmpty: true)
            _ = try await scene.rebuild(Tally.self, options: options)
            try scene.append(counted(5..<15))
            try await follow(scene)
            let total = Int64(built + 10)
            try await scene.database.withConnection { reader in
                try await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
                let error = await #expect(throws: ReadModelError.self) {
                    _ = try await resume(scene)
                }
                guard case .cutOverBlocked(_, _, let blockers, false, 2) = error else {
                    Issue.record("got \(String(describing: error))")
                    return
                }
                #expect(blockers.contains { $0.contains("snapshot that is older") })
                let seen = try await Self.sight(reader)
                #expect(seen == Sight(generation: 1, rows: total, position: total))
                try await reader.execute("COMMIT")
            }
            _ = try await resume(scene, deadline: 30)
            let after = try await scene.database.withConnection { try await Self.sight($0) }
            #expect(after == Sight(generation: 2, rows: total, position: total))
        }
    }

    @Test(
        "O2: a snapshot between the last round and the swap sees the position of the rows that it sees"
    )
    func betweenRoundAndSwap() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(0..<5))
            _ = try await scene.rebuild(Tally.self)
            try scene.append(counted(5..<12))
            var options = RebuildOptions()
            options.swaps = false
            _ = try await scene.rebuild(Tally.self, options: options)
            try await scene.database.withConnection { reader in
                try await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
                _ = try await scene.control(Tally.self).swap(patience: CutOverPatience(deadline: 5))
                let seen = try await Self.sight(reader)
                #expect(seen == Sight(generation: 2, rows: 12, position: 12))
                try await reader.execute("COMMIT")
                // And one that is older than a rollback.
                try await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
                _ = try await scene.control(Tally.self).rollback(
                    patience: CutOverPatience(deadline: 5)
                )
                let back = try await Self.sight(reader)
                #expect(back == Sight(generation: 1, rows: 5, position: 5))
            }
        }
    }

    @Test("O2: a dump that has begun is waited for, also where it is newer than the new rows")
    func dump() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(0..<5))
            _ = try await scene.rebuild(Tally.self)
            var options = RebuildOptions()
            options.swaps = false
            _ = try await scene.rebuild(Tally.self, options: options)
            try await scene.database.withConnection { dump in
                // It has a snapshot, and has not yet locked the tables that it is going to read.
                try await dump.execute(
                    "SET application_name = 'pg_dump'; "
                        + "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1"
                )
                try await expectBlocked(by: "application 'pg_dump'") {
                    _ = try await scene.control(Tally.self).swap(
                        patience: CutOverPatience(deadline: 2)
                    )
                }
                try await dump.execute("COMMIT")
            }
            _ = try await scene.control(Tally.self).swap(patience: CutOverPatience(deadline: 5))
        }
    }

    @Test("O2: a snapshot that a walsender hands to others is waited for")
    func exportedSnapshot() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(0..<5))
            _ = try await scene.rebuild(Tally.self)
            // A server may end sessions that keep a snapshot and do nothing.
            let url =
                "\(scene.database.url) application_name=slot "
                + "options='-c idle_in_transaction_session_timeout=0'"
            _ = try await ChildProcess.withRunning("/usr/bin/python3", ["-c", Self.exporter, url]) {
                exporter in
                try await exporter.waitForText("ready\n", on: .output)
                try scene.append(counted(5..<9))
                var options = RebuildOptions()
                options.patience.deadline = 2
                try await expectBlocked(by: "application 'slot'") {
                    _ = try await scene.rebuild(Tally.self, options: options)
                }
                exporter.signal(SIGTERM)
            }
            _ = try await scene.control(Tally.self).swap(patience: CutOverPatience(deadline: 5))
        }
    }

    private func expectBlocked(
        by blocker: String,
        _ body: () async throws -> Void
    ) async throws {
        let error = await #expect(throws: ReadModelError.self) { try await body() }
        guard case .cutOverBlocked(_, _, let blockers, _, _) = error else {
            Issue.record("got \(String(describing: error))")
            return
        }
        #expect(blockers.contains { $0.contains(blocker) }, "\(blockers)")
    }

    /// Makes a logical slot, as tools that copy a database do, and keeps its snapshot.
    private static let exporter = """
        import signal, sys, psycopg2, psycopg2.extras

        connection = psycopg2.connect(
            sys.argv[1], connection_factory=psycopg2.extras.LogicalReplicationConnection)
        connection.cursor().execute(
            "CREATE_REPLICATION_SLOT reprise_export TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT")
        print("ready", flush=True)
        signal.pause()
        """

    @Test(
        "O2: whenever a snapshot is taken, rows and position agree in it, and are not older than it"
    )
    func everyMoment() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        try await withRebuildScene { scene in
            try scene.append(counted((0..<500).map { $0 % 50 }))
            _ = try await scene.rebuild(Tally.self)
            let traffic = Traffic()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<4 {
                    group.addTask {
                        var random = SeededRandom(seed: seed &+ UInt64(index))
                        try await scene.database.withConnection { reader in
                            while !traffic.isDone.load(ordering: .relaxed) {
                                try await Self.read(by: reader, &random)
                                traffic.sights.add(1, ordering: .relaxed)
                            }
                        }
                    }
                }
                group.addTask { try await Self.followUntil(traffic, scene) }
                group.addTask {
                    var random = SeededRandom(seed: seed &+ 99)
                    while !traffic.isDone.load(ordering: .relaxed) {
                        let ids = (0..<Int.random(in: 1...20, using: &random)).map { _ in
                            Int.random(in: 0..<50, using: &random)
                        }
                        try scene.append(counted(ids))
                        try await scene.database.query("SELECT pg_sleep(0.02)")
                    }
                }
                group.addTask {
                    defer { traffic.isDone.store(true, ordering: .relaxed) }
                    for round in 0..<4 {
                        var options = RebuildOptions()
                        options.swaps = round % 2 == 0
                        _ = try await scene.rebuild(Tally.self, options: options)
                        if !options.swaps { _ = try await resume(scene, deadline: 60) }
                        traffic.swaps.add(1, ordering: .relaxed)
                    }
                }
                try await group.waitForAll()
            }
            #expect(traffic.swaps.load(ordering: .relaxed) == 4)
            #expect(traffic.sights.load(ordering: .relaxed) > 20)
        }
    }

    private static func read(
        by reader: PostgresConnection,
        _ random: inout SeededRandom
    ) async throws {
        // What was live before the snapshot was taken is the least that it may see.
        let least = try await sight(reader)
        let level = Bool.random(using: &random) ? "REPEATABLE READ" : "SERIALIZABLE"
        let pause = Double.random(in: 0...0.3, using: &random)
        try await reader.execute("BEGIN ISOLATION LEVEL \(level)")
        try await reader.execute("SELECT 1")
        try await reader.execute("SELECT pg_sleep(\(pause))")
        let seen = try await sight(reader)
        try await reader.execute("COMMIT")
        #expect(seen.rows == seen.position, "\(level), \(pause) s: \(seen)")
        #expect(seen.rows >= least.rows, "\(level), \(pause) s: \(seen), after \(least)")
    }

    private static func followUntil(
        _ traffic: Traffic,
        _ scene: RebuildScene
    ) async throws {
        let follow = Follow(of: Tally.self, from: try scene.ledger(), into: scene.target)
        let task = Task { try await follow.run() }
        while !traffic.isDone.load(ordering: .relaxed) {
            try await scene.database.query("SELECT pg_sleep(0.05)")
        }
        task.cancel()
        try await task.value
    }
}

/// How far it is.
private final class Traffic: Sendable {
    let isDone = Atomic(false)
    let sights = Atomic(0)
    let swaps = Atomic(0)
}
