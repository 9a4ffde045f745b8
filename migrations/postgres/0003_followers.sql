ALTER TABLE reprise.generation
    ADD COLUMN built_by text;

COMMENT ON COLUMN reprise.generation.built_by IS 'Which program built it: a rebuild is resumed by the same one only, because another may fold differently.';

CREATE TABLE reprise.follower (
    projection text PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    started_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    heartbeat_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    ended_at timestamptz,
    generation integer,
    events bigint NOT NULL DEFAULT 0,
    late_events bigint NOT NULL DEFAULT 0,
    lag_events bigint,
    lag_seconds double precision,
    buckets jsonb
);

COMMENT ON TABLE reprise.follower IS 'Who keeps a projection''s live tables current with ''reprise follow'', and how far behind the ledger they are.';
COMMENT ON COLUMN reprise.follower.heartbeat_at IS 'When it last said so; one without ended_at whose heartbeat is older than a minute has died.';
COMMENT ON COLUMN reprise.follower.events IS 'Events applied since it was started.';
COMMENT ON COLUMN reprise.follower.late_events IS 'Events among them that were committed to the ledger behind others that had been applied.';
COMMENT ON COLUMN reprise.follower.lag_events IS 'Events of the ledger that were not applied yet at the last heartbeat.';
COMMENT ON COLUMN reprise.follower.lag_seconds IS 'How long before that the ledger ended where the live tables stood, in seconds, as far as this follower has seen; 0 when they stood at its end.';
COMMENT ON COLUMN reprise.follower.buckets IS 'Events applied in the newest buckets, by the millisecond at which a bucket begins: what comes late is found by counting again.';
