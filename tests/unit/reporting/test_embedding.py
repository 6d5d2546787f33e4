import numpy as np
import pandas as pd
import pytest

from hashrepro.reporting.embedding import COLUMNS, empty_embedding, make_embedding
from hashrepro.retrieval.codes import Codes

NAMES = ["cat", "dog", "emu"]


def noisy(classes: np.ndarray, bits: int, flips: float) -> Codes:
    """A random code a class, with that share of its bits flipped."""
    rng = np.random.default_rng(0)
    centres = np.sign(rng.standard_normal((classes.max() + 1, bits)))
    return Codes.pack(centres[classes] * np.where(rng.random((len(classes), bits)) < flips, -1, 1))


def embed(codes: Codes, classes: np.ndarray, points: int = 1000, seed: int = 0) -> pd.DataFrame:
    labels = np.eye(len(NAMES), dtype=bool)[classes]
    rows = 100 + np.arange(len(classes))
    return make_embedding(codes, labels, rows, NAMES, points, np.random.default_rng(seed))


def purity(places: np.ndarray, label: np.ndarray) -> float:
    """Share of points whose nearest neighbour is of their own class."""
    distances = ((places[:, None] - places[None]) ** 2).sum(-1)
    np.fill_diagonal(distances, np.inf)
    return float((label[distances.argmin(1)] == label).mean())


@pytest.fixture(scope="module")
def classes():
    return np.arange(90) % 3


@pytest.fixture(scope="module")
def separable(classes):
    return embed(noisy(classes, 32, 0.1), classes)


def test_classes_that_codes_tell_apart_stay_apart(separable, classes):
    mixed = embed(noisy(np.zeros(90, int), 32, 0.5), classes)
    assert purity(separable[["x", "y"]].to_numpy(), separable["label"].to_numpy()) > 0.95
    assert purity(mixed[["x", "y"]].to_numpy(), mixed["label"].to_numpy()) < 0.6


def test_the_table_says_what_each_point_is(separable, classes):
    assert tuple(separable.columns) == COLUMNS
    assert separable["row"].tolist() == list(range(100, 190))
    assert separable["name"].tolist() == [NAMES[c] for c in classes]
    assert (separable["labels"] == 1).all()
    assert separable[["x", "y"]].abs().max().max() == pytest.approx(1)
    assert (separable.dtypes == empty_embedding().dtypes).all()


def test_the_same_codes_give_the_same_places(separable, classes):
    pd.testing.assert_frame_equal(embed(noisy(classes, 32, 0.1), classes), separable, check_exact=True)


def test_equal_codes_are_one_place_and_do_not_change_the_map(classes):
    codes = noisy(classes, 32, 0.1)
    once = embed(codes, classes)
    twice = embed(codes[np.repeat(np.arange(90), 2)], np.repeat(classes, 2))
    assert twice["code"].nunique() == once["code"].nunique() == len(np.unique(codes.packed, axis=0))
    assert len(twice[["code", "x", "y"]].drop_duplicates()) == once["code"].nunique()
    np.testing.assert_array_equal(twice[["x", "y"]][::2], once[["x", "y"]])


def test_points_are_drawn_evenly_over_classes():
    classes = np.sort(np.arange(90) % 3)
    drawn = [embed(noisy(classes, 4, 0.0), classes, points=9, seed=seed) for seed in (0, 1)]
    assert drawn[0]["label"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert drawn[0]["row"].tolist() != drawn[1]["row"].tolist()


@pytest.mark.parametrize(("images", "flips"), [(90, 0.0), (9, 0.5)])
def test_too_few_distinct_codes_have_no_places_but_are_counted(images, flips):
    classes = np.arange(images) % 3
    found = embed(noisy(classes, 32, flips), classes)
    assert len(found) == images
    assert found["code"].nunique() == (3 if flips == 0 else 9)
    assert found[["x", "y"]].isna().all().all()


def test_one_class_has_a_map_too():
    classes = np.zeros(12, dtype=int)
    assert embed(noisy(classes, 32, 0.3), classes)["x"].notna().all()


def test_images_without_a_code_are_left_out():
    values = np.ones((5, 8))
    values[[1, 3]] = 0
    classes = np.array([0, 1, 2, 0, 1])
    assert embed(Codes.pack(values), classes)["row"].tolist() == [100, 102, 104]
    assert len(embed(Codes.pack(0 * values), classes)) == 0


def test_no_points_no_table():
    classes = np.arange(6) % 3
    none = embed(noisy(classes, 8, 0.1), classes, points=0)
    assert len(none) == 0
    assert tuple(none.columns) == COLUMNS


def test_an_image_of_several_classes_has_the_first_and_is_counted():
    labels = np.array([[False, True, True]])
    found = make_embedding(
        Codes.pack(np.ones((1, 8))), labels, np.array([7]), NAMES, 5, np.random.default_rng(0)
    )
    assert found[["row", "label", "name", "labels"]].iloc[0].tolist() == [7, 1, "dog", 2]
