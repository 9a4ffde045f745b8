"""The folder that a benchmark works in, and the programs that it compiles there."""

import contextlib
import functools
import pathlib
import shlex
import subprocess
import tempfile

from .failure import Failure

BENCHMARKS = pathlib.Path(__file__).resolve().parent.parent
CHECKOUT = BENCHMARKS.parent
HOME = CHECKOUT / ".bench"


@contextlib.contextmanager
def workspace():
    """A folder below .bench/ of the checkout, removed afterwards.

    Ledgers take gigabytes, which the system's folder for temporary files may not have.
    """
    HOME.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=HOME, prefix="run-") as folder:
        yield Workspace(pathlib.Path(folder))


class Workspace:
    """The folder, with the programs in it: each is compiled when it is first asked for."""

    def __init__(self, folder):
        self.folder = folder

    @functools.cached_property
    def measure(self):
        return self.compile("measure", [])

    @functools.cached_property
    def floor(self):
        return self.compile("floor", ["sqlite3", "libpq"])

    def compile(self, name, libraries):
        program = self.folder / name
        flags = []
        if libraries:
            asked = ["pkg-config", "--cflags", "--libs", *libraries]
            flags = shlex.split(self.output_of(asked))
        source = BENCHMARKS / f"{name}.c"
        self.output_of(["cc", "-O2", "-pthread", "-o", program, source, *flags])
        return program

    @staticmethod
    def output_of(command):
        try:
            finished = subprocess.run(command, text=True, capture_output=True)
        except FileNotFoundError as error:
            message = f"The command '{command[0]}' was not found; 'make packages' installs it."
            raise Failure(message) from error
        if finished.returncode != 0:
            words = " ".join(map(str, command))
            raise Failure(f"'{words}' failed:\n{finished.stderr.strip()}")
        return finished.stdout
