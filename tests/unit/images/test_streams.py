import numpy as np
import pytest

from hashrepro.images.streams import streams
from hashrepro.seeds import stream


@pytest.mark.parametrize("path", [(), ("view",), ("view", 3, 1), ("view", 2**32, 2**70, "x", 0, 0)])
@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1, 2**32, 2**130 + 1])
def test_they_are_the_streams_of_the_same_names(seed, path):
    rows = np.array([0, 5, 2**31, 2**32 - 1, 5])
    count = 0
    for row, rng in zip(rows, streams(seed, path, rows), strict=True):
        expected = stream(seed, *path, int(row))
        assert rng.bit_generator.state == expected.bit_generator.state
        assert rng.integers(1000) == expected.integers(1000)  # leaves half a word behind, for nobody
        assert np.array_equal(rng.random(3), expected.random(3))
        count += 1
    assert count == 5


def test_no_rows_no_streams():
    assert list(streams(0, ("view",), np.array([], dtype=np.int64))) == []
