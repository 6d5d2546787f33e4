import json

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import GRID

from hashrepro.errors import UserError
from hashrepro.reporting.attention import Attention, write_attention
from hashrepro.reporting.records import (
    Grid,
    flat_metrics,
    headline_metrics,
    in_order,
    load_record,
    run_key,
    write_evaluation,
)


@pytest.fixture
def stored(suite, tmp_path):
    """One run on disk, as the stages leave it: the suite's folder and the run."""
    record = suite[0]
    folder = tmp_path / "runs" / record.suite
    left = (record.scores, record.about, record.curves, record.gallery, record.per_query)
    write_evaluation(folder / record.key, *left)
    record.history.to_csv(folder / record.key / "history.csv", index=False)
    return folder, record


def test_what_is_written_is_what_is_read(stored):
    folder, record = stored
    read = load_record(folder, record.key)
    for name in ("suite", "method", "dataset", "bits", "seed", "key", "scores", "about"):
        assert getattr(read, name) == getattr(record, name)
    pd.testing.assert_frame_equal(read.history, record.history)
    pd.testing.assert_frame_equal(read.per_query, record.per_query)
    assert read.curves.keys() == record.curves.keys()
    for name, curve in record.curves.items():
        pd.testing.assert_frame_equal(read.curves[name], curve)
    assert (read.gallery.rows, read.gallery.sprite) == (record.gallery.rows, record.gallery.sprite)


def test_metrics_are_the_headline_scores(stored):
    folder, record = stored
    metrics = json.loads((folder / record.key / "metrics.json").read_text())
    assert metrics["map"] == record.score("map")
    assert metrics["reference_best_on_test"] == record.score("map_reference", "learned", "best_on_test")
    assert headline_metrics({"last": {"network": {"map": 0.5}}}) == {"map_network": 0.5}


def test_metrics_have_the_interval_of_the_headline_alone():
    network, learned = ({"map": m, "map_low": m - 0.1, "map_high": m + 0.1} for m in (0.5, 0.6))
    both = headline_metrics({"last": {"learned": learned, "network": network}})
    assert (both["map_low"], both["map_high"]) == (learned["map_low"], learned["map_high"])
    assert len(both) == 4
    alone = headline_metrics({"last": {"network": network}})
    assert (alone["map_low"], alone["map_high"]) == (network["map_low"], network["map_high"])


def test_flat_metrics_are_the_scores_under_dotted_names(suite):
    record = suite[0]
    metrics = flat_metrics(record.scores)
    assert metrics["last.learned.map"] == record.score("map")
    assert metrics["best_on_test.learned.map_reference"] == record.score(
        "map_reference", "learned", "best_on_test"
    )
    assert len(metrics) == sum(len(v) for d in record.scores.values() for v in d.values())
    assert flat_metrics({}) == {}


def test_a_run_without_gallery_or_curves_is_read(suite, tmp_path):
    record = suite[1]
    write_evaluation(tmp_path / record.key, record.scores, record.about, {}, None)
    record.history.to_csv(tmp_path / record.key / "history.csv", index=False)
    read = load_record(tmp_path, record.key)
    assert read.gallery is None
    assert read.curves == {}
    assert len(read.per_query) == 0


def test_attention_and_the_map_of_codes_are_read_where_they_are(stored):
    folder, record = stored
    read = load_record(folder, record.key)
    assert (read.attention, read.embedding) == (None, None)
    maps = np.random.default_rng(0).random((1, 3, 2, 2), dtype=np.float32)
    attention = Attention(maps, np.zeros((1, 8, 8, 3), np.uint8), [{"id": "a", "labels": ["cat"]}])
    write_attention(folder / record.key / "attention", attention)
    points = {"row": 7, "label": 1, "name": "NA", "labels": 1, "code": 0, "x": np.nan, "y": 0.5}
    embedding = pd.DataFrame([points])
    write_evaluation(folder / record.key, record.scores, record.about, {}, None, embedding=embedding)
    read = load_record(folder, record.key)
    np.testing.assert_array_equal(read.attention.maps, maps)
    pd.testing.assert_frame_equal(read.embedding, embedding)


def test_a_run_that_was_scored_before_there_were_scores_per_query_is_read(stored):
    folder, record = stored
    (folder / record.key / "per_query.parquet").unlink()
    (folder / record.key / "embedding.parquet").unlink()
    read = load_record(folder, record.key)
    assert (read.per_query, read.embedding) == (None, None)


def test_empty_folders_and_an_empty_table_stand_for_what_a_skipped_run_lacks(tmp_path):
    write_evaluation(tmp_path / "run", {}, {"skipped": "why"}, {}, None)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "curves",
        "embedding.parquet",
        "gallery",
        "metrics.json",
        "per_query.parquet",
        "scores.json",
    ]
    assert (
        list((tmp_path / "run" / "curves").iterdir()) == list((tmp_path / "run" / "gallery").iterdir()) == []
    )
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == {}


def test_a_data_set_name_may_hold_hyphens(stored):
    folder, record = stored
    (folder / record.key).rename(folder / "semicon-nus-wide-12-s3")
    read = load_record(folder, "semicon-nus-wide-12-s3")
    assert (read.method, read.dataset, read.bits, read.seed) == ("semicon", "nus-wide", 12, 3)


@pytest.mark.parametrize("name", ["scores.json", "history.csv", "gallery/tiles.png"])
def test_a_missing_file_is_named_with_what_mends_it(stored, name):
    folder, record = stored
    (folder / record.key / name).unlink()
    with pytest.raises(UserError, match=name.split("/")[-1]) as caught:
        load_record(folder, record.key)
    assert "dvc repro" in caught.value.mend


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("scores.json", b"{"),
        ("scores.json", b"[]"),
        ("scores.json", b'{"scores": {}}'),
        ("history.csv", b""),
        ("history.csv", b"epoch,loss\n1,2\n"),
        ("curves/learned-precision_at.csv", b""),
        ("gallery/gallery.json", b"\xff"),
        ("gallery/tiles.png", b"not a picture"),
        ("per_query.parquet", b"PAR1"),
        ("embedding.parquet", b"PAR1"),
        ("attention/attention.json", b"{}"),
    ],
)
def test_a_damaged_file_is_a_user_error(stored, name, content):
    folder, record = stored
    (folder / record.key / "attention").mkdir()
    (folder / record.key / name).write_bytes(content)
    with pytest.raises(UserError):
        load_record(folder, record.key)


@pytest.mark.parametrize("part", [slice(10, 60), slice(-60, -10)])
def test_a_damaged_table_is_a_user_error_wherever_the_damage_is(stored, part):
    folder, record = stored
    table = folder / record.key / "per_query.parquet"
    content = bytearray(table.read_bytes())
    content[part] = b"\xff" * 50
    table.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        load_record(folder, record.key)
    pd.DataFrame({"row": [1]}).to_parquet(table)
    with pytest.raises(UserError, match="'query'"):
        load_record(folder, record.key)


def test_classes_keep_their_names(stored):
    folder, record = stored
    table = pd.DataFrame({"class": [0, 1, 2], "name": ["007", "None", "NA"], "queries": 1, "map": 0.5})
    table.to_csv(folder / record.key / "curves" / "learned-per_class.csv", index=False)
    read = load_record(folder, record.key).curves["learned", "per_class"]
    assert read["name"].tolist() == ["007", "None", "NA"]


@pytest.mark.parametrize("key", ["semicon-12-s0", "semicon-fashion-12", "../x-fashion-12-s0/..", ""])
def test_a_malformed_key_is_refused(tmp_path, key):
    with pytest.raises(UserError, match="not the key"):
        load_record(tmp_path, key)


def test_the_grid_lists_its_runs_in_its_own_order():
    grid = Grid("s", ("b", "a"), ("x",), (48, 12), (1, 0))
    assert grid.keys[:3] == ["b-x-48-s1", "b-x-48-s0", "b-x-12-s1"]
    assert len(grid.keys) == 8
    assert run_key("a", "x", 12, 0) in grid.keys


def test_records_are_put_in_the_grids_order(suite):
    assert [r.key for r in in_order(suite[::-1], GRID)] == GRID.keys


def test_a_foreign_or_repeated_run_is_refused(suite):
    with pytest.raises(UserError, match="not in the grid"):
        in_order(suite, Grid("s", ("adsh",), ("fashion",), (12,), (0,)))
    with pytest.raises(UserError, match="twice"):
        in_order([*suite, suite[0]], GRID)


def test_the_headline_database_is_learned_where_there_is_one(suite):
    record = suite[0]
    assert record.headline_database == "learned"
    network = type(record)("s", "m", "d", 12, 0, {"last": {"network": {"map": 0.5}}})
    assert network.headline_database == "network"
    assert network.score("map") is None
