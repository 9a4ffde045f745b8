"""What is done with a ledger, and measured: filling, checking and writing it out."""

import dataclasses
import pathlib
import subprocess

from ..contest import tell
from ..failure import Failure
from ..ledger import SEED, count_events, make_empty_ledger, remove_ledger
from ..measurement import measure


@dataclasses.dataclass
class Task:
    """One thing that a program does with a ledger of so many events."""

    name: str
    events: int
    # Gives the command for a program and a ledger.
    command: object
    # Whether the ledger is a new one, which the command fills.
    fills: bool = False
    # Whether the events go to standard output.
    prints: bool = False
    # The ledger, where it is not a new one.
    ledger: pathlib.Path = None
    # Which other program does this, to be measured in turn with it; None for none.
    against: pathlib.Path = None
    measurements: list = dataclasses.field(default_factory=list)
    measurements_against: list = dataclasses.field(default_factory=list)


def generation(events):
    words = ["--events", events, "--seed", SEED]
    return Task(
        "generate",
        events,
        lambda program, ledger: [program, "ledger", "generate", *words, "--ledger", ledger],
        fills=True,
    )


def importing(name, events, lines):
    return Task(
        name,
        events,
        lambda program, ledger: [program, "ledger", "import", lines, "--ledger", ledger],
        fills=True,
    )


def verifying(name, events, ledger):
    return Task(
        name,
        events,
        lambda program, ledger: [program, "ledger", "verify", "--ledger", ledger],
        ledger=ledger,
    )


def exporting(events, ledger):
    return Task(
        "export",
        events,
        lambda program, ledger: [program, "ledger", "export", "--ledger", ledger],
        prints=True,
        ledger=ledger,
    )


def replaying(events, ledger):
    return Task(
        "replay",
        events,
        lambda program, ledger: [program, "replay", "--ledger", ledger],
        prints=True,
        ledger=ledger,
    )


def has_command(program, *words):
    """Whether a program has a command: its help names it."""
    asked = subprocess.run([program, *words[:-1], "--help"], text=True, capture_output=True)
    return any(line.split()[:1] == [words[-1]] for line in asked.stdout.splitlines())


class Work:
    """Runs tasks, the program's and the other one's in turn, and counts events."""

    def __init__(self, workspace, program):
        self.workspace = workspace
        self.program = program

    def run(self, task, number):
        """One round of a task; throws Failure when events are missing afterwards."""
        task.measurements.append(self.run_once(task, self.program, number, ""))
        if task.against:
            other = self.run_once(task, task.against, number, ", the other program")
            task.measurements_against.append(other)

    def run_once(self, task, program, number, whose):
        path = task.ledger
        if task.fills:
            path = make_empty_ledger(self.workspace, program, "filled.ledger")
        measurement = self.measure(task, task.command(program, path))
        tell(f"{task.name}{whose}, run {number}: {measurement.seconds:.2f} s")
        if task.fills:
            require_events(task.name, count_events(path), task.events)
            remove_ledger(path)
        return measurement

    def measure(self, task, command):
        if not task.prints:
            return measure(self.workspace, command)
        printed = self.workspace.folder / "printed.ndjson"
        with open(printed, "wb") as output:
            measurement = measure(self.workspace, command, output)
        require_events(task.name, count_lines(printed), task.events)
        printed.unlink()
        return measurement


def count_lines(path):
    with open(path, "rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def require_events(name, found, wanted):
    if found != wanted:
        raise Failure(f"After '{name}' there are {found:,} of {wanted:,} events.")
