import itertools

import numpy as np
import pytest

from hashrepro.retrieval import harmonic as harmonic_module
from hashrepro.retrieval.harmonic import ONE, Harmonic


@pytest.mark.parametrize("n", [1, 15, 16, 17, 31, 32, 100, 1000])
def test_harmonic_numbers_are_exact_however_few_are_kept(monkeypatch, n):
    monkeypatch.setattr(harmonic_module, "_KEPT", 16)
    monkeypatch.setattr(harmonic_module, "_CHUNK", 4)
    harmonic = Harmonic(n)
    assert len(harmonic.table) <= 16
    exact = list(itertools.accumulate(((ONE + m // 2) // m for m in range(1, n + 1)), initial=0))
    assert harmonic[np.arange(n + 1)].tolist() == exact
