internal import Ledgers
internal import Postgres
internal import ProjectionKit
internal import ReadModels
internal import Rebuilder
internal import ShopProjection
internal import TestSupport
internal import Testing

@Suite("Hostile names", .serialized)
struct HostileNamesTests {
    @Test(
        "rebuild, rollback and truncate work with names of any bytes",
        arguments: HostileTable.all
    )
    func names(_ table: HostileTable) async throws {
        try await withRebuildScene { plain in
            var scene = plain
            scene.liveSchema = "S 1\"x"
            try await scene.database.execute(#"CREATE SCHEMA "S 1""x""#)
            try scene.append((0..<20).map { Note.event(Int64($0)) })
            let live = "\"S 1\"\"x\".\(quoted(table.name))"
            let schema = """
                CREATE TABLE \(quoted(table.name)) ("select" bigint PRIMARY KEY, "a ""q""\\'" text);
                CREATE INDEX "an ""index"" USING btree (" ON \(quoted(table.name)) ("a ""q""\\'");
                COMMENT ON TABLE \(quoted(table.name)) IS 'it''s \\ "so"'
                """
            try await GivenSQL.$schema.withValue(schema) {
                for generation in 1...2 {
                    let report = try await scene.rebuild(table.projection)
                    #expect(report.generation == generation)
                    #expect(try await scene.database.count(live) == 20)
                }
                try scene.append([Note.event(20)])
                var options = RebuildOptions()
                options.strategy = .truncate
                let oid = try await scene.oid(of: live)
                _ = try await scene.rebuild(table.projection, options: options)
                #expect(try await scene.oid(of: live) == oid)
                #expect(try await scene.database.count(live) == 21)
                _ = try await scene.rebuild(table.projection)
                let back = try await scene.control(table.projection).rollback(
                    patience: CutOverPatience()
                )
                #expect(back.generation == 3)
                #expect(try await scene.oid(of: live) == oid)
                _ = try await scene.control(table.projection).prune(keep: 0)
            }
            let comment = try await scene.database.query(
                "SELECT obj_description($1::regclass, 'pg_class') AS comment",
                [.text(live)]
            )
            #expect(comment.first?["comment"] == #"it's \ "so""#)
        }
    }

    @Test("a search path full of traps changes nothing but the live tables")
    func searchPath() async throws {
        try await withRebuildScene { scene in
            try await scene.database.execute(Self.traps(database: scene.database.name))
            let traps = try await scene.rows(of: Self.trapRows)
            try scene.appendShop(events: 500, seed: 11)
            for _ in 1...2 { _ = try await scene.rebuild(Shop.self) }
            var options = RebuildOptions()
            options.strategy = .truncate
            _ = try await scene.rebuild(Shop.self, options: options)
            _ = try await scene.rebuild(Shop.self)
            _ = try await scene.control(Shop.self).rollback(patience: CutOverPatience())
            _ = try await scene.control(Shop.self).swap(patience: CutOverPatience())
            _ = try await scene.control(Shop.self).prune(keep: 0)
            _ = try await scene.control(Shop.self).status()
            #expect(try await scene.database.count("public.order_line") > 50)
            #expect(try await scene.rows(of: Self.trapRows) == traps)
            #expect(traps.count > 5)
        }
    }

    @Test("a foreign schema under the name of a home is passed over and stays as it is")
    func foreignHome() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 200, seed: 12)
            try await scene.database.execute(
                "CREATE SCHEMA shop__g1; CREATE TABLE shop__g1.order_line AS SELECT 1 AS mine"
            )
            let plan = try await scene.plan(Shop.self)
            #expect(plan.warnings.contains { $0.contains("'shop__g1'") }, "\(plan.warnings)")
            _ = try await scene.rebuild(Shop.self)
            #expect(try await scene.database.count("shop__g1.order_line WHERE mine = 1") == 1)
            #expect(try await scene.database.count("pg_tables WHERE schemaname = 'public'") > 0)
        }
    }

    @Test("a foreign schema where adopted tables would go is passed over")
    func foreignHomeOfAdopted() async throws {
        try await withRebuildScene { scene in
            try scene.append((0..<3).map { Note.event(Int64($0)) })
            try await scene.database.execute(
                """
                CREATE SCHEMA notes__g0;
                CREATE TABLE public.note (id bigint PRIMARY KEY, words text)
                """
            )
            let schema = "CREATE TABLE note (id bigint PRIMARY KEY, words text)"
            try await GivenSQL.$schema.withValue(schema) {
                let plan = try await scene.plan(Notes.self)
                #expect(plan.warnings.contains { $0.contains("'notes__g0'") })
                _ = try await scene.rebuild(Notes.self)
            }
            #expect(try await scene.database.count("public.note") == 3)
            #expect(
                try await scene.database.count(
                    "pg_tables WHERE schemaname = 'notes__g0'"
                ) == 0
            )
        }
    }

    @Test("a name that something else in the live schema has is refused at plan time")
    func takenName() async throws {
        for taken in [
            "CREATE TABLE public.other (id bigint); CREATE INDEX note_words ON public.other (id)",
            "CREATE TYPE public.note AS ENUM ('a')",
            "CREATE SEQUENCE public.note_pkey",
        ] {
            try await withRebuildScene { scene in
                try scene.append([Note.event(1)])
                try await scene.database.execute(taken)
                let schema = """
                    CREATE TABLE note (id bigint PRIMARY KEY, words text);
                    CREATE INDEX note_words ON note (words)
                    """
                try await GivenSQL.$schema.withValue(schema) {
                    let plan = try await scene.plan(Notes.self)
                    #expect(plan.refusals.count == 1, "\(taken): \(plan.refusals)")
                }
            }
        }
    }

    @Test("a live schema that is not there is refused at plan time")
    func noLiveSchema() async throws {
        try await withRebuildScene { plain in
            var scene = plain
            scene.liveSchema = "nowhere"
            let plan = try await scene.plan(Shop.self)
            #expect(plan.refusals.contains { $0.contains("'nowhere'") }, "\(plan.refusals)")
        }
    }
}

extension RebuildScene {
    fileprivate func oid(of table: String) async throws -> Int64 {
        let row = try await database.query("SELECT $1::regclass::oid AS oid", [.text(table)]).first
        return try #require(row).int("oid")
    }
}

private func quoted(_ name: String) -> String {
    "\"" + name.unicodeScalars.map { $0 == "\"" ? "\"\"" : String($0) }.joined() + "\""
}

extension HostileNamesTests {
    /// Same-named tables, functions and operators that raise, in front of everything else.
    private static func traps(database: String) -> String {
        """
        CREATE SCHEMA evil;
        CREATE TABLE evil.order_summary (order_id uuid PRIMARY KEY, mine text);
        CREATE TABLE evil.order_line (mine text);
        CREATE TABLE evil.customer_totals (mine text);
        CREATE TABLE evil.pg_class (oid oid, relname name);
        CREATE TABLE evil.run (run_id bigint);
        INSERT INTO evil.order_line VALUES ('a'), ('b');
        INSERT INTO evil.customer_totals VALUES ('c');
        CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS
            $$BEGIN RAISE 'trapped by now()'; END$$;
        CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS
            $$BEGIN RAISE 'trapped by clock_timestamp()'; END$$;
        CREATE FUNCTION evil.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql AS
            $$BEGIN RAISE 'trapped by set_config()'; END$$;
        CREATE FUNCTION evil.trap(text, text) RETURNS boolean LANGUAGE plpgsql AS
            $$BEGIN RAISE 'trapped by an operator'; END$$;
        CREATE FUNCTION evil.trap(name, name) RETURNS boolean LANGUAGE plpgsql AS
            $$BEGIN RAISE 'trapped by an operator'; END$$;
        CREATE FUNCTION evil.trap(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS
            $$BEGIN RAISE 'trapped by an operator'; END$$;
        CREATE FUNCTION evil.state(bigint, anyelement) RETURNS bigint LANGUAGE plpgsql AS
            $$BEGIN RAISE 'trapped by an aggregate'; END$$;
        CREATE AGGREGATE evil.max(bigint) (SFUNC = evil.state, STYPE = bigint);
        CREATE AGGREGATE evil.max(integer) (SFUNC = evil.state, STYPE = bigint);
        CREATE AGGREGATE evil.sum(bigint) (SFUNC = evil.state, STYPE = bigint);
        CREATE AGGREGATE evil.count(anyelement) (SFUNC = evil.state, STYPE = bigint);
        CREATE OPERATOR evil.= (FUNCTION = evil.trap, LEFTARG = text, RIGHTARG = text);
        CREATE OPERATOR evil.= (FUNCTION = evil.trap, LEFTARG = name, RIGHTARG = name);
        CREATE OPERATOR evil.= (FUNCTION = evil.trap, LEFTARG = bigint, RIGHTARG = bigint);
        CREATE OPERATOR evil.<> (FUNCTION = evil.trap, LEFTARG = bigint, RIGHTARG = bigint);
        ALTER DATABASE \(database) SET search_path = evil, pg_catalog, public
        """
    }

    private static let trapRows = """
        (SELECT c.oid, c.xmin, c.relname, c.relfilenode, NULL AS row FROM pg_catalog.pg_class AS c
         WHERE c.relnamespace OPERATOR(pg_catalog.=) 'evil'::pg_catalog.regnamespace
         UNION ALL SELECT 0, xmin, 'order_line', 0, mine FROM evil.order_line
         UNION ALL SELECT 0, xmin, 'customer_totals', 0, mine FROM evil.customer_totals)
        """
}
