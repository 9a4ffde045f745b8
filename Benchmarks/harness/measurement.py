"""Running a command as a whole process, and what it took."""

import dataclasses
import json
import os
import subprocess

from .failure import Failure


@dataclasses.dataclass
class Measurement:
    """One run of one command."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    # What the command printed, if that was JSON.
    output: dict


def environment():
    """The caller's, with commits that do not wait for the disk: the same for every contestant."""
    options = os.environ.get("PGOPTIONS", "") + " -c synchronous_commit=off"
    options += " -c client_min_messages=warning"
    return {**os.environ, "PGOPTIONS": options.strip(), "PYTHONDONTWRITEBYTECODE": "1"}


def measure(workspace, command, output=None):
    """Runs a command from its start to its end; throws what it says when it fails.

    `output` is a file for what the command prints; it is for commands that print many megabytes.
    """
    file = workspace.folder / "measurement.json"
    command = [str(word) for word in command]
    finished = subprocess.run(
        [workspace.measure, file, *command],
        env=environment(),
        text=True,
        stdout=output or subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    if finished.returncode != 0:
        said = (finished.stderr or finished.stdout or "").strip()
        raise Failure(f"'{' '.join(command)}' ended with status {finished.returncode}:\n{said}")
    took = json.loads(file.read_text())
    try:
        printed = json.loads(finished.stdout or "{}")
    except json.JSONDecodeError:
        printed = {}
    return Measurement(took["seconds"], took["cpuSeconds"], took["peakBytes"], printed)
