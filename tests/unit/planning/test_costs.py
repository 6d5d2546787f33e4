from pathlib import Path

import pytest

from hashrepro.files import write_json
from hashrepro.planning.costs import evaluations, run_cost, stage_seconds
from hashrepro.planning.rates import FALLBACK, Rates
from hashrepro.settings import load_settings

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("iterations", "every"), [(40, 1), (50, 10), (4, 3), (2, 5), (1, 1)])
def test_evaluations_are_those_of_the_loop(iterations, every):
    watched = [i for i in range(1, iterations + 1) if i % every == 0 or i == iterations]
    assert evaluations(iterations, every) == len(watched)


@pytest.fixture
def place(tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("params.yaml", "data/rates.csv"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    return tmp_path


def finished(place, seconds: float, **about) -> None:
    """A run of the quick-start that trained 10 images."""
    recipe = {"backbone": "resnet50", "iterations": 2, "epochs": 1, "samples": 5}
    train = {"method": "adsh", "dataset": "fashion", "recipe": recipe, "seconds": seconds, "device": "CPU, 2"}
    folder = place / "runs" / "quickstart" / f"adsh-fashion-12-s{seconds:.0f}"
    folder.mkdir(parents=True)
    write_json(folder / "train.json", train | about)
    write_json(folder / "encode.json", {"seconds": 1, "images_per_second": 250})


def test_the_authors_logs_give_semicons_hours(place):
    settings = load_settings(ROOT)
    rates = Rates(place, settings, "cuda")
    # its log of 12 bits on CUB: 40 iterations in 47,111 s; the other three lengths: 39,436 to 41,062 s
    cost = run_cost(ROOT, settings, rates, ("semicon", "cub", 12, 0))
    assert cost.measured
    assert 39_436 < cost.train < 47_111
    longer = run_cost(ROOT, settings, rates, ("semicon", "nabirds", 48, 0))
    assert longer.train == pytest.approx(179_000, rel=0.05)  # 174,805 to 187,031 s
    assert longer.device == "RTX 2080 Ti"


def test_what_nobody_has_measured_is_called_a_guess(place):
    rates = Rates(place, load_settings(ROOT), "cuda")
    assert not rates.of("adsh", "alexnet", "cifar10").measured
    unknown = rates.of("adsh", "timm:resnet18", "cub")
    assert (unknown.train_ms, unknown.encode_ms, unknown.measured) == (*FALLBACK, False)


def test_own_runs_go_before_published_rates_and_are_scaled_by_the_area_of_the_crop(place):
    finished(place, 3.0)
    finished(place, 5.0)
    settings = load_settings(place)
    rate = Rates(place, settings, "cpu").of("adsh", "resnet50", "fashion")
    assert (rate.train_ms, rate.encode_ms, rate.measured) == (400, 4, True)
    at_224 = Rates(place, settings, "cpu").of("adsh", "resnet50", "cub")
    assert at_224.train_ms == pytest.approx(400 * (224 / 48) ** 2)


def test_a_run_on_a_cpu_says_nothing_of_a_gpu_nor_one_of_another_method(place):
    finished(place, 3.0)
    settings = load_settings(place)
    assert Rates(place, settings, "cuda").of("adsh", "resnet50", "fashion").device == "RTX 2080 Ti"
    assert Rates(place, settings, "cpu").of("semicon", "resnet50", "fashion").device == "RTX 2080 Ti"


def test_skipped_runs_and_those_of_a_variant_count_for_what_they_are(place):
    finished(place, 3.0, method="no_icon", kind="semicon")
    skipped = place / "runs" / "quickstart" / "skipped"
    skipped.mkdir()
    write_json(skipped / "train.json", {"method": "adsh", "dataset": "fashion", "skipped": "too short"})
    assert Rates(place, load_settings(place), "cpu").of("semicon", "resnet50", "fashion").train_ms == 300


def test_every_stage_of_a_suite_has_its_seconds_under_dvcs_address():
    seconds = stage_seconds(ROOT, load_settings(ROOT, "papers/semicon/params.yaml"), "cuda")
    assert len(seconds) == 3 * 40
    assert seconds["papers/semicon/dvc.yaml:train@semicon-nabirds-48-0"] > 100_000
    assert all(value > 0 for value in seconds.values())
    assert "train@adsh-fashion-12-0" in stage_seconds(ROOT, load_settings(ROOT), "cpu")
