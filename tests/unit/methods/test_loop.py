"""The alternating loop on the real methods, small: what it returns, and that a cut changes nothing."""

import numpy as np
import pytest
import torch

from hashrepro.errors import UserError
from hashrepro.images.cache import ImageCache, build_cache
from hashrepro.methods.base import load_method, method_names
from hashrepro.methods.checkpoints import Checkpoints
from hashrepro.methods.loop import encode, train
from hashrepro.seeds import stream

TINY = {
    "backbone": "lite0",
    "weights": "none",
    "batch_norm_momentum": 0.1,
    "iterations": 3,
    "epochs": 2,
    "samples": 8,
    "batch_size": 4,
    "learning_rate": 1e-3,
    "evaluate_every": 2,
    "evaluation_batch_size": 8,
}
QUERY, DATABASE = torch.arange(4), torch.arange(4, 18)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    pixels = stream(0, "pixels").integers(0, 256, (18, 24, 24, 3), dtype=np.uint8)
    build_cache(folder, pixels, resize=32, crop=32, workers=0, progress=False)
    return ImageCache.open(folder)


class Cut(Exception):
    """What a killed process looks like from inside."""


def run(name, cache, folder, *, cut_after=None, workers=0, **changes):
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    kind = load_method(name)
    labels = torch.eye(3).bool()[torch.arange(len(DATABASE)) % 3]
    method = kind(kind.Recipe(**{**TINY, **changes}), 12, labels, 0, torch.device("cpu"))
    logged = []

    def log(row):
        logged.append(row["iteration"])
        if row["iteration"] == cut_after and len(logged) == cut_after:
            raise Cut

    def evaluate(query, B):
        assert query.shape == (4, 12)
        assert B.shape == (14, 12)
        share = float((query.sign() @ B.T > 0).float().mean())
        return {"map": share, "map_reference": share}

    seen = train(
        method,
        cache,
        QUERY,
        DATABASE,
        evaluate=evaluate,
        checkpoints=Checkpoints(folder, "print"),
        log=log,
        workers=workers,
    )
    return method, seen, logged


@pytest.mark.parametrize("name", method_names())
def test_a_run_that_was_cut_ends_as_an_undisturbed_one(name, cache, tmp_path):
    whole, seen, logged = run(name, cache, tmp_path / "whole")
    assert logged == [1, 2, 3]
    assert [("map" in row) for row in seen.history] == [False, True, True]
    with pytest.raises(Cut):
        run(name, cache, tmp_path / "cut", cut_after=2)
    resumed, again, logged = run(name, cache, tmp_path / "cut")
    assert logged == [1, 2, 3]  # what was cut may not have been logged
    assert again.history == seen.history
    assert torch.equal(resumed.B, whole.B)
    for key, value in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[key], value), key
    assert again.best.keys() == seen.best.keys()
    assert torch.equal(again.best["B"], seen.best["B"])


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
