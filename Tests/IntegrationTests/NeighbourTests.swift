import Postgres
import ReadModels
import Rebuilder
import ShopProjection
import TestSupport
import Testing

/// What others do with the tables meanwhile, whom a run neither harms nor fails because of.
@Suite("Sessions beside a run")
struct NeighbourTests {
    @Test("a lock on a live table that a plan waits for is reported with its holder")
    func planBesideLock() async throws {
        try await withRebuildScene { scene in
            try await makeTally(in: scene)
            try await scene.database.withConnection { holder in
                try await holder.execute("BEGIN; LOCK TABLE public.tally IN ACCESS EXCLUSIVE MODE")
                let error = await #expect(throws: ReadModelError.self) {
                    try await scene.plan(Tally.self)
                }
                guard case .lockedOut(_, let blockers) = error else {
                    Issue.record("another error: \(error as Any)")
                    return
                }
                #expect(blockers.contains { $0.hasPrefix("pid \(holder.backendPID)") })
            }
        }
    }

    @Test("a plan beside a run that makes the home of its generation is made for the next one")
    func planBesideRun() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted([1]))
            _ = try await scene.rebuild(Tally.self)
            try await scene.database.withConnection { other in
                try await other.execute("BEGIN; CREATE SCHEMA tally__g2")
                async let planned = scene.plan(Tally.self)
                try await scene.database.waitUntil(
                    "the plan waits for the name",
                    """
                    SELECT FROM pg_stat_activity WHERE datname = current_database()
                        AND application_name = 'reprise plan' AND wait_event_type = 'Lock'
                    """
                )
                try await other.execute("COMMIT")
                let plan = try await planned
                #expect(plan.refusals == [])
                #expect(plan.homeSchema != "tally__g2")
            }
        }
    }

    @Test("a generation that a reader has locked is kept, and no reader waits behind the drop")
    func dropBesideReader() async throws {
        try await withBuiltTally { scene in
            _ = try await scene.control(Tally.self).swap(patience: CutOverPatience())
            try await scene.database.withConnection { reader in
                try await reader.execute("BEGIN; SELECT FROM tally__g1.tally")
                let pruned = try await scene.control(Tally.self).prune(keep: 0)
                #expect(pruned.dropped == [])
                #expect(pruned.postponed[1]?.contains("could not obtain lock") == true)
            }
            #expect(try await scene.control(Tally.self).prune(keep: 0).dropped == [1])
        }
    }

    @Test("a load that has waited for a lock in vain tries again")
    func secondAttempt() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 300, seed: 62)
            _ = try await scene.rebuild(Shop.self)
            try await scene.database.withConnection { holder in
                try await holder.execute("BEGIN; LOCK TABLE reprise.generation IN SHARE MODE")
                async let report = scene.rebuild(Shop.self)
                let waiting = """
                    SELECT a.xact_start FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
                    WHERE l.relation = 'reprise.generation'::regclass AND NOT l.granted
                        AND a.application_name = 'reprise load'
                    """
                let first = try await scene.database.waitUntil("the load waits", waiting)
                try await scene.database.waitUntil(
                    "it waits in a transaction of its own again",
                    waiting + " AND a.xact_start > $1",
                    [.text(try first.string("xact_start"))]
                )
                try await holder.execute("COMMIT")
                #expect(try await report.generation == 2)
            }
        }
    }
}
