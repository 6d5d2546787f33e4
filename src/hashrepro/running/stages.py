"""What DVC has to run for some targets: stages, by their addresses, and what each waits for."""

import re
from collections import Counter
from contextlib import chdir
from pathlib import Path

import networkx

from hashrepro.errors import UserError
from hashrepro.running.recorded import torn

GLOB = re.compile(r"[*?\[]")


def kind_of(address: str) -> str:
    """The stage's name without file and matrix cell: "train" of papers/semicon/dvc.yaml:train@semicon-cub-12-0."""
    return address.rpartition(":")[2].partition("@")[0]


def stale_stages(root: Path, targets: list[str], force: bool = False) -> dict[str, set[str]]:
    """Addresses of the stages that must run for `targets`, in an order that works, each with those it waits for.

    A stage must run if DVC finds it changed or if one that it depends on must run; with `force` all must.

    Args:
        targets: DVC's, seen from `root`; with * ? or [ in it, one stands for all stages that it fits.

    Raises:
        UserError: DVC knows no such target, or cannot read a pipeline.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with chdir(root), Repo(_wait_for_lock=True) as repo:  # targets are relative to the working folder
            graph = repo.index.graph  # an edge u -> v: u depends on v
            wanted = set()
            for target in targets or ["dvc.yaml"]:
                for stage in repo.stage.collect(target, glob=bool(GLOB.search(target))):
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
    except DvcException as error:
        lock = re.search(r"[^'\s]*\bdvc\.lock\b", str(error))
        raise UserError(
            f"DVC cannot tell what to run: {error}",
            where=", ".join(targets) or "dvc.yaml",
            mend=torn(lock[0])
            if lock
            else "see `dvc stage list --all` for what there is, and `dvc status` for what is wrong",
        ) from None


def tally(stages: dict[str, set[str]]) -> str:
    """How many stages of each kind, in words: "2 train, 2 encode, 1 report"."""
    return ", ".join(f"{count} {kind}" for kind, count in Counter(map(kind_of, stages)).items())
