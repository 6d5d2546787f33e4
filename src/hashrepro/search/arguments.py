"""The command line of searches; `building`, `adding` and `asking` have what it calls, imported when it is called."""

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path

from hashrepro.search.kinds import FAISS, FLAT, PARAMETERS, STORES

INDEX = "an index: its folder, or the key of the run that it was made from; may be left out when there is one only"


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands index, add, search, recall and score; `command(name, function, text)` makes one."""
    sub = command(
        "index",
        _later("building", "index"),
        "make an index of a run's database codes, to be searched by image",
    )
    sub.add_argument(
        "run",
        nargs="?",
        metavar="RUN",
        help="key of the run, for example adsh-fashion-48-s0; or the folder of an index, which is made anew with all "
        "that was added to it, in another kind or store",
    )
    sub.add_argument(
        "--database",
        choices=("learned", "network"),
        help="codes of a run: learned in training (the network's where that set none), or all by the network "
        "(default: learned)",
    )
    sub.add_argument("--store", choices=STORES, default=FAISS, help="(default: %(default)s)")
    sub.add_argument(
        "--kind",
        choices=PARAMETERS,
        default=FLAT,
        help="flat reads every code and is exact; ivf and hnsw read some, and are measured (default: %(default)s)",
    )
    _add_parameters(sub)
    sub.add_argument("--uri", help="lancedb: folder or address of the table, for example s3://bucket/prefix")
    sub.add_argument("--out", type=Path, metavar="DIR", help="(default: indexes/SUITE/RUN)")
    sub.add_argument("-f", "--force", action="store_true", help="replace an index that is there")

    sub = command(
        "add",
        _later("adding", "add"),
        "encode images and add them to an index; only those that it does not have",
    )
    sub.add_argument("index", metavar="INDEX", help="an index: its folder, or the key of its run")
    sub.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="an image, or a folder of images")
    sub.add_argument(
        "--labels",
        type=Path,
        metavar="TABLE",
        help="CSV file with the columns path and labels (names, separated by ;); default: labels are unknown",
    )
    sub.add_argument("--processes", type=_positive, default=1, help="that encode, each on its own GPU if any")
    sub.add_argument("--workers", type=_whole, default=0, help="processes beside each that decode images")
    sub.add_argument(
        "--unreadable",
        choices=("fail", "drop"),
        default="fail",
        help="images that cannot be read: add nothing and name them, or go on without (default: %(default)s)",
    )

    sub = command(
        "search",
        _later("asking", "search"),
        "find the nearest images of an index, by image or by query number",
    )
    sub.add_argument("index", nargs="?", metavar="INDEX", help=INDEX)
    query = sub.add_mutually_exclusive_group(required=True)
    query.add_argument("--image", nargs="+", type=Path, metavar="PATH", help="images to search for")
    query.add_argument(
        "--query", nargs="+", type=_whole, metavar="NUMBER", help="queries of the run's data set, from 0"
    )
    sub.add_argument("-k", type=_positive, default=10, help="hits of each query (default: %(default)s)")
    sub.add_argument(
        "--rerank",
        choices=("query", "both"),
        help="order the nearest anew by the network's real-valued outputs: those of the query against codes, or of "
        "both images",
    )
    sub.add_argument(
        "--candidates",
        type=_positive,
        default=100,
        help="nearest that --rerank orders (default: %(default)s)",
    )
    _add_parameters(sub, at_search=True)
    sub.add_argument("--json", action="store_true", help="print JSON in place of a table")
    sub.add_argument("--html", type=Path, metavar="FILE", help="write a page with the pictures, in one file")
    sub.add_argument("--open", action="store_true", help="open that page in the browser")

    sub = command(
        "recall", _later("asking", "recall"), "measure what an index finds of what an exact search finds"
    )
    sub.add_argument("index", nargs="?", metavar="INDEX", help=INDEX)
    sub.add_argument("-k", nargs="+", type=_positive, default=[1, 10, 100], help="ranks (default: 1 10 100)")
    _add_parameters(sub, at_search=True)
    sub.add_argument("--json", action="store_true", help="print JSON in place of a table")

    sub = command(
        "score",
        _later("asking", "score"),
        "score an index by the run's queries: learned and network-encoded rows apart",
    )
    sub.add_argument("index", nargs="?", metavar="INDEX", help=INDEX)
    sub.add_argument("--json", action="store_true", help="print JSON in place of a table")


def _add_parameters(sub: argparse.ArgumentParser, *, at_search: bool = False) -> None:
    """The parameters of the kinds of index; `at_search`: only those that a search may choose."""
    for kind, parameters in PARAMETERS.items():
        for name, parameter in parameters.items():
            if parameter.at_search or not at_search:
                option = f"--{name.replace('_', '-')}"
                sub.add_argument(option, type=_positive, metavar="N", help=f"{kind}: {parameter.meaning}")


def _later(module: str, name: str) -> Callable[[argparse.Namespace, Path], int]:
    def function(arguments: argparse.Namespace, root: Path) -> int:
        # faiss, pandas and pyarrow, which other commands do without
        return getattr(importlib.import_module(f"hashrepro.search.{module}"), name)(arguments, root)

    return function


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def _positive(text: str) -> int:
    if (value := _whole(text)) == 0:
        raise argparse.ArgumentTypeError("it must be 1 or more")
    return value
