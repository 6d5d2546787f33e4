"""The table as the papers print it: a row a method, a column a data set and code length, ours under theirs."""

from itertools import groupby

import pandas as pd

from hashrepro.reporting import beside, beside_text
from hashrepro.reporting.formats import NOT_COMPUTED, NOT_RUN, SKIPPED, percent, signs, to_markdown
from hashrepro.reporting.published import Published

OURS, NOT_HERE, NONE = "ours", "not part of this grid", "no figure"
NOTE = (
    "mAP in percent. “?”: a figure that nobody has verified; “=”: one that equals the authors’ released log; “no "
    "figure”: the source has a table that nobody has read; “–”: the source has no such figure. The verdicts stand in "
    "side_by_side.md."
)


def paper_table(
    table: pd.DataFrame, results: pd.DataFrame, published: Published, names: dict[str, str]
) -> pd.DataFrame:
    """`beside_table` in the papers' shape, every cell a text.

    Index: (method, whose), whose is a source's title, or "ours" with how it counts; columns: (data set, bits). First
    the methods that a paper has and this grid has not, then each of the grid's: theirs, and below it ours (of
    `results`, the `results_table`) as they count. What is for orientation only is left out.
    """
    table = table[table["verdict"] != beside.ORIENTATION]
    columns = list(dict.fromkeys(zip(table["dataset"], table["bits"], strict=True)))
    runs = {(row["method"], row["dataset"], row["bits"]): row for row in results.to_dict("records")}
    rows: dict[tuple[str, str], dict] = {}
    for one in _others(table, published).to_dict("records"):
        row = rows.setdefault((one["method"], f"{one['title']}, {NOT_HERE}"), {})
        row[one["dataset"], one["bits"]] = beside_text.figure(one["map"], one["verified"])
    for method in dict.fromkeys(table["method"]):
        cells = table[table["method"] == method].to_dict("records")
        theirs = [cell for cell in cells if cell["paper"]]
        for cell in theirs:
            row = rows.setdefault((names.get(method, method), cell["title"]), {})
            text = NONE if pd.isna(cell["published"]) else beside_text.theirs(cell)
            row[cell["dataset"], cell["bits"]] = text
        for cell in theirs or cells:
            whose = names.get(method, method), f"{OURS}, {beside_text.counted(cell)}"
            if whose not in rows:
                column = beside.MEASURES[cell["convention"], cell["selected"]]
                rows[whose] = {place: _ours(runs.get((method, *place)), column) for place in columns}
    titled = [(names.get(dataset, dataset), str(bits)) for dataset, bits in columns]
    return pd.DataFrame(
        [[row.get(column, NOT_COMPUTED) for column in columns] for row in rows.values()],
        index=pd.MultiIndex.from_tuples(list(rows), names=["method", "whose"]),
        columns=pd.MultiIndex.from_tuples(titled, names=["", ""]),
    )


def _others(table: pd.DataFrame, published: Published) -> pd.DataFrame:
    """Figures that the papers of `table` have of methods that this project has not."""
    figures = published.figures
    other = (figures["ours"] == "") & (figures["difference"] == "")
    return figures[
        other & figures["paper"].isin(set(table["paper"])) & figures["dataset"].isin(set(table["dataset"]))
    ]


def _ours(run: dict | None, column: str) -> str:
    if run is None or not run["runs"]:
        return SKIPPED if run and run["skipped"] else NOT_RUN
    return percent(run[column], run[f"{column}_sd"])


def markdown(shown: pd.DataFrame) -> str:
    """The table as Markdown, with one line of headings."""
    plain = shown.copy()
    plain.columns = [" ".join(column) for column in shown.columns]
    return f"{to_markdown(plain.reset_index())}\n{NOTE}\n"


def latex(shown: pd.DataFrame) -> str:
    """A booktabs tabular, the data sets above their code lengths; wide: it wants a landscape page or \\resizebox."""
    frame = shown.reset_index()
    repeated = frame["method"] == frame["method"].shift()
    frame["method"] = frame["method"].mask(repeated, "")
    style = frame.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    text = style.to_latex(hrules=True, multicol_align="c", column_format="ll" + "r" * len(shown.columns))
    rules, first = [], 3
    for _, group in groupby(shown.columns.get_level_values(0)):
        last = first + len(list(group)) - 1
        rules.append(rf"\cmidrule(lr){{{first}-{last}}}")
        first = last + 1
    head, below = text.split("\\\\\n", maxsplit=1)
    return signs(f"{head}\\\\\n{' '.join(rules)}\n{below}")
