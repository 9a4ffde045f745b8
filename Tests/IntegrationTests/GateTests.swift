import Foundation
import Postgres
import Rebuilder
import Synchronization
import TestSupport
import Testing

@testable import ReadModels

@Suite("The gates of a cut-over")
struct GateTests {
    @Test("H45: a prepared transaction is named by its gid, and nobody queues behind it")
    func preparedTransaction() async throws {
        try await withBuiltTally { scene in
            let gid = "gid of \(scene.database.name)"
            try await scene.database.execute(
                "BEGIN; SELECT FROM public.tally; PREPARE TRANSACTION '\(gid)'"
            )
            let error = await #expect(throws: ReadModelError.self) {
                _ = try await scene.control(Tally.self).swap(
                    patience: CutOverPatience(deadline: 0.3)
                )
            }
            #expect(
                String(describing: error).contains("the prepared transaction '\(gid)' of user ")
            )
            let warnings = try await scene.findings(.warn)
            #expect(warnings.contains { $0.contains("prepared transaction '\(gid)'") })
            try await scene.database.execute("ROLLBACK PREPARED '\(gid)'")
            let result = try await scene.control(Tally.self).swap(patience: CutOverPatience())
            #expect(result.generation == 2 && result.longestFailedWait == 0)
        }
    }

    @Test(
        "H46, H47: a snapshot that is older than the new rows is waited for",
        arguments: Holder.allCases
    )
    func oldSnapshot(holder: Holder) async throws {
        try await withTallyBuilt(behind: holder) { scene, pid, release in
            let error = await #expect(throws: ReadModelError.self) {
                _ = try await scene.control(Tally.self).swap(
                    patience: CutOverPatience(deadline: 0.3)
                )
            }
            #expect(
                String(describing: error).contains(
                    "a snapshot that is older than the new rows: pid \(pid), user "
                )
            )
            #expect(try await scene.liveGeneration() == 1)
            async let swapping = scene.control(Tally.self).swap(patience: CutOverPatience())
            let first = try await scene.waitForSession("reprise swap")
            try await scene.waitForSession("reprise swap", otherThan: first)
            try await release()
            let result = try await swapping
            #expect(result.generation == 2 && result.warnings.isEmpty)
        }
    }

    @Test("with the policy to proceed an old snapshot is told")
    func proceed() async throws {
        try await withTallyBuilt(behind: .transaction) { scene, pid, release in
            var patience = CutOverPatience()
            patience.oldSnapshots = .proceed
            let result = try await scene.control(Tally.self).swap(patience: patience)
            #expect(result.generation == 2)
            #expect(result.warnings.contains { $0.contains("pid \(pid), user ") })
            try await release()
        }
    }

    @Test("a reload waits for the snapshots of its beginning")
    func oldSnapshotOfReload() async throws {
        try await withTallyBuilt(behind: .transaction) { scene, pid, release in
            func reload(deadline: Double) async throws -> RebuildReport {
                var options = RebuildOptions()
                options.strategy = .truncate
                options.patience = CutOverPatience(deadline: deadline)
                return try await scene.rebuild(Tally.self, options: options)
            }
            let error = await #expect(throws: ReadModelError.self) {
                _ = try await reload(deadline: 0.3)
            }
            #expect(String(describing: error).contains("pid \(pid), user "))
            try await release()
            #expect(try await reload(deadline: 30).isLive)
        }
    }

    @Test("a snapshot that is newer than the rows is no matter, also while an old writer lives")
    func newSnapshot() async throws {
        try await withRebuildScene { scene in
            try await scene.database.execute("CREATE TABLE public.other (n int)")
            try await scene.database.withConnection { writer in
                // Its transaction number holds back the horizon of everybody who comes later.
                try await writer.execute("BEGIN; INSERT INTO public.other VALUES (1)")
                try await makeBuiltTally(in: scene)
                try await scene.database.withConnection { reader in
                    try await reader.execute(
                        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM public.other"
                    )
                    let result = try await scene.control(Tally.self).swap(
                        patience: CutOverPatience(outageBudget: 20_000)
                    )
                    #expect(result.generation == 2 && result.attempts == 1)
                }
            }
        }
    }

    @Test(
        "sessions that load the tables of another rebuild are not waited for, and no others pass",
        arguments: [
            ("reprise load", true), ("reprise load 2", true), ("reprise load 64", true),
            ("reprise index", true), ("reprise prune", true), ("reprise load two", false),
            ("a reprise load", false), ("reprise", false),
        ]
    )
    func sessionsOfAnotherLoad(application: String, passes: Bool) async throws {
        try await withTallyBuilt(behind: .transaction, named: application) { scene, pid, release in
            let patience = CutOverPatience(outageBudget: 20_000, deadline: passes ? 30 : 0.3)
            if passes {
                let result = try await scene.control(Tally.self).swap(patience: patience)
                #expect(result.generation == 2 && result.attempts == 1)
            } else {
                let error = await #expect(throws: ReadModelError.self) {
                    _ = try await scene.control(Tally.self).swap(patience: patience)
                }
                #expect(String(describing: error).contains("older than the new rows: pid \(pid)"))
            }
            try await release()
        }
    }

    @Test("while the postpone file is there the cut-over waits, and no deadline runs")
    func postponed() async throws {
        try await withBuiltTally { scene in
            try await withScratchFolder { folder in
                let file = "\(folder)/not yet"
                #expect(FileManager.default.createFile(atPath: file, contents: nil))
                var patience = CutOverPatience(outageBudget: 20_000, deadline: 0)
                patience.postponeFile = file
                let said = Mutex<[String]>([])
                let result = try await scene.control(Tally.self).swap(patience: patience) { text in
                    said.withLock { $0.append(text) }
                    // It waits from here on; longer than the deadline.
                    Task {
                        try await scene.waitForSession("reprise run")
                        try FileManager.default.removeItem(atPath: file)
                    }
                }
                #expect(result.generation == 2)
                let texts = said.withLock(\.self)
                #expect(texts.count == 1 && texts[0].contains("'\(file)'"))
            }
        }
    }

    @Test("the plan tells who would be waited for, and what runs inside the cut-over")
    func findings() async throws {
        try await withBuiltTally { scene in
            #expect(try await scene.findings(.warn) == [])
            #expect(try await scene.findings(.ok).contains { $0.hasPrefix("deadlock_timeout ") })
            try await scene.database.execute(
                """
                CREATE FUNCTION public.audit() RETURNS event_trigger LANGUAGE plpgsql AS
                    'BEGIN END';
                CREATE EVENT TRIGGER audit_ddl ON ddl_command_end EXECUTE FUNCTION public.audit();
                CREATE EVENT TRIGGER silent ON ddl_command_end EXECUTE FUNCTION public.audit();
                ALTER EVENT TRIGGER silent DISABLE;
                """
            )
            try await scene.database.withConnection { blocker in
                try await blocker.execute("BEGIN; SELECT FROM public.tally")
                try await scene.waitUntilLocksAreOld(of: blocker.backendPID)
                let warnings = try await scene.findings(.warn)
                #expect(warnings.count == 2)
                #expect(warnings.contains { $0.contains("pid \(blocker.backendPID)") })
                #expect(warnings.contains { $0.hasPrefix("event trigger audit_ddl: public.audit") })
            }
            let strict = try await scene.findings(.warn, after: "SET deadlock_timeout = '50ms'")
            #expect(
                strict.contains { $0.hasPrefix("deadlock_timeout 50 ms: a lock is waited for 40") }
            )
        }
    }

    @Test(
        "the limits of an attempt leave room for the swap, whatever the budget",
        arguments: 1...600
    )
    func rungs(budget: Int) {
        for (attempt, timeout) in LockLadder.timeouts.enumerated() {
            let rung = Rung(attempt: attempt + 1, lockTimeout: timeout, budget: budget)
            #expect(rung.lockTimeout >= 1 && rung.lockTimeout <= timeout)
            #expect(rung.lockTimeout <= rung.locksTimeout)
            #expect(rung.locksTimeout <= budget - min(50, budget / 4))
            let slow = Rung(lockTimeout: timeout, budget: budget, lastBatch: Double(budget) * 0.6)
            #expect(slow.locksTimeout <= max(1, budget - Int(Double(budget) * 0.6)))
            #expect(Rung(lockTimeout: timeout, budget: budget, lastBatch: 1e6).locksTimeout >= 1)
        }
    }
}

// MARK: - The scene

/// What holds an old snapshot.
enum Holder: CaseIterable {
    /// A transaction in REPEATABLE READ that has read another table.
    case transaction
    /// A long statement that may yet call a function that reads the live table.
    case statement
}

/// Runs `body` with a generation that was built after somebody took a snapshot.
///
/// `body` gets the holder's pid, and what lets its snapshot go.
private func withTallyBuilt(
    behind holder: Holder,
    named application: String = "reader",
    _ body: (RebuildScene, Int32, @Sendable () async throws -> Void) async throws -> Void
) async throws {
    try await withRebuildScene { scene in
        try await scene.database.execute("CREATE TABLE public.other (n int)")
        try await makeTally(in: scene)
        try await scene.database.withConnection { reader in
            switch holder {
            case .transaction:
                try await reader.execute("SET application_name = \(SQLText.literal(application))")
                try await reader.execute(
                    "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM public.other"
                )
                try await buildNext(in: scene)
                try await body(scene, reader.backendPID) { try await reader.execute("COMMIT") }
            case .statement:
                let asking = Task {
                    try await reader.query("SELECT count(*), pg_sleep(600) FROM public.other")
                }
                try await scene.database.waitUntil(
                    "the statement runs",
                    "SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'",
                    [.int(Int64(reader.backendPID))]
                )
                defer { reader.cancel() }
                try await buildNext(in: scene)
                try await body(scene, reader.backendPID) { reader.cancel() }
                await #expect(throws: ServerError.self) { _ = try await asking.value }
            }
        }
    }
}

extension RebuildScene {
    /// What a plan would say of the circumstances, of one level.
    fileprivate func findings(
        _ level: Finding.Level,
        after setting: String = "SELECT"
    ) async throws -> [String] {
        try await database.withConnection { connection in
            try await connection.execute(setting)
            let tables = try await connection.query(
                "SELECT oid FROM pg_class WHERE relname IN ('tally', 'tally_day') "
                    + "AND relnamespace = 'public'::regnamespace"
            ).rows.map { UInt32(try $0.int("oid")) }
            return try await Gates.findings(of: tables, on: connection).filter {
                $0.level == level
            }.map(\.text)
        }
    }
}
