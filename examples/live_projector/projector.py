#!/usr/bin/python3
"""Keeps the live tables of the projection `shop` current, while Reprise rebuilds and swaps them.

An example to copy: docs/live-projector.md says why each step is there. The rules of the shop are
those of Projections/Shop/Shop.swift, so that both write the same rows.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import signal
import sqlite3
import sys
import threading
import time

import psycopg2
from psycopg2.extras import execute_values

PROJECTION = "shop"
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)

stopping = threading.Event()


# --- The ledger ---------------------------------------------------------------------------------


class Ledger:
    """Reads the embedded ledger, one SQLite file."""

    def __init__(self, path):
        # Reading only; "ro" also keeps a wrong path from making an empty file.
        uri = pathlib.Path(path).resolve().as_uri() + "?mode=ro"
        self.database = sqlite3.connect(uri, uri=True)

    def events_after(self, position, limit):
        """The next events in order: (position, type, stream, microseconds, payload text) each."""
        rows = self.database.execute(
            "SELECT sequence, checksum, type, stream, time, payload FROM events"
            " WHERE sequence > ? ORDER BY sequence LIMIT ?",
            (sequence_of(position), limit),
        )
        # fetchall ends SQLite's read transaction: a reader that keeps one open lets the log grow.
        return [
            (position_of(sequence, checksum), *rest)
            for sequence, checksum, *rest in rows.fetchall()
        ]

    def require(self, position):
        """Raises Stop unless the ledger holds the event of a position, as it was then."""
        if position is None:
            return
        sequence, row = sequence_of(position), None
        if sequence < 2**63:  # SQLite has no greater numbers.
            row = self.database.execute(
                "SELECT checksum FROM events WHERE sequence = ?", (sequence,)
            ).fetchone()
        if row is None or position_of(sequence, *row) != position:
            raise Stop(
                f"The ledger has no event at {position}, where the live tables stand."
                "\nNothing was written. Is this another ledger, or an older copy of it?"
                "\nGive the right one by --ledger, or run 'reprise rebuild' with this one."
            )


def sequence_of(position):
    """The number of the event that a position names; 0 before the first event."""
    return 0 if position is None else int(position.split("-")[0], 16)


def position_of(sequence, checksum):
    """Three words of 16 hexadecimal digits; a negative checksum is its two's complement."""
    return f"{sequence:016x}-{checksum % 2**64:016x}-{0:016x}"


# --- The rules of the shop ----------------------------------------------------------------------


class Refused(Exception):
    """An event that the rules do not take."""


def whole(data, key, least=-(2**63), most=2**63 - 1):
    value = data.get(key)
    if type(value) is not int or not least <= value <= most:
        raise Refused(f"{key} is not a whole number of {least} to {most}")
    return value


def text(data, key):
    value = data.get(key)
    # PostgreSQL stores neither U+0000 nor half of a surrogate pair.
    if not isinstance(value, str) or re.search("[\0\ud800-\udfff]", value):
        raise Refused(f"{key} is not a text")
    return value


def uuid(data, key):
    value = data.get(key)
    pattern = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise Refused(f"{key} is not a UUID")
    return value.lower()


class Table:
    """The rows of one table that a batch touches, by key; None is a row that is not there."""

    def __init__(self, name, columns, key_types):
        self.name = name
        self.columns = columns.split()
        self.key_types = key_types
        self.key_columns = self.columns[: len(key_types)]
        self.clear()

    def clear(self):
        """Nothing is kept from one transaction to the next: a swap may have changed every row."""
        self.rows, self.changed = {}, set()

    def load(self, cursor, keys):
        """Reads the rows of these keys in one statement."""
        keys = sorted(set(keys))
        self.rows = dict.fromkeys(keys)
        if not keys:
            return
        arrays = ", ".join(f"%s::{kind}[]" for kind in self.key_types)
        cursor.execute(
            f"SELECT {', '.join(self.columns)} FROM {self.name}"
            f" WHERE ({', '.join(self.key_columns)}) IN (SELECT * FROM unnest({arrays}))",
            [list(values) for values in zip(*keys)],
        )
        for values in cursor:
            row = dict(zip(self.columns, values))
            self.rows[self.key(row)] = row

    def key(self, row):
        return tuple(row[column] for column in self.key_columns)

    def get(self, *key):
        """The row, to be changed; None when there is none."""
        self.changed.add(key)
        return self.rows[key]

    def put(self, row):
        self.changed.add(self.key(row))
        self.rows[self.key(row)] = row

    def remove(self, *key):
        self.changed.add(key)
        row, self.rows[key] = self.rows[key], None
        return row

    def store(self, cursor):
        """Writes what changed: one DELETE and one upsert, whatever the batch's size."""
        # In the order of their keys, so that no two writers lock rows crosswise.
        changed = sorted(self.changed)
        gone = [key for key in changed if self.rows[key] is None]
        kept = [self.rows[key] for key in changed if self.rows[key] is not None]
        names = ", ".join(self.key_columns)
        if gone:
            arrays = ", ".join(f"%s::{kind}[]" for kind in self.key_types)
            cursor.execute(
                f"DELETE FROM {self.name} WHERE ({names}) IN (SELECT * FROM unnest({arrays}))",
                [list(values) for values in zip(*gone)],
            )
        if kept:
            others = self.columns[len(self.key_columns) :]
            execute_values(
                cursor,
                f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES %s"
                f" ON CONFLICT ({names}) DO UPDATE SET"
                f" {', '.join(f'{column} = excluded.{column}' for column in others)}",
                [[row[column] for column in self.columns] for row in kept],
                page_size=len(kept),
            )


class Shop:
    """The three tables, and what each type of event does to them."""

    def __init__(self):
        self.orders = Table(
            "public.order_summary",
            "order_id customer_id status line_count total_cents paid_cents placed_at paid_at"
            " shipped_at cancelled_at carrier",
            ["uuid"],
        )
        self.lines = Table(
            "public.order_line", "order_id line sku quantity unit_cents added_at", ["uuid", "int"]
        )
        self.customers = Table(
            "public.customer_totals",
            "customer_id name country orders cancelled_orders paid_cents last_order_at",
            ["bigint"],
        )
        self.tables = [self.orders, self.lines, self.customers]
        self.rules = {
            "CustomerRegistered": self.register,
            "CustomerMoved": self.move,
            "OrderPlaced": self.place,
            "LineAdded": self.add_line,
            "LineRemoved": self.remove_line,
            "OrderPaid": self.pay,
            "OrderShipped": self.ship,
            "OrderCancelled": self.cancel,
        }

    def load(self, cursor, events):
        """Reads every row that the events speak of; a customer also by way of an order."""
        orders, lines, customers = set(), set(), set()
        try:
            for _, kind, _, _, data in events:
                if kind in ("CustomerRegistered", "CustomerMoved", "OrderPlaced"):
                    customers.add((whole(data, "customerId"),))
                if kind in self.rules and not kind.startswith("Customer"):
                    orders.add((uuid(data, "orderId"),))
                if kind in ("LineAdded", "LineRemoved"):
                    lines.add((uuid(data, "orderId"), int32(data, "line")))
        except Refused:
            pass  # The rules refuse that event as well, and say which it is.
        self.orders.load(cursor, orders)
        self.lines.load(cursor, lines)
        found = (order for order in self.orders.rows.values() if order)
        self.customers.load(cursor, customers | {(order["customer_id"],) for order in found})

    def apply(self, event):
        _, kind, _, microseconds, data = event
        if kind in self.rules:  # Other types change nothing.
            self.rules[kind](data, EPOCH + datetime.timedelta(microseconds=microseconds))

    def store(self, cursor):
        for table in self.tables:
            table.store(cursor)

    def clear(self):
        for table in self.tables:
            table.clear()

    def order(self, data):
        order = self.orders.get(uuid(data, "orderId"))
        if order is None:
            raise Refused("the order was never placed")
        return order

    def customer(self, number):
        row = self.customers.get(number)
        if row is None:
            row = dict.fromkeys(self.customers.columns)
            row.update(customer_id=number, orders=0, cancelled_orders=0, paid_cents=0)
            self.customers.put(row)
        return row

    def register(self, data, at):
        row = self.customer(whole(data, "customerId"))
        row["name"], row["country"] = text(data, "name"), text(data, "country")

    def move(self, data, at):
        self.customer(whole(data, "customerId"))["country"] = text(data, "country")

    def place(self, data, at):
        number, customer_id = uuid(data, "orderId"), whole(data, "customerId")
        if self.orders.get(number) is not None:
            raise Refused("the order was placed before")
        row = dict.fromkeys(self.orders.columns)
        row.update(order_id=number, customer_id=customer_id, placed_at=at, status="placed")
        row.update(line_count=0, total_cents=0, paid_cents=0)
        self.orders.put(row)
        customer = self.customer(customer_id)
        customer["orders"] += 1
        customer["last_order_at"] = max(customer["last_order_at"] or at, at)

    def add_line(self, data, at):
        line = {
            "order_id": uuid(data, "orderId"),
            "line": int32(data, "line"),
            "sku": text(data, "sku"),
            "quantity": whole(data, "quantity", 1, 100_000),
            "unit_cents": cents(data, "unitCents"),
            "added_at": at,
        }
        if self.lines.get(line["order_id"], line["line"]) is not None:
            raise Refused("the order has that line already")
        order = self.order(data)
        order["line_count"] += 1
        order["total_cents"] += line["quantity"] * line["unit_cents"]
        self.lines.put(line)

    def remove_line(self, data, at):
        line = self.lines.remove(uuid(data, "orderId"), int32(data, "line"))
        if line is None:
            raise Refused("the order has no such line")
        order = self.order(data)
        order["line_count"] -= 1
        order["total_cents"] -= line["quantity"] * line["unit_cents"]

    def pay(self, data, at):
        order, amount = self.order(data), cents(data, "amountCents")
        order["paid_cents"] += amount
        order["paid_at"] = at
        self.customer(order["customer_id"])["paid_cents"] += amount
        self.set_status(order)

    def ship(self, data, at):
        order = self.order(data)
        order["carrier"], order["shipped_at"] = text(data, "carrier"), at
        self.set_status(order)

    def cancel(self, data, at):
        order = self.order(data)
        if order["cancelled_at"] is not None:
            raise Refused("the order was cancelled before")
        order["cancelled_at"] = at
        self.customer(order["customer_id"])["cancelled_orders"] += 1
        self.set_status(order)

    def set_status(self, order):
        if order["cancelled_at"] is not None:
            order["status"] = "cancelled"
        elif order["shipped_at"] is not None:
            order["status"] = "shipped"
        else:
            order["status"] = "placed" if order["paid_at"] is None else "paid"


def int32(data, key):
    return whole(data, key, -(2**31), 2**31 - 1)


def cents(data, key):
    return whole(data, key, 0, 100_000_000_000)


# --- One transaction ----------------------------------------------------------------------------


class Projector:
    """Applies the ledger's events, batch by batch, and says so once a second."""

    def __init__(self, ledger, batch):
        self.ledger = ledger
        self.batch = batch
        self.shop = Shop()
        self.generation = None
        self.seen = None
        self.applied = 0
        self.said_at = 0.0

    def apply_batch(self, connection):
        """Applies the next events in one transaction.

        Returns how many; 0 at the end of the ledger.
        """
        # Commits at the end of the block, and rolls back when it raises.
        with connection, connection.cursor() as cursor:
            # First of all the checkpoint row: from here on no swap can come in between. Nothing
            # that was known before this statement counts.
            cursor.execute(
                "SELECT generation, position FROM reprise.checkpoint"
                " WHERE projection = %s FOR UPDATE",
                (PROJECTION,),
            )
            generation, position = self.checked(cursor.fetchone())
            self.seen = position
            self.ledger.require(position)
            events = self.read(position)
            if not events:
                return 0
            self.shop.clear()
            self.fold(cursor, events)
            self.shop.store(cursor)
            # Rows and position in one transaction, or an event is lost or applied twice.
            cursor.execute(
                "UPDATE reprise.checkpoint SET position = %s, updated_at = now()"
                " WHERE projection = %s",
                (events[-1][0], PROJECTION),
            )
        self.applied += len(events)
        self.say(f"generation {generation}, {self.applied} events applied, at {events[-1][0]}")
        return len(events)

    def wait_for_events(self):
        """Returns when there is something new, or after a second: the position may have gone back.

        It locks nothing, so that an idle projector writes nothing. What it goes by is a hint; what
        counts is the row that the next transaction locks.
        """
        for _ in range(10):
            if stopping.wait(0.1) or self.ledger.events_after(self.seen, 1):
                return

    def checked(self, row):
        if row is None:
            raise Stop(f"There is no checkpoint of '{PROJECTION}': run 'reprise rebuild' first.")
        generation, position = row
        if generation == 0 and position is None:
            # The tables that were there before the first rebuild, brought back by a rollback:
            # nobody has recorded where they stand, and a guess would apply events twice.
            raise Stop("The live tables are generation 0, whose position is not known.")
        if self.generation not in (None, generation):
            # Whoever caches rows forgets them all here. This projector keeps none.
            self.say(f"generation {generation} is live, at {position}", now=True)
        self.generation = generation
        return generation, position

    def read(self, position):
        events = self.ledger.events_after(position, self.batch)
        return [(*event, json.loads(payload)) for *event, payload in events]

    def fold(self, cursor, events):
        self.shop.load(cursor, events)
        for event in events:
            try:
                self.shop.apply(event)
            except Refused as reason:
                position, kind, stream, *_ = event
                raise Stop(
                    f"An event is refused: {reason}.\n  type      {kind!r}\n  stream    {stream!r}"
                    f"\n  position  {position}\nIts batch is not applied. Fix the rules first."
                )

    def say(self, words, now=False):
        if now or time.monotonic() - self.said_at >= 1:
            self.said_at = time.monotonic()
            print(f"{PROJECTION}: {words}", flush=True)


class Stop(Exception):
    """Going on would write wrong rows."""


# --- The loop -----------------------------------------------------------------------------------


def connect(conninfo):
    connection = psycopg2.connect(conninfo, application_name="shop projector")
    # READ COMMITTED is PostgreSQL's default, and said here because FOR UPDATE relies on it: it
    # gives the row as it is once the lock is there, not as it was when the waiting began.
    connection.set_session(isolation_level="READ COMMITTED")
    with connection, connection.cursor() as cursor:
        # A projector that stands still must not hold the checkpoint row for ever.
        cursor.execute("SET idle_in_transaction_session_timeout = '10s'")
    return connection


def first_line(error):
    return str(error).strip().split("\n")[0]


def run(options):
    projector = Projector(Ledger(options.ledger), options.batch)
    connection, failures = None, 0
    while not stopping.is_set():
        try:
            connection = connection or connect(options.database)
            applied = projector.apply_batch(connection)
            failures = 0
            if applied == 0:
                if options.until_caught_up:
                    break
                projector.wait_for_events()
        except psycopg2.Error as error:
            # The connection is lost, or the server ended the transaction. Whether a COMMIT went
            # through before that, the checkpoint row tells: the next transaction reads it anyway.
            # After a server's crash psycopg2 can name the loss by no kind of its own.
            kinds = (psycopg2.OperationalError, psycopg2.InterfaceError)
            if not isinstance(error, kinds) and type(error) is not psycopg2.DatabaseError:
                raise
            if connection is not None:
                connection.close()
                connection = None
            wait = min(5, 0.1 * 2**failures)
            failures += 1
            # Where the ROLLBACK failed too, what made it necessary says more.
            reason = first_line(error.__context__ or error)
            print(f"{PROJECTION}: {reason}; again in {wait:g} s", file=sys.stderr, flush=True)
            stopping.wait(wait)
    projector.say(f"{projector.applied} events applied", now=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ledger", default="ledger.db", help="the ledger's file")
    parser.add_argument(
        "--database", default=os.environ.get("DATABASE_URL", ""), help="else DATABASE_URL, PGHOST …"
    )
    parser.add_argument("--batch", type=int, default=500, help="events in a transaction, at most")
    parser.add_argument(
        "--until-caught-up", action="store_true", help="exit at the end of the ledger"
    )
    options = parser.parse_args()
    # The transaction that is open is finished; the loop looks before it begins another.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        run(options)
    except (Stop, sqlite3.Error) as error:
        sys.exit(f"{PROJECTION}: {error}")
    except psycopg2.Error as error:
        # Its first line alone: those that follow can hold values of rows.
        sys.exit(f"{PROJECTION}: {first_line(error)}")


if __name__ == "__main__":
    main()
