import uuid

import numpy as np
import pytest
from PIL import Image

from hashrepro.datasets import nabirds
from hashrepro.datasets.base import load_reader, parse_options
from hashrepro.errors import UserError

COUNTS = {"expect_classes": 3, "expect_query": 3, "expect_database": 2}
CLASSES = {  # a part of the tree of birds: only 99, 295 and 1010 have images
    "0": "Birds",
    "1": "Ducks, Geese, and Swans",
    "1010": "White-crowned Sparrow (Adult)",
    "99": "Cackling Goose",
    "295": "Common Eider (Female/juvenile)",
    "817": "Oak Titmouse",
}
IDS = [str(uuid.UUID(int=i << 90 | i)) for i in (1, 2, 3, 4, 5)]
NUMBERS = ["1010", "99", "295", "99", "1010"]
TRAINING = ["0", "1", "0", "1", "0"]
PATHS = [f"{int(n):04d}/{i.replace('-', '')}.jpg" for i, n in zip(IDS, NUMBERS, strict=True)]


def pairs(first, second):
    return [f"{a} {b}" for a, b in zip(first, second, strict=True)]


LINES = {
    "classes.txt": pairs(CLASSES, CLASSES.values()),
    "images.txt": pairs(IDS, PATHS),
    "image_class_labels.txt": pairs(IDS, NUMBERS)[::-1],
    "train_test_split.txt": pairs(IDS, TRAINING),
    "hierarchy.txt": ["1 0", "99 1", "295 1", "817 0", "1010 0"],
}


def write(folder, name, lines, end="\n"):
    (folder / "nabirds").mkdir(exist_ok=True)
    (folder / "nabirds" / name).write_bytes("".join(f"{line}{end}" for line in lines).encode())


@pytest.fixture
def folder(tmp_path):
    for name, lines in LINES.items():
        write(tmp_path, name, lines)
    for name in PATHS:
        path = tmp_path / "nabirds" / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 7)).save(path)
    return tmp_path


def size(path):
    with Image.open(path) as image:
        return image.size


def read(folder, **options):
    values = parse_options("tiny", load_reader("nabirds"), COUNTS | options)
    return nabirds.read(folder, values, np.random.default_rng(0))


def official(folder):
    return nabirds.read(folder, parse_options("full", load_reader("nabirds"), {}), np.random.default_rng(0))


def test_rows_are_in_the_order_of_images_txt(folder):
    reading = read(folder)
    assert reading.ids == PATHS
    assert reading.is_query.tolist() == [True, False, True, False, True]
    assert {size(path) for path in reading.images} == {(9, 7)}


def test_classes_are_those_with_images_by_ascending_number(folder):
    reading = read(folder)
    assert reading.class_names == [CLASSES[number] for number in ("99", "295", "1010")]
    assert reading.labels.argmax(axis=1).tolist() == [2, 0, 1, 0, 2]
    assert reading.labels.shape == (5, 3)
    assert reading.labels.sum() == 5


def test_the_tree_of_birds_is_not_needed(folder):
    (folder / "nabirds" / "hierarchy.txt").unlink()
    assert read(folder / "nabirds").ids == PATHS


def test_windows_lists_are_read(folder):
    expected = read(folder)
    for name, lines in LINES.items():
        write(folder, name, ["\ufeff" + lines[0], *lines[1:], ""], end=" \r\n")
    reading = read(folder)
    assert (reading.ids, reading.class_names) == (expected.ids, expected.class_names)
    assert np.array_equal(reading.labels, expected.labels)


def test_other_counts_than_the_official_ones_must_be_stated(folder):
    with pytest.raises(UserError, match=r"3 classes found, 555 expected[\s\S]*datasets\.full\.options"):
        official(folder)


@pytest.mark.parametrize("name", list(LINES)[:4])
def test_a_missing_file_is_named(folder, name):
    (folder / "nabirds" / name).unlink()
    with pytest.raises(UserError, match=name):
        read(folder)


@pytest.mark.parametrize(
    ("name", "line", "text", "problem"),
    [
        ("images.txt", 2, IDS[1], "not a line 'key value'"),
        ("images.txt", 2, "", "empty"),
        ("images.txt", 2, f"{IDS[0]} 0099/x.jpg", r"stands twice: images\.txt:1"),
        ("images.txt", 2, f"{IDS[1]} {PATHS[0]}", "stands twice: line 1"),
        ("images.txt", 3, f"{IDS[2]} ../../x.jpg", "leaves the folder"),
        ("image_class_labels.txt", 1, f"{IDS[4]} 1011", "'1011' is not one of 6"),
        ("train_test_split.txt", 3, f"{IDS[2]} 2", "'2' is not one of 2"),
        ("classes.txt", 2, "1", "not a line"),
        ("classes.txt", 2, "Ducks, Geese, and Swans", "'Ducks,' is not a whole number"),
    ],
)
def test_a_malformed_line_is_named_with_its_number(folder, name, line, text, problem):
    write(folder, name, [*LINES[name][: line - 1], text, *LINES[name][line:]])
    with pytest.raises(UserError, match=problem) as caught:
        read(folder)
    assert f"{name}:{line}" in str(caught.value)


@pytest.mark.parametrize("name", ["image_class_labels.txt", "train_test_split.txt"])
def test_ids_must_be_the_same_in_every_file(folder, name):
    write(folder, name, LINES[name][1:])
    with pytest.raises(UserError, match=rf"only one of images\.txt and {name}"):
        read(folder)


@pytest.fixture
def full(tmp_path):
    """Lists of the official size, in no order: (folder, classes with images, class numbers, 1 for training, ids)."""
    rng = np.random.default_rng(0)
    carried = np.sort(rng.permutation(1011)[:555])
    database = np.repeat(carried, [44] * 64 + [43] * 491)
    numbers = np.concatenate([database, np.repeat(carried, [45] * 213 + [44] * 342)])
    training = (np.arange(len(numbers)) < len(database)).astype(int)
    order = rng.permutation(len(numbers))
    numbers, training = numbers[order], training[order]
    stems = [f"{i:032x}" for i in range(len(numbers))]
    ids = [f"{stem[:8]}-{stem[8:12]}-{stem[12:16]}-{stem[16:20]}-{stem[20:]}" for stem in stems]
    write(tmp_path, "classes.txt", [f"{i} Bird (no {i})" for i in range(1011)])
    write(
        tmp_path,
        "images.txt",
        pairs(ids, [f"{n:04d}/{stem}.jpg" for n, stem in zip(numbers, stems, strict=True)]),
    )
    write(tmp_path, "image_class_labels.txt", pairs(ids, numbers))
    write(tmp_path, "train_test_split.txt", pairs(ids, training))
    return tmp_path, carried, numbers, training, ids


def test_the_defaults_admit_the_official_size(full):
    folder, carried, numbers, training, _ = full
    reading = official(folder)
    assert reading.labels.shape == (48_562, 555)
    assert np.array_equal(carried[reading.labels.argmax(axis=1)], numbers)
    assert np.array_equal(reading.is_query, training == 0)
    assert reading.class_names[-1] == f"Bird (no {carried[-1]})"


def test_right_totals_with_a_changed_class_are_refused(full):
    folder, carried, numbers, training, ids = full
    some = np.flatnonzero((numbers == carried[1]) & (training == 1))[:20]
    numbers[some] = carried[0]
    write(folder, "image_class_labels.txt", pairs(ids, numbers))
    with pytest.raises(UserError, match="has 64 database images, and 4 to 60 in the official set"):
        official(folder)
