import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as reference

from hashrepro.errors import UserError
from hashrepro.images.cache import ImageCache, build_cache
from hashrepro.images.loaders import evaluation_batches, train_batches
from hashrepro.images.transforms import TrainView, random_resized_crop_box
from hashrepro.seeds import stream

HALF = (0.5, 0.5, 0.5)
VIEW = TrainView(16)
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    pixels = np.random.default_rng(0).integers(0, 256, (23, 12, 12, 3), dtype=np.uint8)
    build_cache(folder, pixels, resize=16, crop=16, workers=0, progress=False)
    return ImageCache.open(folder)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """JPEGs of several sizes with a training cache; in place of the files, their images come beside it."""
    folder, rng, paths = tmp_path_factory.mktemp("photos"), np.random.default_rng(0), []
    for i, (height, width) in enumerate([(90, 120), (120, 90), (40, 44), (30, 25), (64, 200), (150, 100)]):
        coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        image.save(folder / f"{i}.jpg", quality=90)
        paths.append(folder / f"{i}.jpg")
    build_cache(
        folder / "cache", paths, resize=40, crop=32, workers=0, training_cache="resized", progress=False
    )
    return ImageCache.open(folder / "cache"), [Image.open(path).convert("RGB") for path in paths]


def normalised(images):
    """float32 (b, 3, h, w) by torchvision, of Pillow images or of uint8 (b, 3, h, w)."""
    to_tensor = reference.Compose([reference.ToTensor(), reference.Normalize(HALF, HALF)])
    if isinstance(images, torch.Tensor):
        images = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    return torch.stack([to_tensor(image) for image in images])


def pillow_view(image, rng, size):
    """RandomResizedCrop and RandomHorizontalFlip on a Pillow image, with our draws."""
    top, left, height, width = random_resized_crop_box(rng, image.height, image.width)
    view = reference.functional.resized_crop(image, top, left, height, width, [size, size])
    return reference.functional.hflip(view) if rng.random() < 0.5 else view


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
    assert torch.equal(torch.cat(batches), normalised(cache.evaluation(rows)))


def test_an_epoch_visits_every_row_once_in_random_order(cache):
    rows = np.arange(23)[::-1].copy()
    positions, images, sizes = epoch(cache, rows, view=None)
    assert sizes == [4, 4, 4, 4, 4, 3]
    assert positions.dtype == torch.int64
    assert sorted(positions.tolist()) == list(range(23))
    assert positions.tolist() != list(range(23))
    assert torch.equal(images, normalised(cache.evaluation(rows[positions])))


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


def test_evaluation_batches_of_files_equal_torchvision_on_pillow(photos):
    cache, images = photos
    rows, view = (
        np.array([5, 0, 3, 3, 1]),
        reference.Compose([reference.Resize(40), reference.CenterCrop(32)]),
    )
    batches = list(evaluation_batches(cache, rows, 2, HALF, HALF))
    assert torch.equal(torch.cat(batches), normalised([view(images[row]) for row in rows]))


@pytest.mark.parametrize("workers", [0, 2])
def test_crops_from_originals_equal_torchvision_on_pillow(photos, workers):
    cache, images = photos
    positions, loaded, _ = epoch(cache, np.arange(6), path=(3, 1), workers=workers)
    expected = [pillow_view(images[row], stream(5, "view", 3, 1, row), 16) for row in range(6)]
    assert torch.equal(by_position(positions, loaded), normalised(expected))


@pytest.mark.parametrize("workers", [0, 2])
def test_crops_from_resized_images_equal_torchvision_on_pillow(photos, workers):
    cache, images = photos
    positions, loaded, _ = epoch(cache, np.arange(6), path=(3, 1), workers=workers, crop_from="resized")
    resize = reference.Resize(40)
    expected = [pillow_view(resize(images[row]), stream(5, "view", 3, 1, row), 16) for row in range(6)]
    assert torch.equal(by_position(positions, loaded), normalised(expected))


def test_small_images_are_resized_before_the_crop_only_when_asked_to(cache):
    positions, loaded, _ = epoch(cache, np.arange(23))
    resized_positions, resized, _ = epoch(cache, np.arange(23), crop_from="resized")
    images = [Image.fromarray(cache.pixels(row)) for row in range(23)]
    expected = [pillow_view(image, stream(5, "view", 0, 0, row), 16) for row, image in enumerate(images)]
    assert torch.equal(by_position(positions, loaded), normalised(expected))
    resize = reference.Resize(16)
    expected = [
        pillow_view(resize(image), stream(5, "view", 0, 0, row), 16) for row, image in enumerate(images)
    ]
    assert torch.equal(by_position(resized_positions, resized), normalised(expected))


def test_a_view_of_the_whole_image_loses_little_by_resizing_first(photos):
    cache, _ = photos
    everything = TrainView(16, scale=(1.0, 1.0), ratio=(4 / 3, 4 / 3), flip=0.0)
    of_row_0 = np.zeros(1, dtype=int)  # 120 x 90 pixels, then 53 x 40
    _, exact, _ = epoch(cache, of_row_0, view=everything)
    _, resized, _ = epoch(cache, of_row_0, view=everything, crop_from="resized")
    levels = 127.5 * (exact - resized).abs()  # grey levels of 0..255
    assert 1 < levels.max() < 12
    assert levels.mean() < 2


def test_a_cache_without_resized_images_is_refused_at_once(tmp_path, photos):
    Image.new("RGB", (20, 20)).save(tmp_path / "grey.png")
    build_cache(tmp_path / "cache", [tmp_path / "grey.png"], resize=16, crop=16, workers=0, progress=False)
    cache = ImageCache.open(tmp_path / "cache")
    options = {"seed": 0, "path": (), "crop_from": "resized"}
    with pytest.raises(UserError, match=r"datasets\.cache\.training_cache: resized"):
        train_batches(cache, np.zeros(1, int), 1, VIEW, HALF, HALF, **options)
    assert len(list(train_batches(cache, np.zeros(1, int), 1, None, HALF, HALF, **options))) == 1


@pytest.mark.parametrize("row", [-1, 23])
def test_a_row_that_is_not_there_is_refused(cache, row):
    with pytest.raises(IndexError, match="of a cache of 23 images"):
        evaluation_batches(cache, np.array([0, row]), 2, HALF, HALF)
    with pytest.raises(IndexError, match="of a cache of 23 images"):
        train_batches(cache, np.array([0, row]), 2, VIEW, HALF, HALF, seed=0, path=())


def test_batches_that_are_kept_keep_their_values(cache):
    batches, copies = [], []
    for images in evaluation_batches(cache, np.arange(23), 3, HALF, HALF):
        batches.append(images[1:, :, ::2])  # a view is enough to keep the memory
        copies.append(batches[-1].clone())
    assert len({batch.untyped_storage().data_ptr() for batch in batches}) == len(batches)
    for batch, copy in zip(batches, copies, strict=True):
        assert torch.equal(batch, copy)


def test_the_memory_of_a_batch_that_is_gone_is_used_again(cache):
    pointers = [images.data_ptr() for images in evaluation_batches(cache, np.arange(22), 2, HALF, HALF)]
    assert len(set(pointers)) <= 3
