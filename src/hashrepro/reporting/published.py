"""The papers' and the authors' figures: in one unit, with a mark on what nobody has verified."""

from pathlib import Path

import pandas as pd

from hashrepro.errors import UserError

COLUMNS = ["paper", "dataset", "method", "bits", "map", "source", "verified"]


def read_published(path: Path, datasets: dict[str, str]) -> pd.DataFrame:
    """Read a file of published figures, for the data sets of this project only.

    Args:
        path: CSV with the columns paper, dataset, method, bits, map, source, verified ("yes", or "no" or
            "partly" with an optional reason after a colon); `map` in
            percent or as a fraction, one unit in a file: a file with any value above 1 is in percent.
        datasets: the file's name of a data set -> this project's name of it; others are left out.

    Returns:
        The same columns, `map` as a fraction, `verified` as it was, in the file's order.

    Raises:
        UserError: a column is missing, a figure is not a number in range, or `verified` says something else.
    """
    mend = f"give every row of the file the columns {', '.join(COLUMNS)}"
    frame = pd.read_csv(path, dtype={"verified": str}, keep_default_na=False)
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise UserError(f"no column {', '.join(missing)}", where=path, mend=mend)
    figures = pd.to_numeric(frame["map"], errors="coerce")
    wrong = frame.index[~figures.between(0, 100) | ~frame["verified"].str.match(r"(yes|no|partly)(:|$)")]
    if len(wrong):
        found = frame.loc[wrong[0], ["map", "verified"]].to_dict()
        raise UserError(f"not a figure with its mark: {found}", where=f"{path}:{wrong[0] + 2}", mend=mend)
    frame["map"] = figures / 100 if figures.max() > 1 else figures
    frame = frame[frame["dataset"].isin(list(datasets))][COLUMNS]
    return frame.assign(dataset=frame["dataset"].map(datasets)).reset_index(drop=True)
