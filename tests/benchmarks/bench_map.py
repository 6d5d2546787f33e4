"""Mean average precision over the full ranking at the sizes of the papers' data sets.

Codes have 48 bits and are clustered by class. plain: a torch loop over queries. Rows named after a library have that
library in plain's place; ours is the same.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import plain_map as plain
import torch
from harness import Row, compare, wanted
from torch import Tensor

from hashrepro.retrieval.average_precision import per_query
from hashrepro.retrieval.codes import Codes
from hashrepro.retrieval.conventions import ADSH, EXPECTED, Convention

BITS = 48
FLIPPED = 0.25  # of a class's bits in each of its codes
LIBRARIES = {"torchmetrics": plain.torchmetrics_map, "ranx": plain.ranx_map}


@dataclass(frozen=True)
class Size:
    """Queries, database rows, classes, mean labels of an image, and queries that plain and the libraries are given."""

    queries: int
    database: int
    classes: int
    labels: float
    plain: int
    torchmetrics: int = 0
    ranx: int = 0


SIZES = {
    "map_cub": Size(5_794, 5_994, 200, 1, 300, 100, 10),
    "map_nabirds": Size(24_633, 23_929, 555, 1, 40, 20, 2),
    "map_food101": Size(25_250, 75_750, 101, 1, 30, 10, 1),
    "map_nuswide": Size(2_100, 193_734, 21, 2.5, 12, 4, 1),
    "map_cifar10": Size(10_000, 50_000, 10, 1, 40, 10, 1),
    "map_million": Size(10_000, 1_000_000, 100, 1, 3),
}


def rows() -> Iterator[Row]:
    for name, size in SIZES.items():
        libraries = [library for library in LIBRARIES if getattr(size, library)]
        names = [name, f"{name}_file_order", f"{name}_numpy", *(f"{name}:{library}" for library in libraries)]
        if not wanted(*names):
            continue
        sides = _sides(size)
        if wanted(name):
            yield _row(name, sides, plain.average_precisions, size.plain, _between(sides, size.plain))
        if name == "map_food101" and wanted(f"{name}_file_order"):
            form = partial(plain.average_precisions, stable=True)
            yield _row(f"{name}_file_order", sides, form, size.plain, _same, rule=ADSH)
        if name == "map_cub" and wanted(f"{name}_numpy"):
            check = _between(sides, size.plain)
            yield _row(f"{name}_numpy", sides, plain.average_precisions, size.plain, check, engine="numpy")
        for library in libraries:
            if wanted(f"{name}:{library}"):
                queries = getattr(size, library)
                yield _row(f"{name}:{library}", sides, LIBRARIES[library], queries, _between(sides, queries))


def _sides(size: Size) -> tuple[Codes, Codes, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 2, (size.classes, BITS), dtype=np.int8)

    def side(n: int) -> tuple[Codes, np.ndarray]:
        of = rng.integers(0, size.classes, n)
        values = centres[of] ^ (rng.random((n, BITS), dtype=np.float32) < FLIPPED)
        labels = rng.random((n, size.classes), dtype=np.float32) < (size.labels - 1) / size.classes
        labels[np.arange(n), of] = True
        return Codes.pack(2 * values - 1), labels

    (query, query_labels), (database, database_labels) = side(size.queries), side(size.database)
    return query, database, query_labels, database_labels


def _row(
    name: str,
    sides: tuple,
    plain_form: Callable[..., Tensor | float],
    plain_queries: int,
    check: Callable,
    *,
    rule: Convention = EXPECTED,
    engine: str = "numba",
) -> Row:
    floats = [torch.from_numpy(codes.unpack()).float() for codes in sides[:2]]
    floats += [torch.from_numpy(labels).float() for labels in sides[2:]]
    floats[0], floats[2] = floats[0][:plain_queries], floats[2][:plain_queries]
    return compare(
        name,
        lambda: per_query({"map": rule}, *sides, engine=engine)["map"],
        lambda: plain_form(*floats),
        unit="us per query",
        ours_items=len(sides[0]),
        plain_items=plain_queries,
        check=check,
    )


def _same(ours: np.ndarray, plain_: Tensor) -> None:
    """Equal up to the float32 sums of the plain form."""
    np.testing.assert_allclose(ours[: len(plain_)], plain_.numpy(), rtol=2e-5, atol=1e-7)


def _between(sides: tuple, queries: int) -> Callable[[np.ndarray, Tensor | float], None]:
    """Our mean and the other, whose ties are in any order, lie between those of the worst and the best order."""
    query, database, query_labels, database_labels = sides
    some = query[:queries], database, query_labels[:queries], database_labels
    rules = {ties: Convention(ties, "all_relevant", "zero", None) for ties in ("worst", "best")}

    def check(ours: np.ndarray, other: Tensor | float) -> None:
        found = per_query(rules, *some)
        for mean in (ours[:queries].mean(), float(torch.as_tensor(other).mean())):
            assert found["worst"].mean() - 1e-5 <= mean <= found["best"].mean() + 1e-5, mean

    return check
