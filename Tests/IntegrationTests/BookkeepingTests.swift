import Postgres
import ReadModels
import Rebuilder
import TestSupport
import Testing

@Suite("Bookkeeping")
struct BookkeepingTests {
    /// What the migrations after the first one made.
    private static let undone = """
        CREATE OR REPLACE VIEW reprise.live AS
        SELECT g.projection, g.generation, g.live_schema, g.live_since, c.position,
            c.updated_at AS position_updated_at
        FROM reprise.generation AS g LEFT JOIN reprise.checkpoint AS c USING (projection)
        WHERE g.state = 'live';
        ALTER TABLE reprise.generation DROP ledger, DROP counted_position, DROP counted_events,
            DROP digest, DROP round_xid, DROP round_at;
        ALTER TABLE reprise.checkpoint DROP ledger, DROP program, DROP counted_position,
            DROP counted_events, DROP digest;
        DROP TABLE reprise.session_lock, reprise.session_mark;
        DROP TABLE reprise.follow_up;
        DROP TABLE reprise.follower;
        ALTER TABLE reprise.generation DROP load_xid, DROP live_shape, DROP built_by;
        ALTER TABLE reprise.generation_table DROP kind, DROP shape, DROP foreign_keys;
        ALTER TABLE reprise.swap DROP attempts, DROP lock_wait_ms, DROP longest_failed_wait_ms,
            DROP held_ms;
        DELETE FROM reprise.migration WHERE number > 1;
        """

    @Test("a plan, a status and a rebuild bring an older schema up to date, and keep what it holds")
    func olderVersion() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted([1, 2]))
            _ = try await scene.rebuild(Tally.self)
            try await scene.database.execute(Self.undone)
            #expect(try await scene.plan(Tally.self).liveGeneration == 1)

            try await scene.database.execute(Self.undone)
            #expect(try await scene.control(Tally.self).status().generations.count == 1)

            try await scene.database.execute(Self.undone)
            try scene.append(counted([3]))
            #expect(try await scene.rebuild(Tally.self).generation == 2)
            #expect(try await scene.database.count("public.tally") == 3)
            _ = try await scene.control(Tally.self).rollback(patience: CutOverPatience())
            #expect(try await scene.database.count("public.tally") == 2)
        }
    }

    @Test("a plan of a database that nobody has used makes no schema in it")
    func unusedDatabase() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted([1]))
            #expect(try await scene.plan(Tally.self).refusals == [])
            let found = try await scene.database.query(
                "SELECT FROM pg_catalog.pg_namespace WHERE nspname ~ 'reprise|__g'"
            )
            #expect(found.rows.isEmpty)
        }
    }

    /// What others can do to the schema so that it runs their code, or says what they want.
    private static let takeOvers = [
        "ALTER SCHEMA reprise OWNER TO %mal%", "GRANT CREATE ON SCHEMA reprise TO %mal%",
        "ALTER TABLE reprise.run OWNER TO %mal%", "GRANT TRIGGER ON reprise.run TO %mal%",
        "GRANT UPDATE ON reprise.generation TO PUBLIC",
        """
        CREATE FUNCTION public.t() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN new; END$$;
        ALTER FUNCTION public.t() OWNER TO %mal%;
        CREATE TRIGGER t BEFORE INSERT ON reprise.run FOR EACH ROW EXECUTE FUNCTION public.t()
        """,
        "CREATE RULE r AS ON INSERT TO reprise.run DO ALSO NOTIFY x",
        "ALTER TABLE reprise.run ENABLE ROW LEVEL SECURITY",
        """
        CREATE FUNCTION public.name() RETURNS text LANGUAGE sql AS $$SELECT 'x'$$;
        ALTER FUNCTION public.name() OWNER TO %mal%;
        ALTER TABLE reprise.run ALTER command SET DEFAULT public.name()
        """,
    ]

    @Test("X2: bookkeeping that others can change is used by no command", arguments: takeOvers)
    func takenOver(_ statement: String) async throws {
        try await withStranger { scene, role in
            try scene.append(counted([1]))
            _ = try await scene.rebuild(Tally.self)
            try await scene.database.execute(statement.replacing("%mal%", with: role))
            await Self.expectRefusal { _ = try await scene.plan(Tally.self) }
            await Self.expectRefusal { _ = try await scene.control(Tally.self).status() }
            await Self.expectRefusal { _ = try await scene.rebuild(Tally.self) }
            await Self.expectRefusal { _ = try await scene.control(Tally.self).prune(keep: 0) }
        }
    }

    @Test("X2: a schema of that name that was there before is not filled")
    func squatted() async throws {
        try await withStranger { scene, role in
            try scene.append(counted([1]))
            try await scene.database.execute("CREATE SCHEMA reprise AUTHORIZATION \(role)")
            await Self.expectRefusal { _ = try await scene.rebuild(Tally.self) }
            #expect(
                try await scene.database.count(
                    "pg_catalog.pg_class WHERE relnamespace = 'reprise'::regnamespace"
                ) == 0
            )
        }
    }

    @Test("X3: default privileges give nobody a right on the bookkeeping")
    func defaultPrivileges() async throws {
        try await withStranger { scene, role in
            try scene.append(counted([1]))
            try await scene.database.execute(
                "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO \(role), PUBLIC; "
                    + "ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO \(role)"
            )
            _ = try await scene.rebuild(Tally.self)
            _ = try await scene.rebuild(Tally.self)
            let rights = try await scene.database.query(
                """
                SELECT c.relname FROM pg_catalog.pg_class AS c, pg_catalog.aclexplode(c.relacl) AS a
                WHERE c.relnamespace = 'reprise'::regnamespace AND a.grantee <> c.relowner
                """
            )
            #expect(rights.rows.isEmpty)
        }
    }

    private static func expectRefusal(_ body: () async throws -> Void) async {
        let error = await #expect(throws: ReadModelError.self) { try await body() }
        if case .untrustedBookkeeping = error { return }
        Issue.record("not refused, but \(error as Any)")
    }

    /// A database, and a role without rights in it.
    private func withStranger(
        _ body: (RebuildScene, _ role: String) async throws -> Void
    ) async throws {
        try await withRebuildScene { scene in
            let role = SQLText.identifier("\(scene.database.name)_mal")
            try await scene.database.execute("CREATE ROLE \(role)")
            let dropping = "DROP OWNED BY \(role) CASCADE; DROP ROLE \(role)"
            do {
                try await body(scene, role)
            } catch {
                // The first error is the one worth reading.
                _ = try? await scene.database.execute(dropping)
                throw error
            }
            try await scene.database.execute(dropping)
        }
    }
}
