"""A registered run comes back from MLflow and codes image files as the run did."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from hashrepro.errors import UserError
from hashrepro.files import file_digest
from hashrepro.retrieval.codes import read_codes
from hashrepro.settings import load_settings
from hashrepro.tracking import Tracking
from hashrepro.tracking.registering import register_run, requirements

pytestmark = [
    # SQLAlchemy's, in MLflow's models
    pytest.mark.filterwarnings("ignore:The ``noload``:DeprecationWarning"),
    # MLflow's own, of its own modules
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),
]
KEY = "semicon-birds-12-s0"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The finished repository's runs are tracked in a store elsewhere: the repository is not to be written to."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("registry")
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlruns.db")
        patch.setattr(sys, "path", list(sys.path))  # a model that is loaded puts its own code there
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def registered(store, finished):
    """(tracking, id of the run, name and version of its model)."""
    tracking = Tracking(finished.root, "quickstart")
    settings = load_settings(finished.root)
    with pytest.raises(UserError, match="does not have the run"):
        register_run(tracking, settings, KEY)
    run_id = tracking.start(KEY, "print", {}, {})
    tracking.tag(run_id, model=file_digest(finished.run("semicon") / "model.safetensors"), trained="yes")
    made = register_run(tracking, settings, KEY)
    assert register_run(tracking, settings, KEY) == made
    return tracking, run_id, made


@pytest.fixture(scope="module")
def model(registered):
    from mlflow import pyfunc

    name, version = registered[2]
    return pyfunc.load_model(f"models:/{name}/{version}")


def table(repository, rows):
    return pd.DataFrame({"image": [repository.files[row].read_bytes() for row in rows]})


def test_run_and_model_name_each_other(registered):
    tracking, run_id, (name, version) = registered
    assert (name, version) == ("semicon-birds-12", "1")
    assert tracking.client.get_run(run_id).data.tags["hashrepro.registered"] == "semicon-birds-12/1"
    (found,) = tracking.client.search_model_versions(f"name = '{name}'")
    assert found.run_id == run_id
    assert (found.tags["run"], found.tags["suite"], found.tags["bits"]) == (KEY, "quickstart", "12")
    assert found.tags["bit_order"].startswith("little")


def test_the_model_gives_the_codes_of_the_run(model, finished):
    codes, _ = read_codes(finished.run("semicon") / "codes.safetensors")
    for rows, name in ((finished.catalog.query_rows, "query"), (finished.catalog.database_rows, "network")):
        found = model.predict(table(finished, rows), params={"together": True})
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, codes[name].packed)
        signs = model.predict(table(finished, rows), params={"together": True, "form": "signs"})
        np.testing.assert_array_equal(signs, codes[name].unpack())


def test_an_image_has_the_code_that_it_has_alone(model, finished):
    """Not so `together`, which is what the run's evaluation did: SEMICON's mask looks across the batch."""
    rows = np.arange(8)
    alone = [model.predict(table(finished, [row])) for row in rows]
    np.testing.assert_array_equal(model.predict(table(finished, rows)), np.concatenate(alone))


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 32, 32, 3), np.uint8),
        pd.DataFrame({"picture": [b"x"]}),
        pd.DataFrame({"image": [1, 2]}),
    ],
    ids=["pixels", "column", "numbers"],
)
def test_the_signature_refuses_what_is_no_column_of_bytes(model, wrong):
    with pytest.raises(MlflowException, match="Failed to enforce schema"):
        model.predict(wrong)


def test_rows_that_are_no_images_are_named(model, finished):
    good = finished.files[0].read_bytes()
    with pytest.raises(Exception, match=r"2 of 3 images cannot be read: row 1: .*; row 2: the file is empty"):
        model.predict(pd.DataFrame({"image": [good, b"text", b""]}))
    with pytest.raises(Exception, match="Row 1 has a str in place of an image file's bytes"):
        model.predict(pd.DataFrame({"image": [good, "text"]}))
    with pytest.raises(Exception, match="There is no form 'hex'"):
        model.predict(pd.DataFrame({"image": [good]}), params={"form": "hex"})


def test_the_model_names_the_versions_that_it_ran_with():
    names = [line.partition("==")[0] for line in requirements()]
    assert {"torch", "timm", "pillow", "mlflow"} <= set(names)
    assert "dvc" not in names
    assert all(line.count("==") == 1 and "+" not in line for line in requirements())


@pytest.mark.slow
def test_a_fresh_process_needs_nothing_but_the_store(registered, finished, tmp_path):
    """hashrepro's code comes out of the model."""
    code = """
import sys, mlflow, numpy, pandas
model = mlflow.pyfunc.load_model("models:/semicon-birds-12/1")
images = pandas.DataFrame({"image": [open(path, "rb").read() for path in sys.argv[2:]]})
numpy.save(sys.argv[1], model.predict(images, params={"together": True}))
import hashrepro; print(hashrepro.__file__)
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    paths = [finished.files[row] for row in finished.catalog.query_rows]
    command = [sys.executable, "-c", code, tmp_path / "codes.npy", *paths]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "/code/hashrepro/" in done.stdout
    codes, _ = read_codes(finished.run("semicon") / "codes.safetensors")
    np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), codes["query"].packed)
