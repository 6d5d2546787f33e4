"""Attention maps of a few query images, and these images: what the encode stage leaves for the report."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from hashrepro.errors import UserError
from hashrepro.files import read_json, whole, write_json


@dataclass(eq=False)
class Attention:
    """The maps of q images.

    Attributes:
        maps: float32 (q, maps, h, w), the values that the network multiplied with; not negative, no upper bound.
        pictures: uint8 (q, T, T, 3), the images as the network saw them, in the size that they are shown in.
        about: of each image {"id", "labels": [class name, ...]}.
    """

    maps: np.ndarray
    pictures: np.ndarray
    about: list[dict]


def make_attention(
    maps: np.ndarray,
    rows: Sequence[int],
    labels: np.ndarray,
    ids: Sequence[str],
    class_names: Sequence[str],
    picture: Callable[[int], np.ndarray],
    tile_size: int = 96,
) -> Attention:
    """The maps (q, maps, h, w) of the catalog's `rows` (q,), with the images that they are of.

    Args:
        labels: bool (n, C) of the whole catalog.
        ids: n stable ids.
        class_names: C names.
        picture: catalog row -> uint8 (S, S, 3), what the network saw.
        tile_size: side in pixels that images are shown in; smaller ones keep their size.
    """
    drawn = [Image.fromarray(picture(int(row))) for row in rows]
    side = min(tile_size, drawn[0].width)
    pictures = [image.resize((side, side), Image.Resampling.LANCZOS) for image in drawn]
    about = [
        {"id": str(ids[row]), "labels": [class_names[c] for c in np.flatnonzero(labels[row])]} for row in rows
    ]
    return Attention(np.asarray(maps, np.float32), np.stack([np.asarray(p) for p in pictures]), about)


def write_attention(folder: Path, attention: Attention | None) -> None:
    """Write `maps.safetensors`, `queries.png` (the images below each other) and `attention.json` into `folder`.

    The folder replaces what was there; without attention it is empty.
    """
    with whole(folder) as temporary:
        temporary.mkdir()
        if attention is not None:
            save_file({"maps": np.ascontiguousarray(attention.maps)}, temporary / "maps.safetensors")
            stacked = attention.pictures.reshape(-1, *attention.pictures.shape[2:])
            Image.fromarray(stacked).save(temporary / "queries.png", optimize=True)
            write_json(temporary / "attention.json", attention.about)


def read_attention(folder: Path) -> Attention | None:
    """What `write_attention` wrote; None where there is no such folder, or an empty one.

    Raises:
        UserError: a file is missing or damaged, or they do not fit together.
    """
    folder = Path(folder)
    if not any(folder.glob("*")):
        return None
    try:
        maps = load_file(folder / "maps.safetensors")["maps"]
        about = read_json(folder / "attention.json")
        with Image.open(io.BytesIO((folder / "queries.png").read_bytes())) as image:
            stacked = np.asarray(image.convert("RGB"))
        pictures = stacked.reshape(len(about), stacked.shape[1], stacked.shape[1], 3)
        if (
            maps.ndim != 4
            or len(maps) != len(about)
            or not {"id", "labels"} <= set.intersection(*map(set, about))
        ):
            raise ValueError(f"{maps.shape} maps of {len(about)} images")
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, UnidentifiedImageError) as error:
        raise UserError(
            f"the attention maps are damaged: {error!r}",
            where=folder,
            mend="dvc repro -f of the encode stage of this run",
        ) from error
    return Attention(maps, pictures, about)
