internal import Postgres
internal import TestSupport
internal import Testing

@Suite("Cancelling")
struct PostgresCancellationTests {
    @Test("cancelling the task cancels the statement on the server")
    func task() async throws {
        try await withScratchDatabase { database in
            try await database.withConnection { connection in
                let task = Task { try await connection.query("SELECT pg_catalog.pg_sleep(600)") }
                try await database.withConnection { watcher in
                    try await watcher.waitForActivity(1, isSleeping)
                    task.cancel()
                    await #expect(throws: CancellationError.self) { try await task.value }
                    try await watcher.waitForActivity(0, isSleeping)
                }
                try await connection.expectToGoOn()
            }
        }
    }

    @Test("cancel() from outside is the server's own error")
    func outside() async throws {
        try await withScratchDatabase { database in
            try await database.withConnection { connection in
                let task = Task { try await connection.query("SELECT pg_catalog.pg_sleep(600)") }
                try await database.withConnection { try await $0.waitForActivity(1, isSleeping) }
                connection.cancel()
                let error = await #expect(throws: ServerError.self) { try await task.value }
                #expect(error?.sqlState == "57014")
            }
        }
    }

    @Test("a cancelled task sends nothing, but can clean up")
    func cleaningUp() async throws {
        try await withScratchDatabase { database in
            try await database.withConnection { connection in
                try await connection.execute("CREATE TABLE public.t (id int)")
                let task = Task {
                    withUnsafeCurrentTask { $0?.cancel() }
                    await #expect(throws: CancellationError.self) {
                        try await connection.execute("INSERT INTO public.t VALUES (1)")
                    }
                    try await connection.executeShielded("INSERT INTO public.t VALUES (2)")
                }
                try await task.value
                let row = try await connection.query("SELECT sum(id) AS sum FROM public.t").first
                #expect(row?["sum"] == "2")
            }
        }
    }

    @Test("a request that comes at any moment never reaches the statement after it")
    func storm() async throws {
        try await withScratchDatabase { database in
            try await database.withConnection { connection in
                for round in 0..<200 {
                    let task = Task {
                        try await connection.execute("SELECT pg_catalog.pg_sleep(0.001)")
                    }
                    for _ in 0..<round { await Task.yield() }
                    task.cancel()
                    do {
                        _ = try await task.value
                    } catch is CancellationError {
                        // As likely as the answer, and just as good.
                    }
                    let row = try await connection.query("SELECT \(round) AS round").first
                    #expect(row?["round"] == String(round))
                }
            }
        }
    }
}
