internal import Postgres
internal import TestSupport
internal import Testing

@Suite("COPY")
struct PostgresCopyTests {
    private struct Stop: Error {}

    @Test("a buffer of many rows arrives whole, however it is cut")
    func wholeBuffer() async throws {
        try await withTable { connection in
            let text = (1...200_000).map { "\($0)\trow \($0)\n" }.joined()
            let bytes = Array(text.utf8)
            let rows = try await connection.copyIn("COPY public.t FROM STDIN") { writer in
                try bytes.withUnsafeBytes { buffer in
                    // 7 and 100,003 share no factor with anything.
                    try writer.write(UnsafeRawBufferPointer(rebasing: buffer[..<7]))
                    for start in stride(from: 7, to: buffer.count, by: 100_003) {
                        let end = min(start + 100_003, buffer.count)
                        try writer.write(UnsafeRawBufferPointer(rebasing: buffer[start..<end]))
                    }
                }
            }
            #expect(rows == 200_000)
            let row = try await connection.query(
                "SELECT sum(id) AS sum, count(DISTINCT word) AS words FROM public.t"
            ).first
            #expect(row?["sum"] == "20000100000")
            #expect(row?["words"] == "200000")
        }
    }

    @Test("no data is no rows")
    func noData() async throws {
        try await withTable { connection in
            let rows = try await connection.copyIn("COPY public.t FROM STDIN") { _ in }
            #expect(rows == 0)
        }
    }

    @Test("frozen rows in the transaction that makes the table")
    func freeze() async throws {
        try await withTable { connection in
            let rows = try await connection.withTransaction { transaction in
                try await transaction.execute("CREATE TABLE public.u (id int)")
                return try await transaction.copyIn("COPY public.u FROM STDIN (FREEZE)") {
                    try $0.write(Array("1\n2\n".utf8))
                }
            }
            #expect(rows == 2)
        }
    }

    @Test("a writer that throws leaves nothing, and its error is the one thrown")
    func failingWriter() async throws {
        try await withTable { connection in
            await #expect(throws: Stop.self) {
                try await connection.copyIn("COPY public.t FROM STDIN") { writer in
                    try writer.write(Array("1\tx\n".utf8))
                    throw Stop()
                }
            }
            let row = try await connection.query("SELECT count(*) AS n FROM public.t").first
            #expect(row?["n"] == "0")
        }
    }

    @Test("bad data stops a writer that would never end, and the error names line and column")
    func refusedEarly() async throws {
        try await withTable { connection in
            let good = Array(String(repeating: "1\tx\n", count: 4096).utf8)
            let error = await #expect(throws: ServerError.self) {
                try await connection.copyIn("COPY public.t FROM STDIN") { writer in
                    try writer.write(Array("1\tx\nsecret\tx\n".utf8))
                    while true { try writer.write(good) }
                }
            }
            #expect(error?.sqlState == "22P02")
            #expect(error?.description.contains("COPY t, line 2, column id") == true)
            #expect(error?.description.contains("secret") == false)
            #expect(error?.descriptionWithValues.contains("secret") == true)
            try await connection.expectToGoOn()
        }
    }

    @Test("an error of the writer that the closure passes over still fails the COPY")
    func passedOver() async throws {
        try await withTable { connection in
            await #expect(throws: ServerError.self) {
                try await connection.copyIn("COPY public.t FROM STDIN") { writer in
                    let bad = Array(String(repeating: "x\n", count: 65536).utf8)
                    while (try? writer.write(bad)) != nil {}
                }
            }
        }
    }

    @Test("an error that only the end of the data shows is thrown too")
    func refusedAtTheEnd() async throws {
        try await withTable { connection in
            let error = await #expect(throws: ServerError.self) {
                try await connection.copyIn("COPY public.t FROM STDIN") {
                    try $0.write(Array("1\tsecret\n1\tsecret\n".utf8))
                }
            }
            #expect(error?.constraint == "t_pkey" || error?.sqlState == "23505")
            #expect(error?.description.contains("secret") == false)
        }
    }

    @Test("a notice in the middle disturbs nothing")
    func notices() async throws {
        try await withTable { connection in
            try await connection.execute(
                """
                CREATE FUNCTION public.warn() RETURNS trigger LANGUAGE plpgsql
                AS $$ BEGIN RAISE WARNING 'Every row'; RETURN NEW; END $$;
                CREATE TRIGGER warn BEFORE INSERT ON public.t
                    FOR EACH ROW WHEN (NEW.id % 100 = 0) EXECUTE FUNCTION public.warn()
                """
            )
            let rows = try await connection.copyIn("COPY public.t FROM STDIN") { writer in
                for id in 1...100_000 { try writer.write(Array("\(id)\tEEEEEEEE\n".utf8)) }
            }
            #expect(rows == 100_000)
            #expect(await connection.takeNotices().count == 200)
        }
    }

    @Test("cancelling the task stops a writer that would never end")
    func cancelled() async throws {
        try await withScratchDatabase { database in
            try await database.withConnection { connection in
                try await connection.execute("CREATE TABLE public.t (id bigint, word text)")
                let task = Task {
                    try await connection.copyIn("COPY public.t FROM STDIN") { writer in
                        while true { try writer.write(Array("1\tx\n".utf8)) }
                    }
                }
                try await database.withConnection {
                    try await $0.waitForActivity(1, "query LIKE 'COPY%' AND state = 'active'")
                }
                task.cancel()
                await #expect(throws: CancellationError.self) { try await task.value }
                let row = try await connection.query("SELECT count(*) AS n FROM public.t").first
                #expect(row?["n"] == "0")
            }
        }
    }

    @Test("a statement that is no COPY in that direction is refused, and the connection goes on")
    func wrongStatement() async throws {
        try await withTable { connection in
            await #expect(throws: StatementError.copyExpected(during: "SELECT")) {
                try await connection.copyIn("SELECT 1") { _ in }
            }
            await #expect(throws: StatementError.self) {
                try await connection.copyIn("COPY public.t TO STDOUT") { _ in }
            }
            await #expect(throws: StatementError.self) {
                try await connection.copyOut("COPY public.t FROM STDIN") { _ in }
            }
            let missing = await #expect(throws: ServerError.self) {
                try await connection.copyIn("COPY public.missing FROM STDIN") { _ in }
            }
            #expect(missing?.sqlState == "42P01")
            try await connection.expectToGoOn()
        }
    }

    @Test("rows come out one at a time, in order")
    func copyOut() async throws {
        try await withTable { connection in
            let lines = Lines()
            let rows = try await connection.copyOut(
                "COPY (SELECT generate_series(1, 1000)) TO STDOUT"
            ) { lines.add($0) }
            #expect(rows == 1000)
            #expect(lines.all == (1...1000).map { "\($0)\n" })
        }
    }

    @Test("a receiver that throws ends a result that would be far too long")
    func failingReceiver() async throws {
        try await withTable { connection in
            await #expect(throws: Stop.self) {
                try await connection.copyOut(
                    "COPY (SELECT generate_series(1, 100000000000)) TO STDOUT"
                ) { _ in throw Stop() }
            }
            try await connection.expectToGoOn()
        }
    }

    private func withTable(_ body: (PostgresConnection) async throws -> Void) async throws {
        try await withScratchDatabase { database in
            try await database.withConnection { connection in
                try await connection.execute(
                    "CREATE TABLE public.t (id bigint, word text, UNIQUE (id, word) INCLUDE (id))"
                )
                try await body(connection)
            }
        }
    }
}

/// The texts that a COPY has handed out.
private final class Lines: @unchecked Sendable {
    // Written on the connection's queue, read after the COPY has returned.
    private(set) var all: [String] = []

    func add(_ bytes: UnsafeRawBufferPointer) {
        all.append(String(decoding: bytes, as: UTF8.self))
    }
}
