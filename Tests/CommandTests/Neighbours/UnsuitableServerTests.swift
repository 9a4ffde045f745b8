import Foundation
import TestSupport
import Testing

@Suite("A server that cannot be worked with")
struct UnsuitableServerTests {
    private static let commands = [
        "status shop", "plan shop", "rebuild shop", "swap shop", "rollback shop", "prune shop",
        "follow shop --until-caught-up",
    ]

    @Test("a setting that can never work is no reason to try again, for a follower neither (C1)")
    func impossibleSettings() async throws {
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                try scene.appendShop(events: 100, seed: 5)
                let reprise = RepriseProcess(scene)
                expect(try await reprise.run("rebuild shop"), exits: 0)
                let message = [
                    "No connection can be made with these settings", "Correct the setting",
                ]
                for setting in [
                    "port=abc", "port=99999", "port=1,2,3", "sslmode=bogus",
                    "channel_binding=bogus",
                    "target_session_attrs=bogus", "connect_timeout=abc", "gssencmode=bogus",
                    "hostaddr=1.2.3.999", "options='-c statement_timeot=0'",
                    "options='-c TimeZone=nowhere'",
                ] {
                    var other = reprise
                    other.databaseURL = "\(scene.database.url) \(setting)"
                    expect(try await other.run("status shop"), exits: 5, saying: message)
                }
                var other = reprise
                other.databaseURL = "\(scene.database.url) options='-c statement_timeot=0'"
                expect(try await other.run("follow shop"), exits: 5, saying: message)
                let zone = try await reprise.run("status", environment: ["PGTZ": "nowhere"])
                expect(zone, exits: 5, saying: message)
            }
        }
    }

    @Test("a database that is closed, to all or to a role, is no reason to try again (C1)")
    func closedDatabases() async throws {
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                try await scene.database.execute("CREATE ROLE outsider LOGIN")
                try await scene.database.execute("REVOKE CONNECT ON DATABASE scene FROM public")
                try await scene.database.execute("CREATE DATABASE closed ALLOW_CONNECTIONS false")
                var reprise = RepriseProcess(scene)
                let url = scene.database.url
                reprise.databaseURL = "\(url) user=outsider"
                expect(
                    try await reprise.run("status"),
                    exits: 5,
                    saying: ["does not let this role into the database", "GRANT CONNECT"]
                )
                try await scene.database.execute("GRANT CONNECT ON DATABASE scene TO outsider")
                expect(try await reprise.run("status"), exits: 0)
                reprise.databaseURL = "\(url) dbname=closed"
                expect(
                    try await reprise.run("status"),
                    exits: 5,
                    saying: ["takes no sessions", "ALLOW_CONNECTIONS true"]
                )
                try await scene.database.execute("ALTER DATABASE closed ALLOW_CONNECTIONS true")
                expect(try await reprise.run("status"), exits: 0)
            }
        }
    }

    @Test("a server older than the supported versions is refused at once, by every command (S20)")
    func olderServer() async throws {
        try await withScratchFolder { folder in
            _ = try await ChildProcess.withRunning(
                "python3",
                ["-c", Self.server, folder]
            ) { server in
                try await server.waitForText("listening", on: .output)
                var reprise = RepriseProcess(in: folder)
                expect(try await reprise.run("ledger create ledger.db"), exits: 0)
                reprise.databaseURL = "host=\(folder) dbname=shop user=job"
                for line in Self.commands {
                    expect(
                        try await reprise.run(line, environment: ["REPRISE_LEDGER": "ledger.db"]),
                        exits: 5,
                        saying: [
                            "PostgreSQL 14.5 is not supported, database shop on", unchanged,
                            "Supported are PostgreSQL 15 to 18",
                        ]
                    )
                }
                server.signal(SIGTERM)
            }
        }
    }

    @Test(
        "sessions that somebody has made read only are refused by name, and work when they are asked to (S17)",
        arguments: [
            ("ALTER DATABASE scene SET default_transaction_read_only = on", "ALTER DATABASE"),
            (
                "ALTER ROLE ALL IN DATABASE scene SET default_transaction_read_only = on",
                "ALTER DATABASE"
            ),
            ("ALTER ROLE job SET default_transaction_read_only = on", "ALTER ROLE"),
            (
                "ALTER ROLE job IN DATABASE scene SET default_transaction_read_only = on",
                "ALTER ROLE … IN DATABASE"
            ),
            (
                "ALTER SYSTEM SET default_transaction_read_only = on; SELECT pg_reload_conf()",
                "postgresql.conf or ALTER SYSTEM"
            ),
        ]
    )
    func readOnly(statements: String, setter: String) async throws {
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                try scene.appendShop(events: 200, seed: 5)
                try await scene.database.execute("CREATE ROLE job LOGIN SUPERUSER")
                var reprise = RepriseProcess(scene)
                reprise.databaseURL = "\(scene.database.url) user=job"
                expect(try await reprise.run("rebuild shop"), exits: 0)
                for statement in statements.split(separator: ";") {
                    try await scene.database.execute(String(statement))
                }
                for line in Self.commands {
                    let outcome = try await reprise.run(line)
                    expect(
                        outcome,
                        exits: 5,
                        saying: [
                            "default_transaction_read_only is on, set by \(setter).", unchanged,
                        ]
                    )
                }
                let advice = ["PGOPTIONS": "-c default_transaction_read_only=off"]
                expect(try await reprise.run("rebuild shop", environment: advice), exits: 0)
                expect(try await reprise.run("status shop", environment: advice), exits: 0)
            }
        }
    }

    @Test(
        "C6: a refusal is known by its SQLSTATE, whatever language the server speaks",
        arguments: [
            ("28P01", "Passwort-Authentifizierung fehlgeschlagen", Int32(5), "does not let us in"),
            ("28000", "Rolle »job« existiert nicht", 5, "does not let us in"),
            ("3D000", "Datenbank »shop« existiert nicht", 5, "has no such database"),
            ("53300", "tut mir leid, schon zu viele Verbindungen", 75, "has no connection left"),
            ("57P03", "das Datenbanksystem startet", 75, "takes no connections at the moment"),
            ("53100", "konnte Datei nicht erweitern", 5, "its disk is full"),
            ("XX000", "could not write init file", 5, "its disk is full"),
        ]
    )
    func language(sqlState: String, words: String, status: Int32, sentence: String) async throws {
        try await withScratchFolder { folder in
            _ = try await ChildProcess.withRunning(
                "python3",
                ["-c", Self.refusingServer, folder, sqlState, words]
            ) { server in
                try await server.waitForText("listening", on: .output)
                var reprise = RepriseProcess(in: folder)
                reprise.databaseURL = "host=\(folder) dbname=shop user=job password=wrong"
                let outcome = try await reprise.run("status shop")
                expect(outcome, exits: status, saying: [sentence, words, unchanged])
                server.signal(SIGTERM)
            }
        }
    }

    @Test("C6: settings with which no connection can be made are named, and not tried again")
    func settings() async throws {
        try await withRebuildScene { scene in
            let reprise = RepriseProcess(scene)
            for (setting, word) in [
                (["PGSERVICE": "nope"], "nope"),
                (["PGCHANNELBINDING": "require"], "channel binding"),
            ] {
                let outcome = try await reprise.run("status shop", environment: setting)
                expect(
                    outcome,
                    exits: 5,
                    saying: ["these settings", word, unchanged, "Correct the"]
                )
            }
        }
    }

    @Test(
        "C6: a limit of connections below what a command needs for itself is named with the number"
    )
    func connectionLimit() async throws {
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                try scene.appendShop(events: 200, seed: 6)
                try await scene.database.execute(
                    """
                    CREATE ROLE job LOGIN CONNECTION LIMIT 3;
                    GRANT ALL ON DATABASE scene TO job; GRANT ALL ON SCHEMA public TO job
                    """
                )
                var reprise = RepriseProcess(scene)
                reprise.databaseURL = "\(scene.database.url) user=job"
                let few = try await reprise.run("rebuild shop")
                expect(
                    few,
                    exits: 5,
                    saying: [
                        "The role job may have 3 connections at once", "needs 4", unchanged,
                        "ALTER ROLE job CONNECTION LIMIT 4",
                    ]
                )
                try await scene.database.execute("ALTER ROLE job CONNECTION LIMIT 4")
                expect(try await reprise.run("rebuild shop"), exits: 0)
                try await scene.database.execute("ALTER DATABASE scene CONNECTION LIMIT 3")
                expect(
                    try await reprise.run("rollback shop"),
                    exits: 5,
                    saying: [
                        "The database scene may have 3", "ALTER DATABASE scene CONNECTION LIMIT 4",
                    ]
                )
                try await scene.database.execute(
                    "ALTER ROLE job CONNECTION LIMIT 1; ALTER DATABASE scene CONNECTION LIMIT -1"
                )
                for command in ["prune shop", "follow shop", "remove shop --yes"] {
                    expect(
                        try await reprise.run(command),
                        exits: 5,
                        saying: ["The role job may have 1", "ALTER ROLE job CONNECTION LIMIT 2"]
                    )
                }
                try await scene.database.execute("ALTER ROLE job CONNECTION LIMIT 2")
                expect(try await reprise.run("prune shop"), exits: 0)
                expect(try await reprise.run("follow shop --until-caught-up"), exits: 0)
                try await scene.database.execute("ALTER ROLE job CONNECTION LIMIT 0")
                expect(
                    try await reprise.run("status shop"),
                    exits: 75,
                    saying: ["too many connections for role", "up to 4 at once", unchanged]
                )
            }
        }
    }

    /// The beginning of both servers: it listens, and reads what a client says first.
    private static let listening = """
        import socket, struct, sys

        def message(kind, body):
            return kind + struct.pack("!i", len(body) + 4) + body

        listener = socket.socket(socket.AF_UNIX)
        listener.bind(sys.argv[1] + "/.s.PGSQL.5432")
        listener.listen()
        print("listening", flush=True)

        def accept():
            client, _ = listener.accept()
            length, code = struct.unpack("!ii", client.recv(8, socket.MSG_WAITALL))
            while code in (80877103, 80877104):
                client.sendall(b"N")
                length, code = struct.unpack("!ii", client.recv(8, socket.MSG_WAITALL))
            client.recv(length - 8, socket.MSG_WAITALL)
            return client


        """

    /// Asks everybody for a password, and lets nobody in: the reason is the last two arguments.
    private static let refusingServer =
        listening + """
            fields = (b"S" + b"FATAL", b"V" + b"FATAL", b"C" + sys.argv[2].encode(), b"M" + sys.argv[3].encode())
            while True:
                client = accept()
                client.sendall(message(b"R", struct.pack("!i", 3)))
                client.recv(1000)
                client.sendall(message(b"E", b"".join(field + b"\\0" for field in fields) + b"\\0"))
                client.close()
            """

    /// Lets everybody in as PostgreSQL 14.5 does, and answers nothing: one that is asked something is
    /// not refused at once, and waits.
    private static let server =
        listening + """
            while True:
                client = accept()
                client.sendall(
                    message(b"R", struct.pack("!i", 0)) + message(b"S", b"server_version\\0" + b"14.5\\0")
                    + message(b"K", struct.pack("!ii", 1, 1)) + message(b"Z", b"I"))
                asked = client.recv(1)
                if asked not in (b"", b"X"):
                    sys.exit("it was asked something")
                client.close()
            """
}
