extension StrangeSet {
    /// What stands on the table itself, besides its keys.
    static let onTables = [
        StrangeSet(
            name: "columns: storage, compression, options and targets",
            table: "CREATE TABLE live (id int PRIMARY KEY, v text, b bytea, n numeric DEFAULT 1)",
            around: """
                ALTER TABLE s.live ALTER v SET STORAGE EXTERNAL, ALTER b SET STORAGE MAIN,
                    ALTER n SET STORAGE PLAIN, ALTER b SET COMPRESSION pglz,
                    ALTER v SET STATISTICS 0, ALTER b SET STATISTICS 10000,
                    ALTER n SET (n_distinct = -0.5, n_distinct_inherited = 3);
                """
        ),
        StrangeSet(
            name: "settings of table, toast table and indexes",
            around: """
                CREATE INDEX live_v ON s.live (v) WITH (fillfactor = 51, deduplicate_items = off);
                CREATE INDEX live_brin ON s.live USING brin (id)
                    WITH (pages_per_range = 3, autosummarize = on);
                CREATE INDEX live_words ON s.live USING gin (to_tsvector('simple', v))
                    WITH (fastupdate = off, gin_pending_list_limit = 128);
                CREATE INDEX live_spot ON s.live USING spgist (v) WITH (fillfactor = 80);
                CREATE INDEX live_hash ON s.live USING hash (v) WITH (fillfactor = 70);
                CREATE INDEX live_box ON s.live USING gist (box(point(id, id), point(id, id)))
                    WITH (buffering = on);
                ALTER TABLE s.live SET (user_catalog_table = true, autovacuum_enabled = false,
                    autovacuum_vacuum_cost_delay = 1.5, parallel_workers = 3, fillfactor = 44,
                    toast_tuple_target = 256, vacuum_index_cleanup = off, vacuum_truncate = off,
                    log_autovacuum_min_duration = 7, toast.autovacuum_freeze_max_age = 200000,
                    toast.vacuum_index_cleanup = on);
                """,
            shapes: [.declared]
        ),
        StrangeSet(
            name: "replica identity, CLUSTER mark and comments on everything",
            around: """
                ALTER TABLE s.live ALTER v SET NOT NULL;
                CREATE UNIQUE INDEX live_identity ON s.live (v, id);
                ALTER TABLE s.live REPLICA IDENTITY USING INDEX live_identity;
                ALTER TABLE s.live CLUSTER ON live_pkey;
                ALTER TABLE s.live ADD CONSTRAINT c CHECK (id > 0);
                CREATE FUNCTION s.tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
                CREATE TRIGGER t BEFORE INSERT ON s.live FOR EACH ROW EXECUTE FUNCTION s.tf();
                CREATE RULE r AS ON UPDATE TO s.live WHERE old.id < 0 DO INSTEAD NOTHING;
                CREATE POLICY p ON s.live USING (true);
                CREATE STATISTICS s.st ON id, v FROM s.live;
                COMMENT ON SCHEMA s IS 'schema';
                COMMENT ON TABLE s.live IS E'it''s\\n\\\\ "a" $$ table';
                COMMENT ON COLUMN s.live.v IS '';
                COMMENT ON COLUMN s.live.id IS E'-- not a comment\\n/* nor this';
                COMMENT ON CONSTRAINT c ON s.live IS 'check';
                COMMENT ON CONSTRAINT live_pkey ON s.live IS 'key';
                COMMENT ON INDEX s.live_pkey IS 'its index';
                COMMENT ON INDEX s.live_identity IS 'identity';
                COMMENT ON TRIGGER t ON s.live IS 'trigger';
                COMMENT ON RULE r ON s.live IS 'rule';
                COMMENT ON POLICY p ON s.live IS 'policy';
                COMMENT ON STATISTICS s.st IS 'statistics';
                COMMENT ON TYPE s.live IS 'its row type';
                """,
            shapes: [.declared]
        ),
        StrangeSet(
            name: "triggers in every state",
            before: "CREATE TABLE audit (name text);",
            around: """
                CREATE FUNCTION s.tf() RETURNS trigger LANGUAGE plpgsql AS
                    'BEGIN INSERT INTO s.audit VALUES (tg_name); RETURN coalesce(new, old); END';
                CREATE TRIGGER always BEFORE INSERT OR UPDATE OF v, id OR DELETE ON s.live
                    FOR EACH ROW EXECUTE FUNCTION s.tf('it''s', '', E'a\\nb');
                CREATE TRIGGER replica AFTER UPDATE ON s.live
                    REFERENCING OLD TABLE AS "the old" NEW TABLE AS "the new"
                    FOR EACH STATEMENT EXECUTE FUNCTION s.tf();
                CREATE TRIGGER off AFTER TRUNCATE ON s.live FOR EACH STATEMENT
                    EXECUTE FUNCTION s.tf();
                CREATE TRIGGER "when" BEFORE UPDATE ON s.live FOR EACH ROW
                    WHEN (old.* IS DISTINCT FROM new.* AND new.v <> 'a''b')
                    EXECUTE FUNCTION s.tf();
                CREATE CONSTRAINT TRIGGER later AFTER INSERT ON s.live NOT DEFERRABLE
                    FOR EACH ROW EXECUTE FUNCTION s.tf();
                CREATE CONSTRAINT TRIGGER other AFTER UPDATE ON s.live FROM s.audit
                    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION s.tf();
                CREATE CONSTRAINT TRIGGER from_other AFTER DELETE ON s.audit FROM s.live
                    DEFERRABLE FOR EACH ROW EXECUTE FUNCTION s.tf();
                ALTER TABLE s.live ENABLE ALWAYS TRIGGER always, ENABLE REPLICA TRIGGER replica,
                    DISABLE TRIGGER off, DISABLE TRIGGER later, ENABLE REPLICA TRIGGER "when";
                ALTER TABLE s.audit DISABLE TRIGGER from_other;
                """
        ),
        StrangeSet(
            name: "generated columns by functions, with index, check and default beside",
            before: """
                CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql RETURN $1 * 2;
                CREATE TYPE mood AS ENUM ('well', 'it''s');
                CREATE DOMAIN short AS text DEFAULT 'd' CHECK (length(VALUE) < 9) NOT NULL;
                """,
            table: """
                CREATE TABLE live (
                    id int PRIMARY KEY, v text,
                    double int GENERATED ALWAYS AS (s.twice(id)) STORED CHECK (double > 0),
                    m s.mood DEFAULT 'it''s', d s.short, at timestamptz DEFAULT now(),
                    r tstzrange DEFAULT tstzrange(now(), NULL), a text[] DEFAULT ARRAY['a', NULL],
                    words tsvector GENERATED ALWAYS AS (to_tsvector('simple', v)) STORED)
                """,
            around: """
                CREATE INDEX live_double ON s.live (double, s.twice(id)) WHERE m = 'it''s';
                CREATE INDEX live_words ON s.live USING gin (words);
                CREATE VIEW s.moods AS SELECT id FROM s.live WHERE m > 'well' AND d <> 'x';
                """,
            shapes: Shape.allCases
        ),
        StrangeSet(
            name: "sequences: serial, owned by hand, shared and identity",
            before:
                "CREATE SEQUENCE shared; CREATE SCHEMA elsewhere; CREATE SEQUENCE elsewhere.far;",
            table: """
                CREATE TABLE live (
                    id int PRIMARY KEY, v text, n serial, small smallserial,
                    a bigint GENERATED ALWAYS AS IDENTITY
                        (SEQUENCE NAME s."the a's" START 7 INCREMENT -3 MINVALUE -90 MAXVALUE 100
                            CACHE 5 CYCLE),
                    d smallint GENERATED BY DEFAULT AS IDENTITY (START 3),
                    f bigint DEFAULT nextval('elsewhere.far'), g bigint DEFAULT nextval('s.shared'))
                """,
            around: """
                CREATE SEQUENCE s.owned OWNED BY s.live.v;
                CREATE TABLE s.other (id int DEFAULT nextval('s.owned'),
                    shared int DEFAULT nextval('s.shared'));
                ALTER SEQUENCE s.live_n_seq RENAME TO "other name";
                GRANT USAGE ON SEQUENCE s."the a's", s.live_d_seq, s."other name" TO %app%;
                COMMENT ON SEQUENCE s."the a's" IS 'identity';
                COMMENT ON SEQUENCE s.owned IS 'owned';
                ALTER SEQUENCE s.live_d_seq AS int MAXVALUE 5000 CACHE 3;
                """,
            roles: ["app"]
        ),
        StrangeSet(
            name: "statistics of other owners, in other schemas",
            before: "CREATE SCHEMA other;",
            around: """
                GRANT USAGE, CREATE ON SCHEMA s, other TO %so%;
                CREATE STATISTICS other.st (ndistinct, mcv) ON id, v FROM s.live;
                CREATE STATISTICS s.st2 ON (id % 7), (lower(v)), v FROM s.live;
                CREATE STATISTICS s.one ON (upper(v)) FROM s.live;
                ALTER STATISTICS s.st2 OWNER TO %so%;
                ALTER STATISTICS other.st OWNER TO %so%;
                ALTER STATISTICS s.st2 SET STATISTICS 77;
                COMMENT ON STATISTICS other.st IS E'it''s \\\\ a';
                CREATE MATERIALIZED VIEW s.mv AS SELECT id, v FROM s.live;
                CREATE STATISTICS s.mvst ON id, v FROM s.mv;
                ALTER STATISTICS s.mvst OWNER TO %so%;
                """,
            roles: ["so"]
        ),
        StrangeSet(
            name: "collations of its own, also one that is not deterministic",
            needsICU: true,
            before: """
                CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2',
                    deterministic = false);
                CREATE COLLATION "it's C" FROM "C";
                """,
            table: """
                CREATE TABLE live (
                    id int PRIMARY KEY, v text COLLATE s.folded UNIQUE,
                    c text COLLATE s."it's C" DEFAULT 'c',
                    CONSTRAINT other CHECK (v <> 'NO' COLLATE s.folded))
                """,
            around: """
                CREATE INDEX live_c ON s.live (c COLLATE "POSIX" text_pattern_ops DESC NULLS LAST);
                CREATE INDEX live_two ON s.live ((v || c) COLLATE s."it's C", (lower(c)));
                CREATE VIEW s.collated AS SELECT id, v COLLATE "C" AS v FROM s.live
                    WHERE v = 'OLD' OR c COLLATE s.folded > 'x';
                CREATE STATISTICS s.st ON v, (c COLLATE s.folded) FROM s.live;
                """,
            shapes: Shape.allCases
        ),
        StrangeSet(
            name: "rules of every kind",
            before: "CREATE TABLE log (id int, v text);",
            around: """
                CREATE RULE also AS ON UPDATE TO s.live WHERE new.v IS DISTINCT FROM old.v
                    DO ALSO INSERT INTO s.log VALUES (old.id, new.v || '''');
                CREATE RULE many AS ON DELETE TO s.live WHERE old.id < 0
                    DO INSTEAD (DELETE FROM s.log WHERE id = old.id;
                        INSERT INTO s.log SELECT old.*);
                CREATE RULE told AS ON INSERT TO s.log DO ALSO NOTIFY "it's";
                CREATE RULE never AS ON DELETE TO s.live WHERE old.id = 9 DO INSTEAD NOTHING;
                CREATE RULE back AS ON INSERT TO s.log WHERE new.id < 0
                    DO ALSO UPDATE s.live SET v = new.v WHERE id = new.id;
                ALTER TABLE s.live DISABLE RULE never, ENABLE ALWAYS RULE many;
                ALTER TABLE s.log ENABLE REPLICA RULE back;
                COMMENT ON RULE back ON s.log IS 'back';
                """
        ),
        StrangeSet(
            name: "row-level security here and elsewhere",
            around: """
                CREATE TABLE s.allowed (id int, who name DEFAULT current_user);
                ALTER TABLE s.live ENABLE ROW LEVEL SECURITY;
                ALTER TABLE s.live FORCE ROW LEVEL SECURITY;
                CREATE POLICY "for some" ON s.live FOR UPDATE TO %app%, %rpt%
                    USING (EXISTS (SELECT FROM s.allowed AS a WHERE a.id = live.id))
                    WITH CHECK (v <> 'no');
                CREATE POLICY own ON s.live AS RESTRICTIVE TO CURRENT_USER USING (id > 0);
                CREATE POLICY ins ON s.live FOR INSERT WITH CHECK (id = (SELECT max(id) FROM s.allowed));
                ALTER TABLE s.allowed ENABLE ROW LEVEL SECURITY;
                CREATE POLICY elsewhere ON s.allowed TO %app%
                    USING ((id, 'new') IN (SELECT l.id, l.v FROM s.live AS l))
                    WITH CHECK (id = ANY (ARRAY(SELECT id FROM s.live)));
                CREATE TABLE s.off (id int);
                CREATE POLICY off ON s.off USING (EXISTS (SELECT FROM s.live WHERE v IS NOT NULL));
                """,
            roles: ["app", "rpt"]
        ),
    ]
}
