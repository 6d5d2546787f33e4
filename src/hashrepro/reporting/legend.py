"""What stands below the table of results: what its columns mean, in the runs' own words."""

from hashrepro.reporting.intervals import DEFAULT, FEWEST
from hashrepro.reporting.records import RunRecord


def untrained(records: list[RunRecord]) -> list[str]:
    """A legend line if the untrained network was scored on a part of the database."""
    sizes = {(r.about.get("untrained_database"), r.about.get("database")) for r in records}
    return [
        f"- The untrained network was scored on {part:,} of {whole:,} database images, drawn at random."
        for part, whole in sorted(size for size in sizes if None not in size and size[0] != size[1])
    ]


def level(records: list[RunRecord]) -> str:
    """The confidence of the runs' intervals in words, ``95 %``."""
    found = [record.about["interval"]["confidence"] for record in records if "interval" in record.about]
    return f"{100 * (found or [DEFAULT['confidence']])[0]:g} %"


def intervals(records: list[RunRecord]) -> list[str]:
    """Legend lines on the interval behind each mAP; none where the runs have none."""
    fewer = (
        f"; over several seeds at least {FEWEST:,}" if len({record.seed for record in records}) > 1 else ""
    )
    lines = [
        f"- [low, high]: {level([record])} interval of the mAP, {about['method']} ({about['resamples']:,} resamples"
        f"{fewer}). It says how far the mAP would move with as many other queries of the same kind; the networks stay "
        "as they are: neither seeds nor training vary."
        for record in records
        if (about := record.about.get("interval"))
    ]
    return list(dict.fromkeys(lines))


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
            *intervals(records),
            *(["- ±: sample standard deviation over seeds."] if len({r.seed for r in records}) > 1 else []),
            *untrained(records),
            "- The database has the learned codes B unless the column says network (coded like the queries).",
            "- best on test: the iteration whose reference mAP on the test queries was highest.",
            "- Which differences are more than the luck of the queries: [comparisons.md](comparisons.md).",
            "",
        ]
    )
