import numpy as np
import pytest

from hashrepro.datasets.lists import (
    check_per_class,
    inner_path,
    joined,
    read_lines,
    read_listed,
    read_names,
    read_pairs,
    whole_number,
)
from hashrepro.errors import UserError


def written(path, text):
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "one\ntwo words\nthree\n",
        "one\ntwo words\nthree",
        "one\r\ntwo words\r\nthree\r\n",
        "\ufeffone\ntwo words\nthree\n",
        "one  \n\ttwo words\nthree \r\n",
        "one\ntwo words\nthree\n\n  \n\r\n",
    ],
    ids=["lf", "no last end", "crlf", "byte order mark", "blanks", "empty last lines"],
)
def test_lines_come_without_their_wrapping(tmp_path, text):
    assert read_lines(written(tmp_path / "list.txt", text), "a list") == ["one", "two words", "three"]


def test_an_empty_line_amid_others_keeps_its_number(tmp_path):
    assert read_lines(written(tmp_path / "list.txt", "one\n\nthree\n"), "a list") == ["one", "", "three"]
    assert read_lines(written(tmp_path / "list.txt", ""), "a list") == []


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UserError, match=r"cannot be read as text[\s\S]*list\.txt"):
        read_lines(tmp_path / "list.txt", "a list")
    with pytest.raises(UserError, match="expected: a list"):
        read_lines(tmp_path / "none.txt", "a list")


@pytest.mark.parametrize("name", ["a/b.jpg", "a b/c.jpg", "..a/b..jpg", "a/F-18 (2).JPG"])
def test_paths_inside_the_folder_are_kept(tmp_path, name):
    assert inner_path(name, tmp_path / "list.txt", 1) == name


@pytest.mark.parametrize("name", ["../a.jpg", "a/../../b.jpg", "/a.jpg", "..\\a.jpg", "C:\\a.jpg", ""])
def test_paths_that_leave_the_folder_are_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"leaves the folder[\s\S]*list\.txt:7"):
        inner_path(name, tmp_path / "list.txt", 7)


def test_whole_numbers_are_digits_and_nothing_else(tmp_path):
    assert whole_number("0042", tmp_path, 1) == 42
    for value in ("", "-1", "+1", "1.0", "1_0", "٣", "²", "9" * 5000):
        with pytest.raises(UserError, match="is not a whole number"):
            whole_number(value, tmp_path, 1)


def test_several_lists_are_read_one_after_another(tmp_path):
    one = written(tmp_path / "one.txt", "b 1\na Boeing 737 F/A\n")
    two = written(tmp_path / "two.txt", "c\n")
    listed = read_listed((one, two), "a list")
    assert list(listed.items()) == [
        ("b", ("1", one, 1)),
        ("a", ("Boeing 737 F/A", one, 2)),
        ("c", ("", two, 1)),
    ]


@pytest.mark.parametrize(("first", "second"), [("a 1\nb 1\na 2\n", ""), ("x 1\ny 1\n", "a 1\nb 1\ny 1\n")])
def test_an_image_may_stand_in_one_list_once(tmp_path, first, second):
    paths = written(tmp_path / "one.txt", first), written(tmp_path / "two.txt", second)
    with pytest.raises(UserError, match=r"stands twice: one\.txt:\d has it[\s\S]*(one|two)\.txt:3"):
        read_listed(paths, "a list")


@pytest.mark.parametrize("text", ["a\n\nb\n", "a b\nb\na b\n"])
def test_names_are_whole_lines_and_distinct(tmp_path, text):
    assert read_names(written(tmp_path / "names.txt", "a b\nb a\n"), "names") == ["a b", "b a"]
    with pytest.raises(UserError, match=r"names\.txt:[23]"):
        read_names(written(tmp_path / "names.txt", text), "names")


def test_pairs_need_a_value(tmp_path):
    assert read_pairs(written(tmp_path / "pairs.txt", "2  a b\n1\tc\n"), "") == {
        "2": ("a b", 1),
        "1": ("c", 2),
    }
    with pytest.raises(UserError, match=r"not a line 'key value': '1'[\s\S]*pairs\.txt:2"):
        read_pairs(written(tmp_path / "pairs.txt", "2 a b\n1 \n"), "pairs")


def test_pairs_are_joined_in_the_order_of_the_keys(tmp_path):
    path = written(tmp_path / "labels.txt", "b 7\na 9\nc 7\n")
    result = joined(path, ["c", "a", "b"], {"7": 0, "9": 5}, "labels")
    assert result.tolist() == [0, 5, 0]
    assert result.dtype == np.int64
    for keys in (["a", "b"], ["a", "b", "c", "d"]):
        with pytest.raises(UserError, match="only one of"):
            joined(path, keys, {"7": 0, "9": 5}, "labels")


def test_a_class_with_another_number_of_images_is_named(tmp_path):
    classes = np.array([0, 0, 1, 1, 2, 2])
    check_per_class(classes, ["a", "b", "c"], 2, 2, "queries", tmp_path)
    check_per_class(classes, ["a", "b", "c"], 1, 3, "queries", tmp_path)
    with pytest.raises(UserError, match="class 'd' has 0 queries, and 2 in the official set; 1 of 4"):
        check_per_class(classes, ["a", "b", "c", "d"], 2, 2, "queries", tmp_path)
    with pytest.raises(UserError, match="class 'a' has 3 queries, and 1 to 2 in the official set"):
        check_per_class(np.append(classes, 0), ["a", "b", "c"], 1, 2, "queries", tmp_path)
