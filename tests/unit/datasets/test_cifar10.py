import pickle

import numpy as np
import pytest

from hashrepro.datasets import cifar10
from hashrepro.datasets.base import load_reader, parse_options
from hashrepro.datasets.splits import check_recorded, digests, draw_same_positions
from hashrepro.errors import UserError
from hashrepro.seeds import stream

PER_CLASS, NAMES = 6, [b"plane", b"car", b"bird"]
COUNTS = {"num_query": 6, "expect_classes": 3, "expect_images": 18}
BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


@pytest.fixture
def folder(tmp_path):
    """Six batches of three images; every image's pixels are its number in the pool."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    classes = np.random.default_rng(0).permutation(np.repeat(np.arange(3), PER_CLASS))
    for i, name in enumerate(BATCHES):
        rows = np.arange(3 * i, 3 * i + 3)
        pixels = np.repeat(rows.astype(np.uint8)[:, None], 3072, axis=1)
        pixels[:, 1024:2048] += 100  # green
        pixels[:, 32] = 255  # red, second line, first column
        write(folder / name, {b"labels": classes[rows].tolist(), b"data": pixels})
    write(folder / "batches.meta", {b"label_names": NAMES})
    return tmp_path


def write(path, content):
    path.write_bytes(pickle.dumps(content, protocol=2))


def read(folder, seed=0, **options):
    values = parse_options("tiny", load_reader("cifar10"), COUNTS | options)
    return cifar10.read(folder, values, np.random.default_rng(seed))


def pool(folder):
    batches = [pickle.loads((folder / "cifar-10-batches-py" / name).read_bytes()) for name in BATCHES]
    return np.concatenate([batch[b"labels"] for batch in batches])


def numbers(reading):
    """The pool's row number of every image, as its pixels say."""
    return reading.images[:, 0, 0, 0].astype(int)


def test_pixels_are_rows_of_red_green_blue(folder):
    reading = read(folder)
    assert reading.images.shape == (18, 32, 32, 3)
    assert (reading.images[:, 1, 0, 0] == 255).all()
    assert np.array_equal(reading.images[:, 5, 9, 1], numbers(reading) + 100)
    assert reading.class_names == ["plane", "car", "bird"]


def test_ids_and_labels_belong_to_the_pixels(folder):
    reading = read(folder)
    assert reading.ids == [f"{BATCHES[i // 3]}/{i % 3:05d}" for i in numbers(reading)]
    assert np.array_equal(reading.labels.argmax(axis=1), pool(folder)[numbers(reading)])
    assert sorted(numbers(reading)) == list(range(18))


def test_one_permutation_serves_every_class(folder):
    reading, classes = read(folder, seed=3), pool(folder)
    order = np.random.default_rng(3).permutation(PER_CLASS)
    expected_query, expected_database = [], []
    for c in range(3):
        rows = [i for i in range(18) if classes[i] == c]
        expected_query += [rows[position] for position in order[:2]]
        expected_database += [rows[position] for position in sorted(order[2:])]
    assert numbers(reading)[reading.is_query].tolist() == expected_query
    assert numbers(reading)[~reading.is_query].tolist() == expected_database


def test_the_rows_of_the_split_are_kept_as_those_of_the_pool_sorted_by_class(folder):
    """Known without the files, whatever the order of the images in them."""
    sorted_pool = np.repeat(np.arange(3), PER_CLASS)
    split = draw_same_positions(sorted_pool, 6, np.random.default_rng(3))
    assert read(folder, seed=3).facts["rows"] == digests(*split)


def test_the_split_follows_the_seed(folder):
    assert read(folder, seed=1).ids == read(folder, seed=1).ids
    assert read(folder, seed=1).ids != read(folder, seed=2).ids


def test_the_folder_itself_may_be_named(folder):
    assert read(folder / "cifar-10-batches-py").ids == read(folder).ids


@pytest.mark.parametrize("num_query", [7, 18, 21])
def test_queries_that_cannot_be_drawn_evenly_are_refused(folder, num_query):
    with pytest.raises(UserError, match=r"datasets\.tiny\.options\.num_query"):
        read(folder, num_query=num_query)


def test_classes_of_unequal_size_are_refused(folder):
    path = folder / "cifar-10-batches-py" / "test_batch"
    batch = pickle.loads(path.read_bytes())
    write(path, batch | {b"labels": [(batch[b"labels"][0] + 1) % 3, *batch[b"labels"][1:]]})
    with pytest.raises(UserError, match="drawn evenly"):
        read(folder)


def test_labels_beyond_the_classes_are_refused(folder):
    write(folder / "cifar-10-batches-py" / "batches.meta", {b"label_names": NAMES[:2]})
    with pytest.raises(UserError, match=r"0\.\.1"):
        read(folder, expect_classes=2)


def test_other_counts_must_be_stated(folder):
    with pytest.raises(UserError, match=r"18 images found, 60000 expected"):
        read(folder, expect_images=60_000)


@pytest.mark.parametrize("name", [*BATCHES, "batches.meta"])
def test_a_missing_or_cut_file_is_named(folder, name):
    path = folder / "cifar-10-batches-py" / name
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=name):
        read(folder)
    path.unlink()
    with pytest.raises(UserError, match=name):
        read(folder)


@pytest.mark.parametrize(
    "content",
    [
        {b"labels": [0, 1, 2]},
        {b"data": np.zeros((3, 3072), np.uint8)},
        {b"labels": [0, 1], b"data": np.zeros((3, 3072), np.uint8)},
        {b"labels": [0, 1, 2], b"data": np.zeros((3, 3072), np.float32)},
        {b"labels": ["a", "b", "c"], b"data": np.zeros((3, 3072), np.uint8)},
        {b"labels": [0, 1, 2], b"data": b"pixels"},
    ],
)
def test_a_batch_without_what_belongs_in_it_is_refused(folder, content):
    write(folder / "cifar-10-batches-py" / "data_batch_2", content)
    with pytest.raises(UserError, match="not a CIFAR-10 batch"):
        read(folder)


def test_the_real_set(real_data):
    if not (real_data / "cifar-10-batches-py").is_dir():
        pytest.skip("HASHREPRO_TEST_DATA has no cifar-10-batches-py/")
    options = parse_options("cifar10", load_reader("cifar10"), {})
    reading = cifar10.read(real_data, options, stream(0, "split", "cifar10"))
    check_recorded("cifar10", options, 0, reading)
    catalog = reading.catalog("cifar10")
    assert catalog.labels[catalog.query_rows].sum(axis=0).tolist() == [100] * 10
    assert catalog.labels[catalog.database_rows].sum(axis=0).tolist() == [5900] * 10
    assert (np.diff(catalog.labels[catalog.database_rows].argmax(axis=1)) >= 0).all()
    assert catalog.class_names[0] == "airplane"
    assert reading.images.shape == (60_000, 32, 32, 3)
