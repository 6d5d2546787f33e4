import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hashrepro.images import resampling
from hashrepro.images.resampling import resample, rgb


def pillow(pixels, box, height, width, window=None, mirrored=False):
    top, left, box_height, box_width = box
    image = Image.fromarray(pixels).crop((left, top, left + box_width, top + box_height))
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    if window is not None:
        top, left, height, width = window
        image = image.crop((left, top, left + width, top + height))
    return np.asarray(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else image)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def sub_box(rng, height, width):
    h, w = int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1))
    return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w


@settings(deadline=None)  # the first example compiles
@given(seed=st.integers(0, 2**32), sides=st.tuples(*[st.integers(1, 90)] * 4), mirrored=st.booleans())
def test_every_crop_and_window_equals_pillows_bit_for_bit(seed, sides, mirrored):
    rng = np.random.default_rng(seed)
    image_height, image_width, height, width = sides
    pixels = noise(image_height, image_width, seed)
    box, window = sub_box(rng, image_height, image_width), sub_box(rng, height, width)
    result = rgb(resample(pixels, box, height, width, window=window, mirrored=mirrored))
    assert np.array_equal(result, pillow(pixels, box, height, width, window, mirrored))
    whole = rgb(resample(pixels, box, height, width))
    assert np.array_equal(whole, pillow(pixels, box, height, width))


@pytest.mark.parametrize(
    "size", [(375, 500), (500, 375), (1200, 90), (90, 1200), (224, 224), (1, 700), (700, 1)]
)
def test_large_images_equal_pillows_bit_for_bit(size):
    pixels = noise(*size)
    assert np.array_equal(
        rgb(resample(pixels, (0, 0, *size), 224, 224)), pillow(pixels, (0, 0, *size), 224, 224)
    )


def test_the_order_of_the_two_passes_follows_pillow(monkeypatch):
    pixels, box = noise(200, 40), (0, 0, 200, 40)
    expected = pillow(pixels, box, 30, 30)
    assert np.array_equal(rgb(resample(pixels, box, 30, 30)), expected)
    other = not resampling._PILLOW_MAY_START_WITH_COLUMNS
    monkeypatch.setattr(resampling, "_PILLOW_MAY_START_WITH_COLUMNS", other)
    difference = rgb(resample(pixels, box, 30, 30)).astype(int) - expected
    assert abs(difference).max() == 1  # so these tests would notice


def test_pixels_may_be_read_only_and_are_left_alone():
    pixels = noise(50, 60)
    before = pixels.copy()
    expected = resample(pixels, (1, 2, 40, 50), 20, 30)
    assert pixels.flags.writeable
    assert np.array_equal(pixels, before)
    pixels.flags.writeable = False
    assert np.array_equal(resample(pixels, (1, 2, 40, 50), 20, 30), expected)


def test_nothing_is_read_beyond_the_last_pixel():
    memory = np.full(30 * 40 * 3 + 64, 255, np.uint8)
    pixels = memory[: 30 * 40 * 3].reshape(30, 40, 3)
    pixels[:] = 0
    assert not rgb(resample(pixels, (0, 0, 30, 40), 64, 64)).any()
