"""Your own class folders: real little images, in an order that does not depend on the machine."""

import os

import numpy as np
import pytest
from PIL import Image

from hashrepro.datasets import class_folders
from hashrepro.datasets.base import load_reader, parse_options
from hashrepro.errors import UserError

# in the order that rows must have: capitals first, as in bytes
FILES = [
    "Zebra/1.PNG",
    "Zebra/2.jpg",
    "Zebra/deep/er/0.jpeg",
    "cat/10.jpg",
    "cat/9.jpg",
    "cat/a.webp",
    "cat eyes/x.gif",
    "cat eyes/y.bmp",
    "cat eyes/z.jpg",
    "été/1.jpg",
    "été/2.jpg",
    "été/3.jpg",
]
CLASSES = ["Zebra", "cat", "cat eyes", "été"]


def save(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)


@pytest.fixture
def folder(tmp_path):
    for name in FILES:
        save(tmp_path / name)
    return tmp_path


@pytest.fixture
def parted(tmp_path):
    for name in ("test/cat/1.jpg", "test/dog/2.jpg", "train/cat/1.jpg", "train/dog/3.jpg", "train/owl/4.jpg"):
        save(tmp_path / name)
    return tmp_path


def read(folder, seed=0, **options):
    values = parse_options("mine", load_reader("class_folders"), options)
    return class_folders.read(folder, values, np.random.default_rng(seed))


def test_rows_are_sorted_by_class_and_then_by_name_in_bytes(folder):
    reading = read(folder, query_per_class=1)
    assert reading.ids == FILES
    assert reading.class_names == CLASSES
    assert reading.images == [folder / name for name in FILES]
    assert [CLASSES[c] for c in reading.labels.argmax(axis=1)] == [name.split("/")[0] for name in FILES]
    assert reading.labels.sum() == len(FILES)


def test_queries_are_drawn_from_every_class(folder):
    reading = read(folder, query_per_class=2)
    assert reading.labels[reading.is_query].sum(axis=0).tolist() == [2] * 4
    assert reading.is_query.tolist() == read(folder, query_per_class=2).is_query.tolist()
    others = [read(folder, seed=seed, query_per_class=2).is_query.tolist() for seed in range(1, 6)]
    assert any(other != reading.is_query.tolist() for other in others)
    assert read(folder, num_query=5).is_query.sum() == 5
    assert reading.catalog("mine").digest


def test_other_and_hidden_files_are_left_out(folder):
    before = read(folder, query_per_class=1)
    (folder / "labels.txt").write_text("about")
    (folder / "cat" / "notes.md").write_text("about cats")
    (folder / "Zebra" / "deep" / "Thumbs.db").write_text("")
    for hidden in (".cat/1.jpg", "cat/.1.jpg", "cat/.cache/1.jpg"):
        save(folder / hidden)
    after = read(folder, query_per_class=1)
    assert (after.ids, after.class_names) == (before.ids, before.class_names)
    assert (before.facts["other_files"], after.facts["other_files"]) == (0, 3)


def test_folders_may_give_the_split(parted):
    reading = read(parted, query="test", database="train")
    assert reading.class_names == ["cat", "dog", "owl"]
    assert reading.ids == [
        "test/cat/1.jpg", "test/dog/2.jpg", "train/cat/1.jpg", "train/dog/3.jpg", "train/owl/4.jpg",
    ]  # fmt: skip
    assert reading.is_query.tolist() == [True, True, False, False, False]
    assert reading.labels.argmax(axis=1).tolist() == [0, 1, 0, 1, 2]


def test_a_class_of_queries_alone_is_refused(parted):
    with pytest.raises(UserError, match=r"1 queries share no label .*'owl'"):
        read(parted, query="train", database="test")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"query": "test"}, "one of them is missing"),
        ({"database": "train"}, "one of them is missing"),
        ({"query": "test", "database": "train", "num_query": 2}, "a number of them"),
        ({"query": "test", "database": "train", "query_per_class": 2}, "a number of them"),
        ({"query": "../test", "database": "train"}, "not a folder inside"),
        ({"query": "/test", "database": "train"}, "not a folder inside"),
        ({"query": "test", "database": "."}, "not a folder inside"),
        ({"query": "train", "database": "train"}, "lies in the other"),
        ({"query": "train/owl", "database": "train"}, "lies in the other"),
        ({"query": "queries", "database": "train"}, "cannot be read: No such file"),
    ],
)
def test_options_that_do_not_fit_are_refused(parted, options, problem):
    with pytest.raises(UserError, match=problem):
        read(parted, **options)


def test_too_few_images_of_a_class_are_named(folder):
    save(folder / "cat" / "11.jpg")
    with pytest.raises(UserError, match=r"class 'Zebra' has 3 images; 3 queries .*3 of 4 classes"):
        read(folder, query_per_class=3)
    with pytest.raises(UserError, match="'Zebra' has 3 images; 10 queries"):
        read(folder)


def test_numbers_of_queries_that_do_not_fit_are_refused(folder):
    with pytest.raises(UserError, match="exclude each other"):
        read(folder, num_query=1, query_per_class=1)
    with pytest.raises(UserError, match="12 queries cannot be drawn"):
        read(folder, num_query=12)


def test_a_folder_without_classes_or_with_one_is_refused(tmp_path):
    save(tmp_path / "1.jpg")
    with pytest.raises(UserError, match="no class folder"):
        read(tmp_path)
    save(tmp_path / "cat" / "1.jpg")
    with pytest.raises(UserError, match="one class only: 'cat'"):
        read(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path / "nowhere")


def test_a_class_folder_without_images_is_named(folder):
    (folder / "dog").mkdir()
    (folder / "dog" / "notes.md").write_text("about dogs")
    with pytest.raises(UserError, match=r"no image file \(1 files") as caught:
        read(folder, query_per_class=1)
    assert caught.value.where == str(folder / "dog")


def test_a_folder_that_may_not_be_read_is_named(folder, monkeypatch):
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(UserError, match="Permission denied") as caught:
        read(folder, query_per_class=1)
    assert caught.value.where == str(folder / "Zebra" / "deep")


def test_a_linked_class_is_read_and_a_link_inside_a_class_is_refused(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for number in range(2):
        save(elsewhere / f"{number}.jpg")
    (folder / "dog").symlink_to(elsewhere)
    assert "dog/1.jpg" in read(folder, query_per_class=1).ids
    (folder / "cat" / "more").symlink_to(elsewhere)
    with pytest.raises(UserError, match="a link to a folder, this deep") as caught:
        read(folder, query_per_class=1)
    assert caught.value.where == str(folder / "cat" / "more")


def test_a_linked_class_below_a_part_of_the_split_is_refused(parted):
    """The inventory of the folder's files does not look behind it."""
    (parted / "test" / "owl").symlink_to(parted / "train" / "owl")
    with pytest.raises(UserError, match="a link to a folder, this deep") as caught:
        read(parted, query="test", database="train")
    assert caught.value.where == str(parted / "test" / "owl")


def test_parts_of_a_split_are_not_taken_for_classes(parted):
    with pytest.raises(UserError, match="test, train look like parts of a split") as caught:
        read(parted, query_per_class=1)
    assert "datasets.mine.options.query: test, datasets.mine.options.database: train" in caught.value.mend


def test_a_name_that_is_not_utf8_is_named(folder):
    path = os.path.join(os.fsencode(folder), b"cat", b"\xe9.jpg")
    with open(path, "wb") as file:
        file.write((folder / "cat" / "9.jpg").read_bytes())
    with pytest.raises(UserError, match="not UTF-8") as caught:
        read(folder, query_per_class=1)
    assert r"\xe9" in str(caught.value)
