import Foundation
import TestSupport
import Testing

@Suite("Signals and limits", .serialized)
struct SignalTests {
    @Test("C7: with too little address space a rebuild ends, and one SIGTERM ends it as well")
    func addressSpace() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 5_000, seed: 3)
            var reprise = RepriseProcess(scene)
            let quiet = ["SWIFT_BACKTRACE": "enable=no"]
            expect(try await reprise.run("rebuild shop"), exits: 0)
            var statuses: Set<Int32> = []
            for kilobytes in [160_000, 240_000, 300_000, 350_000, 1_000_000] {
                // SIGKILL by timeout(1) is a command that did not end.
                reprise.launcher = [
                    "sh", "-c", "ulimit -v \(kilobytes); exec timeout -s KILL 60 \"$@\"", "sh",
                ]
                let outcome = try await reprise.run("rebuild shop", environment: quiet)
                statuses.insert(outcome.status)
                #expect(!isStuck(outcome), "\(kilobytes) KiB: \(outcome.standardError)")
                let (_, stopped) = try await reprise.withRunning(
                    "rebuild shop",
                    environment: quiet
                ) { child in
                    try? await child.waitForText("shop: planning\n")
                    child.signal(SIGTERM)
                }
                #expect(!isStuck(stopped), "\(kilobytes) KiB: \(stopped.standardError)")
            }
            // At least one of the limits was too small, and one was not.
            #expect(statuses.contains(0) && statuses.count > 1, "\(statuses)")
        }
    }

    /// Memory that is not there may crash it, but timeout(1) must not have to kill it.
    private func isStuck(_ outcome: ChildProcess.Outcome) -> Bool {
        outcome.status == 137 || (outcome.wasKilled && outcome.status == SIGKILL)
    }

    @Test("C7: with too few files to open the command names the limit, and says not to try again")
    func openFiles() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 100, seed: 3)
            var reprise = RepriseProcess(scene)
            var named = 0
            for limit in 4...24 {
                reprise.launcher = ["sh", "-c", "ulimit -n \(limit); exec \"$@\"", "sh"]
                let outcome = try await reprise.run("status shop")
                #expect(outcome.status != 75, "\(limit): \(outcome.standardError)")
                guard outcome.status == 70 else { continue }
                #expect(outcome.standardError.contains("ulimit -n"), "\(outcome.standardError)")
                named += 1
            }
            #expect(named > 0)
        }
    }

    @Test("C7: a SIGTERM in the first moments of a command ends it")
    func early() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 100, seed: 3)
            var reprise = RepriseProcess(scene)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            for milliseconds in stride(from: 5.0, to: 25, by: 1) {
                // The signal comes from timeout(1), which kills what has not ended 10 s later.
                reprise.launcher = ["timeout", "-k", "10", "\(milliseconds / 1_000)"]
                let outcome = try await reprise.run("follow shop")
                // timeout(1) says 137 where it had to kill, and 124 otherwise.
                #expect(outcome.status == 124, "\(milliseconds) ms: \(outcome.status)")
            }
        }
    }

    @Test("C7: a SIGHUP that the caller ignores stays ignored")
    func noHangUp() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 100, seed: 3)
            var reprise = RepriseProcess(scene)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            let hook = "hooks: {before_swap: 'echo ready; read line <go'}"
            try Data(hook.utf8).write(to: URL(fileURLWithPath: "\(reprise.folder)/reprise.yaml"))
            #expect(mkfifo("\(reprise.folder)/go", 0o600) == 0)
            reprise.launcher = ["env", "--ignore-signal=HUP"]
            let (_, outcome) = try await reprise.withRunning("rebuild shop") { child in
                try await child.waitForText("ready\n")
                child.signal(SIGHUP)
                try Data("on\n".utf8).write(to: URL(fileURLWithPath: "\(reprise.folder)/go"))
            }
            expect(outcome, exits: 0)
        }
    }
}
