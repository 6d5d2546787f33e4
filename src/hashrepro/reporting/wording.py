"""What each score's name means, how it is headed, and how its value is written."""

import re

import pandas as pd

from hashrepro.reporting.records import RunRecord

CONVENTIONS = {
    "map": "ties=expected over the full ranking",
    "map_reference": "as the method’s own code computes it",
    "map_file_order": "ties in the order of the data set’s files",
    "map_best": "every tie broken in the method’s favour",
    "map_worst": "every tie broken against the method",
    "map_class_mean": "mean over classes of the mAP of each class’s queries: every class weighs the same",
    "ndcg": "normalised discounted cumulative gain over the full ranking, ties in expectation: "
    "a relevant item (one shared label is enough, there are no grades) at rank r counts 1 ÷ log2(r + 1), the best "
    "ranking of all 1 in sum",
    "uncoded": "database items whose code was never set",
}
CUT = {
    "map": "mAP over the first {} ranks alone",
    "ndcg": "NDCG of the first {} ranks, ties in expectation",
    "precision": "share of relevant items among the first {}, ties in expectation",
    "recall": "share of all relevant items that are among the first {}, ties in expectation",
}
DATABASES = {
    "learned": "codes learned in training, the network codes only the queries",
    "network": "coded by the network, like the queries",
    "untrained": "query and database coded by the network before training",
    "random": "query and database get random codes",
}
SELECTED = {
    "last": "the last iteration",
    "best_on_test": "the iteration that scored best on the test queries",
}
# Headings of the conventions that are named after a code base.
TITLES = {"adsh": "ADSH", "fish": "FISH", "semicon": "SEMICON", "schn": "SCHN", "thulab": "THULAB"}
TITLES |= {"trec": "trec_eval", "class_mean": "class mean"}
GROUPS = {
    "Average precision": r"map(?!_at_\d)",
    "mAP@k and NDCG": r"map_at_|ndcg",
    "Precision": r"precision_",
    "Recall": r"recall_",
    "Other": "",
}


def convention(record: RunRecord, name: str) -> str:
    """What a score's name means, in the run's own words where it left any."""
    if name in (words := record.about.get("conventions", {})):
        return words[name]
    if cut := re.fullmatch(r"(map|ndcg|precision|recall)_at_(\d+)", name):
        return CUT[cut[1]].format(cut[2])
    if within := re.fullmatch(r"(precision|recall)_radius_(\d+)", name):
        return f"mean {within[1]} of everything within Hamming distance {within[2]}"
    return CONVENTIONS.get(name, name)


def meanings(records: list[RunRecord], name: str) -> list[str]:
    """What a score's name means in these runs; where methods count differently, each with its methods."""
    methods: dict[str, dict[str, None]] = {}
    for record in records:
        title = record.about.get("method_title") or record.method
        methods.setdefault(convention(record, name), {})[title] = None
    if len(methods) == 1:
        return list(methods)
    return [f"{', '.join(titled)}: {text}" for text, titled in methods.items()]


def score_title(name: str) -> str:
    """A short column heading: ``precision_at_10`` -> ``P@10``, ``map_file_order`` -> ``mAP file order``."""
    if cut := re.fullmatch(r"(map|ndcg|precision|recall)_at_(\d+)", name):
        return f"{score_title(cut[1]) if cut[1] in ('map', 'ndcg') else cut[1][0].upper()}@{cut[2]}"
    if within := re.fullmatch(r"(precision|recall)_radius_(\d+)", name):
        return f"{within[1][0].upper()} within {within[2]}"
    if name == "ndcg":
        return "NDCG"
    if name.startswith("map_") and name[4:] in TITLES:
        return f"mAP {TITLES[name[4:]]}"
    return re.sub(r"^map\b", "mAP", name.replace("_", " "))


def score_text(name: str, value: float | None) -> str:
    """A score for people: a percentage, except the count of uncoded items."""
    if value is None or pd.isna(value):
        return "–"
    return f"{value:,.0f}" if name == "uncoded" else f"{100 * value:.2f}"


def score_groups(names: list[str]) -> dict[str, list[str]]:
    """Scores by what they measure, for tables that fit on a screen; empty groups are left out.

    The ends of an interval (`<score>_low`, `<score>_high`) belong to their score, and the count of uncoded items
    to every row: neither has a column of its own.
    """
    ends = {f"{name}_{end}" for name in names for end in ("low", "high")}
    left = [name for name in names if name not in ends and name != "uncoded"]
    groups = {}
    for group, pattern in GROUPS.items():
        groups[group] = sorted((name for name in left if re.match(pattern, name)), key=_place)
        left = [name for name in left if name not in groups[group]]
    return {group: found for group, found in groups.items() if found}


def _place(name: str) -> tuple[int, str]:
    """The headline and its variants first, the others by name, numbers by size."""
    known = list(CONVENTIONS)
    place = known.index(name) if name in known else len(known)
    return place, re.sub(r"\d+", lambda number: number[0].zfill(12), name)
