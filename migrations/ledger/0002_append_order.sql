-- Run once, in one transaction, on an empty file whose page size and journal mode are set.
-- 0x52505253 is 'RPRS': it tells a ledger from any other SQLite file (and `file` prints it).
PRAGMA application_id = 0x52505253;
PRAGMA user_version = 2;

-- One row. `checksum` covers the columns before it.
CREATE TABLE ledger (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    format INTEGER NOT NULL,
    identity TEXT NOT NULL,
    bucket_width_ms INTEGER NOT NULL CHECK (bucket_width_ms > 0),
    id_seed INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;

-- One row: 1 from before the first event that is in the file's log alone, until the log is merged
-- and gone. A file that says 1 and has no log beside it has lost it, unless it is the very file that
-- the log belonged to, which another program can have merged: by folder, inode and name. They are 0
-- and '' with is_open = 0.
--
-- `file` is a random number of the file; a copy that is made by a backup has another. Each commit
-- changes `commits`, so that the number is in every log: a log with another one belongs to another
-- file. `checksum` covers the columns before it.
CREATE TABLE log_state (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    is_open INTEGER NOT NULL,
    file INTEGER NOT NULL,
    commits INTEGER NOT NULL,
    folder INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    name TEXT NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;

CREATE TABLE events (
    sequence INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    stream TEXT NOT NULL,
    type TEXT NOT NULL,
    payload TEXT NOT NULL,
    metadata TEXT,
    id TEXT,
    checksum INTEGER NOT NULL
) STRICT;

CREATE TABLE buckets (
    start_ms INTEGER PRIMARY KEY,
    first_sequence INTEGER NOT NULL UNIQUE,
    events INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;

-- The ids that were given, found by hash. The newest ones:
CREATE TABLE recent_ids (
    hash INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (hash, sequence)
) STRICT, WITHOUT ROWID;

-- and sorted runs of all others.
CREATE TABLE id_runs (
    run INTEGER PRIMARY KEY,
    prefix_bits INTEGER NOT NULL,
    ids INTEGER NOT NULL,
    merged_into INTEGER,
    merged_through INTEGER
) STRICT;

CREATE TABLE id_chunks (
    place INTEGER PRIMARY KEY,
    ids BLOB NOT NULL
) STRICT;

-- What was imported, so that a file can be told from the same file grown longer. `bytes`, `digest`
-- and `records` are of the decompressed text through the last record that was read; `unnamed` counts
-- the events without an id. `head_ends` has four bytes of a digest for each record in the head, of
-- the text up to its end. `set_aside` counts bad records; `bad_bytes` and `reasons_bytes` are how
-- much of the files with them had been written, and stand for the files of those inodes. `checksum` covers the columns before it.
CREATE TABLE imports (
    import INTEGER PRIMARY KEY,
    source TEXT,
    file TEXT NOT NULL,
    head_bytes INTEGER NOT NULL,
    head_digest BLOB NOT NULL,
    head_ends BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    digest BLOB NOT NULL,
    records INTEGER NOT NULL,
    events INTEGER NOT NULL,
    unnamed INTEGER NOT NULL,
    set_aside INTEGER NOT NULL,
    bad_inode INTEGER NOT NULL,
    bad_bytes INTEGER NOT NULL,
    reasons_inode INTEGER NOT NULL,
    reasons_bytes INTEGER NOT NULL,
    is_complete INTEGER NOT NULL,
    began_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;
