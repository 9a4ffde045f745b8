"""How long others who write wait for a running import."""

import statistics
import subprocess
import time

from ..contest import tell
from ..failure import Failure
from ..ledger import count_events, make_empty_ledger, remove_ledger

# Alone, to know what the process itself takes.
ALONE = 50
# With fewer, the import is over before anybody waits.
LEAST_TURNS = 10


class Waiting:
    """Appends, or imports of one event, one after the other, beside an import of `lines`."""

    def __init__(self, workspace, program, lines, events):
        self.workspace = workspace
        self.program = program
        self.lines = lines
        self.events = events
        self.line = workspace.folder / "one.ndjson"

    def run(self):
        """A dictionary for each kind of writer: milliseconds over the process alone."""
        return [
            self.measure("append", self.append),
            self.measure("import of one event", self.import_one),
        ]

    def append(self, path, number):
        words = ["--type", "Waited", "--stream", "waiting", "--data", f'{{"number":{number}}}']
        return [self.program, "ledger", "append", *words, "--ledger", path]

    def import_one(self, path, number):
        named = '"type":"Waited","stream":"waiting"'
        self.line.write_text(
            f'{{"time":{1_700_000_000 + number},{named},"data":{{"number":{number}}}}}\n'
        )
        return [self.program, "ledger", "import", self.line, "--ledger", path]

    def measure(self, name, command):
        path = make_empty_ledger(self.workspace, self.program, "waiting.ledger")
        alone = [self.turn(command(path, number)) for number in range(ALONE)]
        running = [str(word) for word in (self.program, "ledger", "import", self.lines, "--ledger", path)]
        beside = []
        with subprocess.Popen(running, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            # Those that began before the import ended; what its progress says fits the pipe.
            while process.poll() is None:
                beside.append(self.turn(command(path, ALONE + len(beside))))
            if process.returncode != 0:
                raise Failure(f"The import ended with status {process.returncode}.")
        found, wanted = count_events(path), self.events + ALONE + len(beside)
        if found != wanted:
            raise Failure(f"After '{name}' beside an import there are {found:,} of {wanted:,} events.")
        remove_ledger(path)
        tell(f"{name} beside an import: {len(beside)} times, {max(beside):.0f} ms at most")
        return {
            "name": name,
            "times": len(beside),
            "aloneMilliseconds": statistics.median(alone),
            "medianWait": statistics.median(beside) - statistics.median(alone),
            "mostWait": max(beside) - statistics.median(alone),
            "isEnough": len(beside) >= LEAST_TURNS,
        }

    def turn(self, command):
        began = time.perf_counter()
        done = subprocess.run([str(word) for word in command], text=True, capture_output=True)
        if done.returncode != 0:
            raise Failure(f"Beside an import: {done.stderr.strip()}")
        return (time.perf_counter() - began) * 1_000
