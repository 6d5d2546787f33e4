"""Encoding a large folder: in shards that are whole or absent, by several processes, so that a kill loses little.

A shard is some whole batches of a list of files. Its name is a digest of the encoder and of its files' paths, sizes
and times of change, so a shard that is there is right, and work that was killed goes on with those that are missing.
Batches are fixed by their places in the list: who encodes them changes nothing.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from hashrepro.devices import one_gpu_each, prepare
from hashrepro.errors import UserError
from hashrepro.files import value_digest
from hashrepro.images.chunks import file_state
from hashrepro.retrieval.codes import Codes, read_codes, write_codes
from hashrepro.search.about import About
from hashrepro.search.encoder import Encoder
from hashrepro.search.sharing import Shard, share
from hashrepro.search.views import pixels
from hashrepro.settings import Machine

SHARD = 1024  # images at least, so many that a shard costs seconds and not milliseconds


def encode_folder(
    folder: Path,
    paths: Sequence[str],
    work: Path,
    *,
    machine: Machine,
    processes: int = 1,
    workers: int = 0,
    progress: str | None = None,
) -> tuple[Codes, dict[int, str]]:
    """(codes of n files, {position of a file that cannot be read: why}); the latter are marked as not coded.

    Args:
        folder: of an encoder, as `Encoder.save` left it.
        work: folder for shards. Those of an earlier call that was killed, or that found unreadable files, are used;
            remove it when the codes are kept elsewhere.
        machine: device and threads.
        processes: that share the shards (torchrun), each with a GPU of its own if there are any.
        workers: processes that decode images beside each of these.
        progress: label of the progress bar; None shows none.

    Raises:
        UserError: a process ended with an error; or as `Encoder.open`.
    """
    about, names, work = About.read(folder), pa.array(paths, pa.large_string()), Path(work)
    work.mkdir(parents=True, exist_ok=True)
    for part in work.glob(".*.part"):
        part.unlink()
    shards = plan(about, paths)
    todo = [shard for shard in shards if not _usable(shard, work, paths, about)]
    done = len(paths) - sum(shard.stop - shard.start for shard in todo)
    with tqdm(total=len(paths), initial=done, desc=progress, unit="image", disable=progress is None) as bar:
        if min(processes, len(todo)) > 1:
            one_gpu_each(machine, min(processes, len(todo)))
            share(folder, names, todo, work, machine, min(processes, len(todo)), workers, bar.update)
        elif todo:
            encoder = Encoder.open(folder, prepare(machine))
            encode_shards(encoder, names, todo, work, workers, bar.update)
    return _collect(shards, work)


def plan(about: About, paths: Sequence[str]) -> list[Shard]:
    """The shards of a list of files."""
    length = -(-SHARD // about.batch_size) * about.batch_size
    shards = []
    for start in range(0, len(paths), length):
        part = paths[start : start + length]
        name = value_digest([about.digest, [(path, *file_state(path)) for path in part]])
        shards.append(Shard(name[:32], start, start + len(part)))
    return shards


def encode_shards(
    encoder: Encoder,
    paths: pa.Array,
    shards: Sequence[Shard],
    work: Path,
    workers: int,
    advance: Callable[[int], object] = lambda images: None,
) -> None:
    """Encode and write `shards` one after the other."""
    size = encoder.about.batch_size
    batches = [batch for shard in shards for batch in shard.batches(size)]
    encoded = encoder.batches(paths, batches, workers)
    for shard in shards:
        values = np.zeros((shard.stop - shard.start, encoder.about.bits), np.float32)
        unreadable = {}
        for batch in shard.batches(size):
            positions, codes, found = next(encoded)
            values[positions - shard.start] = codes
            unreadable |= {position - shard.start: why for position, why in found.items()}
            advance(len(batch))
        write_codes(shard.path(work), {"images": Codes.pack(values)}, {"unreadable": json.dumps(unreadable)})


def _read(shard: Shard, work: Path) -> tuple[Codes, dict[int, str]]:
    codes, header = read_codes(shard.path(work))
    found = json.loads(header["unreadable"])
    return codes["images"], {shard.start + int(position): why for position, why in found.items()}


def _usable(shard: Shard, work: Path, paths: Sequence[str], about: About) -> bool:
    """Whether the shard is there; not if one of its files can be read by now."""
    if not shard.path(work).exists():
        return False
    try:
        unreadable = _read(shard, work)[1]
    except UserError:  # damaged: encoded again
        return False
    for position in unreadable:
        try:
            pixels(paths[position], about.view)
        except Exception:  # whatever it was that made it unreadable
            continue
        return False
    return True


def _collect(shards: Sequence[Shard], work: Path) -> tuple[Codes, dict[int, str]]:
    parts = [_read(shard, work) for shard in shards]
    codes = Codes(
        np.concatenate([part.packed for part, _ in parts]),
        parts[0][0].bits,
        np.concatenate([part.coded for part, _ in parts]),
    )
    return codes, {position: why for _, found in parts for position, why in found.items()}
