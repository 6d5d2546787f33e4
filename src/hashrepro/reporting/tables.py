"""From records to tables: one row a method, data set and code length; mean and spread over seeds."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from hashrepro.reporting.records import MEASURES, Grid, RunRecord, in_order, run_key

NOT_RUN = "not run"
SKIPPED = "skipped"
NOT_COMPUTED = "–"
RUN_COLUMNS = ["run", "dataset", "method", "bits", "seed", "selected", "database"]
LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)


def titles(records: list[RunRecord], kind: str) -> dict[str, str]:
    """Name -> title for people, of every method (`kind` "method") or data set ("dataset") among `records`."""
    return {getattr(r, kind): r.about.get(f"{kind}_title") or getattr(r, kind) for r in records}


def spread(values: list[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; NaN where there are too few values to have one."""
    if not values:
        return np.nan, np.nan
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else np.nan


def commits(runs: list[RunRecord]) -> str:
    """The distinct commits of some runs, shortened; "+" marks one with uncommitted changes."""
    marks = {r.about.get("commit", "unknown")[:10] + "+" * bool(r.about.get("dirty")) for r in runs}
    return " ".join(sorted(marks))


def untrained(records: list[RunRecord]) -> list[str]:
    """A legend line if the untrained network was scored on a part of the database."""
    sizes = {(r.about.get("untrained_database"), r.about.get("database")) for r in records}
    return [
        f"- The untrained network was scored on {part:,} of {whole:,} database images, drawn at random."
        for part, whole in sorted(size for size in sizes if None not in size and size[0] != size[1])
    ]


def legend(records: list[RunRecord]) -> str:
    """Markdown lines that say what the columns of `display_table` mean, conventions in the runs' own words."""
    lines = []
    for name, title in (("map", "mAP"), ("map_reference", "reference mAP")):
        words: dict[str, list[str]] = {}
        for record in records:
            if text := record.about.get("conventions", {}).get(name):
                words.setdefault(text, []).append(record.about.get("method_title", record.method))
        lines += [f"- {title} ({', '.join(dict.fromkeys(who))}): {text}." for text, who in words.items()]
    return "\n".join(
        [
            "All scores in percent, of the last iteration unless the column says otherwise.",
            "",
            *lines,
            *untrained(records),
            "- The database has the learned codes B unless the column says network (coded like the queries).",
            "- best on test: the iteration whose reference mAP on the test queries was highest.",
            "",
        ]
    )


def skip_reason(grid: Grid, dataset: str, method: str, bits: int) -> str:
    """Why the runs of a cell were skipped; empty if none was."""
    keys = [run_key(method, dataset, bits, seed) for seed in grid.seeds]
    return "; ".join(dict.fromkeys(grid.skipped[key] for key in keys if key in grid.skipped))


def footnotes(reasons: Iterable[str]) -> dict[str, int]:
    """Each distinct reason of skipped cells -> the number of its footnote, from 1; an empty one is none."""
    return {reason: number for number, reason in enumerate(dict.fromkeys(filter(None, reasons)), start=1)}


def results_table(records: list[RunRecord], grid: Grid) -> pd.DataFrame:
    """The suite's results as numbers: a row a data set × method × bits of the grid, run or not.

    Columns: `dataset`, `method`, `bits`, `runs` (seeds that were run), `seeds` (seeds in the grid), `keys` (of
    those runs), `commits` (that they were run at; "+" marks uncommitted changes) and `skipped` (why a cell
    without runs cannot have any; else empty), then for
    each measure its mean and, under `<measure>_sd`, its sample standard deviation over seeds, as fractions;
    NaN where a score was not computed or the cell was not run (`runs` 0).
    """
    records = in_order(records, grid)
    rows = []
    for dataset in grid.datasets:
        for method in grid.methods:
            for bits in grid.bits:
                runs = [r for r in records if (r.dataset, r.method, r.bits) == (dataset, method, bits)]
                row = {"dataset": dataset, "method": method, "bits": bits}
                row |= {"runs": len(runs), "seeds": len(grid.seeds)}
                row |= {"keys": " ".join(r.key for r in runs), "commits": commits(runs)}
                row["skipped"] = "" if runs else skip_reason(grid, dataset, method, bits)
                for measure in MEASURES:
                    values = [r.score(measure.score, measure.database, measure.selected) for r in runs]
                    mean, deviation = spread([value for value in values if value is not None])
                    row |= {measure.column: mean, f"{measure.column}_sd": deviation}
                rows.append(row)
    return pd.DataFrame(rows)


def scores_table(records: list[RunRecord], grid: Grid) -> pd.DataFrame:
    """Every score of every run: a row a run × checkpoint × database, a column a score, as fractions."""
    rows = [
        dict(zip(RUN_COLUMNS, (r.key, r.dataset, r.method, r.bits, r.seed, selected, database), strict=True))
        | values
        for r in in_order(records, grid)
        for selected, databases in r.scores.items()
        for database, values in databases.items()
    ]
    return pd.DataFrame(rows, columns=None if rows else RUN_COLUMNS)


def percent(mean: float, deviation: float = np.nan) -> str:
    """A fraction as a percentage with two decimals, ``61.70`` or ``61.70 ± 0.42``."""
    if pd.isna(mean):
        return NOT_COMPUTED
    return f"{100 * mean:.2f}" + ("" if pd.isna(deviation) else f" ± {100 * deviation:.2f}")


def display_table(table: pd.DataFrame, names: dict[str, str] | None = None) -> pd.DataFrame:
    """`results_table` in words and percentages; a cell that was not run or was skipped says so.

    A skipped cell carries the number of its reason among the `footnotes` of the table's column `skipped`.
    `names` maps names of methods and data sets to their titles. Measures that no run has are left out.
    """
    names = names or {}
    notes = footnotes(table["skipped"])
    gaps = [f"{SKIPPED} [{notes[reason]}]" if reason else NOT_RUN for reason in table["skipped"]]
    shown = pd.DataFrame(
        {
            "data set": [names.get(name, name) for name in table["dataset"]],
            "method": [names.get(name, name) for name in table["method"]],
            "bits": table["bits"].astype(str),
            "seeds": [
                f"{runs} of {seeds}" for runs, seeds in zip(table["runs"], table["seeds"], strict=True)
            ],
        }
    )
    for number, measure in enumerate(MEASURES):
        if number == 0 or table[measure.column].notna().any():
            shown[measure.title] = [
                percent(mean, deviation) if runs else gap
                for runs, gap, mean, deviation in zip(
                    table["runs"], gaps, table[measure.column], table[f"{measure.column}_sd"], strict=True
                )
            ]
    shown["runs"] = table["keys"]
    shown["commit"] = table["commits"]
    return shown


def to_markdown(shown: pd.DataFrame, notes: Mapping[str, int] | None = None) -> str:
    """A GitHub table, its footnotes below; `|` inside a cell is escaped."""

    def line(cells: Iterable) -> str:
        return "| " + " | ".join(str(cell).replace("|", r"\|") for cell in cells) + " |\n"

    rule = ["---" if column in ("data set", "method") else "---:" for column in shown.columns]
    below = "".join(f"- [{number}] {SKIPPED}: {reason}\n" for reason, number in (notes or {}).items())
    rows = "".join(line(row) for row in shown.itertuples(index=False))
    return line(shown.columns) + line(rule) + rows + ("\n" + below if below else "")


def to_csv(table: pd.DataFrame) -> str:
    """The numbers as they are; empty = not computed, "not run" = not run, "skipped": see its reason."""
    text = table.astype(object).where(table.notna(), "")
    for measure in MEASURES:
        text.loc[table["runs"] == 0, measure.column] = NOT_RUN
        text.loc[table["skipped"] != "", measure.column] = SKIPPED
    return text.to_csv(index=False, lineterminator="\n")


def to_latex(shown: pd.DataFrame, notes: Mapping[str, int] | None = None) -> str:
    """A booktabs tabular, its footnotes below, with the characters that are special to LaTeX escaped."""
    style = shown.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    columns = "".join("l" if column in ("data set", "method") else "r" for column in shown.columns)
    below = "".join(
        f"\\par{{\\footnotesize [{number}] {SKIPPED}: {reason.translate(LATEX)}\\par}}\n"
        for reason, number in (notes or {}).items()
    )
    tabular = style.to_latex(hrules=True, column_format=columns)
    return (tabular + below).replace("±", r"$\pm$").replace("–", "--")
