"""params.yaml as checked values: an unknown key or a wrong value is an error that names its line and its mend."""

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from hashrepro.errors import UserError
from hashrepro.option import SILENT, option

if TYPE_CHECKING:
    from hashrepro.learning.recipe import Recipe


class Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Suite(Block):
    """One grid of runs with its own results; a part of another suite has its name after that one's and a slash."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)?$")
    root: str
    file: str
    reports: str
    title: str | None = None  # of its report
    summary: str | None = None  # the report's first lines
    parts: list[str] = []  # names of suites that are built with this one, below its folder
    method: str | None = None  # all of the grid's methods are variants of this one
    titles: dict[str, str] = {}  # of variants, in tables, after the method's

    @property
    def pipeline(self) -> str:
        """The suite's dvc.yaml, which lies beside its parameter file, seen from the repository."""
        return pipeline_of(self.file)

    def address(self, stage: str, run: tuple[str, str, int, int]) -> str:
        """DVC's own name, seen from the repository, of a stage of one (method, data set, bits, seed)."""
        place = "" if self.pipeline == "dvc.yaml" else f"{self.pipeline}:"
        return f"{place}{stage}@{'-'.join(map(str, run))}"


class Grid(Block):
    """Every method on every data set at every code length, for every seed."""

    methods: list[str] = Field(min_length=1)
    datasets: list[str] = Field(min_length=1)
    bits: list[PositiveInt] = Field(min_length=1)
    seeds: list[int] = Field(min_length=1)

    def runs(self) -> list[tuple[str, str, int, int]]:
        """(method, data set, bits, seed) of every run."""
        return [
            (method, dataset, bits, seed)
            for dataset in self.datasets
            for method in self.methods
            for bits in self.bits
            for seed in self.seeds
        ]


class Machine(Block):
    """Where the runs run; no stage depends on it."""

    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    threads: PositiveInt = 1
    workers: int = Field(0, ge=0)
    archives: list[str] = []  # folders and files that are looked through before anything is downloaded
    processes: PositiveInt = 1  # that share one training, each on its own GPU
    checkpoint_minutes: float = Field(10, ge=0)  # a longer epoch ends with a checkpoint; 0: every epoch does

    @property
    def own_threads(self) -> int:
        """CPU threads of this process: `threads`, or its share of them where stages run side by side."""
        return int(os.environ.get("HASHREPRO_THREADS", self.threads))


class Dataset(Block):
    """One data set as this project uses it: reader, source, and the view that networks see."""

    reader: str
    title: str | None = None  # in tables
    folder: str | None = None
    options: dict[str, Any] = {}
    seed: int = 0
    validation: int = Field(0, ge=0)
    resize: PositiveInt
    crop: PositiveInt
    upright: bool = option(
        False,
        "turn images as their EXIF data say",
        paper=SILENT,
        reference="takes the pixels as they are stored, so that some pictures lie on their side",
        others={"true": "for photographs straight from a camera or phone"},
    )
    unreadable: Literal["fail", "drop"] = "fail"  # images that are missing or damaged
    training_cache: Literal["none", "resized"] = "none"  # decoded images for recipes with crop_from: resized
    top_k: PositiveInt | None = None
    workers: PositiveInt = 1

    def check_keys(self, name: str) -> None:
        """See to it that every key is in params.yaml: DVC follows them one by one, and knows no defaults.

        Raises:
            UserError: keys are missing.
        """
        if missing := [key for key in type(self).model_fields if key not in self.model_fields_set]:
            raise UserError(
                f"The block lacks {', '.join(missing)}, which DVC looks for.",
                where=f"params.yaml: datasets.{name}",
                mend="begin the block with the template, which has every key: <<: *photographs",
            )

    def own_folder(self, root: Path) -> Path | None:
        """`folder` as a path; a relative one is seen from the repository at `root`."""
        return root / Path(self.folder).expanduser() if self.folder else None


class Encoding(Block):
    untrained_database: PositiveInt | None = None
    attention_images: int = Field(6, ge=0)


class Evaluation(Block):
    precision_at: list[PositiveInt]
    map_at: list[PositiveInt]
    ndcg_at: list[PositiveInt]
    radius: int = Field(ge=0)
    confidence: float = Field(0.95, gt=0, lt=1)
    resamples: PositiveInt = 10_000
    gallery_queries: int = Field(ge=0)
    gallery_hits: PositiveInt = 10
    map_points: int = Field(1000, ge=0)


class Report(Block):
    band: float = Field(2.0, gt=0)
    published: dict[str, list[str]] = {}


class Settings(Block):
    """All of params.yaml, with a suite's own file laid over it."""

    suite: Suite
    grid: Grid
    overrides: dict[str, Any] = {}  # laid over every recipe of the grid
    # name -> what is laid over its method's recipes
    variants: dict[Annotated[str, Field(pattern=r"^\w+$")], dict[str, Any]] = {}
    machine: Machine
    templates: dict[str, Any] = {}  # YAML blocks for others to merge
    datasets: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")], Dataset]
    train: dict[str, dict[str, dict[str, Any]]]
    encode: Encoding
    evaluate: Evaluation
    report: Report = Report()

    def dataset(self, name: str) -> Dataset:
        """The block of a data set.

        Raises:
            UserError: params.yaml has none of that name.
        """
        if name not in self.datasets:
            raise UserError(
                f"There is no data set called {name!r}.{_suggestion(name, self.datasets)}",
                where="params.yaml: datasets",
                mend=f"add a block datasets.{name}, or use one of {', '.join(self.datasets)}",
            )
        return self.datasets[name]

    def archive_places(self, root: Path, name: str) -> list[Path]:
        """Where archives of the data set `name` may be besides its own folder data/raw/NAME.

        These are `machine.archives`, of which relative ones are seen from the repository at `root`, and what was
        downloaded for other data sets of the same reader.
        """
        others = [
            root / "data" / "raw" / other
            for other, block in self.datasets.items()
            if other != name and block.reader == self.dataset(name).reader
        ]
        named = [root / Path(place).expanduser() for place in self.machine.archives]
        return [*named, *(folder for folder in others if folder.is_dir())]

    def kind(self, method: str) -> str:
        """The method that a name in the grid stands for: itself, or the one that it is a variant of.

        Raises:
            UserError: the suite is one of variants, and has none of that name.
        """
        if self.suite.method is None:
            return method
        if method not in self.variants:
            raise UserError(
                f"There is no variant called {method!r}.{_suggestion(method, self.variants)}",
                where=f"{self.suite.file}: variants",
                mend=f"add a block variants.{method}, or use one of {', '.join(self.variants)}",
            )
        return self.suite.method

    def method_title(self, method: str) -> str:
        """A method's title in tables, or that of a variant. UserError: as `kind`."""
        from hashrepro.learning.base import load_method  # torch and timm: stages without a recipe do without

        title = load_method(self.kind(method)).TITLE
        return f"{title} {self.suite.titles.get(method, f'({method})')}" if self.suite.method else title

    def recipe(self, method: str, dataset: str) -> "Recipe":
        """The checked recipe of a method on a data set, with what the suite and the variant change in it.

        Raises:
            UserError: no such method, no such recipe, or a key or value that the method does not take.
        """
        from hashrepro.learning.base import load_method

        name = self.kind(method)
        kind, where = load_method(name), f"train.{name}.{dataset}"
        values = self.train.get(name, {}).get(dataset)
        if values is None:
            raise UserError(
                f"There is no recipe for {name} on {dataset}.",
                where=f"params.yaml: {where}",
                mend=f"add a block {where}; the other data sets of {name} show its keys",
            )
        changes = {"overrides": self.overrides}
        if self.suite.method:
            changes[f"variants.{method}"] = self.variants[method]
        files = {}
        for block, changed in changes.items():
            _check_keys(kind.Recipe, changed, f"{self.suite.file}: {block}")
            values = {**values, **changed}
            files |= dict.fromkeys(changed, f"{self.suite.file}: {block}, over {QUICKSTART}")
        return check(kind.Recipe, values, where, files=files)

    def run_params(self, method: str, dataset: str, bits: int, seed: int) -> dict:
        """All that a user chose for a run: which it is, and its recipe. UserError: as `recipe`."""
        identity = {"method": method, "dataset": dataset, "bits": bits, "seed": seed}
        return {**identity, **self.recipe(method, dataset).model_dump(mode="json")}


def _check_keys(model: type[BaseModel], values: dict[str, Any], where: str) -> None:
    """See to it that a recipe's changes name keys that it has: laid over a recipe, they would be looked for there.

    Raises:
        UserError: a key is unknown.
    """
    known = list(model.model_fields)
    if unknown := [key for key in values if key not in known]:
        raise UserError(
            f"Unknown key {unknown[0]!r}.{_suggestion(unknown[0], known)}",
            where=where,
            mend=f"remove it, or use one of: {', '.join(sorted(known))}",
        )


def _suggestion(word: str, known) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def check(
    model: type[BaseModel], values: Any, prefix: str, lines=None, files: dict[str, str] | None = None
) -> Any:
    """`values` as an instance of `model`.

    Args:
        files: key at the top of `values` -> the file that it is from; others are from params.yaml.

    Raises:
        UserError: the first key or value that does not fit, with its full name, its line and what would fit.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        # a misspelt key is an unknown one and a missing one: the first says more
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        path = [str(part) for part in first["loc"]]
        key = ".".join([prefix, *path] if prefix else path)
        file = (files or {}).get(path[0] if path else "", QUICKSTART)
        where = f"{file}{_line(lines, first['loc'])}: {key}"
        if first["type"] == "extra_forbidden":
            known = _fields_at(model, first["loc"][:-1])
            raise UserError(
                f"Unknown key {path[-1]!r}.{_suggestion(path[-1], known)}",
                where=where,
                mend=f"remove it, or use one of: {', '.join(sorted(known))}",
            ) from None
        if first["type"] == "missing":
            raise UserError(f"The key {path[-1]!r} is missing.", where=where, mend=f"add {key}") from None
        raise UserError(
            f"{first['msg']}; found {first['input']!r}.", where=where, mend="edit this value"
        ) from None


def _fields_at(model: type[BaseModel], path: tuple) -> list[str]:
    """The keys that `model` takes at `path`."""
    for part in path:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        arguments = [
            a for a in getattr(inner, "__args__", ()) if isinstance(a, type) and issubclass(a, BaseModel)
        ]
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
        elif arguments:
            model = arguments[0]
    return list(model.model_fields)


def _line(node: Any, path: tuple) -> str:
    """`:LINE` of the key at `path` in a document that ruamel read; empty if it is not known."""
    for part in path[:-1]:
        try:
            node = node[part]
        except (KeyError, IndexError, TypeError):
            return ""
    try:
        return f":{node.lc.key(path[-1])[0] + 1}"
    except (AttributeError, KeyError, TypeError, IndexError):
        return ""


def read_yaml(path: Path) -> Any:
    """A YAML document with line numbers.

    Raises:
        UserError: the file is missing or is not YAML.
    """
    try:
        return YAML(typ="rt").load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise UserError(
            f"{path.name} is missing.", where=path, mend=f"restore it: git checkout -- {path.name}"
        ) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{path}:{mark.line + 1}" if mark else path
        raise UserError(f"Not valid YAML: {error.problem}.", where=place, mend="edit that line") from None


def plain(value: Any) -> Any:
    """A value of ruamel's as plain dictionaries, lists, numbers and strings."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


QUICKSTART = "params.yaml"
OWN = ("suite", "grid", "overrides", "variants")  # what a suite has for itself


def suite_files(root: Path) -> dict[str, str]:
    """The suites of the repository at `root`, in a fixed order: name -> parameter file, seen from there."""
    folder = root / "papers"
    files = sorted(path.relative_to(folder).parent.as_posix() for path in folder.rglob("params.yaml"))
    return {"quickstart": QUICKSTART} | {name: f"papers/{name}/params.yaml" for name in files}


def suite_file(root: Path, grid: str) -> str:
    """The parameter file of a suite, seen from the repository at `root`.

    Args:
        grid: the suite's name ("quickstart", "semicon", "schn/ablations"), its parameter file or the file's folder.

    Raises:
        UserError: there is no such suite; the suites that there are.
    """
    names = suite_files(root)
    if grid in names:
        return names[grid]
    path = Path(grid) if Path(grid).is_absolute() else root / grid
    path = path if path.suffix == ".yaml" else path / "params.yaml"
    path = path.with_name("params.yaml") if path.name == "dvc.yaml" else path
    if path.is_file() and path.resolve().is_relative_to(root.resolve()):
        return path.resolve().relative_to(root.resolve()).as_posix()
    raise UserError(
        f"There is no suite called {grid!r}.{_suggestion(grid, names)}",
        where=root / "papers",
        mend=f"use one of: {', '.join(names)}",
    )


def pipeline_of(file: str) -> str:
    """The dvc.yaml beside a suite's parameter file, both seen from the repository."""
    return Path(file).with_name("dvc.yaml").as_posix()


def load_settings(root: Path, file: str = QUICKSTART) -> Settings:
    """params.yaml of the repository at `root`, with a suite's own `file` laid over it.

    What belongs to a suite (its grid, its overrides) it has from its own file alone, and nothing else from there.

    Raises:
        UserError: a file is missing, is not YAML, or has a key or value that does not fit.
    """
    lines = read_yaml(root / QUICKSTART)
    if file != QUICKSTART:
        shared = {key: value for key, value in lines.items() if key not in OWN}
        own = read_yaml(root / file)
        if strange := [key for key in own if key not in OWN]:
            raise UserError(
                f"A suite cannot have a block {strange[0]!r} of its own: DVC follows that of {QUICKSTART} alone."
                f"{_suggestion(strange[0], OWN)}",
                where=f"{file}{_line(own, (strange[0],))}: {strange[0]}",
                mend=f"remove it, or use one of: {', '.join(OWN)}; recipe values go into overrides",
            )
        lines = {**shared, **own}
    values = plain(lines)
    return check(Settings, values, "", lines, dict.fromkeys(OWN, file))


def load_with_parts(root: Path, file: str = QUICKSTART) -> list[Settings]:
    """The settings of a suite, then of those that are built with it. UserError: as `load_settings`, `suite_file`."""
    settings = load_settings(root, file)
    return [settings, *(load_settings(root, suite_file(root, part)) for part in settings.suite.parts)]
