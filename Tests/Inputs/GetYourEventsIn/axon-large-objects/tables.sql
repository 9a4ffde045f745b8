-- Axon 4 with JPA, as Hibernate maps it unless told otherwise: payloads are large objects.
CREATE TABLE domain_event_entry (
    global_index bigint NOT NULL PRIMARY KEY,
    event_identifier varchar(255) NOT NULL UNIQUE,
    meta_data oid,
    payload oid NOT NULL,
    payload_revision varchar(255),
    payload_type varchar(255) NOT NULL,
    time_stamp varchar(255) NOT NULL,
    aggregate_identifier varchar(255) NOT NULL,
    sequence_number bigint NOT NULL,
    type varchar(255),
    UNIQUE (aggregate_identifier, sequence_number)
);

-- Times of several forms; rows do not stand in the order of global_index.
INSERT INTO domain_event_entry (global_index, event_identifier, meta_data, payload, payload_revision, payload_type,
    time_stamp, aggregate_identifier, sequence_number, type) VALUES
    (50, '3e9a7d54-1b2c-4c8d-bf10-8a6e5d4c3b33', lo_from_bytea(0, convert_to('{"traceId": "t-3", "user": "zoë"}', 'UTF8')), lo_from_bytea(0, convert_to('{}', 'UTF8')), NULL, 'com.example.OrderPlaced', '2026-01-05T07:59:59.999999Z', 'order-3', 0, 'Order'),
    (53, '1d2e3f40-5a6b-4c7d-9e8f-a0b1c2d3e455', lo_from_bytea(0, convert_to('{"traceId": "t-5", "user": "zoë"}', 'UTF8')), lo_from_bytea(0, convert_to('{"parcel": {"ids": [1, 2, 3], "weight": {"g": 1250}}}', 'UTF8')), '2.0', 'com.example.OrderShipped', '2026-01-05T23:30:00.123456Z', 'order-1', 2, 'Order'),
    (51, '9a1b2c3d-4e5f-4a6b-8c7d-0e1f2a3b4c44', lo_from_bytea(0, convert_to('{"traceId": "t-4", "user": "zoë"}', 'UTF8')), lo_from_bytea(0, convert_to('{"reason": "O''Hara said \"no\""}', 'UTF8')), NULL, 'com.example.OrderCancelled', '2026-01-05T08:00:02Z', 'order-2', 1, 'Order'),
    (0, 'f2b287f3-0df1-4234-a2f4-c4bdfed47657', lo_from_bytea(0, convert_to('{"traceId": "t-0", "user": "zoë"}', 'UTF8')), lo_from_bytea(0, convert_to('{"orderId": 1, "customer": "Zoë Müller", "lines": [{"sku": "A-1", "qty": 2, "price": "19.90"}], "total": 39.80}', 'UTF8')), NULL, 'com.example.OrderPlaced', '2026-01-05T08:00:00.000001Z', 'order-1', 0, 'Order'),
    (3, 'b7d1c2aa-91d4-4f6e-8a3c-5c9b2f4e7d22', lo_from_bytea(0, convert_to('{"traceId": "t-2", "user": "zoë"}', 'UTF8')), lo_from_bytea(0, convert_to('{"ref": null, "amount": 1.10}', 'UTF8')), NULL, 'com.example.OrderPaid', '2026-01-05T09:00:01.500+01:00', 'order-1', 1, 'Order'),
    (1, '0c5f4b1e-6f3a-4d0e-9b7a-2f1f7f0a9c11', lo_from_bytea(0, convert_to('{"traceId": "t-1", "user": "zoë"}', 'UTF8')), lo_from_bytea(0, convert_to('{"orderId": 2, "note": "back\\slash, \"quotes\", tab\there, line\nbreak, 日本語 🚀", "big": 9007199254740993}', 'UTF8')), NULL, 'com.example.OrderPlaced', '2026-01-05T08:00:00.000001Z', 'order-2', 0, 'Order');
