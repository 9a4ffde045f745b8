"""Who is measured: the floor, reprise, and the peers."""

import dataclasses
import pathlib

from .workspace import BENCHMARKS


@dataclasses.dataclass
class Contestant:
    """A command that fills the tables of one schema from a ledger."""

    name: str
    ledger: object
    # Where the rows are that its own have to be equal to.
    reference: str
    # How many rounds it takes part in.
    runs: int
    schema: str
    # What it is, for the chart: "floor", "reprise" or "peer".
    kind: str
    command: list
    measurements: list = dataclasses.field(default_factory=list)

    @property
    def owns_schema(self):
        """Reprise's live tables stay, the others' are made anew."""
        return self.kind != "reprise"


def floor(workspace, tables, ledger, reference, runs, connections):
    number = {1: "one connection", 2: "two connections"}[connections]
    schema = "bench_floor"
    plan = write_plan(workspace.folder / f"{reference}.plan", tables, schema, ledger, reference)
    command = [workspace.floor, connections, ledger.path, plan]
    return Contestant(f"floor, {number}", ledger, reference, runs, schema, "floor", command)


def reprise(program, workload, ledger, reference, runs):
    schema = workload.live_schema
    command = [program, "rebuild", workload.name, "--ledger", ledger.path, "--schema", schema]
    command.append("--json")
    return Contestant("reprise rebuild", ledger, reference, runs, schema, "reprise", command)


def peer(name, script, ledger, reference, runs, python="/usr/bin/python3"):
    path = BENCHMARKS / "peers" / script
    schema = f"bench_{pathlib.Path(script).stem}"
    command = [python, path, "--ledger", ledger.path, "--schema", schema]
    return Contestant(name, ledger, reference, runs, schema, "peer", command)


def ready_folder(workspace, reference):
    """Where the files are that the floor loads."""
    return workspace.folder / f"{reference}.ready"


def write_plan(path, tables, schema, ledger, reference):
    """Writes the steps of the floor, the largest table's first. floor.c says what a line means."""
    folder = path.with_suffix(".ready")
    lines = []
    by_size = sorted(tables, key=lambda table: -(folder / table.name).stat().st_size)
    for table in by_size:
        copy = f"COPY {schema}.{table.name} FROM STDIN WITH (FORMAT binary, FREEZE)"
        lines += [f"table {table.name}", f"create {table.create(schema)}", f"copy {copy}"]
        lines += [f"ready {folder / table.name}", f"analyze {table.analyze(schema)}"]
        lines += [f"index {statement}" for statement in table.indexes(schema)]
        lines += [f"finish {statement}" for statement in table.finish(schema)]
    path.write_text("\n".join(lines) + "\n")
    return path
