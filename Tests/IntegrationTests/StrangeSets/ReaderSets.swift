extension StrangeSet {
    /// Views, rules on views and functions that read the table.
    static let readers = [
        StrangeSet(
            name: "a chain of views with options, checks, defaults and grants",
            around: """
                CREATE VIEW s.v1 WITH (security_barrier) AS SELECT id, v FROM s.live WHERE v <> 'z'
                    WITH LOCAL CHECK OPTION;
                CREATE VIEW s.v2 WITH (security_invoker = true, check_option = cascaded) AS
                    SELECT id, v FROM s.v1 WHERE id > 0;
                CREATE VIEW s.v3 (a, "b c") WITH (security_barrier = off) AS
                    SELECT v1.id, l.v FROM s.v1 JOIN s.live AS l USING (id);
                CREATE VIEW s.v4 WITH (security_invoker, security_barrier) AS
                    SELECT v2.*, v3."b c" FROM s.v2, s.v3 WHERE v2.id = v3.a;
                ALTER VIEW s.v2 ALTER COLUMN v SET DEFAULT E'it''s';
                ALTER VIEW s.v1 OWNER TO %vo%;
                GRANT USAGE ON SCHEMA s TO %vo%, %app%;
                GRANT SELECT ON s.live TO %vo%;
                GRANT SELECT (v) ON s.v2 TO PUBLIC;
                GRANT SELECT ON s.v4 TO %app% WITH GRANT OPTION;
                COMMENT ON VIEW s.v4 IS 'outermost';
                COMMENT ON COLUMN s.v3."b c" IS 'column';
                """,
            roles: ["vo", "app"]
        ),
        StrangeSet(
            name: "recursive views and every kind of query",
            around: """
                CREATE RECURSIVE VIEW s.rv (n, c) AS SELECT 1, (SELECT count(*) FROM s.live)
                    UNION ALL SELECT n + 1, c FROM rv WHERE n < 3;
                CREATE VIEW s.u AS SELECT ju.id AS x, b.* FROM s.live AS a JOIN s.live AS b
                    USING (id) AS ju;
                CREATE VIEW s.l AS SELECT o.id AS "a b", l.* FROM s.live AS o
                    LEFT JOIN LATERAL (SELECT sum(i.id) FROM s.live AS i WHERE i.v = o.v)
                        AS l ("x""y") ON true;
                CREATE VIEW s.g AS SELECT GROUPING(v, id) AS g, v, id,
                    percentile_cont(0.5) WITHIN GROUP (ORDER BY id) FILTER (WHERE v <> '') AS p
                    FROM s.live TABLESAMPLE system (50) REPEATABLE (1)
                    GROUP BY CUBE (v, id), GROUPING SETS ((v), ());
                CREATE VIEW s.w AS WITH m AS MATERIALIZED (SELECT * FROM s.live),
                    x AS NOT MATERIALIZED (SELECT * FROM m)
                    SELECT v, rank() OVER w, lag(v, 1, 'z')
                        OVER (w ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES) AS lag
                    FROM x WINDOW w AS (PARTITION BY id ORDER BY v DESC NULLS LAST);
                CREATE VIEW s.d AS SELECT DISTINCT ON (v) v, id IN (SELECT id FROM s.live) AS has,
                    ARRAY(SELECT i.v FROM s.live AS i WHERE i.id = o.id ORDER BY 1) AS a
                    FROM s.live AS o ORDER BY v, id LIMIT 5 OFFSET 0;
                CREATE VIEW s.search AS WITH RECURSIVE t (id) AS (SELECT id FROM s.live
                    UNION ALL SELECT t.id + 1 FROM t WHERE t.id < 2)
                    SEARCH DEPTH FIRST BY id SET o CYCLE id SET c USING p SELECT id, c FROM t;
                CREATE VIEW s.x AS (SELECT id FROM s.live EXCEPT ALL SELECT 2 AS id)
                    INTERSECT (SELECT 1 AS id) ORDER BY 1 FETCH FIRST 1 ROW WITH TIES;
                CREATE VIEW s.r AS SELECT l.id, row_to_json(l) AS j, l IS NULL AS n,
                    xmlelement(name x, l.v) AS e, z.o FROM s.live AS l
                    CROSS JOIN ROWS FROM (generate_series(1, l.id), unnest(ARRAY[l.v]))
                        WITH ORDINALITY AS z (a, b, o);
                """
        ),
        StrangeSet(
            name: "INSTEAD OF triggers and rules of views",
            around: """
                CREATE FUNCTION s.tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
                CREATE VIEW s.door AS SELECT id, v FROM s.live;
                CREATE TRIGGER go INSTEAD OF INSERT OR UPDATE ON s.door FOR EACH ROW
                    EXECUTE FUNCTION s.tf('a');
                CREATE TRIGGER st BEFORE DELETE ON s.door FOR EACH STATEMENT EXECUTE FUNCTION s.tf();
                ALTER TRIGGER go ON s.door RENAME TO "go in";
                COMMENT ON TRIGGER "go in" ON s.door IS 'in';
                CREATE VIEW s.ruled AS SELECT * FROM s.live;
                CREATE RULE ins AS ON INSERT TO s.ruled
                    DO INSTEAD INSERT INTO s.live VALUES (new.*) RETURNING live.*;
                CREATE RULE del AS ON DELETE TO s.ruled WHERE old.id > 3
                    DO INSTEAD (UPDATE s.live SET v = '' WHERE id = old.id;
                        DELETE FROM s.live WHERE id = -1);
                CREATE RULE del0 AS ON DELETE TO s.ruled DO INSTEAD NOTHING;
                COMMENT ON RULE ins ON s.ruled IS 'in';
                """
        ),
        StrangeSet(
            name: "a chain of materialized views",
            around: """
                CREATE MATERIALIZED VIEW s.mv1 WITH (fillfactor = 60, autovacuum_enabled = off) AS
                    SELECT id, v, count(*) AS n FROM s.live GROUP BY id;
                CREATE UNIQUE INDEX mv1_u ON s.mv1 (id);
                CREATE INDEX mv1_e ON s.mv1 (lower(v)) WHERE n > 3;
                CREATE VIEW s.between AS SELECT id, v, n FROM s.mv1;
                CREATE MATERIALIZED VIEW s.mv2 AS SELECT m.v, b.n, b.id FROM s.mv1 AS m
                    JOIN s.between AS b USING (id);
                CREATE UNIQUE INDEX mv2_u ON s.mv2 (id) INCLUDE (v);
                CREATE MATERIALIZED VIEW s.empty AS SELECT id FROM s.live WITH NO DATA;
                CREATE FUNCTION s.fmv() RETURNS bigint LANGUAGE sql
                    BEGIN ATOMIC SELECT sum(n) FROM s.mv1; END;
                ALTER MATERIALIZED VIEW s.mv1 ALTER v SET STORAGE EXTERNAL,
                    ALTER v SET STATISTICS 55, ALTER v SET (n_distinct = 3);
                ALTER MATERIALIZED VIEW s.mv1 CLUSTER ON mv1_u;
                ALTER INDEX s.mv1_e ALTER COLUMN 1 SET STATISTICS 33;
                CREATE STATISTICS s.mvst ON v, n FROM s.mv1;
                GRANT USAGE ON SCHEMA s TO %app%;
                GRANT SELECT ON s.mv1 TO %app% WITH GRANT OPTION;
                GRANT SELECT (v) ON s.mv2 TO PUBLIC;
                COMMENT ON MATERIALIZED VIEW s.mv1 IS 'm';
                COMMENT ON COLUMN s.mv1.n IS 'n';
                COMMENT ON INDEX s.mv1_e IS 'e';
                """,
            roles: ["app"]
        ),
        StrangeSet(
            name: "functions and procedures with parsed bodies",
            around: """
                CREATE FUNCTION s.f(INOUT a bigint DEFAULT 1, VARIADIC z text[] DEFAULT '{}')
                    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog SET work_mem = '8MB'
                    COST 7 LEAKPROOF PARALLEL RESTRICTED
                    BEGIN ATOMIC SELECT count(*) + a FROM s.live WHERE v <> ALL (z); END;
                CREATE FUNCTION s."f 2" ("a 1" int = 3) RETURNS TABLE (x int, "y z" text) LANGUAGE sql
                    ROWS 5 STABLE
                    BEGIN ATOMIC SELECT id, v FROM s.live WHERE id > "a 1" OR EXISTS (SELECT FROM s.f()); END;
                CREATE FUNCTION s.r(int) RETURNS boolean LANGUAGE sql STABLE
                    RETURN EXISTS (SELECT FROM s.live WHERE id = $1);
                CREATE PROCEDURE s.p(x int, OUT y int) LANGUAGE sql BEGIN ATOMIC
                    UPDATE s.live SET v = v WHERE id = x;
                    INSERT INTO s.live VALUES (-1, 'x') ON CONFLICT (id) DO UPDATE SET v = excluded.v
                        WHERE live.id < 0;
                    DELETE FROM s.live WHERE id = -1 RETURNING id; END;
                CREATE VIEW s.by_function AS SELECT * FROM s."f 2"();
                CREATE FUNCTION s.text() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM s.live';
                COMMENT ON FUNCTION s.f IS 'f';
                COMMENT ON PROCEDURE s.p IS 'p';
                REVOKE ALL ON FUNCTION s.f FROM PUBLIC;
                GRANT EXECUTE ON FUNCTION s.f TO %app% WITH GRANT OPTION;
                ALTER FUNCTION s."f 2" OWNER TO %app%;
                GRANT USAGE ON SCHEMA s TO %app%;
                GRANT SELECT ON s.live TO %app%;
                """,
            roles: ["app"]
        ),
        StrangeSet(
            name: "functions, domains and columns over the row type",
            around: """
                CREATE FUNCTION s.takes(s.live) RETURNS text LANGUAGE sql AS 'SELECT ($1).v';
                CREATE FUNCTION s.gives() RETURNS SETOF s.live LANGUAGE sql AS 'SELECT * FROM s.live';
                CREATE TABLE s.one (r s.live);
                CREATE TABLE s.many (r s.live[]);
                CREATE DOMAIN s.whole AS s.live CHECK ((VALUE).id > 0);
                """,
            swap: .refuses([
                "s.takes", "s.gives", "column r of table s.one", "column r of table s.many",
                "type s.whole",
            ])
        ),
        StrangeSet(
            name: "casts, operators and aggregates over the row type",
            around: """
                CREATE FUNCTION s.as_text(s.live) RETURNS text IMMUTABLE LANGUAGE sql
                    AS 'SELECT ($1).v';
                CREATE CAST (s.live AS text) WITH FUNCTION s.as_text;
                CREATE FUNCTION s.eq(s.live, s.live) RETURNS boolean IMMUTABLE LANGUAGE sql
                    AS 'SELECT ($1).id = ($2).id';
                CREATE OPERATOR s.=== (LEFTARG = s.live, RIGHTARG = s.live, FUNCTION = s.eq);
                """,
            swap: .refuses(["cast from s.live to text", "s.as_text", "===", "s.eq"])
        ),
        StrangeSet(
            name: "operators, classes and text search of the schema",
            before: """
                CREATE FUNCTION far(int, int) RETURNS boolean IMMUTABLE LANGUAGE sql
                    RETURN $1 OPERATOR(pg_catalog.>) $2 + 5;
                CREATE OPERATOR >>> (LEFTARG = int, RIGHTARG = int, FUNCTION = far);
                CREATE OPERATOR CLASS backwards FOR TYPE int USING btree AS
                    OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <,
                    FUNCTION 1 btint4cmp(int, int);
                CREATE TEXT SEARCH CONFIGURATION own (COPY = pg_catalog.simple);
                CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
                """,
            table: """
                CREATE TABLE live (
                    id int PRIMARY KEY, v text,
                    words tsvector GENERATED ALWAYS AS (to_tsvector('s.own', v)) STORED,
                    CONSTRAINT near CHECK (NOT id OPERATOR(s.>>>) 100))
                """,
            around: """
                CREATE INDEX live_near ON s.live (v) WHERE id OPERATOR(s.>>>) 3;
                CREATE INDEX live_words ON s.live USING gin (to_tsvector('s.own', v));
                CREATE VIEW s.totals AS SELECT s.total(id) AS t, s.total(id)
                    FILTER (WHERE id OPERATOR(s.>>>) 1) OVER () AS f FROM s.live GROUP BY id;
                """,
            shapes: [.declared]
        ),
    ]
}
