import Ledgers
import Postgres
import ReadModels
import Rebuilder
import TestSupport
import Testing

@Suite("Hazards of a swap: events, rows and positions")
struct HazardDataTests {
    @Test(
        "H67: same-named tables and functions in front of the search path are not touched",
        arguments: Shape.allCases
    )
    func searchPath(shape: Shape) async throws {
        let setUp = """
            CREATE SCHEMA evil;
            CREATE TABLE evil.live (id int PRIMARY KEY, v text);
            INSERT INTO evil.live VALUES (1, 'evil');
            CREATE TABLE evil.pg_class (oid oid, relname name);
            CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS
                $$BEGIN RAISE 'trapped'; END$$;
            CREATE FUNCTION evil.lower(text) RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT 'evil'$$;
            CREATE INDEX live_v ON s.live (pg_catalog.lower(v));
            CREATE VIEW s.v AS SELECT pg_catalog.lower(v) AS v FROM s.live;
            CREATE TRIGGER t BEFORE UPDATE ON s.live FOR EACH ROW
                EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger();
            """
        try await withHazard(shape, setUp: setUp) { hazard in
            try await hazard.execute(
                "ALTER DATABASE \(hazard.database.name) SET search_path = evil, pg_catalog, s"
            )
            let evil = try await hazard.value(Self.evilRow)
            try await hazard.passes { epoch in
                try await hazard.expect("SELECT v FROM s.v", gives: epoch.rawValue)
                try await hazard.expect(Self.evilRow, gives: evil)
            }
        }
    }

    private static let evilRow = """
        SELECT pg_catalog.concat_ws(' ', c.oid, c.xmin, c.relfilenode, l.xmin, l.v)
        FROM evil.live AS l, pg_catalog.pg_class AS c WHERE c.oid = l.tableoid
        """

    @Test(
        "H70: a value that cannot be stored names table and column or event; live is untouched",
        arguments: [
            BadEvent(#"{"id": 3000000000, "v": "x"}"#, naming: "id", "live-2"),
            BadEvent(#"{"id": 2, "v": "new"}"#, naming: "live", "live_v_key"),
        ],
        Shape.allCases
    )
    func badEvent(_ bad: BadEvent, shape: Shape) async throws {
        try await withHazard(
            shape,
            table: "CREATE TABLE live (id int PRIMARY KEY, v text UNIQUE)",
            events: [
                Live.event(1, "new"), NewEvent(stream: "live-2", type: "Set", data: bad.data),
            ]
        ) { hazard in
            let before = try await hazard.definitions()
            let error = await #expect(throws: (any Error).self) { try await hazard.rebuild() }
            for name in bad.names {
                #expect("\(error as Any)".contains(name), "\(error as Any)")
            }
            #expect(try await hazard.changes(since: before) == [])
            try await hazard.expect("SELECT v FROM s.live", gives: "old")
        }
    }

    @Test("H70: a text with U+0000 does not come into the ledger")
    func nulCharacter() async throws {
        try await withHazard { hazard in
            let bad = NewEvent(stream: "live-2", type: "Set", data: #"{"id": 2, "v": "a\u0000b"}"#)
            #expect(throws: LedgerError.self) { try hazard.scene.append([bad]) }
            try await hazard.passes()
        }
    }

    @Test(
        "H71: a reload truncates tables that refer to each other together, and nothing outside",
        arguments: Shape.allCases
    )
    func truncateGroup(shape: Shape) async throws {
        try await withHazard(
            shape,
            of: Pair.self,
            table: Pair.tables,
            rows: Pair.rows
        ) { hazard in
            let before = try await hazard.definitions()
            let oids = "SELECT 's.a'::regclass::oid || ' ' || 's.b'::regclass::oid"
            let found = try await hazard.value(oids)
            try await hazard.rebuild(.truncate)
            try await hazard.expect(oids, gives: found)
            try await hazard.expect("SELECT a.v || b.v FROM s.a, s.b", gives: "newnew")
            #expect(try await hazard.changes(since: before) == [])

            try await hazard.execute(
                "CREATE TABLE s.guest (a int REFERENCES s.a); INSERT INTO s.guest VALUES (1)"
            )
            #expect(try await hazard.plan(.truncate).refusals.contains { $0.contains("guest") })
            await #expect(throws: ReadModelError.self) { try await hazard.rebuild(.truncate) }
            #expect(try await hazard.database.count("s.guest") == 1)
            try await hazard.expect("SELECT a.v || b.v FROM s.a, s.b", gives: "newnew")
        }
    }

    @Test("H72: a statement that fails in the middle of the swap leaves both old tables")
    func failureInBatch() async throws {
        let setUp = """
            CREATE FUNCTION s.veto() RETURNS event_trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF EXISTS (SELECT FROM pg_catalog.pg_event_trigger_ddl_commands() AS c
                    JOIN pg_catalog.pg_class AS t ON t.oid = c.objid
                    WHERE c.object_identity = 's.b' AND t.oid <> %OLD%) THEN
                    RAISE EXCEPTION 'vetoed';
                END IF;
            END $$;
            CREATE EVENT TRIGGER veto ON ddl_command_end WHEN TAG IN ('ALTER TABLE')
                EXECUTE FUNCTION s.veto();
            """
        try await withHazard(of: Pair.self, table: Pair.tables, rows: Pair.rows) { hazard in
            let old = try await hazard.number("SELECT 's.b'::regclass::oid")
            try await hazard.execute(setUp.replacing("%OLD%", with: "\(old)"))
            let before = try await hazard.definitions()
            try await hazard.build()
            let error = await #expect(throws: ReadModelError.self) { try await hazard.swap() }
            #expect("\(error as Any)".contains("vetoed"))
            #expect(try await hazard.changes(since: before) == [])
            try await hazard.expect("SELECT a.v || b.v FROM s.a, s.b", gives: "oldold")
            #expect(try await hazard.database.count("reprise.swap") == 0)
            try await hazard.execute("DROP EVENT TRIGGER veto")
            try await hazard.swap()
            try await hazard.expect("SELECT a.v || b.v FROM s.a, s.b", gives: "newnew")
        }
    }

    @Test("H72: a constraint of one table that fails keeps both tables of the group")
    func failureInBuild() async throws {
        try await withHazard(
            of: Pair.self,
            table: Pair.tables,
            rows: Pair.rows,
            setUp: "ALTER TABLE s.b ADD CONSTRAINT short CHECK (v <> 'new')"
        ) { hazard in
            let before = try await hazard.definitions()
            let error = await #expect(throws: ReadModelError.self) { try await hazard.rebuild() }
            #expect("\(error as Any)".contains("short"))
            #expect(try await hazard.changes(since: before) == [])
            try await hazard.expect("SELECT a.v || b.v FROM s.a, s.b", gives: "oldold")
        }
    }

    @Test("H74: a generation that stands before the live tables is not swapped in unless allowed")
    func positionGuard() async throws {
        try await withHazard { hazard in
            try await hazard.rebuild()
            try await hazard.build()
            try await hazard.execute(
                "UPDATE reprise.checkpoint SET position = 'ffffffffffffffff' || "
                    + "substr(position, 17); UPDATE s.live SET v = 'newest'"
            )
            let error = await #expect(throws: ReadModelError.self) { try await hazard.swap() }
            guard case .behindLive = error else {
                Issue.record("got \(error as Any)")
                return
            }
            try await hazard.expect("SELECT v FROM s.live", gives: "newest")
            try await hazard.swap(patience: CutOverPatience(allowsOlder: true))
            try await hazard.expect("SELECT v FROM s.live", gives: "new")
        }
    }
}

struct BadEvent: Sendable, CustomTestStringConvertible {
    let data: String
    let names: [String]

    var testDescription: String { data }

    init(_ data: String, naming names: String...) {
        self.data = data
        self.names = names
    }
}
