"""Attention maps laid over their images, as strips for the page."""

import base64
import io
from dataclasses import dataclass

import matplotlib
import numpy as np
from PIL import Image

from hashrepro.reporting.attention import Attention
from hashrepro.reporting.records import RunRecord

COLOURS = "inferno"  # perceptually uniform: equal steps of attention look like equal steps
COVER = 0.6  # share of the colour in a pixel; the rest is the image in grey
QUALITY = 75  # of the JPEG


@dataclass
class Strip:
    """One image and its maps beside each other, as a JPEG in base64."""

    id: str
    labels: list[str]
    picture: str


@dataclass
class AttentionFigure:
    """The strips of one run."""

    record: RunRecord
    strips: list[Strip]

    @property
    def shape(self) -> tuple[int, ...]:
        """Images, maps of each, and height and width of a map before it is enlarged."""
        return self.record.attention.maps.shape

    @property
    def scale(self) -> tuple[float, float]:
        """The least and the largest value of all maps, between which the colours run."""
        return ends(self.record.attention)


def ends(attention: Attention) -> tuple[float, float]:
    """The least and the largest value of all maps: the ends of the one scale that they share."""
    return float(attention.maps.min()), float(attention.maps.max())


def overlay(values: np.ndarray, picture: np.ndarray, low: float, high: float) -> np.ndarray:
    """A map (h, w) over its image (T, T, 3): uint8 (T, T, 3).

    The map is enlarged bilinearly and coloured from `low` to `high`; the image shows through in grey.
    """
    side = picture.shape[0]
    enlarged = Image.fromarray(values.astype(np.float32)).resize((side, side), Image.Resampling.BILINEAR)
    colours = matplotlib.colormaps[COLOURS]((np.asarray(enlarged) - low) / ((high - low) or 1.0))[..., :3]
    grey = np.asarray(Image.fromarray(picture).convert("L"))[..., None] / 255
    return np.round(255 * (COVER * colours + (1 - COVER) * grey)).astype(np.uint8)


def draw_strips(attention: Attention) -> list[Strip]:
    """A strip for each image: the image, then its maps over it."""
    strips = []
    for maps, picture, about in zip(attention.maps, attention.pictures, attention.about, strict=True):
        tiles = [picture, *(overlay(values, picture, *ends(attention)) for values in maps)]
        stream = io.BytesIO()
        Image.fromarray(np.concatenate(tiles, axis=1)).save(stream, "JPEG", quality=QUALITY, optimize=True)
        strips.append(Strip(about["id"], about["labels"], base64.b64encode(stream.getvalue()).decode()))
    return strips


def attention_figures(records: list[RunRecord]) -> list[AttentionFigure]:
    """What to show of a grid: each method × data set at its longest code with attention maps, of the first seed."""
    chosen: dict[tuple[str, str], RunRecord] = {}
    for record in records:
        if record.attention is not None:
            place = record.dataset, record.method
            if place not in chosen or record.bits > chosen[place].bits:
                chosen[place] = record
    return [AttentionFigure(record, draw_strips(record.attention)) for record in chosen.values()]


def scale_colours(steps: int = 9) -> str:
    """The scale from its low to its high end, as the stops of a CSS gradient."""
    return ", ".join(
        matplotlib.colors.to_hex(c) for c in matplotlib.colormaps[COLOURS](np.linspace(0, 1, steps))
    )
