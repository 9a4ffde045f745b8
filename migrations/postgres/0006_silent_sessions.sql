ALTER TABLE reprise.session_lock ADD COLUMN taken_at timestamptz;

COMMENT ON COLUMN reprise.session_lock.taken_at IS 'When the session took it: from then on it has a minute to record its run; null where an older version took it.';

CREATE TABLE reprise.session_mark (
    key bigint PRIMARY KEY,
    name text NOT NULL,
    pid integer NOT NULL,
    role oid NOT NULL
);

COMMENT ON TABLE reprise.session_mark IS 'The sessions that work under a lock besides the one that holds it: the next one to take it ends those that are left.';
COMMENT ON COLUMN reprise.session_mark.key IS 'The advisory lock that the session holds, drawn anew by each.';
COMMENT ON COLUMN reprise.session_mark.name IS 'The name of the lock under which it works.';
COMMENT ON COLUMN reprise.session_mark.pid IS 'The session''s process on the server.';
COMMENT ON COLUMN reprise.session_mark.role IS 'The role that logged in.';

-- Default privileges may have taken it from the owner.
GRANT ALL ON TABLE reprise.session_mark TO CURRENT_USER;
