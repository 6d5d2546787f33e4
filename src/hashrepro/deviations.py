"""docs/deviations.md: where papers, published code and sense differ, collected from where each is declared.

The accounts stand on the parameters themselves (`option`); `page` writes them together with the measured
effects, so that the page cannot drift.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from hashrepro.option import declared

EVERYONE = "every method"
EVERY_DATASET = "every data set"


@dataclass(frozen=True)
class Deviation:
    """A parameter that decides between a published behaviour and another one."""

    owner: str  # the methods that take it, or EVERYONE; a data set's title, or EVERY_DATASET
    name: str
    description: str
    default: Any
    paper: str
    reference: str
    others: dict[str, str]


@dataclass(frozen=True)
class Effect:
    """What one changed value did to a quick-start run; mAP in percent, of the learned / the network's database codes.

    `without` is the run with the quick-start's own recipe, on the same machine at the same commit.
    """

    method: str
    key: str
    value: str
    bits: int
    seed: int
    without_learned: float
    learned: float
    without_network: float
    network: float
    commit: str


# What the published code does and this project does as well, without a parameter to change it.
KEPT = {
    "SEMICON": [
        "ICON's Q, K and V of a head read other groups of channels than the head's own.",
        "ICON scales its products by the number of channels, although they are sums over positions.",
        "The local branch runs three times a step: each map's batch is normalised by itself, and one set of running "
        "statistics serves all three.",
        "The quantisation term is divided by the size of the database, and the loss is in units of 12 bits.",
        "Weight decay acts on BatchNorm, biases and hash layers too; one learning rate serves all layers.",
        "One sweep over the bits in every update of B.",
        "A learning-rate milestone equal to the number of iterations (CUB, Aircraft: 40 of 40) never takes effect; "
        "`hashrepro check` says so.",
    ],
    "SCHN": [
        "The mini-batch is the sequence of every attention, so latent and reconstructed codes depend on batch mates.",
        "On single-label data the latent codes of a class are the same within a batch; TOMM's reconstructions, too.",
        "alpha and beta stand inside the sign of the update of B, where they hardly ever matter.",
        "The sample of an iteration is drawn uniformly, not class by class.",
        "TOMM: the cycle network is stepped by two Adams, so weight decay acts on it twice a batch.",
        "TOMM: the discriminator cannot reach the image network but through the reconstruction error.",
    ],
    "Data": [
        "CIFAR-10: the official split is not used, and one permutation serves every class.",
        "NUS-WIDE and MIR-Flickr: images are similar when they share one label of many, so a random ranking of "
        "MIR-Flickr already scores about 54 %.",
        "A file whose end is missing is read as far as it goes, and the rest is grey.",
        "The database holds every official training image, Food-101's wrongly labelled ones included.",
    ],
    "Protocol": [
        "The database is the training set, and its learned codes come from its labels. The scores with the "
        "network's codes stand beside it, and the two are never mixed.",
        "The published figures are best-on-test. The headline here is the last iteration; the best stands beside it.",
        "The published average precision breaks ties by file order and drops the last item. The headline here is "
        "tie-exact over the whole ranking; the reference's own convention stands beside it.",
    ],
}

# Faults of the published code that are mended here without a parameter, because nobody would want them back.
MENDED = {
    "SEMICON": [
        "A constant attention map gave 0/0 = NaN in SEM's mask; the mask is 1 there.",
        "A tie in the update of B (exactly 0) gave the code 0; here +1.",
        "The ratio of similar to dissimilar pairs is counted in integers; sums in single precision were off in the "
        "fifth digit on NABirds.",
        "Code lengths other than 12, 24, 32, 36, 48, 60, 96 failed or came out short; the global part now has "
        "k - 3 floor(k / 6) bits for every k of at least 6.",
        "The seed was set once for all code lengths of a command; here each run has its own streams.",
    ],
    "SCHN": [
        "CIFAR-10 stopped after 1 iteration, a leftover of a smoke test: 54,000 of 59,000 codes were 0. Here 50.",
        "NumPy was not seeded, so CIFAR-10's and Flickr's splits differed in every run.",
        "Best database codes were an alias of the codes that training goes on changing (on a CPU).",
        "The soft similarity of the whole database was built (8 GB on NUS-WIDE) for two numbers, counted here.",
        "A data set without any dissimilar pair divided by zero.",
        "TOMM's second forward pass built a graph of the image network for nothing.",
    ],
    "Data": [
        "The CIFAR-10 split stood on an unstable sort; the sort is stable here, and the split's digest is recorded.",
        "NUS-WIDE with 10 concepts could not be run: its labels had another name than the trainer asked for.",
        "Food-101's classes were numbered by an assignment that newer versions of pandas ignore.",
        "VegFru's odd files were mended for queries only; here every file is read alike, and all that cannot be read "
        "are named at once.",
    ],
}


def catalogue() -> list[Deviation]:
    """Every declared deviation once: what every method takes first, then by the methods that take it."""
    from hashrepro.learning.base import load_method, method_names

    recipes = {name: load_method(name).Recipe for name in method_names()}
    takers: dict[str, list[str]] = {}  # by the account itself: two methods may differ in one parameter
    found: dict[str, tuple[str, Any]] = {}
    for method, recipe in recipes.items():
        for name, field in recipe.model_fields.items():
            if account := declared(field):
                mark = f"{name}: {account}, {field.default}"
                takers.setdefault(mark, []).append(method)
                found[mark] = (name, field)
    deviations = [
        Deviation(
            EVERYONE if len(takers[mark]) == len(recipes) else " and ".join(takers[mark]),
            name,
            field.description,
            field.default,
            **declared(field),
        )
        for mark, (name, field) in found.items()
    ]
    return sorted(deviations, key=lambda deviation: (deviation.owner != EVERYONE, deviation.owner))


def of_datasets() -> list[Deviation]:
    """The declared deviations of data sets: what every block of params.yaml takes first, then reader by reader."""
    from hashrepro.datasets.base import load_reader, reader_names
    from hashrepro.settings import Dataset

    models = [(EVERY_DATASET, Dataset)]
    readers = [load_reader(name) for name in reader_names()]
    models += [(reader.SOURCE.title, reader.Options) for reader in readers]
    return [
        Deviation(owner, name, field.description, field.default, **account)
        for owner, model in models
        for name, field in model.model_fields.items()
        if (account := declared(field))
    ]


def keys(recipe: type[BaseModel]) -> list[tuple[str, str, str]]:
    """(key, default, meaning) of every key of a recipe or a reader's options; no default where one must be given."""
    return [
        (name, "" if field.is_required() else in_yaml(field.default), field.description or "")
        for name, field in recipe.model_fields.items()
    ]


def in_yaml(value: Any) -> str:
    """A value as it stands in params.yaml."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(list(value) if isinstance(value, tuple) else value)


def read_effects(path: Path) -> list[Effect]:
    """The rows of effects.csv; none if there is no such file."""
    if not path.exists():
        return []
    kinds = {name: field.type for name, field in Effect.__dataclass_fields__.items()}
    with open(path, newline="", encoding="utf-8") as file:
        return [Effect(**{name: kinds[name](row[name]) for name in kinds}) for row in csv.DictReader(file)]


def page(of_methods: list[Deviation], of_datasets: list[Deviation], effects: list[Effect]) -> str:
    """docs/deviations.md."""
    lines = [
        "# Deviations",
        "",
        "<!-- written by `hashrepro deviations`; a test fails when it does not match the code -->",
        "",
        "Where the papers, their published code and sense differ, the difference is a named parameter: of a recipe "
        "(params.yaml, `train.<method>.<data set>`) or of a data set (`datasets.<name>.options`; for every data set "
        "`datasets.<name>`). The default is what the published code does; the other values "
        "are the repairs and variants. Effects are differences in tie-exact mAP points on the quick-start, against "
        "its own recipe (which has some of the repairs) on the same machine at the same commit: learned / network "
        "database codes. One seed on a small set: a few points may be chance. No figure: not measured.",
        "",
    ]
    for owner, group in _groups([*of_methods, *of_datasets]):
        lines += [f"## {owner}", ""]
        for deviation in group:
            lines += _account(deviation, effects)
    lines += _ablations(of_methods, effects)
    for title, groups in (("Kept, without a parameter", KEPT), ("Mended, without a parameter", MENDED)):
        lines += [f"## {title}", ""]
        for owner, texts in groups.items():
            lines += [f"**{owner}**", "", *(f"- {text}" for text in texts), ""]
    return "\n".join(lines).rstrip() + "\n"


def _account(d: Deviation, effects: list[Effect]) -> list[str]:
    lines = [
        f"### `{d.name}`",
        "",
        f"{d.description[0].upper()}{d.description[1:]}.",
        "",
        f"- Paper: {d.paper}.",
        f"- Published code: {d.reference}.",
        f"- Default: `{in_yaml(d.default)}`.{_measured(effects, d.name, in_yaml(d.default))}",
    ]
    for value, change in d.others.items():
        lines.append(f"- `{value}`: {change}.{_measured(effects, d.name, value)}")
    return [*lines, ""]


def _groups(deviations: Iterable[Deviation]) -> list[tuple[str, list[Deviation]]]:
    groups: dict[str, list[Deviation]] = {}
    for deviation in deviations:
        groups.setdefault(deviation.owner, []).append(deviation)
    return list(groups.items())


def _measured(effects: list[Effect], key: str, value: str) -> str:
    found = [effect for effect in effects if (effect.key, effect.value) == (key, value)]
    return f" *Measured: {'; '.join(map(_gain, found))}.*" if found else ""


def _gain(effect: Effect) -> str:
    learned, network = effect.learned - effect.without_learned, effect.network - effect.without_network
    return f"{effect.method}, {effect.bits} bits: {learned:+.1f} / {network:+.1f}"


def _ablations(of_methods: list[Deviation], effects: list[Effect]) -> list[str]:
    """What was measured beside the deviations: ablations, and the spread over seeds."""
    known = {deviation.name for deviation in of_methods}
    rest = [effect for effect in effects if effect.key not in known]
    if not rest:
        return []
    lines = [
        "## Ablations, and the spread over seeds",
        "",
        "| method | bits | change | mAP, learned | mAP, network |",
    ]
    lines.append("| --- | ---: | --- | ---: | ---: |")
    for e in rest:
        lines.append(
            f"| {e.method} | {e.bits} | `{e.key}: {e.value}` | {e.without_learned:.1f} -> {e.learned:.1f} "
            f"| {e.without_network:.1f} -> {e.network:.1f} |"
        )
    commits = sorted({effect.commit[:7] for effect in effects})
    return [*lines, "", f"Measured at {', '.join(commits)}.", ""]
