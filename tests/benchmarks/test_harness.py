import harness
import pytest
import run
import torch
from harness import Row, compare, peak_memory, wanted


def fill(megabytes: int) -> torch.Tensor:
    return torch.ones(megabytes * 10**6, dtype=torch.uint8)


def test_a_row_is_the_medians_per_item(monkeypatch):
    seconds = {"ours": iter([3.0, 1.0, 2.0]), "plain": iter([70.0, 50.0, 60.0])}
    monkeypatch.setattr(harness, "cpu_seconds", lambda callable_: next(seconds[callable_()]))
    row = compare("r", lambda: "ours", lambda: "plain", unit="ms per query", ours_items=4, plain_items=2)
    assert (row.name, row.unit) == ("r", "ms per query")
    assert (row.ours, row.plain, row.ratio) == (500.0, 30_000.0, 60.0)


def test_unequal_results_stop_the_bench():
    def check(ours, plain):
        assert ours == plain

    with pytest.raises(AssertionError):
        compare("r", lambda: 1, lambda: 2, unit="s", check=check)


def test_peak_memory_is_that_of_the_call_also_of_what_it_frees():
    kept = fill(300)  # an input
    assert peak_memory(lambda: int(kept[0])) < 5
    assert peak_memory(lambda: int(fill(100)[0])) == pytest.approx(100, abs=5)
    assert peak_memory(lambda: fill(100)) == pytest.approx(100, abs=5)


def test_rows_that_are_wanted(monkeypatch):
    assert wanted("a")
    monkeypatch.setattr(harness, "selected", {"a"})
    assert wanted("a", "b")
    assert not wanted("b")


def test_a_subset_changes_only_its_rows(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "RESULTS", tmp_path / "bench" / "results.csv")
    a, b, c = (Row(name, 1.23456, 2.0, "ms per item", 3.0, 0.5) for name in "abc")
    run.write([a, b], keep=True)
    run.write([Row("a", 9.0, 2.0, "ms per item", 0.25, 0.5), c], keep=True)
    assert run.RESULTS.read_text() == (
        "name,ours,plain,unit,ratio,peak_mb\n"
        "a,9,2,ms per item,0.25,0.5\n"
        "b,1.235,2,ms per item,3,0.5\n"
        "c,1.235,2,ms per item,3,0.5\n"
    )
    run.write([c], keep=False)
    assert len(run.RESULTS.read_text().splitlines()) == 2
    assert [path.name for path in run.RESULTS.parent.iterdir()] == ["results.csv"]
