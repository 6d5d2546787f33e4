"""One thread a test process, no example under time pressure, and the longest files first."""

import os

from hypothesis import HealthCheck, settings

# As many test processes as cores run at once, and what they start inherits it: threads would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# A first example compiles, and a machine may be busy.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# Files in the order of their time, for a long one that begins last is waited for by all workers but its own. What is
# not named here comes last.
LONGEST = (
    "pipeline/test_papers.py",
    "pipeline/test_pipeline.py",
    "pipeline/test_faults.py",
    "pipeline/test_kill.py",
    "pipeline/test_datasets.py",
    "pipeline/test_bad_input.py",
    "unit/search/test_commands.py",
    "unit/learning/test_parallel.py",
    "unit/retrieval/test_counts.py",
    "unit/learning/test_loop.py",
    "unit/search/test_encoding.py",
    "pipeline/test_dependencies.py",
    "unit/images/test_building.py",
    "unit/reporting/test_page.py",
)


def pytest_configure(config):
    config.option.loadscopereorder = False  # xdist would begin with the files of most tests


def pytest_collection_modifyitems(items):
    rank = {name: number for number, name in enumerate(LONGEST)}

    def place(item):
        path = item.path.as_posix()
        return next((number for name, number in rank.items() if path.endswith(f"tests/{name}")), len(rank))

    items.sort(key=place)
