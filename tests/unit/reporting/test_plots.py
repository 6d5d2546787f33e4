from dataclasses import replace

import numpy as np
import pytest
from synthetic_runs import GRID

from hashrepro.reporting import plots


def test_one_column_a_run(suite):
    indices = {
        "precision_at": "n",
        "precision_recall": "recall",
        "per_class": "class",
        "training": "iteration",
    }
    for name, index in indices.items():
        table = getattr(plots, name)(suite)
        assert table.columns.tolist() == [index, *GRID.keys]
        assert table[index].is_monotonic_increasing


def test_columns_are_the_runs_own_values(suite):
    record = suite[3]
    at = plots.precision_at(suite).set_index("n")
    assert at[record.key].tolist() == record.curves["learned", "precision_at"]["precision"].tolist()
    own = record.curves["learned", "per_class"]["map"].tolist()
    assert plots.per_class(suite)[record.key].tolist() == own
    assert plots.training_loss(suite)[record.key].tolist() == record.history["loss"].tolist()


def test_precision_is_read_between_a_runs_points_and_not_before_the_first(suite):
    record = suite[0]
    curve = record.curves["learned", "precision_recall"]
    table = plots.precision_recall([record])
    inside = table["recall"] >= curve["recall"].min()
    assert table[record.key][~inside].isna().all()
    assert table[record.key][inside].between(curve["precision"].min(), curve["precision"].max()).all()
    assert table[record.key].iloc[-1] == pytest.approx(curve[curve["recall"] == 1]["precision"].iloc[0])
    assert np.allclose(table["recall"], np.arange(101) / 100)


def test_runs_without_curves_have_no_column(suite):
    table = plots.precision_at([replace(suite[0], curves={}), suite[1]])
    assert table.columns.tolist() == ["n", suite[1].key]
    assert plots.precision_recall([]).columns.tolist() == ["recall"]


def test_the_radius_table_has_a_row_a_run_on_its_headline_database(suite):
    table = plots.radius(suite)
    assert table["run"].tolist() == [record.key for record in suite]
    assert set(table["radius"]) == {2}
    assert table["precision"].tolist() == [record.score("precision_radius_2") for record in suite]
    assert table["recall"].tolist() == [record.score("recall_radius_2") for record in suite]


def test_hundreds_of_runs_are_a_table_without_a_warning(suite):
    table = plots.training([replace(suite[0], seed=seed) for seed in range(150)])
    assert table.shape == (len(suite[0].history), 151)
