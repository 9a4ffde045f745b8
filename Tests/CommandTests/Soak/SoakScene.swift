import Foundation
import Postgres
import ProjectionKit
import TestSupport
import Testing

@testable import Ledgers

/// A shop at work: a writer, a live projector and readers, and a plan that is carried out beside them.
struct SoakScene: Sendable {
    let scene: RebuildScene
    let projector: ShopProjector
    let plan: SoakPlan
    /// How many swaps there must be at least; rebuilds without a fault follow the plan until then.
    let swaps: Int
    /// Events that the writer appends in a second.
    let rate: Int
    /// The server, where the plan may crash it.
    var server: PrivateServer?

    private var reprise: RepriseProcess { RepriseProcess(scene) }
    private var hasFaults: Bool { server != nil }

    /// Carries the plan out, and compares.
    func run() async throws {
        print("soak: \(projector), \(plan)")
        try await projector.requireInstalled()
        try scene.appendShop(events: 2_000, seed: 71)
        expect(try await reprise.run("rebuild shop"), exits: 0)
        let writer = KeptProcess(atMost: 1_000) { begun in
            try await reprise.withRunning("ledger generate --rate \(rate) --seed 72") {
                await begun($0)
            }.outcome
        }
        let follower = KeptProcess(atMost: 1_000) { begun in
            try await projector.withRunning(in: scene) { await begun($0) }.outcome
        }
        let readers = [SoakReader(), SoakReader()]
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await writer.run() }
            group.addTask { try await follower.run() }
            for reader in readers { group.addTask { await reader.read(scene.database) } }
            do {
                try await carryOut(writer, follower)
                await writer.stop()
                await waitForEnd(of: writer)
                try await scene.waitUntilCaughtUp(within: .seconds(600))
            } catch {
                await end([writer, follower], readers)
                throw error
            }
            await end([writer, follower], readers)
            try await group.waitForAll()
        }
        try await expectCleanEnd(writer, follower)
        try await expectRightLooks(readers)
        try await expectCounts()
        try await scene.expectFreshFold()
    }

    private func end(_ processes: [KeptProcess], _ readers: [SoakReader]) async {
        for process in processes { await process.stop() }
        for reader in readers { await reader.close() }
    }

    private func waitForEnd(of process: KeptProcess) async {
        while await process.isRunning { await Task.yield() }
    }
}

// MARK: - The plan

extension SoakScene {
    private func carryOut(_ writer: KeptProcess, _ follower: KeptProcess) async throws {
        for step in plan.steps {
            switch step {
            case .rollback: try await rollBack()
            case .rebuild(let fault): try await rebuild(fault, writer, follower)
            }
        }
        var made = try await count("swap")
        for _ in 0..<(3 * swaps) where made < swaps {
            try await rebuild(nil, writer, follower)
            made = try await count("swap")
        }
        #expect(made >= swaps)
    }

    private func rebuild(
        _ fault: SoakPlan.Fault?,
        _ writer: KeptProcess,
        _ follower: KeptProcess
    ) async throws {
        let before = try await count("swap")
        let (wasStruck, outcome) = try await reprise.withRunning(
            "rebuild shop --keep 2 --outage-budget 500"
        ) { child in
            guard let fault else { return false }
            do {
                try await child.waitForText("shop: \(fault.stage)\n")
            } catch is ChildProcess.NotWritten {
                return false
            }
            try await strike(fault.kind, tool: child, writer, follower)
            return true
        }
        let swapped = try await count("swap") > before
        print(
            "soak: rebuild ended with \(outcome.status)\(swapped ? ", a swap" : "")"
                + (fault.map { "; \($0.stage): \($0.kind.rawValue)\(wasStruck ? "" : " (missed)")" }
                    ?? "")
        )
        expectHonest(outcome, fault, swapped: swapped)
    }

    private func strike(
        _ kind: SoakPlan.Kind,
        tool: ChildProcess,
        _ writer: KeptProcess,
        _ follower: KeptProcess
    ) async throws {
        switch kind {
        case .toolKilled: tool.signal(SIGKILL)
        case .projectorKilled: await follower.kill()
        case .writerKilled: await writer.kill()
        case .toolEnded:
            try await endSessions(
                "application_name LIKE 'reprise %' AND application_name NOT IN ('reprise tests', $1)"
            )
        case .projectorEnded: try await endSessions("application_name = $1")
        case .crash:
            guard let server else { return }
            try await server.stop(.immediate)
            try await server.start()
        }
    }

    private func endSessions(_ condition: String) async throws {
        try await scene.database.query(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND \(condition)
            """,
            [.text(projector.session)]
        )
    }

    private func rollBack() async throws {
        for _ in 1...10 {
            let outcome = try await reprise.run("rollback shop --outage-budget 500")
            print("soak: rollback ended with \(outcome.status)")
            if outcome.status == 0 { return }
            // What died in the rebuild before can leave its sessions for a moment.
            expect(outcome, exits: 75)
        }
        Issue.record("no rollback in ten attempts")
    }

    private func count(_ kind: String) async throws -> Int {
        let row = try await scene.database.query(
            "SELECT count(*) AS n FROM reprise.swap WHERE kind = $1",
            [.text(kind)]
        ).first
        // The first one is not part of the soak.
        return Int(try row?.int("n") ?? 0) - (kind == "swap" ? 1 : 0)
    }
}

// MARK: - Looking

extension SoakScene {
    /// A rebuild ends in one of the ways that its messages know, and says what readers see.
    private func expectHonest(
        _ outcome: ChildProcess.Outcome,
        _ fault: SoakPlan.Fault?,
        swapped: Bool
    ) {
        if outcome.wasKilled {
            #expect(fault?.kind == .toolKilled && outcome.status == SIGKILL)
            return
        }
        let allowed: [Int32] = fault == nil ? [0, 75] : [0, 3, 5, 75]
        #expect(allowed.contains(outcome.status), "\(outcome.status): \(outcome.standardError)")
        if outcome.status == 0 {
            #expect(swapped)
        } else {
            let saysUnchanged = outcome.standardError.contains(unchanged)
            #expect(saysUnchanged != swapped, "swapped: \(swapped); \(outcome.standardError)")
        }
    }

    private func expectCleanEnd(_ writer: KeptProcess, _ follower: KeptProcess) async throws {
        for (name, process) in [("writer", writer), ("projector", follower)] {
            let endings = await process.endings
            print("soak: the \(name) was started \(endings.count) times")
            let last = try #require(endings.last)
            #expect(last.status == 0 && !last.wasKilled, "\(name): \(last)")
            for ending in endings.dropLast() {
                #expect(hasFaults, "\(name) ended by itself: \(ending)")
                // Killed, or the one before has not yet let go.
                #expect(
                    ending.wasKilled && ending.status == SIGKILL || ending.status == 75,
                    "\(name): \(ending.status), \(ending.standardError)"
                )
            }
        }
    }

    private func expectRightLooks(_ readers: [SoakReader]) async throws {
        var looks: [SoakLook] = []
        for reader in readers {
            let (torn, errors, absences) =
                await (reader.torn, reader.errors, reader.absences)
            #expect(torn == [] && errors == [], "\(torn), \(errors)")
            #expect(hasFaults || absences == 0)
            let seen = await reader.looks
            for (earlier, later) in zip(seen, seen.dropFirst())
            where earlier.generation == later.generation {
                #expect(earlier.position < later.position, "\(earlier), then \(later)")
            }
            looks += seen
        }
        let right = try SQLiteLedger(path: scene.ledgerPath)
            .shopSums(at: Set(looks.map(\.position)))
        let wrong = looks.filter { right[$0.position] != $0.sums }
        #expect(wrong == [], "of \(looks.count) looks")
        #expect(looks.count > 10)
        print("soak: \(looks.count) looks, \(Set(looks.map(\.generation)).count) generations")
    }

    /// The tables' sums are those that SQLite itself finds in the ledger.
    private func expectCounts() async throws {
        let events = try SQLiteDatabase.withDatabase(
            path: scene.ledgerPath,
            mode: .read,
            patience: 5_000
        ) { database in
            try Self.counts.map { try database.integer("SELECT \($0.inLedger) FROM events") }
        }
        for (count, expected) in zip(Self.counts, events) {
            let row = try await scene.database.query("SELECT (\(count.inTables))::bigint AS n")
                .first
            #expect(try row?.int("n") == expected, "\(count.inTables)")
        }
        let total = try SQLiteDatabase.withDatabase(
            path: scene.ledgerPath,
            mode: .read,
            patience: 5_000
        ) { try $0.integer("SELECT count(*) FROM events") }
        print(
            "soak: \(total ?? 0) events, \(try await count("swap")) swaps, "
                + "\(try await count("rollback")) rollbacks"
        )
    }

    private static func number(of type: String) -> String {
        "coalesce(sum(type = '\(type)'), 0)"
    }

    private static let counts: [(inLedger: String, inTables: String)] = [
        (number(of: "OrderPlaced"), "SELECT sum(orders) FROM public.customer_totals"),
        (number(of: "OrderPlaced"), "SELECT count(*) FROM public.order_summary"),
        (
            number(of: "OrderCancelled"),
            "SELECT sum(cancelled_orders) FROM public.customer_totals"
        ),
        (number(of: "OrderShipped"), "SELECT count(shipped_at) FROM public.order_summary"),
        (
            number(of: "LineAdded") + " - " + number(of: "LineRemoved"),
            "SELECT count(*) FROM public.order_line"
        ),
        (
            number(of: "CustomerRegistered"),
            "SELECT count(name) FROM public.customer_totals"
        ),
        (
            "sum(json_extract(payload, '$.amountCents')) FILTER (WHERE type = 'OrderPaid')",
            "SELECT sum(paid_cents) FROM public.customer_totals"
        ),
        (
            "sum(json_extract(payload, '$.amountCents')) FILTER (WHERE type = 'OrderPaid')",
            "SELECT sum(paid_cents) FROM public.order_summary"
        ),
    ]
}
