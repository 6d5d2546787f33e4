import numpy as np
import pytest
from PIL import Image

from hashrepro.datasets import aircraft
from hashrepro.datasets.base import load_reader, parse_options
from hashrepro.errors import UserError

COUNTS = {"expect_classes": 3, "expect_query": 3, "expect_database": 4}
TEST = ["0000012 Spitfire", "1000001 F/A-18", "0000003 Boeing 737-300 F"]
TRAINVAL = ["2000000 Boeing 737-300 F", "1999999 Spitfire", "0000007 F/A-18", "0000100 F/A-18"]
LINES = {
    "variants.txt": ["Boeing 737-300 F", "F/A-18", "Spitfire"],
    "images_variant_test.txt": TEST,
    "images_variant_trainval.txt": TRAINVAL,
    "families.txt": ["Boeing 737", "Fighter"],
    "images_family_test.txt": ["1000001 Fighter", "0000012 Fighter", "0000003 Boeing 737"],
    "images_family_trainval.txt": [
        f"{line[:7]} {'Boeing 737' if 'B' in line else 'Fighter'}" for line in TRAINVAL
    ],
    "manufacturers.txt": ["Boeing"],
    "images_manufacturer_test.txt": [f"{line[:7]} Boeing" for line in TEST],
    "images_manufacturer_trainval.txt": [f"{line[:7]} Boeing" for line in TRAINVAL],
}


def write(folder, name, lines, end="\n"):
    path = folder / "fgvc-aircraft-2013b" / "data" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}{end}" for line in lines).encode())


@pytest.fixture
def folder(tmp_path):
    """The archive's layout; an image's grey tells its variant, and its last 20 rows are white."""
    for name, lines in LINES.items():
        write(tmp_path, name, lines)
    (tmp_path / "fgvc-aircraft-2013b" / "data" / "images").mkdir()
    for line in TEST + TRAINVAL:
        number, _, variant = line.partition(" ")
        grey = 60 * (1 + LINES["variants.txt"].index(variant))
        image = Image.new("RGB", (48, 50), (grey, grey, grey))
        image.paste((255, 255, 255), (0, 30, 48, 50))
        image.save(tmp_path / "fgvc-aircraft-2013b" / "data" / "images" / f"{number}.jpg", quality=95)
    return tmp_path


def read(folder, **options):
    values = parse_options("tiny", load_reader("aircraft"), COUNTS | options)
    return aircraft.read(folder, values, np.random.default_rng(0))


def official(folder, **options):
    values = parse_options("full", load_reader("aircraft"), options)
    return aircraft.read(folder, values, np.random.default_rng(0))


def test_rows_are_in_the_order_of_the_lists_queries_first(folder):
    reading = read(folder)
    assert reading.ids == [f"{line[:7]}.jpg" for line in TEST + TRAINVAL]
    assert reading.is_query.tolist() == [True] * 3 + [False] * 4
    assert reading.catalog("tiny").database_rows.tolist() == [3, 4, 5, 6]
    assert reading.crop_bottom == 0


def test_the_class_is_the_line_of_the_whole_name(folder):
    reading = read(folder)
    assert reading.class_names == ["Boeing 737-300 F", "F/A-18", "Spitfire"]
    assert reading.labels.argmax(axis=1).tolist() == [2, 1, 0, 0, 2, 1, 1]
    assert reading.labels.sum() == 7
    for path, label in zip(reading.images, reading.labels.argmax(axis=1), strict=True):
        with Image.open(path) as image:
            assert image.getpixel((20, 10))[0] == pytest.approx(60 * (1 + label), abs=3)


def test_cropping_the_banner_is_told_to_the_cache_and_survives_selection(folder):
    reading = read(folder, banner="crop")
    assert reading.crop_bottom == 20
    some = reading.only(np.array([5, 0]))
    assert some.crop_bottom == 20
    assert some.ids == [reading.ids[5], reading.ids[0]]
    assert some.images == [reading.images[5], reading.images[0]]


def test_families_and_manufacturers_have_lists_of_their_own(folder):
    family = read(folder, level="family", expect_classes=2)
    assert family.class_names == ["Boeing 737", "Fighter"]
    assert family.ids[:3] == ["1000001.jpg", "0000012.jpg", "0000003.jpg"]
    assert family.labels.argmax(axis=1).tolist() == [1, 1, 0, 0, 1, 1, 1]
    assert read(folder, level="manufacturer", expect_classes=1).labels.shape == (7, 1)


@pytest.mark.parametrize(("level", "classes"), [("variant", 100), ("family", 70), ("manufacturer", 30)])
def test_the_level_decides_how_many_classes_there_must_be(folder, level, classes):
    with pytest.raises(UserError, match=rf"classes found, {classes} expected"):
        read(folder, level=level, expect_classes=None)


def test_the_folder_itself_may_be_named(folder):
    assert read(folder / "fgvc-aircraft-2013b").ids == read(folder).ids


def test_windows_lists_are_read(folder):
    expected = read(folder)
    for name, lines in LINES.items():
        write(folder, name, ["\ufeff" + lines[0], *lines[1:], ""], end=" \r\n")
    reading = read(folder)
    assert reading.ids == expected.ids
    assert np.array_equal(reading.labels, expected.labels)


def test_other_counts_than_the_official_ones_must_be_stated(folder):
    with pytest.raises(UserError, match=r"datasets\.full\.options\.expect_query: 3"):
        official(folder)


@pytest.mark.parametrize("name", list(LINES)[:3])
def test_a_missing_list_is_named(folder, name):
    (folder / "fgvc-aircraft-2013b" / "data" / name).unlink()
    with pytest.raises(UserError, match=name):
        read(folder)


@pytest.mark.parametrize(
    ("name", "line", "text", "problem"),
    [
        ("variants.txt", 3, "F/A-18", "stands twice: line 2"),
        ("variants.txt", 2, "", "empty"),
        ("images_variant_test.txt", 2, "1000001", "'' is not one of 3"),
        ("images_variant_test.txt", 2, "1000001 F/A", "'F/A' is not one of 3"),
        ("images_variant_test.txt", 2, "", "empty"),
        ("images_variant_test.txt", 3, "0000012 F/A-18", r"stands twice: images_variant_test\.txt:1"),
        ("images_variant_trainval.txt", 4, "0000012 Spitfire", r"stands twice: images_variant_test\.txt:1"),
        ("images_variant_trainval.txt", 1, "../../../secret Spitfire", "leaves the folder"),
    ],
)
def test_a_malformed_line_is_named_with_its_number(folder, name, line, text, problem):
    write(folder, name, [*LINES[name][: line - 1], text, *LINES[name][line:]])
    with pytest.raises(UserError, match=problem) as caught:
        read(folder)
    assert f"{name}:{line}" in str(caught.value)


@pytest.fixture
def full(tmp_path):
    """Lists of the official size: 33 or 34 of a variant's 100 images are in the test set."""
    names = [f"Type {c}/A B" for c in range(100)]
    test = [f"{c * 100 + i:07d} {names[c]}" for c in range(100) for i in range(34 if c < 33 else 33)]
    rest = [f"{c * 100 + i:07d} {names[c]}" for c in range(100) for i in range(34 if c < 33 else 33, 100)]
    trainval = rest[::2] + rest[1::2]  # two blocks, each sorted by class
    write(tmp_path, "variants.txt", names)
    write(tmp_path, "images_variant_test.txt", test)
    write(tmp_path, "images_variant_trainval.txt", trainval)
    return tmp_path, test, trainval


def test_the_defaults_admit_the_official_size(full):
    folder, test, trainval = full
    reading = official(folder)
    assert reading.labels.shape == (10_000, 100)
    assert [name[:7] for name in reading.ids] == [line[:7] for line in test + trainval]
    assert set(reading.labels[~reading.is_query].sum(axis=0)) == {66, 67}


def test_right_totals_with_a_changed_class_are_refused(full):
    folder, test, trainval = full
    changed = f"{trainval[0][:7]} Type 99/A B"
    write(folder, "images_variant_trainval.txt", [changed, *trainval[1:]])
    with pytest.raises(UserError, match="class 'Type 0/A B' has 99 images"):
        official(folder)
    # One image of a variant is a query instead of a database image, and of another the other way around.
    write(folder, "images_variant_test.txt", [*test[34:], *test[1:34], trainval[-1]])
    write(folder, "images_variant_trainval.txt", [test[0], *trainval[:-1]])
    official(folder)
    write(folder, "images_variant_test.txt", [*test[36:], *test[2:34], *test[34:36], *trainval[-2:]])
    write(folder, "images_variant_trainval.txt", [*test[:2], *trainval[:-2]])
    with pytest.raises(UserError, match="has 68 database images, and 66 to 67"):
        official(folder)
