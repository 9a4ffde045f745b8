ALTER TABLE reprise.generation
    ADD COLUMN load_xid bigint,
    ADD COLUMN live_shape text;

COMMENT ON COLUMN reprise.generation.load_xid IS 'The transaction, with its epoch, that loaded the rows: a snapshot that is older does not know them.';
COMMENT ON COLUMN reprise.generation.live_shape IS 'A digest of the live tables'' definition when this generation was built: a change by hand since then is not in it.';

ALTER TABLE reprise.generation_table
    ADD COLUMN kind text NOT NULL DEFAULT 'table' CHECK (kind IN ('table', 'materialized view')),
    ADD COLUMN shape jsonb;

COMMENT ON COLUMN reprise.generation_table.kind IS 'A materialized view over the tables is built and moved with them.';
COMMENT ON COLUMN reprise.generation_table.shape IS 'Indexes, constraints, statistics and settings as they were when the table was built: what a live table has beyond that was put there by hand.';

ALTER TABLE reprise.swap
    ADD COLUMN attempts integer,
    ADD COLUMN lock_wait_ms double precision,
    ADD COLUMN longest_failed_wait_ms double precision,
    ADD COLUMN held_ms double precision;

COMMENT ON COLUMN reprise.swap.attempts IS 'Attempts to get the locks, the one that went well included.';
COMMENT ON COLUMN reprise.swap.lock_wait_ms IS 'Milliseconds that the attempt that went well waited for its exclusive locks.';
COMMENT ON COLUMN reprise.swap.longest_failed_wait_ms IS 'The longest that a failed attempt queued for its locks, with readers behind it.';
COMMENT ON COLUMN reprise.swap.held_ms IS 'Milliseconds from asking for the first exclusive lock to the last statement before COMMIT.';

CREATE TABLE reprise.follow_up (
    follow_up_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES reprise.run,
    projection text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('validate', 'refresh')),
    relation oid NOT NULL,
    object_name text NOT NULL
);

COMMENT ON TABLE reprise.follow_up IS 'What a swap leaves to be done after it, while readers go on: a foreign key to validate, a materialized view to refresh. A row goes when it is done; the next run does what a dead one left.';
