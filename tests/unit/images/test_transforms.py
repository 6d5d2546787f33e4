import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from torchvision import transforms as reference

from hashrepro.images.resampling import rgb
from hashrepro.images.transforms import (
    TrainView,
    normalise_views,
    normalise_words,
    normalising_table,
    random_resized_crop_box,
)

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def every_byte(rng, count, side):
    """Noise with every byte in every channel."""
    pixels = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    pixels[0].reshape(-1)[:768] = np.repeat(np.arange(256), 3)
    return pixels


def to_tensor_and_normalize(images):
    pipeline = reference.Compose([reference.ToTensor(), reference.Normalize(MEAN, STD)])
    return torch.stack([pipeline(Image.fromarray(image)) for image in images])


def test_normalised_views_equal_to_tensor_and_normalize_bit_for_bit():
    pixels, rows = every_byte(np.random.default_rng(0), 4, 20), np.array([2, 0, 0, 3])
    out = torch.full((4, 3, 20, 20), torch.nan)
    normalise_views(pixels, rows, normalising_table(MEAN, STD), out.numpy())
    assert torch.equal(out, to_tensor_and_normalize(pixels[rows]))


def test_normalised_words_equal_to_tensor_and_normalize_bit_for_bit():
    rng = np.random.default_rng(0)
    pixels = every_byte(rng, 1, 20)
    words = np.concatenate([pixels[0], rng.integers(0, 256, (20, 20, 1), dtype=np.uint8)], axis=-1)
    out = torch.full((1, 3, 20, 20), torch.nan)
    normalise_words(words.view(np.uint32)[..., 0], normalising_table(MEAN, STD), out[0].numpy())
    assert torch.equal(out, to_tensor_and_normalize(pixels))


@given(
    seed=st.integers(0, 2**32),
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    least=st.floats(0.01, 1),
)
def test_a_box_lies_within_the_image(seed, height, width, least):
    top, left, h, w = random_resized_crop_box(np.random.default_rng(seed), height, width, scale=(least, 1.0))
    assert 0 <= top <= top + h <= height
    assert 0 <= left <= left + w <= width
    assert h > 0
    assert w > 0


@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.6, 1.0), (0.3, 0.3)])
def test_boxes_are_drawn_as_numpys_uniform_draws(scale):
    for seed in range(300):
        rng, height, width = np.random.default_rng(seed), 90 + seed, 150
        for _ in range(10):
            area = height * width * rng.uniform(*scale)
            aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if w <= width and h <= height:
                box = (rng.integers(height - h + 1), rng.integers(width - w + 1), h, w)
                again = np.random.default_rng(seed)
                assert random_resized_crop_box(again, height, width, scale) == box
                assert again.random() == rng.random()  # and no more is drawn
                break


def test_boxes_are_distributed_as_torchvisions():
    height, width, n = 120, 180, 4000
    rng = np.random.default_rng(0)
    ours = np.array([random_resized_crop_box(rng, height, width) for _ in range(n)])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        image = torch.empty(3, height, width)
        get_params = reference.RandomResizedCrop.get_params
        theirs = np.array([get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(n)])
    for name, mine, other in (
        ("top", ours[:, 0], theirs[:, 0]),
        ("left", ours[:, 1], theirs[:, 1]),
        ("area", ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3]),
        ("log ratio", np.log(ours[:, 3] / ours[:, 2]), np.log(theirs[:, 3] / theirs[:, 2])),
    ):
        assert stats.ks_2samp(mine, other).pvalue > 1e-3, name


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [(10, 1000, (0, 493, 10, 13)), (1000, 10, (493, 0, 13, 10)), (50, 60, (0, 0, 50, 60))],
)
def test_when_no_box_fits_the_largest_central_one_is_taken(height, width, box):
    rng = np.random.default_rng(0)
    assert random_resized_crop_box(rng, height, width, scale=(4.0, 4.0)) == box


def test_a_train_view_is_pillows_crop_bit_for_bit():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((150, 110), Image.Resampling.BICUBIC)
    view = TrainView(32)
    for seed in range(30):
        result = rgb(view(np.array(image), np.random.default_rng(seed)))
        draws = np.random.default_rng(seed)
        top, left, h, w = random_resized_crop_box(draws, 110, 150)
        expected = reference.functional.resized_crop(image, top, left, h, w, [32, 32])
        if draws.random() < 0.5:
            expected = reference.functional.hflip(expected)
        assert np.array_equal(result, np.asarray(expected))


@pytest.mark.parametrize(("flip", "share"), [(0.0, 0.0), (1.0, 1.0), (0.5, 0.5)])
def test_views_are_mirrored_with_the_probability_asked_for(flip, share):
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 0] = 255
    view = TrainView(8, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=flip)
    rng = np.random.default_rng(0)
    mirrored = np.mean([bool(rgb(view(image, rng))[0, -1, 0] == 255) for _ in range(400)])
    assert abs(mirrored - share) <= 4 * math.sqrt(share * (1 - share) / 400)
