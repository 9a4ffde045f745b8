CREATE TABLE reprise.session_lock (
    name text PRIMARY KEY,
    key bigint,
    pid integer,
    role oid
);

COMMENT ON TABLE reprise.session_lock IS 'Which session works on what: one that is there no more, or does not hold the advisory lock of that key, works no more.';
COMMENT ON COLUMN reprise.session_lock.name IS '''run NAME'' or ''follow NAME'', with the name of a projection.';
COMMENT ON COLUMN reprise.session_lock.key IS 'The advisory lock that the session holds: drawn anew by each, because anybody may hold any.';
COMMENT ON COLUMN reprise.session_lock.pid IS 'The session''s process on the server.';
COMMENT ON COLUMN reprise.session_lock.role IS 'The role that logged in.';

-- Default privileges may have taken it from the owner.
GRANT ALL ON TABLE reprise.session_lock TO CURRENT_USER;

-- Until now the key followed from the name.
INSERT INTO reprise.session_lock (name, key, pid, role)
SELECT pg_catalog.format('%s %s', work.kind, work.projection), held.key, held.pid, a.usesysid
FROM (
    SELECT 'run' AS kind, r.projection FROM reprise.run AS r
    WHERE r.state = 'running' AND r.heartbeat_at > pg_catalog.clock_timestamp() - interval '1 minute'
    UNION
    SELECT 'follow', f.projection FROM reprise.follower AS f
    WHERE f.ended_at IS NULL
        AND f.heartbeat_at > pg_catalog.clock_timestamp() - interval '1 minute'
) AS work
JOIN (
    SELECT l.pid, l.classid::pg_catalog.int8 << 32 | l.objid::pg_catalog.int8 AS key
    FROM pg_catalog.pg_locks AS l
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
        AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d
            WHERE d.datname = pg_catalog.current_database())
) AS held ON held.key = pg_catalog.hashtextextended(
    pg_catalog.format('reprise %s %s', work.kind, work.projection), 0)
JOIN pg_catalog.pg_stat_activity AS a ON a.pid = held.pid;
