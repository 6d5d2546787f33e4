"""A map of codes in the plane, by t-SNE."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hashrepro.reporting.choosing import first_labels, spread_over_classes

if TYPE_CHECKING:
    from hashrepro.retrieval.codes import Codes

FEWEST = 10  # distinct codes: of fewer, t-SNE's neighbourhoods say nothing
PERPLEXITY = 30  # neighbours that a code sees about
STEPS = 500  # of which the first 250 exaggerate
COLUMNS = ("row", "label", "name", "labels", "code", "x", "y")


def empty_embedding() -> pd.DataFrame:
    """The table of no images."""
    kinds = ("int64", "int64", "str", "int64", "int64", "float32", "float32")
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in zip(COLUMNS, kinds, strict=True)})


def make_embedding(
    codes: "Codes",
    labels: np.ndarray,
    rows: np.ndarray,
    class_names: Sequence[str],
    points: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Places in the plane for at most `points` images, drawn evenly over the classes; near codes lie near each other.

    Hamming distances need no metric of their own: the squared Euclidean distance of two codes of +1 and -1 is four
    times their Hamming distance, and t-SNE's neighbourhoods, ``exp(-d^2 / 2 s^2)`` with s fitted to each point,
    take out the four. The map therefore is the one of the Hamming distances. It keeps neighbourhoods: distances
    between far groups, and the sizes of groups, mean nothing.

    Equal codes are one point of the map, as no search can tell them apart: the map is made of the distinct codes, each
    once. Images without a code are left out. Starts from the two main directions; one thread, so that the same codes
    give the same bytes on the same machine.

    Args:
        codes: of n images.
        labels: bool (n, C).
        rows: (n,) their rows of the catalog.
        class_names: C names.
        points: images to draw at most.
        rng: draws them.

    Returns:
        a row an image, in the order of the catalog: `row` (of the catalog), `label` (its class, of several the first),
        `name` (of that class), `labels` (how many classes it has), `code` (number of its distinct code), `x`, `y` (in
        -1 .. 1; NaN where there are fewer than ten distinct codes, too few for a map).

    Source: van der Maaten & Hinton, Visualizing Data using t-SNE, JMLR 2008; scikit-learn's Barnes-Hut version.
    """
    there = np.flatnonzero(codes.coded)
    chosen = there[spread_over_classes(labels[there], points, rng)]
    if len(chosen) == 0:
        return empty_embedding()
    distinct, code = np.unique(codes[chosen].unpack(), axis=0, return_inverse=True)
    code = code.reshape(-1)
    label = first_labels(labels[chosen])
    places = _places(distinct)[code]
    return pd.DataFrame(
        {
            "row": np.asarray(rows)[chosen],
            "label": label,
            "name": [class_names[c] for c in label],
            "labels": labels[chosen].sum(1),
            "code": code,
            "x": places[:, 0],
            "y": places[:, 1],
        }
    )


def _places(distinct: np.ndarray) -> np.ndarray:
    """float32 (d, 2) in -1 .. 1 of d distinct codes (d, bits); NaN if they are too few."""
    if len(distinct) < FEWEST:
        return np.full((len(distinct), 2), np.nan, dtype=np.float32)
    from sklearn.manifold import TSNE  # a second or two, which a stage without a map does without
    from threadpoolctl import threadpool_limits

    perplexity = min(PERPLEXITY, (len(distinct) - 1) / 3)
    with threadpool_limits(1):
        tsne = TSNE(init="pca", perplexity=perplexity, max_iter=STEPS, random_state=0, n_jobs=1)
        places = tsne.fit_transform(distinct.astype(np.float32))
    places = places - (places.max(0) + places.min(0)) / 2
    return (places / np.abs(places).max()).astype(np.float32)
