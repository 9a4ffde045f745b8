import ReadModels
import TestSupport
import Testing

@Suite("Hazards of a swap: constraints, sequences and indexes")
struct HazardConstraintTests {
    private static let child = """
        CREATE TABLE s.child (id int PRIMARY KEY, lid int REFERENCES s.live ON DELETE CASCADE);
        INSERT INTO s.child VALUES (1, 1);
        COMMENT ON CONSTRAINT child_lid_fkey ON s.child IS 'up';
        """

    @Test(
        "H09: with consent a foreign key of another table is made again, checked, and cascades",
        arguments: Shape.allCases
    )
    func incomingKey(shape: Shape) async throws {
        let consent = CarryOverConsent(recreatesIncomingForeignKeys: true)
        try await withHazard(shape, setUp: Self.child, consent: consent) { hazard in
            try await hazard.passes { _ in
                try await hazard.expect(
                    """
                    SELECT conname || ' ' || convalidated FROM pg_constraint
                    WHERE contype = 'f' AND conrelid = 's.child'::regclass
                        AND confrelid = 's.live'::regclass
                    """,
                    gives: "child_lid_fkey true"
                )
            }
            try await hazard.execute("DELETE FROM s.live WHERE id = 1")
            #expect(try await hazard.database.count("s.child") == 0)
        }
    }

    @Test(
        "H09: without consent a foreign key of another table is refused by name",
        arguments: Shape.allCases
    )
    func incomingKeyRefused(shape: Shape) async throws {
        try await withHazard(shape, setUp: Self.child) { hazard in
            try await hazard.isRefused(naming: "s.child")
        }
    }

    @Test(
        "H10: a foreign key whose parent row is missing in the new rows is not silently dropped",
        arguments: Shape.allCases
    )
    func incomingKeyWithoutParent(shape: Shape) async throws {
        let consent = CarryOverConsent(recreatesIncomingForeignKeys: true)
        try await withHazard(
            shape,
            setUp: Self.child,
            consent: consent,
            events: [Live.event(2, "new")]
        ) { hazard in
            let before = try await hazard.definitions()
            let error = await #expect(throws: ReadModelError.self) { try await hazard.rebuild() }
            #expect("\(error as Any)".contains("child_lid_fkey"))
            #expect(try await hazard.changes(since: before) == [])
            try await hazard.expect("SELECT v FROM s.live", gives: "old")
        }
    }

    @Test(
        "H11: a row without its parent stops the run, and names the foreign key",
        arguments: Shape.allCases
    )
    func outgoingKey(shape: Shape) async throws {
        try await withHazard(
            shape,
            of: LinkedLive.self,
            table: """
                CREATE TABLE IF NOT EXISTS s.par (id int PRIMARY KEY);
                CREATE TABLE live (id int PRIMARY KEY, v text, p int REFERENCES s.par)
                """,
            file: "CREATE TABLE live (id int PRIMARY KEY, v text, p int REFERENCES s.par)",
            events: [Live.event(1, "new", p: 73737)]
        ) { hazard in
            let before = try await hazard.definitions()
            let error = await #expect(throws: ReadModelError.self) { try await hazard.rebuild() }
            #expect("\(error as Any)".contains("live_p_fkey"))
            #expect(!"\(error as Any)".contains("73737"))
            #expect(try await hazard.changes(since: before) == [])
            try await hazard.expect("SELECT v FROM s.live", gives: "old")
            try await hazard.execute("INSERT INTO s.par VALUES (73737)")
            // Generation 1 is what the failed run left behind.
            try await hazard.rebuild()
            #expect(try await hazard.changes(since: before) == [])
            try await hazard.expect("SELECT v FROM s.live", gives: "new")
        }
    }

    @Test("H12: a foreign key to the table itself refers to the new one", arguments: Shape.allCases)
    func selfKey(shape: Shape) async throws {
        try await withHazard(
            shape,
            of: LinkedLive.self,
            table: """
                CREATE TABLE live (
                    id int PRIMARY KEY, v text, p int CONSTRAINT boss REFERENCES live (id))
                """,
            events: [Live.event(1, "new", p: 2), Live.event(2, "new")]
        ) { hazard in
            try await hazard.passes { _ in
                try await hazard.expect(
                    """
                    SELECT conname FROM pg_constraint WHERE convalidated AND contype = 'f'
                        AND conrelid = 's.live'::regclass AND confrelid = 's.live'::regclass
                    """,
                    gives: "boss"
                )
            }
        }
    }

    @Test(
        "H13: a foreign key between two tables of the projection joins the new ones",
        arguments: Shape.allCases
    )
    func innerKey(shape: Shape) async throws {
        try await withHazard(
            shape,
            of: Pair.self,
            table: Pair.tables,
            rows: Pair.rows
        ) { hazard in
            try await hazard.passes { epoch in
                try await hazard.expect(
                    """
                    SELECT conname FROM pg_constraint WHERE convalidated AND contype = 'f'
                        AND conrelid = 's.b'::regclass AND confrelid = 's.a'::regclass
                    """,
                    gives: "up"
                )
                try await hazard.expect(
                    "SELECT a.v || b.v FROM s.a JOIN s.b ON b.a_id = a.id",
                    gives: epoch.rawValue + epoch.rawValue
                )
            }
        }
    }

    @Test(
        "H14: a serial column keeps its sequence, which goes on behind the largest id",
        arguments: Shape.allCases
    )
    func serial(shape: Shape) async throws {
        try await withHazard(
            shape,
            table: "CREATE TABLE live (id serial PRIMARY KEY, v text)",
            rows: "INSERT INTO s.live (v) VALUES ('old'), ('old'), ('old')",
            setUp: "GRANT USAGE ON SEQUENCE s.live_id_seq TO %app%; "
                + "COMMENT ON SEQUENCE s.live_id_seq IS 'q'; ALTER SEQUENCE s.live_id_seq CACHE 3",
            roles: ["app"],
            events: (1...7).map { Live.event($0, "new") }
        ) { hazard in
            let oid = try await hazard.value("SELECT 's.live_id_seq'::regclass::oid")
            try await hazard.passes { _ in
                try await hazard.expect(
                    "SELECT pg_get_serial_sequence('s.live', 'id')",
                    gives: "s.live_id_seq"
                )
                try await hazard.expect("SELECT 's.live_id_seq'::regclass::oid", gives: oid)
            }
            let id = try await hazard.number("INSERT INTO s.live (v) VALUES ('x') RETURNING id")
            #expect(id > 7)
        }
    }

    @Test(
        "H15: an identity column goes on behind the largest id, under its sequence's old name",
        arguments: zip(
            [Shape.cloned, .declared, .declared],
            ["ALWAYS", "ALWAYS", "BY DEFAULT"]
        )
    )
    func identity(shape: Shape, kind: String) async throws {
        try await withHazard(
            shape,
            table: """
                CREATE TABLE live (
                    id int GENERATED \(kind) AS IDENTITY (
                        SEQUENCE NAME odd START 1 INCREMENT 5 MAXVALUE 9999 CACHE 2) PRIMARY KEY,
                    v text)
                """,
            rows: "INSERT INTO s.live (v) VALUES ('old')",
            setUp: "GRANT USAGE ON SEQUENCE s.odd TO %app%; COMMENT ON SEQUENCE s.odd IS 'q'",
            roles: ["app"],
            events: [1, 6, 101].map { Live.event($0, "new") }
        ) { hazard in
            try await hazard.passes { _ in
                try await hazard.expect(
                    "SELECT pg_get_serial_sequence('s.live', 'id')",
                    gives: "s.odd"
                )
            }
            let id = try await hazard.number("INSERT INTO s.live (v) VALUES ('x') RETURNING id")
            #expect(id > 101)
        }
    }

    @Test(
        "H15: an identity that is ahead of the new rows does not fall back",
        arguments: Shape.allCases
    )
    func identityAhead(shape: Shape) async throws {
        try await withHazard(
            shape,
            table:
                "CREATE TABLE live (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, v text)",
            rows: "INSERT INTO s.live (v) SELECT 'old' FROM generate_series(1, 20)",
            events: (1...11).map { Live.event($0, "new") }
        ) { hazard in
            try await hazard.passes()
            let id = try await hazard.number("INSERT INTO s.live (v) VALUES ('x') RETURNING id")
            #expect(id > 20)
        }
    }

    @Test(
        "H16: generated columns, deferrable and exclusion constraints stay as they are",
        arguments: Shape.allCases
    )
    func constraintKinds(shape: Shape) async throws {
        try await withHazard(
            shape,
            of: LinkedLive.self,
            table: """
                CREATE TABLE live (
                    id int PRIMARY KEY, v text, p int,
                    total int GENERATED ALWAYS AS (p * 2) STORED,
                    per int4range GENERATED ALWAYS AS (int4range(id, id + 1)) STORED,
                    UNIQUE (id, p) DEFERRABLE INITIALLY DEFERRED,
                    CONSTRAINT "no two" UNIQUE (p) DEFERRABLE,
                    EXCLUDE USING gist (per WITH &&),
                    CHECK (p <> 0) NO INHERIT)
                """,
            rows: "INSERT INTO s.live VALUES (1, 'old', 3)",
            events: [Live.event(1, "new", p: 7), Live.event(2, "new", p: 8)]
        ) { hazard in
            try await hazard.passes { epoch in
                let total = try await hazard.value("SELECT total FROM s.live WHERE id = 1")
                #expect(total == (epoch == .old ? "6" : "14"))
            }
        }
    }

    @Test("H17: a constraint that is not validated stays so", arguments: Shape.allCases)
    func notValid(shape: Shape) async throws {
        let setUp = """
            INSERT INTO s.live VALUES (-1, 'bad');
            ALTER TABLE s.live ADD CONSTRAINT c CHECK (id > 0) NOT VALID;
            COMMENT ON CONSTRAINT c ON s.live IS 'later';
            """
        try await withHazard(shape, setUp: setUp) { hazard in
            try await hazard.passes()
        }
    }

    @Test(
        "H18: ON CONFLICT ON CONSTRAINT finds the constraint right after the swap",
        arguments: Shape.allCases
    )
    func onConflict(shape: Shape) async throws {
        try await withHazard(shape) { hazard in
            try await hazard.passes { epoch in
                try await hazard.execute(
                    "INSERT INTO s.live VALUES (1, 'x') ON CONFLICT ON CONSTRAINT live_pkey "
                        + "DO UPDATE SET v = live.v"
                )
                try await hazard.expect("SELECT v FROM s.live", gives: epoch.rawValue)
            }
        }
    }

    private static let indexes = """
        CREATE INDEX partial ON live (v) WHERE id > 0;
        CREATE INDEX expression ON live (lower(v), (id + 1));
        CREATE INDEX ON live (v);
        CREATE INDEX ON live (upper(v));
        CREATE UNIQUE INDEX including ON live (id) INCLUDE (v);
        ALTER TABLE live ADD CONSTRAINT nn UNIQUE NULLS NOT DISTINCT (id, n);
        CREATE INDEX collated ON live (v COLLATE "POSIX" text_pattern_ops DESC NULLS LAST)
            WITH (fillfactor = 60);
        CREATE INDEX brin ON live USING brin (id int4_minmax_multi_ops (values_per_range = 16))
            WITH (pages_per_range = 4);
        CREATE INDEX gin ON live USING gin (tags) WITH (fastupdate = off);
        CREATE INDEX hashed ON live USING hash (v);
        ALTER INDEX expression ALTER COLUMN 2 SET STATISTICS 500;
        ALTER TABLE live CLUSTER ON including;
        COMMENT ON INDEX partial IS 'i';
        """

    @Test(
        "H19: indexes of every flavour stay as they are, whole and valid",
        arguments: zip([Shape.cloned, .declared, .declared], [true, true, false])
    )
    func indexes(shape: Shape, inFile: Bool) async throws {
        let table = "CREATE TABLE live (id int PRIMARY KEY, v text, n int, tags int[]);"
        try await withHazard(
            shape,
            table: table + Self.indexes,
            file: inFile ? nil : table
        ) { hazard in
            try await hazard.passes { _ in
                try await hazard.expect(
                    """
                    SELECT indexrelid::regclass::text FROM pg_index
                    WHERE indrelid = 's.live'::regclass
                        AND NOT (indisvalid AND indisready AND indislive)
                    """
                )
                try await hazard.expect(
                    """
                    SELECT indexrelid::regclass::text FROM pg_index
                    WHERE indrelid = 's.live'::regclass AND indisclustered
                    """,
                    gives: "s.including"
                )
            }
        }
    }
}
