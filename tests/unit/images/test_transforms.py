import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from torchvision import transforms as reference

from hashrepro.images.transforms import TrainView, normalise, random_resized_crop_box

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("layout", ["contiguous", "channels last", "slice"])
def test_normalise_equals_to_tensor_and_normalize_bit_for_bit(layout):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 20, 30, 3), dtype=np.uint8)
    pixels[0].reshape(-1)[:768] = np.repeat(np.arange(256), 3)  # every byte in every channel
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    if layout == "contiguous":
        batch = batch.contiguous()
    elif layout == "slice":
        batch, pixels = batch[:, :, 2:-3, 5:], pixels[:, 2:-3, 5:]
    pillow = reference.Compose([reference.ToTensor(), reference.Normalize(MEAN, STD)])
    expected = torch.stack([pillow(Image.fromarray(image)) for image in pixels])
    result = normalise(batch, MEAN, STD)
    assert result.dtype == torch.float32
    assert result.is_contiguous()
    assert torch.equal(result, expected)


def test_normalise_accepts_lists():
    batch = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    assert torch.equal(normalise(batch, [0.5] * 3, [0.5] * 3), torch.full((1, 3, 2, 2), -1.0))


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


def test_a_train_view_is_pillows_crop_within_one_level():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((150, 110), Image.Resampling.BICUBIC)
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    view = TrainView(32)
    for seed in range(30):
        result = view(tensor, np.random.default_rng(seed))
        draws = np.random.default_rng(seed)
        top, left, h, w = random_resized_crop_box(draws, 110, 150)
        expected = reference.functional.resized_crop(image, top, left, h, w, [32, 32])
        if draws.random() < 0.5:
            expected = reference.functional.hflip(expected)
        difference = np.asarray(expected).astype(int) - result.permute(1, 2, 0).numpy()
        assert result.shape == (3, 32, 32)
        assert result.dtype == torch.uint8
        assert abs(difference).max() <= 1


@pytest.mark.parametrize(("flip", "share"), [(0.0, 0.0), (1.0, 1.0), (0.5, 0.5)])
def test_views_are_mirrored_with_the_probability_asked_for(flip, share):
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    image[:, :, 0] = 255
    view = TrainView(8, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=flip)
    rng = np.random.default_rng(0)
    mirrored = np.mean([bool(view(image, rng)[0, 0, -1] == 255) for _ in range(400)])
    assert abs(mirrored - share) <= 4 * math.sqrt(share * (1 - share) / 400)
