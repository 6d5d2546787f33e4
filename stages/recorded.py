"""Whether DVC has recorded what a stage wrote: only then does the scratch folder lose what could write it again."""

import os
import shutil

from common import ROOT, Run

from hashrepro.running.recorded import lock_entries


def recorded(run: Run, written: dict[str, str] | None) -> bool:
    """Whether the suite's dvc.lock has these files (name -> MD5) as outputs of the run's training.

    Its train.json says when it ended, so another training that ended in the same bits is not taken for it.
    """
    if written is None:
        return False
    target = run.target("train")
    stage = lock_entries(ROOT, [target]).get(target, {})
    return {os.path.basename(out["path"]): out["md5"] for out in stage.get("outs", [])} == written


def drop_checkpoint(run: Run) -> None:
    """Remove the last checkpoint of a training whose codes DVC asks for: it has recorded the training before."""
    if "DVC_STAGE" in os.environ:
        shutil.rmtree(run.work, ignore_errors=True)
