CREATE TABLE fulfilment (
    order_id uuid PRIMARY KEY,
    placed_at timestamptz NOT NULL,
    lines integer NOT NULL,
    pieces bigint NOT NULL,
    shipped_at timestamptz,
    carrier text,
    cancelled_at timestamptz
);

COMMENT ON TABLE fulfilment IS 'What has to be packed for each order, and whether it has left.';
COMMENT ON COLUMN fulfilment.lines IS 'Lines added and not removed again.';
COMMENT ON COLUMN fulfilment.pieces IS 'Sum of their quantities.';
COMMENT ON COLUMN fulfilment.carrier IS 'Who carries it; NULL until it is shipped.';

CREATE INDEX fulfilment_open_idx ON fulfilment (placed_at)
    WHERE shipped_at IS NULL AND cancelled_at IS NULL;
