ALTER TABLE reprise.follower ADD COLUMN error text;

COMMENT ON COLUMN reprise.follower.error IS 'What ended it; null while it runs, and where it was stopped.';
