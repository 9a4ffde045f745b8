import ReadModels

extension StrangeSet {
    /// Other tables and database-wide objects around the table.
    static let neighbours = [
        StrangeSet(
            name: "partitions beside it",
            around: """
                CREATE TABLE s.part (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
                CREATE TABLE s.part_1 PARTITION OF s.part FOR VALUES FROM (0) TO (100);
                CREATE TABLE s.part_d PARTITION OF s.part DEFAULT PARTITION BY LIST (id);
                CREATE TABLE s.part_e PARTITION OF s.part_d DEFAULT;
                CREATE VIEW s.both AS SELECT id, v FROM s.part UNION ALL SELECT id, v FROM s.live;
                ALTER TABLE s.part ENABLE ROW LEVEL SECURITY;
                CREATE POLICY p ON s.part USING (id IN (SELECT id FROM s.live));
                ALTER TABLE s.part_1 ENABLE ROW LEVEL SECURITY;
                CREATE POLICY p1 ON s.part_1 USING (EXISTS (SELECT FROM s.live WHERE v = 'x'));
                CREATE FUNCTION s.tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
                CREATE TRIGGER t AFTER INSERT ON s.part FOR EACH ROW EXECUTE FUNCTION s.tf();
                CREATE INDEX part_v ON s.part (v);
                CREATE STATISTICS s.pst ON id, v FROM s.part;
                """
        ),
        StrangeSet(
            name: "a partitioned table that refers to it",
            around: """
                CREATE TABLE s.part (id int REFERENCES s.live) PARTITION BY RANGE (id);
                CREATE TABLE s.part_1 PARTITION OF s.part FOR VALUES FROM (0) TO (100);
                """,
            swap: .refuses(["foreign key part_id_fkey of s.part"]),
            truncate: .refuses(["foreign key part_id_fkey of s.part"])
        ),
        StrangeSet(
            name: "inheritance beside it",
            around: """
                CREATE TABLE s.parent (LIKE s.live INCLUDING ALL);
                CREATE TABLE s.heir (w text) INHERITS (s.parent);
                CREATE TABLE s.second (x int CHECK (x > 0)) INHERITS (s.heir, s.parent);
                CREATE VIEW s.over AS SELECT p.tableoid, p.id, l.v FROM s.parent AS p
                    JOIN ONLY s.live AS l USING (id);
                CREATE RULE r AS ON INSERT TO s.parent WHERE new.id < 0
                    DO INSTEAD UPDATE s.live SET v = new.v WHERE id = new.id;
                CREATE POLICY p ON s.heir USING (w IN (SELECT v FROM s.live));
                """
        ),
        StrangeSet(
            name: "unlogged and foreign tables beside it",
            extensions: ["file_fdw"],
            around: """
                CREATE UNLOGGED TABLE s.quick (id int PRIMARY KEY, v text);
                CREATE POLICY p ON s.quick USING (EXISTS (SELECT FROM s.live));
                CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
                CREATE FOREIGN TABLE s.far (id int, v text) SERVER files
                    OPTIONS (filename '/nowhere', format 'csv');
                CREATE VIEW s.three AS SELECT id, v FROM s.quick UNION SELECT * FROM s.far
                    UNION ALL SELECT id, v FROM s.live;
                """
        ),
        StrangeSet(
            name: "publications of tables, columns, rows and schemas",
            table: "CREATE TABLE live (id int PRIMARY KEY, v text, w text DEFAULT 'w')",
            around: """
                CREATE TABLE s.other (id int PRIMARY KEY);
                CREATE PUBLICATION whole FOR TABLE s.live, s.other;
                CREATE PUBLICATION "columns" FOR TABLE s.live (id, w), s.other
                    WITH (publish = 'insert, truncate');
                CREATE PUBLICATION "some rows" FOR TABLE s.live WHERE (id > 0 AND id <> 9)
                    WITH (publish_via_partition_root);
                CREATE PUBLICATION "both" FOR TABLE s.live (v, id) WHERE (id IN (1, 2));
                COMMENT ON PUBLICATION "both" IS 'both';
                """,
            consent: CarryOverConsent(republishes: true, adoptsStrangers: true),
            shapes: [.declared]
        ),
        StrangeSet(
            name: "a publication without consent",
            around: "CREATE PUBLICATION p FOR TABLE s.live (id);",
            swap: .refuses(["publication p"])
        ),
        StrangeSet(
            name: "event triggers that write down what happens",
            around: """
                CREATE SCHEMA audit;
                CREATE TABLE audit.ddl (tag text, what text);
                CREATE FUNCTION audit.note() RETURNS event_trigger LANGUAGE plpgsql AS $$
                    BEGIN
                        INSERT INTO audit.ddl SELECT command_tag, object_identity
                        FROM pg_catalog.pg_event_trigger_ddl_commands();
                    END $$;
                CREATE FUNCTION audit.dropped() RETURNS event_trigger LANGUAGE plpgsql AS $$
                    BEGIN
                        INSERT INTO audit.ddl SELECT tg_tag, object_identity
                        FROM pg_catalog.pg_event_trigger_dropped_objects();
                    END $$;
                CREATE FUNCTION audit.plain() RETURNS event_trigger LANGUAGE plpgsql
                    AS 'BEGIN INSERT INTO audit.ddl VALUES (tg_event, tg_tag); END';
                CREATE EVENT TRIGGER note ON ddl_command_end EXECUTE FUNCTION audit.note();
                CREATE EVENT TRIGGER dropped ON sql_drop EXECUTE FUNCTION audit.dropped();
                CREATE EVENT TRIGGER starts ON ddl_command_start
                    WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE') EXECUTE FUNCTION audit.plain();
                CREATE EVENT TRIGGER rewrite ON table_rewrite EXECUTE FUNCTION audit.plain();
                ALTER EVENT TRIGGER note ENABLE ALWAYS;
                ALTER EVENT TRIGGER rewrite DISABLE;
                COMMENT ON EVENT TRIGGER note IS 'note';
                """,
            shapes: Shape.allCases
        ),
        StrangeSet(
            name: "an unlogged table",
            table: "CREATE UNLOGGED TABLE live (id int PRIMARY KEY, v text)",
            around: "",
            swap: .refuses(["s.live"])
        ),
        StrangeSet(
            name: "a partition",
            before: "CREATE TABLE whole (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);",
            table: "CREATE TABLE live PARTITION OF s.whole FOR VALUES FROM (0) TO (9)",
            around: "CREATE VIEW s.over AS SELECT * FROM s.live;",
            swap: .refuses(["s.live"])
        ),
        StrangeSet(
            name: "a table of a type",
            before: "CREATE TYPE row_of AS (id int, v text);",
            table: "CREATE TABLE live OF s.row_of (PRIMARY KEY (id))",
            around: "CREATE VIEW s.over AS SELECT * FROM s.live;",
            swap: .refuses(["s.live"])
        ),
        StrangeSet(
            name: "a parent of inheritance",
            around: "CREATE TABLE s.heir () INHERITS (s.live);",
            swap: .refuses(["s.live"]),
            truncate: .refuses(["s.live"])
        ),
        StrangeSet(
            name: "a member of an extension",
            extensions: ["intagg"],
            around: "ALTER EXTENSION intagg ADD TABLE s.live;",
            swap: .refuses(["extension intagg"])
        ),
    ]
}
