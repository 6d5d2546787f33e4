"""MIR-Flickr 25K: a miniature in the official layout, and one of full size with the official counts."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from hashrepro.datasets import flickr25k
from hashrepro.datasets.base import load_reader, parse_options
from hashrepro.datasets.splits import check_recorded, digests, draw
from hashrepro.errors import UserError
from hashrepro.seeds import stream

# images by label, numbered from 1 to 12; 4, 7 and 11 have no label
LABELS = {
    "sky": [1, 2, 3, 5, 8],
    "clouds": [2, 3, 12],
    "clouds_r1": [3],
    "baby": [6, 9, 10],
    "baby_r1": [9, 6],
    "plant_life": [12],
}
NAMES = ["baby", "baby_r1", "clouds", "clouds_r1", "plant_life", "sky"]
MINE = {
    "num_query": 3,
    "expect_frequencies": [5, 3, 3, 2, 1, 1],
    "expect_images": 12,
    "expect_unlabelled": 3,
}
OFFICIAL = {
    "clouds": 3700, "sky": 7912, "lake": 791, "tree": 4683, "indoor": 8313, "female_r1": 3982, "portrait": 3931,
    "dog": 684, "river_r1": 149, "flower_r1": 1077, "animals": 3216, "car": 1177, "sea": 1322, "night": 2711,
    "transport": 2895, "sunset": 2135, "people": 10373, "bird_r1": 484, "flower": 1823, "clouds_r1": 1350, "food": 990,
    "baby_r1": 116, "sea_r1": 214, "night_r1": 669, "structures": 9992, "dog_r1": 590, "car_r1": 380, "water": 3331,
    "baby": 259, "male_r1": 3647, "plant_life": 8763, "portrait_r1": 3829, "tree_r1": 668, "bird": 742,
    "people_r1": 7849, "male": 6081, "river": 894, "female": 6184,
}  # fmt: skip


def annotations(folder):
    return folder / "mirflickr25k_annotations_v080"


def write(folder, label, lines, end="\n"):
    annotations(folder).mkdir(parents=True, exist_ok=True)
    (annotations(folder) / f"{label}.txt").write_bytes("".join(f"{line}{end}" for line in lines).encode())


@pytest.fixture
def folder(tmp_path):
    for label, numbers in LABELS.items():
        write(tmp_path, label, numbers)
    write(tmp_path, "README", ["MIRFLICKR-25000 annotations", "", "one file for each topic"])
    (tmp_path / "mirflickr").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "mirflickr" / "im1.jpg")
    return tmp_path


def read(folder, seed=0, **options):
    values = parse_options("tiny", load_reader("flickr25k"), MINE | options)
    return flickr25k.read(folder, values, np.random.default_rng(seed))


def image_numbers(reading):
    return [int(name.removeprefix("mirflickr/im").removesuffix(".jpg")) for name in reading.ids]


def test_columns_are_the_labels_in_alphabetical_order(folder):
    reading = read(folder)
    assert reading.class_names == NAMES
    expected = [[number in LABELS[name] for name in NAMES] for number in image_numbers(reading)]
    assert reading.labels.tolist() == expected
    assert reading.images == [folder / name for name in reading.ids]


def test_queries_are_drawn_and_the_database_keeps_the_order_of_the_numbers(folder):
    reading = read(folder, seed=6)
    order = np.random.default_rng(6).permutation(12)
    assert image_numbers(reading) == [*(order[:3] + 1), *(np.sort(order[3:]) + 1)]
    assert reading.is_query.tolist() == [True] * 3 + [False] * 9
    assert reading.facts["rows"] == digests(*draw(12, 3, np.random.default_rng(6)))
    assert reading.facts["unlabelled"] == "3, kept"


def test_the_relevant_labels_may_be_left_out(folder):
    reading = read(folder, labels=24, expect_frequencies=[5, 3, 3, 1])
    assert reading.class_names == ["baby", "clouds", "plant_life", "sky"]
    assert image_numbers(reading) == image_numbers(read(folder))


def test_images_without_a_label_may_be_dropped(folder):
    reading = read(folder, drop_unlabelled=True)
    assert sorted(image_numbers(reading)) == [1, 2, 3, 5, 6, 8, 9, 10, 12]
    assert reading.labels.any(axis=1).all()
    assert reading.is_query.sum() == 3
    assert reading.facts["unlabelled"] == "3, dropped"


def test_queries_may_be_listed(folder):
    (folder / "mine.txt").write_text("mirflickr/im7.jpg\nmirflickr/im2.jpg\n")
    reading = read(folder, split="files", query_list="mine.txt")
    assert image_numbers(reading) == [7, 2, 1, 3, 4, 5, 6, 8, 9, 10, 11, 12]
    assert reading.is_query.sum() == 2
    dropped = read(folder, split="files", query_list="mine.txt", drop_unlabelled=True)
    assert image_numbers(dropped) == [2, 1, 3, 5, 6, 8, 9, 10, 12]
    assert dropped.is_query.sum() == 1


def test_the_lists_of_the_reference_are_known_by_their_digests(folder, monkeypatch):
    content = b"mirflickr/im7.jpg\n"
    (folder / "test_image_m.txt").write_bytes(content)
    assert len(flickr25k._REFERENCES) == 2
    monkeypatch.setitem(flickr25k._REFERENCES, hashlib.sha256(content).hexdigest(), "the reference's own")
    reading = read(folder, split="files", query_list="test_image_m.txt")
    assert reading.facts["split"].startswith("queries from test_image_m.txt (the reference's own)")


def test_windows_line_ends_and_blank_last_lines_are_read(folder):
    expected = read(folder)
    for label, numbers in LABELS.items():
        write(folder, label, [*numbers, ""], end="\r\n")
    assert np.array_equal(read(folder).labels, expected.labels)


@pytest.mark.parametrize(
    ("line", "text", "problem"),
    [
        (1, "0", "there is no image 0"),
        (2, "13", "numbers 1 to 12"),
        (2, "-3", "'-3' is not a whole number"),
        (2, "im3", "'im3' is not a whole number"),
        (2, "", "'' is not a whole number"),
        (3, "2", "2 stands twice"),
        (3, "02", "2 stands twice"),
    ],
)
def test_a_malformed_line_is_named_with_its_number(folder, line, text, problem):
    lines = list(map(str, LABELS["clouds"]))
    lines[line - 1] = text
    write(folder, "clouds", lines)
    with pytest.raises(UserError, match=problem) as caught:
        read(folder)
    assert caught.value.where == f"{annotations(folder) / 'clouds.txt'}:{line}"


def test_label_files_that_are_missing_or_too_many_are_told_by_their_numbers(folder):
    (annotations(folder) / "plant_life.txt").rename(annotations(folder) / "plant_life.bak")
    with pytest.raises(UserError, match=r"5 labels found, 6 expected.*\[1\] are missing"):
        read(folder)
    write(folder, "plant_life", [12])
    write(folder, "notes", [1, 2, 3, 4])
    with pytest.raises(UserError, match=r"7 labels found, 6 expected.*'notes': 4"):
        read(folder)
    for path in annotations(folder).iterdir():
        path.unlink()
    with pytest.raises(UserError, match="no label file"):
        read(folder)


def test_another_number_of_images_of_a_label_is_told(folder):
    write(folder, "sky", LABELS["sky"][:-1])
    with pytest.raises(UserError, match=r"{'sky': 4} are not expected and \[5\] are missing") as caught:
        read(folder)
    assert "datasets.tiny.options.expect_frequencies: [3, 2, 3, 1, 1, 4]" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"expect_unlabelled": 419}, "3 unlabelled found, 419 expected"),
        ({"expect_query": 4}, "3 query found, 4 expected"),
        ({"expect_database": 8}, "9 database found, 8 expected"),
        ({"num_query": 12}, "12 queries cannot be drawn from 12 images"),
        ({"num_query": 9, "drop_unlabelled": True}, "9 queries cannot be drawn from 9 images"),
        ({"expect_images": 10}, "numbers 1 to 10"),
        ({"query_list": "list.txt"}, "uses no list"),
        ({"split": "files"}, "needs a list"),
    ],
)
def test_other_counts_and_options_that_do_not_fit_are_refused(folder, options, problem):
    with pytest.raises(UserError, match=problem):
        read(folder, **options)


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A folder with the official counts: 25,000 images, 419 without a label, relevant labels within potential."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("flickr25k")
    labelled = 1 + rng.permutation(25_000)[: 25_000 - 419]
    numbers, covered = {}, 0
    for label in sorted(name for name in OFFICIAL if not name.endswith("_r1")):
        cover = labelled[covered : covered + OFFICIAL[label]]
        free = rng.permutation(np.setdiff1d(labelled, cover))
        numbers[label] = np.concatenate([cover, free[: OFFICIAL[label] - len(cover)]])
        covered += len(cover)
    for label in (name for name in OFFICIAL if name.endswith("_r1")):
        numbers[label] = numbers[label.removesuffix("_r1")][: OFFICIAL[label]]
    for label, images in numbers.items():
        write(folder, label, np.sort(images))
    return folder


@pytest.mark.parametrize(
    ("options", "columns", "database"),
    [
        ({}, 38, 24_000),
        ({"labels": 24}, 24, 24_000),
        ({"drop_unlabelled": True}, 38, 23_581),
    ],
)
def test_the_default_options_take_the_official_counts(official, options, columns, database):
    values = parse_options("flickr25k", load_reader("flickr25k"), options)
    reading = flickr25k.read(official, values, stream(0, "split", "flickr25k"))
    names = sorted(name for name in OFFICIAL if columns == 38 or not name.endswith("_r1"))
    assert reading.class_names == names
    assert reading.labels.sum(axis=0).tolist() == [OFFICIAL[name] for name in names]
    assert reading.is_query.tolist() == [True] * 1000 + [False] * database
    assert (~reading.labels.any(axis=1)).sum() == (0 if options.get("drop_unlabelled") else 419)
    check_recorded("flickr25k", values, 0, reading)
    if not options:
        source = flickr25k.SOURCE
        assert (source.images, source.classes, source.query, source.database) == (25_000, 38, 1000, database)
