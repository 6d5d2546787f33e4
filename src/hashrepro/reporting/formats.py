"""The results for people: percentages and words, and the same table as Markdown, CSV and LaTeX."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from hashrepro.reporting.records import MEASURES

NOT_RUN = "not run"
SKIPPED = "skipped"
NOT_COMPUTED = "–"
WORDS = (
    "data set",
    "method",
    "against",
    "verdict",
    "counted",
    "source",
    "because",
    "whose",
    "device",
    "note",
)  # columns of words, flush left
LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)


def percent(mean: float, deviation: float = np.nan) -> str:
    """A fraction as a percentage with two decimals, ``61.70`` or ``61.70 ± 0.42``."""
    if pd.isna(mean):
        return NOT_COMPUTED
    return f"{100 * mean:.2f}" + ("" if pd.isna(deviation) else f" ± {100 * deviation:.2f}")


def percent_interval(low: float | None, high: float | None) -> str:
    """The interval of a fraction as percentages, ``[60.9, 62.4]``; empty where it is not known."""
    return "" if pd.isna(low) or pd.isna(high) else f"[{100 * low:.1f}, {100 * high:.1f}]"


def footnotes(reasons: Iterable[str]) -> dict[str, int]:
    """Each distinct reason of skipped cells -> the number of its footnote, from 1; an empty one is none."""
    return {reason: number for number, reason in enumerate(dict.fromkeys(filter(None, reasons)), start=1)}


def display_table(table: pd.DataFrame, names: dict[str, str] | None = None) -> pd.DataFrame:
    """`results_table` in words and percentages; a cell that was not run or was skipped says so.

    A skipped cell carries the number of its reason among the `footnotes` of the table's column `skipped`. The
    headline's interval stands behind its mean, in one column: mAP, or that of the network database where a method
    learns no codes. `names` maps names of methods and data sets to their titles. Measures that no run has are left out.
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
            "queries": [NOT_COMPUTED if pd.isna(n) else f"{n:,}" for n in table["queries"]],
        }
    )
    without_learned = table["map"].isna()
    for number, measure in enumerate(MEASURES):
        if number == 0 or table[measure.column].notna().any():
            means, deviations = table[measure.column], table[f"{measure.column}_sd"]
            texts = [percent(mean, deviation) for mean, deviation in zip(means, deviations, strict=True)]
            if measure.column in ("map", "map_network"):
                ends = table[[f"{measure.column}_low", f"{measure.column}_high"]]
                if measure.column == "map_network":
                    ends = ends.where(without_learned)
                texts = [
                    f"{text} {percent_interval(*e)}".strip()
                    for text, e in zip(texts, ends.to_numpy(), strict=True)
                ]
            shown[measure.title] = [
                text if runs else gap for runs, gap, text in zip(table["runs"], gaps, texts, strict=True)
            ]
    shown["runs"] = table["keys"]
    shown["commit"] = table["commits"]
    return shown


def to_markdown(shown: pd.DataFrame, notes: Mapping[str, int] | None = None) -> str:
    """A GitHub table, its footnotes below; `|` inside a cell is escaped."""

    def line(cells: Iterable) -> str:
        return "| " + " | ".join(str(cell).replace("|", r"\|") for cell in cells) + " |\n"

    rule = ["---" if column in WORDS else "---:" for column in shown.columns]
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
    columns = "".join("l" if column in WORDS else "r" for column in shown.columns)
    below = "".join(
        f"\\par{{\\footnotesize [{number}] {SKIPPED}: {reason.translate(LATEX)}\\par}}\n"
        for reason, number in (notes or {}).items()
    )
    tabular = style.to_latex(hrules=True, column_format=columns).replace("<", "$<$")
    return signs(tabular + below)


def signs(text: str) -> str:
    """LaTeX for the signs that numbers come with."""
    return text.replace("±", r"$\pm$").replace("–", "--").replace("−", "$-$").replace("’", "'")
