import numpy as np
import pytest

from hashrepro.errors import UserError
from hashrepro.retrieval.codes import Codes, random_codes
from hashrepro.retrieval.counting.distances import Pairs


@pytest.mark.parametrize("bits", [1, 7, 12, 64, 65, 130, 254, 255, 300])
@pytest.mark.parametrize("uncoded", [False, True])
def test_bins_stand_for_the_distances(oracles, bits, uncoded):
    rng = np.random.default_rng(bits)
    query, database = rng.choice([-1, 1], (4, bits)), rng.choice([-1, 1], (30, bits))
    # The two ends of the scale, which random codes do not reach.
    database[0], database[1] = query[0], -query[0]
    if uncoded:
        query[3], database[[7, 29]] = 0, 0
    pairs = Pairs.of(Codes.pack(query), Codes.pack(database))
    assert len(pairs.distances) == bits + 1 + (uncoded and bits % 2)
    assert (np.diff(pairs.distances) > 0).all()
    for q, expected in enumerate(oracles.hamming(query, database)):
        np.testing.assert_array_equal(pairs.distances[pairs.bins(q)], expected)


def test_code_lengths_must_agree():
    rng = np.random.default_rng(0)
    with pytest.raises(UserError, match="Query codes have 8 bits, database codes 9"):
        Pairs.of(random_codes(2, 8, rng), random_codes(2, 9, rng))


def test_neither_side_may_be_empty():
    rng = np.random.default_rng(0)
    with pytest.raises(UserError, match="2 query and 0 database codes"):
        Pairs.of(random_codes(2, 8, rng), random_codes(0, 8, rng))
