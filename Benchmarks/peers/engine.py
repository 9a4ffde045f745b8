"""Works the tables out in an analytical engine inside of this process: chDB, which is ClickHouse.

The engine reads the ledger by itself and gives the rows as lines that COPY takes. A table is loaded
and indexed on a connection of its own while the engine works out the next one.
"""

import concurrent.futures
import io
import pathlib
import re

from chdb import session
from peer import Peer
from tables import index_and_analyze, shape_of_tables

SQL = pathlib.Path(__file__).with_name("engine.sql")


def statements(ledger):
    """The statements of engine.sql; each with the name of the table that it fills, or None."""
    path = str(ledger.resolve()).replace("\\", "\\\\").replace("'", "\\'")
    for statement in SQL.read_text().split(";\n"):
        table = re.search(r"^-- (\w+)$", statement, re.MULTILINE)
        if statement.strip():
            yield table and table[1], statement.replace("LEDGER", path)


def load(peer, table, rows):
    connection = peer.connect()
    with connection.cursor() as cursor:
        cursor.execute(table.create(peer.schema))
        # FREEZE is allowed because the same transaction has made the table. ClickHouse's TSV is
        # PostgreSQL's text format.
        command = f"COPY {table.name} FROM STDIN WITH (FREEZE)"
        cursor.copy_expert(command, io.BytesIO(rows), size=1 << 18)
        connection.commit()
        index_and_analyze(cursor, [table], peer.schema)
        connection.commit()
    connection.close()


def tables_by_name(peer):
    connection = peer.connect()
    with connection.cursor() as cursor:
        return {table.name: table for table in shape_of_tables(cursor)}


def fill(peer, engine, loaders):
    tables, loads = tables_by_name(peer), []
    for name, statement in statements(peer.ledger):
        with peer.phase("compute"):
            result = engine.query(statement, "TSV")
        if name is not None:
            loads.append(loaders.submit(load, peer, tables[name], result.bytes()))
    with peer.phase("wait for loads"):
        for finished in loads:
            finished.result()


def main():
    peer = Peer(__doc__)
    engine = session.Session()
    with concurrent.futures.ThreadPoolExecutor(2) as loaders:
        fill(peer, engine, loaders)
    peer.report()


main()
