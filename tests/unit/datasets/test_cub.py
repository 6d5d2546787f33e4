import numpy as np
import pytest
from PIL import Image

from hashrepro.datasets import cub
from hashrepro.datasets.base import load_reader, parse_options
from hashrepro.errors import UserError

COUNTS = {"expect_classes": 2, "expect_query": 3, "expect_database": 2}
IMAGES = [
    "001.Sooty_Gull/a.jpg",
    "001.Sooty_Gull/b.jpg",
    "002.Wren/c.jpg",
    "002.Wren/d.jpg",
    "002.Wren/e.jpg",
]
LINES = {
    "classes.txt": ["1 001.Sooty_Gull", "2 002.Wren"],
    "images.txt": [f"{i} {name}" for i, name in enumerate(IMAGES, start=1)],
    "image_class_labels.txt": ["5 2", "1 1", "2 1", "3 2", "4 2"],
    "train_test_split.txt": ["1 1", "2 0", "3 0", "4 1", "5 0"],
}


@pytest.fixture
def folder(tmp_path):
    for name, lines in LINES.items():
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
    for name in IMAGES:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    return tmp_path


def read(folder, **options):
    values = parse_options("tiny", load_reader("cub"), COUNTS | options)
    return cub.read(folder, values, np.random.default_rng(0))


def change(folder, name, line, text):
    lines = LINES[name].copy()
    lines[line - 1] = text
    (folder / name).write_text("".join(f"{line}\n" for line in lines))


def test_annotations_are_joined_on_the_image_id(folder):
    reading = read(folder)
    assert reading.ids == IMAGES
    assert reading.images == [folder / "images" / name for name in IMAGES]
    assert reading.labels.argmax(axis=1).tolist() == [0, 0, 1, 1, 1]
    assert reading.labels.sum() == 5
    assert reading.is_query.tolist() == [False, True, True, False, True]
    assert reading.class_names == ["Sooty Gull", "Wren"]
    assert reading.catalog("tiny").database_rows.tolist() == [0, 3]


def test_the_folder_above_may_be_named(folder, tmp_path_factory):
    above = tmp_path_factory.mktemp("above")
    (above / "CUB_200_2011").symlink_to(folder)
    assert read(above).ids == IMAGES


def test_windows_lists_are_read(folder):
    expected = read(folder)
    for name, lines in LINES.items():
        (folder / name).write_bytes(
            "".join(f"{line} \r\n" for line in ["\ufeff" + lines[0], *lines[1:], ""]).encode()
        )
    reading = read(folder)
    assert reading.ids == IMAGES
    assert np.array_equal(reading.labels, expected.labels)
    assert np.array_equal(reading.is_query, expected.is_query)


def test_other_counts_than_the_official_ones_must_be_stated(folder):
    official = parse_options("birds50", load_reader("cub"), {})
    with pytest.raises(UserError) as caught:
        cub.read(folder, official, np.random.default_rng(0))
    for text in ("2 classes found, 200 expected", "datasets.birds50.options.expect_query: 3"):
        assert text in str(caught.value)


@pytest.mark.parametrize("name", list(LINES))
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(UserError, match=name):
        read(folder)


@pytest.mark.parametrize(
    ("name", "line", "text", "problem"),
    [
        ("images.txt", 2, "2", "not a line"),
        ("images.txt", 2, "", "not a line"),
        ("images.txt", 2, "1 001.Sooty_Gull/b.jpg", "stands twice"),
        ("images.txt", 3, "3 001.Sooty_Gull/b.jpg", "stands twice: line 2"),
        ("images.txt", 3, "3 ../../secret.jpg", "leaves the folder"),
        ("images.txt", 3, "3 /etc/passwd", "leaves the folder"),
        ("image_class_labels.txt", 1, "5 3", "'3' is not one of"),
        ("image_class_labels.txt", 1, "5 two", "'two' is not one of"),
        ("train_test_split.txt", 3, "3 2", "'2' is not one of"),
        ("classes.txt", 2, "2", "not a line"),
    ],
)
def test_a_malformed_line_is_named_with_its_number(folder, name, line, text, problem):
    change(folder, name, line, text)
    with pytest.raises(UserError, match=problem) as caught:
        read(folder)
    assert f"{folder / name}:{line}" in str(caught.value)


@pytest.mark.parametrize("name", ["image_class_labels.txt", "train_test_split.txt"])
@pytest.mark.parametrize("text", ["9 1", None])
def test_ids_must_be_the_same_in_every_file(folder, name, text):
    lines = LINES[name][:-1] + ([text] if text else [])
    (folder / name).write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(UserError, match=rf"only one of images\.txt and {name}"):
        read(folder)


def test_the_defaults_admit_the_official_size_and_nothing_near_it(tmp_path):
    def write(name, lines):
        (tmp_path / name).write_text("".join(f"{key} {value}\n" for key, value in lines))

    training = [1] * 5994 + [0] * 5794
    labels = np.concatenate([np.repeat(np.arange(200), [29] * 6 + [30] * 194), np.arange(5794) % 200]) + 1
    write("classes.txt", [(c, f"{c:03d}.Bird_{c}") for c in range(1, 201)])
    write("images.txt", [(i, f"{i}.jpg") for i in range(11_788)])
    write("image_class_labels.txt", enumerate(labels))
    write("train_test_split.txt", enumerate(training))
    official = parse_options("full", load_reader("cub"), {})
    reading = cub.read(tmp_path, official, np.random.default_rng(0))
    assert reading.labels.shape == (11_788, 200)
    assert set(reading.labels[~reading.is_query].sum(axis=0)) == {29, 30}

    labels[0] = 200
    write("image_class_labels.txt", enumerate(labels))
    with pytest.raises(UserError, match="class 'Bird 1' has 28 database images, and 29 to 30"):
        cub.read(tmp_path, official, np.random.default_rng(0))


def test_fifty_classes_of_the_real_set(real_data):
    reading = read(real_data / "birds50", expect_classes=50, expect_query=1500, expect_database=1452)
    catalog = reading.catalog("birds50")
    assert len(catalog) == 2952
    assert catalog.class_names[0] == "Black footed Albatross"
    assert catalog.labels[catalog.query_rows].sum(axis=0).tolist() == [30] * 50
    folders = [name.split(".")[0] for name in catalog.ids]
    assert np.array_equal(catalog.labels.argmax(axis=1), np.array(folders, dtype=int) - 1)
