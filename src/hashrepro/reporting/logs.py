"""The authors' training logs: what a run of theirs ended with, how long it took, and how it got there."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from hashrepro.reporting.sources import Sources

# Under these names the logs stand in sources.csv: the authors' own of 2022, and the later re-run of the public code.
LAST = "SEMICON authors released training logs (last iteration)"
AGAIN = "DSH_Analysis (same first author) README, seen@seen, 5% classes held out"
TIME_COLUMNS = ["dataset", "method", "bits", "seconds", "difference", "note"]
CURVE_COLUMNS = ["dataset", "method", "bits", "iteration", "map"]


def read_logs(folder: Path, sources: Sources, names: Mapping[str, str]) -> list[dict]:
    """The finished runs of the public code, a row a run, with what `Sources.resolved` adds.

    Beside the columns of semicon_logs.csv each has those of a figure: `paper`, `label`, `dataset` (by `names`),
    `method`, `map` (fraction, of the last iteration), `source`, `verified`.
    """
    logs = pd.read_csv(folder / "semicon_logs.csv")
    logs = logs[logs["completed"] & logs["method"].str.match(r"SEMICON($| \()")].drop(columns="note")
    share = logs["protocol"].str.extract(r"first (\d+ of \d+ classes)")[0]
    logs = logs.assign(
        label=logs["dataset"].where(share.isna(), logs["dataset"] + " (" + share + ")"),
        paper=share.isna().map({True: LAST, False: AGAIN}),
        map=logs["final_map_pct"] / 100,
        source=logs["repo"] + " " + logs["log"],
    )
    known = logs[logs["label"].isin(list(names))]
    rows = known.assign(dataset=known["label"].map(names), method="SEMICON", verified="yes").to_dict(
        "records"
    )
    return [sources.resolved(row) for row in rows]


def figures(logs: list[dict]) -> list[dict]:
    """What the authors' own runs ended with: the files of figures have only the best of each."""
    return [row for row in logs if row["paper"] == LAST]


def times(logs: list[dict]) -> pd.DataFrame:
    """How long each run took: columns `TIME_COLUMNS`, `method` by our name."""
    rows = [row | {"method": row["ours"], "seconds": row["training_time_s"]} for row in logs]
    return pd.DataFrame(rows, columns=TIME_COLUMNS)


def read_curves(folder: Path, logs: list[dict]) -> pd.DataFrame:
    """The mAP of every evaluated iteration of the runs in `logs`: `CURVE_COLUMNS`, `method` by our name."""
    curves = pd.read_csv(folder / "semicon_log_curves.csv")[["run_id", "iter", "map_pct"]].dropna()
    runs = pd.DataFrame(logs, columns=["run_id", "dataset", "ours", "bits", "difference"])
    curves = curves.merge(runs[runs["difference"] == ""], on="run_id")
    curves = curves.rename(columns={"iter": "iteration", "ours": "method"}).assign(
        map=curves["map_pct"] / 100
    )
    return curves[CURVE_COLUMNS]
