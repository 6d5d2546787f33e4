"""The command line around the tracking store; `commands` has what it calls, imported when it is called."""

import argparse
from collections.abc import Callable
from pathlib import Path


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands runs and register; `command(name, function, text)` makes one."""
    sub = command("runs", _later("runs"), "list, check or complete the runs of a suite in the tracking store")
    sub.add_argument(
        "what",
        choices=("list", "check", "adopt"),
        help="list: all that are tracked; check: what is tracked and belongs to no cell of the grid, and what is built "
        "and not tracked (exit code 1 if there is any; nothing is deleted); adopt: log from runs/ what the store lacks",
    )
    sub.add_argument(
        "grid",
        nargs="?",
        metavar="GRID",
        help="a suite with its parts, for example semicon (default: the quick-start)",
    )

    sub = command(
        "register", _later("register"), "register the network of a finished run as a model of MLflow"
    )
    sub.add_argument("run", nargs="?", metavar="RUN", help="key of the run, for example adsh-fashion-48-s0")
    sub.add_argument(
        "--suite", metavar="GRID", help="its suite, for example semicon (default: the quick-start)"
    )
    sub.add_argument("--name", help="name of the model (default: the run's method, data set and bits)")


def _later(name: str) -> Callable[[argparse.Namespace, Path], int]:
    def function(arguments: argparse.Namespace, root: Path) -> int:
        from hashrepro.tracking import commands  # pandas and pyarrow, which other commands do without

        return getattr(commands, name)(arguments, root)

    return function
