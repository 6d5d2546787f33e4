"""The alternating loop on the real methods, small: what it returns, and that a cut changes nothing."""

import pytest
import torch
from tiny_training import DATABASE, build, learn, narrow_schn, write_cache, write_result

from hashrepro.errors import UserError
from hashrepro.images.cache import ImageCache
from hashrepro.learning.base import method_names
from hashrepro.learning.checkpoints import Checkpoints
from hashrepro.learning.loop import encode


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    write_cache(folder)
    return ImageCache.open(folder)


@pytest.fixture(autouse=True)
def _narrow(monkeypatch):
    narrow_schn(monkeypatch.setattr)


class Cut(Exception):
    """What a killed process looks like from inside."""


def run(name, cache, folder, **options):
    changes = {key: options.pop(key) for key in list(options) if key not in ("workers", "minutes")}
    method, logged = build(name, **changes), []
    seen = learn(method, cache, folder, log=lambda row: logged.append(row["iteration"]), **options)
    return method, seen, logged


def result(folder, method, seen) -> bytes:
    write_result(folder / "result", method, seen)
    return (folder / "result").read_bytes()


@pytest.mark.parametrize("name", method_names())
def test_a_run_that_was_cut_ends_as_an_undisturbed_one(name, cache, tmp_path):
    whole, seen, logged = run(name, cache, tmp_path / "whole")
    assert logged == [1, 2, 3]
    assert [("map" in row) for row in seen.history] == [False, True, True]

    def log(row):
        if row["iteration"] == 2:
            raise Cut

    with pytest.raises(Cut):
        learn(build(name), cache, tmp_path / "cut", log=log)
    resumed, again, logged = run(name, cache, tmp_path / "cut")
    assert logged == [1, 2, 3]  # what was cut may not have been logged
    assert again.history == seen.history
    assert result(tmp_path, resumed, again) == result(tmp_path, whole, seen)


PLACES = {  # what a killed process was doing -> (epochs that were done by then, counted over all iterations)
    "the second step of an epoch": ("step", 10, 4),
    "the first step of an iteration": ("step", 7, 3),
    "the update of the codes": ("finish", 1, 3),
    "the evaluation": ("database_codes", 1, 6),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["adsh", "schn_tomm"])
def test_a_checkpoint_after_any_epoch(name, place, cache, tmp_path):
    """Three epochs of two steps an iteration. Dropout, moments, U and the epoch's mean losses must all come back."""
    sizes = {"epochs": 3, "iterations": 2, "samples": 7, "workers": 0}
    whole, seen, _ = run(name, cache, tmp_path / "whole", minutes=1e9, **sizes)
    function, calls, epochs_done = PLACES[place]
    method = build(name, epochs=3, iterations=2, samples=7)
    original, made = getattr(method, function), []

    def cut(*arguments):
        made.append(arguments)
        if len(made) == calls:
            raise Cut
        return original(*arguments)

    setattr(method, function, cut)
    with pytest.raises(Cut):
        learn(method, cache, tmp_path / "cut", minutes=0)
    resumed, steps = build(name, epochs=3, iterations=2, samples=7), []
    step = resumed.step
    resumed.step = lambda *arguments: steps.append(step(*arguments)) or steps[-1]
    again = learn(resumed, cache, tmp_path / "cut", minutes=0)
    assert len(steps) == 2 * (6 - epochs_done)
    assert result(tmp_path, resumed, again) == result(tmp_path, whole, seen)


def test_a_damaged_checkpoint_is_not_continued(cache, tmp_path, capsys):
    whole, seen, _ = run("adsh", cache, tmp_path / "whole", iterations=1)
    folder = tmp_path / "damaged"
    run("adsh", cache, folder, iterations=1)
    path = Checkpoints(folder, "print").path
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)
    again, known, _ = run("adsh", cache, folder, iterations=1)
    assert (
        "damaged (its digest does not fit its contents): training starts from the begin"
        in capsys.readouterr().err
    )
    assert result(tmp_path, again, known) == result(tmp_path, whole, seen)


def test_tf32_is_for_the_network_alone(cache, tmp_path, monkeypatch):
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    monkeypatch.setattr(cudnn, "allow_tf32", False)
    for allowed in (False, True):
        found = {}

        def note(place, found=found):
            found.setdefault(place, set()).add((matmul.allow_tf32, cudnn.allow_tf32))

        def noted(place, function, note=note):
            return lambda *arguments: note(place) or function(*arguments)

        method = build("adsh", tf32=allowed, iterations=1)
        begin = method.begin

        def begin_and_watch(*arguments, method=method, begin=begin, noted=noted):
            begin(*arguments)
            method.loss = noted("loss", method.loss)

        method.begin = begin_and_watch
        method.update_codes = noted("codes", method.update_codes)
        convolution = method.network.trunk[0]
        convolution.register_forward_pre_hook(
            lambda module, _, note=note: note("training" if module.training else "evaluation")
        )
        convolution.weight.register_hook(lambda _, note=note: note("gradient"))
        learn(method, cache, tmp_path / str(allowed))
        network, exact = {(allowed, allowed)}, {(False, False)}
        assert found == {
            "training": network, "gradient": network, "loss": exact, "codes": exact, "evaluation": exact
        }  # fmt: skip


def test_codes_are_signs_and_unsampled_rows_of_schn_stay_zero(cache, tmp_path):
    for name, changes in (("adsh", {}), ("schn", {"iterations": 1})):
        method, _, _ = run(name, cache, tmp_path / name, **changes)
        coded = method.B.abs().sum(1) > 0
        assert method.B[coded].abs().unique().tolist() == [1.0]
        assert int(coded.sum()) == (14 if name == "adsh" else 8)


def test_encoding_does_not_depend_on_the_batch_and_leaves_the_mode(cache, tmp_path):
    method, _, _ = run("adsh", cache, tmp_path, iterations=1)
    method.network.train()
    options = {"device": torch.device("cpu")}
    codes = encode(method.network, cache, DATABASE, batch_size=5, **options)
    assert method.network.training
    one_by_one = encode(method.network, cache, DATABASE, batch_size=1, **options)
    torch.testing.assert_close(codes, one_by_one, rtol=1e-3, atol=1e-4)


def test_more_samples_than_images_is_refused(cache, tmp_path):
    with pytest.raises(
        UserError, match="samples 15 images in each iteration, but the database has 14"
    ) as error:
        run("adsh", cache, tmp_path, samples=15)
    assert error.value.mend == "set samples to 14 or less"


def test_divergence_is_an_error_not_a_result(cache, tmp_path):
    with pytest.raises(UserError, match="training has diverged") as error:
        run("adsh", cache, tmp_path, optimiser="sgd", learning_rate=1e30)
    assert error.value.mend == "lower learning_rate"


def test_tomm_drops_the_rates_of_cycle_and_discriminator_only(cache, tmp_path):
    method, seen, _ = run("schn_tomm", cache, tmp_path, iterations=3, epochs=1, adversarial_milestones=[1])
    assert [row["learning_rate"] for row in seen.history] == [1e-3] * 3
    assert [row["learning_rate_cycle"] for row in seen.history] == pytest.approx([2e-4] * 3)
    assert [row["learning_rate_discriminator"] for row in seen.history] == pytest.approx([2e-4] * 3)
    assert method.view_path(4, 1) == method.view_path(4, 2) != method.view_path(5, 1)


def test_milestones_count_finished_iterations(cache, tmp_path):
    _, seen, _ = run("adsh", cache, tmp_path, epochs=1, milestones=[2], rate_drop=0.1)
    assert [row["learning_rate"] for row in seen.history] == pytest.approx([1e-3, 1e-4, 1e-4])
