ALTER TABLE reprise.generation
    ADD COLUMN ledger text,
    ADD COLUMN counted_position text COLLATE "C",
    ADD COLUMN counted_events bigint,
    ADD COLUMN digest bigint,
    ADD COLUMN round_xid bigint,
    ADD COLUMN round_at timestamptz;

COMMENT ON COLUMN reprise.generation.built_by IS 'Which program made its rows, or continued them last: another one may fold differently.';
COMMENT ON COLUMN reprise.generation.ledger IS 'The identity of the ledger that its rows were made of.';
COMMENT ON COLUMN reprise.generation.counted_position IS 'A position up to which the events in its rows were counted; its own position, or one before it.';
COMMENT ON COLUMN reprise.generation.counted_events IS 'The number of events up to counted_position.';
COMMENT ON COLUMN reprise.generation.digest IS 'The ledger''s digest of these events; null where the ledger gives none.';
COMMENT ON COLUMN reprise.generation.round_xid IS 'The transaction, with its epoch, that wrote the newest rows after the load; null where none did.';
COMMENT ON COLUMN reprise.generation.round_at IS 'When that transaction had ended; null until this is known.';

ALTER TABLE reprise.checkpoint
    ADD COLUMN ledger text,
    ADD COLUMN program text,
    ADD COLUMN counted_position text COLLATE "C",
    ADD COLUMN counted_events bigint,
    ADD COLUMN digest bigint;

COMMENT ON COLUMN reprise.checkpoint.ledger IS 'The identity of the ledger that the live rows are made of.';
COMMENT ON COLUMN reprise.checkpoint.program IS 'Which program made the live rows, or continued them last.';
COMMENT ON COLUMN reprise.checkpoint.counted_position IS 'A position up to which the events in the live rows were counted; the position, or one before it.';
COMMENT ON COLUMN reprise.checkpoint.counted_events IS 'The number of events up to counted_position.';
COMMENT ON COLUMN reprise.checkpoint.digest IS 'The ledger''s digest of these events; null where the ledger gives none.';

-- A reader whose snapshot is older than a swap finds the new tables by their names, because names are
-- looked up in the present. So this view takes the generation from where the tables are now
-- (pg_identify_object looks there as well), and the position that goes with its rows in the snapshot.
CREATE OR REPLACE VIEW reprise.live AS
SELECT DISTINCT ON (g.projection)
    g.projection,
    g.generation,
    g.live_schema,
    g.live_since,
    CASE WHEN c.generation = g.generation THEN c.position ELSE g.position END AS position,
    CASE WHEN c.generation = g.generation THEN c.updated_at ELSE g.round_at END
        AS position_updated_at
FROM reprise.generation AS g
LEFT JOIN reprise.checkpoint AS c USING (projection)
CROSS JOIN LATERAL (
    SELECT EXISTS (
        SELECT FROM reprise.generation_table AS t
        CROSS JOIN LATERAL pg_catalog.pg_identify_object(
            'pg_catalog.pg_class'::pg_catalog.regclass, t.table_oid, 0) AS i
        WHERE t.projection = g.projection AND t.generation = g.generation AND t.kind = 'table'
            AND i.schema = pg_catalog.quote_ident(g.live_schema)
            AND i.name = pg_catalog.quote_ident(t.table_name)) AS is_in_place
) AS p
WHERE g.state NOT IN ('replaced', 'dropped') AND (p.is_in_place OR g.state = 'live')
ORDER BY g.projection, p.is_in_place DESC, g.state = 'live' DESC, g.generation DESC;
