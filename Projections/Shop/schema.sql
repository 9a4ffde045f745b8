CREATE TABLE order_summary (
    order_id uuid PRIMARY KEY,
    customer_id bigint NOT NULL,
    status text NOT NULL CHECK (status IN ('placed', 'paid', 'shipped', 'cancelled')),
    line_count integer NOT NULL,
    total_cents bigint NOT NULL,
    paid_cents bigint NOT NULL,
    placed_at timestamptz NOT NULL,
    paid_at timestamptz,
    shipped_at timestamptz,
    cancelled_at timestamptz,
    carrier text
);

COMMENT ON TABLE order_summary IS 'An order at a glance: who, how far, how much.';
COMMENT ON COLUMN order_summary.status IS 'How far the order has come; follows from the times.';
COMMENT ON COLUMN order_summary.line_count IS 'Lines added and not removed again.';
COMMENT ON COLUMN order_summary.total_cents IS 'Sum of quantity * unit_cents over its lines.';
COMMENT ON COLUMN order_summary.paid_cents IS 'Sum of its payments.';
COMMENT ON COLUMN order_summary.paid_at IS 'Time of the last payment.';
COMMENT ON COLUMN order_summary.carrier IS 'Who carries it; NULL until it is shipped.';

CREATE INDEX order_summary_customer_id_placed_at_idx ON order_summary (customer_id, placed_at);

CREATE TABLE order_line (
    order_id uuid NOT NULL,
    line integer NOT NULL,
    sku text NOT NULL,
    quantity integer NOT NULL,
    unit_cents bigint NOT NULL,
    added_at timestamptz NOT NULL,
    PRIMARY KEY (order_id, line)
);

COMMENT ON TABLE order_line IS 'The lines of the orders, without those removed again.';
COMMENT ON COLUMN order_line.unit_cents IS 'Price of one piece.';

CREATE INDEX order_line_sku_idx ON order_line (sku);

CREATE TABLE customer_totals (
    customer_id bigint PRIMARY KEY,
    name text,
    country text,
    orders bigint NOT NULL,
    cancelled_orders bigint NOT NULL,
    paid_cents bigint NOT NULL,
    last_order_at timestamptz
);

COMMENT ON TABLE customer_totals IS 'What each customer ordered and paid.';
COMMENT ON COLUMN customer_totals.name IS 'NULL while the ledger holds no registration.';
COMMENT ON COLUMN customer_totals.country IS 'Where the customer lives now, ISO 3166 alpha-2.';
COMMENT ON COLUMN customer_totals.orders IS 'Orders placed, the cancelled ones included.';
COMMENT ON COLUMN customer_totals.last_order_at IS 'When the newest order was placed.';
