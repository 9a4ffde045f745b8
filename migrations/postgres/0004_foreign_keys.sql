ALTER TABLE reprise.generation_table
    ADD COLUMN foreign_keys jsonb;

COMMENT ON COLUMN reprise.generation_table.foreign_keys IS 'Foreign keys to tables that are not the projection''s, which a table has only while it is live; null where it never waited or left.';
