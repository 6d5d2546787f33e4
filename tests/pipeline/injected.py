"""What a test does to a process of `warm.py` on its way, told in the environment variable INJECT: `<what>@<where>`.

what:  `stop`, the process stops itself (SIGSTOP) and the test does what it likes; `full`, from there on no file may
       grow beyond a megabyte, as if the disk was full; `kill`, the process dies
where: `checkpoint-N`, as the trainer has half-written its N-th checkpoint; `saved-N`, as it has written it; `output`,
       as it has half-written its first output; `commit`, as DVC has half-copied that into its cache
`readonly`: all of `dvc` sees .dvc/cache mounted read-only
"""

import ctypes
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

MEGABYTE = 1 << 20
NEW_NAMESPACE, BIND, REMOUNT, READ_ONLY, PRIVATE, RECURSIVE = 0x20000, 4096, 32, 1, 1 << 18, 16384


def wished() -> tuple[str, str]:
    what, _, where = os.environ.get("INJECT", "").partition("@")
    return what, where


def read_only(folder: Path) -> None:
    """Mount a folder read-only for this process and its children alone; what that needs, root has."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *words) -> None:
        if getattr(libc, name)(*words):
            raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")

    path = str(folder).encode()
    call("unshare", NEW_NAMESPACE)
    call("mount", None, b"/", None, PRIVATE | RECURSIVE, None)
    call("mount", path, path, None, BIND, None)
    call("mount", None, path, None, BIND | REMOUNT | READ_ONLY, None)


def half_written(real: Callable, what: str, now: Callable[[Path], bool]) -> Callable:
    """`real(source, path, ...)`, of which only a megabyte reaches the disk the time that `now(path)` says."""

    def write(source: object, path: str | Path, *rest, **more) -> None:
        if now(Path(path)):
            if what == "stop":
                Path(path).write_bytes(bytes(MEGABYTE))
                os.kill(os.getpid(), signal.SIGSTOP)
            else:
                if what == "kill":  # as no program can prevent, in the middle of writing
                    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                resource.setrlimit(resource.RLIMIT_FSIZE, (MEGABYTE, resource.RLIM_INFINITY))
        real(source, path, *rest, **more)

    return write


def into_dvc() -> None:
    what, where = wished()
    if what == "readonly":
        read_only(Path(".dvc/cache"))
    if where == "commit":
        import dvc_objects.fs.local as local

        local.copyfile = half_written(local.copyfile, what, lambda path: ".dvc/cache/files" in str(path))


def into_stage(stage: str) -> None:
    what, where = wished()
    place, _, number = where.partition("-")
    if stage != "train" or place not in ("checkpoint", "saved", "output"):
        return
    import safetensors.torch as tensors

    count = 0

    def now(path: Path) -> bool:
        nonlocal count
        checkpoint = "checkpoint" in path.name
        count += checkpoint
        return (place == "checkpoint" and checkpoint and count == int(number)) or (
            place == "output" and not checkpoint
        )

    tensors.save_file = half_written(tensors.save_file, what, now)
    if place == "saved":
        from hashrepro.learning.checkpoints import Checkpoints

        save = Checkpoints.save

        def saved(self, *arguments) -> None:
            save(self, *arguments)
            if count == int(number):
                os.kill(os.getpid(), {"stop": signal.SIGSTOP, "kill": signal.SIGKILL}[what])

        Checkpoints.save = saved
