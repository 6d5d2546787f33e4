import sys
from pathlib import Path

import pytest

# Tests are imported by file (importlib mode), so the module that they share must be found by path.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def suite():
    """The eight runs of `synthetic_runs.GRID`; tests must not change them."""
    from synthetic_runs import synthetic_suite

    return synthetic_suite()
