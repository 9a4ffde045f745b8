import Testing

@testable import Postgres

@Suite("Messages about servers")
struct PostgresErrorTests {
    @Test(
        "a connection string that cannot be read is refused without a piece of it",
        arguments: [
            "postgresql://app:hun/ter2@host/db", "postgresql://app:hun/t?er2=1@host/db",
            "postgresql://app:hun@ter2@host/db",
            "postgresql://app:hun?t@er2@host/db", "postgresql://app:%zzhunter2@host/db",
            "postgresql://app:hunter2@[::1/db", "postgresql://app:hunter2@host:5432x/db?ter2",
            "postgresql://app@host/db?pasword=hunter2", "mysql://app:hunter2@host/db",
            "mysql://app:hunter2@host/db?x=1", "Postgres://app:hunter2@host/db",
            "host=h password=hun ter2", "host=h password='hun'ter2", "password='hunter2",
            "host=h password=hunter2 ter2=1", "host=h password=hunter2\0",
        ]
    )
    func malformed(conninfo: String) async throws {
        let settings = ConnectionSettings(conninfo: conninfo)
        let error = await #expect(throws: ConnectionError.self) {
            try await PostgresConnection.withConnection(settings) { _ in }
        }
        guard case .malformed = error else {
            Issue.record("got \(String(describing: error))")
            return
        }
        for text in [String(describing: error), error?.description ?? "", settings.summary] {
            #expect(!text.contains("hun") && !text.contains("er2"), "\(text)")
        }
    }

    @Test(
        "the summary says where, and never the password",
        arguments: [
            ("postgresql://app:hunter2@db.example:6432/shop", "shop", "db.example", "6432"),
            ("postgresql://app:h%75nter2@/shop?host=/run/x&port=1", "shop", "/run/x", "1"),
            ("postgres://app@h/shop?password=hunter2&port=7", "shop", "h", "7"),
            ("postgresql://app:hun?ter2@h:8/shop?user=app", "shop", "h", "8"),
            (
                "host=a,b port=1,2 user=app password='hunt er2' dbname='my shop'", "my shop", "a,b",
                "1,2"
            ),
        ]
    )
    func summary(conninfo: String, database: String, host: String, port: String) {
        let summary = ConnectionSettings(conninfo: conninfo).summary
        #expect(summary == "database \(database) on \(host) port \(port) as app")
    }

    @Test("a plain word is the name of a database")
    func plainWord() {
        let summary = ConnectionSettings(conninfo: "shop").summary
        #expect(summary.hasPrefix("database shop on "))
    }

    @Test("a quote and a password are seen where a combining mark follows them")
    func combiningMarks() throws {
        let settings = ConnectionSettings(conninfo: "host=h password='a\\'\u{301}b'")
        let there = try settings.withDatabase("c'\u{301}").conninfo
        let expected = "dbname='c\\'\u{301}' host='h' password='a\\'\u{301}b'"
        #expect(Array(there.utf8) == Array(expected.utf8))
        let message = ConnectionSettings(conninfo: "password=hunter2").redacting("hunter2\u{301}!")
        #expect(Array(message.utf8) == Array("…\u{301}!".utf8))
    }

    @Test("another database, everything else as it was")
    func withDatabase() throws {
        let settings = ConnectionSettings(
            conninfo: "postgresql://app:it%27s%5C@h:7/shop?connect_timeout=3",
            applicationName: "x"
        )
        let other = try settings.withDatabase("o'ther")
        #expect(other.summary == "database o'ther on h port 7 as app")
        #expect(other.applicationName == "x")
        #expect(other.conninfo.contains("password='it\\'s\\\\'"))
        #expect(other.conninfo.contains("connect_timeout='3'"))
    }

    @Test("messages of an unknown form lose everything that could be a value")
    func unknownForms() {
        let german = ServerError(
            sqlState: "23505",
            message: "doppelter Schlüsselwert",
            detail: "Schlüssel »(id)=(geheim)« existiert bereits.",
            context: "COPY t, Zeile 3, Spalte v: »geheim«"
        )
        #expect(!german.description.contains("geheim"))
        #expect(german.description.contains("CONTEXT: COPY t"))
        #expect(german.descriptionWithValues.contains("geheim"))
    }

    @Test("a COPY value of several lines is cut whole, and what follows it stays")
    func linesInContext() {
        let error = ServerError(
            sqlState: "22P02",
            message: "invalid input syntax for type integer: \"a\nb\"",
            context: """
                COPY t, line 12, column v: "a
                SQL function secret
                b"
                PL/pgSQL function public.load(integer) line 3 at SQL statement
                something new with a secret
                and another secret
                """
        )
        #expect(
            error.description == """
                invalid input syntax for type integer: "…"
                SQLSTATE: 22P02
                CONTEXT: COPY t, line 12, column v; \
                PL/pgSQL function public.load(integer) line 3 at SQL statement; …
                """
        )
    }

    @Test("details that hold no values stay whole")
    func plainDetails() {
        let error = ServerError(
            sqlState: "2BP01",
            message: "cannot drop table t because other objects depend on it",
            detail: "view \"v\" depends on table t",
            hint: "Use DROP ... CASCADE"
        )
        #expect(
            error.description == """
                cannot drop table t because other objects depend on it
                SQLSTATE: 2BP01
                DETAIL: view "v" depends on table t
                HINT: Use DROP ... CASCADE
                """
        )
        #expect(error.description == error.descriptionWithValues)
    }
}
