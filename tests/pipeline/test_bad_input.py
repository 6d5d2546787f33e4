"""What a user sees who gets something wrong: the words, and that nothing half-made stays behind."""

import shutil

import pytest


@pytest.fixture(scope="module")
def space(fresh):
    return fresh("wrong")


def succeed(space, *words):
    code, output = space.script(*words)
    assert code == 0, output


@pytest.fixture
def wrong(space):
    """A function: what a command prints after a change to params.yaml; the change is undone afterwards."""
    before = (space.root / "params.yaml").read_text()

    def run(*command, change=None, **environment):
        if change:
            space.edit(change)
        code, output = space.script(*command, **environment)
        assert code != 0
        assert "Traceback" not in output
        return output

    yield run
    (space.root / "params.yaml").write_text(before)


def test_unknown_key(wrong):
    output = wrong("hashrepro", "check", change=lambda v: v["machine"].update(treads=2))
    assert "Unknown key 'treads'. Did you mean 'threads'?" in output
    assert "machine.treads" in output
    output = wrong("stages/fetch.py", "birds")
    assert "Unknown key 'treads'" in output


def test_unknown_key_of_a_recipe(wrong):
    output = wrong("hashrepro", "check", change=lambda v: v["train"]["schn_tomm"]["birds"].update(gama=1))
    assert "Unknown key 'gama'. Did you mean 'gamma'?" in output
    assert "train.schn_tomm.birds.gama" in output


def test_unknown_option_of_a_reader(wrong):
    output = wrong(
        "hashrepro", "check", change=lambda v: v["datasets"]["birds"]["options"].update(expect_birds=1)
    )
    assert "datasets.birds.options.expect_birds" in output


def test_missing_folder(wrong):
    output = wrong("stages/fetch.py", "birds", change=lambda v: v["datasets"]["birds"].update(folder="gone"))
    assert "gone" in output
    assert "mend:" in output


def test_stage_before_its_input(wrong):
    output = wrong("stages/train.py", "params.yaml", "adsh", "birds", "12", "0")
    assert "The data set 'birds' has not been preprocessed." in output
    assert "mend:  dvc repro data/dvc.yaml:preprocess@birds" in output


def test_encoding_before_training(wrong):
    output = wrong("stages/encode.py", "params.yaml", "adsh", "birds", "12", "0")
    assert "This file is not there or is not whole" in output
    assert "adsh-birds-12-s0/model.safetensors" in output
    assert "dvc repro" in output


def test_wrong_counts(wrong, space):
    def change(values):
        del values["datasets"]["birds"]["options"]["expect_classes"]

    succeed(space, "stages/fetch.py", "birds")
    output = wrong("stages/preprocess.py", "birds", change=change)
    assert "3 classes found, 200 expected" in output
    assert "datasets.birds.options.expect_classes: 3" in output
    assert not (space.root / "data" / "processed" / "birds").exists()


def test_corrupt_images_are_all_named(wrong, space, request):
    folder = space.root / "birds" / "images"
    kept = space.root / "kept"
    shutil.copytree(folder, kept)

    def put_back():
        shutil.rmtree(folder)
        kept.rename(folder)

    request.addfinalizer(put_back)
    (folder / "001.Auk" / "0.jpg").write_bytes(b"no picture")
    (folder / "003.Crow" / "5.jpg").write_bytes(b"")
    succeed(space, "stages/fetch.py", "birds")
    output = wrong("stages/preprocess.py", "birds")
    assert "2 of 18 images cannot be decoded" in output
    assert "001.Auk/0.jpg" in output
    assert "003.Crow/5.jpg" in output
    assert not (space.root / "data" / "processed" / "birds").exists()
    assert list((space.root / "work").glob("unpack-*")) == []


def test_device_that_is_not_there(wrong, space):
    succeed(space, "stages/fetch.py", "birds")
    succeed(space, "stages/preprocess.py", "birds")
    arguments = ("stages/train.py", "params.yaml", "adsh", "birds", "12", "0")
    output = wrong(*arguments, change=lambda v: v["machine"].update(device="cuda:7"))
    assert "The device 'cuda:7' was asked for" in output
    assert "set machine.device to auto or cpu" in output


def test_tracking_server_that_is_down(wrong, space):
    succeed(space, "stages/fetch.py", "birds")
    succeed(space, "stages/preprocess.py", "birds")
    arguments = ("stages/train.py", "params.yaml", "adsh", "birds", "12", "0")
    output = wrong(*arguments, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert "The tracking store does not answer" in output
    assert "unset MLFLOW_TRACKING_URI" in output
