"""docs/deviations.md is what the code declares, and the effects are of values that exist."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from hashrepro.deviations import (
    EVERY_DATASET,
    EVERYONE,
    Effect,
    catalogue,
    in_yaml,
    keys,
    of_datasets,
    page,
    read_effects,
)
from hashrepro.learning.base import load_method, method_names
from hashrepro.learning.recipe import Recipe

ROOT = Path(__file__).parents[2]
NEEDED = {
    "backbone": "lite0",
    "iterations": 1,
    "epochs": 1,
    "samples": 1,
    "batch_size": 1,
    "learning_rate": 1,
}
# what both specifications of the methods offer as a choice: a name missing here or there is a mistake
EXPECTED = {
    EVERYONE: {"crop_from", "dcc_outputs", "precision", "tf32"},
    "adsh and semicon": {"initial_codes"},
    "schn and schn_tomm": {
        "dcc_gamma", "initial_codes", "gcn_norm", "detach_features", "detach_targets", "latent_activation",
        "loss_similarity", "dcc_rows", "unsampled",
    },
    "schn": {"cycle_query", "replay_batches"},
    "schn_tomm": {"adversarial_loss"},
    "semicon": {"alpha", "attention_start", "sem_std", "icon_residual", "icon_aligned", "icon_start",
        "load_last_unit"},
}  # fmt: skip


EXPECTED_OF_DATASETS = {
    EVERY_DATASET: {"upright"},
    "FGVC-Aircraft": {"banner"},
    "MIR-Flickr 25K": {"labels", "drop_unlabelled", "split"},
    "NUS-WIDE": {"concepts", "split"},
    "VegFru": {"database"},
}


def test_the_page_is_what_the_code_declares():
    """`hashrepro deviations` writes it."""
    written = (ROOT / "docs" / "deviations.md").read_text(encoding="utf-8")
    assert written == page(catalogue(), of_datasets(), read_effects(ROOT / "docs" / "effects.csv"))


def test_every_choice_is_there_once():
    found = {}
    for deviation in catalogue():
        found.setdefault(deviation.owner, set()).add(deviation.name)
    assert found == EXPECTED


def test_every_choice_of_a_data_set_is_there_once():
    found = {}
    for deviation in of_datasets():
        found.setdefault(deviation.owner, set()).add(deviation.name)
        assert in_yaml(deviation.default) not in deviation.others
    assert found == EXPECTED_OF_DATASETS


def test_every_value_is_taken_and_none_is_the_default():
    yaml = YAML(typ="safe")
    for deviation in catalogue():
        method = method_names()[0] if deviation.owner == EVERYONE else deviation.owner.split(" and ")[0]
        recipe = load_method(method).Recipe
        assert deviation.others
        for value in deviation.others:
            if value != "a number":
                taken = getattr(recipe(**NEEDED, **{deviation.name: yaml.load(value)}), deviation.name)
                assert taken != deviation.default
    with pytest.raises(ValidationError):
        recipe(**NEEDED, **{deviation.name: "nonsense"})


def test_keys_have_a_default_and_a_meaning_unless_the_name_says_it():
    found = {key: (default, meaning) for key, default, meaning in keys(Recipe)}
    assert found["backbone"][0] == ""
    assert found["crop_scale"] == ("[0.08, 1.0]", "area share of a random crop")
    assert found["batch_norm_momentum"][0] == "null"
    assert found["augment"][0] == "true"


def test_a_measured_effect_stands_at_its_value():
    effect = Effect("semicon", "alpha", "0.3", 12, 0, 70.0, 71.25, 60.0, 58.0, "abcdef0123")
    other = Effect("semicon", "sem", "none", 12, 0, 70.0, 69.0, 60.0, 61.0, "abcdef0123")
    text = page(catalogue(), of_datasets(), [effect, other])
    (line,) = [line for line in text.splitlines() if line.startswith("- `0.3`")]
    assert line.endswith("*Measured: semicon, 12 bits: +1.2 / -2.0.*")
    assert "| semicon | 12 | `sem: none` | 70.0 -> 69.0 | 60.0 -> 61.0 |" in text


def test_effects_come_back_from_their_file(tmp_path):
    assert read_effects(tmp_path / "effects.csv") == []
    names = list(Effect.__dataclass_fields__)
    (tmp_path / "effects.csv").write_text(
        ",".join(names) + "\nadsh,precision,bf16,12,0,70.0,71.5,60.0,61.0,abc\n", encoding="utf-8"
    )
    assert read_effects(tmp_path / "effects.csv") == [
        Effect("adsh", "precision", "bf16", 12, 0, 70.0, 71.5, 60.0, 61.0, "abc")
    ]
