"""Wide CSV tables for `dvc plots`: one column a run, so that its linear template draws one line a run."""

import numpy as np
import pandas as pd

from hashrepro.reporting.figures import losses, radius_of
from hashrepro.reporting.records import RunRecord

TABLES = ("precision_recall", "precision_at", "per_class", "training", "training_loss", "radius")  # functions
RECALLS = np.linspace(0, 1, 101)


def _wide(columns: dict[str, pd.Series], index: str) -> pd.DataFrame:
    """The columns side by side, one row for each value of their common index."""
    if not columns:
        return pd.DataFrame({index: []})
    # copied: pandas warns of a frame of more than a hundred pieces
    return pd.concat(columns, axis=1).sort_index().copy().rename_axis(index).reset_index()


def precision_at(records: list[RunRecord]) -> pd.DataFrame:
    """`n`, then the precision of the first n of each run, as a fraction; on its headline database."""
    curves = {r.key: r.curves.get((r.headline_database, "precision_at")) for r in records}
    return _wide({key: c.set_index("n")["precision"] for key, c in curves.items() if c is not None}, "n")


def precision_recall(records: list[RunRecord]) -> pd.DataFrame:
    """`recall` in steps of 0.01, then each run's precision there.

    Runs of different code length have their points at different recalls, so the straight line between a run's
    points is read off at common ones. Empty below a run's first point: nothing was measured there.
    """
    columns = {}
    for record in records:
        curve = record.curves.get((record.headline_database, "precision_recall"))
        if curve is not None:
            curve = curve.sort_values(["recall", "radius"]).drop_duplicates("recall")
            precision = np.interp(RECALLS, curve["recall"], curve["precision"], left=np.nan)
            columns[record.key] = pd.Series(precision, index=RECALLS.round(2))
    return _wide(columns, "recall")


def radius(records: list[RunRecord]) -> pd.DataFrame:
    """`run`, `bits`, `radius`, and the run's mean `precision` and `recall` within it, on its headline database."""
    r, rows = radius_of(records), []
    for record in records:
        values = [
            record.score(f"{name}_radius_{r}", record.headline_database) for name in ("precision", "recall")
        ]
        rows.append([record.key, record.bits, r, *values])
    return pd.DataFrame(rows, columns=["run", "bits", "radius", "precision", "recall"])


def per_class(records: list[RunRecord]) -> pd.DataFrame:
    """`class` (its number in its data set), then each run's mAP of that class's queries, as a fraction."""
    curves = {r.key: r.curves.get((r.headline_database, "per_class")) for r in records}
    return _wide({key: c.set_index("class")["map"] for key, c in curves.items() if c is not None}, "class")


def training(records: list[RunRecord]) -> pd.DataFrame:
    """`iteration`, then each run's mAP while training, as a fraction."""
    histories = {r.key: r.history.set_index("iteration") for r in records if "map" in r.history}
    return _wide({key: history["map"] for key, history in histories.items()}, "iteration")


def training_loss(records: list[RunRecord]) -> pd.DataFrame:
    """`iteration`, then each run's total loss."""
    histories = {r.key: r.history.set_index("iteration") for r in records if losses(r.history)}
    return _wide({key: history[losses(history)[0]] for key, history in histories.items()}, "iteration")
