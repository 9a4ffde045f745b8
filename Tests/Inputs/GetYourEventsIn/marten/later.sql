-- A stream is archived, and an event is new.
UPDATE mt_events SET is_archived = true WHERE stream_id = '16fd2706-8baf-433b-82eb-8c7fada847da';
INSERT INTO mt_events (seq_id, id, stream_id, version, data, type, timestamp) VALUES
    (9, 'e0f1a2b3-c4d5-4e6f-a7b8-c9d0e1f2a366', '7c9e6679-7425-40de-944b-e07fc1f90ae7', 4, '{"late": true}', 'order_closed', '2026-01-05T23:59:59.999999Z');
