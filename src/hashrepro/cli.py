"""hashrepro: build, look at and check the results of this repository. Run it anywhere inside the repository."""

import argparse
import difflib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hashrepro.errors import UserError
from hashrepro.running.command import add_commands as add_run
from hashrepro.search.arguments import add_commands as add_search
from hashrepro.settings import QUICKSTART, Settings, load_settings, load_with_parts, pipeline_of, suite_file
from hashrepro.tracking.arguments import add_commands as add_tracking

if TYPE_CHECKING:
    from hashrepro.overview import Named

EPILOGUE = """
examples:
  hashrepro repro                     build the quick-start: data, training, codes, scores, report
  hashrepro repro data/dvc.yaml:preprocess@cifar10
                                      fetch and preprocess one data set
  hashrepro show                      print the table of results
  hashrepro report --from-mlflow      rebuild the report from the tracking store alone
  hashrepro check                     check params.yaml before anything runs
  hashrepro plan semicon              say what a paper's tables cost, and what is missing
  hashrepro run semicon --workers 4   build them, four stages at a time
  hashrepro show semicon              print their table
  hashrepro runs check semicon        find tracked runs that belong to no stage, and stages without a run
  hashrepro register adsh-fashion-48-s0
                                      put a run into MLflow's registry, as a model from images to codes
  hashrepro keys semicon              list every key of SEMICON's recipe
  hashrepro data list                 list the data sets, their sizes, terms and state on this machine
  hashrepro data check cub            say what of a data set is there, missing or wrong, file by file
  hashrepro ui                        compare runs in the MLflow UI, on 127.0.0.1
  hashrepro index adsh-fashion-48-s0  make an index of a run's codes
  hashrepro search --image FILE --html found.html
                                      find the nearest images of the index; see docs/search.md
"""


def repository() -> Path:
    """The repository around the working folder.

    Raises:
        UserError: there is none.
    """
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "dvc.yaml").exists() and (folder / "stages").is_dir():
            return folder
    raise UserError(
        "This is not inside a hashrepro repository: no dvc.yaml with stages/ above.",
        where=Path.cwd(),
        mend="cd to your clone of the repository",
    )


def run(*command: str, root: Path) -> int:
    """Run a command in the repository; returns its exit code."""
    return subprocess.call(command, cwd=root)


def repro(arguments: argparse.Namespace, root: Path) -> int:
    check(arguments, root)
    options = ["--force"] if arguments.force else []
    if not arguments.targets and arguments.params != QUICKSTART:
        arguments.targets = [pipeline_of(arguments.params)]
    if arguments.workers > 1:
        from hashrepro.running.building import Where, build

        machine = load_settings(root, arguments.params).machine
        where = Where(arguments.workers)
        if code := build(root, arguments.targets, machine, where, force=arguments.force):
            return code
        options = []  # all that was to be forced has run: DVC only confirms that nothing is left to do
    # waiting for DVC's lock: a `dvc status` in another window must not fail a run that has just finished
    return run("dvc", "--wait-for-lock", "repro", *options, *arguments.targets, root=root)


def check(arguments: argparse.Namespace, root: Path) -> int:
    """Check all values; print what is allowed but worth knowing, before a build only what concerns it."""
    from hashrepro.datasets.base import load_reader, parse_options

    settings = load_settings(root, arguments.params)
    for name, block in settings.datasets.items():
        block.check_keys(name)
        parse_options(name, load_reader(block.reader), block.options)
    for dataset in settings.grid.datasets:
        settings.dataset(dataset)
    used = [(method, dataset) for method in settings.grid.methods for dataset in settings.grid.datasets]
    own = settings.suite.method is None  # names in the grid are then those of recipes
    there = [(m, dataset) for m, recipes in settings.train.items() if own for dataset in recipes]
    recipes = {pair: settings.recipe(*pair) for pair in dict.fromkeys([*used, *there])}
    building = arguments.command in ("repro", "run")
    for method, dataset in used if building else recipes:
        for warning in recipes[method, dataset].warnings():
            print(f"train.{method}.{dataset}: {warning}")
    if (names := without_block(settings)) and not building:
        print(f"recipes for data sets without a block: {', '.join(names)}")
    skipped = misfits(settings)
    for (method, dataset, bits), reason in skipped.items():
        print(f"{method} on {dataset} with {bits} bits will be skipped: {reason}")
    runs = len(settings.grid.runs())
    left_out = len(skipped) * len(settings.grid.seeds)
    print(
        f"{arguments.params} is in order: {runs} runs in the suite {settings.suite.name}"
        + (f", {left_out} of them to be skipped." if left_out else ".")
    )
    return 0


def without_block(settings: Settings) -> list[str]:
    """The data sets that have recipes but no block, each with the data set that it may be a misspelling of."""
    names = sorted({dataset for recipes in settings.train.values() for dataset in recipes})
    close = {name: difflib.get_close_matches(name, settings.datasets, n=1) for name in names}
    return [
        f"{name} (a misspelling of {close[name][0]}?)" if close[name] else name
        for name in names
        if name not in settings.datasets
    ]


def misfits(settings: Settings) -> dict[tuple[str, str, int], str]:
    """(method, data set, bits) -> why, of the cells of the grid whose parts do not fit together."""
    from hashrepro.learning.base import load_method

    grid = settings.grid
    cells = itertools.product(grid.methods, grid.datasets, grid.bits)
    reasons = {
        (method, dataset, bits): load_method(settings.kind(method)).incompatible(
            settings.recipe(method, dataset), bits
        )
        for method, dataset, bits in cells
    }
    return {cell: reason for cell, reason in reasons.items() if reason}


def plan(arguments: argparse.Namespace, root: Path) -> int:
    from hashrepro.planning.plan import plan as print_plan  # DVC, torch

    return print_plan(arguments, root)


def checked(command: Callable[[argparse.Namespace, Path], int]) -> Callable[[argparse.Namespace, Path], int]:
    """A command about the suite `arguments.grid`, after a check of all its values."""

    def function(arguments: argparse.Namespace, root: Path) -> int:
        arguments.params = suite_file(root, arguments.grid)
        check(arguments, root)
        return command(arguments, root)

    return function


def report(arguments: argparse.Namespace, root: Path) -> int:
    whole, *parts = load_with_parts(root, arguments.params)
    code = report_one(whole, root, arguments.from_mlflow, arguments.out)
    # the pages that the first one leads to; from the store alone it has their tables only
    for part in parts:
        if not arguments.from_mlflow and any((root / "runs" / part.suite.name).glob("*/scores.json")):
            out = arguments.out and str(Path(arguments.out) / part.suite.name.rpartition("/")[2])
            code = max(code, report_one(part, root, False, out))
    return code


def report_one(settings: Settings, root: Path, from_mlflow: bool, out: str | None) -> int:
    options = ["--from-mlflow"] if from_mlflow else []
    options += ["--out", out] if out else []
    return run(sys.executable, "stages/report.py", settings.suite.file, *options, root=root)


def show(arguments: argparse.Namespace, root: Path) -> int:
    settings = load_settings(root, arguments.params)
    folder = root / settings.suite.reports
    if not (folder / "results.md").exists():
        mend = "hashrepro repro" if arguments.params == QUICKSTART else f"hashrepro run {settings.suite.name}"
        raise UserError("There are no results yet.", where=folder, mend=mend)
    print((folder / "results.md").read_text(encoding="utf-8"))
    print(f"Pictures, curves and galleries: {folder / 'index.html'}")
    print("Compare runs: make ui   |   Change a value in params.yaml and run: make repro")
    return 0


def named_sets(settings: Settings) -> list["Named"]:
    """(name, block, reader) of every data set in params.yaml."""
    from hashrepro.datasets.base import load_reader

    return [(name, block, load_reader(block.reader)) for name, block in settings.datasets.items()]


def data(arguments: argparse.Namespace, root: Path) -> int:
    return {"list": data_list, "check": data_check, "docs": data_docs}[arguments.what](arguments, root)


def data_list(arguments: argparse.Namespace, root: Path) -> int:
    from hashrepro.delivery.checking import state
    from hashrepro.overview import listing

    settings = load_settings(root, arguments.params)
    raw, processed = root / "data" / "raw", root / "data" / "processed"
    rows = []
    for name, block, reader in named_sets(settings):
        places = settings.archive_places(root, name)
        found = state(reader, block.own_folder(root), raw / name, processed / name, places)
        rows.append((name, block, reader, found))
    print(listing(rows))
    print(
        "Make one: dvc repro data/dvc.yaml:preprocess@NAME   |   Look at its files: hashrepro data check NAME"
    )
    return 0


def data_check(arguments: argparse.Namespace, root: Path) -> int:
    from hashrepro.datasets.base import load_reader, parse_options
    from hashrepro.delivery.checking import Finding, check_archives, check_folder, check_processed, summary
    from hashrepro.delivery.fetching import INVENTORY, changed_since
    from hashrepro.seeds import stream

    settings = load_settings(root, arguments.params)
    name = arguments.name
    block = settings.dataset(name)
    reader = load_reader(block.reader)
    options = parse_options(name, reader, block.options)
    findings, folder = [], block.own_folder(root)
    if folder is None:
        places = [root / "data" / "raw" / name, *settings.archive_places(root, name)]
        findings += check_archives(reader, places)
        folder = root / "work" / "unpacked" / name
    elif (root / "data" / "raw" / name / INVENTORY).exists() and folder.is_dir():
        changed = changed_since(reader, folder, root / "data" / "raw" / name)
        again = f"dvc repro -f data/dvc.yaml:fetch@{name}"
        text = f"{len(changed)} files came, went or changed since the folder was fetched: {again}"
        findings += [Finding(folder / changed[0], "wrong", text)] if changed else []
    if block.folder or folder.is_dir():
        rng = stream(block.seed, "split", block.reader)
        findings += check_folder(reader, folder, options, rng, decode=arguments.decode)
    findings += check_processed(root / "data" / "processed" / name)
    for finding in findings:
        print(finding)
    print(summary(findings))
    return int(any(finding.state in ("missing", "wrong") for finding in findings))


def data_docs(arguments: argparse.Namespace, root: Path) -> int:
    from hashrepro.files import whole
    from hashrepro.overview import fill, section

    path = root / "docs" / "datasets.md"
    text = fill(path, section(named_sets(load_settings(root, arguments.params))))
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(path)
    return 0


def keys(arguments: argparse.Namespace, root: Path) -> int:
    from hashrepro.deviations import keys as keys_of
    from hashrepro.learning.base import load_method

    for key, default, meaning in keys_of(load_method(arguments.method).Recipe):
        print(f"{key}: {default or '(must be given)'}\n    {meaning}")
    return 0


def deviations(arguments: argparse.Namespace, root: Path) -> int:
    from hashrepro.deviations import catalogue, of_datasets, page, read_effects
    from hashrepro.files import whole

    path = root / "docs" / "deviations.md"
    text = page(catalogue(), of_datasets(), read_effects(root / "docs" / "effects.csv"))
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(path)
    return 0


def ui(arguments: argparse.Namespace, root: Path) -> int:
    from hashrepro.tracking.store import shown, store_uri

    if (uri := store_uri(root)).startswith("http"):
        print(f"The runs are on a server: {shown(uri)}")
        return 0
    # the job executor starts a dozen processes that comparing runs has no use for
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    print(f"http://127.0.0.1:{arguments.port}/#/experiments  (Ctrl-C ends it)")
    return run(
        "mlflow", "ui", "--backend-store-uri", uri, "--host", "127.0.0.1",
        "--port", str(arguments.port), "--workers", "1", root=root,
    )  # fmt: skip


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="hashrepro",
        description=__doc__,
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--params",
        default=QUICKSTART,
        metavar="SUITE",
        help="a suite: its name, for example semicon, or its parameter file (default: %(default)s)",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, function, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", parents=[common]
        )
        sub.set_defaults(function=function)
        return sub

    sub = command("repro", repro, "check params.yaml, then build what is out of date (dvc repro)")
    sub.add_argument("targets", nargs="*", help="DVC targets, for example report or data/dvc.yaml:fetch@cub")
    sub.add_argument(
        "-f", "--force", action="store_true", help="build the targets even if they are up to date"
    )
    sub.add_argument(
        "-w",
        "--workers",
        type=int,
        default=1,
        help="stages to run at a time; they share machine.threads (default: %(default)s)",
    )
    sub = command("show", show, "print the table of results and where to look next")
    _add_suite(sub)
    sub = command("report", report, "write the report again from the runs that there are")
    sub.add_argument(
        "--from-mlflow", action="store_true", help="from the tracking store alone, not from runs/"
    )
    sub.add_argument("--out", metavar="DIR", help="folder to write to")
    _add_suite(sub)
    sub = command(
        "check",
        check,
        "check every value of params.yaml, every reader's options and every recipe; say what will be skipped",
    )
    _add_suite(sub)
    sub = command("keys", keys, "list every key of a method's recipe, with its default and meaning")
    sub.add_argument("method", help="for example semicon")
    command(
        "deviations", deviations, "write docs/deviations.md from what the code declares and docs/effects.csv"
    )
    sub = command("data", data, "list the data sets: size, source, terms, state; or check the files of one")
    parts = sub.add_subparsers(dest="what", metavar="WHAT")
    sub.set_defaults(what="list")
    parts.add_parser(
        "list", help="all data sets: size, source, terms, state (what `hashrepro data` alone does)"
    )
    part = parts.add_parser(
        "check", help="what of a data set is there, what is missing, what is wrong, file by file"
    )
    part.add_argument("name", help="for example cub")
    part.add_argument("--decode", action="store_true", help="decode every image whole, not its header alone")
    parts.add_parser("docs", help="write the tables of docs/datasets.md from what the readers declare")
    sub = command("ui", ui, "open the MLflow UI on 127.0.0.1")
    sub.add_argument("--port", type=int, default=5000, help="(default: %(default)s)")
    sub = command(
        "plan", plan, "say what a suite will run, its cost, disk and downloads, and what is missing"
    )
    sub.add_argument("--device", choices=("cuda", "cpu"), help="(default: what this machine has)")
    _add_suite(sub)
    add_run(lambda name, function, text: command(name, checked(function), text))
    add_search(command)
    add_tracking(command)
    return top


def _add_suite(sub: argparse.ArgumentParser) -> None:
    """The suite as a word of its own, as well as --params."""
    # without a default here: argparse would let it overwrite what --params was given
    sub.add_argument(
        "params",
        nargs="?",
        default=argparse.SUPPRESS,
        metavar="GRID",
        help="name of a suite, for example semicon",
    )


def main(words: list[str] | None = None) -> int:
    """The command line's entry point; bad input ends with its message and exit code 2."""
    arguments = parser().parse_args(words)
    # what is started finds this interpreter's dvc, mlflow and python first, whether or not its environment is active
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    try:
        root = repository()
        arguments.params = suite_file(root, arguments.params)
        return arguments.function(arguments, root)
    except UserError as error:
        print(f"hashrepro: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # what was done is kept wherever it can be gone on with
        print("hashrepro: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader has seen enough: hashrepro data | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a file that cannot be read or written; without a name it is a fault of ours
        if error.filename is None:
            raise
        print(f"hashrepro: {UserError(f'{error.strerror}.', where=error.filename)}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
