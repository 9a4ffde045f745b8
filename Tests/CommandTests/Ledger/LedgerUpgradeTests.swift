import Foundation
import Ledgers
import ProjectionKit
import TestSupport
import Testing

@Suite("Ledger upgrade")
struct LedgerUpgradeTests {
    /// Makes a ledger of format 1 by the migration and plain SQL: `file sql seed width`.
    private static let makeOld = """
        import random, sqlite3, sys, uuid
        path, migration, seed, width = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
        r = random.Random(seed)
        c = sqlite3.connect(path)
        c.execute('PRAGMA journal_mode = WAL')
        c.executescript(open(migration).read())
        c.execute("INSERT INTO settings VALUES ('bucket_width_ms', ?)", (width,))
        ids, repeated = [], 0
        for n in range(5000):
            ts = 1767225600000 + r.randrange(-300000, 300000)
            bucket = ts - ts % width
            id = r.randbytes(16)
            if ids and r.random() < 0.02:
                other, taken = r.choice(ids)
                if other != bucket and (bucket, taken) not in ids: id, repeated = taken, repeated + 1
            ids.append((bucket, id))
            data = r.choice(['{}', '{"a": 1}', '{"t":"é\\\\n"}', '{\\n"a":2}'])
            c.execute('INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)',
                (bucket, id, ts, f's{r.randrange(9)}', r.choice('ABC'), data))
        c.commit()
        c.close()
        print(repeated)
        """

    /// Compares: `old new`.
    private static let compare = """
        import json, sqlite3, sys, uuid
        old, new = (sqlite3.connect(f'file:{p}?mode=ro', uri=True) for p in sys.argv[1:3])
        a = old.execute('''SELECT event_id, ts, stream, type, message FROM events
            ORDER BY time_bucket, event_id''').fetchall()
        b = new.execute('''SELECT sequence, id, time, stream, type, payload, metadata FROM events
            ORDER BY sequence''').fetchall()
        assert len(a) == len(b)
        seen, moved = set(), 0
        for n, (x, y) in enumerate(zip(a, b)):
            id = str(uuid.UUID(bytes=x[0]))
            first = id not in seen
            seen.add(id)
            assert y[0] == n + 1
            assert y[1] == (id if first else None), (n, id, y[1])
            assert (y[6] is None) if first else json.loads(y[6]) == {'format1_id': id}
            assert y[2:6] == (x[1] * 1000, *x[2:]), (n, x, y)
            moved += not first
        width = new.execute('SELECT bucket_width_ms FROM ledger').fetchone()
        assert width == old.execute("SELECT value FROM settings WHERE name = 'bucket_width_ms'").fetchone()
        print(len(b), moved)
        """

    private static var migration: String {
        URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../../migrations/ledger/0001_events.sql").standardizedFileURL.path
    }

    private func withOld(
        _ body: (RepriseProcess, _ folder: String, _ repeated: Int) async throws -> Void
    ) async throws {
        let seed = Int.random(in: 0...999_999)
        print("seed \(seed)")
        try await withScratchFolder { folder in
            let repeated = try await Oracle.run(
                Self.makeOld,
                ["\(folder)/old.db", Self.migration, "\(seed)", "7000"]
            )
            try await body(
                RepriseProcess(in: folder),
                folder,
                try #require(Int(repeated.dropLast()))
            )
        }
    }

    @Test("the events come in the old order, with their ids; one that stood twice is kept once")
    func order() async throws {
        try await withOld { reprise, folder, repeated in
            #expect(repeated > 10)
            let before = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/old.db"))
            let refused = try await reprise.run("ledger info --ledger old.db")
            expect(
                refused,
                exits: 4,
                saying: ["has format 1", "'reprise ledger upgrade old.db NEW'"]
            )
            let outcome = try await reprise.run("ledger upgrade old.db new.db")
            expect(outcome, exits: 0)
            #expect(
                outcome.standardOutput.contains(
                    "Copied 5,000 events of 'old.db' to 'new.db', with buckets of 7 s, all sound; the ids of \(Figures.count(repeated)) stood"
                )
            )
            let counts = try await Oracle.run(
                Self.compare,
                ["\(folder)/old.db", "\(folder)/new.db"]
            )
            #expect(counts == "5000 \(repeated)\n")
            expect(try await reprise.run("ledger verify --ledger new.db"), exits: 0)
            #expect(try Data(contentsOf: URL(fileURLWithPath: "\(folder)/old.db")) == before)
            let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
            #expect(names.filter { !$0.hasPrefix("old.db") } == ["new.db"])
        }
    }

    /// Numbers as the command prints them.
    private enum Figures {
        static func count(_ number: Int) -> String {
            number < 1_000
                ? "\(number)"
                : "\(number / 1_000),\(String("\(1_000 + number % 1_000)".dropFirst()))"
        }
    }

    @Test("a file that may only be read is enough")
    func readOnly() async throws {
        try await withOld { _, folder, repeated in
            let program = try BuiltProgram("reprise").path
            try FileManager.default.createDirectory(
                atPath: "\(folder)/open",
                withIntermediateDirectories: false
            )
            for (path, mode) in [
                (folder, 0o555), ("\(folder)/old.db", 0o444), ("\(folder)/open", 0o777),
            ] {
                try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
            }
            let outcome = try await ChildProcess.run(
                "setpriv",
                [
                    "--reuid=65534", "--regid=65534", "--clear-groups", program, "ledger",
                    "upgrade", "\(folder)/old.db", "\(folder)/open/new.db",
                ]
            )
            expect(outcome, exits: 0)
            let counts = try await Oracle.run(
                Self.compare,
                ["\(folder)/old.db", "\(folder)/open/new.db"]
            )
            #expect(counts == "5000 \(repeated)\n")
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: folder).sorted() == [
                    "old.db", "open",
                ]
            )
        }
    }

    @Test("what cannot be upgraded is named, and nothing is left")
    func refusals() async throws {
        try await withOld { reprise, folder, _ in
            expect(try await reprise.run("ledger create new.db"), exits: 0)
            expect(
                try await reprise.run("ledger upgrade old.db new.db"),
                exits: 4,
                saying: ["There is something at 'new.db' already."]
            )
            expect(
                try await reprise.run("ledger upgrade new.db newer.db"),
                exits: 4,
                saying: ["The ledger 'new.db' has format 2, the newest one, already."]
            )
            expect(
                try await reprise.run("ledger upgrade nothing.db newer.db"),
                exits: 4,
                saying: ["There is no ledger at 'nothing.db'."]
            )
            let script = """
                import shutil, sqlite3, sys
                folder = sys.argv[1]
                def change(name, sql, *values):
                    shutil.copy(f'{folder}/old.db', f'{folder}/{name}')
                    c = sqlite3.connect(f'{folder}/{name}')
                    c.execute(sql, values)
                    c.commit()
                change('future.db', 'PRAGMA user_version = 9')
                change('foreign.db', 'PRAGMA application_id = 1')
                change('json.db', "UPDATE events SET message = 'secret' WHERE rowid_is = 1".replace('rowid_is = 1',
                    'event_id = (SELECT event_id FROM events LIMIT 1)'))
                change('empty.db', "UPDATE events SET stream = '' WHERE event_id = (SELECT event_id FROM events LIMIT 1)")
                change('time.db', 'UPDATE events SET ts = 9223372036854775807 WHERE event_id = (SELECT event_id FROM events LIMIT 1)')
                """
            _ = try await Oracle.run(script, [folder])
            for (name, said) in [
                ("future.db", "has format 9"),
                ("foreign.db", "is not a ledger: it is an SQLite database of"),
                ("json.db", "its message is not valid JSON"), ("empty.db", "its stream is empty"),
                ("time.db", "its time is outside the years 0001 to 9999"),
            ] {
                let outcome = try await reprise.run("ledger upgrade \(name) newer.db")
                expect(outcome, exits: 4, saying: [said])
                #expect(!outcome.standardError.contains("secret"))
            }
            let names = try FileManager.default.contentsOfDirectory(atPath: folder)
            #expect(!names.contains { $0.contains("newer") })
        }
    }
}
