"""What reading and folding cost without PostgreSQL, as the program FoldCost measures it."""

import json
import os
import statistics

from .contest import tell
from .summary import spread

# What declares a partition key, so that copies can share its events.
PARTITIONED = "fulfilment"
COPIES = (1, 2)


class FoldCost:
    """Runs FoldCost in rounds, and puts its figures together."""

    def __init__(self, workspace, program, ledger):
        self.workspace = workspace
        self.program = program
        self.ledger = ledger
        self.alone = []
        self.passes = {}

    def measure(self, runs):
        for number in range(runs):
            tell(f"the fold by itself, run {number + 1}")
            (alone,) = self.run(["shop"], self.processors(2))
            self.alone.append(alone)
            # Two first: a machine of one processor has no such figures.
            for count in (2, 1):
                processors = self.processors(count)
                if len(processors) == count:
                    self.measure_passes(processors)
        return {"events": self.ledger.events, "runs": runs, "figures": self.figures()}

    def measure_passes(self, processors):
        for copies in COPIES:
            _, in_pass = self.run([PARTITIONED, copies], processors)
            self.passes.setdefault((len(processors), copies), []).append(in_pass)

    def run(self, words, processors):
        pinned = ["taskset", "-c", ",".join(map(str, processors))]
        command = [*pinned, self.program, self.ledger.path, *map(str, words)]
        return [json.loads(line) for line in self.workspace.output_of(command).splitlines()]

    @staticmethod
    def processors(count):
        """So many of those that this process may use, or all where they are fewer."""
        return sorted(os.sched_getaffinity(0))[:count]

    def figures(self):
        entries = [
            self.figure("reading alone", self.alone, "read"),
            self.figure("`shop`, folding alone", self.alone, "fold"),
        ]
        for (processors, copies), runs in self.passes.items():
            words = [f"{copies} cop{'y' if copies == 1 else 'ies'}"]
            words.append(f"{processors} processor{'' if processors == 1 else 's'}")
            name = f"`{PARTITIONED}`, pass with {', '.join(words)}"
            entries.append(self.figure(name, runs, "pass"))
        return entries

    def figure(self, name, runs, what):
        events = self.ledger.events
        seconds = spread([run[f"{what}Seconds"] for run in runs])
        return {
            "name": name,
            "seconds": seconds,
            "eventsPerSecond": events / seconds["median"],
            "allocationsPerEvent": statistics.median(run[f"{what}Allocations"] for run in runs)
            / events,
        }
