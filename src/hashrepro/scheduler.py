"""Stages side by side: DVC says what is stale and records what was run, this only decides when.

`dvc repro` runs one stage at a time. Here every stale stage is its own ``dvc repro --single-item``, started as soon
as the stages that it waits for are done; afterwards a plain `dvc repro` has nothing left to do.
"""

import os
import subprocess
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import chdir
from pathlib import Path

import networkx
from tqdm import tqdm


def stale_stages(root: Path, targets: list[str], force: bool = False) -> dict[str, set[str]]:
    """Addresses of the stages that must run for `targets`, in an order that works, each with those it waits for.

    A stage must run if DVC finds it changed or if one that it depends on must run; with `force` all must.
    """
    from dvc.repo import Repo

    with chdir(root), Repo() as repo:  # DVC reads targets relative to the working folder
        graph = repo.index.graph  # an edge u -> v: u depends on v
        wanted = set()
        for target in targets or ["dvc.yaml"]:
            for stage in repo.stage.collect(target):
                wanted |= {stage} | networkx.descendants(graph, stage)
        part = graph.subgraph(wanted)
        with repo.lock:
            changed = {stage for stage in part if force or stage.changed()}
        stale = changed | {above for stage in changed for above in networkx.ancestors(part, stage)}
        order = reversed(list(networkx.topological_sort(part)))
        return {
            stage.addressing: {below.addressing for below in part.successors(stage) if below in stale}
            for stage in order
            if stage in stale
        }


def run_all(stages: dict[str, set[str]], run: Callable[[str], bool], workers: int) -> dict[str, str]:
    """Run every stage once those that it waits for are done, `workers` at a time; a failure stops no other branch.

    Args:
        stages: address -> addresses that it waits for.
        run: runs one stage; whether it went well.

    Returns:
        address -> "done", "failed" or "not run" (something that it waits for did not end well).
    """
    state: dict[str, str] = {}
    waiting = dict(stages)
    running: dict[Future, str] = {}
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=len(stages), desc="stages", unit="stage", dynamic_ncols=True) as bar,
    ):
        while waiting or running:
            for name, needs in list(waiting.items()):
                if any(state.get(need) in ("failed", "not run") for need in needs):
                    state[name] = "not run"
                    del waiting[name]
                elif len(running) < workers and all(state.get(need) == "done" for need in needs):
                    running[pool.submit(run, name)] = name
                    del waiting[name]
            bar.set_postfix_str(", ".join(running.values()))
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(future)
                state[name] = "done" if future.result() else "failed"
                bar.update()
    return state


def repro_in_parallel(root: Path, targets: list[str], workers: int, threads: int, force: bool = False) -> int:
    """`dvc repro` of `targets` with `workers` stages at a time, which share `threads` CPU threads; the exit code.

    With `force`, as with DVC's own, stages run that are up to date, too, each once.
    What a stage prints goes to work/logs/<stage>.log; that of a failed one is shown at the end.
    """
    logs = root / "work" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    options = ["--single-item", *(["--force"] if force else [])]
    environment = {**os.environ, "HASHREPRO_THREADS": str(max(1, threads // workers))}

    def log_of(stage: str) -> Path:
        return logs / f"{stage.replace('/', '_').replace(':', '_')}.log"

    def run(stage: str) -> bool:
        # waiting for the lock: another dvc command must not fail a training that has just ended
        command = ["dvc", "--wait-for-lock", "repro", *options, stage]
        with open(log_of(stage), "w") as log:
            return subprocess.call(command, cwd=root, env=environment, stdout=log, stderr=log) == 0

    state = run_all(stale_stages(root, targets, force), run, workers)
    failed = [stage for stage, end in state.items() if end == "failed"]
    for stage in failed:
        print(f"\n{stage} failed; the end of {log_of(stage)}:\n{log_of(stage).read_text()[-3000:]}")
    if failed:
        left = sum(end == "not run" for end in state.values())
        print(
            f"{len(failed)} failed, {left} not run because of it. The same command goes on where it stopped."
        )
    return 1 if failed else 0
