"""Splits by their properties, and the recorded digests against the streams that preprocessing uses."""

import hashlib
import struct

import numpy as np
import pytest
from pydantic import Field

from hashrepro.datasets import splits
from hashrepro.datasets.base import ReaderOptions, Reading, parse_options
from hashrepro.datasets.splits import (
    OwnOptions,
    check_answerable,
    check_recorded,
    digest,
    digests,
    draw,
    draw_own,
    draw_per_class,
    draw_same_positions,
    from_lists,
    recorded,
    uses_lists,
)
from hashrepro.errors import UserError
from hashrepro.seeds import stream

NAMES = ["a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg"]


class Listed(ReaderOptions):
    split: str = "files"
    query_list: str | None = None
    database_list: str | None = None


class Drawn(ReaderOptions):
    num_query: int = Field(1000)


def rng(seed=0):
    return np.random.default_rng(seed)


def synthetic_labels():
    rows, columns = np.arange(2000)[:, None], np.arange(5)
    return (rows * (columns + 3)) % (5 + 2 * columns) < 2


def whole(split, count):
    """Whether the two parts are disjoint and make all rows."""
    return sorted(np.concatenate(split).tolist()) == list(range(count))


def test_a_draw_takes_the_first_of_a_permutation_and_leaves_the_rest_in_order():
    query, database = draw(50, 7, rng(3))
    assert query.tolist() == rng(3).permutation(50)[:7].tolist()
    assert whole((query, database), 50)
    assert (np.diff(database) > 0).all()


@pytest.mark.parametrize("num_query", [0, 5, 6])
def test_a_draw_leaves_queries_and_a_database(num_query):
    with pytest.raises(ValueError, match="5 images"):
        draw(5, num_query, rng())


def test_drawing_per_class_gives_each_class_its_block_of_images_not_drawn_before():
    labels = synthetic_labels()
    query, database = draw_per_class(labels, "abcde", 100, rng())
    assert whole((query, database), 2000)
    assert all(labels[query[100 * c : 100 * (c + 1)], c].all() for c in range(5))
    assert len(set(query.tolist())) == 500


def test_a_class_whose_images_are_drawn_already_is_named():
    labels = np.array([[1, 1], [1, 1], [0, 0]], dtype=bool)
    with pytest.raises(ValueError, match=r"class 'dog' has 0 images to draw 2"):
        draw_per_class(labels, ["cat", "dog"], 2, rng())
    with pytest.raises(ValueError, match="every image"):
        draw_per_class(np.eye(2, dtype=bool), ["cat", "dog"], 1, rng())


def test_the_same_positions_are_drawn_in_every_class():
    classes = np.array([1, 0, 1, 0, 1, 0, 0, 1])
    query, database = draw_same_positions(classes, 4, rng(1))
    order = rng(1).permutation(4)
    places = {0: [1, 3, 5, 6], 1: [0, 2, 4, 7]}
    assert query.tolist() == [places[c][i] for c in (0, 1) for i in order[:2]]
    assert database.tolist() == [places[c][i] for c in (0, 1) for i in sorted(order[2:])]


@pytest.mark.parametrize(
    ("num_query", "classes"), [(3, [0, 0, 1, 1]), (4, [0, 0, 1, 1]), (2, [0, 1, 1]), (0, [0, 1])]
)
def test_classes_that_cannot_give_evenly_are_refused(num_query, classes):
    with pytest.raises(ValueError, match="drawn evenly"):
        draw_same_positions(np.array(classes), num_query, rng())


def own(**values):
    return parse_options("mine", type("reader", (), {"Options": OwnOptions}), values)


def test_ten_queries_a_class_are_drawn_from_your_own_images_unless_told_otherwise():
    labels = np.repeat(np.eye(2, dtype=bool), 30, axis=0)
    (query, database), remark = draw_own(labels, ["cat", "dog"], own(), rng())
    assert labels[query].sum(axis=0).tolist() == [10, 10]
    assert whole((query, database), 60)
    assert remark == "10 queries of each class drawn"
    (query, _), _ = draw_own(labels, ["cat", "dog"], own(query_per_class=3), rng())
    assert labels[query].sum(axis=0).tolist() == [3, 3]
    (query, _), remark = draw_own(labels, ["cat", "dog"], own(num_query=7), rng())
    assert (len(query), remark) == (7, "7 queries drawn")


def test_drawn_queries_that_nothing_can_answer_are_counted():
    labels = np.eye(4, dtype=bool)[[0, 1, 2, 3, 3, 3, 3]]
    (query, _), remark = draw_own(labels, "abcd", own(num_query=3), rng())
    alone = sum(row < 3 for row in query)
    assert remark == f"3 queries drawn, {alone} of them without a label in common with any database image"


@pytest.mark.parametrize(
    ("values", "problem", "where"),
    [
        ({"query_per_class": 3}, "class 'dog' has 3 images; 3 queries", "query_per_class"),
        ({}, "class 'cat' has 5 images; 10 queries", "query_per_class"),
        ({"num_query": 8}, "8 queries cannot be drawn from 8 images", "num_query"),
        ({"num_query": 2, "query_per_class": 1}, "exclude each other", "options"),
    ],
)
def test_too_few_own_images_are_named(values, problem, where):
    labels = np.repeat(np.eye(2, dtype=bool), [5, 3], axis=0)
    with pytest.raises(UserError, match=problem) as caught:
        draw_own(labels, ["cat", "dog"], own(**values), rng())
    assert caught.value.where.endswith(where)


def test_own_images_with_several_labels_may_run_out_during_the_draw():
    labels = np.ones((3, 2), dtype=bool)
    with pytest.raises(UserError, match="'dog' has 1 images to draw 2"):
        draw_own(labels, ["cat", "dog"], own(query_per_class=2), rng())


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ([0], "1 queries share no label with any database image .the first: 'cat'"),
        ([], "no query"),
        ([0, 1, 2], "no database"),
    ],
)
def test_a_query_that_nothing_can_answer_is_refused(query, problem):
    labels = np.array([[1, 0], [0, 1], [0, 1]], dtype=bool)
    database = np.setdiff1d(np.arange(3), query)
    with pytest.raises(UserError, match=problem):
        check_answerable(labels, ["cat", "dog"], (np.array(query, int), database), "here")
    check_answerable(labels, ["cat", "dog"], (np.array([1]), np.array([0, 2])), "here")


def test_lists_are_matched_by_file_name_in_their_own_order(tmp_path):
    (tmp_path / "q.txt").write_bytes(b"images/3.jpg\r\nwindows\\1.jpg\r\n")
    (tmp_path / "d.txt").write_text("4.jpg\n")
    (query, database), remark = from_lists(NAMES, tmp_path, Listed(query_list="q.txt"), {})
    assert (query.tolist(), database.tolist()) == ([2, 0], [1, 3])
    assert "q.txt" in remark
    both = Listed(query_list=str(tmp_path / "q.txt"), database_list="d.txt")
    (query, database), _ = from_lists(NAMES, tmp_path, both, {})
    assert (query.tolist(), database.tolist()) == ([2, 0], [3])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_known_list_is_recognised_with_either_line_end(tmp_path, end):
    (tmp_path / "q.txt").write_bytes(f"3.jpg{end}1.jpg{end}".encode())
    known = {hashlib.sha256(b"3.jpg\n1.jpg\n").hexdigest(): "the well-known list"}
    _, remark = from_lists(NAMES, tmp_path, Listed(query_list="q.txt"), known)
    assert "the well-known list" in remark
    (tmp_path / "q.txt").write_text("1.jpg\n3.jpg\n")
    _, remark = from_lists(NAMES, tmp_path, Listed(query_list="q.txt"), known)
    assert "a list of yours" in remark


@pytest.mark.parametrize(
    ("queries", "database", "problem", "where"),
    [
        ("1.jpg\n9.jpg\n", "", "'9.jpg' is none of the 4", "q.txt:2"),
        ("1.jpg\n\n2.jpg\n", "", "'' is none", "q.txt:2"),
        ("1.jpg\n2.jpg\na/1.jpg\n", "", "listed before: .*q.txt:1", "q.txt:3"),
        ("1.jpg\n", "2.jpg\n1.jpg\n", "listed before: .*q.txt:1", "d.txt:2"),
        ("", "2.jpg\n", "0 queries", "options"),
        ("1.jpg\n2.jpg\n3.jpg\n4.jpg\n", None, "0 database images", "options"),
    ],
)
def test_a_wrong_line_of_a_list_is_named(tmp_path, queries, database, problem, where):
    (tmp_path / "q.txt").write_text(queries)
    (tmp_path / "d.txt").write_text(database or "")
    options = Listed(query_list="q.txt", database_list=None if database is None else "d.txt")
    with pytest.raises(UserError, match=problem) as caught:
        from_lists(NAMES, tmp_path, options, {})
    assert str(caught.value.where).endswith(where)


def test_a_name_that_two_images_share_cannot_be_listed(tmp_path):
    (tmp_path / "q.txt").write_text("1.jpg\n")
    with pytest.raises(UserError, match="several images"):
        from_lists(["a/1.jpg", "b/1.jpg"], tmp_path, Listed(query_list="q.txt"), {})


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(UserError, match=r"q\.txt"):
        from_lists(NAMES, tmp_path, Listed(query_list="q.txt"), {})


def test_lists_and_the_kind_of_split_must_fit():
    assert uses_lists(Listed(query_list="q.txt"))
    assert not uses_lists(Listed(split="drawn"))
    with pytest.raises(UserError, match="needs a list"):
        uses_lists(Listed())
    for lists in ({"query_list": "q.txt"}, {"database_list": "d.txt"}):
        with pytest.raises(UserError, match="uses no list"):
            uses_lists(Listed(split="drawn", **lists))


def test_a_digest_is_of_little_endian_numbers_of_eight_bytes():
    assert (
        digest(np.array([1, 258], dtype=np.int32)) == hashlib.sha256(struct.pack("<qq", 1, 258)).hexdigest()
    )


def drawn_again():
    """The split of every line of splits.csv, by data set, from the streams that preprocessing takes."""
    sorted_pool = np.repeat(np.arange(10), 6000)
    return {
        "cifar10": draw_same_positions(sorted_pool, 1000, stream(0, "split", "cifar10")),
        "flickr25k": draw(25_000, 1000, stream(0, "split", "flickr25k")),
        "nuswide10": draw(186_577, 5000, stream(0, "split", "nuswide")),
        "synthetic": draw_per_class(synthetic_labels(), "abcde", 100, stream(0, "split", "nuswide")),
    }


def test_recorded_splits_are_drawn_again():
    again = {
        name: (str(len(query)), str(len(database)), digest(query), digest(database))
        for name, (query, database) in drawn_again().items()
    }
    columns = ("n_query", "n_database", "query_sha256", "database_sha256")
    assert {row["dataset"]: tuple(row[column] for column in columns) for row in recorded()} == again
    assert {row["seed"] for row in recorded()} == {"0"}


@pytest.mark.parametrize("name", ["cifar10", "flickr25k", "nuswide10"])
def test_the_defaults_of_the_papers_sets_are_those_recorded(name):
    """Otherwise the guard would never look at them."""
    from hashrepro.datasets.base import load_reader

    (row,) = [row for row in recorded() if row["dataset"] == name]
    options = parse_options(name, load_reader(row["reader"]), {"concepts": 10} if name == "nuswide10" else {})
    split = drawn_again()[name]
    check_recorded(row["reader"], options, 0, reading_of(split))
    with pytest.raises(UserError, match=f"another split of {name}"):
        check_recorded(row["reader"], options, 0, reading_of(split[::-1]))


def reading_of(split):
    images = np.zeros((2, 1, 1, 3), np.uint8)
    return Reading(
        ["a", "b"],
        np.eye(2, dtype=bool),
        np.array([True, False]),
        ["x", "y"],
        images,
        {"rows": digests(*split)},
    )


def test_another_seed_option_name_or_reader_has_no_record(monkeypatch):
    line = {"dataset": "one", "reader": "some", "options": "num_query=1000", "seed": "0"}
    monkeypatch.setattr(splits, "recorded", lambda: [line | {"query_sha256": "q", "database_sha256": "d"}])
    reader = type("reader", (), {"Options": Drawn})
    reading = reading_of(draw(5, 2, rng()))
    with pytest.raises(UserError, match="another split of one"):
        check_recorded("some", parse_options("one", reader, {}), 0, reading)
    check_recorded("some", parse_options("one", reader, {}), 1, reading)
    check_recorded("other", parse_options("one", reader, {}), 0, reading)
    check_recorded("some", parse_options("one", reader, {"num_query": 999}), 0, reading)
