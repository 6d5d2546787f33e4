"""A clone of the repository with a grid small enough to run, built once for all tests of this folder."""

import pytest
from fault_space import Warm
from warm_stages import WarmStages
from workspaces import Workspace, copy_sources, shrink, write_birds


@pytest.fixture(scope="session")
def warm_stages():
    """What runs stage scripts in processes whose libraries are there already."""
    made = WarmStages()
    yield made
    made.close()


@pytest.fixture(scope="session")
def fresh(tmp_path_factory, warm_stages):
    """A function: a new workspace, with the small grid, nothing built yet."""

    def make(name: str) -> Workspace:
        root = tmp_path_factory.mktemp(name)
        copy_sources(root)
        write_birds(root / "birds")
        space = Workspace(root, warm=warm_stages)
        space.edit(shrink)
        space.run("git", "init", "-q", "-b", "main")
        space.run("git", "add", "-A")
        space.run("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "small")
        return space

    return make


@pytest.fixture(scope="session")
def warm(tmp_path_factory):
    """What runs DVC and its stages in processes whose libraries are there already."""
    made = Warm(tmp_path_factory.mktemp("commands"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def built(fresh, warm) -> Workspace:
    """The small grid: one run as a user has it built, by two workers, and the others from a warm start."""
    space = fresh("built")
    space.log = space.run("hashrepro", "repro", "evaluate@adsh-birds-12-0", "--workers", "2")
    space.log += warm.dvc(space.root, "repro")
    return space
