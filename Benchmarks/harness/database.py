"""The database that everybody fills: rows to compare with, and an equal start for each."""

import os

import psycopg2
import tables

from .failure import Failure

# Indexes without the schema that they are in, and whether the table is an ordinary one.
SHAPE = """
    SELECT tables.relname, tables.relpersistence, tables.reltuples >= 0,
        pg_catalog.array_agg(
            pg_catalog.regexp_replace(pg_catalog.pg_get_indexdef(indexrelid), ' ON \\S+ ', ' ')
            || CASE WHEN indisprimary THEN ' PRIMARY KEY' ELSE '' END
            ORDER BY indexrelid::pg_catalog.regclass::pg_catalog.text COLLATE "C"
        )
    FROM pg_catalog.pg_class AS tables
    JOIN pg_catalog.pg_index ON indrelid = tables.oid
    WHERE tables.relnamespace = %s::pg_catalog.regnamespace AND tables.relkind = 'r'
        AND tables.relname = ANY (%s)
    GROUP BY tables.oid
    ORDER BY tables.relname
"""


class Database:
    """The database of DATABASE_URL, or of PGHOST and its like."""

    def __init__(self, workload):
        if not {"DATABASE_URL", "PGHOST"} & set(os.environ):
            raise Failure(
                "Neither DATABASE_URL nor PGHOST is set."
                " 'make bench' starts a PostgreSQL of its own."
            )
        self.connection = psycopg2.connect(os.environ.get("DATABASE_URL", ""))
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()
        self.execute("SET client_min_messages = warning")
        # For comparing rows, which nobody's time includes.
        self.execute("SET work_mem = '512MB'")
        self.live_schema = workload.live_schema
        self.execute(f"CREATE SCHEMA IF NOT EXISTS {self.live_schema}")
        self.tables = self.read_shape(workload.schema_file)

    def execute(self, statement, values=None):
        self.cursor.execute(statement, values)

    def ask(self, query, values=None):
        self.execute(query, values)
        return self.cursor.fetchall()

    def read_shape(self, schema_file):
        """Runs schema.sql in a schema of its own; the contestants' tables are made after that."""
        self.make_schema(tables.SHAPE_SCHEMA)
        # Its names are unqualified.
        self.execute(f"SET search_path = {tables.SHAPE_SCHEMA}")
        self.execute(schema_file.read_text())
        self.execute("RESET search_path")
        return tables.shape_of_tables(self.cursor)

    def make_schema(self, name):
        self.drop_schema(name)
        self.execute(f"CREATE SCHEMA {name}")

    def drop_schema(self, name):
        self.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")

    def settle(self):
        """Writes out what the last contestant has left dirty, so that the next one need not."""
        self.execute("CHECKPOINT")

    def keep_rows(self, schema):
        """Copies the live rows into a schema, to be compared with later."""
        self.make_schema(schema)
        for table in self.tables:
            # Vacuuming in the background would take time from whoever is measured.
            self.execute(
                f"CREATE TABLE {schema}.{table.name} WITH (autovacuum_enabled = off)"
                f" AS TABLE {self.live_schema}.{table.name}"
            )
            self.execute(f"ANALYZE {schema}.{table.name}")

    def count_rows(self, schema):
        return {
            table.name: self.ask(f"SELECT count(*) FROM {schema}.{table.name}")[0][0]
            for table in self.tables
        }

    def write_rows(self, schema, folder):
        """Writes each table into a file that COPY BINARY takes."""
        folder.mkdir()
        for table in self.tables:
            with open(folder / table.name, "wb") as file:
                command = f"COPY {schema}.{table.name} TO STDOUT (FORMAT binary)"
                self.cursor.copy_expert(command, file, size=1 << 20)

    def require_same_rows(self, who, schema, reference, expected):
        """Throws unless the tables hold the rows of the reference, each as often, and no others."""
        found = self.count_rows(schema)
        for table in self.tables:
            name = table.name
            ((missing,),) = self.ask(
                f"SELECT count(*) FROM (TABLE {reference}.{name} EXCEPT ALL"
                f" TABLE {schema}.{name}) AS missing"
            )
            # Of bags: what one has beyond the other follows from the two sizes and the other way.
            extra = found[name] - expected[name] + missing
            if missing or extra:
                raise Failure(
                    f"{who} has other rows in {name} than reprise:"
                    f" {missing:,} are missing and {extra:,} are too many."
                )

    def require_same_shape(self, who, schema):
        """Throws unless the tables are logged and analysed and have the indexes of schema.sql."""
        names = [table.name for table in self.tables]
        shape = self.ask(SHAPE, (tables.SHAPE_SCHEMA, names))
        wanted = {name: indexes for name, _, _, indexes in shape}
        for name, persistence, is_analyzed, indexes in self.ask(SHAPE, (schema, names)):
            if persistence != "p" or not is_analyzed or indexes != wanted.pop(name):
                raise Failure(f"{who} left {name} unlogged, not analysed or with other indexes.")
        if wanted:
            raise Failure(f"{who} made no table with indexes named {', '.join(wanted)}.")
