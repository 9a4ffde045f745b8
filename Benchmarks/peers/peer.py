"""What the peers have in common: their arguments, their connections, and how they tell the time."""

import argparse
import contextlib
import json
import os
import pathlib
import sqlite3
import sys
import time

import psycopg2


class Peer:
    """A program that fills the tables of one schema from a ledger."""

    def __init__(self, description):
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--ledger", required=True, type=pathlib.Path)
        parser.add_argument("--schema", required=True, help="an empty schema to fill")
        arguments = parser.parse_args()
        self.ledger = arguments.ledger
        self.schema = arguments.schema
        self.seconds = {}

    def events(self, columns):
        """The events in the order of the ledger."""
        database = sqlite3.connect(self.ledger.resolve().as_uri() + "?mode=ro", uri=True)
        return database.execute(f"SELECT {columns} FROM events ORDER BY sequence")

    def connect(self):
        """A connection whose unqualified names are those of the peer's schema."""
        connection = psycopg2.connect(os.environ.get("DATABASE_URL", ""))
        with connection.cursor() as cursor:
            cursor.execute(f"SET search_path = {self.schema}")
            cursor.execute("SET timezone = 'UTC'")
        connection.commit()
        return connection

    @contextlib.contextmanager
    def phase(self, name):
        """Adds the time that its block takes to a phase."""
        began = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0) + time.monotonic() - began

    def report(self):
        json.dump({"seconds": self.seconds}, sys.stdout)
