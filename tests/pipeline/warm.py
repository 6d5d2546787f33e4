"""DVC and the stages that it runs, forked from one process that has imported their libraries.

warm.py: reads requests from standard input, one JSON a line, and forks a command for each: real processes of DVC's own
code and of the real stage scripts, of which only the imports, most of a small stage's time, were done before.
A command leaves in its folder its `pid`, its `log` and, at its end, its exit `code`; it leads a session of its own, by
which a test finds what it left behind. `injected.py` is what a test does to it on its way.
"""

import gc
import importlib
import json
import os
import runpy
import shlex
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import injected

LIBRARIES = (
    *("torch", "timm", "torchvision.transforms.v2", "safetensors.torch", "pandas", "pyarrow.parquet", "numba"),
    *("dvc.cli", "dvc.commands.repro", "dvc.repo", "dvc.stage.run", "dvc_data.hashfile.db.local", "ruamel.yaml"),
    *("mlflow", "mlflow.store.tracking.sqlalchemy_store", "mlflow.data.meta_dataset", "pydantic", "tqdm"),
)  # fmt: skip


def end_as_python_does(do: Callable[[], object]) -> None:
    """Do it and end this process; what it raises is shown, and becomes the exit code."""
    try:
        do()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        traceback.print_exc()
        code = -signal.SIGINT
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run_stage(words: list[str], cwd: str, environment: dict[str, str]) -> None:
    """In a child of DVC: be the Python that runs a stage's script."""
    os.closerange(3, 256)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = words
    sys.path[:0] = [str(Path(words[0]).resolve().parent), environment["PYTHONPATH"]]
    injected.into_stage(Path(words[0]).stem)
    runpy.run_path(words[0], run_name="__main__")


def fork_stage(_shell: str, command: str, **how) -> None:
    """What DVC's own `_run` does, with a fork for a shell that starts Python."""
    from dvc.stage.exceptions import StageCmdFailedError

    words = shlex.split(command.removeprefix("exec "))
    assert words[0] == "python", command
    sys.stdout.flush()
    if (pid := os.fork()) == 0:
        end_as_python_does(lambda: run_stage(words[1:], str(how["cwd"]), how["env"]))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        if code := exit_code(pid):
            raise StageCmdFailedError(command, code)
    finally:
        signal.signal(signal.SIGINT, before)


def run_dvc(folder: Path, words: list[str], cwd: str, environment: dict[str, str]) -> None:
    """In a child of this process: be the command `dvc`."""
    import dvc.cli
    import dvc.stage.run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    log = os.open(folder / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(cwd)
    os.environ.update(environment)
    dvc.stage.run._run = fork_stage
    injected.into_dvc()
    sys.exit(dvc.cli.main(words))


def keep(folder: Path, *request) -> None:
    """Fork a command and write down how it ended."""
    if (pid := os.fork()) == 0:
        end_as_python_does(lambda: run_dvc(folder, *request))
    (folder / "pid").write_text(f"{pid}\n")
    code = str(exit_code(pid))
    (folder / ".code").write_text(code)
    os.replace(folder / ".code", folder / "code")


def main() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    sys.modules["sqlalchemy.orm"].configure_mappers()
    gc.collect()
    gc.freeze()  # else every fork walks through all that was imported, and so copies it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        request = json.loads(line)
        if os.fork() == 0:
            end_as_python_does(lambda request=request: keep(Path(request.pop("folder")), *request.values()))


if __name__ == "__main__":
    main()
