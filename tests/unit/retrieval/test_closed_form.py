import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hashrepro.retrieval.average_precision import _sums
from hashrepro.retrieval.harmonic import Harmonic


@settings(deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from(["expected", "best", "worst"]),
    st.sampled_from([None, "drop_last", 1, 2, 3, 5, 100]),
    st.sampled_from([0, 3]),
)
def test_the_compiled_form_is_the_numpy_form_to_the_last_bit(seed, ties, top_k, shift):
    from hashrepro.retrieval import closed_form  # loading it makes every average precision a compiled one

    rng = np.random.default_rng(seed)
    total = rng.integers(0, 50, (6, 9)) * rng.integers(0, 2, (6, 9))
    total[:, 8] = total.sum(axis=1).max() + 1 - total[:, :8].sum(axis=1)
    relevant = rng.binomial(total, rng.random((6, 1)))
    relevant[0] = 0
    n = int(total[0].sum())
    harmonic = Harmonic(n)
    harmonic.shift, harmonic.table = shift, harmonic.table[:: 1 << shift]
    length = {None: n, "drop_last": n - 1}.get(top_k, top_k)
    plain = _sums(total, relevant, length, ties, harmonic)
    for one, other in zip(plain, closed_form.sums(total, relevant, length, ties, harmonic), strict=True):
        np.testing.assert_array_equal(one, other)
