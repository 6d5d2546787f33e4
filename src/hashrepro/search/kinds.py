"""The kinds of index, their parameters, and which store has which."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isqrt

from hashrepro.errors import UserError

FAISS, LANCEDB = "faiss", "lancedb"
FLAT, IVF, HNSW = "flat", "ivf", "hnsw"
STORES = {FAISS: (FLAT, IVF, HNSW), LANCEDB: (FLAT, IVF)}


@dataclass(frozen=True)
class Parameter:
    """A whole number that shapes an index.

    Attributes:
        meaning: one line for a command's help.
        default: from the number of rows that the index is built with.
        at_search: whether it acts when searching, so that a search may choose another value.
        least: smallest allowed value.
    """

    meaning: str
    default: Callable[[int], int]
    at_search: bool
    least: int = 1


# What faiss calls nlist and nprobe; M, efConstruction and efSearch. A list should be trained on 39 codes or more.
PARAMETERS: dict[str, dict[str, Parameter]] = {
    FLAT: {},
    IVF: {
        "lists": Parameter(
            "clusters that the codes are sorted into (default: the square root of the rows)",
            lambda n: max(1, min(isqrt(n), n // 39)),
            at_search=False,
        ),
        "probes": Parameter(
            "nearest clusters that a search reads (default: 32)", lambda n: 32, at_search=True
        ),
    },
    HNSW: {
        "links": Parameter("neighbours that a row is linked to (default: 32)", lambda n: 32, False, least=2),
        "build_effort": Parameter(
            "rows looked at to find them while building (default: 80)", lambda n: 80, at_search=False
        ),
        "search_effort": Parameter(
            "rows that a search keeps on its way, at least k (default: 200)", lambda n: 200, at_search=True
        ),
    },
}


def check_kind(store: str, kind: str) -> None:
    """UserError for an unknown store or a kind that it does not have."""
    if store not in STORES:
        raise UserError(
            f"There is no store '{store}'.", where="store", mend=f"choose one of {', '.join(STORES)}"
        )
    if kind not in STORES[store]:
        raise UserError(
            f"The store {store} has no kind '{kind}'.",
            where="kind",
            mend=f"choose one of {', '.join(STORES[store])}",
        )


def resolve(store: str, kind: str, given: Mapping[str, int], rows: int) -> dict[str, int]:
    """Every parameter of a kind: as given, or its default for an index of `rows` rows.

    Raises:
        UserError: an unknown store, kind or parameter, or a value out of range.
    """
    check_kind(store, kind)
    _check(kind, given)
    values = {name: given.get(name, parameter.default(rows)) for name, parameter in PARAMETERS[kind].items()}
    if values.get("lists", 0) > rows:
        raise UserError(
            f"{rows} rows cannot be sorted into {values['lists']} lists.",
            where="lists",
            mend=f"give at most {rows}",
        )
    if "probes" in values and "probes" not in given:
        values["probes"] = min(values["probes"], values["lists"])
    return values


def at_search(kind: str, stored: Mapping[str, int], given: Mapping[str, int]) -> dict[str, int]:
    """The stored parameters with those `given` for one search.

    Raises:
        UserError: an unknown one, one that acts only when building, or a value out of range.
    """
    _check(kind, given)
    if fixed := [name for name in given if not PARAMETERS[kind][name].at_search]:
        raise UserError(
            f"{fixed[0]} was fixed when the index was built.",
            where=fixed[0],
            mend="build the index again with --force",
        )
    return {**stored, **given}


def _check(kind: str, given: Mapping[str, int]) -> None:
    known = PARAMETERS[kind]
    for name, value in given.items():
        if name not in known:
            raise UserError(
                f"An index of kind {kind} has no parameter {name}.",
                where=name,
                mend=f"it has {', '.join(known)}" if known else "leave it out: an exact index has none",
            )
        if isinstance(value, bool) or not isinstance(value, int) or value < known[name].least:
            raise UserError(
                f"{name} is {value!r}.", where=name, mend=f"give a whole number >= {known[name].least}"
            )
