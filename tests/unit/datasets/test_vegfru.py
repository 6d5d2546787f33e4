import numpy as np
import pytest
from PIL import Image

from hashrepro.datasets import vegfru
from hashrepro.datasets.base import load_reader, parse_options
from hashrepro.errors import UserError

COUNTS = {"expect_classes": 3, "expect_query": 3, "expect_database": 3}
ONION, KALE, APPLE = "veg200_images/green_onion", "veg200_images/kale", "fru92_images/apple"
LINES = {
    "vegfru_test.txt": [f"{APPLE}/f_1.JPG 1", f"{ONION}/v_9.jpg 2", f"{KALE}/v_1.jpg 0"],
    "vegfru_train.txt": [f"{KALE}/v_2.jpg 0", f"{ONION}/v_1.jpg 2", f"{APPLE}/f_3.jpg 1"],
    "vegfru_val.txt": [f"{KALE}/v_3.jpg 0", f"{APPLE}/f_2.jpg 1"],
}


def write(folder, name, lines, end="\n"):
    (folder / "vegfru_list").mkdir(exist_ok=True)
    (folder / "vegfru_list" / name).write_bytes("".join(f"{line}{end}" for line in lines).encode())


@pytest.fixture
def folder(tmp_path):
    for name, lines in LINES.items():
        write(tmp_path, name, lines)
        for line in lines:
            path = tmp_path / line.split()[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (6, 8)).save(path)
    return tmp_path


def size(path):
    with Image.open(path) as image:
        return image.size


def read(folder, **options):
    values = parse_options("tiny", load_reader("vegfru"), COUNTS | options)
    return vegfru.read(folder, values, np.random.default_rng(0))


def official(folder, **options):
    values = parse_options("full", load_reader("vegfru"), options)
    return vegfru.read(folder, values, np.random.default_rng(0))


def paths(*lists):
    return [line.split()[0] for name in lists for line in LINES[f"vegfru_{name}.txt"]]


def test_rows_are_in_the_order_of_the_lists_queries_first(folder):
    reading = read(folder)
    assert reading.ids == paths("test", "train")
    assert reading.is_query.tolist() == [True] * 3 + [False] * 3
    assert {size(path) for path in reading.images} == {(6, 8)}


def test_labels_are_from_0_and_named_after_their_folders(folder):
    reading = read(folder)
    assert reading.class_names == ["kale", "apple", "green onion"]
    assert reading.labels.argmax(axis=1).tolist() == [1, 2, 0, 0, 2, 1]
    assert reading.labels.sum() == 6


def test_the_validation_list_may_follow_the_training_list(folder):
    reading = read(folder, database="train+val", expect_database=5)
    assert reading.ids == paths("test", "train", "val")
    assert reading.is_query.tolist() == [True] * 3 + [False] * 5


def test_the_validation_list_is_not_needed_for_the_papers_database(folder):
    (folder / "vegfru_list" / "vegfru_val.txt").unlink()
    assert read(folder).ids == paths("test", "train")
    with pytest.raises(UserError, match=r"vegfru_val\.txt"):
        read(folder, database="train+val", expect_database=5)


def test_folders_of_one_name_among_vegetables_and_fruits_are_two_classes(folder):
    write(folder, "vegfru_train.txt", [*LINES["vegfru_train.txt"], "fru92_images/kale/f_1.jpg 3"])
    reading = read(folder, expect_classes=4, expect_database=4)
    assert reading.class_names == ["kale", "apple", "green onion", "kale"]


def test_windows_lists_are_read(folder):
    expected = read(folder)
    for name, lines in LINES.items():
        write(folder, name, ["\ufeff" + lines[0], *lines[1:], ""], end=" \r\n")
    reading = read(folder)
    assert (reading.ids, reading.class_names) == (expected.ids, expected.class_names)
    assert np.array_equal(reading.labels, expected.labels)


@pytest.mark.parametrize(("database", "count"), [("train", 29_200), ("train+val", 43_800)])
def test_the_official_count_depends_on_the_lists(folder, database, count):
    with pytest.raises(UserError, match=rf"database found, {count} expected"):
        official(folder, database=database)


@pytest.mark.parametrize("name", ["vegfru_test.txt", "vegfru_train.txt"])
def test_a_missing_list_is_named(folder, name):
    (folder / "vegfru_list" / name).unlink()
    with pytest.raises(UserError, match=name):
        read(folder)


@pytest.mark.parametrize(
    ("name", "line", "text", "problem"),
    [
        ("vegfru_test.txt", 2, f"{ONION}/v_9.jpg", "'' is not a whole number"),
        ("vegfru_test.txt", 2, f"{ONION}/v_9.jpg two", "'two' is not a whole number"),
        ("vegfru_test.txt", 2, f"{ONION}/v 9.jpg 2", r"'9\.jpg 2' is not a whole number"),
        ("vegfru_test.txt", 2, f"{ONION}/v_9.jpg -1", "'-1' is not a whole number"),
        ("vegfru_test.txt", 2, "", "empty"),
        ("vegfru_test.txt", 2, "v_9.jpg 2", "no class folder"),
        ("vegfru_test.txt", 3, f"{ONION}/v_9.jpg 2", r"stands twice: vegfru_test\.txt:2"),
        ("vegfru_train.txt", 1, f"{KALE}/v_1.jpg 0", r"stands twice: vegfru_test\.txt:3"),
        ("vegfru_train.txt", 1, f"{KALE}/v_2.jpg 2", "label 2 stands with folder veg200_images/kale"),
        ("vegfru_train.txt", 1, f"{KALE}/v_2.jpg 3", "label 3 stands with folder veg200_images/kale"),
        (
            "vegfru_train.txt",
            1,
            "veg200_images/leek/v_2.jpg 0",
            "label 0 stands with folder veg200_images/leek",
        ),
        ("vegfru_train.txt", 1, "veg200_images/../../secret/v_2.jpg 0", "leaves the folder"),
    ],
)
def test_a_malformed_line_is_named_with_its_number(folder, name, line, text, problem):
    write(folder, name, [*LINES[name][: line - 1], text, *LINES[name][line:]])
    with pytest.raises(UserError, match=problem) as caught:
        read(folder)
    assert f"{name}:{line}" in str(caught.value)


def test_lists_of_another_numbering_are_refused(folder):
    """As when the lists of the vegetables alone are mixed with those of both."""
    for name, lines in LINES.items():
        write(folder, name, [line.replace(".jpg 0", ".jpg 3") for line in lines])
    with pytest.raises(UserError, match="3 labels, but 0 is not among them"):
        read(folder)


@pytest.fixture
def full(tmp_path):
    """Lists of the official size: 100, 50 and the rest of each class; 0 to 199 are vegetables."""

    def lines(counts, first):
        for c, count in enumerate(counts):
            stem = f"{'veg200' if c < 200 else 'fru92'}_images/kind_{c}"
            yield from (f"{stem}/{i}.jpg {c}" for i in range(first, first + count))

    write(tmp_path, "vegfru_train.txt", lines([100] * 292, 0))
    write(tmp_path, "vegfru_val.txt", lines([50] * 292, 100))
    write(tmp_path, "vegfru_test.txt", lines([401] * 131 + [400] * 161, 150))
    return tmp_path


def test_the_defaults_admit_the_official_size(full):
    reading = official(full)
    assert reading.labels.shape == (146_131, 292)
    assert set(reading.labels[~reading.is_query].sum(axis=0)) == {100}
    assert (reading.class_names[0], reading.class_names[291]) == ("kind 0", "kind 291")


def test_the_official_size_with_validation_images(full):
    reading = official(full, database="train+val")
    database = reading.labels[~reading.is_query]
    assert database.shape == (43_800, 292)
    assert (np.diff(database[:29_200].argmax(axis=1)) >= 0).all()
    assert (np.diff(database[29_200:].argmax(axis=1)) >= 0).all()


def test_right_totals_with_a_changed_class_are_refused(full):
    path = full / "vegfru_list" / "vegfru_train.txt"
    _, *rest = path.read_text().splitlines()
    write(full, "vegfru_train.txt", ["fru92_images/kind_291/new.jpg 291", *rest])
    with pytest.raises(UserError, match="class 'kind 0' has 99 database images, and 100 in the official set"):
        official(full)
