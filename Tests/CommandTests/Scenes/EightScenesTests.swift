import Foundation
import Ledgers
import Postgres
import TestSupport
import Testing

/// Each scene begins with what an operator sees first and ends when the rows are right.
///
/// What is right is what SQL of the tests' own makes of the ledger's file. Between alarm and end stand
/// four commands at most, each of them printed by the one before.
@Suite("Eight scenes, from alarm to repaired in four commands, each printed by the one before")
struct EightScenesTests {
    /// A shop whose rows are out of date by 100 events.
    private func withStaleShop(
        _ body: @Sendable (RepriseProcess, RebuildScene) async throws -> Void
    ) async throws {
        try await withRebuildScene { scene in
            try await body(try await Self.stale(scene), scene)
        }
    }

    private static func stale(_ scene: RebuildScene) async throws -> RepriseProcess {
        try scene.appendShop(events: 500, seed: 81)
        let reprise = RepriseProcess(scene)
        expect(try await reprise.run("rebuild shop"), exits: 0)
        try scene.appendShop(events: 100, seed: 82)
        return reprise
    }

    /// How rows become wrong, and what says so first.
    enum Harm: String, CaseIterable {
        /// A hand empties a table; status says so.
        case truncated = "TRUNCATE public.order_line"
        /// A hand deletes rows; the follower says so.
        case deleted = "DELETE FROM public.order_summary"
        /// Something else writes rows; the nightly rebuild says so, because three of four go.
        case foreign = """
            INSERT INTO public.customer_totals
            SELECT customer_id + n * 1000000000::bigint, name, country, orders, cancelled_orders, paid_cents,
                last_order_at
            FROM public.customer_totals, generate_series(1, 3) AS n
            """

        var alarm: (command: String, status: Int32) {
            switch self {
            case .truncated: ("status shop", 0)
            case .deleted: ("follow shop --until-caught-up", 5)
            case .foreign: ("rebuild shop", 1)
            }
        }
    }

    @Test("C1: wrong model: rows that somebody else has changed", arguments: Harm.allCases)
    func wrongModel(harm: Harm) async throws {
        try await withStaleShop { reprise, scene in
            if harm == .deleted { try await payOnce(scene) }
            try await scene.database.execute(harm.rawValue)
            let (command, status) = harm.alarm
            let alarm = try await reprise.run(command)
            expect(alarm, exits: status)
            var night = Operator(of: reprise, wokenBy: alarm, of: "reprise \(command)")
            try await night.repair { try await scene.isRight() }
        }
    }

    /// Appends an event of an order that has a row.
    private func payOnce(_ scene: RebuildScene) async throws {
        let order = try await scene.database.query(
            "SELECT min(order_id::text) AS id FROM public.order_summary WHERE cancelled_at IS NULL"
        )
        let id = try #require(order.first).string("id")
        try scene.append([
            NewEvent(
                stream: "order-\(id)",
                type: "OrderPaid",
                data: #"{"orderId":"\#(id)","amountCents":5}"#
            )
        ])
    }

    @Test("C1: stuck rebuild: one that was stopped keeps the nightly one out")
    func stuckRebuild() async throws {
        try await withStaleShop { reprise, scene in
            let (_, woken) = try await scene.database.withConnection { keeper in
                try await keeper.query(
                    "SELECT pg_advisory_lock(hashtextextended('reprise stop prepared', 0))"
                )
                return try await reprise.withRunning(
                    "rebuild shop",
                    environment: ["REPRISE_STOP_AT": "prepared"]
                ) { hung in
                    try await scene.database.waitUntil(
                        "the cut-over waits for the test's lock",
                        """
                        SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
                        WHERE d.datname = current_database() AND l.locktype = 'advisory'
                            AND NOT l.granted
                        """
                    )
                    await hung.stop()
                    try await keeper.execute("SELECT pg_advisory_unlock_all()")
                    let alarm = try await reprise.run("rebuild shop")
                    expect(alarm, exits: 75)
                    var night = Operator(of: reprise, wokenBy: alarm, of: "reprise rebuild shop")
                    // A minute goes by between two looks at the status.
                    night.before[2] = {
                        try await scene.database.execute(
                            """
                            UPDATE reprise.run SET heartbeat_at = now() - interval '61 s'
                            WHERE state = 'running'
                            """
                        )
                    }
                    try await night.repair { try await scene.isRight() }
                    #expect(night.typed.count == 3)
                    hung.signal(SIGCONT)
                }
            }
            // The one that was stuck says how to see that nothing is left to be done.
            expect(woken, exits: 75)
            var morning = Operator(of: reprise, wokenBy: woken, of: nil)
            let status = try await morning.typeNext()
            #expect(status.standardOutput.contains("\n  last run    3, rebuild, done at "))
            #expect(try await scene.isRight())
        }
    }

    @Test("C1: blocked swap: a session idle in its transaction, beside a follower")
    func blockedSwap() async throws {
        try await withStaleShop { reprise, scene in
            var reprise = reprise
            reprise.settings = ["REPRISE_DEADLINE_SECONDS": "3"]
            let shop = reprise
            try await scene.spoilByHand()
            let (_, follower) = try await shop.withRunning("follow shop") { follower in
                try await scene.waitUntilCaughtUp()
                try await scene.database.withConnection { idle in
                    try await idle.execute("BEGIN; SELECT count(*) FROM public.order_summary")
                    let alarm = try await shop.run("rebuild shop")
                    expect(alarm, exits: 75)
                    try scene.appendShop(events: 50, seed: 83)
                    var night = Operator(of: shop, wokenBy: alarm, of: "reprise rebuild shop")
                    try await night.repair {
                        try await scene.waitUntilCaughtUp()
                        return try await scene.isRight()
                    }
                    #expect(night.typed.count == 2)
                }
                follower.signal(SIGTERM)
            }
            expect(follower, exits: 0)
        }
    }

    @Test("C1: disk full: the tablespace of the live tables has no room for another generation")
    func diskFull() async throws {
        _ = try await SmallDisk.with(mebibytes: 64) { disk in
            try await PrivateServer.with { server in
                try await server.withScene { scene in
                    try await fill(disk, scene)
                }
            }
        }
    }

    private func fill(_ disk: SmallDisk, _ scene: RebuildScene) async throws {
        let reprise = RepriseProcess(scene)
        try scene.appendShop(events: 20_000, seed: 84)
        expect(try await reprise.run("rebuild shop"), exits: 0)
        try await scene.database.execute("CREATE TABLESPACE small LOCATION '\(disk.folder)'")
        let moves = try await scene.database.query(
            """
            SELECT format('ALTER %s public.%I SET TABLESPACE small',
                CASE relkind WHEN 'i' THEN 'INDEX' ELSE 'TABLE' END, relname) AS move
            FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')
            """
        )
        for move in moves.rows { try await scene.database.execute(try move.string("move")) }
        expect(try await reprise.run("rebuild shop"), exits: 0)
        let size = try await scene.database.query(
            "SELECT sum(pg_total_relation_size(c.oid))::bigint AS bytes FROM pg_class AS c "
                + "WHERE c.relnamespace = 'public'::regnamespace AND relkind = 'r'"
        )
        try scene.appendShop(events: 100, seed: 85)
        try await disk.fill(leaving: try #require(size.first).int("bytes") / 2)
        let alarm = try await reprise.run("rebuild shop")
        expect(alarm, exits: 5, saying: ["SQLSTATE: 53100"])
        var night = Operator(of: reprise, wokenBy: alarm, of: "reprise rebuild shop")
        try await night.repair { try await scene.isRight() }
    }

    /// What of the file is another one.
    enum Damage: String, CaseIterable {
        /// A bit of an event, which SQLite does not notice.
        case payload
        /// The kind of a page, so that SQLite cannot read the events.
        case page
    }

    /// Flips a bit in the file of a ledger: of an event's payload, or of a page's kind.
    private static let flip = """
        import sqlite3, sys
        path, damage = sys.argv[1:3]
        ledger = sqlite3.connect(f'file:{path}?mode=ro', uri=True)
        payload = ledger.execute('SELECT payload FROM events WHERE sequence = 300').fetchone()[0]
        root = ledger.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'events'").fetchone()[0]
        size = ledger.execute('PRAGMA page_size').fetchone()[0]
        ledger.close()
        file = open(path, 'r+b')
        # A letter of a key's name: the JSON stays JSON.
        place = file.read().find(payload.encode()) + 3 if damage == 'payload' else (root - 1) * size
        assert place > 2
        file.seek(place)
        letter = file.read(1)[0]
        file.seek(place)
        file.write(bytes([letter ^ 1]))
        print(place)
        """

    @Test(
        "C1: ledger damaged: a bit of the file is another one, and there is a backup",
        arguments: Damage.allCases
    )
    func ledgerDamaged(damage: Damage) async throws {
        try await withStaleShop { reprise, scene in
            let (ledger, backup) = (scene.ledgerPath, "\(scene.ledgerPath).backup")
            expect(try await reprise.run("ledger backup \(backup)"), exits: 0)
            let place = try await Oracle.run(Self.flip, [ledger, damage.rawValue])
            print("the changed byte: \(place)")
            let alarm = try await reprise.run("rebuild shop")
            // The reducer refuses an event that lacks a key.
            expect(alarm, exits: damage == .page ? 4 : 6)
            var night = Operator(of: reprise, wokenBy: alarm, of: "reprise rebuild shop")
            night.words = ["BACKUP": backup, "PROJECTION": "shop"]
            // What the message says in words.
            night.before[2] = {
                for end in ["", "-wal", "-shm"]
                where FileManager.default.fileExists(atPath: ledger + end) {
                    try FileManager.default.moveItem(
                        atPath: ledger + end,
                        toPath: "\(ledger)\(end).damaged"
                    )
                }
            }
            try await night.repair { try await scene.wrongRows(by: backup).isEmpty }
            let verified = try await reprise.run("ledger verify")
            expect(verified, exits: 0)
        }
    }

    @Test("C1: database restarted: in the middle of a rebuild, and under a follower")
    func databaseRestarted() async throws {
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                let reprise = try await Self.stale(scene)
                try await scene.spoilByHand()
                let (_, follower) = try await reprise.withRunning("follow shop") { follower in
                    try await scene.waitUntilCaughtUp()
                    let alarm = try await crash(server, during: "rebuild shop", reprise, scene)
                    expect(alarm, exits: 75)
                    try await follower.waitForText("Trying again.")
                    try await server.start()
                    try scene.appendShop(events: 50, seed: 86)
                    var night = Operator(of: reprise, wokenBy: alarm, of: "reprise rebuild shop")
                    try await night.repair {
                        try await scene.waitUntilCaughtUp()
                        return try await scene.isRight()
                    }
                    follower.signal(SIGTERM)
                }
                expect(follower, exits: 0)
            }
        }
    }

    /// Crashes the server while the rows of a rebuild are loaded.
    private func crash(
        _ server: PrivateServer,
        during command: String,
        _ reprise: RepriseProcess,
        _ scene: RebuildScene
    ) async throws -> ChildProcess.Outcome {
        try await scene.holdLoads()
        return try await scene.database.withConnection { keeper in
            try await keeper.execute("SELECT pg_advisory_lock(4711)")
            return try await reprise.withRunning(command) { _ in
                try await scene.database.waitUntil(
                    "a COPY waits for the test's lock",
                    """
                    SELECT FROM pg_stat_activity WHERE datname = current_database()
                        AND wait_event = 'advisory' AND query LIKE 'COPY%'
                    """
                )
                try await server.stop(.immediate)
            }.outcome
        }
    }

    @Test("C1: going back: what is live is wrong; and forward again, and back")
    func goingBack() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 300, seed: 87)
            let reprise = RepriseProcess(scene)
            let old = "\(scene.ledgerPath).old"
            expect(try await reprise.run("ledger backup \(old)"), exits: 0)
            try scene.appendShop(events: 300, seed: 88)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            // Somebody rebuilds from last week's copy.
            let mistake = "rebuild shop --ledger \(old) --allow-older --max-shrink 100"
            let alarm = try await reprise.run(mistake)
            expect(alarm, exits: 0)
            let wrong = try await scene.shopDigest()
            var night = Operator(of: reprise, wokenBy: alarm, of: "reprise \(mistake)")
            try await night.repair { try await scene.isRight() }
            #expect(night.typed == ["reprise rollback shop --without-ledger"])
            expect(try await night.typeNext(), exits: 0)
            #expect(night.typed.last == "reprise swap shop --allow-older --without-ledger")
            #expect(try await scene.shopDigest() == wrong)
            while night.typed.count < Operator.mostCommands { try await night.typeNext() }
            #expect(try await scene.isRight())
        }
    }

    private static let followsTheNew = """
        SELECT FROM reprise.follower
        WHERE projection = 'shop' AND generation = 2 AND events > 0
        """

    @Test(
        "C1: changed reducer: status says so, before the rebuild and after it",
        arguments: [false, true]
    )
    func changedReducer(isRebuilt: Bool) async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 500, seed: 89)
            let old = RepriseProcess(scene)
            var new = old
            new.program = try ChangedReducerTests.newProgram(in: old.folder)
            let deployed = new
            expect(try await old.run("rebuild shop"), exits: 0)
            let (_, ended) = try await old.withRunning("follow shop") { follower in
                try await scene.waitUntilCaughtUp()
                if isRebuilt { expect(try await deployed.run("rebuild shop"), exits: 0) }
                if isRebuilt { try await follower.waitForText("Another program made generation 2") }
                try scene.appendShop(events: 300, seed: 90)
                if !isRebuilt { try await scene.waitUntilCaughtUp() }
                let alarm = try await deployed.run("status shop")
                #expect(alarm.standardOutput.contains("changed since generation 1") != isRebuilt)
                var night = Operator(of: deployed, wokenBy: alarm, of: nil)
                night.programs = ["reprise-new": deployed.program]
                night.awaitFollower = {
                    try await scene.waitUntilCaughtUp()
                    try await scene.database.waitUntil("it says so", Self.followsTheNew)
                }
                night.before[2] = { try scene.appendShop(events: 100, seed: 91) }
                try await night.repair {
                    let follows = try await scene.database.query(Self.followsTheNew)
                    guard follows.first != nil else { return false }
                    return try await scene.isRight()
                }
                #expect(night.typed.count == (isRebuilt ? 1 : 2))
            }
            expect(ended, exits: 3)
        }
    }
}
