import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data():
    """The folder of real data sets, for the tests that need them."""
    folder = os.environ.get("HASHREPRO_TEST_DATA")
    if not folder:
        pytest.skip("HASHREPRO_TEST_DATA does not name a folder with birds50/ and cifar-10-batches-py/")
    return Path(folder)
