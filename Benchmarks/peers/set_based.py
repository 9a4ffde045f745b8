"""Copies the events into PostgreSQL and works the tables out there, by set_based.sql."""

import pathlib

from peer import Peer
from statements import statements
from tables import index_and_analyze, shape_of_tables

SQL = pathlib.Path(__file__).with_name("set_based.sql")

# The lines that COPY reads are put together by SQLite, which is faster at it than Python. JSON has
# no raw tab or newline inside of its strings; between its values they mean nothing.
LINE = r"""
    time || char(9) || type || char(9) || replace(replace(replace(replace(
        payload, '\', '\\'), char(9), ' '), char(10), ' '), char(13), ' ') || char(10)
"""


class LineFile:
    """Gives psycopg2 the events as lines, each with its place in the ledger in front."""

    def __init__(self, rows):
        self.rows = rows
        self.position = 0

    def read(self, size):
        lines = []
        # 1,000 events are less than the size that is asked for, which is in bytes.
        for (line,) in self.rows.fetchmany(1_000):
            self.position += 1
            lines.append(f"{self.position}\t{line}")
        return "".join(lines)


def stage(peer, cursor):
    cursor.execute(
        "CREATE UNLOGGED TABLE staging"
        " (position bigint NOT NULL, microseconds bigint NOT NULL, type text NOT NULL, data jsonb)"
    )
    lines = LineFile(peer.events(LINE))
    cursor.copy_expert("COPY staging FROM STDIN WITH (FREEZE)", lines, size=1 << 22)
    cursor.execute("ANALYZE staging")


def insert(cursor, tables):
    names = [table.name for table in tables]
    for name, statement in statements(SQL.read_text()):
        if name is None:
            cursor.execute(statement)
        elif name in names:
            cursor.execute(f"INSERT INTO {name}\n{statement}")
        else:
            # What another table takes from a table that nobody asked for is worked out there.
            cursor.execute(f"CREATE TEMPORARY VIEW {name} AS\n{statement}")


def main():
    peer = Peer(__doc__)
    connection = peer.connect()
    with connection.cursor() as cursor:
        cursor.execute("SET work_mem = '256MB'")
        # Compiling these queries takes longer than it saves.
        cursor.execute("SET jit = off")
        tables = shape_of_tables(cursor)
        for table in tables:
            cursor.execute(table.create(peer.schema))
        with peer.phase("stage"):
            stage(peer, cursor)
            connection.commit()
        with peer.phase("insert"):
            insert(cursor, tables)
            connection.commit()
        with peer.phase("index"):
            index_and_analyze(cursor, tables, peer.schema)
            cursor.execute("DROP TABLE staging CASCADE")
            connection.commit()
    peer.report()


main()
