"""Published figures and runs without pictures, for tests of what stands beside what."""

import pandas as pd

from hashrepro.reporting.published import RESOLVED, Published
from hashrepro.reporting.records import RunRecord

FIGURE = {
    "paper": "The paper",
    "title": "paper",
    "dataset": "cub",
    "label": "CUB",
    "method": "SEMICON",
    "ours": "semicon",
    "bits": 12,
    "map": 0.4,
    "source": "Table 1",
    "verified": "yes",
    "backbone": "",
    "selected": "best_on_test",
    "convention": "reference",
    "note": "",
    "queries": float("nan"),
    "database": float("nan"),
    "ranks": "",
    "difference": "",
}


def figures(*changes: dict, **more) -> Published:
    """A Published of figures that differ from `FIGURE` by `changes`; `more`: its other fields."""
    return Published(pd.DataFrame([FIGURE | change for change in changes], columns=RESOLVED), **more)


def run(value: float, method="semicon", dataset="cub", bits=12, seed=0, **about) -> RunRecord:
    """A run whose scores all differ: `value` is its reference mAP, best on test; that of the last is 1 point lower."""
    scores = {
        "last": {"learned": {"map": value - 0.02, "map_reference": value - 0.01}},
        "best_on_test": {"learned": {"map": value - 0.015, "map_reference": value}},
    }
    return RunRecord("s", method, dataset, bits, seed, scores, about)
