import Foundation
import TestSupport
import Testing

/// `Tests/Weighing/schedule.py` has the schedule and the oracle, in Python.
///
/// `make soak` asks for 30 minutes of it. A seed that was printed brings the same schedule back by `REPRISE_TEST_SEED`, as far as
/// the machine lets it.
@Suite("Random schedules of everything", .serialized)
struct ScheduleTests {
    @Test("nothing is lost, doubled or mixed, and no program writes another one's rows")
    func schedule() async throws {
        let environment = ProcessInfo.processInfo.environment
        let seed = environment["REPRISE_TEST_SEED"] ?? "\(Int.random(in: 1...999_999))"
        let seconds = environment["REPRISE_TEST_SOAK"] == nil ? "60" : "1800"
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                let folder = URL(filePath: scene.ledgerPath).deletingLastPathComponent()
                // The schedule makes its own.
                try FileManager.default.removeItem(atPath: scene.ledgerPath)
                let old = folder.appending(path: "weighing")
                let new = folder.appending(path: "weighing-new")
                let program = try Data(
                    contentsOf: URL(filePath: try BuiltProgram("Weighing").path)
                )
                try program.write(to: old)
                // Other bytes are another program; the loader passes over what is behind the end.
                try (program + [0]).write(to: new)
                for path in [old.path, new.path] {
                    try FileManager.default.setAttributes(
                        [.posixPermissions: 0o755],
                        ofItemAtPath: path
                    )
                }
                let script = URL(filePath: #filePath).deletingLastPathComponent()
                    .appending(path: "../../Weighing/schedule.py").standardizedFileURL
                let outcome = try await ChildProcess.run(
                    "/usr/bin/python3",
                    [
                        script.path, "--old", old.path, "--new", new.path, "--database",
                        scene.database.url, "--folder", folder.path, "--seconds", seconds, "--seed",
                        seed,
                    ]
                )
                print(outcome.standardOutput)
                #expect(outcome.status == 0, "\(outcome.standardOutput)\n\(outcome.standardError)")
            }
        }
    }
}
