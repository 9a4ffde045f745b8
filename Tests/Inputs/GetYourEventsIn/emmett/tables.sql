CREATE SEQUENCE emt_global_message_position;
CREATE TABLE emt_messages (
    stream_position bigint NOT NULL,
    global_position bigint DEFAULT nextval('emt_global_message_position'),
    transaction_id xid8 NOT NULL,
    created timestamptz NOT NULL DEFAULT now(),
    is_archived boolean NOT NULL DEFAULT false,
    message_kind varchar(1) NOT NULL DEFAULT 'E',
    stream_id text NOT NULL,
    partition text NOT NULL DEFAULT 'emt:default',
    message_schema_version text NOT NULL,
    message_id text NOT NULL,
    message_type text NOT NULL,
    message_data jsonb NOT NULL,
    message_metadata jsonb NOT NULL,
    PRIMARY KEY (stream_id, stream_position, partition, is_archived)
) PARTITION BY LIST (partition);
CREATE TABLE emt_messages_emt_default PARTITION OF emt_messages FOR VALUES IN ('emt:default')
    PARTITION BY LIST (is_archived);
CREATE TABLE emt_messages_emt_default_active PARTITION OF emt_messages_emt_default FOR VALUES IN (false);
CREATE TABLE emt_messages_emt_default_archived PARTITION OF emt_messages_emt_default FOR VALUES IN (true);

-- The transaction that took the later positions is the earlier one.
INSERT INTO emt_messages (stream_position, global_position, transaction_id, created, is_archived, stream_id,
    message_schema_version, message_id, message_type, message_data, message_metadata) VALUES
    (1, 5, '5', '2026-01-05T08:00:00.000001Z', false, 'order:2', '1', '0c5f4b1e-6f3a-4d0e-9b7a-2f1f7f0a9c11', 'OrderPlaced', '{"orderId": 2, "note": "back\\slash, \"quotes\", tab\there, line\nbreak, 日本語 🚀", "big": 9007199254740993}', '{"tenant": "north", "messageId": "0c5f4b1e-6f3a-4d0e-9b7a-2f1f7f0a9c11"}'),
    (1, 4, '5', '2026-01-05T08:00:00.000001Z', false, 'order:1', '1', 'f2b287f3-0df1-4234-a2f4-c4bdfed47657', 'OrderPlaced', '{"orderId": 1, "customer": "Zoë Müller", "lines": [{"sku": "A-1", "qty": 2, "price": "19.90"}], "total": 39.80}', '{"tenant": "north", "messageId": "f2b287f3-0df1-4234-a2f4-c4bdfed47657"}'),
    (1, 1, '7', '2026-01-05T07:59:59.999999Z', true, 'order:3', '1', '3e9a7d54-1b2c-4c8d-bf10-8a6e5d4c3b33', 'OrderPlaced', '{}', '{"tenant": "north", "messageId": "3e9a7d54-1b2c-4c8d-bf10-8a6e5d4c3b33"}'),
    (3, 9, '9', '2026-01-05T23:30:00.123456Z', false, 'order:1', '1', '1d2e3f40-5a6b-4c7d-9e8f-a0b1c2d3e455', 'OrderShipped', '{"parcel": {"ids": [1, 2, 3], "weight": {"g": 1250}}}', '{"tenant": "north", "messageId": "1d2e3f40-5a6b-4c7d-9e8f-a0b1c2d3e455"}'),
    (2, 6, '5', '2026-01-05T08:00:01.5Z', false, 'order:1', '1', 'b7d1c2aa-91d4-4f6e-8a3c-5c9b2f4e7d22', 'OrderPaid', '{"ref": null, "amount": 1.10}', '{"tenant": "north", "messageId": "b7d1c2aa-91d4-4f6e-8a3c-5c9b2f4e7d22"}'),
    (2, 2, '7', '2026-01-05T08:00:02Z', false, 'order:2', '1', '9a1b2c3d-4e5f-4a6b-8c7d-0e1f2a3b4c44', 'OrderCancelled', '{"reason": "O''Hara said \"no\""}', '{"tenant": "north", "messageId": "9a1b2c3d-4e5f-4a6b-8c7d-0e1f2a3b4c44"}');

-- A command, and an event of a transaction that a snapshot may still call unfinished.
INSERT INTO emt_messages (stream_position, transaction_id, message_kind, stream_id, message_schema_version, message_id,
    message_type, message_data, message_metadata) VALUES
    (1, '5', 'C', 'inbox:1', '1', 'c0ffee00-0000-4000-8000-000000000001', 'ShipOrder', '{}', '{}'),
    (9, '9000000000', 'E', 'order:1', '1', 'c0ffee00-0000-4000-8000-000000000002', 'OrderClosed', '{}', '{}');
