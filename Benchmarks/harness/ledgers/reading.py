"""Reading a ledger beside a C program that scans the same file."""

import json
import statistics

from ..contest import tell
from ..failure import Failure
from ..summary import spread


class Reading:
    """Reads ledgers in turn, in the order in which they are named."""

    def __init__(self, workspace, fold_program, ledgers):
        self.workspace = workspace
        self.fold_program = fold_program
        # By name, each a path.
        self.ledgers = ledgers
        self.runs = {name: [] for name in ledgers}

    def run(self, number):
        for name, path in self.ledgers.items():
            scan = self.ask([self.workspace.floor, "scan", path])
            read = self.ask([self.fold_program, path, "read"])
            if scan["events"] != read["events"]:
                raise Failure(
                    f"Of '{name}' the C program read {scan['events']:,} events, and reprise"
                    f" {read['events']:,}."
                )
            run = {
                "scan": scan["seconds"]["scan"],
                "reusing": read["reusingSeconds"],
                "keeping": read["keepingSeconds"],
            }
            self.runs[name].append(run)
            words = ", ".join(f"{what} {seconds:.3f} s" for what, seconds in run.items())
            tell(f"reading {name}, run {number}: {words}")
            self.events = read["events"]

    def ask(self, command):
        return json.loads(self.workspace.output_of([str(word) for word in command]))

    def figures(self, name):
        """Seconds of each way to read, and the rates as parts of the C program's, run by run."""
        runs = self.runs[name]
        return {
            "name": name,
            "events": self.events,
            "runs": len(runs),
            "seconds": {
                what: spread([run[what] for run in runs]) for what in ("scan", "reusing", "keeping")
            },
            "partOfScan": {
                what: statistics.median(run["scan"] / run[what] for run in runs)
                for what in ("reusing", "keeping")
            },
        }
