"""What is rebuilt: a projection, and the program that has it."""

import dataclasses
import pathlib

from .program import add_program_argument
from .workspace import BENCHMARKS, CHECKOUT


@dataclasses.dataclass(frozen=True)
class Workload:
    """A projection of the made-up shop. Which tables it has, its schema.sql says."""

    # Of the workload, and of the projection.
    name: str
    # The program's file name, and the option that names another file.
    product: str
    option: str
    schema_file: pathlib.Path
    # Above the chart.
    title: str
    # Whether what is alike for all workloads is measured beside this one: the fold by itself, and
    # importing.
    has_common_figures: bool

    @property
    def live_schema(self):
        """Where reprise keeps the live tables: workloads have tables of equal names."""
        return f"bench_{self.name}"


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            "shop",
            "reprise",
            "reprise",
            CHECKOUT / "Projections/Shop/schema.sql",
            "Rebuilding the read model of a shop",
            has_common_figures=True,
        ),
        Workload(
            "totals",
            "RepriseTotals",
            "totals",
            BENCHMARKS / "Totals/schema.sql",
            "Rebuilding the totals of a shop, its lines not among them",
            has_common_figures=False,
        ),
    )
}


def add_workload_arguments(parser):
    parser.add_argument("--workload", choices=WORKLOADS, default="shop", help="what is rebuilt")
    for workload in WORKLOADS.values():
        add_program_argument(parser, workload.option, workload.product)


def chosen(arguments):
    """The workload, and the path of its program."""
    workload = WORKLOADS[arguments.workload]
    return workload, getattr(arguments, workload.option)
