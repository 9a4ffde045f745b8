/// What the owner of the live table puts onto it.
enum OwnerPlants {
    static let all = expressions + types + rules + triggers + relations

    private static func plant(
        _ name: String,
        _ sql: String,
        refusals: [Plant.Step: String] = [:],
        granted: [Plant.Step: String]? = nil,
        isCalled: Bool = true
    ) -> Plant {
        Plant(
            name: "owner: \(name)",
            planter: .owner,
            sql: sql,
            refusals: refusals,
            grantedRefusals: granted,
            isCalled: isCalled
        )
    }

    private static let expressions = [
        plant("an index expression", "CREATE INDEX ON s.live (by.f(v))"),
        plant("an index predicate", "CREATE INDEX ON s.live (v) WHERE by.f('x') = 'x'"),
        plant("a unique index", "CREATE UNIQUE INDEX ON s.live (id, by.f(v)) INCLUDE (v)"),
        plant("an exclusion constraint", "ALTER TABLE s.live ADD EXCLUDE (by.f(v || id) WITH =)"),
        plant("a check", "ALTER TABLE s.live ADD CHECK (by.f(v) = by.f(v) AND by.f('x') = 'x')"),
        plant("a default", "ALTER TABLE s.live ADD extra text DEFAULT by.f('x')"),
        plant(
            "a generated column",
            "ALTER TABLE s.live ADD extra text GENERATED ALWAYS AS (by.f(v)) STORED"
        ),
        plant("statistics", "CREATE STATISTICS s.st ON (by.f(v)), (by.f('x')) FROM s.live"),
        plant(
            "an operator in a check",
            """
            CREATE FUNCTION by.same(text, text) RETURNS bool LANGUAGE sql IMMUTABLE
                AS $$SELECT by.f($1) = $2$$;
            CREATE OPERATOR by.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = by.same);
            ALTER TABLE s.live ADD CHECK (v OPERATOR(by.===) v)
            """
        ),
    ]

    /// A type whose values become JSON by a function.
    private static let mood = """
        CREATE TYPE by.mood AS ENUM ('x');
        CREATE FUNCTION by.json(by.mood) RETURNS json LANGUAGE plpgsql STABLE AS $$
        BEGIN PERFORM by.f('x'); RETURN '{}'; END $$;
        CREATE CAST (by.mood AS json) WITH FUNCTION by.json(by.mood);

        """

    private static let types = [
        plant(
            "a domain of a domain",
            """
            CREATE DOMAIN by.inner AS text CHECK (by.f(VALUE) IS NOT NULL);
            CREATE DOMAIN by.outer AS text CHECK (VALUE::by.inner IS NOT NULL);
            ALTER TABLE s.live ADD extra by.outer DEFAULT 'x'
            """
        ),
        plant(
            "a composite type",
            """
            CREATE DOMAIN by.word AS text CHECK (by.f(VALUE) IS NOT NULL);
            CREATE TYPE by.pair AS (a int, b by.word);
            ALTER TABLE s.live ADD extra by.pair DEFAULT ROW(1, 'x')
            """
        ),
        plant(
            "a cast to JSON",
            mood + """
                ALTER TABLE s.live ADD extra by.mood DEFAULT 'x';
                ALTER TABLE s.live ADD CHECK (pg_catalog.to_json(extra) IS NOT NULL)
                """
        ),
        plant(
            "a cast to JSON of what is in an array",
            mood + """
                ALTER TABLE s.live ADD extra jsonb DEFAULT pg_catalog.jsonb_build_array(
                    pg_catalog.to_json(ARRAY['x'::by.mood]))
                """
        ),
        plant(
            "a cast to JSON of a column of a composite type",
            mood + """
                CREATE TYPE by.pair AS (a int, b by.mood);
                ALTER TABLE s.live ADD extra by.pair DEFAULT ROW(1, 'x');
                ALTER TABLE s.live ADD CHECK (pg_catalog.row_to_json(extra) IS NOT NULL)
                """
        ),
        plant(
            "a cast with a function",
            """
            CREATE TYPE by.pair AS (a int, b text);
            CREATE FUNCTION by.pair(text) RETURNS by.pair LANGUAGE plpgsql IMMUTABLE AS $$
            BEGIN PERFORM by.f($1); RETURN ROW(1, $1)::by.pair; END $$;
            CREATE CAST (text AS by.pair) WITH FUNCTION by.pair(text) AS ASSIGNMENT;
            ALTER TABLE s.live ADD extra by.pair GENERATED ALWAYS AS (v::by.pair) STORED
            """
        ),
        plant(
            "a range type with subtype_diff",
            """
            CREATE FUNCTION by.apart(text, text) RETURNS float8 LANGUAGE plpgsql IMMUTABLE AS $$
            BEGIN PERFORM by.f($1); RETURN 1; END $$;
            CREATE TYPE by.span AS RANGE (subtype = text, subtype_diff = by.apart,
                multirange_type_name = by.spans);
            ALTER TABLE s.live ADD extra by.span DEFAULT by.span('a', 'b');
            ALTER TABLE s.live ADD extras by.spans DEFAULT by.spans(by.span('a', 'b'));
            CREATE INDEX ON s.live USING gist (extra)
            """
        ),
    ]

    private static let rules = [
        plant(
            "a rule on INSERT",
            "CREATE RULE r AS ON INSERT TO s.live DO ALSO SELECT by.f(new.v)",
            refusals: [.follow: "rule r on s.live"],
            isCalled: false
        ),
        plant(
            "a rule on UPDATE",
            "CREATE RULE r AS ON UPDATE TO s.live DO ALSO SELECT by.f(new.v)",
            refusals: [.follow: "rule r on s.live"],
            isCalled: false
        ),
        plant(
            "a rule on DELETE",
            "CREATE RULE r AS ON DELETE TO s.live DO ALSO SELECT by.f(old.v)",
            refusals: [.follow: "rule r on s.live"],
            isCalled: false
        ),
        plant(
            "a rule with a condition",
            "CREATE RULE r AS ON UPDATE TO s.live WHERE by.f(old.v) = 'never' DO INSTEAD NOTHING",
            refusals: [.follow: "rule r on s.live"],
            isCalled: false
        ),
        plant(
            "a policy",
            """
            ALTER TABLE s.live ENABLE ROW LEVEL SECURITY;
            CREATE POLICY p ON s.live USING (by.f(v) IS NOT NULL) WITH CHECK (by.f(v) IS NOT NULL)
            """,
            isCalled: false
        ),
        plant(
            "a forced policy",
            """
            ALTER TABLE s.live ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
            CREATE POLICY p ON s.live USING (by.f(v) IS NOT NULL) WITH CHECK (by.f(v) IS NOT NULL);
            CREATE INDEX ON s.live (v) WHERE by.f('x') = 'x'
            """,
            granted: .both("row-level security of s.live")
        ),
    ]

    private static let watch = """
        CREATE FUNCTION by.watch() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM by.f('x'); RETURN coalesce(new, old); END $$;

        """

    private static let triggers = [
        plant(
            "a trigger for each row",
            watch + """
                CREATE TRIGGER t BEFORE INSERT OR UPDATE ON s.live FOR EACH ROW
                WHEN (by.f('x') = 'x') EXECUTE FUNCTION by.watch()
                """
        ),
        plant(
            "a trigger for each statement",
            watch + """
                CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON s.live FOR EACH STATEMENT
                EXECUTE FUNCTION by.watch()
                """
        ),
        plant(
            "a trigger on TRUNCATE",
            watch + "CREATE TRIGGER t BEFORE TRUNCATE ON s.live EXECUTE FUNCTION by.watch()",
            isCalled: false
        ),
        plant(
            "a trigger with transition tables",
            watch + """
                CREATE TRIGGER t AFTER INSERT ON s.live REFERENCING NEW TABLE AS arrived
                EXECUTE FUNCTION by.watch()
                """
        ),
        plant(
            "a deferred trigger",
            watch + """
                CREATE CONSTRAINT TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON s.live
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION by.watch()
                """
        ),
        plant(
            "a trigger that always fires",
            watch + """
                CREATE TRIGGER t AFTER INSERT OR UPDATE ON s.live FOR EACH ROW
                EXECUTE FUNCTION by.watch();
                ALTER TABLE s.live ENABLE ALWAYS TRIGGER t
                """
        ),
        plant(
            "a trigger with a trusted function and a condition",
            """
            CREATE TRIGGER t BEFORE UPDATE ON s.live FOR EACH ROW WHEN (by.f(new.v) = new.v)
                EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()
            """
        ),
    ]

    private static let relations = [
        plant(
            "a table that inherits",
            watch + """
                CREATE TABLE by.kid () INHERITS (s.live);
                INSERT INTO by.kid (id, v) VALUES (1, 'kid'), (2, 'kid');
                CREATE INDEX ON by.kid (v) WHERE by.f('x') = 'x';
                CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON by.kid
                    EXECUTE FUNCTION by.watch();
                CREATE TRIGGER u BEFORE TRUNCATE ON by.kid EXECUTE FUNCTION by.watch()
                """,
            refusals: .both("it is part of an inheritance tree"),
            isCalled: false
        ),
        plant(
            "a parent table",
            watch + """
                CREATE TABLE by.parent (id int PRIMARY KEY);
                INSERT INTO by.parent SELECT * FROM pg_catalog.generate_series(1, 9);
                CREATE INDEX ON by.parent (id) WHERE by.f('x') = 'x';
                CREATE TRIGGER t BEFORE UPDATE ON by.parent FOR EACH ROW
                    EXECUTE FUNCTION by.watch();
                ALTER TABLE s.live ADD CONSTRAINT up FOREIGN KEY (id) REFERENCES by.parent
                """
        ),
        plant(
            "a child table",
            watch + """
                CREATE TABLE by.child (id int REFERENCES s.live ON DELETE CASCADE);
                INSERT INTO by.child VALUES (1);
                CREATE INDEX ON by.child (id) WHERE by.f('x') = 'x'
                """,
            refusals: .truncates("foreign key child_id_fkey of by.child")
        ),
        plant(
            "a materialized view",
            """
            CREATE MATERIALIZED VIEW s.mine AS SELECT id, by.f(v) AS v FROM s.live;
            CREATE INDEX ON s.mine (v) WHERE by.f('x') = 'x'
            """
        ),
        plant(
            "a publication's row filter",
            "CREATE PUBLICATION \"%role%\" FOR TABLE s.live WHERE (id > 0)",
            isCalled: false
        ),
        plant(
            "default privileges",
            """
            ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
            ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC;
            ALTER TABLE s.live ADD extra text DEFAULT by.f('x');
            ALTER TABLE s.live ADD n int GENERATED BY DEFAULT AS IDENTITY
            """
        ),
        plant(
            "a function with SECURITY DEFINER",
            """
            CREATE FUNCTION by.count() RETURNS bigint SECURITY DEFINER
            BEGIN ATOMIC SELECT pg_catalog.count(by.f(v)) FROM s.live; END;
            CREATE VIEW by.counted AS SELECT by.count() FROM s.live
            """,
            isCalled: false
        ),
    ]
}
