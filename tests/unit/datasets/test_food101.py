import numpy as np
import pytest
from PIL import Image

from hashrepro.datasets import food101
from hashrepro.datasets.base import load_reader, parse_options
from hashrepro.errors import UserError

COUNTS = {"expect_classes": 3, "expect_query": 3, "expect_database": 4}
LINES = {
    "labels.txt": ["Apple pie", "Baby back ribs", "Waffles"],
    "test.txt": ["apple_pie/1011328", "waffles/99", "baby_back_ribs/2"],
    "train.txt": ["waffles/100", "apple_pie/99", "baby_back_ribs/11", "baby_back_ribs/1"],
}
FOLDERS = ["apple_pie", "baby_back_ribs", "waffles"]


def write(folder, name, lines, end="\n"):
    path = folder / "food-101" / "meta" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}{end}" for line in lines).encode())


@pytest.fixture
def folder(tmp_path):
    for name, lines in LINES.items():
        write(tmp_path, name, lines)
    for name in LINES["test.txt"] + LINES["train.txt"]:
        path = tmp_path / "food-101" / "images" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(path)
    return tmp_path


def size(path):
    with Image.open(path) as image:
        return image.size


def read(folder, **options):
    values = parse_options("tiny", load_reader("food101"), COUNTS | options)
    return food101.read(folder, values, np.random.default_rng(0))


def official(folder):
    return food101.read(folder, parse_options("full", load_reader("food101"), {}), np.random.default_rng(0))


def test_rows_are_in_the_order_of_the_lists_queries_first(folder):
    reading = read(folder)
    assert reading.ids == [f"{name}.jpg" for name in LINES["test.txt"] + LINES["train.txt"]]
    assert reading.is_query.tolist() == [True] * 3 + [False] * 4
    assert {size(path) for path in reading.images} == {(8, 6)}


def test_a_class_has_its_folder_and_the_name_of_labels_txt(folder):
    reading = read(folder)
    assert reading.class_names == ["Apple pie", "Baby back ribs", "Waffles"]
    assert [FOLDERS[c] for c in reading.labels.argmax(axis=1)] == [name.split("/")[0] for name in reading.ids]
    assert reading.labels.sum() == 7


def test_the_folder_itself_may_be_named(folder):
    assert read(folder / "food-101").ids == read(folder).ids


def test_windows_lists_are_read(folder):
    expected = read(folder)
    for name, lines in LINES.items():
        write(folder, name, ["\ufeff" + lines[0], *lines[1:], ""], end=" \r\n")
    reading = read(folder)
    assert (reading.ids, reading.class_names) == (expected.ids, expected.class_names)
    assert np.array_equal(reading.labels, expected.labels)


def test_other_counts_than_the_official_ones_must_be_stated(folder):
    with pytest.raises(UserError, match=r"datasets\.full\.options\.expect_database: 4"):
        official(folder)


@pytest.mark.parametrize("name", list(LINES))
def test_a_missing_list_is_named(folder, name):
    (folder / "food-101" / "meta" / name).unlink()
    with pytest.raises(UserError, match=name):
        read(folder)


@pytest.mark.parametrize(
    ("name", "line", "text", "problem"),
    [
        ("labels.txt", 3, "Apple pie", "stands twice: line 1"),
        ("labels.txt", 3, "apple Pie", "stands twice: line 1"),
        ("labels.txt", 2, "", "empty"),
        ("test.txt", 2, "waffles", "not a line 'class/id': 'waffles'"),
        ("test.txt", 2, "waffles/", "not a line 'class/id'"),
        ("test.txt", 2, "waffles/99 2", "not a line 'class/id': 'waffles/99 2'"),
        ("test.txt", 2, "Waffles/99", "'Waffles' is not one of 3"),
        ("test.txt", 2, "", "empty"),
        ("test.txt", 3, "waffles/99", r"stands twice: test\.txt:2"),
        ("train.txt", 1, "waffles/99", r"stands twice: test\.txt:2"),
        ("train.txt", 4, "waffles/../../../secret", "leaves the folder"),
    ],
)
def test_a_malformed_line_is_named_with_its_number(folder, name, line, text, problem):
    write(folder, name, [*LINES[name][: line - 1], text, *LINES[name][line:]])
    with pytest.raises(UserError, match=problem) as caught:
        read(folder)
    assert f"{name}:{line}" in str(caught.value)


@pytest.fixture
def full(tmp_path):
    """Lists of the official size: (folder, their lines by name)."""
    lines = {
        "labels.txt": [f"Dish No {c}" for c in range(101)],
        "test.txt": [f"dish_no_{c}/{i}" for c in range(101) for i in range(250)],
        "train.txt": [f"dish_no_{c}/{i}" for c in range(101) for i in range(250, 1000)],
    }
    for name in lines:
        write(tmp_path, name, lines[name])
    return tmp_path, lines


def test_the_defaults_admit_the_official_size(full):
    reading = official(full[0])
    assert reading.labels.shape == (101_000, 101)
    assert set(reading.labels[reading.is_query].sum(axis=0)) == {250}
    assert reading.ids[25_249:25_251] == ["dish_no_100/249.jpg", "dish_no_0/250.jpg"]


@pytest.mark.parametrize(
    ("name", "problem"), [("train.txt", "749 database images, and 750"), ("test.txt", "249 queries, and 250")]
)
def test_right_totals_with_a_changed_class_are_refused(full, name, problem):
    folder, lines = full
    write(folder, name, ["dish_no_100/1000", *lines[name][1:]])
    with pytest.raises(UserError, match=f"class 'Dish No 0' has {problem} in the official set"):
        official(folder)
