"""Importing file after file into one ledger: does the rate stay?"""

import shutil

from ..contest import tell
from ..failure import Failure
from ..ledger import count_events, make_empty_ledger, remove_ledger
from ..measurement import measure
from .lines import write_lines
from .work import require_events

# Bytes of an event with a random id, with room for what merging leaves free: some 450 were seen.
MOST_BYTES = 700


class LedgerGrowth:
    """A ledger that grows by files of as many events as `source` has, with random ids."""

    def __init__(self, workspace, program, source, files):
        self.workspace = workspace
        self.program = program
        self.source = source
        self.files = files
        # Each file goes on behind the one before it.
        self.span = span_of(source)

    def run(self):
        """A list with a dictionary for each file."""
        self.require_room()
        path = make_empty_ledger(self.workspace, self.program, "growing.ledger")
        lines = self.workspace.folder / "growing.ndjson"
        entries = []
        for number in range(self.files):
            write_lines(self.source, lines, ids="v4", later=number * self.span)
            command = [self.program, "ledger", "import", lines, "--ledger", path]
            measurement = measure(self.workspace, command)
            lines.unlink()
            entry = {
                "events": (number + 1) * self.source.events,
                "seconds": measurement.seconds,
                "cpuSeconds": measurement.cpu_seconds,
                "eventsPerSecond": self.source.events / measurement.seconds,
                "peakBytes": measurement.peak_bytes,
                "ledgerBytes": path.stat().st_size,
            }
            entries.append(entry)
            tell(f"{entry['events']:,} events: {entry['eventsPerSecond']:,.0f} events/s")
        require_events("growth", count_events(path), self.files * self.source.events)
        remove_ledger(path)
        return entries

    def require_room(self):
        needed = self.files * self.source.events * MOST_BYTES
        free = shutil.disk_usage(self.workspace.folder).free
        if free < needed:
            raise Failure(
                f"{self.workspace.folder} has {free / 1e9:.0f} GB free; growing the ledger needs"
                f" {needed / 1e9:.0f} GB."
            )


def span_of(ledger):
    """Microseconds, a whole number of days: longer than the ledger."""
    first, last = ledger.times()
    day = 86_400_000_000
    return ((last - first) // day + 1) * day


def rates_at(entries, sizes, events_a_file):
    """By size, what the last three files before it came to together; one file for the first."""
    rates = {}
    for size in sizes:
        upto = [entry for entry in entries if entry["events"] <= size * events_a_file]
        taken = upto[-3:] if len(upto) > 3 else upto[-1:]
        events = len(taken) * events_a_file
        rates[size] = {
            "eventsPerSecond": events / sum(entry["seconds"] for entry in taken),
            "cpuSecondsPerMillion": sum(entry["cpuSeconds"] for entry in taken) * 1e6 / events,
        }
    return rates
