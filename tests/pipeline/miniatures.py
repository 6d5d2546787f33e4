"""The papers' data sets, and two of a user's own, in miniature: official layout and annotation, real small images.

A writer makes one set below a folder and says what must come of it, from what it wrote and not from what a reader
read. The sets are small enough to train on: three or four classes, each of a colour (NUS-WIDE, which cannot have
fewer than 10 concepts, has them in four groups).
"""

import csv
import pickle
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = np.array([(170, 30, 30), (30, 170, 30), (30, 30, 170), (150, 150, 20)])
BANNER = 20  # rows of pixels of FGVC-Aircraft's notice of copyright
CONCEPTS = (  # of NUS-WIDE, the most frequent first, which the alphabet does not tell
    *(
        "sky",
        "clouds",
        "person",
        "water",
        "animal",
        "grass",
        "buildings",
        "window",
        "plants",
        "lake",
        "ocean",
    ),
    *("road", "flowers", "sunset", "reflection", "rocks", "vehicle", "snow", "tree", "beach", "mountain"),
    *("zebra", "airport"),
)


@dataclass(frozen=True)
class Miniature:
    """What was written of a data set, and what the catalog and the image cache must have of it.

    Attributes:
        block: its block of params.yaml, but for what the template photographs has.
        labels: id of every image -> the names of its classes; in the order of the set's rows.
        images: id of every image -> its file, or its pixels (uint8 (h, w, 3)) where it has none.
        queries: the ids of the queries; None where they are drawn.
        num_query: how many they are.
    """

    block: dict
    labels: dict[str, set[str]]
    images: dict[str, Path | np.ndarray]
    queries: set[str] | None
    num_query: int


def _block(reader: str, folder: Path, options: dict, **more) -> dict:
    view = {"resize": 40, "crop": 32, "workers": 1}
    return {"reader": reader, "folder": str(folder), "options": options, **view, **more}


def picture(label: int, number: int) -> Image.Image:
    """A noisy picture in the colour of its class, of its own size, upright or lengthwise; every seventh is grey."""
    rng = np.random.default_rng([label, number])
    height, width = rng.integers(41, 64, 2)
    pixels = COLOURS[label % 4] + rng.integers(0, 80, (height, width, 3))
    image = Image.fromarray(pixels.astype(np.uint8))
    return image.convert("L") if number % 7 == 0 else image


def _save(image: Image.Image, path: Path, **how) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **how)
    return path


def _lines(path: Path, lines, end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}{end}" for line in lines).encode())


def _counts(classes: int, query: int, database: int) -> dict[str, int]:
    return {"expect_classes": classes, "expect_query": query, "expect_database": database}


def write_cifar10(folder: Path) -> Miniature:
    """4 classes of 12 images in six batches of 8: 4 queries and 44 database images, drawn."""
    names, per_class = ["airplane", "automobile", "bird", "cat"], 12
    place = folder / "cifar-10-batches-py"
    place.mkdir(parents=True)
    rng = np.random.default_rng(0)
    classes = rng.permutation(np.repeat(np.arange(4), per_class))
    pixels = (COLOURS[classes][:, None, None] + rng.integers(0, 80, (len(classes), 32, 32, 3))).astype(
        np.uint8
    )
    planes = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
    ids = []
    for batch, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        rows = slice(8 * batch, 8 * batch + 8)
        about = f"training batch {batch + 1} of 5" if batch < 5 else "testing batch 1 of 1"
        content = {b"batch_label": about.encode(), b"labels": classes[rows].tolist(), b"data": planes[rows]}
        content[b"filenames"] = [f"{names[c]}_s_{i:06d}.png".encode() for i, c in enumerate(classes[rows])]
        (place / name).write_bytes(pickle.dumps(content, protocol=2))
        ids += [f"{name}/{i:05d}" for i in range(8)]
    meta = {b"num_cases_per_batch": 8, b"label_names": [name.encode() for name in names], b"num_vis": 3072}
    (place / "batches.meta").write_bytes(pickle.dumps(meta, protocol=2))
    order = np.argsort(classes, kind="stable")
    return Miniature(
        _block("cifar10", folder, {"num_query": 4, "expect_classes": 4, "expect_images": 4 * per_class}),
        labels={ids[row]: {names[classes[row]]} for row in order},
        images={ids[row]: pixels[row] for row in order},
        queries=None,
        num_query=4,
    )


def write_nuswide(folder: Path, concepts: int = 21) -> Miniature:
    """98 images with a label, in four groups, and two without; 21 queries of 21 concepts, or 8 of 10.

    The images are in Flickr/<folder>/ with 21 concepts, and all in images/ with 10.
    """
    # concept c is of group c % 4, where 26 - c images have it
    members = [(group, rank) for rank in range(26) for group in range(4) if rank < 26 - group]
    rows = [*members[:50], None, *members[50:], None]  # what is left out stands in between
    names = [f"{('actor', 'Sea_Side')[row % 2]}/{row:04d}_{90210 + row}.jpg" for row in range(len(rows))]
    _lines(folder / "ImageList" / "Imagelist.txt", [name.replace("/", "\\") for name in names])
    for c, concept in enumerate(CONCEPTS[:21]):
        flags = [int(row is not None and row[0] == c % 4 and row[1] < 26 - c) for row in rows]
        _lines(folder / "Groundtruth" / "AllLabels" / f"Labels_{concept}.txt", flags)
    for concept in CONCEPTS[21:]:  # too rare to count
        flags = [int(row is None and number == 50) for number, row in enumerate(rows)]
        _lines(folder / "Groundtruth" / "AllLabels" / f"Labels_{concept}.txt", flags)
    labels, images = {}, {}
    for number, (name, row) in enumerate(zip(names, rows, strict=True)):
        place = folder / "Flickr" / name if concepts == 21 else folder / "images" / Path(name).name
        _save(picture(row[0] if row else 3, number), place)
        if row:
            images[name] = place
            labels[name] = {CONCEPTS[c] for c in range(row[0], concepts, 4) if row[1] < 26 - c}
    drawn = {"query_per_class": 1} if concepts == 21 else {"num_query": 8}
    options = {
        **drawn,
        "concepts": concepts,
        "expect_images": 98,
        "expect_frequencies": [26 - c for c in range(concepts)],
    }
    block = _block("nuswide", folder, options, top_k=50)
    return Miniature(block, labels, images, queries=None, num_query=21 if concepts == 21 else 8)


def write_flickr25k(folder: Path) -> Miniature:
    """24 images with 4 labels, one image with several and one with none; 4 queries, drawn."""
    listed = {
        "people": [1, *range(3, 24, 3)],
        "sea": range(2, 24, 3),
        "sea_r1": range(2, 24, 6),
        "sky": range(1, 24, 3),
    }
    place = folder / "mirflickr25k_annotations_v080"
    for name, numbers in listed.items():
        _lines(place / f"{name}.txt", numbers, end="\r\n" if name == "sea" else "\n")
    _lines(place / "README.txt", ["One file for each label", "with the numbers of its images"])
    ids = {number: f"mirflickr/im{number}.jpg" for number in range(1, 25)}
    options = {
        "num_query": 4,
        "expect_images": 24,
        "expect_unlabelled": 1,
        "expect_frequencies": sorted(len(numbers) for numbers in listed.values()),
    }
    return Miniature(
        _block("flickr25k", folder, options, top_k=10),
        labels={ids[n]: {name for name, numbers in listed.items() if n in numbers} for n in ids},
        images={ids[n]: _save(picture(n % 3, n), folder / ids[n]) for n in ids},
        queries=None,
        num_query=4,
    )


def write_cub(folder: Path, per_class: int = 6) -> Miniature:
    """3 classes of 6 images, of which every third is a query."""
    species = ["001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross"]
    place = folder / "CUB_200_2011"
    paths = [
        (c, n, f"{name}/{name[4:]}_{n:04d}.jpg") for c, name in enumerate(species) for n in range(per_class)
    ]
    _lines(place / "classes.txt", [f"{c + 1} {name}" for c, name in enumerate(species)])
    _lines(place / "images.txt", [f"{row} {path}" for row, (_, _, path) in enumerate(paths, start=1)])
    _lines(
        place / "image_class_labels.txt", [f"{row} {c + 1}" for row, (c, _, _) in enumerate(paths, start=1)]
    )
    split = [f"{row} {int(n % 3 > 0)}" for row, (_, n, _) in enumerate(paths, start=1)]
    _lines(place / "train_test_split.txt", split)
    _lines(place / "README", ["The Caltech-UCSD Birds-200-2011 Dataset"])
    queries = {path for _, n, path in paths if n % 3 == 0}
    return Miniature(
        _block("cub", folder, _counts(3, len(queries), len(paths) - len(queries))),
        labels={path: {species[c][4:].replace("_", " ")} for c, _, path in paths},
        images={path: _save(picture(c, n), place / "images" / path) for c, n, path in paths},
        queries=queries,
        num_query=len(queries),
    )


def write_aircraft(folder: Path) -> Miniature:
    """3 variants of 6 images with a white banner, of which every third is a query."""
    variants = ["737-200", "Cessna 172", "F/A-18"]
    data = folder / "fgvc-aircraft-2013b" / "data"
    numbers = np.random.default_rng(0).permutation(18)
    planes = [(f"{34_958 + 97_001 * n:07d}", int(n) % 3, int(n)) for n in numbers]
    test = [plane for plane in planes if plane[2] // 3 % 3 == 0]
    train = [plane for plane in planes if plane[2] // 3 % 3 == 1]
    val = [plane for plane in planes if plane[2] // 3 % 3 == 2]
    _lines(data / "variants.txt", variants)
    for part, listed in {"test": test, "train": train, "val": val, "trainval": train + val}.items():
        _lines(data / f"images_variant_{part}.txt", [f"{name} {variants[c]}" for name, c, _ in listed])
        _lines(data / f"images_{part}.txt", [name for name, _, _ in listed])
    images = {}
    for name, c, n in test + train + val:
        above = picture(c, n).convert("RGB")
        image = Image.new("RGB", (above.width, above.height + BANNER), "white")
        image.paste(above)
        images[f"{name}.jpg"] = _save(image, data / "images" / f"{name}.jpg")
    return Miniature(
        _block("aircraft", folder, _counts(3, len(test), len(train + val))),
        labels={f"{name}.jpg": {variants[c]} for name, c, _ in test + train + val},
        images=images,
        queries={f"{name}.jpg" for name, _, _ in test},
        num_query=len(test),
    )


def write_vegfru(folder: Path) -> Miniature:
    """2 vegetables and 2 fruits: 4 training images of each, 1 of validation, which nothing uses, and 2 queries."""
    places = [
        "veg200_images/broad_bean",
        "fru92_images/green_dates",
        "veg200_images/kale",
        "fru92_images/fig",
    ]
    labels, images = {}, {}
    for part, numbers in {"test": (0, 1), "train": (2, 3, 4, 5), "val": (6,)}.items():
        listed = [
            (f"{places[c]}/{places[c][0]}_0{c}_01_{n:04d}.jpg", c, n) for n in numbers for c in range(4)
        ]
        _lines(folder / "vegfru_list" / f"vegfru_{part}.txt", [f"{path} {c}" for path, c, _ in listed])
        for path, c, n in listed:
            _save(picture(c, n), folder / path)
            if part != "val":
                labels[path], images[path] = {places[c].partition("/")[2].replace("_", " ")}, folder / path
    block = _block("vegfru", folder, _counts(4, 8, 16))
    return Miniature(block, labels, images, queries=set(list(labels)[:8]), num_query=8)


def write_food101(folder: Path) -> Miniature:
    """3 dishes of 4 training images and 2 queries."""
    dishes = {"Apple pie": "apple_pie", "Beef carpaccio": "beef_carpaccio", "Caesar salad": "caesar_salad"}
    place = folder / "food-101"
    _lines(place / "meta" / "labels.txt", dishes)
    _lines(place / "meta" / "classes.txt", dishes.values())
    labels, images = {}, {}
    for part, numbers in {"test": (0, 1), "train": (2, 3, 4, 5)}.items():
        listed = [
            (f"{name}/{100_397 * (n + 1) + c}", c, n)
            for c, name in enumerate(dishes.values())
            for n in numbers
        ]
        _lines(place / "meta" / f"{part}.txt", [path for path, _, _ in listed])
        for path, c, n in listed:
            labels[f"{path}.jpg"] = {list(dishes)[c]}
            images[f"{path}.jpg"] = _save(picture(c, n), place / "images" / f"{path}.jpg")
    block = _block("food101", folder, _counts(3, 6, 12))
    return Miniature(block, labels, images, queries=set(list(labels)[:6]), num_query=6)


def write_nabirds(folder: Path) -> Miniature:
    """3 visual categories of 6 images, of which every third is a query; two more nodes of the tree have none."""
    tree = {
        "0": ("Birds", "0"),
        "1": ("Ducks, Geese, and Swans", "0"),
        "1010": ("White-crowned Sparrow (Adult)", "0"),
        "99": ("Cackling Goose", "1"),
        "817": ("Oak Titmouse", "0"),
    }
    carried, place, rng = ["99", "817", "1010"], folder / "nabirds", np.random.default_rng(0)
    keys = sorted(str(uuid.UUID(bytes=rng.bytes(16))) for _ in range(18))
    birds = [(key, n % 3, n // 3) for n, key in enumerate(keys)]
    paths = {key: f"{int(carried[c]):04d}/{key.replace('-', '')}.jpg" for key, c, _ in birds}
    _lines(place / "classes.txt", [f"{number} {name}" for number, (name, _) in tree.items()])
    _lines(
        place / "hierarchy.txt", [f"{number} {above}" for number, (_, above) in tree.items() if number != "0"]
    )
    _lines(place / "images.txt", [f"{key} {path}" for key, path in paths.items()])
    _lines(place / "image_class_labels.txt", [f"{key} {carried[c]}" for key, c, _ in birds])
    _lines(place / "train_test_split.txt", [f"{key} {int(n % 3 > 0)}" for key, _, n in birds])
    queries = {paths[key] for key, _, n in birds if n % 3 == 0}
    return Miniature(
        _block("nabirds", folder, _counts(3, len(queries), len(birds) - len(queries))),
        labels={paths[key]: {tree[carried[c]][0]} for key, c, _ in birds},
        images={paths[key]: _save(picture(c, n), place / "images" / paths[key]) for key, c, n in birds},
        queries=queries,
        num_query=len(queries),
    )


def write_class_folders(folder: Path) -> Miniature:
    """3 class folders of 6 photographs as they come: JPEG and PNG, below further folders, lying on their side."""
    labels, images = {}, {}
    lying = Image.Exif()
    lying[0x0112] = 6  # to be turned by 90 degrees
    for c, name in enumerate(["apples", "pears", "plums, blue"]):
        for n, path in enumerate(["2023/IMG_1.JPG", "2023/IMG_2.JPG", "a.png", "b.jpg", "c.jpg", "d é.jpeg"]):
            how = {"exif": lying} if path == "b.jpg" else {}
            labels[f"{name}/{path}"] = {name}
            images[f"{name}/{path}"] = _save(picture(c, n), folder / name / path, **how)
        _lines(folder / name / "notes.txt", ["no image"])
    block = _block("class_folders", folder, {"query_per_class": 2}, upright=True)
    return Miniature(block, labels, images, queries=None, num_query=6)


def write_table(folder: Path) -> Miniature:
    """A table of 18 images with one or two of 3 labels each, which says what is a query."""
    tags, labels, images = ["NA", "sea, open", "sky"], {}, {}
    folder.mkdir(parents=True)
    with open(folder / "labels.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "photographer", "tags", "split"])
        for n in range(18):
            path, some = f"shots/day {n // 6}/{n}.jpg", {tags[n % 3], tags[n // 6]}
            writer.writerow([path, "", "; ".join(sorted(some)), "query" if n % 4 == 0 else "database"])
            labels[path], images[path] = some, _save(picture(n % 3, n), folder / path)
    options = {"file": "labels.csv", "path": "file", "label": "tags", "separator": ";"}
    queries = set(list(labels)[::4])
    return Miniature(_block("table", folder, options), labels, images, queries, len(queries))


PAPERS: dict[str, Callable[[Path], Miniature]] = {
    "cifar10": write_cifar10,
    "nuswide": write_nuswide,
    "nuswide10": partial(write_nuswide, concepts=10),
    "flickr25k": write_flickr25k,
    "cub": write_cub,
    "aircraft": write_aircraft,
    "vegfru": write_vegfru,
    "food101": write_food101,
    "nabirds": write_nabirds,
}
OWN: dict[str, Callable[[Path], Miniature]] = {"class_folders": write_class_folders, "table": write_table}
