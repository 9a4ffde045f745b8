import Ledgers
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import TestSupport
import Testing

@Suite("A live projector beside rebuilds")
struct ProjectorTests {
    @Test("H53: every event counts once, however often the tables change under the projector")
    func nothingLostNothingTwice() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted([1, 2, 3]))
            _ = try await scene.rebuild(Tally.self)
            let projector = TallyProjector(scene: scene)
            let swaps = 20
            var rollbacks = 0
            for round in 1...swaps {
                try scene.append(counted([round, 1, 2]))
                // A projector that works during the rebuild makes the position guard refuse it.
                async let applied = projector.catchUp()
                try await rebuildPast(scene)
                _ = try await applied
                if round.isMultiple(of: 5) {
                    _ = try await scene.control(Tally.self).rollback(patience: CutOverPatience())
                    rollbacks += 1
                }
            }
            try await projector.catchUp()
            let total = 3 + 3 * swaps
            let sums = try await scene.database.query(
                """
                SELECT (SELECT sum(events) FROM public.tally)::bigint AS by_id,
                    (SELECT sum(events) FROM public.tally_day)::bigint AS by_day,
                    (SELECT count(*) FROM reprise.swap WHERE kind = 'swap') AS swaps
                """
            ).first
            #expect(try sums?.int("by_id") == Int64(total))
            #expect(try sums?.int("by_day") == Int64(total))
            #expect(try sums?.int("swaps") == Int64(swaps + 1))
            #expect(rollbacks == 4)
            let live = try await scene.rows(of: "public.tally")
            _ = try await scene.rebuild(Tally.self)
            #expect(try await scene.rows(of: "public.tally") == live, "as a fresh fold has it")
        }
    }

    private func rebuildPast(_ scene: RebuildScene) async throws {
        while true {
            do {
                _ = try await scene.rebuild(Tally.self)
                return
            } catch ReadModelError.behindLive {
                continue
            }
        }
    }

    @Test(
        "H54: an event of an earlier id that is committed during the load stops the swap",
        arguments: [Strategy.swap, .truncate]
    )
    func lateEvent(strategy: Strategy) async throws {
        try await withRebuildScene { scene in
            try scene.append(counted([1]))
            _ = try await scene.rebuild(Tally.self)
            try scene.append(counted([2]))
            let before = try await scene.rows(of: "public.tally")
            var options = RebuildOptions()
            options.strategy = strategy
            let late = NewEvent(
                id: EventID(high: 0x0000_0000_0001_7000, low: 0x8000_0000_0000_0001),
                time: Timestamp(milliseconds: 1),
                stream: "tally-3",
                type: "Counted",
                data: #"{"id":3}"#
            )
            let error = await #expect(throws: RebuildError.self) {
                _ = try await scene.rebuild(Tally.self, options: options) { step in
                    guard case .folded = step else { return }
                    try? scene.append([late])
                }
            }
            #expect(
                error == .ledgerChangedBehind(projection: "tally", folded: 2, found: 3)
            )
            #expect(try await scene.rows(of: "public.tally") == before)
            _ = try await scene.rebuild(Tally.self, options: options)
            #expect(try await scene.database.count("public.tally") == 3)
        }
    }
}

/// Applies events to the live tables as a projector in any language would: it takes the checkpoint's
/// row, and writes rows and position in one transaction.
private struct TallyProjector: Sendable {
    let scene: RebuildScene

    /// Goes on until there is nothing behind the checkpoint.
    ///
    /// - Returns: Events that it applied.
    @discardableResult
    func catchUp() async throws -> Int {
        try await scene.database.withConnection { connection in
            var applied = 0
            while true {
                let step = try await connection.withTransaction { try await apply(on: $0) }
                if step == 0 { return applied }
                applied += step
            }
        }
    }

    private func apply(on connection: PostgresConnection) async throws -> Int {
        let checkpoint = try await connection.query(
            "SELECT position FROM reprise.checkpoint WHERE projection = 'tally' FOR UPDATE"
        ).first
        let position = checkpoint?["position"].flatMap { Position($0) }
        let (ids, days, end) = try events(behind: position)
        for (id, day) in zip(ids, days) {
            try await connection.query(
                """
                INSERT INTO public.tally AS t (id, events, label) VALUES ($1, 1, 'new')
                ON CONFLICT (id) DO UPDATE SET events = t.events + 1
                """,
                [.int(id)]
            )
            try await connection.query(
                """
                INSERT INTO public.tally_day AS t (day, events) VALUES ($1, 1)
                ON CONFLICT (day) DO UPDATE SET events = t.events + 1
                """,
                [.text("\(day)")]
            )
        }
        guard let end else { return 0 }
        try await connection.query(
            "UPDATE reprise.checkpoint SET position = $1 WHERE projection = 'tally'",
            [.text("\(end)")]
        )
        return ids.count
    }

    private func events(behind position: Position?) throws -> ([Int64], [Day], Position?) {
        let ledger = try SQLiteLedger(path: scene.ledgerPath)
        guard let end = try ledger.safePosition(), end != position else { return ([], [], nil) }
        var ids: [Int64] = []
        var days: [Day] = []
        try ledger.withReader(of: PositionSpan(after: position, through: end)) { reader in
            let batch = EventBatch()
            while try reader.fill(batch) {
                try batch.forEach { event in
                    ids.append(try event.payload.int64("id"))
                    days.append(event.time.day)
                }
            }
        }
        return (ids, days, end)
    }
}
