-- Run once, in one transaction, on an empty file whose page size and journal mode are set.
-- 0x52505253 is 'RPRS': it tells a ledger from any other SQLite file (and `file` prints it).
PRAGMA application_id = 0x52505253;
PRAGMA user_version = 1;

CREATE TABLE settings (
    name TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO settings (name, value) VALUES ('format_version', 1);

CREATE TABLE events (
    time_bucket INTEGER NOT NULL,
    event_id BLOB NOT NULL CHECK (length(event_id) = 16),
    ts INTEGER NOT NULL,
    stream TEXT NOT NULL,
    type TEXT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (time_bucket, event_id)
) STRICT, WITHOUT ROWID;
