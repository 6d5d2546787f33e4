import numpy as np
import pytest
import torch

from hashrepro.images.cache import ImageCache, build_cache
from hashrepro.images.loaders import evaluation_batches, train_batches
from hashrepro.images.transforms import TrainView, normalise

HALF = (0.5, 0.5, 0.5)
VIEW = TrainView(16)
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    pixels = np.random.default_rng(0).integers(0, 256, (23, 12, 12, 3), dtype=np.uint8)
    build_cache(folder, pixels, resize=16, crop=16, workers=0, progress=False)
    return ImageCache.open(folder)


def epoch(cache, rows, batch_size=4, view=VIEW, path=(0, 0), **options):
    """(positions, images, batch sizes) of one epoch."""
    batches = list(train_batches(cache, rows, batch_size, view, HALF, HALF, seed=5, path=path, **options))
    positions, images = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return positions, images, [len(images) for _, images in batches]


def by_position(positions, images):
    return images[positions.argsort()]


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_batches_keep_the_order_and_the_last_partial_batch(cache, workers):
    rows = np.array([22, 3, 3, 0, 17, 9, 8])
    batches = list(evaluation_batches(cache, rows, 3, HALF, HALF, workers=workers))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert torch.equal(torch.cat(batches), normalise(cache.evaluation(rows), HALF, HALF))


def test_an_epoch_visits_every_row_once_in_random_order(cache):
    rows = np.arange(23)[::-1].copy()
    positions, images, sizes = epoch(cache, rows, view=None)
    assert sizes == [4, 4, 4, 4, 4, 3]
    assert positions.dtype == torch.int64
    assert sorted(positions.tolist()) == list(range(23))
    assert positions.tolist() != list(range(23))
    assert torch.equal(images, normalise(cache.evaluation(rows[positions]), HALF, HALF))


def test_without_shuffling_the_rows_keep_their_order(cache):
    positions, _, _ = epoch(cache, np.arange(10), shuffle=False)
    assert positions.tolist() == list(range(10))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_nothing(cache, workers):
    alone, there = epoch(cache, np.arange(23)), epoch(cache, np.arange(23), workers=workers)
    assert torch.equal(alone[0], there[0])
    assert torch.equal(alone[1], there[1])


def test_the_batch_size_changes_no_view(cache):
    few, many = epoch(cache, np.arange(23), batch_size=3), epoch(cache, np.arange(23), batch_size=10)
    assert torch.equal(few[0], many[0])
    assert torch.equal(few[1], many[1])


def test_a_view_depends_on_the_row_and_not_on_its_company(cache):
    positions, images, _ = epoch(cache, np.arange(23))
    some, few, _ = epoch(cache, np.array([20, 4]))
    assert torch.equal(by_position(some, few), by_position(positions, images)[[20, 4]])


def test_epochs_differ_in_order_and_views(cache):
    first, second = epoch(cache, np.arange(23), path=(0, 0)), epoch(cache, np.arange(23), path=(0, 1))
    assert first[0].tolist() != second[0].tolist()
    same = [torch.equal(a, b) for a, b in zip(by_position(*first[:2]), by_position(*second[:2]), strict=True)]
    assert not any(same)


def test_epochs_that_share_a_view_path_see_the_same_views_in_another_order(cache):
    first = epoch(cache, np.arange(23), path=(0, 0), view_path=(0,))
    second = epoch(cache, np.arange(23), path=(0, 1), view_path=(0,))
    assert first[0].tolist() != second[0].tolist()
    assert torch.equal(by_position(*first[:2]), by_position(*second[:2]))


def test_loading_leaves_torchs_global_generator_alone(cache):
    before = torch.get_rng_state()
    epoch(cache, np.arange(23))
    list(evaluation_batches(cache, np.arange(23), 5, HALF, HALF))
    assert torch.equal(torch.get_rng_state(), before)
