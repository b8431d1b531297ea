"""`python -m dlbridge`: `info`, what is installed where; `path`, one path; `bench`, what conversions cost here."""

from __future__ import annotations

import argparse
import os
import platform
from importlib import metadata, util

import dlbridge

from ._bench import SIZES, bench
from ._streams import cuda_problem

PATHS = {"include": dlbridge.get_include, "library": dlbridge.get_library, "cmake": dlbridge.get_cmake_dir}
FRAMEWORKS = ("numpy", "torch", "jax", "cupy", "tensorflow", "pyarrow", "ml_dtypes")


def info() -> None:
    rows = [
        ("dlbridge", dlbridge.__version__),
        ("DLPack", "1.3"),
        *((name, path()) for name, path in PATHS.items()),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("platform", platform.platform()),
        ("devices", ", ".join(dlbridge.devices())),
        ("CUDA", cuda_problem() or "available"),
        ("alive", f"{dlbridge.live_tensors()} tensors, {dlbridge.live_exports()} exports"),
    ]
    rows += [(name, _version(name)) for name in FRAMEWORKS]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")


def _version(distribution: str) -> str:
    """The installed version, read without importing the package."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def _at_least_one(given: str) -> int:
    """A count, of an option."""
    if not given.isdecimal() or int(given) < 1:
        raise argparse.ArgumentTypeError(f"{given!r} is no whole number of 1 or more")
    return int(given)


def _picture(given: str) -> str:
    """A file that can be drawn to: what is wrong with it is said before the timing."""
    folder = os.path.dirname(given) or "."
    if not os.path.isdir(folder):
        raise argparse.ArgumentTypeError(f"there is no folder {folder!r}")
    if os.path.isdir(given) or not os.access(given if os.path.exists(given) else folder, os.W_OK):
        raise argparse.ArgumentTypeError(f"{given!r} cannot be written")
    if not given.endswith((".png", ".svg", ".pdf")):
        raise argparse.ArgumentTypeError(f"{given!r} ends in none of .png, .svg, .pdf")
    if util.find_spec("matplotlib") is None:
        raise argparse.ArgumentTypeError("matplotlib is not installed; run pip install matplotlib")
    return given


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dlbridge", description=dlbridge.__doc__.split("\n")[0])
    parser.add_argument("--version", action="version", version=f"dlbridge {dlbridge.__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    commands.add_parser("info", help="print versions and paths").set_defaults(run=lambda _: info())
    path = commands.add_parser("path", help="print one path, for the command lines of builds")
    path.add_argument("what", choices=PATHS)
    path.set_defaults(run=lambda arguments: print(PATHS[arguments.what]()))
    costs = commands.add_parser("bench", help="print what conversions between NumPy and torch cost on this machine")
    costs.add_argument(
        "--sizes", type=_at_least_one, nargs="+", default=list(SIZES), help="the sides of the squares"
    )
    costs.add_argument("--rounds", type=_at_least_one, default=11, help="how often each is timed")
    costs.add_argument("--plot", type=_picture, metavar="FILE.png", help="draw the table, too")
    costs.set_defaults(run=lambda arguments: bench(arguments.sizes, arguments.rounds, arguments.plot))
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
