"""Your own table: real files in the grammar of CSV, the odd ones too."""

import numpy as np
import pytest

from hashrepro.datasets import table
from hashrepro.datasets.base import load_reader, parse_options
from hashrepro.errors import UserError

SINGLE = "path,label\na/1.jpg,cat\na/2.jpg,dog\na/3.jpg,cat\nb/1.jpg,dog\n"
SEVERAL = "path,label\n1.jpg,sky; sea\n2.jpg,sea\n3.jpg,sky;;\n4.jpg,\n5.jpg,sea;sea;sky\n"
FLAGS = "path,sea,sky\n1.jpg,1,0\n2.jpg,0,0\n3.jpg,1,1\n4.jpg,0,1\n"
SPLIT = "path,label,split\n1.jpg,cat,test\n2.jpg,cat,train\n3.jpg,dog,Query\n4.jpg,dog,database\n"


def read(folder, text=None, seed=0, **options):
    if text is not None:
        (folder / options.get("file", "labels.csv")).write_bytes(text.encode())
    values = parse_options("mine", load_reader("table"), options)
    return table.read(folder, values, np.random.default_rng(seed))


def sets(reading):
    return [{reading.class_names[c] for c in np.flatnonzero(row)} for row in reading.labels]


def refusal(folder, text=None, **options):
    with pytest.raises(UserError) as caught:
        read(folder, text, **options)
    return caught.value


def test_rows_keep_the_order_of_the_table(tmp_path):
    reading = read(tmp_path, SINGLE, query_per_class=1)
    assert reading.ids == ["a/1.jpg", "a/2.jpg", "a/3.jpg", "b/1.jpg"]
    assert reading.images == [tmp_path / name for name in reading.ids]
    assert reading.class_names == ["cat", "dog"]
    assert sets(reading) == [{"cat"}, {"dog"}, {"cat"}, {"dog"}]
    assert reading.labels[reading.is_query].sum(axis=0).tolist() == [1, 1]


def test_the_draw_follows_the_seed(tmp_path):
    rows = "".join(f"{number}.jpg,{number % 2}\n" for number in range(40))
    first = read(tmp_path, "path,label\n" + rows, num_query=9).is_query
    assert first.sum() == 9
    assert read(tmp_path, num_query=9).is_query.tolist() == first.tolist()
    assert read(tmp_path, seed=1, num_query=9).is_query.tolist() != first.tolist()
    assert read(tmp_path).is_query.sum() == 20


def test_labels_stay_the_text_that_they_are(tmp_path):
    text = 'path,label\n1.jpg,NA\n2.jpg,007\n3.jpg,7\n4.jpg,"a, b"\n5.jpg,NA\n6.jpg, null \n7.jpg,1e3\n8.jpg,True\n'
    reading = read(tmp_path, text, num_query=1)
    assert reading.class_names == ["007", "1e3", "7", "NA", "True", "a, b", "null"]
    assert sets(reading)[0] == sets(reading)[4] == {"NA"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", "\ufeff" + SINGLE),
        ("labels.csv", SINGLE.replace("\n", "\r\n")),
        ("labels.csv", SINGLE[:-1]),
        ("labels.csv", SINGLE.replace("path,label\n", "path,label\n\n") + ",\n\n"),
        ("labels.csv", SINGLE.replace(",", " , ")),
        ("labels.csv", SINGLE.replace("/", "\\")),
        ("labels.csv", SINGLE.replace("a/", "./a//")),
        ("list.tsv", SINGLE.replace(",", "\t")),
    ],
)
def test_tables_are_read_however_they_are_written(tmp_path, name, text):
    expected = read(tmp_path, SINGLE, query_per_class=1)
    reading = read(tmp_path, text, query_per_class=1, file=name)
    assert (reading.ids, sets(reading)) == (expected.ids, sets(expected))


def test_a_cell_may_have_several_labels(tmp_path):
    options = {"separator": ";", "num_query": 1, "drop_unlabelled": True}
    reading = read(tmp_path, SEVERAL, **options)
    assert reading.ids == ["1.jpg", "2.jpg", "3.jpg", "5.jpg"]
    assert sets(reading) == [{"sky", "sea"}, {"sea"}, {"sky"}, {"sea", "sky"}]
    assert reading.facts["unlabelled"] == "1 rows left out"


def test_columns_may_be_labels(tmp_path):
    options = {"label_columns": ["sky", "sea"], "num_query": 1, "drop_unlabelled": True}
    reading = read(tmp_path, FLAGS, **options)
    assert reading.class_names == ["sky", "sea"]
    assert reading.ids == ["1.jpg", "3.jpg", "4.jpg"]
    assert sets(reading) == [{"sea"}, {"sky", "sea"}, {"sky"}]


def test_a_column_may_give_the_split(tmp_path):
    reading = read(tmp_path, SPLIT)
    assert reading.is_query.tolist() == [True, False, True, False]
    assert "column split" in reading.facts["split"]
    renamed = SPLIT.replace("label,split", "label,part")
    assert read(tmp_path, renamed, split="part").is_query.tolist() == [True, False, True, False]
    assert read(tmp_path, SPLIT, split=None, query_per_class=1).is_query.sum() == 2


def test_rows_left_out_take_their_part_of_the_split_with_them(tmp_path):
    text = "path,label,split\n1.jpg,,query\n2.jpg,sea,query\n3.jpg,sea,train\n4.jpg,sky|sea,train\n"
    reading = read(tmp_path, text, separator="|", drop_unlabelled=True)
    assert reading.is_query.tolist() == [True, False, False]


def test_other_names_of_columns(tmp_path):
    reading = read(
        tmp_path, SINGLE.replace("path,label", "file,kind"), path="file", label="kind", query_per_class=1
    )
    assert reading.class_names == ["cat", "dog"]


@pytest.mark.parametrize(
    ("text", "options", "line", "problem"),
    [
        (SINGLE + "a/2.jpg,cat\n", {}, 6, "'a/2.jpg' stands in line 3, too"),
        (SINGLE + "a\\2.jpg,cat\n", {}, 6, "stands in line 3"),
        (SINGLE + "./a/2.jpg,cat\n", {}, 6, "stands in line 3"),
        (SINGLE + "../2.jpg,cat\n", {}, 6, "no path of an image below"),
        (SINGLE + "/2.jpg,cat\n", {}, 6, "no path of an image below"),
        (SINGLE + "C:\\2.jpg,cat\n", {}, 6, "no path of an image below"),
        (SINGLE + "\n\n,cat\n", {}, 8, "no path"),
        (SINGLE + '"c\n\n1.jpg",cat\n../2.jpg,cat\n', {}, 9, "no path of an image below"),
        (SINGLE + "a/9.jpg,\n", {}, 6, "1 rows have no label"),
        (SINGLE + "a/9.jpg\n", {}, 6, "1 rows have no label"),
        (SINGLE + "a/9.jpg,\n", {"drop_unlabelled": True}, 6, "1 rows have no label"),
        (SINGLE + "a/9.jpg,cat,dog\n", {}, 6, "Expected 2 fields"),
        (SEVERAL, {"separator": ";"}, 5, "1 rows have no label"),
        (FLAGS, {"label_columns": ["sea", "sky"]}, 3, "1 rows have no label"),
        (FLAGS + "5.jpg,1,yes\n", {"label_columns": ["sea", "sky"]}, 6, "column 'sky' has 'yes'"),
        (FLAGS, {"label_columns": ["sea", "sun"]}, 1, "no column 'sun'"),
        (SPLIT + "5.jpg,dog,val\n", {}, 6, "column 'split' has 'val', none of query, test"),
        (SPLIT + "5.jpg,dog\n", {}, 6, "column 'split' has ''"),
        (SINGLE, {"split": "part"}, 1, "no column 'part'"),
        (SINGLE, {"split": "split"}, 1, "no column 'split'"),
        (SINGLE.replace("label", "path"), {}, 1, "2 columns are called 'path'"),
        (SINGLE.replace("label", "class"), {}, 1, "no column 'label'"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, text, options, line, problem):
    error = refusal(tmp_path, text, **options)
    assert problem in error.what
    assert error.where == f"{tmp_path / 'labels.csv'}:{line}"


@pytest.mark.parametrize(
    ("text", "options", "problem"),
    [
        ("", {}, "cannot be read"),
        ("path,label\n", {}, "no rows"),
        ('path,label\n1.jpg,"cat\n', {}, "cannot be read"),
        ("path,label\n1.jpg,cat\n2.jpg,cat\n", {"num_query": 1}, "1 classes"),
        (SINGLE, {}, "class 'cat' has 2 images; 10 queries"),
        (SINGLE, {"num_query": 4}, "4 queries cannot be drawn"),
        (SINGLE, {"num_query": 1, "query_per_class": 1}, "exclude each other"),
        (SPLIT, {"num_query": 1}, "says which rows are queries"),
        (SPLIT, {"query_per_class": 1}, "says which rows are queries"),
        (SPLIT.replace("train", "test"), {}, "1 queries|2 queries"),
        (SPLIT.replace("train", "query").replace("database", "query"), {}, "no database image"),
        (FLAGS, {"label_columns": ["sea", "sky"], "separator": ";"}, "separator is for"),
        (FLAGS, {"label_columns": ["sea", "sea"]}, "named twice"),
        (SINGLE, {"file": "../labels.csv"}, "no file in the data set's folder"),
    ],
)
def test_what_makes_no_data_set_is_refused(tmp_path, text, options, problem):
    (tmp_path / "labels.csv").write_text(text)
    error = refusal(tmp_path, **options)
    assert any(part in error.what for part in problem.split("|"))


def test_a_missing_table_and_other_encodings_are_named(tmp_path):
    assert refusal(tmp_path).where == tmp_path / "labels.csv"
    (tmp_path / "labels.csv").write_bytes("path,label\n1.jpg,été\n".encode("latin-1"))
    error = refusal(tmp_path)
    assert error.where == tmp_path / "labels.csv"
    assert "UTF-8" in error.mend
