"""Conventions of average precision, by name: what a published figure means by "mAP"."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from hashrepro.errors import UserError
from hashrepro.retrieval.codes import Codes

TIES = {
    "expected": "ties in random order (exact expectation)",
    "best": "ties with the relevant first",
    "worst": "ties with the relevant last",
    "file_order": "ties in database file order",
}
NORMALISERS = {
    "retrieved": "divided by the relevant items retrieved",
    "all_relevant": "divided by all relevant items",
    "min_k": "divided by the smaller of list length and relevant items",
}
NO_HIT = {"zero": "queries without a hit count 0", "skip": "queries without a hit are left out"}
UNCODED = {"rank": "at half the greatest distance", "drop": "left out of the database"}
DROP_LAST = "drop_last"


def check(name: str, value: str, known: dict[str, str]) -> None:
    """UserError when `value` is not among the `known` values of the option `name`."""
    if value not in known:
        raise UserError(
            f"'{value}' is not a value of {name}.", where=name, mend=f"choose one of {', '.join(known)}"
        )


def list_length(top_k: int | str | None, database: int) -> int:
    """How many ranks `top_k` keeps of a database: None: all, "drop_last": all but one, a number: at most it.

    Raises:
        UserError: anything else, among them -1 and 0.
    """
    if top_k is None:
        return database
    if top_k == DROP_LAST:
        return database - 1
    if isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1:
        raise UserError(
            f"A ranked list cannot be cut off at {top_k!r}.",
            where="top_k",
            mend=f'give a number >= 1, null for the whole ranking, or "{DROP_LAST}" for all but the last',
        )
    return min(top_k, database)


@dataclass(frozen=True)
class Convention:
    """One definition of average precision.

    Attributes:
        ties: "expected", "best", "worst" or "file_order".
        normaliser: what the sum of precisions is divided by: "retrieved", "all_relevant" or "min_k".
        no_hit: a query whose divisor is 0 counts as "zero" or is left out ("skip").
        top_k: length of the ranked list; None for the full ranking; "drop_last" for all but the last item,
            which is what the slice [:-1] of a reference implementation with topk = -1 keeps.
    """

    ties: str
    normaliser: str
    no_hit: str
    top_k: int | str | None

    def __post_init__(self) -> None:
        check("ties", self.ties, TIES)
        check("normaliser", self.normaliser, NORMALISERS)
        check("no_hit", self.no_hit, NO_HIT)
        list_length(self.top_k, database=1)

    def describe(self) -> str:
        """One line of text for a table or page."""
        if self.top_k is None:
            ranking = "full ranking"
        elif self.top_k == DROP_LAST:
            ranking = "full ranking without its last item"
        else:
            ranking = f"first {self.top_k} ranks"
        words = (TIES[self.ties], NORMALISERS[self.normaliser], NO_HIT[self.no_hit])
        return f"mAP over the {ranking}; " + "; ".join(words)


# The headline. Over the full ranking every relevant item is retrieved, so the normalisers agree.
EXPECTED = Convention("expected", "all_relevant", "zero", None)
# SEMICON's evaluation with its default topk = -1 (SEMICON, ECCV 2022, authors' code).
REFERENCE_SEMICON = Convention("file_order", "retrieved", "zero", DROP_LAST)
# SCHN's evaluation on CIFAR-10, topk = -1; with top_k = 5000 on NUS-WIDE and Flickr (MM Asia 2021).
REFERENCE_SCHN = Convention("file_order", "retrieved", "zero", DROP_LAST)

# Where the code bases below sort without saying how ties are to be ordered, file order stands for "any order".
# ADSH, AAAI 2018: github.com/jiangqy/ADSH-AAAI2018, utils/calc_hr.py and callMap.m. The whole ranking, on NUS-WIDE also
# the first 5000 ranks. MATLAB's sort is stable; numpy's argsort as called is not.
ADSH = Convention("file_order", "retrieved", "zero", None)
# FISH: github.com/chenzhenduo/FISH, calc_map_k in utils.py, called without k: the same definition as ADSH's. (Its k,
# which nothing there uses, would keep the first k relevant items, not the first k ranks.) torch.sort, not stable.
FISH = Convention("file_order", "retrieved", "zero", None)
# THULAB: github.com/thuml/HashNet, mean_average_precision(params, R). R = 5000 on NUS-WIDE and COCO, 1000 on ImageNet.
# A query without a hit among the R is not averaged, which raises the mean. There the queries' outputs are real numbers,
# and in the PyTorch version the database's, too, so that few rows tie; binary codes tie often.
THULAB = Convention("file_order", "retrieved", "skip", 5000)
# trec_eval's map: github.com/usnistgov/trec_eval, m_map.c, form_res_rels.c and trec_eval.c. All retrieved ranks (-M is
# unlimited; a TREC run has 1000), queries without relevance judgements are left out. Ties in descending order of the
# document's name: the database's order if names descend with the row.
TREC = Convention("file_order", "all_relevant", "skip", None)

NAMED = {
    "expected": EXPECTED,
    "semicon": REFERENCE_SEMICON,
    "schn": REFERENCE_SCHN,
    "adsh": ADSH,
    "fish": FISH,
    "thulab": THULAB,
    "trec": TREC,
}


def convention(name: str, top_k: int | str | None = None) -> Convention:
    """The convention called `name`; a `top_k` other than None replaces its own. UserError: unknown name."""
    check("convention", name, NAMED)
    return NAMED[name] if top_k is None else replace(NAMED[name], top_k=top_k)


def cut_lengths(conventions: Iterable[Convention], database: int) -> list[int]:
    """The lengths, ascending, that rankings in file order must be cut at while they are scanned."""
    return sorted({list_length(rule.top_k, database) for rule in conventions if rule.ties == "file_order"})


def searched_rows(database: Codes, uncoded: str) -> np.ndarray:
    """int64 (m,): the database rows that a search ranks: all ("rank"), or only those with a code ("drop").

    Raises:
        UserError: `uncoded` is neither, or no row has a code.
    """
    check("uncoded", uncoded, UNCODED)
    rows = np.flatnonzero(database.coded) if uncoded == "drop" else np.arange(len(database))
    if len(database) and not len(rows):
        raise UserError(
            "No database row has a code.", where="uncoded: drop", mend="train longer, or rank them"
        )
    return rows
