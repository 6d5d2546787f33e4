"""fetch DATASET: bring the original files of a data set within reach, checked.

writes data/raw/DATASET/: the downloaded archives and an inventory; of archives and folders that the user has, only that
"""

import signal

from common import ROOT, stage

from hashrepro.datasets.base import load_reader
from hashrepro.delivery.fetching import fetch
from hashrepro.overview import room
from hashrepro.processes import signal_at_parents_end
from hashrepro.settings import load_settings


@stage
def main(name: str) -> None:
    signal_at_parents_end(signal.SIGTERM)  # dvc, which may be killed: what arrived is kept
    settings = load_settings(ROOT)
    block = settings.dataset(name)
    reader = load_reader(block.reader)
    raw, places = ROOT / "data" / "raw" / name, settings.archive_places(ROOT, name)
    processed = ROOT / "data" / "processed"
    processed.mkdir(parents=True, exist_ok=True)
    raw.parent.mkdir(parents=True, exist_ok=True)
    one_disk = processed.stat().st_dev == raw.parent.stat().st_dev
    needed = room(name, block, reader) if one_disk else 0
    fetch(name, reader, block.own_folder(ROOT), raw, places, room=needed)


if __name__ == "__main__":
    main()
