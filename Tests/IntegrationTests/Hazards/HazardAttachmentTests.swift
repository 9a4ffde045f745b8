import Postgres
import ReadModels
import TestSupport
import Testing

@Suite("Hazards of a swap: what stands on a table")
struct HazardAttachmentTests {
    @Test(
        "H08: a rule goes on to the new table with its text and its enabled state",
        arguments: Shape.allCases
    )
    func rules(shape: Shape) async throws {
        let setUp = """
            INSERT INTO s.live VALUES (9, 'old');
            CREATE RULE ru AS ON DELETE TO s.live WHERE old.id = 9 DO INSTEAD NOTHING;
            CREATE RULE off AS ON UPDATE TO s.live DO INSTEAD NOTHING;
            CREATE RULE always AS ON INSERT TO s.live WHERE new.id = 8
                DO INSTEAD UPDATE s.live SET v = v WHERE live.id = 9;
            ALTER TABLE s.live DISABLE RULE off;
            ALTER TABLE s.live ENABLE ALWAYS RULE always;
            COMMENT ON RULE ru ON s.live IS 'r';
            """
        try await withHazard(
            shape,
            setUp: setUp,
            events: [Live.event(1, "new"), Live.event(9, "new")]
        ) { hazard in
            try await hazard.passes { epoch in
                try await hazard.execute("DELETE FROM s.live WHERE id = 9")
                try await hazard.expect("SELECT v FROM s.live WHERE id = 9", gives: epoch.rawValue)
            }
        }
    }

    private static let triggers = """
        CREATE TABLE s.audit (name text);
        CREATE FUNCTION s.note() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN INSERT INTO s.audit VALUES (tg_name); RETURN NULL; END';
        CREATE TRIGGER row AFTER INSERT OR UPDATE OF v ON s.live
            FOR EACH ROW WHEN (new.id > 0) EXECUTE FUNCTION s.note('it''s', '\\x');
        CREATE TRIGGER statement AFTER INSERT ON s.live REFERENCING NEW TABLE AS added
            FOR EACH STATEMENT EXECUTE FUNCTION s.note();
        CREATE CONSTRAINT TRIGGER later AFTER INSERT ON s.live DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION s.note();
        CREATE TRIGGER always AFTER INSERT ON s.live FOR EACH ROW EXECUTE FUNCTION s.note();
        CREATE TRIGGER replica AFTER INSERT ON s.live FOR EACH ROW EXECUTE FUNCTION s.note();
        CREATE TRIGGER off AFTER INSERT ON s.live FOR EACH ROW EXECUTE FUNCTION s.note();
        CREATE TRIGGER cut AFTER TRUNCATE ON s.live EXECUTE FUNCTION s.note();
        ALTER TABLE s.live ENABLE ALWAYS TRIGGER always;
        ALTER TABLE s.live ENABLE REPLICA TRIGGER replica;
        ALTER TABLE s.live DISABLE TRIGGER off;
        COMMENT ON TRIGGER row ON s.live IS 't';
        """

    @Test(
        "H23: triggers of every kind and state go on, and not one fires in a rebuild",
        arguments: Shape.allCases
    )
    func triggers(shape: Shape) async throws {
        try await withHazard(shape, setUp: Self.triggers) { hazard in
            try await hazard.passes { _ in
                #expect(try await hazard.database.count("s.audit") == 0)
                try await hazard.expect(
                    """
                    SELECT tgname::text || tgenabled::text FROM pg_trigger
                    WHERE tgrelid = 's.live'::regclass AND NOT tgisinternal ORDER BY tgname
                    """,
                    gives: "alwaysA",
                    "cutO",
                    "laterO",
                    "offD",
                    "replicaR",
                    "rowO",
                    "statementO"
                )
            }
            try await hazard.execute("INSERT INTO s.live VALUES (2, 'x')")
            try await hazard.expect(
                "SELECT name FROM s.audit ORDER BY name",
                gives: "always",
                "later",
                "row",
                "statement"
            )
        }
    }

    @Test(
        "H27: a policy of another table that asks the live one asks the new one",
        arguments: Shape.allCases
    )
    func policyElsewhere(shape: Shape) async throws {
        let setUp = """
            CREATE TABLE s.doc (id int);
            INSERT INTO s.doc VALUES (1), (2), (3);
            INSERT INTO s.live VALUES (3, 'old');
            ALTER TABLE s.doc ENABLE ROW LEVEL SECURITY;
            CREATE POLICY p ON s.doc TO %app% USING (id IN (SELECT id FROM s.live));
            CREATE POLICY w ON s.doc AS RESTRICTIVE FOR UPDATE TO %app%
                USING (true) WITH CHECK (EXISTS (SELECT FROM s.live AS l WHERE l.id = doc.id));
            COMMENT ON POLICY p ON s.doc IS 'p';
            GRANT USAGE ON SCHEMA s TO %app%;
            GRANT SELECT ON s.doc, s.live TO %app%;
            """
        try await withHazard(
            shape,
            setUp: setUp,
            roles: ["app"],
            events: [Live.event(1, "new"), Live.event(2, "new")]
        ) { hazard in
            try await hazard.passes { epoch in
                try await hazard.expect(
                    "SELECT id FROM s.doc ORDER BY id",
                    as: "app",
                    gives: "1",
                    epoch == .old ? "3" : "2"
                )
            }
        }
    }

    private static let settings = """
        COMMENT ON TABLE live IS 'it''s';
        COMMENT ON COLUMN live.v IS 'column';
        COMMENT ON INDEX live_v IS 'index';
        COMMENT ON CONSTRAINT live_pkey ON live IS 'key';
        COMMENT ON CONSTRAINT positive ON live IS 'check';
        COMMENT ON STATISTICS live_s IS 'statistics';
        ALTER STATISTICS live_s SET STATISTICS 50;
        ALTER TABLE live ALTER v SET STATISTICS 777;
        ALTER TABLE live ALTER v SET (n_distinct = 5, n_distinct_inherited = -0.5);
        ALTER TABLE live ALTER v SET STORAGE EXTERNAL;
        ALTER TABLE live ALTER doc SET COMPRESSION lz4;
        ALTER TABLE live SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05,
            toast.autovacuum_enabled = false);
        """
    private static let plainTable = """
        CREATE TABLE live (
            id int PRIMARY KEY, v text, doc text, CONSTRAINT positive CHECK (id > 0));
        CREATE INDEX live_v ON live (v);
        CREATE STATISTICS live_s (dependencies, mcv) ON id, v, (lower(v)) FROM live;
        """

    @Test(
        "H29: comments, statistics and storage settings stay, whether in the file or by hand",
        arguments: zip([Shape.cloned, .declared, .declared], [true, true, false])
    )
    func settings(shape: Shape, inFile: Bool) async throws {
        try await withHazard(
            shape,
            table: Self.plainTable + Self.settings,
            file: inFile ? nil : Self.plainTable
        ) { hazard in
            try await hazard.passes()
        }
    }

    @Test(
        "H30: tablespaces of table and index stay",
        arguments: zip([Shape.cloned, .declared, .declared], [true, true, false])
    )
    func tablespace(shape: Shape, inFile: Bool) async throws {
        try await withTablespace { tablespace in
            let plain = "CREATE TABLE live (id int PRIMARY KEY, v text);"
            let table = """
                CREATE TABLE live (
                    id int PRIMARY KEY USING INDEX TABLESPACE \(tablespace), v text)
                    TABLESPACE \(tablespace);
                CREATE INDEX live_v ON live (v) TABLESPACE \(tablespace);
                CREATE INDEX live_default ON live (lower(v));
                """
            try await withHazard(shape, table: table, file: inFile ? nil : plain) { hazard in
                try await hazard.passes { epoch in
                    try await hazard.expect("SELECT v FROM s.live", gives: epoch.rawValue)
                }
            }
        }
    }

    @Test("H30: an unlogged table is refused", arguments: Shape.allCases)
    func unlogged(shape: Shape) async throws {
        try await withHazard(
            shape,
            table: "CREATE UNLOGGED TABLE live (id int PRIMARY KEY, v text)"
        ) { hazard in
            try await hazard.isRefused(naming: "live")
            #expect(try await hazard.plan().refusals.contains { $0.contains("nlogged") })
        }
    }

    @Test("H30: a table access method stays")
    func accessMethod() async throws {
        try await withHazard(
            table: """
                CREATE ACCESS METHOD heap_too TYPE TABLE HANDLER heap_tableam_handler;
                CREATE TABLE live (id int PRIMARY KEY, v text) USING heap_too
                """
        ) { hazard in
            try await hazard.passes()
        }
    }

    @Test(
        "H31: the replica identity stays, on the right index",
        arguments: zip(
            ["FULL", "NOTHING", "USING INDEX live_v", "USING INDEX live_v", "DEFAULT"],
            [Shape.cloned, .declared, .cloned, .declared, .cloned]
        )
    )
    func replicaIdentity(identity: String, shape: Shape) async throws {
        let table = """
            CREATE TABLE live (id int PRIMARY KEY, v text NOT NULL);
            CREATE UNIQUE INDEX live_v ON live (v);
            """
        try await withHazard(
            shape,
            table: table,
            setUp: "ALTER TABLE s.live REPLICA IDENTITY \(identity)"
        ) { hazard in
            let index = identity.hasPrefix("USING") ? "s.live_v" : nil
            let kind = identity == "NOTHING" ? "n" : index == nil ? identity.prefix(1) : "i"
            try await hazard.passes { _ in
                try await hazard.expect(
                    """
                    SELECT relreplident::text || coalesce((SELECT indexrelid::regclass::text
                        FROM pg_index WHERE indrelid = c.oid AND indisreplident), '')
                    FROM pg_class AS c WHERE oid = 's.live'::regclass
                    """,
                    gives: kind.lowercased() + (index ?? "")
                )
            }
        }
    }

    private static let publication = "CREATE PUBLICATION p FOR TABLE s.live (id) WHERE (id > 0)"

    @Test("H32: a published table is refused by name", arguments: Shape.allCases)
    func publicationRefused(shape: Shape) async throws {
        try await withHazard(shape, setUp: Self.publication) { hazard in
            try await hazard.isRefused(naming: "publication p", truncates: true)
            try await hazard.expect("SELECT v FROM s.live", gives: "new")
        }
    }

    @Test(
        "H32: with consent a publication lists the new table, with its columns and its filter",
        arguments: Shape.allCases
    )
    func publication(shape: Shape) async throws {
        let consent = CarryOverConsent(republishes: true)
        try await withHazard(shape, setUp: Self.publication, consent: consent) { hazard in
            try await hazard.passes { _ in
                try await hazard.expect(
                    """
                    SELECT pg_catalog.concat_ws(' ', schemaname, tablename, attnames, rowfilter)
                    FROM pg_catalog.pg_publication_tables
                    """,
                    gives: "s live {id} (id > 0)"
                )
            }
        }
    }

    // Not from pg_publication_tables, whose function does not look with the query's snapshot.
    private static let published = """
        SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND (
            EXISTS (SELECT FROM pg_catalog.pg_publication_rel AS r WHERE r.prrelid = c.oid)
            OR EXISTS (SELECT FROM pg_catalog.pg_publication_namespace AS p WHERE p.pnnspid = n.oid))
        """

    @Test(
        "H33: a shadow table is at no moment in a publication of the live schema",
        arguments: Shape.allCases
    )
    func publicationOfSchema(shape: Shape) async throws {
        let consent = CarryOverConsent(republishes: true)
        let setUp = "CREATE PUBLICATION p FOR TABLES IN SCHEMA s"
        try await withHazard(shape, setUp: setUp, consent: consent) { hazard in
            try await withPollingReader(
                on: hazard.database,
                sql: Self.published
            ) { reader in
                try await hazard.passes()
                #expect(await reader.results == [["s.live"]])
                #expect(await reader.errors == [])
            }
        }
    }

    @Test(
        "H33: a publication of the schema or of all tables is refused by name",
        arguments: ["FOR TABLES IN SCHEMA s", "FOR ALL TABLES"]
    )
    func widePublicationRefused(tables: String) async throws {
        try await withHazard(setUp: "CREATE PUBLICATION p \(tables)") { hazard in
            try await hazard.isRefused(naming: "publication p", truncates: true)
        }
    }

    @Test("H33: with consent a publication of all tables goes on", arguments: Shape.allCases)
    func publicationOfAllTables(shape: Shape) async throws {
        let consent = CarryOverConsent(republishes: true)
        let setUp = "CREATE PUBLICATION p FOR ALL TABLES"
        try await withHazard(shape, setUp: setUp, consent: consent) { hazard in
            try await hazard.passes()
        }
    }
}

/// Runs `body` with a tablespace of the cluster, and drops it when nothing is in it any more.
private func withTablespace(_ body: (String) async throws -> Void) async throws {
    try await withScratchDatabase { database in
        let name = "\(database.name)_space"
        try await database.withConnection { connection in
            try await connection.execute("SET allow_in_place_tablespaces = true")
            try await connection.execute("CREATE TABLESPACE \(name) LOCATION ''")
        }
        do {
            try await body(name)
        } catch {
            // The first error is the one worth reading.
            _ = try? await database.execute("DROP TABLESPACE \(name)")
            throw error
        }
        try await database.execute("DROP TABLESPACE \(name)")
    }
}
