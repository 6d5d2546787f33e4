import dataclasses

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashrepro.datasets.catalog import Catalog
from hashrepro.errors import UserError


def catalog(**changes):
    values = {
        "name": "birds",
        "ids": ["a/1.jpg", "a/2.jpg", "b/1.jpg", "ü/ 3.jpg"],
        "labels": np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 1]], dtype=bool),
        "is_query": np.array([False, True, False, True]),
        "class_names": ["gull", "wren", "Küstenseeschwalbe"],
        "facts": {"title": "Birds", "images": 4},
    }
    return Catalog(**(values | changes))


def same(a, b):
    return (
        (a.name, a.ids, a.class_names, a.facts) == (b.name, b.ids, b.class_names, b.facts)
        and np.array_equal(a.labels, b.labels)
        and np.array_equal(a.is_query, b.is_query)
        and a.labels.dtype == b.labels.dtype == bool
        and a.is_query.dtype == b.is_query.dtype == bool
    )


def test_rows_are_split_in_catalog_order():
    assert catalog().query_rows.tolist() == [1, 3]
    assert catalog().database_rows.tolist() == [0, 2]
    assert catalog().database_rows.dtype == np.int64


def test_what_is_written_is_read(tmp_path):
    catalog().write(tmp_path / "catalog.parquet")
    assert same(Catalog.read(tmp_path / "catalog.parquet"), catalog())
    assert [path.name for path in tmp_path.iterdir()] == ["catalog.parquet"]


def test_the_table_is_plain_parquet(tmp_path):
    catalog().write(tmp_path / "catalog.parquet")
    table = pq.read_table(tmp_path / "catalog.parquet")
    assert table.column_names == ["id", "labels", "split"]
    assert table["labels"].to_pylist() == [[0], [1, 2], [], [0, 1, 2]]
    assert table["split"].to_pylist() == ["database", "query", "database", "query"]


def test_writing_twice_gives_the_same_bytes(tmp_path):
    catalog().write(tmp_path / "one")
    catalog().write(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@given(
    labels=st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=2, max_size=8), data=st.data()
)
def test_any_labels_survive_writing(labels, data, tmp_path_factory):
    n = len(labels)
    is_query = np.array([True, False, *data.draw(st.lists(st.booleans(), min_size=n - 2, max_size=n - 2))])
    ids = [f"{i}" for i in range(n)]
    one = Catalog("x", ids, np.array(labels), is_query, ["a", "b", "c"])
    path = tmp_path_factory.mktemp("catalog") / "x.parquet"
    one.write(path)
    assert same(Catalog.read(path), one)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "fish"},
        {"ids": ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"]},
        {"ids": ["a/2.jpg", "a/1.jpg", "b/1.jpg", "ü/ 3.jpg"]},
        {"labels": np.array([[1, 0, 0], [0, 1, 1], [0, 0, 1], [1, 1, 1]], dtype=bool)},
        {"is_query": np.array([True, True, False, True])},
        {"class_names": ["gull", "wren", "tern"]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_part_moves_the_digest(change):
    assert catalog(**change).digest != catalog().digest


def test_remarks_do_not_move_the_digest():
    assert catalog(facts={"title": "other"}).digest == catalog().digest


def test_the_digest_stays_the_same_from_version_to_version():
    assert catalog().digest == "9f8851493bfd029b1f51c58c58e3ff25b5d348f1a05df3bf622ac4636481559e"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"labels": np.zeros((4, 2), bool)}, "labels"),
        ({"labels": np.zeros((4, 3), int)}, "labels"),
        ({"is_query": np.zeros(3, bool)}, "is_query"),
        ({"ids": ["a", "b", "a", "c"]}, "distinct"),
        ({"is_query": np.zeros(4, bool)}, "query rows"),
        ({"is_query": np.ones(4, bool)}, "database rows"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, problem):
    with pytest.raises(ValueError, match=problem):
        catalog(**change)


def test_a_missing_catalog_is_reported(tmp_path):
    with pytest.raises(UserError, match="no catalog"):
        Catalog.read(tmp_path / "catalog.parquet")


@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_a_cut_catalog_is_reported(tmp_path, share):
    path = tmp_path / "catalog.parquet"
    catalog().write(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(UserError, match="cannot be read"):
        Catalog.read(path)


def test_another_parquet_file_is_no_catalog(tmp_path):
    catalog().write(tmp_path / "one")
    pq.write_table(pq.read_table(tmp_path / "one").replace_schema_metadata(None), tmp_path / "two")
    with pytest.raises(UserError, match="cannot be read"):
        Catalog.read(tmp_path / "two")


def test_a_changed_catalog_is_noticed(tmp_path):
    catalog().write(tmp_path / "one")
    dataclasses.replace(catalog(), ids=["a", "b", "c", "d"]).write(tmp_path / "two")
    metadata = pq.read_table(tmp_path / "one").schema.metadata
    pq.write_table(pq.read_table(tmp_path / "two").replace_schema_metadata(metadata), tmp_path / "three")
    with pytest.raises(UserError, match="not what its digest says"):
        Catalog.read(tmp_path / "three")
