"""Write fashion-mnist.npz from Fashion-MNIST's four official files: 50 queries, 500 database images a class.

    python make_subset.py FOLDER fashion-mnist.npz

FOLDER holds the four idx files, gzipped or not. Queries come from the test set, the database from the
training set, drawn with seed 0; the rows drawn are kept in `source_row`. The same files give the same bytes.
"""

import argparse
import gzip
import hashlib
from pathlib import Path

import numpy as np

# SHA-256 of the uncompressed files: their gzip headers differ from mirror to mirror, their content does not.
DIGESTS = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
QUERY_PER_CLASS = 50
DATABASE_PER_CLASS = 500


def read_idx(folder: Path, name: str) -> np.ndarray:
    """The uint8 array of one idx file, checked against its digest."""
    plain, packed = folder / name, folder / f"{name}.gz"
    if not plain.exists() and not packed.exists():
        raise SystemExit(f"{folder} holds neither {name} nor {name}.gz")
    data = plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes())
    if hashlib.sha256(data).hexdigest() != DIGESTS[name]:
        raise SystemExit(f"{folder}/{name} is not the official file: its SHA-256 differs")
    dimensions = data[3]
    shape = np.frombuffer(data, ">u4", count=dimensions, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def draw(labels: np.ndarray, per_class: int, rng: np.random.Generator) -> np.ndarray:
    """Ascending row numbers with `per_class` of every class."""
    rows = [rng.choice(np.flatnonzero(labels == c), per_class, replace=False) for c in range(10)]
    return np.sort(np.concatenate(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with the four official files")
    parser.add_argument("output", type=Path, help="the .npz file to write")
    arguments = parser.parse_args()

    rng = np.random.default_rng(0)
    parts = []
    for part, per_class in (("t10k", QUERY_PER_CLASS), ("train", DATABASE_PER_CLASS)):
        images = read_idx(arguments.folder, f"{part}-images-idx3-ubyte")
        labels = read_idx(arguments.folder, f"{part}-labels-idx1-ubyte")
        rows = draw(labels, per_class, rng)
        parts.append((images[rows], labels[rows], np.full(len(rows), part == "t10k"), rows.astype(np.int32)))
    images, labels, is_query, source_row = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    np.savez_compressed(
        arguments.output, images=images, labels=labels, is_query=is_query, source_row=source_row
    )
    print(f"{arguments.output}: {len(images)} images, SHA-256", end=" ")
    print(hashlib.sha256(arguments.output.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
