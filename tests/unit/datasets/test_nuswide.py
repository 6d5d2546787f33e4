"""NUS-WIDE: a miniature in the official layout, and one of full size with the official counts."""

import numpy as np
import pytest
from PIL import Image

from hashrepro.datasets import nuswide
from hashrepro.datasets.base import load_reader, parse_options
from hashrepro.datasets.splits import digests
from hashrepro.errors import UserError

ROWS, BARE = 100, 20  # the first 20 images have none of the 21 most frequent concepts
CONCEPTS = [f"c{chr(ord('a') + i)}" for i in range(23)]  # "ca" is the rarest
OFFICIAL = (
    *(74190, 54087, 51577, 35264, 33887, 22561, 17835, 15051, 14345, 13392, 11307, 9524, 8605, 8418, 7875),
    *(6327, 6099, 5404, 5352, 5239, 5099),
)


def flags():
    """{concept: bool (100,)}: concept i has 5 + i images; the two rarest are those of otherwise bare images."""
    table = np.zeros((ROWS, len(CONCEPTS)), dtype=bool)
    for i in range(len(CONCEPTS)):
        rows = 7 * i + np.arange(5 + i)
        table[rows % BARE if i < 2 else BARE + rows % (ROWS - BARE), i] = True
    return dict(zip(CONCEPTS, table.T, strict=True))


MINE = {
    "query_per_class": 1,
    "expect_frequencies": list(range(27, 6, -1)),
    "expect_images": ROWS - BARE,
}
NAMES = [f"{'actor' if row % 2 else 'Sea_Side'}\\{row:04d}_{1000 + row}.jpg" for row in range(ROWS)]


def write_lines(path, lines, end="\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}{end}" for line in lines).encode())


@pytest.fixture
def folder(tmp_path):
    for name, column in flags().items():
        write_lines(label_file(tmp_path, name), column.astype(int))
    write_lines(tmp_path / "ImageList" / "Imagelist.txt", NAMES)
    for name in NAMES[:2]:
        path = tmp_path / "Flickr" / name.replace("\\", "/")
        path.parent.mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(path)
    return tmp_path


def label_file(folder, concept):
    return folder / "Groundtruth" / "AllLabels" / f"Labels_{concept}.txt"


def read(folder, seed=0, **options):
    values = parse_options("tiny", load_reader("nuswide"), MINE | options)
    return nuswide.read(folder, values, np.random.default_rng(seed))


def test_columns_are_the_most_frequent_concepts_in_falling_order(folder):
    reading = read(folder)
    assert reading.class_names == CONCEPTS[:1:-1]
    assert reading.labels.sum(axis=0).tolist() == list(range(27, 6, -1))


def test_rows_are_the_labelled_images_in_the_order_of_the_list(folder):
    reading = read(folder)
    table = np.stack(list(flags().values()), axis=1)[:, :1:-1]
    rows = [NAMES.index(name.replace("/", "\\")) for name in reading.ids]
    assert sorted(rows) == list(range(BARE, ROWS))
    assert np.array_equal(reading.labels, table[rows])
    assert np.all(np.diff(np.array(rows)[~reading.is_query]) > 0)
    assert reading.images == [folder / "Flickr" / name for name in reading.ids]
    assert reading.images[0].parent.name in ("actor", "Sea_Side")


def test_queries_are_drawn_class_by_class(folder):
    reading = read(folder, seed=4)
    assert reading.is_query.tolist() == [True] * 21 + [False] * 59
    assert all(reading.labels[c, c] for c in range(21))
    assert read(folder, seed=4).ids == reading.ids
    assert read(folder, seed=5).ids != reading.ids
    assert "drawn by this project" in reading.facts["split"]


def test_the_digests_are_of_rows_among_the_labelled_images(folder):
    reading = read(folder)
    rows = np.array([NAMES.index(name.replace("/", "\\")) for name in reading.ids]) - BARE
    assert reading.facts["rows"] == digests(rows[:21], rows[21:])


def test_ten_concepts_have_queries_of_all_images_alike(folder):
    ten = {"concepts": 10, "query_per_class": None, "expect_frequencies": list(range(27, 17, -1))}
    reading = read(folder, **ten, num_query=7)
    assert (len(reading.class_names), int(reading.is_query.sum())) == (10, 7)
    with pytest.raises(UserError, match="5000 queries cannot be drawn from 80 images"):
        read(folder, **ten)


def test_queries_may_be_listed(folder):
    wanted = ["images/0033_1033.jpg", "images/0031_1031.jpg"]
    write_lines(folder / "ImageList" / "mine.txt", wanted)
    reading = read(folder, split="files", query_list="ImageList/mine.txt")
    assert reading.ids[:3] == ["actor/0033_1033.jpg", "actor/0031_1031.jpg", "Sea_Side/0020_1020.jpg"]
    assert reading.is_query.sum() == 2
    assert "a list of yours" in reading.facts["split"]
    write_lines(folder / "ImageList" / "mine.txt", ["images/0004_1004.jpg"])
    with pytest.raises(UserError, match="none of the 80 images"):
        read(folder, split="files", query_list="ImageList/mine.txt")


def test_the_list_of_the_reference_is_known_by_its_digest(folder, monkeypatch):
    import hashlib

    content = b"images/0033_1033.jpg\n"
    (folder / "test_img.txt").write_bytes(content)
    assert len(nuswide._REFERENCES) == 1
    monkeypatch.setitem(nuswide._REFERENCES, hashlib.sha256(content).hexdigest(), "the reference's own")
    reading = read(folder, split="files", query_list="test_img.txt")
    assert reading.facts["split"].startswith("queries from test_img.txt (the reference's own)")


def test_images_may_lie_in_one_folder(folder):
    nested = read(folder)
    (folder / "Flickr").rename(folder / "images")
    flat = read(folder)
    assert flat.ids == nested.ids
    assert flat.images == [folder / "images" / name.rpartition("/")[2] for name in flat.ids]


def test_names_that_clash_in_one_folder_are_refused(folder):
    names = [*NAMES]
    names[31] = "actor\\0030_1030.jpg"
    write_lines(folder / "ImageList" / "Imagelist.txt", names)
    assert len(set(read(folder).images)) == 80
    (folder / "Flickr").rename(folder / "images")
    with pytest.raises(UserError, match=r"2 images .* called 0030_1030\.jpg"):
        read(folder)


def test_a_folder_without_images_is_refused(folder):
    (folder / "Flickr").rename(folder / "pictures")
    with pytest.raises(UserError, match="neither Flickr/ nor images/"):
        read(folder)


def test_windows_line_ends_and_blank_last_lines_are_read(folder):
    expected = read(folder).ids
    for name, column in flags().items():
        write_lines(label_file(folder, name), [*column.astype(int), ""], end=" \r\n")
    write_lines(folder / "ImageList" / "Imagelist.txt", [*NAMES, ""], end="\r\n")
    assert read(folder).ids == expected


def test_a_last_line_without_its_end_is_read(folder):
    expected = read(folder).ids
    path = label_file(folder, "ca")
    path.write_bytes(path.read_bytes()[:-1])
    assert read(folder).ids == expected


@pytest.mark.parametrize(
    ("concept", "line", "text"),
    [
        ("cb", 3, "2"),
        ("cb", 100, "-1"),
        ("cw", 1, "x"),
        ("cb", 5, ""),
        ("cb", 5, "1 0"),
        ("cb", 7, "010"),
        ("cb", 9, "#"),
    ],
)
def test_a_malformed_label_is_named_with_its_line(folder, concept, line, text):
    lines = flags()[concept].astype(int).astype(str).tolist()
    lines[line - 1] = text
    write_lines(label_file(folder, concept), lines)
    with pytest.raises(UserError, match="not 0 or 1") as caught:
        read(folder)
    assert caught.value.where == f"{label_file(folder, concept)}:{line}"


@pytest.mark.parametrize(
    ("line", "text", "problem"),
    [
        (2, "..\\..\\secret.jpg", "leaves the folder"),
        (3, "/etc/passwd", "leaves the folder"),
        (4, "C:\\ImageData\\1.jpg", "leaves the folder"),
        (9, "", "leaves the folder"),
        (7, NAMES[0], "stands twice"),
        (7, NAMES[0].replace("\\", "/"), "stands twice"),
    ],
)
def test_a_malformed_name_is_named_with_its_line(folder, line, text, problem):
    path = folder / "ImageList" / "Imagelist.txt"
    write_lines(path, [*NAMES[: line - 1], text, *NAMES[line:]])
    with pytest.raises(UserError, match=problem) as caught:
        read(folder)
    assert caught.value.where == f"{path}:{line}"


def test_files_of_unequal_length_are_named_with_both_numbers(folder):
    write_lines(label_file(folder, "cc"), [0] * 99)
    with pytest.raises(UserError, match=r"99 lines, but ImageList/Imagelist\.txt has 100") as caught:
        read(folder)
    assert caught.value.where == label_file(folder, "cc")


def test_missing_files_are_named(folder):
    (folder / "ImageList" / "Imagelist.txt").unlink()
    with pytest.raises(UserError, match=r"Imagelist\.txt"):
        read(folder)
    write_lines(folder / "ImageList" / "Imagelist.txt", NAMES)
    for concept in CONCEPTS[:3]:
        label_file(folder, concept).unlink()
    with pytest.raises(UserError, match=r"20 files Labels_<concept>\.txt, 81 expected"):
        read(folder)


def test_another_frequency_is_named_with_its_concept_and_both_numbers(folder):
    with pytest.raises(UserError, match="concept cw has 27 images; number 1 by frequency should have 74190"):
        read(folder, expect_frequencies=None)
    column = flags()["cm"].astype(int)
    column[:2] = 1  # 19, as many as "co" has
    write_lines(label_file(folder, "cm"), column)
    with pytest.raises(UserError, match="concepts cm and co have 19 images each"):
        read(folder)


def test_a_tie_at_the_last_chosen_concept_is_refused(folder):
    column = flags()["cb"].astype(int)
    column[0] = 1
    write_lines(label_file(folder, "cb"), column)
    with pytest.raises(UserError, match="concepts cb and cc have 7 images each"):
        read(folder)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"expect_images": 26}, "80 images found, 26 expected"),
        ({"expect_images": None}, "80 images found, 195834 expected"),
        ({"expect_query": 20}, "21 query found, 20 expected"),
        ({"expect_database": 5}, "59 database found, 5 expected"),
        ({"expect_frequencies": [27, 26]}, "2 numbers for 21 concepts"),
        ({"num_query": 3}, "exclude each other"),
        ({"query_per_class": 8}, "class 'c.' has . images to draw 8"),
        ({"query_list": "list.txt"}, "uses no list"),
        ({"split": "files"}, "needs a list"),
    ],
)
def test_other_counts_and_options_that_do_not_fit_are_refused(folder, options, problem):
    with pytest.raises(UserError, match=problem):
        read(folder, **options)


def test_other_numbers_of_concepts_are_not_offered():
    with pytest.raises(UserError, match="concepts"):
        parse_options("tiny", load_reader("nuswide"), {"concepts": 81})


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A folder of full size with the official counts: (folder, concepts by frequency).

    The frequent columns first cover as many rows as have a label officially, first those with one of the 10 most
    frequent concepts; what their sums leave goes to rows that have a label already. The 60 rare ones lie anywhere.
    """
    rng, total, with_ten, with_label = np.random.default_rng(0), 269_648, 186_577, 195_834
    table = np.zeros((81, total), dtype=bool)
    covered = 0
    for c, count in enumerate(OFFICIAL):
        end = with_ten if c < 10 else with_label
        cover = min(count, end - covered)
        table[c, covered : covered + cover] = True
        free = np.flatnonzero(~table[c, :end])
        table[c, rng.permutation(free)[: count - cover]] = True
        covered += cover
    for c in range(21, 81):
        table[c, rng.permutation(total)[: 5000 - 7 * c]] = True
    table = table[:, rng.permutation(total)]
    assert table[:21].any(axis=0).sum() == with_label
    assert table[:10].any(axis=0).sum() == with_ten

    folder = tmp_path_factory.mktemp("nuswide")
    names = [f"concept{number:02d}" for number in rng.permutation(81)]
    lines = np.full((total, 2), ord("\n"), dtype=np.uint8)
    label_file(folder, names[0]).parent.mkdir(parents=True)
    for column, name in zip(table, names, strict=True):
        lines[:, 0] = ord("0") + column
        label_file(folder, name).write_bytes(lines.tobytes())
    listed = [f"folder{row % 704}\\{row // 704:04d}_{row}.jpg" for row in range(total)]
    write_lines(folder / "ImageList" / "Imagelist.txt", listed)
    (folder / "Flickr").mkdir()
    return folder, names


@pytest.mark.parametrize(
    ("concepts", "images", "queries", "database"),
    [(21, 195_834, 2_100, 193_734), (10, 186_577, 5_000, 181_577)],
)
def test_the_default_options_take_the_official_counts(official, concepts, images, queries, database):
    folder, names = official
    options = parse_options("nuswide", load_reader("nuswide"), {"concepts": concepts})
    reading = nuswide.read(folder, options, np.random.default_rng(0))
    assert reading.class_names == names[:concepts]
    assert reading.labels.sum(axis=0).tolist() == list(OFFICIAL[:concepts])
    assert reading.is_query.tolist() == [True] * queries + [False] * database
    assert len(set(reading.ids)) == images
    if concepts == 21:
        source = nuswide.SOURCE
        assert (source.images, source.classes, source.query, source.database) == (
            images,
            21,
            queries,
            database,
        )
        blocks = reading.labels[:queries].reshape(21, 100, 21)
        assert all(blocks[c, :, c].all() for c in range(21))
