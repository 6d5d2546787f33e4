"""All data sets at a glance: the list of `hashrepro data list`, and what docs/datasets.md tells of each set."""

from collections.abc import Iterable
from pathlib import Path

from hashrepro.datasets.base import COUNTS, Archive, Reader, load_reader, parse_options, reader_names
from hashrepro.deviations import keys
from hashrepro.errors import UserError
from hashrepro.settings import Dataset

BEGIN, END = "<!-- begin: written by `hashrepro data docs`; a test compares -->", "<!-- end -->"
IMAGES_A_SECOND = 130  # of one process, photographs of 500 x 375 pixels: bench_cache.py, row cache_build

Named = tuple[str, Dataset, Reader]  # a block of params.yaml under its name, with its reader


def amount(count: int | None) -> str:
    """A number of bytes for people; a question mark when it is unknown."""
    if count is None:
        return "?"
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.{1 if count < 10 * size else 0}f} {unit}"
    return f"{count} bytes"


def download_bytes(reader: Reader) -> int | None:
    """Bytes of all archives together; None when there are none, or one is of unknown size."""
    sizes = [archive.size for archive in reader.SOURCE.archives]
    return sum(sizes) if sizes and None not in sizes else None


def counts(name: str, block: Dataset, reader: Reader) -> dict[str, int | None]:
    """Images, classes, query and database of a block: the official set's, or what its options make of them."""
    found = {what: getattr(reader.SOURCE, what) for what in COUNTS}
    found |= parse_options(name, reader, block.options).counts()
    if found["query"] is not None and found["database"] is not None:
        found["images"] = found["query"] + found["database"]
    return found


def prepared_bytes(reader: Reader, block: Dataset, images: int) -> tuple[int, int | None]:
    """About what preprocessing leaves on disk: (evaluation views, the original files, None if they are not known)."""
    source = reader.SOURCE
    files = None if source.image_bytes is None else source.image_bytes * images // source.images
    return 0 if source.pixels else images * block.crop**2 * 3, files


def prepared(reader: Reader, block: Dataset, images: int | None) -> str:
    """`prepared_bytes` for people."""
    if images is None:
        return "?"
    views, files = prepared_bytes(reader, block, images)
    return f"{amount(views)} and the files" if files is None else amount(views + files)


def room(name: str, block: Dataset, reader: Reader) -> int:
    """About the bytes of disk that a set takes beside its archives: unpacked for a while, and prepared."""
    images = counts(name, block, reader)["images"]
    if images is None:
        return 0
    views, files = prepared_bytes(reader, block, images)
    return views + 2 * (files or 0)


def preparing_minutes(reader: Reader, block: Dataset, images: int | None) -> float | None:
    """About how long preprocessing takes, the download apart; None when the number of images is the user's."""
    if images is None:
        return None
    return 0.0 if reader.SOURCE.pixels else images / IMAGES_A_SECOND / block.workers / 60


def access(reader: Reader) -> str:
    """How the set is come by, in a few words."""
    source = reader.SOURCE
    if source.images is None:
        return "yours"
    if not source.archives and not source.by_hand:
        return "in this repository"
    closed = source.by_hand or any(not archive.urls for archive in source.archives)
    return "by hand" if closed else "download"


def listing(sets: Iterable[tuple[str, Dataset, Reader, str]]) -> str:
    """What `hashrepro data list` prints of (name, block, reader, state): two lines a set, and its terms."""
    lines = []
    for name, block, reader, state in sets:
        source, found = reader.SOURCE, counts(name, block, reader)
        content = (
            f"{found['images']:,} images, {found['classes']} classes" if found["images"] else "your images"
        )
        sizes = [f"download {amount(download_bytes(reader))}"] if source.archives else []
        sizes.append(f"prepared {prepared(reader, block, found['images'])}")
        lines += [
            f"{name}: {source.title}, {content}",
            f"    state  {state}",
            f"    size   {', '.join(sizes)}",
            f"    from   {block.folder or f'{source.home} ({access(reader)})'}",
            f"    terms  {source.terms}",
        ]
    return "\n".join(lines)


def section(sets: list[Named]) -> str:
    """The written part of docs/datasets.md: a table of all sets, each set's sources, steps and options, and the options
    of the readers for a user's own images, whose blocks are left out."""
    sets = [(name, block, reader) for name, block, reader in sets if reader.SOURCE.images is not None]
    lines = [
        "| name | data set | images | classes | queries / database | download | prepared | preparing | comes by |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for name, block, reader in sets:
        found = counts(name, block, reader)
        cells = [
            f"`{name}`",
            reader.SOURCE.title,
            *(_count(found[what]) for what in ("images", "classes")),
            f"{_count(found['query'])} / {_count(found['database'])}",
            amount(download_bytes(reader)) if reader.SOURCE.archives else "–",
            prepared(reader, block, found["images"]),
            _minutes(preparing_minutes(reader, block, found["images"])),
            access(reader),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    readers: dict[str, tuple[Reader, list[str]]] = {}
    for name, block, reader in sets:
        readers.setdefault(block.reader, (reader, []))[1].append(name)
    for reader, names in readers.values():
        lines += ["", *_about(reader, names)]
    for name in reader_names():
        reader = load_reader(name)
        if reader.SOURCE.images is None:
            layout = f"{reader.SOURCE.layout[0].upper()}{reader.SOURCE.layout[1:]}."
            lines += ["", f"### `reader: {name}`", "", layout, "", *_options(reader)]
    return "\n".join(lines)


def _about(reader: Reader, names: list[str]) -> list[str]:
    source = reader.SOURCE
    lines = [
        f"### {source.title}",
        "",
        f"{source.content[0].upper()}{source.content[1:]}. In params.yaml: {', '.join(f'`{n}`' for n in names)}.",
        "",
        f"- Home: <{source.home}>",
        f"- Cite: {source.citation}",
        f"- Terms: {source.terms}",
        f"- Folder: {source.layout}",
        *(_archive(archive) for archive in source.archives),
    ]
    if source.by_hand:
        lines += ["", "By hand:", "", *(f"{i}. {step}" for i, step in enumerate(source.by_hand, start=1))]
    return [*lines, "", *_options(reader)]


def _archive(archive: Archive) -> str:
    size = f"{archive.size:,} bytes" if archive.size else "size unknown"
    where = ", ".join(f"<{url}>" for url in archive.urls) or archive.by_hand
    return f"- Archive `{archive.name}` ({size}, {archive.digest or 'no digest known'}): {where}"


def _options(reader: Reader) -> list[str]:
    rows = [tuple(cell.replace("|", "\\|") for cell in row) for row in keys(reader.Options)]
    lines = ["| option | default | meaning |", "| --- | --- | --- |"]
    return [*lines, *(f"| `{key}` | `{default}` | {meaning} |" for key, default, meaning in rows)]


def _count(number: int | None) -> str:
    return "yours" if number is None else f"{number:,}"


def _minutes(minutes: float | None) -> str:
    if minutes is None:
        return "?"
    return "seconds" if minutes < 1 else f"{minutes:.0f} min"


def fill(path: Path, text: str) -> str:
    """The page at `path` with `text` in place of what stands between its two marks.

    Raises:
        UserError: the page or its marks are missing.
    """
    try:
        before, rest = path.read_text(encoding="utf-8").split(BEGIN)
        _, after = rest.split(END)
    except (FileNotFoundError, ValueError):
        raise UserError(
            f"The page has no single pair of marks {BEGIN} and {END}.",
            where=path,
            mend="git checkout -- docs/datasets.md",
        ) from None
    return f"{before}{BEGIN}\n{text}\n{END}{after}"
