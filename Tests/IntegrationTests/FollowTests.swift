import LedgerKit
import Ledgers
import LoansProjection
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import ShopProjection
import Synchronization
import TestSupport
import Testing

@Suite("Following")
struct FollowTests {
    private static let shopTables = ["order_summary", "order_line", "customer_totals"]

    /// All rows of the tables, in one order.
    private func rows(_ tables: [String], in scene: RebuildScene) async throws -> [String] {
        var rows: [String] = []
        for table in tables { rows += try await scene.rows(of: "public.\(table)") }
        return rows
    }

    private func follow(
        _ projection: any Projection.Type,
        in scene: RebuildScene,
        options: FollowOptions? = nil,
        progress: @escaping @Sendable (FollowProgress) -> Void = { _ in }
    ) async throws {
        var caughtUp = FollowOptions()
        caughtUp.endsAtEnd = true
        try await Follow(
            of: projection,
            from: try scene.ledger(),
            into: scene.target,
            options: options ?? caughtUp,
            progress: progress
        ).run()
    }

    /// Whether what is live is what a rebuild from nothing gives.
    private func expectFresh(
        _ projection: any Projection.Type,
        _ tables: [String],
        in scene: RebuildScene
    ) async throws {
        let followed = try await rows(tables, in: scene)
        var options = RebuildOptions()
        options.guards = RowGuards(maxShrink: 1, allowsEmpty: true)
        _ = try await scene.rebuild(projection, options: options)
        let fresh = try await rows(tables, in: scene)
        #expect(followed == fresh)
    }

    @Test("Live tables that are followed hold what a fold from the beginning gives")
    func shop() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 3_000, seed: 7)
            _ = try await scene.rebuild(Shop.self)
            try scene.appendShop(events: 12_000, seed: 8)
            let log = FollowLog()
            try await follow(Shop.self, in: scene) { log.take($0) }
            #expect(log.obstacles == [nil])
            #expect(log.last?.events == 12_000)
            #expect(log.last?.lagEvents == 0)
            try await expectFresh(Shop.self, Self.shopTables, in: scene)
        }
    }

    @Test("Keys of several columns, rows that go, unique values and foreign keys are followed")
    func seating() async throws {
        try await withRebuildScene { scene in
            try scene.append((1...5).map { Seating.seated($0, on: $0) } + [Seating.noted(3)])
            _ = try await scene.rebuild(Seating.self)
            try scene.append(
                [Seating.noted(3), Seating.left(4), Seating.seated(6, on: 4), Seating.noted(6)]
            )
            let log = FollowLog()
            try await follow(Seating.self, in: scene) { log.take($0) }
            #expect(log.obstacles == [nil])
            try await expectFresh(Seating.self, ["seating", "seat_note"], in: scene)
        }
    }

    @Test("A reducer that begins a table anew is folded from the beginning, and followed")
    func replaced() async throws {
        try await withRebuildScene { scene in
            try scene.append((1...5).map { Seating.seated($0, on: $0) } + [Seating.noted(3)])
            _ = try await scene.rebuild(Seating.self)
            try scene.append(
                [Seating.noted(2), Seating.cleared, Seating.seated(9, on: 1), Seating.noted(9)]
            )
            try await follow(Seating.self, in: scene)
            #expect(try await scene.rows(of: "public.seating") == ["(9,1,1)"])
            try await expectFresh(Seating.self, ["seating", "seat_note"], in: scene)
        }
    }

    @Test("A row that goes and is asked for again in one batch is gone")
    func goneAndAskedFor() async throws {
        try await withRebuildScene { scene in
            try scene.append([Guests.came(1), Guests.came(2), Guests.came(3)])
            _ = try await scene.rebuild(Guests.self)
            try scene.append(
                [
                    Guests.left(1), Guests.came(1), Guests.left(2), Guests.waved(2),
                    Guests.waved(3),
                ]
            )
            try await follow(Guests.self, in: scene)
            #expect(try await scene.rows(of: "public.guest") == ["(1,0)", "(3,1)"])
        }
    }

    @Test("A ledger that ends before the live tables is not followed")
    func shorterLedger() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(1...5))
            _ = try await scene.rebuild(Tally.self)
            try await withScratchFolder { folder in
                var shorter = scene
                shorter.ledgerPath = "\(folder)/shorter.db"
                try SQLiteLedger.create(path: shorter.ledgerPath)
                for events in [[], counted([1])] {
                    try shorter.append(events)
                    let error = await #expect(throws: RebuildError.self) {
                        try await follow(Tally.self, in: shorter)
                    }
                    guard case .ledgerMismatch(let mismatch) = error else {
                        Issue.record("got \(error as Any)")
                        return
                    }
                    guard case .otherLedger = mismatch.difference else {
                        Issue.record("got \(mismatch)")
                        return
                    }
                }
            }
        }
    }

    @Test("A follower that lost its session waits until the server has let go of it")
    func lingeringSession() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(1...5))
            _ = try await scene.rebuild(Tally.self)
            let log = FollowLog()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await follow(Tally.self, in: scene, options: FollowOptions()) {
                        log.take($0)
                    }
                }
                try scene.append(counted([1]))
                try await untilCaughtUp(scene)
                try await scene.database.withConnection { connection in
                    try await connection.holdSessionLock("follow tally")
                    try await connection.execute(
                        """
                        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                        WHERE application_name = 'reprise follow'
                            AND datname = current_database()
                        """
                    )
                    let begin = ContinuousClock.now
                    while !log.warnings.contains(where: { $0.contains("is followed already") }) {
                        try #require(ContinuousClock.now - begin < .seconds(60))
                        await Task.yield()
                    }
                }
                try scene.append(counted([1]))
                try await untilCaughtUp(scene)
                group.cancelAll()
                try await group.waitForAll()
            }
            #expect(try await scene.rows(of: "public.tally").first == "(1,3,new)")
        }
    }

    @Test("What a rebuild has made right since is not warned of")
    func rebuiltSince() async throws {
        let now = LedgerClock.now()
        var options = FollowOptions()
        options.endsAtEnd = true
        // So that a slow machine does not leave the bucket behind.
        options.lateness.horizon = 3_600
        try await withLateScene { scene, _ in
            try scene.append([late(2, at: now)] + counted(1...5))
            _ = try await scene.rebuild(Tally.self)
            try scene.append(counted([1]))
            try await follow(Tally.self, in: scene, options: options)
            try scene.append([late(1, number: 2, at: now)])
            let before = FollowLog()
            try await follow(Tally.self, in: scene, options: options) { before.take($0) }
            #expect(before.warnings.count == 1)
            _ = try await scene.rebuild(Tally.self)
            try scene.append(counted([1]) + [late(3, number: 3, at: now)])
            _ = try await scene.rebuild(Tally.self)
            let after = FollowLog()
            try await follow(Tally.self, in: scene, options: options) { after.take($0) }
            #expect(after.warnings == [])
        }
    }

    @Test("A reducer with working state of its own is folded from the beginning, and followed")
    func workingState() async throws {
        try await withRebuildScene { scene in
            try scene.append([1, 2, 1].map { Remembering.event($0) })
            let report = try await scene.rebuild(Remembering.self)
            #expect(report.workingRows == ["seen": 2])
            #expect(Array(report.rows.keys) == ["remembered"])
            try scene.append([1, 3, 2].map { Remembering.event($0) })
            let log = FollowLog()
            try await follow(Remembering.self, in: scene) { log.take($0) }
            #expect(log.obstacles == ["its table 'seen' is for the reducer alone"])
            try await expectFresh(Remembering.self, ["remembered"], in: scene)
        }
    }

    @Test("Rebuilds, rollbacks and appends beside a follower: nothing is lost and nothing is twice")
    func besideRebuilds() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(1...5))
            _ = try await scene.rebuild(Tally.self)
            try await withThrowingTaskGroup(of: Void.self) { group in
                var options = FollowOptions()
                options.pause = 0.01
                group.addTask { [options] in
                    try await follow(Tally.self, in: scene, options: options)
                }
                for round in 1...8 {
                    try scene.append(counted(1...20))
                    if round.isMultiple(of: 4) {
                        _ = try await scene.control(Tally.self).rollback(
                            patience: CutOverPatience(outageBudget: 200, deadline: 60)
                        )
                    } else {
                        _ = try await scene.rebuild(Tally.self) { progress in
                            guard case .stage = progress else { return }
                            try? scene.append(counted(1...3))
                        }
                    }
                }
                try await untilCaughtUp(scene)
                group.cancelAll()
                try await group.waitForAll()
            }
            let ledger = try scene.ledger()
            let end = try #require(try ledger.safePosition())
            let events = try ledger.buckets(in: PositionSpan(through: end))
            let sum = try await scene.database.query("SELECT sum(events) AS sum FROM public.tally")
            #expect(try sum.first?.int("sum") == Int64(events.map(\.events).reduce(0, +)))
            try await expectFresh(Tally.self, ["tally", "tally_day"], in: scene)
        }
    }

    /// Waits until the checkpoint is at the end of the ledger.
    private func untilCaughtUp(_ scene: RebuildScene) async throws {
        let end = try scene.ledger().safePosition().map { "\($0)" }
        try await scene.database.waitUntil(
            "the end of the ledger",
            "SELECT FROM reprise.checkpoint WHERE position = $1",
            [.text(end ?? "")]
        )
    }

    @Test(
        "A follower of which a session is ended connects again and goes on",
        arguments: ["reprise follow", "reprise follow-lock"]
    )
    func lostConnection(_ session: String) async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(1...5))
            _ = try await scene.rebuild(Tally.self)
            let log = FollowLog()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await follow(Tally.self, in: scene, options: FollowOptions()) {
                        log.take($0)
                    }
                }
                try scene.append(counted([1]))
                try await untilCaughtUp(scene)
                try await scene.database.query(
                    """
                    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
                    WHERE application_name = $1 AND datname = current_database()
                    """,
                    [.text(session)]
                )
                try scene.append(counted([1]))
                try await untilCaughtUp(scene)
                group.cancelAll()
                try await group.waitForAll()
            }
            #expect(log.warnings.contains { $0.hasSuffix("Trying again.") })
            #expect(try await scene.rows(of: "public.tally").first == "(1,3,new)")
        }
    }

    @Test("A follower whose wait for the checkpoint is cancelled as it begins waits again")
    func cancelledWait() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(1...5))
            _ = try await scene.rebuild(Tally.self)
            try scene.append(counted([1]))
            try await scene.database.withConnection { keeper in
                try await keeper.execute("BEGIN; SELECT FROM reprise.checkpoint FOR UPDATE")
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await follow(Tally.self, in: scene) }
                    var last = ""
                    for _ in 1...2 {
                        let waits = """
                            FROM pg_stat_activity WHERE datname = current_database()
                                AND application_name = 'reprise follow'
                                AND wait_event_type = 'Lock' AND query_start::text <> $1
                            """
                        try await scene.database.waitUntil(
                            "the follower waits",
                            "SELECT \(waits)",
                            [.text(last)]
                        )
                        let row = try await scene.database.query(
                            "SELECT query_start::text AS began, pg_cancel_backend(pid) \(waits)",
                            [.text(last)]
                        ).first
                        last = try #require(row?["began"])
                    }
                    try await scene.database.waitUntil(
                        "the follower waits again",
                        """
                        SELECT FROM pg_stat_activity WHERE datname = current_database()
                            AND application_name = 'reprise follow' AND query_start::text <> $1
                        """,
                        [.text(last)]
                    )
                    try await keeper.execute("ROLLBACK")
                    try await group.waitForAll()
                }
            }
            #expect(try await scene.rows(of: "public.tally").first == "(1,2,new)")
        }
    }

    @Test("Late events are applied behind the others, or stop the follower by name")
    func lateEvents() async throws {
        for policy in [LatenessPolicy.accept, .fail] {
            try await withLateScene { scene, _ in
                try scene.append(counted(1...5))
                _ = try await scene.rebuild(Tally.self)
                var options = FollowOptions()
                options.lateness.policy = policy
                let log = FollowLog()
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { [options] in
                        try await follow(Tally.self, in: scene, options: options) { log.take($0) }
                    }
                    try scene.append(counted([1]))
                    try await untilCaughtUp(scene)
                    try scene.append([late(1)])
                    if policy == .accept {
                        try await scene.database.waitUntil(
                            "the late event",
                            "SELECT FROM public.tally WHERE id = 1 AND events = 3"
                        )
                        group.cancelAll()
                        try await group.waitForAll()
                        #expect(
                            log.warnings.contains { $0.hasPrefix("1 events were committed late") }
                        )
                    } else {
                        await #expect(throws: RebuildError.self) { try await group.waitForAll() }
                        #expect(
                            try await scene.rows(of: "public.tally").first == "(1,2,new)"
                        )
                    }
                }
            }
        }
    }

    /// An event of the time that was 20 seconds ago, filed in front of the newest ones.
    private func late(
        _ id: Int,
        number: UInt64 = 1,
        at now: Int64 = LedgerClock.now()
    ) -> NewEvent {
        let time = Timestamp(microseconds: now - 20_000_000)
        return NewEvent(
            id: "\(number)",
            time: time,
            stream: "tally-\(id)",
            type: "Counted",
            data: #"{"id":\#(id)}"#
        )
    }

    @Test("Two do not follow one projection")
    func twoFollowers() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(1...5))
            _ = try await scene.rebuild(Tally.self)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await follow(Tally.self, in: scene, options: FollowOptions())
                }
                try await scene.database.waitUntil(
                    "the first follower",
                    """
                    SELECT FROM pg_stat_activity WHERE application_name = 'reprise follow'
                        AND datname = current_database() AND query LIKE '%FROM reprise.checkpoint%'
                    """
                )
                let error = await #expect(throws: ReadModelError.self) {
                    try await follow(Tally.self, in: scene)
                }
                guard case .followerBusy("tally", _) = error else {
                    Issue.record("got \(error as Any)")
                    return
                }
                group.cancelAll()
                try await group.waitForAll()
            }
        }
    }

    @Test("An event that the reducer refuses stops the follower in front of its batch")
    func rejection() async throws {
        try await withRebuildScene { scene in
            try scene.append((1...5).map { Seating.seated($0, on: $0) })
            _ = try await scene.rebuild(Seating.self)
            let before = try await rows(["seating", "seat_note"], in: scene)
            try scene.append([Seating.noted(1), Seating.noted(99)])
            await #expect(throws: EventRejection.self) {
                try await follow(Seating.self, in: scene)
            }
            #expect(try await rows(["seating", "seat_note"], in: scene) == before)
        }
    }

    @Test("Live tables whose projector keeps its position elsewhere are not followed")
    func anotherProjector() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(1...5))
            _ = try await scene.rebuild(Tally.self)
            var target = scene.target
            target.positionTemplates = ["tally": try .mine()]
            let error = await #expect(throws: ReadModelError.self) {
                try await Follow(
                    of: Tally.self,
                    from: try scene.ledger(),
                    into: target
                ).run()
            }
            guard case .nothingToMove("tally", _) = error else {
                Issue.record("got \(error as Any)")
                return
            }
        }
    }

    @Test("There is nothing to follow before the first rebuild")
    func nothingLive() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted(1...5))
            let error = await #expect(throws: ReadModelError.self) {
                try await follow(Tally.self, in: scene)
            }
            guard case .nothingToMove("tally", _) = error else {
                Issue.record("got \(error as Any)")
                return
            }
        }
    }
}

/// Guests who come, wave and go: nobody comes twice, and who is gone does not wave.
private struct Guests: Projection {
    struct Row: TableRow {
        var id: Int64
        var waves: Int64 = 0
        var key: Int64 { id }

        static let table = TableDefinition<Row>("guest", key: "id") {
            Column("id", \.id)
            Column("waves", \.waves)
        }
    }

    static let name = "guests"
    static let schema: String? = "CREATE TABLE guest (id bigint PRIMARY KEY, waves bigint NOT NULL)"

    var rows = Table<Row>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("id")
        switch event.type {
        case EventType("Came"):
            guard !rows.contains(id) else { throw EventError("the guest is here") }
            rows[id] = Row(id: id)
        case EventType("Waved"): rows[id]?.waves += 1
        case EventType("Left"): rows.remove(id)
        default: break
        }
    }

    static func came(_ id: Int) -> NewEvent { event("Came", id) }
    static func waved(_ id: Int) -> NewEvent { event("Waved", id) }
    static func left(_ id: Int) -> NewEvent { event("Left", id) }

    private static func event(_ type: String, _ id: Int) -> NewEvent {
        NewEvent(stream: "guest-\(id)", type: type, data: #"{"id":\#(id)}"#)
    }
}

/// Counts what it has seen before in a table that nobody else sees.
private struct Remembering: Projection {
    struct Row: TableRow {
        var id: Int64
        var again: Int64 = 0
        var key: Int64 { id }

        static let table = TableDefinition<Row>("remembered", key: "id") {
            Column("id", \.id)
            Column("again", \.again)
        }
    }

    struct Seen: TableRow {
        var id: Int64
        var key: Int64 { id }

        static let table = TableDefinition<Seen>("seen", key: "id") { Column("id", \.id) }
    }

    static let name = "remembering"
    static let schema: String? = """
        CREATE TABLE remembered (id bigint PRIMARY KEY, again bigint NOT NULL)
        """

    var rows = Table<Row>()
    var seen = WorkingTable<Seen>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("id")
        if seen.contains(id) { rows[id, default: Row(id: id)].again += 1 }
        seen[id] = Seen(id: id)
    }

    static func event(_ id: Int) -> NewEvent {
        NewEvent(stream: "remembering", type: "Seen", data: #"{"id":\#(id)}"#)
    }
}
