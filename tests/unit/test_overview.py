"""docs/datasets.md tells what the readers declare; sizes and times are those that its columns promise."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from hashrepro.cli import named_sets
from hashrepro.datasets.base import Archive, ReaderOptions, Source, load_reader
from hashrepro.errors import UserError
from hashrepro.overview import (
    BEGIN,
    END,
    access,
    amount,
    counts,
    download_bytes,
    fill,
    listing,
    prepared,
    preparing_minutes,
    room,
    section,
)
from hashrepro.settings import Dataset, load_settings

ROOT = Path(__file__).parents[2]
BLOCK = Dataset(reader="birds", resize=256, crop=224, workers=2)
SOURCE = Source(
    title="Birds",
    home="https://birds.example",
    terms="for research",
    citation="Auk 2011",
    content="birds on branches",
    layout="the folder birds",
    files=("images/*",),
    images=1_000_000,
    classes=3,
    query=400_000,
    database=600_000,
    image_bytes=5_000_000_000,
    archives=(Archive("birds.zip", ("https://birds.example/birds.zip",), 1_500_000_000, "md5:00"),),
)


def reader(**changes):
    return SimpleNamespace(SOURCE=replace(SOURCE, **changes), Options=ReaderOptions)


SETS = named_sets(load_settings(ROOT))


def test_the_page_is_what_the_readers_declare():
    """`hashrepro data docs` writes it."""
    page = ROOT / "docs" / "datasets.md"
    assert fill(page, section(SETS)) == page.read_text(encoding="utf-8")


def test_every_set_of_the_papers_is_there():
    text = section(SETS)
    for title in (
        "CUB-200-2011",
        "FGVC-Aircraft",
        "VegFru",
        "Food-101",
        "NABirds",
        "CIFAR-10",
        "NUS-WIDE",
        "MIR-Flickr",
    ):
        assert f"\n### {title}" in text


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "?"), (12, "12 bytes"), (1_500, "1.5 kB"), (170_498_071, "170 MB"), (1_150_585_339, "1.2 GB")],
)
def test_amounts(count, text):
    assert amount(count) == text


def test_prepared_sets_hold_the_files_and_a_view_of_each():
    assert prepared(reader(), BLOCK, 1_000_000) == "156 GB"  # 5 GB, and 1,000,000 x 224 x 224 x 3 bytes
    assert prepared(reader(), BLOCK, 500_000) == "78 GB"
    assert prepared(reader(pixels=True), BLOCK, 1_000_000) == "5.0 GB"
    assert prepared(reader(image_bytes=None), BLOCK, 1_000_000) == "151 GB and the files"
    assert prepared(reader(), BLOCK, None) == "?"


def test_a_download_needs_room_for_the_unpacked_files_and_the_prepared_ones():
    assert room("birds", BLOCK, reader()) == 2 * 5_000_000_000 + 1_000_000 * 224 * 224 * 3
    assert room("birds", BLOCK, reader(images=None, query=None, database=None)) == 0


def test_more_processes_prepare_faster():
    one = preparing_minutes(reader(), BLOCK.model_copy(update={"workers": 1}), 1000)
    assert preparing_minutes(reader(), BLOCK, 1000) == pytest.approx(one / 2)
    assert preparing_minutes(reader(), BLOCK, None) is None


def test_options_change_the_counts():
    settings = load_settings(ROOT)
    found = {
        name: counts(name, settings.dataset(name), load_reader("nuswide"))
        for name in ("nuswide", "nuswide10")
    }
    assert found["nuswide"] == {"images": 195_834, "classes": 21, "query": 2_100, "database": 193_734}
    assert found["nuswide10"] == {"images": 186_577, "classes": 10, "query": 5_000, "database": 181_577}
    block = settings.dataset("vegfru").model_copy(update={"options": {"database": "train+val"}})
    assert counts("vegfru", block, load_reader("vegfru"))["images"] == 160_731


@pytest.mark.parametrize(
    ("changes", "how"),
    [
        ({}, "download"),
        ({"archives": ()}, "in this repository"),
        ({"archives": (Archive("birds.zip", by_hand="ask"),)}, "by hand"),
        ({"by_hand": ("Fill in the form.",)}, "by hand"),
        ({"images": None}, "yours"),
    ],
)
def test_how_a_set_is_come_by(changes, how):
    assert access(reader(**changes)) == how


def test_an_archive_of_unknown_size_makes_the_sum_unknown():
    assert download_bytes(reader()) == 1_500_000_000
    assert download_bytes(reader(archives=(*SOURCE.archives, Archive("more.zip")))) is None
    assert download_bytes(reader(archives=())) is None


def test_the_list_says_state_size_source_and_terms():
    text = listing([("birds", BLOCK, reader(), "not here")])
    for part in (
        "birds: Birds, 1,000,000 images",
        "not here",
        "download 1.5 GB",
        "prepared 156 GB",
        "for research",
    ):
        assert part in text


def test_a_section_has_archives_steps_and_options():
    text = section([("birds", BLOCK, reader(by_hand=("Fill in the form.", "Put it there.")))])
    assert (
        "| `birds` | Birds | 1,000,000 | 3 | 400,000 / 600,000 | 1.5 GB | 156 GB | 64 min | by hand |" in text
    )
    assert "- Archive `birds.zip` (1,500,000,000 bytes, md5:00): <https://birds.example/birds.zip>" in text
    assert "1. Fill in the form.\n2. Put it there." in text


@pytest.mark.parametrize("page", [None, "no marks", f"{BEGIN} {END} {BEGIN}"])
def test_a_page_without_its_marks_is_not_written_over(tmp_path, page):
    path = tmp_path / "datasets.md"
    if page is not None:
        path.write_text(page)
    with pytest.raises(UserError, match="no single pair of marks"):
        fill(path, "text")
