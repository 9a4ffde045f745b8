CREATE TABLE event_store_events (
    id bigserial PRIMARY KEY,
    event_id uuid NOT NULL,
    event_type varchar NOT NULL,
    metadata jsonb,
    data jsonb NOT NULL,
    created_at timestamp(6) NOT NULL,
    valid_at timestamp(6)
);
CREATE UNIQUE INDEX index_event_store_events_on_event_id ON event_store_events (event_id);
CREATE TABLE event_store_events_in_streams (
    id bigserial PRIMARY KEY,
    stream varchar NOT NULL,
    position integer,
    event_id uuid NOT NULL REFERENCES event_store_events (event_id),
    created_at timestamp(6) NOT NULL
);
CREATE UNIQUE INDEX index_event_store_events_in_streams_on_stream_and_position
    ON event_store_events_in_streams (stream, position);
CREATE UNIQUE INDEX index_event_store_events_in_streams_on_stream_and_event_id
    ON event_store_events_in_streams (stream, event_id);
CREATE INDEX index_event_store_events_in_streams_on_event_id ON event_store_events_in_streams (event_id);

-- The fourth event was made valid later than it was written; rows do not stand in the order of id.
INSERT INTO event_store_events (id, event_id, event_type, metadata, data, created_at, valid_at) VALUES
    (10, 'f2b287f3-0df1-4234-a2f4-c4bdfed47657', 'OrderPlaced', '{"remote_ip": "192.0.2.0", "correlation_id": "f2b287f3-0df1-4234-a2f4-c4bdfed47657"}', '{"orderId": 1, "customer": "Zoë Müller", "lines": [{"sku": "A-1", "qty": 2, "price": "19.90"}], "total": 39.80}', '2026-01-05 08:00:00.000001', NULL),
    (12, 'b7d1c2aa-91d4-4f6e-8a3c-5c9b2f4e7d22', 'OrderPaid', '{"remote_ip": "192.0.2.2", "correlation_id": "f2b287f3-0df1-4234-a2f4-c4bdfed47657"}', '{"ref": null, "amount": 1.10}', '2026-01-05 08:00:01.5', NULL),
    (14, '3e9a7d54-1b2c-4c8d-bf10-8a6e5d4c3b33', 'OrderPlaced', '{"remote_ip": "192.0.2.3", "correlation_id": "f2b287f3-0df1-4234-a2f4-c4bdfed47657"}', '{}', '2026-01-05 08:00:01.9', '2026-01-05 07:59:59.999999'),
    (16, '1d2e3f40-5a6b-4c7d-9e8f-a0b1c2d3e455', 'OrderShipped', '{"remote_ip": "192.0.2.5", "correlation_id": "f2b287f3-0df1-4234-a2f4-c4bdfed47657"}', '{"parcel": {"ids": [1, 2, 3], "weight": {"g": 1250}}}', '2026-01-05 23:30:00.123456', NULL),
    (15, '9a1b2c3d-4e5f-4a6b-8c7d-0e1f2a3b4c44', 'OrderCancelled', '{"remote_ip": "192.0.2.4", "correlation_id": "f2b287f3-0df1-4234-a2f4-c4bdfed47657"}', '{"reason": "O''Hara said \"no\""}', '2026-01-05 08:00:02', NULL),
    (11, '0c5f4b1e-6f3a-4d0e-9b7a-2f1f7f0a9c11', 'OrderPlaced', '{"remote_ip": "192.0.2.1", "correlation_id": "f2b287f3-0df1-4234-a2f4-c4bdfed47657"}', '{"orderId": 2, "note": "back\\slash, \"quotes\", tab\there, line\nbreak, 日本語 🚀", "big": 9007199254740993}', '2026-01-05 08:00:00.000001', NULL);

-- One event is in two streams, one in none.
INSERT INTO event_store_events_in_streams (id, stream, position, event_id, created_at) VALUES
    (1, 'Order$1', 0, 'f2b287f3-0df1-4234-a2f4-c4bdfed47657', '2026-01-05 08:00:00.000001'),
    (2, 'Customers$Zoë', NULL, 'f2b287f3-0df1-4234-a2f4-c4bdfed47657', '2026-01-05 08:00:00.000001'),
    (3, 'Order$2', 0, '0c5f4b1e-6f3a-4d0e-9b7a-2f1f7f0a9c11', '2026-01-05 08:00:00.000001'),
    (4, 'Order$1', 1, 'b7d1c2aa-91d4-4f6e-8a3c-5c9b2f4e7d22', '2026-01-05 08:00:01.5'),
    (5, 'Customers$Zoë', NULL, 'b7d1c2aa-91d4-4f6e-8a3c-5c9b2f4e7d22', '2026-01-05 08:00:01.5'),
    (6, 'Order$3', 0, '3e9a7d54-1b2c-4c8d-bf10-8a6e5d4c3b33', '2026-01-05 08:00:01.9'),
    (7, 'Order$1', 2, '1d2e3f40-5a6b-4c7d-9e8f-a0b1c2d3e455', '2026-01-05 23:30:00.123456'),
    (8, 'Customers$Zoë', NULL, '1d2e3f40-5a6b-4c7d-9e8f-a0b1c2d3e455', '2026-01-05 23:30:00.123456');
