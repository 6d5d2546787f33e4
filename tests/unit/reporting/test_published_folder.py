"""What data/published/ says, read as a report reads it: the figures of the specification at the right places."""

import json
from pathlib import Path

import pandas as pd
import pytest

from hashrepro.reporting import beside
from hashrepro.reporting.published import read_folder
from hashrepro.settings import load_settings

FOLDER = Path(__file__).parents[3] / "data" / "published"
SETS = {
    "CUB200-2011": "cub",
    "Aircraft": "aircraft",
    "Food101": "food101",
    "NABirds": "nabirds",
    "VegFru": "vegfru",
    "CIFAR-10 (mAP@all)": "cifar10",
    "NUS-WIDE tc21 (mAP@5000)": "nuswide",
    "MIR-Flickr25K (mAP@5000)": "flickr25k",
}
LENGTHS = [12, 24, 32, 48]


@pytest.fixture(scope="module")
def published():
    return read_folder(FOLDER, SETS)


def rows(published, **wanted):
    table = published.figures
    for name, value in wanted.items():
        table = table[table[name] == value]
    return table


@pytest.mark.parametrize("method", ["semicon", "adsh"])
@pytest.mark.parametrize("dataset", list(SETS.values())[:5])
def test_the_main_table_of_semicon_is_whole_and_comparable(published, method, dataset):
    found = rows(published, title="SEMICON paper", ours=method, dataset=dataset)
    assert sorted(found["bits"]) == LENGTHS
    assert set(found["difference"]) == {""}
    assert set(found["selected"]) == {"best_on_test"}


def test_six_baselines_of_the_main_table_are_not_ours(published):
    found = rows(published, title="SEMICON paper", ours="", dataset="cub")
    assert set(found["method"]) == {"ITQ", "SDH", "DPSH", "HashNet", "ExchNet", "A2-Net"}


def test_a_log_ends_with_its_final_and_its_best_value(published):
    last = rows(published, title="authors’ logs, last", dataset="food101").set_index("bits")["map"]
    best = rows(published, title="authors’ logs, best", dataset="food101").set_index("bits")["map"]
    # a first run of 24 bits was broken off at iteration 43
    assert last[24] == pytest.approx(0.76509)
    assert best[24] == pytest.approx(0.76568)
    assert all(last[bits] <= best[bits] + 1e-9 for bits in LENGTHS)
    assert sorted(last.index) == LENGTHS


def test_ten_of_the_papers_figures_are_verified_by_the_log(published):
    found = rows(published, title="SEMICON paper", ours="semicon")
    assert found["verified"].map(beside.verified).sum() == 10


def test_the_re_run_on_fewer_classes_is_never_compared(published):
    found = rows(published, title="re-run on 95 % of the classes", ours="semicon")
    assert set(found["dataset"]) == set(list(SETS.values())[:5])
    assert found["difference"].str.startswith("other class sets: ").all()


def test_adsh_on_alexnet_is_the_one_that_the_controls_stand_beside(published):
    for dataset in ("cifar10", "nuswide"):
        found = rows(published, ours="adsh", dataset=dataset, difference="", backbone="alexnet")
        assert sorted(found["bits"]) == LENGTHS
        assert set(found["selected"]) == {"last"}
        assert set(found["title"]) == {"TreezzZ/ADSH_PyTorch"}


@pytest.mark.parametrize("method", ["schn", "schn_tomm"])
def test_no_figure_of_schn_is_claimed(published, method):
    found = rows(published, ours=method)
    assert set(found["dataset"]) == {"cifar10", "nuswide", "flickr25k"}
    assert found["map"].isna().all()


def test_every_source_counts_in_a_way_that_we_have(published):
    ours = published.figures[published.figures["ours"] != ""]
    assert set(zip(ours["convention"], ours["selected"], strict=True)) <= set(beside.MEASURES)


def test_the_bands_are_those_of_the_specification(published):
    bands = {key[2]: band for key, band in published.bands.items() if key[:2] == ("cub", "semicon")}
    assert {bits: pytest.approx(band) for bits, band in bands.items()} == {
        12: (0.358, 0.398),
        24: (0.6345, 0.668),
        32: (0.706, 0.746),
        48: (0.781, 0.811),
    }


def test_curves_end_where_their_log_ends(published):
    for dataset, iterations in {"cub": 40, "food101": 50, "nabirds": 50}.items():
        for bits in LENGTHS:
            curve = published.curves
            curve = curve[(curve["dataset"] == dataset) & (curve["bits"] == bits)]
            last = rows(published, title="authors’ logs, last", dataset=dataset, bits=bits)["map"].item()
            assert set(curve["method"]) == {"semicon"}
            assert curve["iteration"].max() == iterations
            assert not curve["iteration"].duplicated().any()
            assert curve.set_index("iteration")["map"][iterations] == pytest.approx(last)


def test_times_are_of_finished_runs_and_the_authors_own_first(published):
    own = published.times[published.times["difference"] == ""]
    assert set(own["dataset"]) == {"cub", "food101", "nabirds"}
    assert len(own) == 12
    assert own["seconds"].between(39_000, 188_000).all()
    again = published.times[published.times["difference"] != ""]
    assert set(again["dataset"]) == set(list(SETS.values())[:5])


def test_a_project_without_these_data_sets_has_nothing():
    found = read_folder(FOLDER, {})
    assert (len(found.figures), len(found.bands), len(found.curves), len(found.times)) == (0, 0, 0, 0)
    assert isinstance(found.figures, pd.DataFrame)


def test_the_recipes_are_the_presets_and_those_of_the_authors_logs(published):
    settings = load_settings(FOLDER.parents[1])
    assert len(published.recipes) == 5 + 3 + 2 * 3
    for (method, dataset), values in published.recipes.items():
        preset = settings.recipe(method, dataset).model_dump(mode="json")
        assert {key: preset[key] for key in values} == values
    logs = pd.read_csv(FOLDER / "semicon_logs.csv").dropna(subset="lr")
    logs = logs[logs["repo"].str.startswith("aassxun/SEMICON") & logs["completed"]]
    names = {"max_iter": "iterations", "max_epoch": "epochs", "num_samples": "samples", "wd": "weight_decay"}
    names |= {"batch_size": "batch_size", "lr": "learning_rate", "momentum": "momentum"}
    assert len(logs) > 10
    for log in logs.to_dict("records"):
        values = published.recipes["semicon", SETS[log["dataset"]]]
        assert [log[column] for column in names] == [values[name] for name in names.values()], log
        assert json.loads(log["lr_step"]) == values["milestones"]
