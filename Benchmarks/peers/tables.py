"""The tables that every contestant fills.

Their shape is that of the workload's schema.sql and is written down nowhere else: the benchmark runs
that file in a schema of its own, and the statements here are made from PostgreSQL's catalogue. So a
peer learns from here which tables to fill: `order_line` is not one of them in every workload.
"""

SHAPE_SCHEMA = "bench_shape"

CATALOGUE = """
    SELECT tables.relname, indexes.relname, pg_catalog.pg_get_indexdef(indexes.oid),
        constraints.conname, constraints.contype
    FROM pg_catalog.pg_class AS tables
    JOIN pg_catalog.pg_index ON pg_index.indrelid = tables.oid
    JOIN pg_catalog.pg_class AS indexes ON indexes.oid = pg_index.indexrelid
    LEFT JOIN pg_catalog.pg_constraint AS constraints
        ON constraints.conindid = indexes.oid AND constraints.contype IN ('p', 'u')
    WHERE tables.relnamespace = %s::pg_catalog.regnamespace AND tables.relkind = 'r'
    ORDER BY tables.oid, pg_index.indisprimary DESC, indexes.oid
"""


class Table:
    """One table, as statements that make it in a schema of the caller's."""

    def __init__(self, name):
        self.name = name
        self.index_definitions = []
        self.constraints = []

    def create(self, schema):
        """Makes the table without indexes; NOT NULL and CHECK are there from the start."""
        return (
            f"CREATE TABLE {schema}.{self.name} (LIKE {SHAPE_SCHEMA}.{self.name}"
            " INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMMENTS)"
        )

    def indexes(self, schema):
        """Makes the indexes, that of the primary key among them: one statement each."""
        here, there = f" ON {SHAPE_SCHEMA}.", f" ON {schema}."
        return [definition.replace(here, there, 1) for definition in self.index_definitions]

    def finish(self, schema):
        """Turns unique indexes into the constraints that they belong to."""
        words = {"p": "PRIMARY KEY", "u": "UNIQUE"}
        return [
            f"ALTER TABLE {schema}.{self.name}"
            f" ADD CONSTRAINT {name} {words[kind]} USING INDEX {index}"
            for name, kind, index in self.constraints
        ]

    def analyze(self, schema):
        return f"ANALYZE {schema}.{self.name}"


def shape_of_tables(cursor):
    """The tables, in the order of schema.sql."""
    cursor.execute(CATALOGUE, (SHAPE_SCHEMA,))
    tables = {}
    for name, index, definition, constraint, kind in cursor.fetchall():
        table = tables.setdefault(name, Table(name))
        table.index_definitions.append(definition)
        if constraint is not None:
            table.constraints.append((constraint, kind, index))
    return list(tables.values())


def index_and_analyze(cursor, tables, schema):
    """What is left to do once the rows are there."""
    for table in tables:
        for statement in table.indexes(schema) + table.finish(schema) + [table.analyze(schema)]:
            cursor.execute(statement)
