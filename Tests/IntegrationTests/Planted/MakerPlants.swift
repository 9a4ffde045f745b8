/// What those who may make schemas, or objects in the live schema, have prepared for a job.
enum MakerPlants {
    static let all = schemas + shadows

    private static func plant(
        _ name: String,
        _ sql: String,
        by planter: Plant.Planter,
        before: String = "",
        file: String? = nil,
        checks: String? = nil,
        refusals: [Plant.Step: String] = [:]
    ) -> Plant {
        Plant(
            name: "\(planter): \(name)",
            planter: planter,
            sql: sql,
            before: before,
            file: file,
            checks: checks,
            refusals: refusals,
            isCalled: false
        )
    }

    private static let watch = """
        CREATE FUNCTION by.watch() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM by.f('x'); RETURN coalesce(new, old); END $$;

        """

    private static let schemas = [
        plant(
            "the schema reprise",
            "CREATE SCHEMA reprise",
            by: .database,
            refusals: .everything("The schema 'reprise' is not used")
        ),
        plant(
            "the schema reprise with a table",
            watch + """
                CREATE SCHEMA reprise;
                CREATE TABLE reprise.migration (number int DEFAULT pg_catalog.length(by.f('x')),
                    name text, applied_at timestamptz);
                CREATE TRIGGER t BEFORE INSERT ON reprise.migration FOR EACH ROW
                    EXECUTE FUNCTION by.watch()
                """,
            by: .database,
            refusals: .everything("The schema 'reprise' is not used")
        ),
        plant("a home schema", "CREATE SCHEMA live__g1", by: .database),
        plant(
            "a home schema with tables",
            watch + """
                CREATE SCHEMA live__g0;
                CREATE SCHEMA live__g1;
                GRANT ALL ON SCHEMA live__g0, live__g1 TO PUBLIC;
                CREATE TABLE live__g0.live (id int PRIMARY KEY, v text, CHECK (by.f(v) <> ''));
                CREATE TABLE live__g1.live (id int PRIMARY KEY, v text, CHECK (by.f(v) <> ''));
                CREATE TRIGGER t BEFORE INSERT ON live__g1.live FOR EACH ROW
                    EXECUTE FUNCTION by.watch()
                """,
            by: .database
        ),
        plant(
            "the home schema of a later generation",
            "CREATE SCHEMA live__g2; GRANT ALL ON SCHEMA live__g2 TO PUBLIC",
            by: .database
        ),
        plant(
            "a schema with the names of the catalogue",
            """
            CREATE SCHEMA pgcatalog;
            CREATE VIEW pgcatalog.pg_class AS SELECT by.f('x') AS relname;
            ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
            ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO PUBLIC;
            ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO PUBLIC
            """,
            by: .database
        ),
    ]

    /// Operators that fit better than the usual ones.
    private static let operators = """
        CREATE FUNCTION by.yes(text[], text[]) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN PERFORM by.f('x'); RETURN true; END $$;
        CREATE OPERATOR s.= (LEFTARG = text[], RIGHTARG = text[], FUNCTION = by.yes);
        CREATE OPERATOR s.<> (LEFTARG = text[], RIGHTARG = text[], FUNCTION = by.yes);
        CREATE FUNCTION by.other(bigint, numeric) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN PERFORM by.f('x'); RETURN false; END $$;
        CREATE OPERATOR s.<> (LEFTARG = bigint, RIGHTARG = numeric, FUNCTION = by.other);
        CREATE FUNCTION by.names(name, text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN PERFORM by.f('x'); RETURN $1::text OPERATOR(pg_catalog.=) $2; END $$;
        CREATE FUNCTION by.names(name, name) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN PERFORM by.f('x'); RETURN $1::text OPERATOR(pg_catalog.=) $2::text; END $$;
        CREATE OPERATOR s.= (LEFTARG = name, RIGHTARG = text, FUNCTION = by.names);
        CREATE OPERATOR s.= (LEFTARG = name, RIGHTARG = name, FUNCTION = by.names);
        CREATE FUNCTION s.array_length(text[], int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN PERFORM by.f('x'); RETURN 1; END $$;
        CREATE FUNCTION s.array_append(text[], text) RETURNS text[] LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN PERFORM by.f('x'); RETURN $1; END $$;
        CREATE FUNCTION s.lower(varchar) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN RETURN by.f('x'); END $$;
        CREATE FUNCTION s.count(text[]) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN PERFORM by.f('x'); RETURN 1; END $$
        """

    private static let file = """
        CREATE TABLE live (
            id int PRIMARY KEY CHECK (id::bigint <> 1.5), v text,
            tags text[] DEFAULT array_append(ARRAY['a'], 'b')
                CHECK (tags <> ARRAY['no'] AND ARRAY['x'] = ARRAY['x']));
        CREATE INDEX ON live (v) WHERE array_length(ARRAY['a'], 1) = 1 AND lower('A'::varchar) = 'a';
        CREATE INDEX ON live ((tags = ARRAY['a']))
        """

    /// What the owner of the live table has put there in good faith.
    private static let honest = """
        ALTER TABLE s.live ADD CHECK (tags <> ARRAY['no'] AND ARRAY['x'] = ARRAY['x']),
            ADD CHECK (id::bigint <> 1.5);
        CREATE INDEX ON s.live (v) WHERE array_length(ARRAY['a'], 1) = 1 AND lower('A'::varchar) = 'a';
        CREATE INDEX ON s.live ((tags = ARRAY['a']));
        CREATE STATISTICS s.st ON (tags = ARRAY['a']), (ARRAY['x'] = ARRAY['x']) FROM s.live;
        ALTER STATISTICS s.st OWNER TO %app%;
        ALTER TABLE s.live ADD more text[] DEFAULT array_append(ARRAY['a'], 'b'),
            ADD longer int GENERATED ALWAYS AS (array_length(tags, 1)) STORED
        """

    private static let shadows = [
        plant("operators and functions", operators, by: .schema),
        plant(
            "operators that an honest owner's text means",
            operators,
            by: .schema,
            before: honest
        ),
        plant(
            "operators that an honest reader's index means",
            operators,
            by: .schema,
            before: """
                CREATE SCHEMA honest AUTHORIZATION %reader%;
                SET ROLE %reader%;
                CREATE MATERIALIZED VIEW honest.mine AS SELECT id, tags FROM s.live;
                CREATE INDEX ON honest.mine ((tags = ARRAY['a'])) WHERE ARRAY['x'] = ARRAY['x'];
                CREATE INDEX ON honest.mine ((array_length(tags, 1)));
                RESET ROLE
                """
        ),
        plant(
            "operators that an honest view, policy and trigger mean",
            operators,
            by: .schema,
            before: """
                CREATE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql
                    AS 'BEGIN RETURN new; END';
                CREATE VIEW s.seen AS SELECT id FROM s.live WHERE tags = ARRAY['a'];
                ALTER VIEW s.seen OWNER TO %app%;
                CREATE TRIGGER t BEFORE UPDATE ON s.live FOR EACH ROW
                    WHEN (old.tags = ARRAY['a'] AND array_length(ARRAY['x'], 1) = 1)
                    EXECUTE FUNCTION public.nothing();
                CREATE FUNCTION s.counted() RETURNS bigint BEGIN ATOMIC
                    SELECT pg_catalog.count(*) FROM s.live WHERE tags = ARRAY['a']; END;
                ALTER FUNCTION s.counted() OWNER TO %app%
                """
        ),
        plant(
            "operators that schema.sql means",
            operators,
            by: .schema,
            before: honest,
            file: file
        ),
        plant(
            "operators that checks.sql means",
            operators,
            by: .schema,
            checks: """
                SELECT id FROM live WHERE tags = ARRAY['never'] AND id::bigint = 0.5;
                SELECT id FROM live WHERE array_length(tags, 1) = 77 OR lower(v::varchar) = 'never'
                """,
            refusals: .truncates("may make functions and operators in the schema")
        ),
        plant(
            "relations with the names of others",
            """
            CREATE VIEW s.pg_class AS SELECT by.f('x') AS relname;
            CREATE VIEW s.generation AS SELECT by.f('x') AS projection;
            CREATE VIEW s.mine AS SELECT by.f('x') AS id;
            CREATE DOMAIN s.int4 AS pg_catalog.int4 CHECK (by.f('x') = 'x');
            CREATE DOMAIN s.text AS pg_catalog.text CHECK (by.f('x') = 'x')
            """,
            by: .schema
        ),
        plant(
            "types that schema.sql means",
            """
            CREATE DOMAIN s.int4 AS pg_catalog.int4 CHECK (by.f('x') = 'x');
            CREATE DOMAIN s.text AS pg_catalog.text CHECK (by.f('x') = 'x');
            CREATE DOMAIN s.word AS pg_catalog.text CHECK (by.f('x') = 'x')
            """,
            by: .schema,
            file: """
                CREATE TABLE live (id int4 PRIMARY KEY, v text, tags text[] DEFAULT ARRAY['a'])
                """
        ),
    ]
}
