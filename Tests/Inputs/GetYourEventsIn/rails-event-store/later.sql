-- An event is put into one more stream, and one is new.
INSERT INTO event_store_events_in_streams (id, stream, position, event_id, created_at) VALUES
    (90, 'Late', 0, 'f2b287f3-0df1-4234-a2f4-c4bdfed47657', '2026-01-06 00:00:00');
INSERT INTO event_store_events (id, event_id, event_type, metadata, data, created_at) VALUES
    (17, 'e0f1a2b3-c4d5-4e6f-a7b8-c9d0e1f2a366', 'OrderClosed', NULL, '{}', '2026-01-06 00:00:00');
INSERT INTO event_store_events_in_streams (id, stream, position, event_id, created_at) VALUES
    (91, 'Order$1', 3, 'e0f1a2b3-c4d5-4e6f-a7b8-c9d0e1f2a366', '2026-01-06 00:00:00');
