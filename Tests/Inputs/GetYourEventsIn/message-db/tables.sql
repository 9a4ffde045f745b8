CREATE SCHEMA message_store;
CREATE TABLE message_store.messages (
    global_position bigserial NOT NULL,
    position bigint NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    time timestamp without time zone DEFAULT (now() AT TIME ZONE 'utc') NOT NULL,
    stream_name text NOT NULL,
    type text NOT NULL,
    data jsonb,
    metadata jsonb
);
ALTER TABLE message_store.messages ADD PRIMARY KEY (global_position);
CREATE UNIQUE INDEX messages_id ON message_store.messages (id);
CREATE UNIQUE INDEX messages_stream ON message_store.messages (stream_name, position);

-- Times are UTC without saying so; rows do not stand in the order of global_position.
INSERT INTO message_store.messages (global_position, position, id, time, stream_name, type, data, metadata) VALUES
    (4, 1, 'b7d1c2aa-91d4-4f6e-8a3c-5c9b2f4e7d22', '2026-01-05 08:00:01.5', 'order-1', 'OrderPaid', '{"ref": null, "amount": 1.10}', NULL),
    (5, 0, '3e9a7d54-1b2c-4c8d-bf10-8a6e5d4c3b33', '2026-01-05 07:59:59.999999', 'order-3', 'OrderPlaced', NULL, '{"correlationStreamName": "checkout-3", "schemaVersion": {"major": 1}}'),
    (2, 0, '0c5f4b1e-6f3a-4d0e-9b7a-2f1f7f0a9c11', '2026-01-05 08:00:00.000001', 'order-2', 'OrderPlaced', '{"orderId": 2, "note": "back\\slash, \"quotes\", tab\there, line\nbreak, 日本語 🚀", "big": 9007199254740993}', '{"correlationStreamName": "checkout-1", "schemaVersion": {"major": 1}}'),
    (6, 1, '9a1b2c3d-4e5f-4a6b-8c7d-0e1f2a3b4c44', '2026-01-05 08:00:02', 'order-2', 'OrderCancelled', '{"reason": "O''Hara said \"no\""}', NULL),
    (9, 2, '1d2e3f40-5a6b-4c7d-9e8f-a0b1c2d3e455', '2026-01-05 23:30:00.123456', 'order-1', 'OrderShipped', '{"parcel": {"ids": [1, 2, 3], "weight": {"g": 1250}}}', '{"correlationStreamName": "checkout-5", "schemaVersion": {"major": 1}}'),
    (1, 0, 'f2b287f3-0df1-4234-a2f4-c4bdfed47657', '2026-01-05 08:00:00.000001', 'order-1', 'OrderPlaced', '{"orderId": 1, "customer": "Zoë Müller", "lines": [{"sku": "A-1", "qty": 2, "price": "19.90"}], "total": 39.80}', NULL);
