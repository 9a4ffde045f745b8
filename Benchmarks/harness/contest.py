"""Rounds in which everybody runs once, one after the other."""

import sys


class Contest:
    """Measures contestants, and compares the rows of each before its time counts."""

    def __init__(self, workspace, database, measure):
        self.workspace = workspace
        self.database = database
        self.measure = measure
        self.rows = {}

    def run(self, contestants):
        """In rounds, so that what else the machine does meets everybody alike."""
        rounds = max(contestant.runs for contestant in contestants)
        for number in range(rounds):
            for contestant in contestants:
                if number < contestant.runs:
                    self.run_once(contestant, number + 1)

    def run_once(self, contestant, number):
        database, schema = self.database, contestant.schema
        if contestant.owns_schema:
            database.make_schema(schema)
        database.settle()
        measurement = self.measure(self.workspace, contestant.command)
        tell(f"{contestant.name}, run {number}: {measurement.seconds:.2f} s")
        database.require_same_shape(contestant.name, schema)
        reference = contestant.reference
        database.require_same_rows(contestant.name, schema, reference, self.rows_of(reference))
        if contestant.owns_schema:
            database.drop_schema(schema)
        contestant.measurements.append(measurement)

    def rows_of(self, reference):
        if reference not in self.rows:
            self.rows[reference] = self.database.count_rows(reference)
        return self.rows[reference]


def tell(line):
    """Says how far it is; the results alone go to standard output."""
    print(line, file=sys.stderr, flush=True)
