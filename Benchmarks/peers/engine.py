"""Works the tables out in an analytical engine inside of this process: chDB, which is ClickHouse.

The engine reads the ledger by itself and gives the rows as lines that COPY takes. A table is loaded
and indexed on a connection of its own while the engine works out the next one.
"""

import concurrent.futures
import io
import pathlib

from chdb import session
from peer import Peer
from statements import statements
from tables import index_and_analyze, shape_of_tables

SQL = pathlib.Path(__file__).with_name("engine.sql")


def sql(ledger, tables):
    path = str(ledger.resolve()).replace("\\", "\\\\").replace("'", "\\'")
    text = SQL.read_text().replace("LEDGER", path)
    if "order_line" not in tables:
        # Lines are asked for once then, so they need not be kept.
        text = text.replace("TABLE lines ENGINE = Memory", "VIEW lines")
    return text


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
    for name, statement in statements(sql(peer.ledger, tables)):
        if name is not None and name not in tables:
            continue
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
