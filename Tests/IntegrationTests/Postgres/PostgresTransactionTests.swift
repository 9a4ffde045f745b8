internal import Postgres
internal import TestSupport
internal import Testing

@Suite("A transaction")
struct PostgresTransactionTests {
    private struct Stop: Error {}

    @Test("what the body did is there when it returns, and not when it throws")
    func commitAndRollBack() async throws {
        try await withScratchDatabase { database in
            try await database.withConnection { connection in
                try await connection.execute("CREATE TABLE public.t (id int)")
                let kept = try await connection.withTransaction { transaction in
                    try await transaction.query("INSERT INTO public.t VALUES ($1)", [1])
                    #expect(await transaction.transactionStatus == .inTransaction)
                    return 5
                }
                #expect(kept == 5)
                await #expect(throws: Stop.self) {
                    try await connection.withTransaction { transaction in
                        try await transaction.query("INSERT INTO public.t VALUES ($1)", [2])
                        throw Stop()
                    }
                }
                #expect(await connection.transactionStatus == .idle)
            }
            #expect(try await database.count("public.t") == 1)
        }
    }

    @Test("the mode is that of the BEGIN")
    func mode() async throws {
        try await withScratchDatabase { database in
            try await database.withConnection { connection in
                try await connection.withTransaction("ISOLATION LEVEL REPEATABLE READ READ ONLY") {
                    let row = try await $0.query(
                        """
                        SELECT current_setting('transaction_isolation') AS level,
                               current_setting('transaction_read_only') AS readonly
                        """
                    ).first
                    #expect(row?["level"] == "repeatable read")
                    #expect(row?["readonly"] == "on")
                }
            }
        }
    }

    @Test("a failure that the body passes over is not reported as committed")
    func passedOver() async throws {
        try await withScratchDatabase { database in
            try await database.withConnection { connection in
                await #expect(throws: StatementError.commitBecameRollback) {
                    try await connection.withTransaction { transaction in
                        await #expect(throws: ServerError.self) {
                            try await transaction.query("SELECT 1 / 0")
                        }
                        #expect(await transaction.transactionStatus == .failed)
                    }
                }
                #expect(await connection.transactionStatus == .idle)
            }
        }
    }

    @Test("an error of COMMIT is thrown and leaves the connection usable")
    func failingCommit() async throws {
        try await withScratchDatabase { database in
            try await database.withConnection { connection in
                try await connection.execute(
                    "CREATE TABLE public.t (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)"
                )
                let error = await #expect(throws: ServerError.self) {
                    try await connection.withTransaction { transaction in
                        try await transaction.execute("INSERT INTO public.t VALUES (1), (1)")
                    }
                }
                #expect(error?.sqlState == "23505")
                try await connection.expectToGoOn()
            }
        }
    }

    @Test("a body whose batch ends in COMMIT is left alone")
    func endedByTheBody() async throws {
        try await withScratchDatabase { database in
            try await database.withConnection { connection in
                try await connection.withTransaction { transaction in
                    try await transaction.execute("CREATE TABLE public.t (id int); COMMIT")
                }
                #expect(await connection.takeNotices().isEmpty)
            }
            #expect(try await database.count("public.t") == 0)
        }
    }

    @Test("a cancelled task still rolls back, and the connection goes on")
    func cancelled() async throws {
        try await withScratchDatabase { database in
            try await database.withConnection { connection in
                try await connection.execute("CREATE TABLE public.t (id int)")
                let task = Task {
                    try await connection.withTransaction { transaction in
                        try await transaction.execute("INSERT INTO public.t VALUES (1)")
                        try await transaction.execute("SELECT pg_catalog.pg_sleep(600)")
                    }
                }
                try await database.withConnection { try await $0.waitForActivity(1, isSleeping) }
                task.cancel()
                await #expect(throws: CancellationError.self) { try await task.value }
                #expect(await connection.transactionStatus == .idle)
                let row = try await connection.query("SELECT count(*) AS n FROM public.t").first
                #expect(row?["n"] == "0")
            }
        }
    }

    @Test("a connection lost in a transaction gives the first error, without a hanging ROLLBACK")
    func lost() async throws {
        try await withScratchDatabase { database in
            try await database.withConnection { connection in
                let error = await #expect(throws: ConnectionError.self) {
                    try await connection.withTransaction { transaction in
                        try await database.query(
                            "SELECT pg_terminate_backend($1::int, 60000)",
                            [.int(Int64(connection.backendPID))]
                        )
                        try await transaction.execute("SELECT 1 AS one")
                    }
                }
                guard case .lost(_, "SELECT", let reason) = error else {
                    Issue.record("expected a lost connection, got \(String(describing: error))")
                    return
                }
                #expect(reason.contains("57P01"))
                #expect(await connection.transactionStatus == .unknown)
                await #expect(throws: ConnectionError.self) {
                    try await connection.query("SELECT 1")
                }
            }
        }
    }
}

let isSleeping = "wait_event = 'PgSleep'"
