import pickle

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageOps
from torchvision import transforms as reference

from hashrepro.errors import UserError
from hashrepro.files import read_json, write_json
from hashrepro.images.cache import ImageCache, build_cache
from hashrepro.images.loaders import evaluation_batches, train_batches
from hashrepro.images.transforms import TrainView

RESIZE, CROP = 40, 32
EVALUATION = reference.Compose([reference.Resize(RESIZE), reference.CenterCrop(CROP)])


def photo(rng, height, width, channels=3):
    """A smooth random picture: JPEG keeps it nearly, and resizing it shows every rounding."""
    coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, channels), dtype=np.uint8)
    return Image.fromarray(coarse.squeeze()).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def paths(tmp_path):
    """A large JPEG, a small PNG that must be enlarged, a grey, a palette, a CMYK image, one just of size."""
    rng = np.random.default_rng(0)
    images = {
        "large.jpg": photo(rng, 90, 133),
        "small.png": photo(rng, 21, 17),
        "grey.jpg": photo(rng, 50, 60, channels=1),
        "palette.gif": photo(rng, 64, 48).quantize(16),
        "four.jpg": photo(rng, 48, 48).convert("CMYK"),
        "exact.png": photo(rng, 40, 57),
    }
    (tmp_path / "images").mkdir()
    for name, image in images.items():
        image.save(tmp_path / "images" / name)
    return [tmp_path / "images" / name for name in images]


def rgb(path):
    with Image.open(path) as image:
        return image.convert("RGB")


def build(folder, images, **changes):
    options = {"resize": RESIZE, "crop": CROP, "workers": 0, "progress": False} | changes
    return build_cache(folder, images, **options)


def folder_bytes(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_evaluation_views_of_files_equal_torchvision_on_pillow(tmp_path, paths):
    header = build(tmp_path / "cache", paths)
    cache = ImageCache.open(tmp_path / "cache")
    assert header["kind"] == "files"
    assert len(cache) == header["n"] == len(paths)
    assert cache.size == CROP
    assert header["original_bytes"] == sum(path.stat().st_size for path in paths)

    views = cache.evaluation(range(len(paths)))
    assert np.array_equal(cache.pictures(range(len(paths))).transpose(0, 3, 1, 2), views)
    assert views.dtype == torch.uint8
    for view, path in zip(views, paths, strict=True):
        expected = np.asarray(EVALUATION(rgb(path)))
        assert np.array_equal(view.permute(1, 2, 0).numpy(), expected), path.name


def test_rows_come_in_the_order_asked_for(tmp_path, paths):
    build(tmp_path / "cache", paths)
    cache = ImageCache.open(tmp_path / "cache")
    everything = cache.evaluation(np.arange(len(paths)))
    assert torch.equal(cache.evaluation(torch.tensor([3, 0, 3])), everything[[3, 0, 3]])


def test_originals_are_the_decoded_files(tmp_path, paths):
    build(tmp_path / "cache", paths)
    cache = ImageCache.open(tmp_path / "cache")
    for row, path in enumerate(paths):
        expected = np.asarray(rgb(path))
        assert np.array_equal(cache.pixels(row), expected), path.name


def test_the_training_cache_has_every_image_as_torchvision_resizes_it(tmp_path, paths):
    header = build(tmp_path / "cache", paths, training_cache="resized")
    cache = ImageCache.open(tmp_path / "cache")
    assert header["training_cache"] == "resized"
    resize = reference.Resize(RESIZE)
    for row, path in enumerate(paths):
        assert np.array_equal(cache.pixels(row, "resized"), np.asarray(resize(rgb(path)))), path.name
        assert np.array_equal(cache.pixels(row), np.asarray(rgb(path))), path.name


def test_the_training_cache_changes_nothing_else(tmp_path, paths):
    without = build(tmp_path / "without", paths)
    header = build(tmp_path / "with", paths, training_cache="resized")
    assert set(without) == {"kind", "n", "resize", "crop", "version", "original_bytes", "digest"}
    assert header == without | {"training_cache": "resized"}
    files = folder_bytes(tmp_path / "with")
    del files["resized.bin"], files["resized_shapes.npy"], files["images.json"]
    assert files.items() <= folder_bytes(tmp_path / "without").items()


def test_pixels_are_resized_on_the_fly_and_nothing_is_kept(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (3, 28, 35, 3), dtype=np.uint8)
    build(tmp_path / "without", pixels)
    build(tmp_path / "with", pixels, training_cache="resized")
    assert folder_bytes(tmp_path / "with") == folder_bytes(tmp_path / "without")
    cache = ImageCache.open(tmp_path / "without")
    for row in range(3):
        expected = np.asarray(reference.Resize(RESIZE)(Image.fromarray(pixels[row])))
        assert np.array_equal(cache.pixels(row, "resized"), expected)


def test_a_missing_training_cache_is_an_error_that_says_how_to_get_it(tmp_path, paths):
    build(tmp_path / "birds", paths)
    cache = ImageCache.open(tmp_path / "birds")
    cache.require("original")
    with pytest.raises(UserError, match=r"datasets\.birds\.training_cache: resized"):
        cache.require("resized")
    with pytest.raises(UserError, match="crop_from is 'small'"):
        cache.require("small")


@pytest.mark.parametrize(
    ("resize", "crop"), [(64, 64), (56, 40), (61, 47), (32, 28), (28, 28), (20, 16), (224, 224)]
)
@pytest.mark.parametrize("width", [28, 35])
def test_pixels_are_resized_exactly_as_pillow_does(tmp_path, resize, crop, width):
    pixels = np.random.default_rng(1).integers(0, 256, (5, 28, width, 3), dtype=np.uint8)
    header = build(tmp_path / "cache", pixels, resize=resize, crop=crop)
    cache = ImageCache.open(tmp_path / "cache")
    assert header["kind"] == "pixels"
    pillow = reference.Compose([reference.Resize(resize), reference.CenterCrop(crop)])
    for row, view in enumerate(cache.evaluation(np.arange(5))):
        expected = np.asarray(pillow(Image.fromarray(pixels[row])))
        assert np.array_equal(view.permute(1, 2, 0).numpy(), expected)
        assert np.array_equal(cache.pixels(row), pixels[row])


def test_a_returned_view_may_be_changed_without_changing_the_cache(tmp_path):
    pixels = np.full((2, 8, 8, 3), 7, dtype=np.uint8)
    build(tmp_path / "cache", pixels, resize=8, crop=8)
    cache = ImageCache.open(tmp_path / "cache")
    cache.evaluation([0]).zero_()
    assert (cache.evaluation([0]) == 7).all()


def test_pickling_carries_the_folder_and_not_the_pixels(tmp_path, paths):
    build(tmp_path / "cache", paths)
    cache = ImageCache.open(tmp_path / "cache")
    pickled = pickle.dumps(cache)
    assert len(pickled) < 1000
    assert torch.equal(pickle.loads(pickled).evaluation([1]), cache.evaluation([1]))


@pytest.fixture
def turned(tmp_path):
    """An image that EXIF wants turned, without its last 5 rows then."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photo(np.random.default_rng(2), 60, 90).save(tmp_path / "turned.jpg", exif=exif)
    image = ImageOps.exif_transpose(rgb_with_exif(tmp_path / "turned.jpg"))
    return tmp_path / "turned.jpg", image.crop((0, 0, 60, 85))


def rgb_with_exif(path):
    image = Image.open(path)
    image.load()
    return image


@pytest.mark.parametrize("training_cache", ["none", "resized"])
def test_training_crops_are_cut_from_the_image_that_evaluation_saw(tmp_path, turned, training_cache):
    path, expected = turned
    options = {"upright": True, "crop_bottom": 5, "training_cache": training_cache}
    header = build(tmp_path / "cache", [path], **options)
    assert (header["upright"], header["crop_bottom"]) == (True, 5)
    cache = ImageCache.open(tmp_path / "cache")
    assert np.array_equal(cache.pixels(0), np.asarray(expected))
    assert np.array_equal(cache.evaluation([0])[0].permute(1, 2, 0), np.asarray(EVALUATION(expected)))
    if training_cache == "resized":
        assert np.array_equal(cache.pixels(0, "resized"), np.asarray(reference.Resize(RESIZE)(expected)))


def test_the_bottom_of_pixels_is_removed_too(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (3, 28, 35, 3), dtype=np.uint8)
    header = build(tmp_path / "cache", pixels, crop_bottom=8)
    assert header["crop_bottom"] == 8
    build(tmp_path / "cut", pixels[:, :20].copy())
    with_bottom, cut = (folder_bytes(tmp_path / name)["originals.npy"] for name in ("cache", "cut"))
    assert with_bottom == cut


def test_rows_of_a_cache_without_its_damaged_images_are_those_of_the_others(tmp_path, paths):
    paths[1].unlink()
    paths[4].write_bytes(b"GIF89a, or so it says")
    header = build(tmp_path / "cache", paths, unreadable="drop", training_cache="resized")
    assert (header["n"], header["dropped"]) == (4, [1, 4])
    kept = [paths[row] for row in (0, 2, 3, 5)]
    build(tmp_path / "kept", kept, training_cache="resized")
    expected, cache = (ImageCache.open(tmp_path / name) for name in ("kept", "cache"))
    cache = pickle.loads(pickle.dumps(cache))
    assert len(cache) == 4
    rows = np.array([3, 1, 1, 0, 2])
    assert torch.equal(cache.evaluation(rows), expected.evaluation(rows))
    for row in range(4):
        assert np.array_equal(cache.pixels(row), np.asarray(rgb(kept[row])))
        assert np.array_equal(cache.pixels(row, "resized"), expected.pixels(row, "resized"))
    half = ((0.5,) * 3, (0.5,) * 3)
    for found, right in zip(*(evaluation_batches(c, rows, 2, *half) for c in (cache, expected)), strict=True):
        assert torch.equal(found, right)
    epochs = [train_batches(c, rows, 2, TrainView(16), *half, seed=0, path=()) for c in (cache, expected)]
    for found, right in zip(*epochs, strict=True):
        assert torch.equal(found[1], right[1])
    with pytest.raises(IndexError, match="of a cache of 4 images"):
        evaluation_batches(cache, np.array([4]), 1, *half)


def test_a_crop_larger_than_the_resize_is_refused(tmp_path, paths):
    with pytest.raises(UserError, match="crop 50"):
        build(tmp_path / "cache", paths, crop=50)


PARTS = ["originals.bin", "offsets.npy", "evaluation.npy", "resized.bin", "resized_shapes.npy", "images.json"]


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("left", [0, 0.5, None])
def test_a_truncated_or_missing_part_is_refused(tmp_path, paths, name, left):
    build(tmp_path / "cache", paths, training_cache="resized")
    part = tmp_path / "cache" / name
    if left is None:
        part.unlink()
    else:
        part.write_bytes(part.read_bytes()[: int(part.stat().st_size * left)])
    with pytest.raises(UserError, match="dvc repro -f"):
        ImageCache.open(tmp_path / "cache")


@pytest.mark.parametrize("left", [0, 0.5])
def test_truncated_pixels_are_refused(tmp_path, left):
    build(tmp_path / "cache", np.zeros((4, 8, 8, 3), np.uint8), resize=8, crop=8)
    part = tmp_path / "cache" / "originals.npy"
    part.write_bytes(part.read_bytes()[: int(part.stat().st_size * left)])
    with pytest.raises(UserError, match="dvc repro -f"):
        ImageCache.open(tmp_path / "cache")


def test_another_version_is_refused(tmp_path, paths):
    build(tmp_path / "cache", paths)
    header = read_json(tmp_path / "cache" / "images.json")
    write_json(tmp_path / "cache" / "images.json", header | {"version": 99})
    with pytest.raises(UserError, match="version 99"):
        ImageCache.open(tmp_path / "cache")


def test_an_interrupted_build_is_not_taken_for_a_cache(tmp_path, paths):
    build(tmp_path / "cache", paths)
    paths[5].write_bytes(b"")
    with pytest.raises(UserError, match="1 of 6"):
        build(tmp_path / "cache", paths)
    with pytest.raises(UserError, match="cannot be read"):
        ImageCache.open(tmp_path / "cache")
