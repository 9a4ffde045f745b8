"""Folds the ledger into dictionaries and loads them by COPY: the script that people write."""

import functools
import gc
import json
import time

from peer import Peer
from tables import index_and_analyze, shape_of_tables

# Places in a row of order_summary behind its key; `status` is worked out at the end.
CUSTOMER, LINES, TOTAL, PAID, PLACED_AT, PAID_AT, SHIPPED_AT, CANCELLED_AT, CARRIER = range(9)
# Places in a row of customer_totals behind its key.
NAME, COUNTRY, ORDERS, CANCELLED, PAID_BY_CUSTOMER, LAST_ORDER_AT = range(6)


class Shop:
    """The rows, by key; times are microseconds until they are written."""

    def __init__(self):
        self.orders = {}
        self.lines = {}
        self.customers = {}

    def customer(self, number):
        row = self.customers.get(number)
        if row is None:
            row = self.customers[number] = [None, None, 0, 0, 0, None]
        return row

    def register(self, data, at):
        row = self.customer(data["customerId"])
        row[NAME], row[COUNTRY] = data["name"], data["country"]

    def move(self, data, at):
        self.customer(data["customerId"])[COUNTRY] = data["country"]

    def place(self, data, at):
        number = data["customerId"]
        self.orders[data["orderId"]] = [number, 0, 0, 0, at, None, None, None, None]
        row = self.customer(number)
        row[ORDERS] += 1
        if row[LAST_ORDER_AT] is None or row[LAST_ORDER_AT] < at:
            row[LAST_ORDER_AT] = at

    def add_line(self, data, at):
        order, quantity, cents = data["orderId"], data["quantity"], data["unitCents"]
        self.lines[order, data["line"]] = (data["sku"], quantity, cents, at)
        row = self.orders[order]
        row[LINES] += 1
        row[TOTAL] += quantity * cents

    def remove_line(self, data, at):
        order = data["orderId"]
        _, quantity, cents, _ = self.lines.pop((order, data["line"]))
        row = self.orders[order]
        row[LINES] -= 1
        row[TOTAL] -= quantity * cents

    def pay(self, data, at):
        row, amount = self.orders[data["orderId"]], data["amountCents"]
        row[PAID] += amount
        row[PAID_AT] = at
        self.customers[row[CUSTOMER]][PAID_BY_CUSTOMER] += amount

    def ship(self, data, at):
        row = self.orders[data["orderId"]]
        row[CARRIER], row[SHIPPED_AT] = data["carrier"], at

    def cancel(self, data, at):
        row = self.orders[data["orderId"]]
        row[CANCELLED_AT] = at
        self.customers[row[CUSTOMER]][CANCELLED] += 1

    def rules(self):
        return {
            "CustomerRegistered": self.register,
            "CustomerMoved": self.move,
            "OrderPlaced": self.place,
            "LineAdded": self.add_line,
            "LineRemoved": self.remove_line,
            "OrderPaid": self.pay,
            "OrderShipped": self.ship,
            "OrderCancelled": self.cancel,
        }


class Totals(Shop):
    """A shop whose lines are not rows: of each what it costs is kept, for when it is removed."""

    def add_line(self, data, at):
        order, cents = data["orderId"], data["quantity"] * data["unitCents"]
        self.lines[order, data["line"]] = cents
        row = self.orders[order]
        row[LINES] += 1
        row[TOTAL] += cents

    def remove_line(self, data, at):
        order = data["orderId"]
        row = self.orders[order]
        row[LINES] -= 1
        row[TOTAL] -= self.lines.pop((order, data["line"]))


def fold(events, shop):
    rules, parse = shop.rules(), json.loads
    for microseconds, kind, payload in events:
        rule = rules.get(kind)
        if rule is not None:
            rule(parse(payload), microseconds)


# --- Lines for COPY -----------------------------------------------------------------------------


@functools.cache
def second(seconds):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def moment(microseconds):
    if microseconds is None:
        return r"\N"
    return f"{second(microseconds // 1_000_000)}.{microseconds % 1_000_000:06}"


def text(value):
    if value is None:
        return r"\N"
    if "\\" in value or "\t" in value or "\n" in value or "\r" in value:
        value = value.replace("\\", r"\\").replace("\t", r"\t")
        value = value.replace("\n", r"\n").replace("\r", r"\r")
    return value


def status(row):
    if row[CANCELLED_AT] is not None:
        return "cancelled"
    if row[SHIPPED_AT] is not None:
        return "shipped"
    return "placed" if row[PAID_AT] is None else "paid"


def order_lines(shop):
    for order, row in shop.orders.items():
        yield (
            f"{order}\t{row[CUSTOMER]}\t{status(row)}\t{row[LINES]}\t{row[TOTAL]}\t{row[PAID]}"
            f"\t{moment(row[PLACED_AT])}\t{moment(row[PAID_AT])}\t{moment(row[SHIPPED_AT])}"
            f"\t{moment(row[CANCELLED_AT])}\t{text(row[CARRIER])}\n"
        )


def line_lines(shop):
    for (order, line), (sku, quantity, cents, at) in shop.lines.items():
        yield f"{order}\t{line}\t{text(sku)}\t{quantity}\t{cents}\t{moment(at)}\n"


def customer_lines(shop):
    for number, row in shop.customers.items():
        yield (
            f"{number}\t{text(row[NAME])}\t{text(row[COUNTRY])}\t{row[ORDERS]}\t{row[CANCELLED]}"
            f"\t{row[PAID_BY_CUSTOMER]}\t{moment(row[LAST_ORDER_AT])}\n"
        )


class LineFile:
    """Gives psycopg2 the lines as they are made, so that they are never all in memory."""

    def __init__(self, lines):
        self.lines = lines

    def read(self, size):
        parts, length = [], 0
        for line in self.lines:
            parts.append(line)
            length += len(line)
            # The size is in bytes, and a character of UTF-8 has four at most.
            if length * 4 > size - 4_096:
                break
        return "".join(parts)


LINES_OF = {
    "order_summary": order_lines,
    "order_line": line_lines,
    "customer_totals": customer_lines,
}


def copy(cursor, table, schema, shop):
    # FREEZE is allowed because the same transaction has made the table.
    cursor.execute(table.create(schema))
    lines = LineFile(LINES_OF[table.name](shop))
    cursor.copy_expert(f"COPY {table.name} FROM STDIN WITH (FREEZE)", lines, size=1 << 18)


def main():
    peer = Peer(__doc__)
    # There are no cycles to collect, and looking for them takes a quarter of the fold.
    gc.disable()
    connection = peer.connect()
    with connection.cursor() as cursor:
        tables = shape_of_tables(cursor)
        connection.commit()
        shop = Shop() if "order_line" in [table.name for table in tables] else Totals()
        with peer.phase("fold"):
            fold(peer.events("time, type, payload"), shop)
        with peer.phase("copy"):
            for table in tables:
                copy(cursor, table, peer.schema, shop)
            connection.commit()
        with peer.phase("index"):
            index_and_analyze(cursor, tables, peer.schema)
            connection.commit()
    peer.report()


main()
