"""The command line of `hashrepro run`."""

import argparse
import subprocess
from collections.abc import Callable
from pathlib import Path

from hashrepro.errors import UserError
from hashrepro.settings import load_with_parts, pipeline_of, suite_file

ENGINES = ("local", "dask")


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command run; `command(name, function, text)` makes one."""
    sub = command(
        "run", run, "build a suite's grid, several stages at a time, one GPU each; or on a Dask cluster"
    )
    sub.add_argument(
        "grid", metavar="GRID", help="name of a suite, for example semicon; or its parameter file"
    )
    sub.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help="stages of the suite, with all that they need: train@semicon-cub-12-0 or '*@semicon-cub-*'; report needs "
        "the whole grid, `hashrepro report GRID` writes one of what there is (default: all)",
    )
    sub.add_argument(
        "-w",
        "--workers",
        type=_positive,
        metavar="N",
        help="stages at a time, which share machine.threads (default: one for each GPU, or 1)",
    )
    sub.add_argument(
        "--engine",
        choices=ENGINES,
        default="local",
        help="local: threads of this process; dask: processes of a Dask cluster (default: %(default)s)",
    )
    sub.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="join the Dask cluster at this address, for example tcp://head:8786; see docs/many-machines.md",
    )
    sub.add_argument(
        "--remote",
        metavar="NAME",
        help="with --scheduler: its workers have clones of their own, and share what they make by this DVC remote",
    )
    sub.add_argument(
        "--clone",
        metavar="PATH",
        help="with --remote: the clone on every worker (default: the folder that the worker was started in)",
    )
    sub.add_argument(
        "--memory-per-stage",
        type=_gigabytes,
        metavar="GB",
        help="memory that a stage needs: none is started beside others with less than this to spare (default: as in "
        "earlier runs; before there are any 2 for train and encode, 1 for others)",
    )
    sub.add_argument(
        "-f", "--force", action="store_true", help="build the targets even if they are up to date"
    )


def run(arguments: argparse.Namespace, root: Path) -> int:
    from hashrepro.planning.costs import stage_seconds
    from hashrepro.running.building import Estimates, Where, build
    from hashrepro.running.stages import GLOB

    require_sense(arguments)
    suites = load_with_parts(root, suite_file(root, arguments.grid))
    machine, planned = suites[0].machine, {}
    for settings in suites:
        planned |= stage_seconds(root, settings, "cuda")
    targets = suite_targets(suites[0].suite.file, arguments.targets)
    if not arguments.targets:  # the pages of the parts; their runs are in the suite's own report, too
        targets += [settings.suite.pipeline for settings in suites[1:]]
    estimates = Estimates.of_earlier_runs(root, planned)
    if arguments.memory_per_stage:
        estimates = Estimates(estimates.cost, lambda stage: int(1e9 * arguments.memory_per_stage))
    where = Where(arguments.workers, arguments.engine, arguments.scheduler, arguments.remote, arguments.clone)
    if code := build(root, targets, machine, where, estimates, force=arguments.force):
        return code
    options = ["--pull"] if arguments.remote else []
    options += ["--glob"] if any(map(GLOB.search, targets)) else []
    # DVC has the last word: it finds that nothing is left to do
    return subprocess.call(["dvc", "--wait-for-lock", "repro", *options, *targets], cwd=root)


def require_sense(arguments: argparse.Namespace) -> None:
    """Refuse options that would do nothing. UserError: there are such."""
    needs = {"remote": "scheduler", "clone": "remote"}
    for option, needed in needs.items():
        if getattr(arguments, option) and not getattr(arguments, needed):
            raise UserError(
                f"--{option} does nothing without --{needed}.", mend=f"give --{needed} too, or leave it out"
            )
    if arguments.scheduler and arguments.workers:
        raise UserError(
            "--workers does nothing with --scheduler: that cluster has the workers that have joined it.",
            mend="leave it out, or leave --scheduler out",
        )


def suite_targets(file: str, names: list[str]) -> list[str]:
    """DVC's targets for stages of a suite, seen from the repository.

    Args:
        file: the suite's parameter file, which lies beside its dvc.yaml.
        names: stages of the suite, or whole targets (with a file and a colon); none: all of the suite.
    """
    pipeline = pipeline_of(file)
    return [name if ":" in name else f"{pipeline}:{name}" for name in names] or [pipeline]


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _gigabytes(text: str) -> float:
    try:
        if 0 < (value := float(text)) < float("inf"):
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of GB above 0")
