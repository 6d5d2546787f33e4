"""Ours beside what was published, in words and percent: for Markdown, LaTeX and the page."""

import pandas as pd

from hashrepro.reporting import beside
from hashrepro.reporting.formats import NOT_COMPUTED, NOT_RUN, SKIPPED, percent, to_latex, to_markdown
from hashrepro.reporting.pairs import points

SELECTED = {"last": "last", "best_on_test": "best on test"}
SHOWN = ["data set", "method", "bits", "ours", "seeds", "theirs", "gap", "band", "verdict", "counted"]
SHOWN += ["source", "because"]
MARKS = {"yes": "", "partly": "=", "no": "?"}
NOTES = {
    "Ours": "mean ± sample standard deviation over the seeds that were run, the database with its learned codes, "
    "counted as the source counts: in the reference’s convention (or ours, “headline”), at the last iteration or at "
    "the one that was best on the test queries.",
    "?": "a figure that nobody has verified. The gap is shown; it proves nothing in either direction.",
    "=": "a figure that was not read in the paper, but equals the best value in the authors’ released log: taken for "
    "verified by that log.",
    "Gap": "ours minus theirs, in points of a percentage.",
    beside.WITHIN: "ours lies in the band, which is {tolerance:g} points around the figure unless "
    "data/published/bands.csv has another.",
    beside.ORIENTATION: "other class sets, another split, backbone or recipe: the figures may stand beside each other, "
    "and no verdict follows.",
    beside.NO_FIGURE: "nobody has published one, or none that anybody has read; ours is the headline then, unless the "
    "source’s way of counting is known.",
}


def figure(value: float, verified: str) -> str:
    """A published figure in percent with its mark: ``?`` unverified, ``=`` equal to the authors' log."""
    return percent(value) if pd.isna(value) else f"{percent(value)} {MARKS[verified.split(':')[0]]}".strip()


def ours(row: dict) -> str:
    """Our side of a row: a percentage with its spread, or why there is none."""
    if not row["runs"]:
        return SKIPPED if row["verdict"] == SKIPPED else NOT_RUN
    return percent(row["ours"], row["ours_sd"])


def theirs(row: dict) -> str:
    """The published side of a row, with its mark."""
    return figure(row["published"], row["verified"])


def counted(row: dict) -> str:
    """How both sides of a row count: ``reference, best on test``."""
    return f"{row['convention']}, {SELECTED[row['selected']]}"


def band(row: dict) -> str:
    """Where ours should lie, in percent: ``35.80 to 39.80``."""
    low, high = (row[f"band_{end}"] for end in ("low", "high"))
    return NOT_COMPUTED if pd.isna(low) else f"{100 * low:.2f} to {100 * high:.2f}"


def gap(row: dict) -> str:
    return NOT_COMPUTED if pd.isna(row["gap"]) else points(row["gap"])


def display(table: pd.DataFrame, names: dict[str, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`beside_table` in words: (what can be compared or stands alone, what is for orientation)."""
    shown, rows = [], table.to_dict("records")
    for row in rows:
        cells = {"data set": names.get(row["dataset"], row["dataset"])}
        cells |= {"method": names.get(row["method"], row["method"]), "bits": str(row["bits"])}
        cells |= {"ours": ours(row), "seeds": f"{row['runs']} of {row['seeds']}", "theirs": theirs(row)}
        cells |= {"gap": gap(row), "band": band(row), "verdict": row["verdict"]}
        shown.append(
            cells
            | {"counted": counted(row), "source": row["title"] or NOT_COMPUTED, "because": row["difference"]}
        )
    frame = pd.DataFrame(shown, columns=SHOWN)
    aside = (table["verdict"] == beside.ORIENTATION).to_numpy()
    return frame[~aside].drop(columns="because"), frame[aside].drop(columns=["band", "verdict"])


def tally(table: pd.DataFrame) -> dict[str, int]:
    """How often each verdict was given, those that were, in the order of `beside.VERDICTS`."""
    counts = table["verdict"].value_counts()
    return {verdict: int(counts[verdict]) for verdict in beside.VERDICTS if verdict in counts}


def notes(tolerance: float) -> dict[str, str]:
    """What the columns and marks mean: a text by the word that it explains."""
    return {word: text.format(tolerance=tolerance) for word, text in NOTES.items()}


def markdown(table: pd.DataFrame, names: dict[str, str], tolerance: float) -> str:
    """The whole as Markdown."""
    compared, aside = display(table, names)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in tally(table).items())
    legend = "".join(f"- {word}: {text}\n" for word, text in notes(tolerance).items())
    parts = [f"{len(table)} rows: {counts}.\n", to_markdown(compared)]
    if len(aside):
        parts += ["For orientation, without a verdict:\n", to_markdown(aside)]
    return "\n".join([*parts, legend])


def latex(table: pd.DataFrame, names: dict[str, str]) -> str:
    """A booktabs tabular a data set; those for orientation in tabulars of their own."""
    parts = []
    for frame in display(table, names):
        for title, part in frame.groupby("data set", sort=False):
            parts.append(f"% {title}\n{to_latex(part.drop(columns='data set'))}")
    return "\n".join(parts)
