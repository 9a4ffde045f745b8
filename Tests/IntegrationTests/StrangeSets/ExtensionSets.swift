extension StrangeSet {
    /// Objects of extensions, each of which is in a schema of its own.
    static let extensions = [
        StrangeSet(
            name: "citext",
            extensions: ["citext"],
            table: """
                CREATE TABLE live (
                    id int PRIMARY KEY, v text,
                    folded ext.citext GENERATED ALWAYS AS (v::ext.citext) STORED,
                    other ext.citext DEFAULT 'X',
                    CONSTRAINT apart CHECK (folded OPERATOR(ext.<>) 'no'::ext.citext))
                """,
            around: """
                CREATE UNIQUE INDEX live_folded ON s.live (folded);
                CREATE INDEX live_pattern ON s.live (folded ext.citext_pattern_ops);
                SET search_path = s, ext;
                CREATE VIEW same AS SELECT id, folded IS DISTINCT FROM other AS differs FROM live;
                ALTER TABLE live ENABLE ROW LEVEL SECURITY;
                CREATE POLICY p ON live USING (folded IN ('OLD', 'NEW') OR folded = other);
                """,
            shapes: Shape.allCases
        ),
        StrangeSet(
            name: "hstore",
            extensions: ["hstore"],
            table: """
                CREATE TABLE live (
                    id int PRIMARY KEY, v text,
                    h ext.hstore GENERATED ALWAYS AS (ext.hstore('v', v)) STORED)
                """,
            around: """
                CREATE INDEX live_h ON s.live USING gin (h);
                CREATE INDEX live_g ON s.live USING gist (h ext.gist_hstore_ops (siglen = 32));
                CREATE VIEW s.opened AS SELECT id, e.key FROM s.live, ext.each(h) AS e
                    WHERE h OPERATOR(ext.?) 'v';
                """,
            shapes: [.declared]
        ),
        StrangeSet(
            name: "ltree",
            extensions: ["ltree"],
            table: """
                CREATE TABLE live (
                    id int PRIMARY KEY, v text,
                    path ext.ltree GENERATED ALWAYS AS (ext.text2ltree(v)) STORED)
                """,
            around: """
                CREATE INDEX live_path ON s.live USING gist (path ext.gist_ltree_ops (siglen = 100));
                CREATE INDEX live_tree ON s.live (path);
                CREATE VIEW s.below AS SELECT id FROM s.live WHERE path OPERATOR(ext.<@) 'old';
                """
        ),
        StrangeSet(
            name: "pg_trgm, with indexes that depend on it",
            extensions: ["pg_trgm"],
            around: """
                CREATE INDEX live_gin ON s.live USING gin (v ext.gin_trgm_ops);
                CREATE INDEX live_gist ON s.live USING gist (v ext.gist_trgm_ops (siglen = 32))
                    WHERE id > 0;
                ALTER INDEX s.live_gin DEPENDS ON EXTENSION pg_trgm;
                CREATE VIEW s.near AS SELECT id FROM s.live WHERE v OPERATOR(ext.%) 'old';
                """
        ),
        StrangeSet(
            name: "btree_gin and btree_gist",
            extensions: ["btree_gin", "btree_gist"],
            table: """
                CREATE TABLE live (
                    id int PRIMARY KEY, v text, during int4range DEFAULT 'empty',
                    CONSTRAINT apart EXCLUDE USING gist (id WITH =, v WITH =, during WITH &&)
                        WHERE (id > 0) DEFERRABLE)
                """,
            around: """
                CREATE INDEX live_gin ON s.live USING gin (id, v) WITH (fastupdate = off);
                CREATE INDEX live_near ON s.live USING gist (id, v) INCLUDE (during);
                """,
            shapes: [.declared]
        ),
        StrangeSet(
            name: "intarray",
            extensions: ["intarray"],
            table: """
                CREATE TABLE live (
                    id int PRIMARY KEY, v text, n int[] GENERATED ALWAYS AS (ARRAY[id, 2]) STORED,
                    CONSTRAINT "some" CHECK (n OPERATOR(ext.@>) ARRAY[2]))
                """,
            around: """
                CREATE INDEX live_gin ON s.live USING gin (n ext.gin__int_ops);
                CREATE INDEX live_gist ON s.live USING gist (n ext.gist__intbig_ops (siglen = 252));
                CREATE VIEW s.found AS SELECT id FROM s.live WHERE n OPERATOR(ext.@@) '1&2';
                """
        ),
        StrangeSet(
            name: "cube and earthdistance",
            extensions: ["cube", "earthdistance"],
            table: """
                CREATE TABLE live (
                    id int PRIMARY KEY, v text,
                    place ext.cube GENERATED ALWAYS AS (ext.cube(id::float8)) STORED)
                """,
            around: """
                CREATE INDEX live_place ON s.live USING gist (place);
                CREATE VIEW s.far AS SELECT id, ext.gc_to_sec(id::float8) AS seconds,
                    place OPERATOR(ext.<->) ext.cube(0) AS distance FROM s.live;
                """
        ),
        StrangeSet(
            name: "unaccent by a function of the user's",
            extensions: ["unaccent"],
            before: """
                CREATE FUNCTION plain(text) RETURNS text IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
                    AS $$SELECT ext.unaccent('ext.unaccent', $1)$$;
                """,
            around: """
                CREATE INDEX live_plain ON s.live (s.plain(v));
                CREATE INDEX live_words ON s.live USING gin (to_tsvector('simple', s.plain(v)));
                CREATE TEXT SEARCH CONFIGURATION s.words (COPY = simple);
                ALTER TEXT SEARCH CONFIGURATION s.words
                    ALTER MAPPING FOR word WITH ext.unaccent, simple;
                CREATE VIEW s.words AS SELECT id, to_tsvector('s.words', v) AS words FROM s.live;
                """
        ),
        StrangeSet(
            name: "uuid-ossp, pgcrypto and tablefunc",
            extensions: ["uuid-ossp", "pgcrypto", "tablefunc"],
            table: """
                CREATE TABLE live (
                    id int PRIMARY KEY, v text,
                    u uuid NOT NULL DEFAULT ext.uuid_generate_v4(),
                    salt text DEFAULT ext.gen_salt('md5'),
                    digest bytea GENERATED ALWAYS AS (ext.digest(v, 'sha256')) STORED)
                """,
            around: """
                CREATE INDEX live_digest ON s.live (ext.digest(v, 'md5'));
                CREATE VIEW s.crossed AS SELECT l.id, c.one FROM s.live AS l
                    JOIN ext.crosstab('SELECT id, v, v FROM s.live') AS c (id int, one text)
                        USING (id);
                """,
            shapes: [.declared]
        ),
        StrangeSet(
            name: "an access method of an extension",
            extensions: ["bloom"],
            around: """
                CREATE INDEX live_bloom ON s.live USING bloom (id, v)
                    WITH (length = 96, col1 = 3, col2 = 4);
                COMMENT ON INDEX s.live_bloom IS 'bloom';
                """
        ),
        StrangeSet(
            name: "PostGIS",
            extensions: ["postgis"],
            table: """
                CREATE TABLE live (
                    id int PRIMARY KEY, v text,
                    place ext.geometry(Point, 4326) GENERATED ALWAYS AS
                        (ext.st_setsrid(ext.st_makepoint(id, id), 4326)) STORED)
                """,
            around: """
                CREATE INDEX live_place ON s.live USING gist (place);
                CREATE INDEX live_more ON s.live USING gist (place ext.gist_geometry_ops_nd);
                CREATE VIEW s.placed AS SELECT id, ext.st_astext(place) AS place FROM s.live;
                """
        ),
        StrangeSet(
            name: "pgvector",
            extensions: ["vector"],
            table: """
                CREATE TABLE live (
                    id int PRIMARY KEY, v text,
                    e ext.vector(2) GENERATED ALWAYS AS
                        (ext.array_to_vector(ARRAY[id, id], 2, true)) STORED)
                """,
            around: """
                CREATE INDEX live_e ON s.live USING ivfflat (e ext.vector_l2_ops) WITH (lists = 1);
                CREATE VIEW s.near AS SELECT id, e OPERATOR(ext.<->) '[0,0]' AS d FROM s.live;
                """
        ),
        StrangeSet(
            name: "what an extension takes along when it is dropped",
            extensions: ["pg_trgm", "citext"],
            around: """
                CREATE INDEX live_v ON s.live (v);
                ALTER INDEX s.live_v DEPENDS ON EXTENSION pg_trgm;
                CREATE FUNCTION s.tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
                CREATE TRIGGER t BEFORE UPDATE ON s.live FOR EACH ROW EXECUTE FUNCTION s.tf();
                ALTER TRIGGER t ON s.live DEPENDS ON EXTENSION pg_trgm;
                CREATE FUNCTION s.fa() RETURNS bigint LANGUAGE sql
                    BEGIN ATOMIC SELECT count(*) FROM s.live; END;
                ALTER FUNCTION s.fa() DEPENDS ON EXTENSION pg_trgm;
                CREATE PROCEDURE s.pa() LANGUAGE sql BEGIN ATOMIC DELETE FROM s.live WHERE id < 0; END;
                ALTER PROCEDURE s.pa() DEPENDS ON EXTENSION citext;
                CREATE MATERIALIZED VIEW s.mv AS SELECT count(*) AS c FROM s.live;
                ALTER MATERIALIZED VIEW s.mv DEPENDS ON EXTENSION pg_trgm;
                CREATE UNIQUE INDEX mv_c ON s.mv (c);
                ALTER INDEX s.mv_c DEPENDS ON EXTENSION citext;
                """
        ),
    ]
}
