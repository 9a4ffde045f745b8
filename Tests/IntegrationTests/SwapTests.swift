import Foundation
import Ledgers
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import TestSupport
import Testing

@Suite("Swap")
struct SwapTests {
    // Everything a swap carries over is put onto the live tables by hand, after the first rebuild.
    private static let additions = """
        CREATE ROLE %APP% NOLOGIN;
        GRANT USAGE ON SCHEMA public TO %APP%;
        GRANT SELECT ON public.tally TO %APP%;
        GRANT UPDATE (label) ON public.tally TO %APP% WITH GRANT OPTION;
        GRANT SELECT ON public.tally_day TO PUBLIC;
        CREATE VIEW public.busy WITH (security_barrier=true, check_option=local) AS
            SELECT id, label FROM public.tally WHERE events > 1;
        CREATE VIEW public.named AS SELECT b.label, t.events
            FROM public.busy AS b JOIN public.tally AS t USING (id);
        CREATE VIEW public.grouped AS
            SELECT id, label, count(*) AS c FROM public.tally GROUP BY id;
        CREATE VIEW public.over_view AS SELECT label FROM public.busy;
        CREATE VIEW public."We""ird" WITH (security_invoker=true) AS
            SELECT d.day, t.id FROM public.tally AS t, public.tally_day AS d;
        ALTER VIEW public.busy ALTER label SET DEFAULT 'd';
        COMMENT ON VIEW public.busy IS 'The busy ones.';
        GRANT SELECT ON public.busy TO %APP%;
        SET ROLE %APP%;
        GRANT UPDATE (label) ON public.tally TO PUBLIC;
        RESET ROLE;
        CREATE TABLE public.audit (id bigint);
        CREATE FUNCTION public.on_tally() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO public.audit VALUES (NEW.id); RETURN NEW; END $$;
        CREATE TRIGGER watch AFTER INSERT OR UPDATE OF label ON public.tally
            FOR EACH ROW WHEN (NEW.label <> 'x') EXECUTE FUNCTION public.on_tally();
        ALTER TABLE public.tally ENABLE ALWAYS TRIGGER watch;
        COMMENT ON TRIGGER watch ON public.tally IS 'Who changed what.';
        CREATE RULE keep AS ON DELETE TO public.tally WHERE old.id = 9 DO INSTEAD NOTHING;
        ALTER TABLE public.tally DISABLE RULE keep;
        CREATE RULE forward AS ON INSERT TO public.busy DO INSTEAD
            INSERT INTO public.tally (id, events, label) VALUES (NEW.id, 1, NEW.label);
        ALTER TABLE public.tally ENABLE ROW LEVEL SECURITY;
        CREATE POLICY seen ON public.tally FOR SELECT TO %APP%
            USING (id IN (SELECT id FROM public.tally_day WHERE events > 0) OR label = 'new');
        CREATE POLICY strict ON public.tally AS RESTRICTIVE USING (id > 0) WITH CHECK (id > 0);
        COMMENT ON POLICY seen ON public.tally IS 'What the application may see.';
        CREATE TABLE public.doc (id bigint);
        ALTER TABLE public.doc ENABLE ROW LEVEL SECURITY;
        CREATE POLICY p ON public.doc
            USING (EXISTS (SELECT FROM public.tally AS t WHERE t.id = doc.id));
        CREATE FUNCTION public.total() RETURNS bigint BEGIN ATOMIC
            SELECT sum(events)::bigint FROM public.tally; END;
        GRANT EXECUTE ON FUNCTION public.total() TO %APP%;
        CREATE MATERIALIZED VIEW public.sums AS
            SELECT label, sum(events) AS events FROM public.tally GROUP BY label;
        CREATE UNIQUE INDEX sums_label ON public.sums (label);
        COMMENT ON MATERIALIZED VIEW public.sums IS 'By label.';
        GRANT SELECT ON public.sums TO %APP%;
        CREATE VIEW public.over_sums AS SELECT label FROM public.sums;
        CREATE MATERIALIZED VIEW public.counts AS SELECT count(*) AS n FROM public.busy;
        CREATE UNIQUE INDEX counts_n ON public.counts (n);
        CREATE PUBLICATION %APP% FOR TABLE public.tally (id, label) WHERE (id > 1),
            TABLE public.tally_day;
        CREATE TABLE public.child (id int PRIMARY KEY,
            tally bigint CONSTRAINT of_tally REFERENCES public.tally ON DELETE CASCADE);
        INSERT INTO public.child VALUES (1, 2);
        COMMENT ON CONSTRAINT of_tally ON public.child IS 'Whose it is.';
        """

    @Test("pg_dump of the schema is the same before and after swap, rollback and swap back")
    func onlyTheRowsChange() async throws {
        let consent = CarryOverConsent(republishes: true, recreatesIncomingForeignKeys: true)
        try await withTally { scene in
            let role = "reprise_app_\(scene.database.name.suffix(12))"
            try await scene.database.execute(
                Self.additions.replacing("%APP%", with: role)
            )
            let viewsBefore = try await scene.rows(of: Self.viewOIDs)
            let before = try await SchemaDump.of(in: scene.database)
            try scene.append(counted([1, 2, 9]))
            var options = RebuildOptions()
            options.consent = consent
            // Of a slow machine the plan says that the default may not be enough.
            options.patience = CutOverPatience(outageBudget: 60_000)
            let report = try await scene.rebuild(Tally.self, options: options)
            let others = report.warnings.filter { !$0.hasPrefix("publication") }
            #expect(others == [], "nothing is left to be done")
            #expect(try await SchemaDump.of(in: scene.database) == before)
            #expect(try await scene.rows(of: Self.viewOIDs) == viewsBefore)
            #expect(try await scene.database.count("public.audit") == 0)
            #expect(try await scene.rows(of: "public.sums") == ["(new,6)"])
            #expect(try await scene.rows(of: "public.counts") == ["(2)"])
            let total = try await scene.database.query("SELECT public.total() AS total").first
            #expect(try total?.int("total") == 6)
            #expect(try await scene.rows(of: "public.busy") == ["(1,new)", "(2,new)"])
            #expect(try await scene.rows(of: "public.named") == ["(new,2)", "(new,2)"])
            #expect(try await scene.database.count("public.grouped") == 4)

            _ = try await scene.control(Tally.self).rollback(
                patience: CutOverPatience(),
                consent: consent
            )
            #expect(try await SchemaDump.of(in: scene.database) == before)
            #expect(try await scene.database.count("public.grouped") == 3)
            _ = try await scene.control(Tally.self).swap(
                patience: CutOverPatience(),
                consent: consent
            )
            #expect(try await SchemaDump.of(in: scene.database) == before)
            // Nothing hangs on the retired tables: RESTRICT can drop them.
            let pruned = try await scene.control(Tally.self).prune(keep: 0)
            #expect(pruned.postponed.isEmpty)
            #expect(pruned.dropped == [1])
            try await scene.database.execute("DROP OWNED BY \(role) CASCADE; DROP ROLE \(role)")
        }
    }

    private static let viewOIDs =
        "(SELECT oid, relname FROM pg_catalog.pg_class WHERE relkind = 'v' "
        + "AND relnamespace = 'public'::regnamespace)"

    @Test("a view that cannot follow is refused at plan time by name")
    func unfitView() async throws {
        try await withRebuildScene { scene in
            try await scene.database.execute(
                """
                CREATE TABLE public.tally (id int PRIMARY KEY, events bigint, label text, extra text);
                CREATE VIEW public.extras AS SELECT extra FROM public.tally;
                CREATE VIEW public.ids AS SELECT id FROM public.tally;
                """
            )
            let plan = try await scene.plan(Tally.self)
            #expect(plan.refusals.count == 3)
            #expect(plan.refusals.contains { $0.contains("column extra of public.tally") })
            #expect(plan.refusals.contains { $0.contains("view ") && $0.contains("extras") })
            #expect(plan.refusals.contains { $0.contains("ids") && $0.contains("type") })
        }
    }

    @Test(
        "what a swap cannot carry over is refused by name",
        arguments: [
            ("CREATE TABLE public.child (t bigint REFERENCES public.tally)", "child"),
            (
                "CREATE FUNCTION public.f(r public.tally) RETURNS text LANGUAGE sql AS "
                    + "'SELECT r.label'", "function"
            ),
            ("CREATE TABLE public.u (r public.tally)", "column r of table"),
            ("CREATE TABLE public.heir () INHERITS (public.tally)", "inheritance"),
            ("CREATE PUBLICATION p FOR TABLE public.tally", "publication p"),
        ]
    )
    func hazards(statement: String, name: String) async throws {
        try await withTally { scene in
            try await scene.database.execute(statement)
            let plan = try await scene.plan(Tally.self)
            #expect(plan.refusals.contains { $0.contains(name) }, "\(plan.refusals)")
            let before = try await SchemaDump.of(in: scene.database)
            await #expect(throws: ReadModelError.self) { _ = try await scene.rebuild(Tally.self) }
            #expect(try await SchemaDump.of(in: scene.database) == before)
        }
    }

    @Test("default privileges do not leak onto the new tables")
    func defaultPrivileges() async throws {
        try await withTally { scene in
            try await scene.database.execute(
                """
                REVOKE ALL ON public.tally FROM PUBLIC;
                ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;
                """
            )
            _ = try await scene.rebuild(Tally.self)
            let rights = try await scene.database.query(
                "SELECT has_table_privilege('pg_monitor', 'public.tally', 'SELECT') AS leaked"
            )
            #expect(try rights.first?.bool("leaked") == false)
        }
    }

    @Test("after a rollback the next rebuild keeps, and goes back to, what was live before it")
    func rolledBackGeneration() async throws {
        try await withTally { scene in
            _ = try await scene.rebuild(Tally.self)
            let patience = CutOverPatience()
            _ = try await scene.control(Tally.self).rollback(patience: patience)
            let third = try await scene.rebuild(Tally.self)
            #expect(third.previousGeneration == 1)
            #expect(third.droppedGenerations == [2])
            let back = try await scene.control(Tally.self).rollback(patience: patience)
            #expect(back.generation == 1)
        }
    }

    @Test("a blocked cut-over names the blocker, leaves live alone, and a later swap goes well")
    func blocked() async throws {
        try await withTally { scene in
            let before = try await scene.rows(of: "public.tally")
            try scene.append(counted([7]))
            try await scene.database.withConnection { blocker in
                try await blocker.execute("BEGIN; SELECT FROM public.tally")
                var options = RebuildOptions()
                options.patience = CutOverPatience(outageBudget: 50, deadline: 0.2)
                let error = await #expect(throws: ReadModelError.self) {
                    _ = try await scene.rebuild(Tally.self, options: options)
                }
                guard case .cutOverBlocked(_, _, let blockers, true, 2) = error else {
                    Issue.record("expected cutOverBlocked, got \(String(describing: error))")
                    return
                }
                #expect(blockers.contains { $0.contains("pid \(blocker.backendPID)") })
                #expect(try await scene.rows(of: "public.tally") == before)
            }
            let swapped = try await scene.control(Tally.self).swap(patience: CutOverPatience())
            #expect(swapped.generation == 2)
            #expect(try await scene.rows(of: "public.tally") != before)
        }
    }

    @Test("a generation that stands before the live position is not swapped in unless allowed")
    func positionGuard() async throws {
        try await withTally { scene in
            var options = RebuildOptions()
            options.swaps = false
            _ = try await scene.rebuild(Tally.self, options: options)
            // A projector that goes ahead while the tables are reloaded.
            let ahead = "ffffffffffffffff-0000000000000000-0000000000000000"
            options.swaps = true
            options.strategy = .truncate
            options.hooks = Hooks(
                beforeSwap: [
                    "psql -X '\(scene.database.url)' -c \"UPDATE reprise.checkpoint SET position = '\(ahead)'\""
                ],
                afterSwap: [],
                timeout: 60
            )
            let reload = await #expect(throws: ReadModelError.self) {
                _ = try await scene.rebuild(Tally.self, options: options)
            }
            guard case .behindLive = reload else {
                Issue.record("expected behindLive, got \(String(describing: reload))")
                return
            }
            let error = await #expect(throws: ReadModelError.self) {
                _ = try await scene.control(Tally.self).swap(patience: CutOverPatience())
            }
            guard case .behindLive = error else {
                Issue.record("expected behindLive, got \(String(describing: error))")
                return
            }
            // The ledger ends before the live position, which is seen before anything is folded.
            options.hooks = Hooks()
            let early = await #expect(throws: RebuildError.self) {
                _ = try await scene.rebuild(Tally.self, options: options)
            }
            guard case .ledgerMismatch(let mismatch) = early, case .endsEarly = mismatch.difference
            else {
                Issue.record("expected an early end, got \(String(describing: early))")
                return
            }
            let forced = try await scene.control(Tally.self).swap(
                patience: CutOverPatience(allowsOlder: true)
            )
            #expect(forced.generation == 2)
        }
    }

    @Test("tables that were there before are adopted as generation 0 and come back by a rollback")
    func adoption() async throws {
        try await withRebuildScene { scene in
            try await scene.database.execute(
                """
                CREATE TABLE public.tally (
                    id bigint PRIMARY KEY, events bigint NOT NULL, label text NOT NULL);
                INSERT INTO public.tally VALUES (1, 99, 'by hand');
                """
            )
            try scene.append(counted([1, 2]))
            let report = try await scene.rebuild(Tally.self)
            #expect(report.generation == 1)
            #expect(report.previousGeneration == 0)
            #expect(try await scene.rows(of: "tally__g0.tally") == ["(1,99,\"by hand\")"])
            _ = try await scene.control(Tally.self).rollback(patience: CutOverPatience())
            #expect(try await scene.rows(of: "public.tally") == ["(1,99,\"by hand\")"])
            #expect(try await scene.rows(of: "tally__g1.tally_day").count == 1)
        }
    }

    @Test("a projection without schema.sql clones the live tables, names and all")
    func clone() async throws {
        try await withRebuildScene { scene in
            try await scene.database.execute(
                """
                CREATE TABLE public.tally (
                    id bigint CONSTRAINT "key of it" PRIMARY KEY,
                    events bigint NOT NULL DEFAULT 0 CONSTRAINT positive CHECK (events >= 0),
                    label text COLLATE "C" NOT NULL,
                    boss bigint CONSTRAINT up REFERENCES public.tally
                ) WITH (fillfactor=70);
                CREATE UNIQUE INDEX "a USING b" ON public.tally (lower(label), id) INCLUDE (events)
                    WHERE events > 0;
                ALTER TABLE public.tally CLUSTER ON "key of it";
                ALTER TABLE public.tally REPLICA IDENTITY USING INDEX "key of it";
                COMMENT ON TABLE public.tally IS 'c'; COMMENT ON COLUMN public.tally.id IS 'k';
                COMMENT ON INDEX public."a USING b" IS 'i';
                COMMENT ON CONSTRAINT up ON public.tally IS 'f';
                CREATE STATISTICS public."s t" (mcv) ON id, events, (lower(label)) FROM public.tally;
                ALTER STATISTICS public."s t" SET STATISTICS 50;
                COMMENT ON STATISTICS public."s t" IS 's';
                ALTER TABLE public.tally ALTER label SET STATISTICS 777;
                ALTER TABLE public.tally ALTER label SET (n_distinct = 5, n_distinct_inherited = -1);
                ALTER TABLE public.tally SET (toast.autovacuum_enabled = false);
                INSERT INTO public.tally VALUES (1, 99, 'by hand');
                """
            )
            let before = try await SchemaDump.of(in: scene.database)
            try scene.append(counted([1, 2]))
            let report = try await scene.rebuild(ClonedTally.self)
            #expect(report.generation == 1)
            #expect(try await SchemaDump.of(in: scene.database) == before)
            #expect(try await scene.rows(of: "public.tally") == ["(1,1,new,)", "(2,1,new,)"])
        }
    }

    @Test("readers and view readers see whole generations through 20 swaps, and no error")
    func twentySwaps() async throws {
        try await withTally { scene in
            try await scene.database.execute(
                "CREATE VIEW public.both AS SELECT t.events, d.events AS day_events "
                    + "FROM (SELECT sum(events) AS events FROM public.tally) AS t, "
                    + "(SELECT sum(events) AS events FROM public.tally_day) AS d"
            )
            try await withPollingReader(
                on: scene.database,
                sql: "SELECT events, day_events FROM public.both"
            ) { viewReader in
                try await withPollingReader(
                    on: scene.database,
                    sql: "SELECT (SELECT sum(events) FROM public.tally_day), "
                        + "(SELECT sum(events) FROM public.tally)"
                ) { reader in
                    for _ in 1...20 {
                        try scene.append(counted([1]))
                        _ = try await scene.rebuild(Tally.self)
                        await reader.nextPoll()
                        await viewReader.nextPoll()
                    }
                    for reader in [reader, viewReader] {
                        #expect(await reader.errors.isEmpty)
                        // Three events at first, one more in each generation.
                        let wholeOnes = (3...23).map { ["\($0)|\($0)"] }
                        #expect(await reader.results == wholeOnes)
                    }
                }
            }
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
}

/// A parent and its child, declared in the order that a reload must not copy them in.
struct Family: Projection {
    struct Child: TableRow {
        var id: Int64
        var parent: Int64
        var key: Int64 { id }

        static let table = TableDefinition<Child>("family_child", key: "id") {
            Column("id", \.id)
            Column("parent", \.parent)
        }
    }

    struct Parent: TableRow {
        var id: Int64
        var key: Int64 { id }

        static let table = TableDefinition<Parent>("family_parent", key: "id") {
            Column("id", \.id)
        }
    }

    static let name = "family"
    static let schema: String? = """
        CREATE TABLE family_parent (id bigint PRIMARY KEY);
        CREATE TABLE family_child (
            id bigint PRIMARY KEY, parent bigint NOT NULL REFERENCES family_parent);
        """

    var children = Table<Child>()
    var parents = Table<Parent>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("id")
        parents[id] = Parent(id: id)
        children[id] = Child(id: id, parent: id)
    }
}

@Suite("Truncate and reload")
struct TruncateTests {
    @Test("tables that refer to each other are truncated together and filled parents first")
    func family() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted([1, 2]))
            _ = try await scene.rebuild(Family.self)
            try scene.append(counted([3]))
            var options = RebuildOptions()
            options.strategy = .truncate
            _ = try await scene.rebuild(Family.self, options: options)
            #expect(try await scene.rows(of: "public.family_child") == ["(1,1)", "(2,2)", "(3,3)"])
            try await scene.database.execute(
                "CREATE TABLE public.guest (host bigint REFERENCES public.family_parent)"
            )
            let error = await #expect(throws: ReadModelError.self) {
                _ = try await scene.rebuild(Family.self, options: options)
            }
            guard case .refusedByPlan(_, let reasons) = error else {
                Issue.record("expected refusedByPlan, got \(String(describing: error))")
                return
            }
            #expect(reasons.contains { $0.contains("guest") })
            #expect(try await scene.database.count("public.family_child") == 3)
        }
    }

    @Test("triggers are silent during the reload and afterwards as they were")
    func triggers() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted([1, 2]))
            _ = try await scene.rebuild(Tally.self)
            try await scene.database.execute(
                """
                CREATE TABLE public.audit (at timestamptz DEFAULT now());
                CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS
                    'BEGIN INSERT INTO public.audit DEFAULT VALUES; RETURN NULL; END';
                CREATE TRIGGER a AFTER INSERT ON public.tally FOR EACH ROW EXECUTE FUNCTION public.note();
                CREATE TRIGGER b AFTER TRUNCATE ON public.tally EXECUTE FUNCTION public.note();
                CREATE TRIGGER c AFTER INSERT ON public.tally EXECUTE FUNCTION public.note();
                ALTER TABLE public.tally ENABLE ALWAYS TRIGGER b;
                ALTER TABLE public.tally DISABLE TRIGGER c;
                """
            )
            let before = try await SchemaDump.of(in: scene.database)
            var options = RebuildOptions()
            options.strategy = .truncate
            _ = try await scene.rebuild(Tally.self, options: options)
            #expect(try await scene.database.count("public.audit") == 0)
            #expect(try await SchemaDump.of(in: scene.database) == before)
        }
    }

    @Test("a check that fails, or ends the transaction, leaves the old rows")
    func failingChecks() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted([1, 2]))
            _ = try await scene.rebuild(Doubtful.self)
            try scene.append(counted([13]))
            for strategy in Strategy.allCases {
                var options = RebuildOptions()
                options.strategy = strategy
                let error = await #expect(throws: ReadModelError.self) {
                    _ = try await scene.rebuild(Doubtful.self, options: options)
                }
                let found = ["query 1 of checks.sql returns 1 rows (id)"]
                switch (strategy, error) {
                case (.swap, .checkFailed(_, _, let reasons)): #expect(reasons == found)
                case (.truncate, .reloadFailsCheck(_, let reasons)): #expect(reasons == found)
                default: Issue.record("\(strategy): got \(String(describing: error))")
                }
                #expect(try await scene.database.count("public.tally") == 2)
            }
        }
    }

    private struct Doubtful: Projection {
        static let name = "tally"
        static let schema = Tally.schema
        static let checks: String? = "SELECT id FROM tally WHERE id = 13; SELECT 1 WHERE false;"

        var tallies = Table<TallyRow>()
        var days = Table<TallyDayRow>()

        mutating func reduce(_ event: borrowing Event) throws {
            let id = try event.payload.int64("id")
            tallies[id, default: TallyRow(id: id)].events += 1
        }
    }
}
