"""Counts the instructions of a fold by callgrind, one of valgrind's tools."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess

from .failure import Failure

# What callgrind counts begins and ends with this function: Benchmarks/FoldCost.
MEASURED = "reprise_measured_fold"
MOST_FUNCTIONS = 10
COLLECTED = re.compile(r"Collected : (\d+)")
# `12,345 (1.23%)  file:function [library]`
FUNCTION = re.compile(r"^\s*([\d,]+) \(\s*([\d.]+)%\)\s+[^:]*:(.*?)(?: \[(.*)\])?$")


@dataclasses.dataclass
class Count:
    """What folding a ledger took."""

    instructions_per_event: float
    # The most expensive ones: instructions an event, percent, name, and the file that they are in.
    functions: list


def require_valgrind():
    for command, package in (("valgrind", "valgrind"), ("strip", "binutils")):
        if shutil.which(command) is None:
            raise Failure(f"There is no {command} here. 'apt-get install {package}' installs it.")


def readable(workspace, program):
    """A copy of the program that valgrind can read: some debug information of Swift it cannot."""
    copy = workspace.folder / program.name
    shutil.copy(program, copy)
    workspace.output_of(["strip", "--strip-debug", copy])
    return copy


def count_instructions(workspace, program, ledger, projection):
    profile = workspace.folder / f"{projection}.callgrind"
    command = ["valgrind", "--tool=callgrind", f"--toggle-collect={MEASURED}"]
    command += [f"--callgrind-out-file={profile}", program, ledger.path, projection]
    # Swift's hash tables have another seed in each process otherwise, and other collisions.
    environment = {**os.environ, "SWIFT_DETERMINISTIC_HASHING": "1"}
    finished = subprocess.run(command, env=environment, text=True, capture_output=True)
    collected = COLLECTED.search(finished.stderr)
    if finished.returncode != 0 or collected is None or collected[1] == "0":
        raise Failure(f"valgrind counted nothing of `{projection}`:\n{finished.stderr.strip()}")
    events = json.loads(finished.stdout)["events"]
    return Count(int(collected[1]) / events, functions(workspace, profile, events))


def functions(workspace, profile, events):
    annotated = workspace.output_of(["callgrind_annotate", profile]).splitlines()
    # The first line that looks like a function's is the sum of all, and is of no file.
    found = [match for match in map(FUNCTION.match, annotated) if match][:MOST_FUNCTIONS]
    names = demangled([match[3] for match in found])
    return [
        (int(match[1].replace(",", "")) / events, float(match[2]), name, file_name(match[4]))
        for match, name in zip(found, names)
    ]


def file_name(path):
    return pathlib.Path(path).name if path else ""


def demangled(names):
    """Swift's names as they are in the source, where there is a Swift to ask."""
    try:
        finished = subprocess.run(
            ["swift", "demangle", "--simplified", "--compact"],
            input="\n".join(names) + "\n",
            text=True,
            capture_output=True,
        )
    except FileNotFoundError:
        return names
    lines = finished.stdout.splitlines()
    return lines if finished.returncode == 0 and len(lines) == len(names) else names
