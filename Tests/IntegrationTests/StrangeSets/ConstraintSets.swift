import ReadModels

extension StrangeSet {
    /// Keys to and from the table, other constraints, indexes.
    static let constraints = [
        StrangeSet(
            name: "indexes: INCLUDE, NULLS NOT DISTINCT, classes, orders, expressions",
            table: """
                CREATE TABLE live (
                    id int PRIMARY KEY, v text, c text, p point DEFAULT '(1,1)', j jsonb DEFAULT '{}',
                    CONSTRAINT once UNIQUE NULLS NOT DISTINCT (v, c) INCLUDE (id)
                        WITH (fillfactor = 75) DEFERRABLE INITIALLY DEFERRED)
                """,
            around: """
                CREATE UNIQUE INDEX live_include ON s.live (v DESC NULLS LAST) INCLUDE (c)
                    NULLS NOT DISTINCT WHERE c IS NULL;
                CREATE INDEX live_class ON s.live (v text_pattern_ops, c varchar_pattern_ops DESC);
                CREATE INDEX live_point ON s.live USING spgist (p kd_point_ops);
                CREATE INDEX live_json ON s.live USING gin (j jsonb_path_ops);
                CREATE INDEX live_case ON s.live ((CASE WHEN id > 1 THEN v ELSE c || 'x' END), (j->>'a'));
                CREATE INDEX live_minmax ON s.live USING brin (id int4_minmax_multi_ops
                    (values_per_range = 16), v text_bloom_ops (n_distinct_per_range = 100));
                ALTER INDEX s.live_case ALTER COLUMN 1 SET STATISTICS 99;
                ALTER INDEX s.live_case ALTER COLUMN 2 SET STATISTICS 0;
                """,
            shapes: Shape.allCases
        ),
        StrangeSet(
            name: "exclusion constraints, deferrable, partial, with classes",
            table: """
                CREATE TABLE live (
                    id int PRIMARY KEY, v text,
                    span int4range GENERATED ALWAYS AS (int4range(id, id + 1)) STORED,
                    c circle GENERATED ALWAYS AS (circle(point(id, id), 0.1)) STORED,
                    CONSTRAINT spans EXCLUDE USING gist (span WITH &&, c WITH &&)
                        INCLUDE (v) WITH (fillfactor = 66) WHERE (id > 0)
                        DEFERRABLE INITIALLY DEFERRED,
                    CONSTRAINT "no two" EXCLUDE (id WITH =),
                    CONSTRAINT hashed EXCLUDE USING hash ((id + 0) WITH =))
                """,
            around: "COMMENT ON CONSTRAINT \"no two\" ON s.live IS 'exclusion';",
            shapes: [.declared]
        ),
        StrangeSet(
            name: "constraints that are not valid, NO INHERIT, and NOT NULL by hand",
            table: "CREATE TABLE live (id int PRIMARY KEY, v text, w text DEFAULT 'w')",
            around: """
                ALTER TABLE s.live ALTER v SET NOT NULL, ALTER w SET NOT NULL;
                ALTER TABLE s.live ADD CONSTRAINT late CHECK (v <> 'bad') NOT VALID;
                ALTER TABLE s.live ADD CONSTRAINT alone CHECK (w <> '') NO INHERIT NOT VALID;
                ALTER TABLE s.live ADD CONSTRAINT valid CHECK (w <> '') NO INHERIT;
                COMMENT ON CONSTRAINT late ON s.live IS 'late';
                """,
            shapes: Shape.allCases
        ),
        StrangeSet(
            name: "keys to the table itself",
            table: """
                CREATE TABLE live (
                    id int PRIMARY KEY, v text, p int,
                    CONSTRAINT up FOREIGN KEY (p) REFERENCES live DEFERRABLE INITIALLY DEFERRED,
                    CONSTRAINT own FOREIGN KEY (id) REFERENCES live ON DELETE CASCADE)
                """,
            around: """
                ALTER TABLE s.live ADD CONSTRAINT late FOREIGN KEY (p) REFERENCES s.live (id)
                    ON DELETE SET NULL (p) NOT VALID;
                COMMENT ON CONSTRAINT up ON s.live IS 'up';
                """,
            projection: LinkedLive.self,
            shapes: Shape.allCases
        ),
        StrangeSet(
            name: "keys to tables of others",
            before: """
                CREATE TABLE kind (v text PRIMARY KEY);
                INSERT INTO kind VALUES ('old'), ('new');
                CREATE TABLE leaf (a int, b text, PRIMARY KEY (a, b)) PARTITION BY RANGE (a);
                CREATE TABLE leaf_1 PARTITION OF leaf FOR VALUES FROM (0) TO (9);
                INSERT INTO leaf VALUES (1, 'old'), (1, 'new');
                """,
            table: """
                CREATE TABLE live (
                    id int PRIMARY KEY,
                    v text CONSTRAINT kinds REFERENCES s.kind ON UPDATE CASCADE
                        DEFERRABLE INITIALLY DEFERRED)
                """,
            around: """
                ALTER TABLE s.live ADD CONSTRAINT leaves FOREIGN KEY (id, v) REFERENCES s.leaf
                    MATCH FULL ON DELETE CASCADE;
                ALTER TABLE s.live ADD CONSTRAINT late FOREIGN KEY (v) REFERENCES s.kind NOT VALID;
                COMMENT ON CONSTRAINT leaves ON s.live IS 'leaves';
                """,
            shapes: Shape.allCases
        ),
        StrangeSet(
            name: "keys of tables of others",
            around: """
                ALTER TABLE s.live ADD CONSTRAINT pair UNIQUE (id, v);
                CREATE TABLE s.child (
                    id int PRIMARY KEY, l int CONSTRAINT one REFERENCES s.live
                        ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);
                CREATE UNLOGGED TABLE s.quick (l int REFERENCES s.live ON UPDATE SET DEFAULT);
                CREATE TABLE s.full_match (
                    a int, b text, keep int,
                    CONSTRAINT two FOREIGN KEY (a, b) REFERENCES s.live (id, v) MATCH FULL
                        ON DELETE SET NULL,
                    CONSTRAINT "some" FOREIGN KEY (a, b) REFERENCES s.live (id, v)
                        ON DELETE SET NULL (b) NOT VALID);
                INSERT INTO s.child VALUES (1, 1), (2, NULL);
                INSERT INTO s.quick VALUES (1);
                COMMENT ON CONSTRAINT two ON s.full_match IS 'two';
                """,
            consent: CarryOverConsent(
                recreatesIncomingForeignKeys: true,
                adoptsStrangers: true
            ),
            truncate: .refuses(["foreign key one of s.child", "s.full_match", "s.quick"])
        ),
        StrangeSet(
            name: "keys whose triggers somebody has switched off",
            before:
                "CREATE TABLE kind (v text PRIMARY KEY); INSERT INTO kind VALUES ('old'), ('new');",
            table: """
                CREATE TABLE live (
                    id int PRIMARY KEY, v text, p int CONSTRAINT own REFERENCES live,
                    CONSTRAINT once UNIQUE (v) DEFERRABLE)
                """,
            around: """
                ALTER TABLE s.live ADD CONSTRAINT kinds FOREIGN KEY (v) REFERENCES s.kind;
                ALTER TABLE s.live DISABLE TRIGGER ALL;
                """,
            projection: LinkedLive.self,
            shapes: Shape.allCases
        ),
        StrangeSet(
            name: "keys of others whose triggers somebody has switched off",
            around: """
                CREATE TABLE s.child (l int CONSTRAINT one REFERENCES s.live ON DELETE CASCADE);
                ALTER TABLE s.child DISABLE TRIGGER ALL;
                """,
            consent: CarryOverConsent(
                recreatesIncomingForeignKeys: true,
                adoptsStrangers: true
            ),
            truncate: .refuses(["foreign key one of s.child"])
        ),
        StrangeSet(
            name: "a key of others without consent",
            around: "CREATE TABLE s.child (l int CONSTRAINT one REFERENCES s.live);",
            swap: .refuses(["foreign key one of s.child"]),
            truncate: .refuses(["foreign key one of s.child"])
        ),
    ]
}
