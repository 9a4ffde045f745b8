internal import Postgres
internal import TestSupport
internal import Testing

@Suite("A connection")
struct PostgresConnectionTests {
    @Test("parameters of every kind arrive as they were sent")
    func parameters() async throws {
        try await withScratchDatabase { database in
            let row = try await database.query(
                """
                SELECT $1::text AS nothing, $2::text AS words, $3::bigint AS number, $4::bool AS truth,
                       $5::bytea AS bytes, array_length($6::text[], 1) AS texts,
                       ($6::text[])[2] AS second, ($7::bigint[])[2] AS negative
                """,
                [
                    nil, "it's \"ö\" \\ \u{1F989}", 9_223_372_036_854_775_807, true,
                    .bytes([0, 255, 16]), .texts(["", "a\\\"},{NULL", "NULL"]), .ints([1, -5]),
                ]
            ).first
            let result = try #require(row)
            #expect(result["nothing"] == nil)
            #expect(result["words"] == "it's \"ö\" \\ \u{1F989}")
            #expect(try result.int("number") == .max)
            #expect(try result.bool("truth"))
            #expect(try result.bytes("bytes") == [0, 255, 16])
            #expect(try result.int("texts") == 3)
            #expect(result["second"] == "a\\\"},{NULL")
            #expect(try result.int("negative") == -5)
        }
    }

    @Test("the session starts from known settings, whatever the database sets")
    func sessionSettings() async throws {
        try await withScratchDatabase { database in
            try await database.execute(
                """
                ALTER DATABASE \(database.name) SET search_path = public;
                ALTER DATABASE \(database.name) SET statement_timeout = '10min';
                ALTER DATABASE \(database.name) SET TimeZone = 'Asia/Tokyo';
                ALTER DATABASE \(database.name) SET default_transaction_isolation = 'serializable';
                """
            )
            let expected = [
                "search_path": "", "client_encoding": "UTF8", "TimeZone": "UTC",
                "DateStyle": "ISO, YMD", "IntervalStyle": "postgres", "bytea_output": "hex",
                "client_min_messages": "warning", "standard_conforming_strings": "on",
                "extra_float_digits": "3", "statement_timeout": "0", "lock_timeout": "0",
                "idle_in_transaction_session_timeout": "0", "application_name": "known",
                "default_transaction_isolation": "read committed",
            ]
            let settings = database.settings.withApplicationName("known")
            let rows = try await PostgresConnection.withConnection(settings) { connection in
                try await connection.query(
                    "SELECT name, current_setting(name) AS value FROM unnest($1::text[]) AS name",
                    [.texts(Array(expected.keys))]
                ).rows
            }
            for row in rows {
                let name = try row.string("name")
                #expect(row["value"] == expected[name], "\(name)")
            }
            #expect(rows.count == expected.count)
        }
    }

    @Test("several statements in one message give the last one's result")
    func simpleProtocol() async throws {
        try await withScratchDatabase { database in
            let result = try await database.execute(
                """
                CREATE TABLE public.t (id int);
                INSERT INTO public.t VALUES (1), (2), (3);
                UPDATE public.t SET id = id + 10 WHERE id > 1
                """
            )
            #expect(result.affectedRows == 2)
            #expect(result.commandTag == "UPDATE 2")
            #expect(try await database.count("public.t") == 3)
        }
    }

    @Test("columns are read by name, and a wrong kind names the column but no value")
    func columns() async throws {
        try await withScratchDatabase { database in
            let result = try await database.query(
                "SELECT 'secret' AS word, NULL::int AS nothing, 1.5::float8 AS fraction"
            )
            let row = try #require(result.first)
            #expect(result.columns == ["word", "nothing", "fraction"])
            #expect(result.affectedRows == 1)
            #expect(try row.double("fraction") == 1.5)
            #expect(try row.optionalInt("nothing") == nil)
            let error = #expect(throws: ColumnError.self) { try row.int("word") }
            #expect(error?.description.contains("word") == true)
            #expect(error?.description.contains("secret") == false)
            #expect(throws: ColumnError.self) { try row.int("nothing") }
        }
    }

    @Test("a NUL character is refused before anything is sent")
    func nulCharacters() async throws {
        try await withScratchDatabase { database in
            try await database.withConnection { connection in
                await #expect(throws: StatementError.self) {
                    try await connection.query("SELECT $1::text", ["a\0b"])
                }
                await #expect(throws: StatementError.self) {
                    try await connection.query("SELECT $1::text[]", [.texts(["ok", "a\0b"])])
                }
                await #expect(throws: StatementError.self) {
                    try await connection.execute("SELECT 1; \0 SELECT 2")
                }
                try await connection.expectToGoOn()
            }
        }
    }

    @Test("warnings are kept for the caller and forgotten once taken")
    func notices() async throws {
        try await withScratchDatabase { database in
            try await database.withConnection { connection in
                try await connection.execute(
                    "DO $$ BEGIN RAISE NOTICE 'quiet'; RAISE WARNING 'loud'; END $$"
                )
                #expect(await connection.takeNotices() == ["loud"])
                #expect(await connection.takeNotices().isEmpty)
            }
        }
    }

    @Test("statements that wait do not take the threads of other tasks")
    func waitingTogether() async throws {
        try await withScratchDatabase { database in
            try await database.withConnection { holder in
                try await holder.query("SELECT pg_advisory_lock(1)")
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<12 {
                        group.addTask { _ = try await database.query("SELECT pg_advisory_lock(1)") }
                    }
                    // With waits on the cooperative pool, one thread a core, this would never end.
                    try await holder.waitForActivity(
                        12,
                        "wait_event_type = 'Lock' AND wait_event = 'advisory'"
                    )
                    try await holder.query("SELECT pg_advisory_unlock(1)")
                    try await group.waitForAll()
                }
            }
        }
    }

    @Test("COPY among statements without data is refused, and the connection goes on")
    func copyInStatements() async throws {
        try await withScratchDatabase { database in
            try await database.withConnection { connection in
                try await connection.execute("CREATE TABLE public.t (id int)")
                for sql in ["COPY public.t FROM STDIN", "COPY public.t TO STDOUT"] {
                    await #expect(throws: StatementError.copyNotExpected(during: sql)) {
                        try await connection.execute("\(sql); SELECT 1")
                    }
                }
                try await connection.expectToGoOn()
            }
        }
    }
}

extension PostgresConnection {
    /// Expects an answer, and no other statement's.
    func expectToGoOn() async throws {
        let row = try await query("SELECT 'still here' AS answer").first
        #expect(row?["answer"] == "still here")
    }

    /// Looks at the sessions of the database until `count` of them meet `condition`.
    func waitForActivity(_ count: Int64, _ condition: String) async throws {
        var found: Int64 = -1
        while found != count {
            let row = try await query(
                """
                SELECT count(*) AS sessions FROM pg_catalog.pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid() AND \(condition)
                """
            ).first
            found = try row?.int("sessions") ?? -1
        }
    }
}
