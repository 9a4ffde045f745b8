internal import Foundation
internal import Postgres
internal import TestSupport
internal import Testing

@Suite("The test support")
struct PostgresTestSupportTests {
    private struct Stop: Error {}

    @Test("a scratch database is gone afterwards, also when the test throws")
    func scratchDatabase() async throws {
        try await withScratchDatabase { outer in
            let (kept, name) = (Names(), outer.name)
            #expect(name.hasPrefix("reprise_test_"))
            await #expect(throws: Stop.self) {
                try await withScratchDatabase { inner in
                    await kept.add(inner.name)
                    throw Stop()
                }
            }
            let name2 = try #require(await kept.all.first)
            #expect(name2 != name)
            let row = try await outer.query(
                "SELECT count(*) AS n FROM pg_catalog.pg_database WHERE datname = $1",
                [.text(name2)]
            ).first
            #expect(row?["n"] == "0")
        }
    }

    @Test("a polling reader sees each state once, in order, and errors by their words")
    func pollingReader() async throws {
        try await withScratchDatabase { database in
            try await database.execute(
                "CREATE TABLE public.t (id int, word text); INSERT INTO public.t VALUES (1, NULL)"
            )
            let reader = try await withPollingReader(
                on: database,
                sql: "SELECT id, word FROM public.t ORDER BY id"
            ) { reader in
                try await database.execute("INSERT INTO public.t VALUES (2, 'b')")
                await reader.nextPoll()
                try await database.execute("ALTER TABLE public.t RENAME TO u")
                await reader.nextPoll()
                return reader
            }
            #expect(await reader.results == [["1|NULL"], ["1|NULL", "2|b"]])
            let errors = await reader.errors
            #expect(errors.first?.contains("42P01") == true)
            #expect(await reader.longest > .zero)
        }
    }

    @Test("a child process gives its status, its words, and dies by a signal")
    func childProcess() async throws {
        let done = try await ChildProcess.run(
            "sh",
            ["-c", "read line; echo \"$line $WORD\"; echo no >&2; exit 3"],
            environment: ["WORD": "b"],
            input: "a\n"
        )
        #expect(done.status == 3)
        #expect(!done.wasKilled)
        #expect(done.standardOutput == "a b\n")
        #expect(done.standardError == "no\n")
        let killed = try await ChildProcess.withRunning(
            "sh",
            ["-c", "echo ready >&2; exec sleep 600"]
        ) { child in
            try await child.waitForText("ready")
            child.signal(SIGKILL)
        }
        #expect(killed.outcome.wasKilled)
        #expect(killed.outcome.status == SIGKILL)
        await #expect(throws: ChildProcess.NotWritten.self) {
            try await ChildProcess.withRunning("true") { try await $0.waitForText("never") }
        }
    }

    @Test("a scratch folder is empty, and gone afterwards")
    func scratchFolder() async throws {
        let path = try await withScratchFolder { path in
            #expect(try FileManager.default.contentsOfDirectory(atPath: path) == [])
            try Data().write(to: URL(fileURLWithPath: path + "/file"))
            return path
        }
        #expect(!FileManager.default.fileExists(atPath: path))
    }
}

private actor Names {
    private(set) var all: [String] = []
    func add(_ name: String) { all.append(name) }
}
