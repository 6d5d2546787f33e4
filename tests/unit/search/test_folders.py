"""Which files of a folder are images, and what a table of labels says."""

import os

import pytest

from hashrepro.errors import UserError
from hashrepro.search.folders import find_images, read_labels

CLASSES = ["Ankle boot", "Bag", "T-shirt/top"]


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names(found, folder):
    return [os.path.relpath(path, folder) for path in found.paths]


def test_images_at_any_depth_come_sorted_and_absolute(tmp_path, monkeypatch):
    touch(tmp_path, "b/2.JPG", "b/1.png", "a/deep/3.webp", "b.gif", "notes.txt", "b/table.csv")
    monkeypatch.chdir(tmp_path)
    found = find_images(["."])
    assert names(found, tmp_path) == ["a/deep/3.webp", "b.gif", "b/1.png", "b/2.JPG"]
    assert all(os.path.isabs(path) for path in found.paths)
    assert (found.others, found.repeated) == (2, 0)


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    touch(tmp_path, "1.png", "._1.png", ".thumbnails/1.png")
    found = find_images([tmp_path])
    assert names(found, tmp_path) == ["1.png"]
    assert found.others == 0


def test_a_file_that_is_named_is_taken_whatever_its_ending(tmp_path):
    touch(tmp_path, "picture", "folder/picture")
    assert names(find_images([tmp_path / "picture"]), tmp_path) == ["picture"]
    with pytest.raises(UserError, match="only 1 other files"):
        find_images([tmp_path / "folder"])


def test_what_is_named_twice_comes_once(tmp_path):
    touch(tmp_path, "a/1.png", "a/2.png")
    found = find_images([tmp_path / "a" / "2.png", tmp_path, tmp_path / "a" / ".." / "a"])
    assert names(found, tmp_path) == ["a/1.png", "a/2.png"]


def test_links_are_followed_and_a_loop_ends(tmp_path):
    touch(tmp_path, "outside/1.png", "inside/2.png")
    (tmp_path / "inside" / "out").symlink_to(tmp_path / "outside")
    (tmp_path / "inside" / "self").symlink_to(tmp_path / "inside")
    (tmp_path / "outside" / "back").symlink_to(tmp_path / "inside")
    found = find_images([tmp_path / "inside"])
    assert names(found, tmp_path) == ["inside/2.png", "inside/out/1.png"]
    assert found.repeated == 2


def test_the_order_does_not_depend_on_the_order_of_the_places(tmp_path):
    touch(tmp_path, "a/1.png", "b/1.png", "c.png")
    there = find_images([tmp_path / "a", tmp_path / "b", tmp_path / "c.png"])
    assert there == find_images([tmp_path / "c.png", tmp_path / "b", tmp_path / "a"])


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: None, "There is no such file"),
        (lambda path: path.mkdir(), "no image"),
        (lambda path: path.symlink_to(path), "neither a file nor a folder"),
        (os.mkfifo, "neither a file nor a folder"),
    ],
)
def test_places_without_images_are_named(tmp_path, make, what):
    place = tmp_path / "place"
    make(place)
    with pytest.raises(UserError, match=what) as error:
        find_images([place])
    assert str(place) in str(error.value.where)


def test_a_name_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / os.fsdecode(b"\xff.png")).touch()
    with pytest.raises(UserError, match="not UTF-8") as error:
        find_images([tmp_path])
    assert r"\xff.png" in error.value.where


def table(folder, text):
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_labels_by_path_seen_from_the_table(tmp_path):
    text = f'path,labels,remark\na/1.png,Bag,x\n{tmp_path}/2.png,"T-shirt/top; Bag;Bag",\n./3.png,,\n'
    labels = read_labels(table(tmp_path, text), CLASSES)
    assert labels == {f"{tmp_path}/a/1.png": [1], f"{tmp_path}/2.png": [1, 2], f"{tmp_path}/3.png": []}


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        ("file,labels\n1.png,Bag\n", "no column 'path'", 1),
        ("", "no column 'labels'", 1),
        ("path,labels\n1.png,Bag\n2.png,Bagg\n", "Did you mean 'Bag'", 3),
        ("path,labels\n1.png,Bag\n./1.png,Bag\n", "twice", 3),
    ],
)
def test_a_wrong_table_is_named_with_its_line(tmp_path, text, what, line):
    with pytest.raises(UserError, match=what) as error:
        read_labels(table(tmp_path, text), CLASSES)
    assert error.value.where == f"{tmp_path / 'labels.csv'}:{line}"


def test_a_table_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_labels(tmp_path / "labels.csv", CLASSES)
    (tmp_path / "labels.csv").write_bytes(b"path,labels\n\xff\xfe,\n")
    with pytest.raises(UserError, match="cannot be read"):
        read_labels(tmp_path / "labels.csv", CLASSES)
