-- Marten's events and streams with string metadata columns and headers switched on.
CREATE TABLE mt_streams (
    id uuid NOT NULL PRIMARY KEY,
    type varchar NULL,
    version bigint,
    timestamp timestamptz NOT NULL DEFAULT now(),
    snapshot jsonb,
    snapshot_version integer,
    created timestamptz NOT NULL DEFAULT now(),
    tenant_id varchar DEFAULT '*DEFAULT*',
    is_archived boolean DEFAULT false
);
CREATE TABLE mt_events (
    seq_id bigint NOT NULL PRIMARY KEY,
    id uuid NOT NULL,
    stream_id uuid REFERENCES mt_streams ON DELETE CASCADE,
    version bigint NOT NULL,
    data jsonb NOT NULL,
    type varchar(500) NOT NULL,
    timestamp timestamptz NOT NULL DEFAULT now(),
    tenant_id varchar DEFAULT '*DEFAULT*',
    mt_dotnet_type varchar NULL,
    correlation_id varchar NULL,
    causation_id varchar NULL,
    headers jsonb NULL,
    is_archived boolean DEFAULT false
);
CREATE SEQUENCE mt_events_sequence OWNED BY mt_events.seq_id;
CREATE UNIQUE INDEX pk_mt_events_stream_and_version ON mt_events (stream_id, version);
CREATE UNIQUE INDEX pk_mt_events_id_unique ON mt_events (id);

INSERT INTO mt_streams (id, type, version) VALUES
    ('7c9e6679-7425-40de-944b-e07fc1f90ae7', 'order', 1),
    ('16fd2706-8baf-433b-82eb-8c7fada847da', 'order', 1),
    ('886313e1-3b8a-4372-9b90-0c9aee199e5d', 'order', 1);

-- seq_id 5 was lost with its transaction; rows do not stand in the order of seq_id.
INSERT INTO mt_events (seq_id, id, stream_id, version, data, type, timestamp, mt_dotnet_type, correlation_id, headers,
    is_archived) VALUES
    (3, 'b7d1c2aa-91d4-4f6e-8a3c-5c9b2f4e7d22', '7c9e6679-7425-40de-944b-e07fc1f90ae7', 2, '{"ref": null, "amount": 1.10}', 'order_paid', '2026-01-05T08:00:01.5Z', 'Shop.OrderPaid, Shop', NULL, '{"user": "zoë", "trace": {"span": 2}}', false),
    (4, '3e9a7d54-1b2c-4c8d-bf10-8a6e5d4c3b33', '886313e1-3b8a-4372-9b90-0c9aee199e5d', 1, '{}', 'order_placed', '2026-01-05T07:59:59.999999Z', 'Shop.OrderPlaced, Shop', 'c-3', NULL, true),
    (7, '1d2e3f40-5a6b-4c7d-9e8f-a0b1c2d3e455', '7c9e6679-7425-40de-944b-e07fc1f90ae7', 3, '{"parcel": {"ids": [1, 2, 3], "weight": {"g": 1250}}}', 'order_shipped', '2026-01-05T23:30:00.123456Z', 'Shop.OrderShipped, Shop', NULL, NULL, false),
    (1, 'f2b287f3-0df1-4234-a2f4-c4bdfed47657', '7c9e6679-7425-40de-944b-e07fc1f90ae7', 1, '{"orderId": 1, "customer": "Zoë Müller", "lines": [{"sku": "A-1", "qty": 2, "price": "19.90"}], "total": 39.80}', 'order_placed', '2026-01-05T08:00:00.000001Z', 'Shop.OrderPlaced, Shop', 'c-0', '{"user": "zoë", "trace": {"span": 0}}', false),
    (6, '9a1b2c3d-4e5f-4a6b-8c7d-0e1f2a3b4c44', '16fd2706-8baf-433b-82eb-8c7fada847da', 2, '{"reason": "O''Hara said \"no\""}', 'order_cancelled', '2026-01-05T08:00:02Z', 'Shop.OrderCancelled, Shop', NULL, '{"user": "zoë", "trace": {"span": 4}}', false),
    (2, '0c5f4b1e-6f3a-4d0e-9b7a-2f1f7f0a9c11', '16fd2706-8baf-433b-82eb-8c7fada847da', 1, '{"orderId": 2, "note": "back\\slash, \"quotes\", tab\there, line\nbreak, 日本語 🚀", "big": 9007199254740993}', 'order_placed', '2026-01-05T08:00:00.000001Z', 'Shop.OrderPlaced, Shop', NULL, NULL, false);

-- What Marten puts in the place of an append that failed.
INSERT INTO mt_streams (id, type, version) VALUES ('00000000-0000-0000-0000-000000000001', NULL, 1);
INSERT INTO mt_events (seq_id, id, stream_id, version, data, type, timestamp) VALUES
    (8, '55aa2c3d-4e5f-4a6b-8c7d-0e1f2a3b4c44', '00000000-0000-0000-0000-000000000001', 1, '{}', 'tombstone', '2026-01-05T08:00:03Z');
