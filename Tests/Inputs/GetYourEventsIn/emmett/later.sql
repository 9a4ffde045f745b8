-- A stream is archived, and an event is new.
UPDATE emt_messages SET is_archived = true WHERE stream_id = 'order:2';
INSERT INTO emt_messages (stream_position, global_position, transaction_id, created, stream_id, message_schema_version,
    message_id, message_type, message_data, message_metadata) VALUES
    (4, 10, '10', '2026-01-06T00:00:00Z', 'order:1', '1', 'e0f1a2b3-c4d5-4e6f-a7b8-c9d0e1f2a366', 'OrderClosed', '{}', '{}');
