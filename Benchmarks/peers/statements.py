"""The statements of an SQL file, and which of them are the rows of a table."""

import re


def statements(text):
    """Each statement with the name of its table, or None.

    A query's table is named above it by a comment of that one word.
    """
    for statement in text.split(";\n"):
        table = re.search(r"^-- (\w+)$", statement, re.MULTILINE)
        if statement.strip():
            yield table and table[1], statement
