CREATE SCHEMA reprise;

-- Default privileges may have taken it from the owner.
GRANT ALL ON SCHEMA reprise TO CURRENT_USER;

COMMENT ON SCHEMA reprise IS 'Reprise''s bookkeeping: runs, generations and checkpoints of read models.';

CREATE TABLE reprise.migration (
    number integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);

CREATE TABLE reprise.run (
    run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    projection text NOT NULL,
    command text NOT NULL,
    strategy text NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'done', 'failed')),
    stage text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    started_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    heartbeat_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    ended_at timestamptz,
    generation integer,
    error text,
    report jsonb
);

CREATE INDEX run_projection ON reprise.run (projection, run_id);

COMMENT ON TABLE reprise.run IS 'One row for each command that builds or moves a generation.';
COMMENT ON COLUMN reprise.run.stage IS 'What the run was doing when it last said so.';
COMMENT ON COLUMN reprise.run.heartbeat_at IS 'A run in state running whose heartbeat is older than a minute has died.';

CREATE TABLE reprise.generation (
    projection text NOT NULL,
    generation integer NOT NULL CHECK (generation >= 0),
    state text NOT NULL CHECK (
        state IN ('building', 'ready', 'rejected', 'live', 'retired', 'replaced', 'dropped')),
    live_schema text NOT NULL,
    home_schema text NOT NULL,
    home_schema_oid oid,
    run_id bigint REFERENCES reprise.run,
    position text COLLATE "C",
    events bigint,
    built_at timestamptz,
    live_since timestamptz,
    retired_at timestamptz,
    dropped_at timestamptz,
    PRIMARY KEY (projection, generation)
);

CREATE UNIQUE INDEX generation_live ON reprise.generation (projection) WHERE state = 'live';

COMMENT ON TABLE reprise.generation IS 'One complete build of a projection, numbered. Generation 0 is what was live before the first rebuild.';
COMMENT ON COLUMN reprise.generation.home_schema_oid IS 'The schema its tables live in while they are not live; null until it exists.';
COMMENT ON COLUMN reprise.generation.position IS 'The ledger position its rows stand for: when it was built, or when it was retired.';

CREATE TABLE reprise.generation_table (
    projection text NOT NULL,
    generation integer NOT NULL,
    table_name text NOT NULL,
    table_oid oid NOT NULL,
    row_count bigint,
    PRIMARY KEY (projection, generation, table_name),
    FOREIGN KEY (projection, generation) REFERENCES reprise.generation
);

COMMENT ON TABLE reprise.generation_table IS 'The tables of a generation by OID: nothing is dropped or moved by its name alone.';

CREATE TABLE reprise.checkpoint (
    projection text PRIMARY KEY,
    generation integer NOT NULL,
    position text COLLATE "C",
    updated_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);

COMMENT ON TABLE reprise.checkpoint IS 'Where the live tables stand in the ledger. It changes in the transaction that changes the tables.';

CREATE TABLE reprise.swap (
    swap_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES reprise.run,
    projection text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('swap', 'rollback', 'truncate')),
    from_generation integer,
    to_generation integer NOT NULL,
    position_before text COLLATE "C",
    position_after text COLLATE "C",
    at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);

COMMENT ON TABLE reprise.swap IS 'One row for each change of generation, written in its transaction: that the row is there proves that it happened.';

CREATE VIEW reprise.live AS
SELECT
    g.projection,
    g.generation,
    g.live_schema,
    g.live_since,
    c.position,
    c.updated_at AS position_updated_at
FROM reprise.generation AS g
LEFT JOIN reprise.checkpoint AS c USING (projection)
WHERE g.state = 'live';

COMMENT ON VIEW reprise.live IS 'What is live, since when, and where it stands in the ledger.';

CREATE VIEW reprise.run_history AS
SELECT
    r.run_id,
    r.projection,
    r.command,
    r.strategy,
    CASE
        WHEN r.state = 'running' AND r.heartbeat_at < pg_catalog.now() - interval '1 minute'
        THEN 'died'
        ELSE r.state
    END AS state,
    r.stage,
    r.generation,
    r.started_at,
    coalesce(r.ended_at, r.heartbeat_at) - r.started_at AS duration,
    r.error
FROM reprise.run AS r;

COMMENT ON VIEW reprise.run_history IS 'What was run, how it ended, how long it took.';
