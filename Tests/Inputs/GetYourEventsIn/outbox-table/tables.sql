-- The columns that Debezium's outbox event router expects, and the time that Quarkus' extension adds.
CREATE TABLE outboxevent (
    id uuid NOT NULL PRIMARY KEY,
    aggregatetype varchar(255) NOT NULL,
    aggregateid varchar(255) NOT NULL,
    type varchar(255) NOT NULL,
    timestamp timestamp(6) NOT NULL,
    payload varchar(8000),
    tracingspancontext varchar(256)
);

INSERT INTO outboxevent (id, aggregatetype, aggregateid, type, timestamp, payload, tracingspancontext) VALUES
    ('f2b287f3-0df1-4234-a2f4-c4bdfed47657', 'Order', '1', 'OrderPlaced', '2026-01-05 08:00:00.000001', '{"orderId": 1, "customer": "Zoë Müller", "lines": [{"sku": "A-1", "qty": 2, "price": "19.90"}], "total": 39.80}', NULL),
    ('0c5f4b1e-6f3a-4d0e-9b7a-2f1f7f0a9c11', 'Order', '2', 'OrderPlaced', '2026-01-05 08:00:00.000001', '{"orderId": 2, "note": "back\\slash, \"quotes\", tab\there, line\nbreak, 日本語 🚀", "big": 9007199254740993}', 'span-1'),
    ('b7d1c2aa-91d4-4f6e-8a3c-5c9b2f4e7d22', 'Order', '1', 'OrderPaid', '2026-01-05 08:00:01.5', '{"ref": null, "amount": 1.10}', NULL),
    ('3e9a7d54-1b2c-4c8d-bf10-8a6e5d4c3b33', 'Order', '3', 'OrderPlaced', '2026-01-05 07:59:59.999999', '{}', 'span-3'),
    ('9a1b2c3d-4e5f-4a6b-8c7d-0e1f2a3b4c44', 'Order', '2', 'OrderCancelled', '2026-01-05 08:00:02', '{"reason": "O''Hara said \"no\""}', NULL),
    ('1d2e3f40-5a6b-4c7d-9e8f-a0b1c2d3e455', 'Order', '1', 'OrderShipped', '2026-01-05 23:30:00.123456', '{"parcel": {"ids": [1, 2, 3], "weight": {"g": 1250}}}', 'span-5');
