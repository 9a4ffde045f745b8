"""Ledgers of the made-up shop."""

import dataclasses
import pathlib
import sqlite3

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

    def times(self):
        """The first event's time and the last one's, in microseconds."""
        return ask(self.path, "SELECT min(time), max(time) FROM events")

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
    (number,) = ask(path, "SELECT count(*) FROM events")
    return number


def ask(path, query):
    """The one row that a query of a ledger gives."""
    database = sqlite3.connect(path.resolve().as_uri() + "?mode=ro", uri=True)
    row = database.execute(query).fetchone()
    database.close()
    return row
