"""The `reprise` that is measured."""

import os
import pathlib

from .failure import Failure
from .workspace import CHECKOUT


def add_program_argument(parser):
    parser.add_argument(
        "--reprise",
        type=pathlib.Path,
        default=CHECKOUT / ".build/release/reprise",
        metavar="PATH",
        help="the program to measure (default: the release build)",
    )


def require_program(path):
    if not os.access(path, os.X_OK):
        raise Failure(f"There is no program {path}; 'make build' makes it.")
    return path.absolute()
