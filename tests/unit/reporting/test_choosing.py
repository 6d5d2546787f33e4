import numpy as np
import pytest

from hashrepro.reporting.choosing import spread_over_classes

CLASSES = np.array([2, 2, 2, 2, 0, 0, 1, 2])
LABELS = np.eye(4, dtype=bool)[CLASSES]


@pytest.mark.parametrize(
    ("count", "chosen"), [(0, []), (2, [4, 6]), (3, [0, 4, 6]), (5, [0, 1, 4, 5, 6]), (99, list(range(8)))]
)
def test_every_class_before_any_has_one_more(count, chosen):
    assert spread_over_classes(LABELS, count).tolist() == chosen


def test_a_draw_is_as_even_and_differs_within_a_class():
    draws = [spread_over_classes(LABELS, 4, np.random.default_rng(seed)) for seed in range(20)]
    for draw in draws:
        assert sorted(np.bincount(CLASSES[draw], minlength=3)[:2]) >= [1, 1]
        assert np.bincount(CLASSES[draw]).max() - np.bincount(CLASSES[draw]).min() <= 1
        assert (np.diff(draw) > 0).all()
    assert {int(place) for draw in draws for place in draw} == set(range(8))


def test_few_are_among_many():
    for count in range(8):
        rngs = [np.random.default_rng(3), np.random.default_rng(3)]
        few, many = (
            spread_over_classes(LABELS, n, rng) for n, rng in zip((count, count + 1), rngs, strict=True)
        )
        assert set(few) < set(many)


def test_an_image_of_several_classes_counts_for_its_first():
    labels = np.array([[0, 1, 1], [0, 0, 1], [0, 1, 0]], dtype=bool)
    assert spread_over_classes(labels, 2).tolist() == [0, 1]
