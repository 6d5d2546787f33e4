import numpy as np
import pytest

from hashrepro.retrieval.codes import Codes, random_codes
from hashrepro.retrieval.counting.engine_numba import LabelLists
from hashrepro.retrieval.counting.planes import ROWS, ClassedPlanes, OrderedPlanes


def rows_of(planes: np.ndarray, rows: int, bits: int) -> np.ndarray:
    """bool (rows, bits): the codes that lie in planes, which are 0 beyond them."""
    flat = np.unpackbits(planes.view(np.uint8), axis=2, bitorder="little")  # (vectors, planes, 512)
    codes = flat.transpose(0, 2, 1).reshape(-1, planes.shape[1])
    assert not codes[rows:].any()
    assert not codes[:, bits:].any()
    return codes[:rows, :bits].astype(bool)


@pytest.mark.parametrize("bits", [1, 8, 48, 64, 65, 100])
@pytest.mark.parametrize("rows", [1, 63, 65, ROWS, ROWS + 1])
def test_planes_hold_the_codes_sorted_by_class(bits, rows):
    rng = np.random.default_rng(bits + rows)
    codes = random_codes(rows, bits, rng)
    codes = Codes.pack(codes.unpack() * (rng.random((rows, 1)) < 0.9))
    of = rng.integers(0, 4, rows)  # class 3: no label
    lists = LabelLists.of(np.eye(4, dtype=bool)[of][:, :3])
    tile = ClassedPlanes.of(codes, lists.starts, lists.values, 3)
    order = np.argsort(of, kind="stable")
    order = order[codes.coded[order]]
    np.testing.assert_array_equal(rows_of(tile.planes, len(order), bits), codes.unpack()[order] > 0)
    assert tile.class_starts.tolist() == np.searchsorted(of[order], [0, 1, 2, 3, 4]).tolist()
    assert tile.uncoded_by_class.tolist() == np.bincount(of[~codes.coded], minlength=4)[:3].tolist()
    assert (tile.coded, tile.uncoded) == (len(order), rows - len(order))
    assert not tile.planes.size or not tile.planes.ctypes.data % 64
    ordered = OrderedPlanes.of(codes, *lists.by_class(3))
    np.testing.assert_array_equal(rows_of(ordered.planes, rows, bits), codes.unpack() > 0)


def test_rows_of_several_labels_have_a_plane_a_label():
    rng = np.random.default_rng(0)
    codes = Codes.pack(rng.choice([-1, 1], (700, 9)) * (rng.random((700, 1)) < 0.5))
    labels = rng.random((700, 5)) < 0.4
    lists = LabelLists.of(labels)
    tile = ClassedPlanes.of(codes, lists.starts, lists.values, 5)
    flat = np.unpackbits(tile.label_planes.view(np.uint8), axis=2, bitorder="little").reshape(5, -1)
    start = len(tile.planes) * ROWS
    np.testing.assert_array_equal(flat[:, : tile.coded], labels[codes.coded].T)
    np.testing.assert_array_equal(flat[:, start : start + tile.uncoded], labels[~codes.coded].T)
    assert flat.sum() == labels.sum()
