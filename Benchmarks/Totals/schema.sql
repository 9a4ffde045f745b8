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

CREATE INDEX order_summary_customer_id_placed_at_idx ON order_summary (customer_id, placed_at);

CREATE TABLE customer_totals (
    customer_id bigint PRIMARY KEY,
    name text,
    country text,
    orders bigint NOT NULL,
    cancelled_orders bigint NOT NULL,
    paid_cents bigint NOT NULL,
    last_order_at timestamptz
);

CREATE INDEX customer_totals_country_idx ON customer_totals (country);
