import Foundation
import LedgerKit
import Ledgers
import ProjectionKit
import Postgres
import ReadModels
import Rebuilder
import TestSupport
import Testing

/// What a ledger promises its readers, beside any number of writers.
///
/// `make soak` asks for 500 seeds; `REPRISE_TEST_SEED` brings one back.
@Suite("A ledger under traffic", .serialized)
struct LedgerTrafficTests {
    private static let seeds: [UInt64] = {
        let environment = ProcessInfo.processInfo.environment
        if let seed = environment["REPRISE_TEST_SEED"].flatMap({ UInt64($0) }) { return [seed] }
        let count = environment["REPRISE_TEST_SOAK"] == nil ? 10 : 500
        return (0..<count).map { _ in UInt64.random(in: 1...999_999_999) }
    }()

    @Test(
        "a follower, a restarted one and a rebuild read every stream as it was appended",
        arguments: seeds
    )
    func sameRows(seed: UInt64) async throws {
        print("ledger traffic: seed \(seed)")
        try await withRebuildScene { scene in
            try await withScratchFolder { folder in
                try await run(seed, scene, folder)
            }
        }
    }

    private func run(_ seed: UInt64, _ scene: RebuildScene, _ folder: String) async throws {
        let first = NewEvent(stream: "shared", type: "Happened", data: #"{"w":-2,"n":0}"#)
        try scene.append([first])
        _ = try await scene.rebuild(StreamLog.self)
        let traffic = LedgerTraffic(seed: seed, path: scene.ledgerPath, folder: folder)
        let half = traffic.totalSteps / 2
        let before = following(scene)
        async let isWritten: Void = traffic.run()
        await traffic.steps.reach(half)
        before.cancel()
        _ = try await before.value
        let after = following(scene)
        _ = try await scene.rebuild(StreamLog.self)
        try await isWritten
        after.cancel()
        _ = try await after.value
        try await follow(scene, untilEnd: true)

        let oracle = try await Oracle.read(scene.ledgerPath, writers: traffic.writers + 1)
        #expect(oracle.problems == [], "seed \(seed)")
        #expect(try await Self.rows(scene) == oracle.rows, "the follower's, seed \(seed)")
        _ = try await scene.rebuild(StreamLog.self)
        #expect(try await Self.rows(scene) == oracle.rows, "a rebuild's, seed \(seed)")
        #expect(try LedgerVerify.run(path: scene.ledgerPath).findings == [], "seed \(seed)")
    }

    private func following(_ scene: RebuildScene) -> Task<Void, any Error> {
        Task { try await follow(scene, untilEnd: false) }
    }

    private func follow(_ scene: RebuildScene, untilEnd: Bool) async throws {
        var options = FollowOptions()
        options.endsAtEnd = untilEnd
        try await Follow(
            of: StreamLog.self,
            from: try SQLiteLedger(path: scene.ledgerPath),
            into: scene.target,
            options: options
        ).run()
    }

    private static func rows(_ scene: RebuildScene) async throws -> [String] {
        let result = try await scene.database.query(
            #"SELECT stream || ' ' || events || ' ' || chain AS line FROM public.stream_log ORDER BY stream COLLATE "C""#
        )
        return try result.rows.map { try $0.string("line") }
    }
}

/// The ledger as Python reads it.
private struct Oracle {
    /// Stream, events and chain, by stream.
    var rows: [String] = []
    /// Writers whose events are not there once and in order.
    var problems: [String] = []

    static func read(_ path: String, writers: Int) async throws -> Oracle {
        let outcome = try await ChildProcess.run("/usr/bin/python3", ["-c", program, path])
        var oracle = Oracle()
        guard outcome.status == 0 else {
            oracle.problems = [outcome.standardError]
            return oracle
        }
        for line in outcome.standardOutput.split(separator: "\n") {
            if line.hasPrefix("!") {
                oracle.problems.append(String(line.dropFirst()))
            } else {
                oracle.rows.append(String(line))
            }
        }
        return oracle
    }

    private static let program = """
        import json, sqlite3, sys
        db = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
        rows, numbers, ids, last = {}, {}, set(), 0
        for sequence, stream, payload, name in db.execute(
                "SELECT sequence, stream, payload, id FROM events ORDER BY sequence"):
            if sequence != last + 1: print(f"!event {sequence} follows {last}")
            last = sequence
            data = json.loads(payload)
            events, chain = rows.get(stream, (0, 0))
            rows[stream] = (events + 1, (chain * 31 + data["n"]) % 2147483647)
            numbers.setdefault(data["w"], []).append(data["n"])
            if name is not None and name in ids: print(f"!id {name} stands twice")
            ids.add(name)
        for writer, seen in numbers.items():
            if seen != list(range(len(seen))): print(f"!writer {writer}: {seen[:50]}")
        if len(numbers[3]) != 3000: print(f"!{len(numbers[3])} imported")
        for stream in sorted(rows, key=lambda s: s.encode()):
            print(stream, *rows[stream])
        """
}
