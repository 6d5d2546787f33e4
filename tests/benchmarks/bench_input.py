"""From stored images to normalised batches at 224 px, against torchvision's transforms on Pillow images."""

import io
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from harness import Row, compare, wanted
from PIL import Image
from torchvision import transforms

from hashrepro.images.cache import ImageCache, build_cache
from hashrepro.images.loaders import evaluation_batches, train_batches
from hashrepro.images.transforms import TrainView

RESIZE, CROP, BATCH = 256, 224, 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PHOTOS, CIFAR_IMAGES = 96, 256
NORMALISE = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
EVALUATION = transforms.Compose([transforms.Resize(RESIZE), transforms.CenterCrop(CROP), *NORMALISE])
TRAINING = transforms.Compose(
    [transforms.RandomResizedCrop(CROP), transforms.RandomHorizontalFlip(), *NORMALISE]
)


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        if wanted("input", "input_train_exact", "input_train"):
            yield from _photos(Path(folder))
        if wanted("input_cifar"):
            yield _cifar(Path(folder) / "cifar")


def _photos(folder: Path) -> Iterator[Row]:
    files = [write_photo(folder / f"{i}.jpg", i) for i in range(PHOTOS)]
    sizes = {"resize": RESIZE, "crop": CROP, "workers": 0, "progress": False}
    build_cache(folder / "cache", files, training_cache="resized", **sizes)
    cache = ImageCache.open(folder / "cache")
    encoded = [path.read_bytes() for path in files[-BATCH:]]

    def plain(view: transforms.Compose) -> torch.Tensor:
        return torch.stack([view(Image.open(io.BytesIO(data)).convert("RGB")) for data in encoded])

    unit = {"unit": "ms per image", "plain_items": BATCH, "rounds": 5}
    if wanted("input"):
        everything = np.arange(4 * PHOTOS) % PHOTOS
        yield compare(
            "input",
            lambda: last(evaluation_batches(cache, everything, BATCH, MEAN, STD)),
            partial(plain, EVALUATION),
            ours_items=len(everything),
            check=equal,
            **unit,
        )
    for name, crop_from in (("input_train_exact", "original"), ("input_train", "resized")):
        if wanted(name):
            epoch = partial(
                train_batches,
                cache,
                np.arange(PHOTOS),
                BATCH,
                TrainView(CROP),
                MEAN,
                STD,
                seed=0,
                path=(1, 1),
            )
            yield compare(
                name,
                lambda epoch=epoch, crop_from=crop_from: last(epoch(crop_from=crop_from)),
                partial(plain, TRAINING),
                ours_items=PHOTOS,
                **unit,
            )


def _cifar(folder: Path) -> Row:
    pixels = np.random.default_rng(0).integers(0, 256, (CIFAR_IMAGES, 32, 32, 3), dtype=np.uint8)
    build_cache(folder, pixels, resize=RESIZE, crop=CROP, workers=0, progress=False)
    cache = ImageCache.open(folder)
    return compare(
        "input_cifar",
        lambda: last(evaluation_batches(cache, np.arange(CIFAR_IMAGES), BATCH, MEAN, STD)),
        lambda: torch.stack([EVALUATION(Image.fromarray(image)) for image in pixels[-BATCH:]]),
        unit="ms per image",
        ours_items=CIFAR_IMAGES,
        plain_items=BATCH,
        rounds=5,
        check=equal,
    )


def write_photo(path: Path, seed: int) -> Path:
    """A JPEG about as large and as detailed as a photograph of CUB-200-2011: 500 x 375, every fourth one upright."""
    rng, size = np.random.default_rng(seed), (500, 375) if seed % 4 else (375, 500)
    photo = np.full((*size[::-1], 3), 128.0)
    for cells, contrast in ((6, 60), (16, 36), (48, 21), (120, 15)):
        noise = rng.normal(128, 40, (cells, cells, 3)).clip(0, 255).astype(np.uint8)
        smooth = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
        photo += contrast / 40 * (np.asarray(smooth) - 128.0)
    photo += rng.normal(0, 6, photo.shape)  # the sensor's
    Image.fromarray(photo.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return path


def last(batches: Iterator) -> torch.Tensor | tuple:
    """The last batch; of the others nothing is kept, as in training."""
    for batch in batches:
        kept = batch
    return kept


def equal(ours: torch.Tensor, plain: torch.Tensor) -> None:
    assert torch.equal(ours, plain)
