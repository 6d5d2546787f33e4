"""Shards that several processes share, started by torchrun: none of them outlives the one that started them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from hashrepro.errors import UserError
from hashrepro.files import read_json, whole, write_json
from hashrepro.processes import become_several, end_without_launcher, signal_at_parents_end
from hashrepro.settings import Machine

PLAN, PATHS, LOG = "plan.json", "paths.arrow", "processes.log"
_LOOK_EVERY = 0.5  # seconds


@dataclass(frozen=True)
class Shard:
    """The files `start` to `stop` of the list."""

    name: str
    start: int
    stop: int

    def path(self, work: Path) -> Path:
        return work / f"{self.name}.safetensors"

    def batches(self, size: int) -> list[range]:
        return [range(i, min(i + size, self.stop)) for i in range(self.start, self.stop, size)]


def share(
    folder: Path,
    paths: pa.Array,
    shards: Sequence[Shard],
    work: Path,
    machine: Machine,
    processes: int,
    workers: int,
    advance: Callable[[int], object],
) -> None:
    """Have `processes` encode the shards into `work`.

    Args:
        folder, paths, machine, workers: as of `encoding.encode_folder`.
        advance: called with the number of images of every shard that is done.

    Raises:
        UserError: a process ended with an error.
    """
    with whole(work / PATHS) as temporary, pa.OSFile(str(temporary), "wb") as sink:
        table = pa.table({"path": paths})
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    plan = {
        "encoder": os.fspath(Path(folder).absolute()),
        "shards": [[shard.name, shard.start, shard.stop] for shard in shards],
        "machine": machine.model_dump(),
        "workers": workers,
    }
    write_json(work / PLAN, plan)
    command = [sys.executable, "-m", __name__, os.fspath(work), str(processes), str(os.getpid())]
    waiting = list(shards)
    with open(work / LOG, "wb") as log:
        # a session of its own: Ctrl-C reaches this process alone, which then ends the others
        child = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            ended = False
            while waiting and not ended:
                time.sleep(_LOOK_EVERY)
                ended = child.poll() is not None  # before the look: what it wrote last is seen
                done = [shard for shard in waiting if shard.path(work).exists()]
                waiting = [shard for shard in waiting if shard not in done]
                advance(sum(shard.stop - shard.start for shard in done))
            child.wait()
        finally:
            child.terminate()
            child.wait()
    if waiting or child.returncode:
        raise UserError(
            "A process that encodes images has ended with an error.",
            where=work / LOG,
            mend="read that file; then run the command again: it goes on with what is missing",
        )


def main() -> None:
    """WORK PROCESSES PARENT: become torchrun of that many processes; as one of these, encode its share."""
    work, processes, parent = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    signal_at_parents_end(signal.SIGTERM)
    if "LOCAL_RANK" not in os.environ:
        if os.getppid() != parent:
            sys.exit("The process that started this one has ended.")
        become_several(processes, ["-m", "hashrepro.search.sharing", *sys.argv[1:]])
    end_without_launcher()

    # torch and timm, which the process that only becomes torchrun does without
    from hashrepro.devices import prepare
    from hashrepro.search.encoder import Encoder
    from hashrepro.search.encoding import encode_shards

    plan = read_json(work / PLAN)
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    own = [Shard(*values) for values in plan["shards"]][rank::count]
    if own:
        paths = pa.ipc.open_file(pa.memory_map(str(work / PATHS))).read_all()["path"].chunk(0)
        encoder = Encoder.open(Path(plan["encoder"]), prepare(Machine(**plan["machine"])))
        encode_shards(encoder, paths, own, work, plan["workers"])


if __name__ == "__main__":
    main()
