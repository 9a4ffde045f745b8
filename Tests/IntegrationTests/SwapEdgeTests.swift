import Ledgers
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import ShopProjection
import TestSupport
import Testing

/// A projection with a table of the same name as one of ``Tally``'s.
private struct Impostor: Projection {
    static let name = "impostor"
    static let schema: String? = """
        CREATE TABLE tally (id bigint PRIMARY KEY, events bigint NOT NULL, label text NOT NULL);
        """

    var tallies = Table<TallyRow>()

    mutating func reduce(_ event: borrowing Event) throws {}
}

@Suite("Swap, at the edges")
struct SwapEdgeTests {
    // MARK: Tables that are not ours to move

    @Test("a table that another projection has live is refused, never adopted")
    func tableOfAnother() async throws {
        try await withTally { scene in
            let before = try await SchemaDump.of(in: scene.database)
            for strategy in Strategy.allCases {
                let plan = try await scene.plan(Impostor.self, strategy: strategy)
                #expect(plan.refusals.contains { $0.contains("belongs to the projection 'tally'") })
                var options = RebuildOptions()
                options.strategy = strategy
                options.guards = RowGuards(allowsEmpty: true)
                await #expect(throws: ReadModelError.self) {
                    _ = try await scene.rebuild(Impostor.self, options: options)
                }
            }
            #expect(try await scene.database.count("public.tally") == 3)
            #expect(try await SchemaDump.of(in: scene.database) == before)
            _ = try await scene.rebuild(Tally.self)
        }
    }

    @Test("two built generations that want the same name: the second cannot take it")
    func sameNameAtTheCutOver() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted([1]))
            var options = RebuildOptions()
            options.swaps = false
            _ = try await scene.rebuild(Impostor.self, options: options)
            _ = try await scene.rebuild(Tally.self)
            await #expect(throws: ReadModelError.self) {
                _ = try await scene.control(Impostor.self).swap(patience: CutOverPatience())
            }
            #expect(try await scene.database.count("public.tally") == 1)
        }
    }

    @Test(
        "live tables that were moved or renamed by hand are refused, not taken for gone",
        arguments: [
            "ALTER TABLE public.tally RENAME TO tally_kept",
            "ALTER SCHEMA public RENAME TO moved; CREATE SCHEMA public",
        ]
    )
    func movedByHand(statement: String) async throws {
        try await withTally { scene in
            try await scene.database.execute(statement)
            let error = await #expect(throws: ReadModelError.self) {
                _ = try await scene.rebuild(Tally.self)
            }
            #expect("\(String(describing: error))".contains("is now"))
            let live = try await scene.database.query("SELECT generation FROM reprise.live")
            #expect(try live.first?.int("generation") == 1)
        }
    }

    @Test(
        "of several live tables it is the one elsewhere that is named",
        arguments: [
            ("ALTER TABLE public.order_line RENAME TO kept", "kept"),
            (
                """
                ALTER TABLE public.order_line RENAME TO kept;
                ALTER TABLE public.order_summary RENAME TO order_line;
                ALTER TABLE public.kept RENAME TO order_summary
                """, "order_summary"
            ),
        ]
    )
    func oneMovedByHand(statement: String, name: String) async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 500, seed: 3)
            _ = try await scene.rebuild(Shop.self)
            try await scene.database.execute(statement)
            let error = await #expect(throws: ReadModelError.self) {
                _ = try await scene.rebuild(Shop.self)
            }
            #expect(
                String(describing: error).contains(
                    "\"public\".\"order_line\" of generation 1 is now \"public\".\"\(name)\"."
                )
            )
        }
    }

    @Test("a live schema other than the recorded one is refused")
    func otherLiveSchema() async throws {
        try await withTally { scene in
            try await scene.database.execute("CREATE SCHEMA elsewhere")
            let target = ReadModelDatabase(
                conninfo: scene.database.url,
                liveSchema: "elsewhere"
            )
            let plan = try await target.plan(ProjectionTables(Tally.self), strategy: .swap)
            #expect(plan.refusals.contains { $0.contains("--schema public") })
        }
    }

    private static let homeQuery = """
        (SELECT nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE relname = 'tally' AND relkind = 'r' AND nspname <> 'public')
        """

    @Test(
        "a home schema that was dropped is made anew, and one that somebody else made is left alone"
    )
    func foreignHome() async throws {
        try await withTally { scene in
            try await scene.database.execute(
                "DROP SCHEMA tally__g1; CREATE SCHEMA tally__g1"
            )
            #expect(try await scene.rebuild(Tally.self).generation == 2)
            let home = try await scene.rows(of: Self.homeQuery).first ?? ""
            #expect(home.hasPrefix("(tally__g1_"))
            #expect(
                try await scene.control(Tally.self).rollback(patience: CutOverPatience())
                    .generation == 1
            )
            try await scene.database.execute("DROP SCHEMA tally__g1")
            #expect(try await scene.rebuild(Tally.self).generation == 3)
        }
    }

    // MARK: What is on the tables

    private static let misfits: [(statement: String, name: String?)] = [
        ("CREATE TABLE public.other (tally_events int)", nil),
        (
            """
            ALTER TABLE public.tally ADD extra bigint; CREATE VIEW public.v AS SELECT 1 AS \
            id; CREATE RULE redirect AS ON INSERT TO public.v DO INSTEAD UPDATE public.tally \
            SET extra = new.id
            """, "rule redirect on public.v"
        ),
        (
            """
            ALTER TABLE public.tally ADD extra bigint; CREATE TRIGGER watch BEFORE UPDATE OF \
            extra ON public.tally FOR EACH ROW EXECUTE FUNCTION \
            pg_catalog.suppress_redundant_updates_trigger()
            """, "trigger watch"
        ),
        (
            """
            ALTER TABLE public.tally ADD extra bigint; CREATE POLICY seen ON public.tally \
            USING (extra > 0)
            """, "policy seen"
        ),
        (
            """
            ALTER TABLE public.tally ADD extra bigint; CREATE TABLE public.doc (id bigint); \
            CREATE POLICY p ON public.doc USING (EXISTS (SELECT FROM public.tally AS t WHERE \
            t.extra = doc.id))
            """, "policy p on public.doc"
        ),
        (
            """
            ALTER TABLE public.tally ADD extra bigint; CREATE FUNCTION public.f() RETURNS \
            bigint BEGIN ATOMIC SELECT max(extra) FROM public.tally; END
            """, "function public.f()"
        ),
        (
            """
            ALTER TABLE public.tally ADD extra int; GRANT SELECT (extra) ON public.tally TO \
            %1
            """, "grant on the column extra"
        ),
        (
            """
            DROP INDEX public.tally_events; CREATE TABLE public.tally_events ()
            """, "tally_events"
        ),
        (
            """
            DROP TABLE public.tally CASCADE; CREATE TYPE public.tally AS ENUM ('a')
            """, "type public.tally"
        ),
        (
            """
            DROP STATISTICS public.tally_statistics; CREATE TABLE public.o (a int, b int); \
            CREATE STATISTICS public.tally_statistics ON a, b FROM public.o
            """, "statistics object"
        ),
    ]

    @Test(
        "what a swap would lose or cannot make is refused at plan time by name",
        arguments: misfits
    )
    func refusals(statement: String, name: String?) async throws {
        try await withTally { scene in
            try await withRoles(in: scene) { first, second in
                try await scene.database.execute(
                    statement.replacing("%1", with: first).replacing("%2", with: second)
                )
                let plan = try await scene.plan(Tally.self)
                guard let name else {
                    #expect(plan.refusals.isEmpty)
                    return
                }
                #expect(plan.refusals.contains { $0.contains(name) }, "\(plan.refusals)")
            }
        }
    }

    @Test("a view over a table that the new generation does not have is refused at plan time")
    func viewOverRemovedTable() async throws {
        try await withTally { scene in
            try await scene.database.execute(
                "CREATE VIEW public.days AS SELECT day FROM public.tally_day"
            )
            let plan = try await scene.plan(SmallTally.self)
            #expect(plan.refusals.contains { $0.contains("days") && $0.contains("tally_day") })
        }
    }

    @Test("a table that comes and goes between generations follows swap and rollback")
    func changingShape() async throws {
        try await withTally { scene in
            var options = RebuildOptions()
            options.consent = CarryOverConsent(acceptsLoss: true)
            _ = try await scene.rebuild(SmallTally.self, options: options)
            #expect(try await scene.rows(of: Self.tablesQuery) == ["(tally)"])
            #expect(try await scene.database.count("tally__g1.tally_day") == 1)
            _ = try await scene.control(SmallTally.self).rollback(patience: CutOverPatience())
            #expect(try await scene.rows(of: Self.tablesQuery) == ["(tally)", "(tally_day)"])
            _ = try await scene.control(Tally.self).swap(
                patience: CutOverPatience(),
                consent: options.consent
            )
            #expect(try await scene.rows(of: Self.tablesQuery) == ["(tally)"])
            _ = try await scene.rebuild(Tally.self)
            #expect(try await scene.rows(of: Self.tablesQuery) == ["(tally)", "(tally_day)"])
        }
    }

    private static let tablesQuery =
        "(SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = 'public')"

    @Test("owner, an owner's reduced rights and a grant to the rebuilding role are carried over")
    func ownersRights() async throws {
        try await withTally { scene in
            try await withRoles(in: scene) { owner, other in
                try await scene.database.execute(
                    """
                    GRANT CREATE ON SCHEMA public TO \(owner);
                    ALTER TABLE public.tally OWNER TO \(owner);
                    REVOKE INSERT, TRUNCATE ON public.tally FROM \(owner);
                    GRANT SELECT ON public.tally TO current_user;
                    GRANT UPDATE (label) ON public.tally TO \(other);
                    REVOKE ALL ON public.tally_day FROM current_user;
                    """
                )
                let before = try await SchemaDump.of(in: scene.database)
                _ = try await scene.rebuild(Tally.self)
                #expect(try await SchemaDump.of(in: scene.database) == before)
                try await scene.database.execute("GRANT ALL ON public.tally_day TO current_user")
                let between = try await SchemaDump.of(in: scene.database)
                _ = try await scene.control(Tally.self).rollback(patience: CutOverPatience())
                #expect(try await SchemaDump.of(in: scene.database) == between)
            }
        }
    }

    // MARK: Others at work at the same time

    @Test("grants and views that change while the cut-over waits are carried over")
    func changesMeanwhile() async throws {
        try await withTally { scene in
            try await scene.database.execute(
                "CREATE VIEW public.early AS SELECT id FROM public.tally"
            )
            try await scene.database.withConnection { reader in
                try await reader.execute("BEGIN; SELECT FROM public.tally")
                // Generous, so that the cut-over queues however long the reader has been there.
                var options = RebuildOptions()
                options.patience = CutOverPatience(outageBudget: 60_000)
                async let swapping = scene.rebuild(Tally.self, options: options)
                try await scene.waitForCutOver(toWaitFor: "public.tally")
                try await scene.database.execute(
                    "GRANT SELECT ON public.tally TO pg_monitor"
                )
                try await scene.waitForCutOver(toWaitFor: "public.tally")
                try await scene.database.execute(
                    "ALTER VIEW public.early SET (security_barrier = true)"
                )
                try await scene.waitForCutOver(toWaitFor: "public.tally")
                try await reader.execute("CREATE VIEW public.late AS SELECT id FROM public.tally")
                let before = try await scene.dumpWithoutLocks(by: reader)
                try await reader.execute("COMMIT")
                #expect(try await swapping.isLive)
                #expect(try await scene.dumpWithoutLocks(by: reader) == before)
            }
            try scene.append(counted([8]))
            _ = try await scene.rebuild(Tally.self)
            #expect(try await scene.database.count("public.late") == 4)
            #expect(try await scene.database.count("public.early") == 4)
        }
    }

    @Test("a session at work on a shadow table holds up the swap, and no reader of the live one")
    func busyShadow() async throws {
        try await withTally { scene in
            var options = RebuildOptions()
            options.swaps = false
            _ = try await scene.rebuild(Tally.self, options: options)
            try await scene.database.withConnection { worker in
                // What VACUUM takes.
                try await worker.execute(
                    "BEGIN; LOCK TABLE tally__g2.tally IN SHARE UPDATE EXCLUSIVE MODE"
                )
                async let swapping = scene.control(Tally.self).swap(patience: CutOverPatience())
                let session = try await scene.waitForCutOver(toWaitFor: "tally__g2.tally")
                #expect(!session.holdsLiveTable)
                try await worker.execute("COMMIT")
                #expect(try await swapping.generation == 2)
            }
        }
    }

    @Test(
        "H51: an answer to COMMIT that is lost is looked up, and the swap is reported as done",
        arguments: Strategy.allCases
    )
    func lostAnswer(strategy: Strategy) async throws {
        try await withTally { scene in
            let row = try await scene.database.query(
                """
                SELECT pg_catalog.inet_server_addr() IS NULL AS is_local,
                    pg_catalog.split_part(pg_catalog.current_setting('unix_socket_directories'),
                        ',', 1) || '/.s.PGSQL.' || pg_catalog.current_setting('port') AS path
                """
            ).first
            guard let row, try row.bool("is_local") else {
                print("NOT TESTED: a lost answer, because the server is not on a Unix socket")
                return
            }
            try scene.append(counted([8]))
            try await withScratchFolder { folder in
                try await CuttingProxy.withProxy(
                    in: folder,
                    to: try row.string("path"),
                    losingCommitAfter: "INSERT INTO reprise.swap"
                ) { proxy in
                    var options = RebuildOptions()
                    options.strategy = strategy
                    let report = try await Rebuild(
                        of: Tally.self,
                        from: try SQLiteLedger(path: scene.ledgerPath),
                        into: ReadModelDatabase(
                            conninfo: "\(scene.database.url) host='\(folder)' port=5432",
                            liveSchema: "public"
                        ),
                        options: options
                    ).run()
                    #expect(proxy.cutConnections == 1)
                    #expect(report.isLive && report.generation == 2)
                }
            }
            #expect(try await scene.database.count("public.tally") == 4)
            #expect(try await scene.database.count("reprise.swap") == 2)
        }
    }

    @Test("a foreign key to a table of others keeps its readers out at no time while rows load")
    func foreignKeyToOthers() async throws {
        try await withRebuildScene { scene in
            try await scene.database.execute(
                "CREATE TABLE public.guest (id bigint PRIMARY KEY); "
                    + "INSERT INTO public.guest SELECT generate_series(1, 9)"
            )
            try scene.append(counted([1, 2]))
            _ = try await scene.rebuild(GuestTally.self)
            try await scene.database.execute(
                """
                CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS
                    'BEGIN PERFORM pg_advisory_xact_lock_shared(4712); RETURN NEW; END';
                CREATE TRIGGER w BEFORE UPDATE ON reprise.generation_table
                    FOR EACH ROW EXECUTE FUNCTION public.wait();
                """
            )
            try await scene.database.withConnection { keeper in
                try await keeper.execute("SELECT pg_advisory_lock(4712)")
                async let rebuilding = scene.rebuild(GuestTally.self)
                let begin = ContinuousClock.now
                while true {
                    // The load writes down the row counts when the rows are in.
                    let loading = try await scene.database.query(
                        """
                        SELECT ARRAY(
                            SELECT g.mode FROM pg_catalog.pg_locks AS g
                            WHERE g.granted AND g.pid = l.pid
                                AND g.relation = 'public.guest'::pg_catalog.regclass) AS modes
                        FROM pg_catalog.pg_locks AS l
                        WHERE NOT l.granted AND l.locktype = 'advisory' AND l.objid = 4712
                        """
                    ).first
                    if let loading {
                        let modes = try loading.string("modes")
                        #expect(modes == "{}")
                        break
                    }
                    try #require(ContinuousClock.now - begin < .seconds(60))
                    await Task.yield()
                }
                try await keeper.execute("SELECT pg_advisory_unlock(4712)")
                #expect(try await rebuilding.isLive)
            }
        }
    }

    @Test("whoever keeps the checkpoint locked is named")
    func lockedCheckpoint() async throws {
        try await withTally { scene in
            try await scene.database.withConnection { projector in
                try await projector.execute(
                    "BEGIN; SELECT FROM reprise.checkpoint WHERE projection = 'tally' FOR UPDATE"
                )
                var options = RebuildOptions()
                options.patience = CutOverPatience(outageBudget: 50, deadline: 0.1)
                let error = await #expect(throws: ReadModelError.self) {
                    _ = try await scene.rebuild(Tally.self, options: options)
                }
                #expect(
                    "\(String(describing: error))".contains("pid \(projector.backendPID)")
                )
            }
        }
    }

    @Test("an ANALYZE that fails after a reload is a warning, because the new rows are live")
    func failingAnalyze() async throws {
        try await withTally { scene in
            try await scene.database.execute(
                """
                CREATE FUNCTION public.stubborn(bigint) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$
                BEGIN
                    IF pg_catalog.current_setting('application_name') = 'reprise analyze' THEN
                        RAISE EXCEPTION 'not now';
                    END IF;
                    RETURN $1;
                END $$;
                CREATE INDEX ON public.tally (public.stubborn(events));
                """
            )
            try scene.append(counted([8]))
            var options = RebuildOptions()
            options.strategy = .truncate
            let report = try await scene.rebuild(Tally.self, options: options)
            #expect(report.isLive)
            #expect(report.warnings.contains { $0.contains("ANALYZE") && $0.contains("not now") })
            #expect(try await scene.database.count("public.tally") == 4)
        }
    }

    /// Runs `body` with two roles without a login, and drops them afterwards.
    private func withRoles(
        in scene: RebuildScene,
        _ body: (String, String) async throws -> Void
    ) async throws {
        let names = ["first", "second"].map { "\(scene.database.name)_\($0)" }
        try await scene.database.execute(names.map { "CREATE ROLE \($0);" }.joined())
        let drop = names.map { "DROP OWNED BY \($0) CASCADE; DROP ROLE \($0);" }.joined()
        do {
            try await body(names[0], names[1])
        } catch {
            _ = try? await scene.database.execute(drop)
            throw error
        }
        try await scene.database.execute(drop)
    }
}

/// Runs `body` with a tally of three ids that is live as generation 1.
private func withTally<Result: Sendable>(
    _ body: (RebuildScene) async throws -> Result
) async throws -> Result {
    try await withRebuildScene { scene in
        try scene.append(counted([1, 2, 3]))
        _ = try await scene.rebuild(Tally.self)
        return try await body(scene)
    }
}

/// ``Tally`` whose ids are those of a table that the projection does not own.
private struct GuestTally: Projection {
    static let name = "tally"
    static let schema: String? = """
        CREATE TABLE tally (
            id bigint PRIMARY KEY REFERENCES guest, events bigint NOT NULL, label text NOT NULL);
        """

    var tallies = Table<TallyRow>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("id")
        tallies[id, default: TallyRow(id: id)].events += 1
    }
}

/// ``Tally`` without its table of days.
struct SmallTally: Projection {
    static let name = "tally"
    static let schema: String? = """
        CREATE TABLE tally (id bigint PRIMARY KEY, events bigint NOT NULL, label text NOT NULL);
        """

    var tallies = Table<TallyRow>()

    mutating func reduce(_ event: borrowing Event) throws {
        guard event.type == .counted else { return }
        let id = try event.payload.int64("id")
        tallies[id, default: TallyRow(id: id)].events += 1
    }
}

extension RebuildScene {
    /// Waits until a cut-over waits for an exclusive lock on a table.
    ///
    /// - Returns: The session that waits, and whether readers of `public.tally` wait for it.
    @discardableResult
    fileprivate func waitForCutOver(
        toWaitFor table: String
    ) async throws -> (pid: Int64, holdsLiveTable: Bool) {
        try await database.withConnection { connection in
            let begin = ContinuousClock.now
            while true {
                let waiting = try await connection.query(
                    """
                    WITH lock AS MATERIALIZED (
                        SELECT * FROM pg_catalog.pg_locks WHERE mode = 'AccessExclusiveLock'
                    )
                    SELECT pid, pid IN (
                        SELECT pid FROM lock
                        WHERE granted AND relation = 'public.tally'::pg_catalog.regclass) AS holds
                    FROM lock WHERE NOT granted AND relation = $1::pg_catalog.regclass
                    """,
                    [.text(table)]
                ).first
                if let waiting {
                    return (try waiting.int("pid"), try waiting.bool("holds"))
                }
                try #require(
                    ContinuousClock.now - begin < .seconds(60),
                    "nobody waits for \(table)"
                )
                await Task.yield()
            }
        }
    }

    /// Definitions and rights of the relations in `public`, read without a lock on them.
    fileprivate func dumpWithoutLocks(by connection: PostgresConnection) async throws -> [String] {
        try await connection.query(
            """
            SELECT pg_catalog.concat_ws(' ', relname, relkind, relacl, reloptions,
                pg_catalog.pg_get_userbyid(relowner)) AS line
            FROM pg_catalog.pg_class
            WHERE relnamespace = 'public'::pg_catalog.regnamespace AND relkind IN ('r', 'v')
            ORDER BY 1
            """
        ).rows.map { try $0.string("line") }
    }
}
