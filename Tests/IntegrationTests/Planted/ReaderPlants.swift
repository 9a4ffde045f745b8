/// What those who may only read the live table, or one column of it, put around it.
enum ReaderPlants {
    static let all = materializedViews + views + tables

    private static func plant(
        _ name: String,
        _ sql: String,
        by planter: Plant.Planter = .reader,
        before: String = "",
        refusals: [Plant.Step: String] = [:],
        granted: [Plant.Step: String]? = nil,
        isCalled: Bool = true
    ) -> Plant {
        Plant(
            name: "\(planter): \(name)",
            planter: planter,
            sql: sql,
            before: before,
            refusals: refusals,
            grantedRefusals: granted,
            isCalled: isCalled
        )
    }

    private static let materializedViews = [
        plant(
            "a materialized view",
            "CREATE MATERIALIZED VIEW by.mine AS SELECT id, by.f(v) AS v FROM s.live"
        ),
        plant(
            "indexes of a materialized view",
            """
            CREATE MATERIALIZED VIEW by.mine AS SELECT id, v FROM s.live;
            CREATE UNIQUE INDEX ON by.mine (id);
            CREATE INDEX ON by.mine ((by.f('x')), by.f(v)) WHERE by.f('y') = 'y'
            """
        ),
        plant(
            "statistics of a materialized view",
            """
            CREATE MATERIALIZED VIEW by.mine AS SELECT id, v FROM s.live;
            CREATE STATISTICS by.st ON (by.f(v)), (by.f('x')) FROM by.mine
            """,
            isCalled: false
        ),
        plant(
            "a materialized view without data",
            """
            CREATE MATERIALIZED VIEW by.mine AS SELECT id, by.f('x') AS v FROM s.live WITH NO DATA
            """,
            isCalled: false
        ),
        plant(
            "a materialized view over a view",
            """
            CREATE VIEW by.between AS SELECT id, by.f(v) AS v FROM s.live WHERE by.f('x') = 'x';
            CREATE MATERIALIZED VIEW by.mine AS SELECT * FROM by.between;
            CREATE UNIQUE INDEX ON by.mine (id);
            CREATE MATERIALIZED VIEW by.more AS SELECT *, by.f('x') AS x FROM by.mine
            """
        ),
        plant(
            "an aggregate in a materialized view",
            """
            CREATE FUNCTION by.add(text, text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
            BEGIN RETURN $1 || by.f($2); END $$;
            CREATE AGGREGATE by.all(text) (SFUNC = by.add, STYPE = text, INITCOND = '');
            CREATE MATERIALIZED VIEW by.mine AS SELECT by.all(v) FROM s.live
            """
        ),
        plant(
            "a cast to JSON in a materialized view",
            """
            CREATE TYPE by.mood AS ENUM ('x');
            CREATE FUNCTION by.json(by.mood) RETURNS json LANGUAGE plpgsql STABLE AS $$
            BEGIN PERFORM by.f('x'); RETURN '{}'; END $$;
            CREATE CAST (by.mood AS json) WITH FUNCTION by.json(by.mood);
            CREATE MATERIALIZED VIEW by.mine AS
                SELECT id, pg_catalog.to_json('x'::by.mood) AS v FROM s.live
            """
        ),
        plant(
            "a materialized view of one column",
            """
            CREATE MATERIALIZED VIEW by.mine AS SELECT by.f(v) AS v FROM s.live;
            CREATE INDEX ON by.mine ((by.f('x')))
            """,
            by: .column
        ),
        plant(
            "an operator in a materialized view",
            """
            CREATE FUNCTION by.same(text, text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$
            BEGIN PERFORM by.f($1); RETURN true; END $$;
            CREATE OPERATOR by.= (LEFTARG = text, RIGHTARG = text, FUNCTION = by.same);
            CREATE MATERIALIZED VIEW by.mine AS
                SELECT v FROM s.live WHERE v OPERATOR(by.=) 'x' AND 'a' OPERATOR(by.=) 'b'
            """,
            by: .column
        ),
    ]

    private static let views = [
        plant(
            "a view",
            """
            CREATE VIEW by.mine AS SELECT id, by.f(v) AS v FROM s.live WHERE by.f('x') = 'x';
            ALTER VIEW by.mine ALTER v SET DEFAULT by.f('x')
            """,
            isCalled: false
        ),
        plant(
            "a view with triggers and rules",
            """
            CREATE VIEW by.mine WITH (security_barrier, security_invoker) AS SELECT id, v FROM s.live;
            CREATE FUNCTION by.watch() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN PERFORM by.f('x'); RETURN new; END $$;
            CREATE TRIGGER t INSTEAD OF INSERT ON by.mine FOR EACH ROW EXECUTE FUNCTION by.watch();
            CREATE RULE r AS ON UPDATE TO by.mine DO INSTEAD SELECT by.f(new.v)
            """,
            isCalled: false
        ),
        plant(
            "a function with SECURITY DEFINER",
            """
            CREATE FUNCTION by.ids(x text DEFAULT by.f('x')) RETURNS SETOF int SECURITY DEFINER
            BEGIN ATOMIC SELECT id FROM s.live WHERE by.f('x') = 'x'; END;
            CREATE VIEW by.mine AS SELECT * FROM by.ids()
            """,
            isCalled: false
        ),
        plant(
            "a view of one column",
            "CREATE VIEW by.mine AS SELECT by.f(v) AS v FROM s.live",
            by: .column,
            isCalled: false
        ),
        plant(
            "temporary objects",
            """
            CREATE TEMPORARY VIEW mine AS SELECT id, by.f(v) AS v FROM s.live WHERE by.f('x') = 'x';
            CREATE TEMPORARY TABLE t AS TABLE s.live;
            CREATE FUNCTION pg_temp.f(s.live) RETURNS text LANGUAGE sql AS $$SELECT by.f('x')$$
            """,
            isCalled: false
        ),
    ]

    private static let watch = """
        CREATE FUNCTION by.watch() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM by.f('x'); RETURN coalesce(new, old); END $$;

        """

    private static let tables = [
        plant(
            "a policy that reads the live table",
            """
            CREATE TABLE by.own (v text);
            INSERT INTO by.own VALUES ('old');
            ALTER TABLE by.own ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
            CREATE POLICY p ON by.own USING (by.f(v) IN (SELECT l.v FROM s.live AS l))
            """,
            isCalled: false
        ),
        plant(
            "a rule that reads the live table",
            """
            CREATE TABLE by.own (id int);
            CREATE RULE r AS ON INSERT TO by.own DO ALSO SELECT by.f(v) FROM s.live
            """,
            isCalled: false
        ),
        plant(
            "a column of the live table's row type",
            "CREATE TABLE by.own (r s.live, CHECK (by.f('x') = 'x'))",
            refusals: .swaps("column r of table by.own"),
            isCalled: false
        ),
        plant(
            "an index of a child table",
            """
            CREATE TABLE by.child (id int REFERENCES s.live);
            INSERT INTO by.child VALUES (1);
            CREATE INDEX ON by.child (id) WHERE by.f('x') = 'x'
            """,
            before: "GRANT REFERENCES ON s.live TO %reader%",
            refusals: .truncates("foreign key child_id_fkey of by.child")
        ),
        plant(
            "a trigger of a child table",
            watch + """
                CREATE TABLE by.child (id int REFERENCES s.live ON DELETE CASCADE);
                INSERT INTO by.child VALUES (1), (2);
                CREATE TRIGGER t AFTER DELETE ON by.child FOR EACH ROW EXECUTE FUNCTION by.watch()
                """,
            before: "GRANT REFERENCES ON s.live TO %reader%",
            refusals: [Plant.Step: String].truncates("foreign key child_id_fkey of by.child")
                .merging([.follow: "trigger t on by.child"]) { $1 },
            isCalled: false
        ),
        plant(
            "a deferred trigger of a child table",
            watch + """
                CREATE TABLE by.child (id int REFERENCES s.live ON DELETE SET NULL);
                INSERT INTO by.child VALUES (1), (2);
                CREATE CONSTRAINT TRIGGER t AFTER UPDATE ON by.child DEFERRABLE INITIALLY DEFERRED
                    FOR EACH ROW EXECUTE FUNCTION by.watch()
                """,
            before: "GRANT REFERENCES ON s.live TO %reader%",
            refusals: [Plant.Step: String].truncates("foreign key child_id_fkey of by.child")
                .merging([.follow: "trigger t on by.child"]) { $1 },
            isCalled: false
        ),
        plant(
            "a row-level trigger before the rows of a child table go",
            watch + """
                CREATE TABLE by.child (id int REFERENCES s.live ON DELETE CASCADE);
                INSERT INTO by.child VALUES (1), (2);
                CREATE TRIGGER t BEFORE DELETE ON by.child FOR EACH ROW EXECUTE FUNCTION by.watch()
                """,
            before: "GRANT REFERENCES ON s.live TO %reader%",
            refusals: .truncates("foreign key child_id_fkey of by.child")
        ),
        plant(
            "a constraint trigger that refers to the live table",
            watch + """
                CREATE TABLE by.own (id int PRIMARY KEY);
                CREATE CONSTRAINT TRIGGER t AFTER INSERT ON by.own FROM s.live DEFERRABLE
                    FOR EACH ROW EXECUTE FUNCTION by.watch()
                """,
            before: "GRANT TRIGGER ON s.live TO %reader%",
            granted: .swaps("by.own"),
            isCalled: false
        ),
    ]
}
