"""A small DVC pipeline built for real, in threads; failures and summaries without DVC."""

import pytest

from hashrepro.errors import UserError
from hashrepro.running import building
from hashrepro.running.building import Estimates, Where, build, conclude
from hashrepro.running.driver import End, Ends
from hashrepro.running.stages import kind_of, stale_stages, tally
from hashrepro.settings import Machine

of_dvc = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of DVC's own dependencies
QUICK = Estimates(lambda stage: 1.0, lambda stage: 0)


@of_dvc
def test_stages_run_once_each_and_forced_once_more(pipeline, capfd):
    def stages(*targets: str, force: bool = False) -> list[str]:
        assert build(pipeline, [*targets], Machine(device="cpu"), Where(2), QUICK, force=force) == 0
        return sorted((pipeline / "log").read_text().split())

    assert stages() == ["left", "right", "whole"]
    assert "3 stages: 2 half, 1 whole" in capfd.readouterr().out
    assert stages() == ["left", "right", "whole"]
    assert "up to date" in capfd.readouterr().out
    assert stages("half@left", force=True) == ["left", "left", "right", "whole"]
    assert stale_stages(pipeline, []) == {}
    assert stale_stages(pipeline, ["half@left"], force=True) == {"half@left": set()}
    assert stale_stages(pipeline, ["half*"], force=True) == {"half@left": set(), "half@right": set()}
    assert stale_stages(pipeline, [], force=True)["whole"] == {"half@left", "half@right"}
    with pytest.raises(UserError, match=r"DVC cannot tell what to run: .*hlaf"):
        stale_stages(pipeline, ["hlaf"])


def test_failed_stages_are_named_with_the_end_of_their_logs(tmp_path, capsys):
    ends = Ends(
        {
            "papers/x/dvc.yaml:train@a": End("failed", 2.0, "ValueError: no"),
            "train@b": End("done", 30.0),
            "report": End("not run"),
        },
        seconds=20.0,
    )
    assert conclude(tmp_path, ends) == 1
    printed = capsys.readouterr().out
    log = tmp_path / "work" / "logs" / "papers_x_dvc.yaml_train@a.log"
    assert f"papers/x/dvc.yaml:train@a failed; the end of {log}:\nValueError: no\n" in printed
    assert "1 done, 1 failed, 1 not run; 20 s for stages of 32 s together: 1.60 at a time\n" in printed
    assert "Failed: papers/x/dvc.yaml:train@a. The same command goes on where it stopped." in printed


def test_after_an_interrupt_what_was_done_is_said_and_it_goes_on_as_one(tmp_path, capsys):
    ends = Ends({"a": End("done", 3.0), "b": End("stopped", 1.0)}, seconds=4.0, interrupted=True)
    with pytest.raises(KeyboardInterrupt):
        conclude(tmp_path, ends)
    assert "1 done, 1 stopped; 4 s for stages of 4 s together\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("devices", "processes", "workers"), [("0,1,2,3", 1, 4), ("0,1,2,3", 2, 2), ("", 2, 1), ("0", 1, 1)]
)
def test_by_default_as_many_workers_as_there_are_gpus_for(tmp_path, monkeypatch, devices, processes, workers):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
    with Where().open(tmp_path, Machine(processes=processes)) as engine:
        assert engine.together() == workers


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("papers/semicon/ablations/dvc.yaml:train@no-sem-cub-12-0", "train"),
        ("data/dvc.yaml:fetch@cub", "fetch"),
        ("report", "report"),
    ],
)
def test_the_kind_of_a_stage(address, kind):
    assert kind_of(address) == kind


def test_stages_are_counted_by_kind():
    stages = {"train@a": set(), "papers/x/dvc.yaml:train@b": set(), "report": set()}
    assert tally(stages) == "2 train, 1 report"


@pytest.mark.parametrize(("threads", "workers", "each"), [(8, 2, 4), (1, 3, 1)])
def test_stages_share_the_threads(monkeypatch, tmp_path, threads, workers, each):
    seen = []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(building, "stale_stages", lambda root, targets, force: {"a": set()})
    monkeypatch.setattr(building, "run_all", lambda stages, jobs, engine: seen.append(jobs["a"]) or Ends({}))
    assert building.build(tmp_path, ["a"], Machine(threads=threads), building.Where(workers), force=True) == 0
    (job,) = seen
    assert job.environment == {"HASHREPRO_THREADS": str(each)}
    assert job.options == ("--force",)
