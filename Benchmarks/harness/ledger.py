"""Ledgers of the made-up shop."""

import dataclasses
import datetime
import json
import pathlib
import sqlite3
import uuid

from .measurement import measure

SEED = 1


@dataclasses.dataclass
class Ledger:
    """A ledger file. One with fewer events holds the first of those of a larger one."""

    path: pathlib.Path
    events: int
    bytes: int
    # What `reprise ledger generate` took, a Measurement.
    generation: object

    def remove(self):
        remove_ledger(self.path)


def make_ledger(workspace, reprise, events):
    """Makes a ledger and fills it with the events that every machine gets for this number."""
    path = make_empty_ledger(workspace, reprise, f"{events}.ledger")
    command = ["ledger", "generate", "--events", events, "--seed", SEED, "--ledger", path]
    generation = measure(workspace, [reprise, *command])
    return Ledger(path, events, path.stat().st_size, generation)


def make_empty_ledger(workspace, reprise, name):
    path = workspace.folder / name
    measure(workspace, [reprise, "ledger", "create", path])
    return path


def remove_ledger(path):
    """Removes the file, and those that SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def count_events(path):
    database = sqlite3.connect(path.resolve().as_uri() + "?mode=ro", uri=True)
    (number,) = database.execute("SELECT count(*) FROM events").fetchone()
    database.close()
    return number


def write_lines(ledger, path):
    """Writes the events as NDJSON, the form that `reprise ledger import` reads."""
    database = sqlite3.connect(ledger.path.resolve().as_uri() + "?mode=ro", uri=True)
    rows = database.execute(
        "SELECT event_id, ts, stream, type, message FROM events ORDER BY time_bucket, event_id"
    )
    with open(path, "w", encoding="utf-8") as file:
        for event_id, milliseconds, stream, kind, message in rows:
            # The payload goes in as it is: reading and writing it again could change it.
            file.write(
                f'{{"id":"{uuid.UUID(bytes=event_id)}","time":"{rfc3339(milliseconds)}"'
                f',"stream":{json.dumps(stream)},"type":{json.dumps(kind)},"data":{message}}}\n'
            )
    database.close()


def rfc3339(milliseconds):
    seconds, rest = divmod(milliseconds, 1_000)
    time = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return f"{time:%Y-%m-%dT%H:%M:%S}.{rest:03}Z"
