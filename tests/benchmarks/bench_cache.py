"""Building an image cache, against a loop over Pillow and torchvision.

`bench_cache.py [N] [WORKERS] [FOLDER]` builds, reads and removes a cache of N (200,000) small JPEGs instead: what it
takes in time, memory and disk (4 GB for 200,000) when a data set is as large as NUS-WIDE.
"""

import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from bench_input import CROP, PHOTOS, RESIZE, write_photo
from harness import Row, compare, wanted
from PIL import Image
from torchvision import transforms

from hashrepro.images.cache import ImageCache, build_cache

VIEW = transforms.Compose([transforms.Resize(RESIZE), transforms.CenterCrop(CROP)])
DISTINCT = 500  # photographs; of each there are as many names as it takes
BATCHES, BATCH = 2000, 32


def rows() -> Iterator[Row]:
    if wanted("cache_build"):
        with tempfile.TemporaryDirectory() as folder:
            yield _build(Path(folder))


def _build(folder: Path) -> Row:
    files = [write_photo(folder / f"{i}.jpg", i) for i in range(PHOTOS)]

    def ours() -> np.ndarray:
        shutil.rmtree(folder / "ours", ignore_errors=True)
        build_cache(folder / "ours", files, resize=RESIZE, crop=CROP, workers=0, progress=False)
        return ImageCache.open(folder / "ours").views

    def plain() -> np.ndarray:
        views = np.stack([np.asarray(VIEW(Image.open(path).convert("RGB"))) for path in files])
        np.save(folder / "plain.npy", views)
        (folder / "plain.bin").write_bytes(b"".join(path.read_bytes() for path in files))
        return views

    def equal(mine: np.ndarray, theirs: np.ndarray) -> None:
        assert np.array_equal(mine, theirs)

    items = {"ours_items": PHOTOS, "plain_items": PHOTOS}
    return compare("cache_build", ours, plain, unit="ms per image", check=equal, **items)


class _Peak(threading.Thread):
    """The largest resident memory (MB) of this process and of any of its children, looked at 10 times a second."""

    def __enter__(self) -> "_Peak":
        self.process, self.ended = psutil.Process(), threading.Event()
        self.before = self.parent = self.process.memory_info().rss / 1e6
        self.child = 0.0
        self.start()
        return self

    def run(self) -> None:
        while not self.ended.wait(0.1):
            self.parent = max(self.parent, self.process.memory_info().rss / 1e6)
            for child in self.process.children(recursive=True):
                try:
                    self.child = max(self.child, child.memory_info().rss / 1e6)
                except psutil.NoSuchProcess:  # it ended while we looked
                    continue

    def __exit__(self, *_) -> None:
        self.ended.set()
        self.join()


def names(folder: Path, count: int) -> list[Path]:
    """Distinct paths of small photographs of 160 x 120 pixels, 1,000 to a folder."""
    photos, paths = [], []
    for i in range(min(DISTINCT, count)):
        large = Image.open(write_photo(folder / "large.jpg", i))
        photos.append(folder / f"photo{i}.jpg")
        large.resize((160, 120), Image.Resampling.BICUBIC).save(photos[-1], quality=90)
    for i in range(count):
        paths.append(folder / f"{i // 1000:04}" / f"{i:07}.jpg")
        paths[-1].parent.mkdir(exist_ok=True)
        os.link(photos[i % len(photos)], paths[-1])
    return paths


def large(count: int, workers: int, folder: Path) -> None:
    paths = names(folder, count)
    begun = time.monotonic()
    with _Peak() as peak:
        build_cache(folder / "cache", paths, resize=72, crop=64, workers=workers)
    seconds = time.monotonic() - begun
    size = sum(path.stat().st_size for path in (folder / "cache").iterdir())
    print(f"{count:,} images, {workers} workers: {seconds:.1f} s, {count / seconds:.0f} images per second")
    print(
        f"peak memory: this process {peak.parent:.0f} MB ({peak.before:.0f} before), a worker {peak.child:.0f} MB"
    )
    print(f"size of the cache: {size / 1e9:.3f} GB")

    begun = time.monotonic()
    cache, rng = ImageCache.open(folder / "cache"), np.random.default_rng(0)
    opened = time.monotonic()
    for _ in range(BATCHES):
        cache.evaluation(rng.integers(0, count, BATCH))
    read = (time.monotonic() - opened) / BATCHES
    print(f"opened in {1e3 * (opened - begun):.1f} ms; a batch of {BATCH} random rows in {1e3 * read:.2f} ms")


if __name__ == "__main__":
    count, workers = (int(word) for word in [*sys.argv[1:3], "200000", "2"][:2])
    with tempfile.TemporaryDirectory(dir=sys.argv[3] if len(sys.argv) > 3 else None) as folder:
        large(count, workers, Path(folder))
