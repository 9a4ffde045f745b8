internal import Postgres
internal import TestSupport
internal import Testing

@Suite("Errors of the server")
struct PostgresErrorTests {
    private static let tables = """
        CREATE TABLE public.parent (id text PRIMARY KEY);
        CREATE TABLE public.t (
            id text CONSTRAINT t_pkey PRIMARY KEY,
            small int CONSTRAINT t_small_check CHECK (small < 10),
            needed text NOT NULL DEFAULT '',
            parent text REFERENCES public.parent
        );
        INSERT INTO public.t (id) VALUES ('se)cret already exists.');
        CREATE TABLE public.part (k text, v int) PARTITION BY LIST (k);
        """

    @Test(
        "values of rows are shown only to who asks for them",
        arguments: [
            (
                "INSERT INTO public.t (id) VALUES ('se)cret already exists.')", "23505",
                "Key (id)=(…) already exists."
            ),
            ("INSERT INTO public.t (id, small) VALUES ('se)cret', 11)", "23514", "t_small_check"),
            (
                "INSERT INTO public.t (id, needed) VALUES ('se)cret', NULL)", "23502",
                "Failing row contains (…)."
            ),
            (
                "INSERT INTO public.t (id, parent) VALUES ('x', 'se)cret')", "23503",
                "Key (parent)=(…) is not present in table \"parent\"."
            ),
            (
                "INSERT INTO public.part VALUES ('se)cret', 1)", "23514",
                "Partition key of the failing row contains (…)."
            ),
            ("SELECT 'se)cret'::int", "22P02", "invalid input syntax for type integer: \"…\""),
            ("SELECT '{\"a\": cret}'::json", "22P02", "JSON data, line 1"),
            ("SELECT '2020-02-31 se)cret'::date", "22007", "type date: \"…\""),
            ("SELECT '{se)cret'::text[]", "22P02", "malformed array literal: \"…\""),
            (
                "DO $$ BEGIN EXECUTE 'SELECT ''se)cret''::int'; END $$", "22P02",
                "PL/pgSQL function inline_code_block line 1 at EXECUTE"
            ),
        ]
    )
    func values(sql: String, sqlState: String, shown: String) async throws {
        try await withScratchDatabase { database in
            try await database.execute(Self.tables)
            let error = await #expect(throws: ServerError.self) { try await database.execute(sql) }
            let found = try #require(error)
            #expect(found.sqlState == sqlState)
            #expect(found.description.contains(shown), "\(found.description)")
            #expect(!found.description.contains("cret"), "\(found.description)")
            #expect(found.descriptionWithValues.contains("cret"))
            #expect(found.description.contains("SQLSTATE: \(sqlState)"))
        }
    }

    @Test("the fields say what the error is about")
    func fields() async throws {
        try await withScratchDatabase { database in
            try await database.execute(Self.tables)
            let unique = await #expect(throws: ServerError.self) {
                try await database.execute(
                    "INSERT INTO public.t (id, small) VALUES ('x', 1), ('y', 11)"
                )
            }
            #expect(unique?.schema == "public")
            #expect(unique?.table == "t")
            #expect(unique?.constraint == "t_small_check")
            #expect(unique?.severity == "ERROR")
            let null = await #expect(throws: ServerError.self) {
                try await database.query("INSERT INTO public.t (id) VALUES ($1)", [nil])
            }
            #expect(null?.column == "id")
            let syntax = await #expect(throws: ServerError.self) {
                try await database.execute("SELECT 1 FORM public.t")
            }
            #expect(syntax?.position == 15)
            let missing = await #expect(throws: ServerError.self) {
                try await database.execute("SELECT idd FROM public.t")
            }
            #expect(missing?.hint?.contains("t.id") == true)
        }
    }

    @Test("a COPY line is named by number, never by its text")
    func copyLine() async throws {
        try await withScratchDatabase { database in
            try await database.execute(Self.tables)
            let error = await #expect(throws: ServerError.self) {
                try await database.withConnection { connection in
                    try await connection.copyIn("COPY public.t (id, small) FROM STDIN") {
                        try $0.write(Array("a\t1\nse\\ncret\t1\tx\n".utf8))
                    }
                }
            }
            #expect(error?.description.contains("COPY t, line 2") == true)
            #expect(error?.description.contains("cret") == false)
        }
    }
}

@Suite("Errors of connecting")
struct PostgresConnectingTests {
    @Test("a database that is not there")
    func missingDatabase() async throws {
        try await withScratchDatabase { database in
            let settings = try database.settings.withDatabase("not_there")
            let error = await connecting(settings)
            guard case .databaseMissing(let summary, _) = error else {
                Issue.record("got \(String(describing: error))")
                return
            }
            #expect(summary.hasPrefix("database not_there on "))
            #expect(error?.isTransient == false)
        }
    }

    @Test("a role that is not there, and one that may not log in")
    func roles() async throws {
        try await withScratchDatabase { database in
            let role = "\(database.name)_role"
            let settings = ConnectionSettings(
                conninfo: "\(database.url) user=\(role) password=hunter2"
            )
            guard case .authenticationFailed? = await connecting(settings) else {
                Issue.record("the role is not there")
                return
            }
            try await database.execute("CREATE ROLE \(role) NOLOGIN")
            let error = await connecting(settings)
            try await database.execute("DROP ROLE \(role)")
            guard case .authenticationFailed? = error else {
                Issue.record("got \(String(describing: error))")
                return
            }
            #expect(error?.description.contains("hunter2") == false)
        }
    }

    @Test("a database without a connection left")
    func connectionLimit() async throws {
        try await withScratchDatabase { database in
            let role = "\(database.name)_role"
            // Where local logins go by the system's user, members of this role log in by password.
            let group = try await database.query(
                "SELECT FROM pg_roles WHERE rolname = 'password_required'"
            )
            try await database.execute(
                """
                CREATE ROLE \(role) LOGIN PASSWORD 'right-8341'
                    \(group.rows.isEmpty ? "" : "IN ROLE password_required");
                ALTER DATABASE \(database.name) CONNECTION LIMIT 0
                """
            )
            let error = await connecting(
                ConnectionSettings(
                    conninfo: "\(database.url) user=\(role) password=right-8341"
                )
            )
            try await database.execute("DROP ROLE \(role)")
            guard case .tooManyConnections? = error else {
                Issue.record("got \(String(describing: error))")
                return
            }
            #expect(error?.isTransient == true)
        }
    }

    @Test(
        "no server there",
        arguments: [
            "postgresql://app:hunter2@127.0.0.1:1/shop",
            "host=/no/such/folder user=app password=hunter2 dbname=shop",
        ]
    )
    func unreachable(conninfo: String) async throws {
        let error = await connecting(ConnectionSettings(conninfo: conninfo))
        guard case .unreachable(let summary, _) = error else {
            Issue.record("got \(String(describing: error))")
            return
        }
        #expect(summary.hasPrefix("database shop on "))
        #expect(summary.hasSuffix(" as app"))
        #expect(error?.description.contains("hunter2") == false)
    }

    @Test("a connection that stood idle while the server crashed is lost, not refused")
    func lostWhileIdle() async throws {
        try await PrivateServer.with { server in
            let settings = ConnectionSettings(conninfo: server.conninfo)
            try await PostgresConnection.withConnection(settings) { connection in
                try await connection.execute("SELECT 1")
                try await server.stop(.immediate)
                let error = await #expect(throws: ConnectionError.self) {
                    try await connection.execute("SELECT 1")
                }
                guard case .lost = error else {
                    Issue.record("got \(String(describing: error))")
                    return
                }
                #expect(await connection.transactionStatus == .unknown)
            }
        }
    }

    private func connecting(_ settings: ConnectionSettings) async -> ConnectionError? {
        await #expect(throws: ConnectionError.self) {
            try await PostgresConnection.withConnection(settings) { _ in }
        }
    }
}
