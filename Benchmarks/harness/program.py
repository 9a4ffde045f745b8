"""The programs that are measured."""

import os
import pathlib

from .failure import Failure
from .workspace import CHECKOUT


def add_program_argument(parser, option, product):
    parser.add_argument(
        f"--{option}",
        type=pathlib.Path,
        default=CHECKOUT / ".build/release" / product,
        metavar="PATH",
        help=f"the program {product} (default: the release build)",
    )


def require_program(path):
    if not os.access(path, os.X_OK):
        raise Failure(f"There is no program {path}; 'make bench/programs' makes it.")
    return path.absolute()
