"""Applies every event to indexed tables, as a live projector does: it needs no code of its own.

One prepared statement an event, 1,000 events in a transaction and in a round trip. Where lines are no
rows for readers, what each costs is in a table of the projector's own: a removal does not say it, and
a projector that was stopped has to know it still.
"""

import datetime
import itertools
import json

from peer import Peer
from psycopg2.extensions import AsIs
from psycopg2.extras import execute_batch
from tables import index_and_analyze, shape_of_tables

BATCH = 1_000
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)

STATEMENTS = """
PREPARE register (bigint, text, text) AS
    INSERT INTO customer_totals (customer_id, name, country, orders, cancelled_orders, paid_cents)
    VALUES ($1, $2, $3, 0, 0, 0)
    ON CONFLICT (customer_id) DO UPDATE SET name = excluded.name, country = excluded.country;

PREPARE move (bigint, text) AS
    INSERT INTO customer_totals (customer_id, country, orders, cancelled_orders, paid_cents)
    VALUES ($1, $2, 0, 0, 0)
    ON CONFLICT (customer_id) DO UPDATE SET country = excluded.country;

PREPARE place (uuid, bigint, timestamptz) AS
    WITH placed AS (
        INSERT INTO order_summary
            (order_id, customer_id, status, line_count, total_cents, paid_cents, placed_at)
        VALUES ($1, $2, 'placed', 0, 0, 0, $3)
    )
    INSERT INTO customer_totals AS totals
        (customer_id, orders, cancelled_orders, paid_cents, last_order_at)
    VALUES ($2, 1, 0, 0, $3)
    ON CONFLICT (customer_id) DO UPDATE SET
        orders = totals.orders + 1,
        last_order_at = greatest(totals.last_order_at, excluded.last_order_at);

PREPARE pay (uuid, bigint, timestamptz) AS
    WITH paid AS (
        UPDATE order_summary SET
            paid_cents = paid_cents + $2,
            paid_at = $3,
            status = CASE status WHEN 'placed' THEN 'paid' ELSE status END
        WHERE order_id = $1
        RETURNING customer_id
    )
    UPDATE customer_totals AS totals SET paid_cents = totals.paid_cents + $2
    FROM paid WHERE totals.customer_id = paid.customer_id;

PREPARE ship (uuid, text, timestamptz) AS
    UPDATE order_summary SET
        carrier = $2,
        shipped_at = $3,
        status = CASE status WHEN 'cancelled' THEN status ELSE 'shipped' END
    WHERE order_id = $1;

PREPARE cancel (uuid, timestamptz) AS
    WITH cancelled AS (
        UPDATE order_summary SET cancelled_at = $2, status = 'cancelled'
        WHERE order_id = $1 AND cancelled_at IS NULL
        RETURNING customer_id
    )
    UPDATE customer_totals AS totals SET cancelled_orders = totals.cancelled_orders + 1
    FROM cancelled WHERE totals.customer_id = cancelled.customer_id;
"""

LINES_AS_ROWS = """
PREPARE add_line (uuid, integer, text, integer, bigint, timestamptz) AS
    WITH added AS (
        INSERT INTO order_line (order_id, line, sku, quantity, unit_cents, added_at)
        VALUES ($1, $2, $3, $4, $5, $6)
    )
    UPDATE order_summary SET line_count = line_count + 1, total_cents = total_cents + $4 * $5
    WHERE order_id = $1;

PREPARE remove_line (uuid, integer) AS
    WITH removed AS (
        DELETE FROM order_line WHERE order_id = $1 AND line = $2
        RETURNING quantity * unit_cents AS cents
    )
    UPDATE order_summary SET line_count = line_count - 1, total_cents = total_cents - removed.cents
    FROM removed WHERE order_id = $1;
"""

LINES_AS_STATE = """
CREATE TABLE line_cost (
    order_id uuid, line integer, cents bigint NOT NULL, PRIMARY KEY (order_id, line)
);

PREPARE add_line (uuid, integer, integer, bigint) AS
    WITH added AS (
        INSERT INTO line_cost (order_id, line, cents) VALUES ($1, $2, $3 * $4)
    )
    UPDATE order_summary SET line_count = line_count + 1, total_cents = total_cents + $3 * $4
    WHERE order_id = $1;

PREPARE remove_line (uuid, integer) AS
    WITH removed AS (
        DELETE FROM line_cost WHERE order_id = $1 AND line = $2 RETURNING cents
    )
    UPDATE order_summary SET line_count = line_count - 1, total_cents = total_cents - removed.cents
    FROM removed WHERE order_id = $1;
"""

# By type of event: the statement, the fields of the payload, and whether it takes the time as well.
RULES = {
    "CustomerRegistered": ("register", ("customerId", "name", "country"), False),
    "CustomerMoved": ("move", ("customerId", "country"), False),
    "OrderPlaced": ("place", ("orderId", "customerId"), True),
    "LineAdded": ("add_line", ("orderId", "line", "sku", "quantity", "unitCents"), True),
    "LineRemoved": ("remove_line", ("orderId", "line"), False),
    "OrderPaid": ("pay", ("orderId", "amountCents"), True),
    "OrderShipped": ("ship", ("orderId", "carrier"), True),
    "OrderCancelled": ("cancel", ("orderId",), True),
}


RULE_FOR_STATE = ("add_line", ("orderId", "line", "quantity", "unitCents"), False)


def calls(events, rules):
    """The statement's name and its arguments, for each event that there is a rule for."""
    for microseconds, kind, payload in events:
        rule = rules.get(kind)
        if rule is None:
            continue
        name, fields, takes_time = rule
        data = json.loads(payload)
        values = tuple(data[field] for field in fields)
        if takes_time:
            values += (EPOCH + datetime.timedelta(microseconds=microseconds),)
        yield AsIs(name), values


def apply(peer, connection, cursor, rules):
    remaining = calls(peer.events("time, type, payload"), rules)
    while batch := list(itertools.islice(remaining, BATCH)):
        # psycopg2 writes a tuple as a list in parentheses.
        execute_batch(cursor, "EXECUTE %s %s", batch, page_size=BATCH)
        connection.commit()


def prepare_lines(cursor, tables):
    """Prepares the statements about lines, and gives the rules of all."""
    if "order_line" in [table.name for table in tables]:
        cursor.execute(LINES_AS_ROWS)
        return RULES
    cursor.execute(LINES_AS_STATE)
    return {**RULES, "LineAdded": RULE_FOR_STATE}


def main():
    peer = Peer(__doc__)
    connection = peer.connect()
    with connection.cursor() as cursor:
        tables = shape_of_tables(cursor)
        for table in tables:
            cursor.execute(table.create(peer.schema))
        index_and_analyze(cursor, tables, peer.schema)
        # The plans are kept from when the tables are empty, and the best plan for an empty table
        # is to scan it.
        cursor.execute("SET enable_seqscan = off")
        cursor.execute(STATEMENTS)
        rules = prepare_lines(cursor, tables)
        connection.commit()
        with peer.phase("apply"):
            apply(peer, connection, cursor, rules)
        with peer.phase("analyze"):
            for table in tables:
                cursor.execute(table.analyze(peer.schema))
            connection.commit()
    peer.report()


main()
