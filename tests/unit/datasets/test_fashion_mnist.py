import gzip
import runpy
from pathlib import Path

import numpy as np
import pytest

from hashrepro.datasets import fashion_mnist
from hashrepro.datasets.fashion_mnist import Options
from hashrepro.errors import UserError

QUICKSTART = Path(__file__).parents[3] / "data" / "quickstart"


def read(folder=QUICKSTART, **options):
    return fashion_mnist.read(folder, Options(**options), np.random.default_rng(0))


def test_the_embedded_set_has_the_counts_it_promises():
    reading = read()
    catalog = reading.catalog("fashion")
    assert reading.images.shape == (5500, 28, 28, 3)
    assert reading.images.dtype == np.uint8
    assert catalog.labels[catalog.query_rows].sum(axis=0).tolist() == [50] * 10
    assert catalog.labels[catalog.database_rows].sum(axis=0).tolist() == [500] * 10
    assert (catalog.labels.sum(axis=1) == 1).all()


def test_queries_and_database_are_in_file_order_and_not_sorted_by_class():
    reading = read()
    rows = np.array([int(name.split("/")[1]) for name in reading.ids])
    parts = np.array([name.split("/")[0] for name in reading.ids])
    assert set(parts[reading.is_query]) == {"test"}
    assert set(parts[~reading.is_query]) == {"train"}
    for part in (reading.is_query, ~reading.is_query):
        assert (np.diff(rows[part]) > 0).all()
        assert (np.diff(reading.labels[part].argmax(axis=1)) < 0).any()


def test_grey_is_repeated_to_three_channels():
    images = read().images
    assert np.array_equal(images[..., 0], images[..., 1])
    assert np.array_equal(images[..., 0], images[..., 2])
    assert images.max() == 255


def test_fewer_images_a_class_are_the_first_ones():
    everything, few = read(), read(query_per_class=2, database_per_class=5)
    assert few.labels[few.is_query].sum(axis=0).tolist() == [2] * 10
    assert few.labels[~few.is_query].sum(axis=0).tolist() == [5] * 10
    kept = [everything.ids.index(name) for name in few.ids]
    assert kept == sorted(kept)
    assert np.array_equal(few.images, everything.images[kept])
    first_database = everything.labels[~everything.is_query].argmax(axis=1).tolist().index(3)
    assert np.array(everything.ids)[~everything.is_query][first_database] in few.ids


def test_another_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="missing"):
        read(tmp_path)
    data = bytearray((QUICKSTART / "fashion-mnist.npz").read_bytes())
    data[5000] ^= 1
    (tmp_path / "fashion-mnist.npz").write_bytes(data)
    with pytest.raises(UserError, match="SHA-256 differs"):
        read(tmp_path)


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes()))


def test_the_subset_script_draws_evenly_and_checks_its_sources(tmp_path, monkeypatch, capsys):
    script = runpy.run_path(str(QUICKSTART / "make_subset.py"))
    labels = np.tile(np.arange(10, dtype=np.uint8), 60)
    rows = script["draw"](labels, 50, np.random.default_rng(0))
    assert (np.diff(rows) > 0).all()
    assert np.bincount(labels[rows]).tolist() == [50] * 10

    write_idx(tmp_path / "t10k-images-idx3-ubyte.gz", np.zeros((3, 28, 28), np.uint8))
    monkeypatch.setattr("sys.argv", ["make_subset.py", str(tmp_path), str(tmp_path / "out.npz")])
    with pytest.raises(SystemExit, match="not the official file"):
        script["main"]()
    assert not (tmp_path / "out.npz").exists()
