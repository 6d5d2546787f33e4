"""Parameters of the kinds of index: defaults from the size, and what is refused."""

import pytest

from hashrepro.errors import UserError
from hashrepro.search.kinds import PARAMETERS, STORES, at_search, resolve


def test_defaults_fit_any_number_of_rows():
    for rows in (1, 2, 39, 1000, 10**6):
        for store, kinds in STORES.items():
            for kind in kinds:
                values = resolve(store, kind, {}, rows)
                assert set(values) == set(PARAMETERS[kind])
                assert all(value >= 1 for value in values.values())
                if kind == "ivf":
                    assert values["probes"] <= values["lists"] <= rows


def test_what_is_given_replaces_the_default():
    assert resolve("faiss", "ivf", {"lists": 7, "probes": 3}, 1000) == {"lists": 7, "probes": 3}
    assert resolve("faiss", "ivf", {"lists": 7}, 1000) == {"lists": 7, "probes": 7}


@pytest.mark.parametrize(
    ("store", "kind", "given", "message"),
    [
        ("tape", "flat", {}, "no store 'tape'"),
        ("lancedb", "hnsw", {}, "no kind 'hnsw'"),
        ("faiss", "flat", {"probes": 3}, "no parameter probes"),
        ("faiss", "ivf", {"links": 3}, "no parameter links"),
        ("faiss", "ivf", {"probes": 0}, "probes is 0"),
        ("faiss", "ivf", {"probes": 2.0}, "probes is 2.0"),
        ("faiss", "hnsw", {"links": 1}, "links is 1"),
        ("faiss", "ivf", {"lists": 101}, "100 rows cannot be sorted into 101 lists"),
    ],
)
def test_what_does_not_fit_is_refused(store, kind, given, message):
    with pytest.raises(UserError, match=message):
        resolve(store, kind, given, 100)


def test_a_search_changes_only_what_acts_at_search():
    stored = {"lists": 7, "probes": 3}
    assert at_search("ivf", stored, {"probes": 5}) == {"lists": 7, "probes": 5}
    assert stored == {"lists": 7, "probes": 3}
    with pytest.raises(UserError, match="lists was fixed"):
        at_search("ivf", stored, {"lists": 5})
