"""What the runs cost: hours by device, memory, codes a second; beside the time in the authors' logs."""

import pandas as pd

from hashrepro.reporting import beside
from hashrepro.reporting.formats import NOT_COMPUTED, NOT_RUN, SKIPPED
from hashrepro.reporting.published import Published
from hashrepro.reporting.records import Grid, RunRecord
from hashrepro.reporting.tables import skip_reason, spread

COLUMNS = [
    "dataset",
    "method",
    "bits",
    "runs",
    "seeds",
    "skipped",
    "device",
    "processes",
    "train_seconds",
    "encode_seconds",
]
COLUMNS += [
    "hours",
    "peak_memory_mb",
    "peak_gpu_memory_mb",
    "codes_per_second",
    "their_seconds",
    "ratio",
    "their_device",
    "difference",
]


def cost_table(
    records: list[RunRecord], grid: Grid, table: pd.DataFrame, published: Published
) -> pd.DataFrame:
    """The cost of every cell of the grid: a row a data set × method × bits, columns `COLUMNS`.

    `train_seconds`, `encode_seconds` and `codes_per_second` are means over the `runs`, `peak_memory_mb` and
    `peak_gpu_memory_mb` the greatest of them; `hours` of `device` is the sum over the runs of training and encoding,
    times the processes that shared a run; `skipped`: why there are none. `their_seconds` is the training time in the
    authors' log (NaN: none), `ratio` ours ÷ theirs, and `difference` says what the two do not have in common by the
    logs; there is no ratio then, nor where no figure of theirs can be compared by the `beside_table` (`table`).
    """
    rows = []
    for dataset in grid.datasets:
        for method in grid.methods:
            for bits in grid.bits:
                runs = [r for r in records if (r.dataset, r.method, r.bits) == (dataset, method, bits)]
                cell = {"dataset": dataset, "method": method, "bits": bits, "runs": len(runs)}
                cell |= {"seeds": len(grid.seeds), **_ours(runs)}
                cell["skipped"] = "" if runs else skip_reason(grid, dataset, method, bits)
                rows.append(cell | _theirs(cell, table, published))
    return pd.DataFrame(rows, columns=COLUMNS)


def _ours(runs: list[RunRecord]) -> dict:
    abouts = [run.about for run in runs]
    processes = [about.get("processes", 1) for about in abouts]
    parts = [[(a.get("seconds") or {}).get(part) for a in abouts] for part in ("train", "encode")]
    known = [pair for pair in zip(*parts, processes, strict=True) if None not in pair]
    peaks = {
        name: max((a[name] for a in abouts if name in a), default=float("nan"))
        for name in ("peak_memory_mb", "peak_gpu_memory_mb")
    }
    return {
        "device": ", ".join(dict.fromkeys(a.get("device", "") for a in abouts)),
        "processes": ", ".join(dict.fromkeys(map(str, processes))),
        "train_seconds": spread([train for train, _, _ in known])[0],
        "encode_seconds": spread([encode for _, encode, _ in known])[0],
        "hours": sum((train + encode) * several for train, encode, several in known) / 3600,
        **peaks,
        "codes_per_second": spread([a["codes_per_second"] for a in abouts if "codes_per_second" in a])[0],
    }


def _theirs(cell: dict, table: pd.DataFrame, published: Published) -> dict:
    """The authors' time for a cell: of their own run where there is a log of one, else of the later re-run.

    Without a ratio where the logs are of other class sets, or where no figure of theirs can be compared with ours.
    """
    times = published.times
    place = (
        times[["dataset", "method", "bits"]] == [cell[name] for name in ("dataset", "method", "bits")]
    ).all(axis=1)
    nothing = {"their_seconds": float("nan"), "ratio": float("nan"), "their_device": "", "difference": ""}
    if not place.any():
        return nothing
    log = times[place].sort_values("difference", kind="stable").iloc[0]
    here = table[(table["dataset"] == cell["dataset"]) & (table["method"] == cell["method"])]
    same = not here["verdict"].isin([beside.ORIENTATION, beside.NO_FIGURE]).all()
    return {
        "their_seconds": log["seconds"],
        "ratio": cell["train_seconds"] / log["seconds"] if same and not log["difference"] else float("nan"),
        "their_device": log["note"],
        "difference": log["difference"],
    }


def on_cpu(device: str) -> bool:
    return device.lower().startswith("cpu")


def totals(table: pd.DataFrame) -> dict[str, float]:
    """Device -> hours of all runs on it, of a `cost_table`."""
    run = table[table["runs"] > 0]
    return run.groupby("device", sort=False)["hours"].sum().to_dict()


def total_text(table: pd.DataFrame) -> str:
    """The suite's cost in a sentence: hours by device, GPU-hours told apart from CPU-hours."""
    parts = [
        f"{hours:,.1f} {'CPU' if on_cpu(device) else 'GPU'}-hours on {device or 'a device that no run names'}"
        for device, hours in totals(table).items()
    ]
    runs, wanted = int(table["runs"].sum()), int(table.loc[table["skipped"] == "", "seeds"].sum())
    return f"{runs} of {wanted} runs: {' and '.join(parts) or 'nothing yet'}."


def duration(seconds: float) -> str:
    """A time for people: ``96 s``, ``34 min`` or ``10.9 h``."""
    if pd.isna(seconds):
        return NOT_COMPUTED
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def display_cost(table: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    """`cost_table` in words; a cell that was not run says so."""

    def number(value: float, form: str) -> str:
        return NOT_COMPUTED if pd.isna(value) else form.format(value)

    shown = []
    for row in table.to_dict("records"):
        cells = {"data set": names.get(row["dataset"], row["dataset"])}
        cells |= {"method": names.get(row["method"], row["method"]), "bits": str(row["bits"])}
        cells |= {"runs": f"{row['runs']} of {row['seeds']}"}
        cells |= {"training": duration(row["train_seconds"]), "encoding": duration(row["encode_seconds"])}
        cells |= {"hours, all runs": number(row["hours"] or float("nan"), "{:,.2f}")}
        cells |= {"peak memory, MB": number(row["peak_memory_mb"], "{:,.0f}")}
        cells |= {"GPU memory, MB": number(row["peak_gpu_memory_mb"], "{:,.0f}")}
        cells |= {"codes/s": number(row["codes_per_second"], "{:,.0f}")}
        cells |= {
            "device": row["device"]
            or (NOT_COMPUTED if row["runs"] else SKIPPED if row["skipped"] else NOT_RUN)
        }
        cells |= {"theirs": duration(row["their_seconds"]), "ours ÷ theirs": number(row["ratio"], "{:.2f}")}
        note = "; ".join(filter(None, [row["their_device"], row["difference"]]))
        shown.append(cells | {"note": note or NOT_COMPUTED})
    frame = pd.DataFrame(shown, columns=SHOWN)
    # only runs on a GPU have it
    return frame if table["peak_gpu_memory_mb"].notna().any() else frame.drop(columns="GPU memory, MB")


SHOWN = ["data set", "method", "bits", "runs", "training", "encoding", "hours, all runs", "peak memory, MB"]
SHOWN += ["GPU memory, MB", "codes/s", "device", "theirs", "ours ÷ theirs", "note"]
NOTE = (
    "Training and encoding: mean over the runs, of the process that ended the run: a run that was broken off and went "
    "on has what came after. Hours: of the device, over all runs, training and encoding together. Peak memory: of the "
    "main memory. Theirs: the training time in the authors’ log, with its device; no ratio where the data were others."
)
