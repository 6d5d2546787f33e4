import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashrepro.retrieval.counting.engine_numba import LabelLists


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, 2**32 - 1), st.integers(0, 70), st.integers(0, 70), st.sampled_from([0.0, 0.02, 0.3, 1.0])
)
def test_lists_hold_the_labels_of_every_row_and_the_rows_of_every_class(seed, rows, classes, density):
    labels = np.random.default_rng(seed).random((rows, classes)) < density
    lists = LabelLists.of(labels)
    assert [lists.values[start:stop].tolist() for start, stop in itertools.pairwise(lists.starts)] == [
        np.flatnonzero(row).tolist() for row in labels
    ]
    class_starts, class_rows = lists.by_class(classes)
    assert [class_rows[start:stop].tolist() for start, stop in itertools.pairwise(class_starts)] == [
        np.flatnonzero(column).tolist() for column in labels.T
    ]


def test_labels_may_be_read_only_and_lie_anywhere():
    labels = np.random.default_rng(0).random((31, 13)) < 0.2
    held = labels.copy()
    held.flags.writeable = False
    for view in (held, np.asfortranarray(labels)):
        found = LabelLists.of(view[3:])
        np.testing.assert_array_equal(found.values, np.nonzero(labels[3:])[1])


WITHOUT_AVX512 = """
import numpy as np
from hashrepro.retrieval.codes import random_codes
from hashrepro.retrieval.counts import scan
rng = np.random.default_rng(0)
codes, labels = random_codes(1100, 48, rng), rng.random((1100, 40)) < 0.02
compiled, plain = (scan(codes, codes, labels, labels, cuts=[7, 1100], engine=name) for name in ("numba", "numpy"))
np.testing.assert_array_equal(compiled.counts.total, plain.counts.total)
np.testing.assert_array_equal(compiled.counts.relevant, plain.counts.relevant)
np.testing.assert_array_equal(compiled.precision_sum, plain.precision_sum)
"""


@pytest.mark.slow  # it compiles everything once more
def test_on_a_processor_without_wide_vectors_the_numbers_are_the_same():
    environment = os.environ | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    command = [sys.executable, "-c", WITHOUT_AVX512]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
